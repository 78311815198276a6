"""Recipes: plain YAML, checked by schemas/recipe.json; defaults are the schema's.

A recipe is trusted code (it may name a `package.module:function`); the data it points to is not.
"""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from curation.errors import UsageError
from curation.types import Json

WORDS = ("class", "ego_role", "partner", "time_basis")  # fields of a source whose values are the ontology's


@dataclass(frozen=True)
class Recipe:
    """A checked recipe: `data` has every default filled in, `base` is the folder its paths are relative to."""

    path: Path
    data: Json

    def __getitem__(self, key: str) -> Any:
        return self.data[key]

    @property
    def base(self) -> Path:
        return self.path.parent

    @property
    def name(self) -> str:
        return str(self.data["name"])

    @property
    def seed(self) -> int:
        return int(self.data["seed"])

    @property
    def workspace(self) -> Path:
        return (self.base / str(self.data.get("workspace", f"work/{self.name}"))).resolve()


@cache
def schema() -> Json:
    """The recipe schema. Do not change what is returned."""
    loaded: Json = json.loads(files("schemas").joinpath("recipe.json").read_text(encoding="utf-8"))
    return loaded


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe. Raises UsageError with the file, the place and the fix."""
    import yaml

    if not path.is_file():
        raise UsageError(f"{path}: no such recipe; `autodrive init DIR` writes one to start from")
    try:
        data = _read(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise UsageError(f"{path}: not readable as YAML: {' '.join(str(e).split())}") from None
    if not isinstance(data, dict):
        raise UsageError(f"{path}: a recipe is a mapping of keys such as `name:` and `sources:`")
    try:
        json.dumps(data, allow_nan=False)
    except (TypeError, ValueError) as e:
        raise UsageError(f"{path}: {e}; put dates in quotes, and leave out what JSON cannot hold") from None
    check(path, data)
    whole = with_defaults(schema(), data)
    _check_names(path, whole, data)
    _check_parts(path, whole)
    return Recipe(path.resolve(), whole)


def _read(text: str) -> Any:
    """The YAML's value. A key that stands twice is an error, where yaml.safe_load would take the last one."""
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            seen = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if (key.tag, key.value) in seen:
                    where = f"line {key.start_mark.line + 1}"
                    raise yaml.YAMLError(f"{where}: the key {key.value!r} stands twice; keep one")
                seen.add((key.tag, key.value))
            return node

    return yaml.load(text, Loader=Loader)


def _check_names(path: Path, data: Json, given: Json) -> None:
    """Raises UsageError for what is called by a name that nothing has; of what is `given`, not of defaults."""
    from curation.models.endpoint import table
    from curation.sources.table import ontology

    draft = data["draft"]
    tasks, models = [Path(task).name for task in data["tasks"]], list(draft["models"])
    authors = draft["author"] if isinstance(draft["author"], dict) else {}
    _known(path, "draft.author", authors, tasks)
    _known(path, "draft.author", authors.values() or [draft["author"]], ["template", *models])
    for name, model in draft["models"].items():
        _known(path, f"draft.models.{name}.endpoint", [model["endpoint"]], list(table("presets")))
    _known(path, "validate.probe_model", [n for n in [data["validate"]["probe_model"]] if n], models)
    _known(path, "finetune.tasks", given.get("finetune", {}).get("tasks", {}), ["event", *tasks])
    for i, source in enumerate(data["sources"]):
        for field in WORDS if source["kind"] in ("folder", "nexar") else ():
            for word in source.get("values", {}).get(field, {}).values():
                words = word if isinstance(word, list) else [word]
                _known(path, f"sources.{i}.values.{field}", [w for w in words if w not in (None, "")], ontology(field))


def _known(path: Path, where: str, names: Iterable[Any], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"{path}: {where}: there is no {name!r}{_hint(str(name), known)}")


def _hint(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known) or 'none'}"


def _check_parts(path: Path, data: Json) -> None:
    """Raises UsageError for fractions that are together more than one; whole numbers are weights."""
    review = data["review"]
    shares = {f"review.{name}.shares": review[name]["shares"] for name in ("triage", "text")}
    for where, parts in {**shares, "publish.splits": data["publish"]["splits"]}.items():
        total = sum(parts.values())
        if total > 1.02 and not all(float(part).is_integer() for part in parts.values()):  # .34 for a third will do
            raise UsageError(f"{path}: {where}: adds up to {total:g}; fractions add up to 1, weights are whole numbers")


def check(path: Path, data: Any, rules: Json | None = None) -> None:
    """Raises UsageError for the first fault, in the file's own words; the rules are a recipe's if none are given."""
    import jsonschema

    errors = jsonschema.Draft202012Validator(rules or schema()).iter_errors(data)
    error = min(errors, key=lambda e: (len(e.path), str(e.path)), default=None)
    if error is None:
        return
    where = ".".join(str(p) for p in error.absolute_path) or "top level"
    message = error.message
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = list(error.schema.get("properties", {}))
        key = next((str(k) for k in error.instance if k not in known), "?")
        message = f"unknown key {key!r}{_hint(key, known)}"
    elif error.validator == "not":  # of `params`: what the request has already
        taken = [one["required"][0] for one in error.validator_value["anyOf"]]
        message = f"leave out {', '.join(k for k in taken if k in error.instance)}: it is set elsewhere"
    raise UsageError(f"{path}: {where}: {message}")


def with_defaults(node: Json, value: Any) -> Any:
    """`value` with the defaults of `node` (and of what it refers to) filled in, sections included."""
    if "$ref" in node:
        node = schema()["$defs"][node["$ref"].removeprefix("#/$defs/")]
    if isinstance(value, list) and isinstance(node.get("items"), dict):
        return [with_defaults(node["items"], v) for v in value]
    if not isinstance(value, dict):
        return value
    out = dict(value)
    for key, child in node.get("properties", {}).items():
        resolved = schema()["$defs"][child["$ref"].removeprefix("#/$defs/")] if "$ref" in child else child
        if key not in out and "default" in resolved:
            out[key] = copy.deepcopy(resolved["default"])
        if key in out:
            out[key] = with_defaults(resolved, out[key])
    return out


def lock(recipe: Recipe, packs: dict[str, Any], version: str) -> Json:
    """What a release must be rebuilt from: the resolved recipe, the task packs' hashes, the tool's version."""
    hashes = {n: {"schema": p.schema_id, "prompt": p.prompt_id, "template": p.template_id} for n, p in packs.items()}
    return {"recipe": recipe.data, "packs": hashes, "tool": f"vlm-autodrive {version}"}


def demo_recipe(out: Path, *, small: bool, seed: int) -> Recipe:
    """The demo's recipe with its workspace at `out`/demo (or demo-small)."""
    import yaml

    text = files("curation").joinpath("demo.yaml").read_text(encoding="utf-8")
    whole, changes = yaml.safe_load_all(text)
    data: Json = {**whole, **changes} if small else whole
    root = (out / str(data["name"])).resolve()
    root.mkdir(parents=True, exist_ok=True)
    path = root / "recipe.yaml"
    path.write_text(yaml.safe_dump({**data, "seed": seed, "workspace": "."}, sort_keys=False), encoding="utf-8")
    return load_recipe(path)


def write_starter(folder: Path) -> Path:
    """A commented recipe for a folder of videos and a table. Raises UsageError rather than overwrite one."""
    path = folder / "recipe.yaml"
    if path.exists():
        raise UsageError(f"{path}: there is a recipe already; pick another folder or edit that one")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(files("curation").joinpath("starter.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return path
