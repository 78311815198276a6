"""Recipes: plain YAML, checked by schemas/recipe.json; defaults are the schema's.

A recipe is trusted code (it may name a `package.module:function`); the data it points to is not.
"""

from __future__ import annotations

import copy
import difflib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from curation.errors import UsageError
from curation.types import Json


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
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise UsageError(f"{path}: not readable as YAML: {' '.join(str(e).split())}") from None
    if not isinstance(data, dict):
        raise UsageError(f"{path}: a recipe is a mapping of keys such as `name:` and `sources:`")
    try:
        json.dumps(data, allow_nan=False)
    except (TypeError, ValueError) as e:
        raise UsageError(f"{path}: {e}; put dates in quotes, and leave out what JSON cannot hold") from None
    check(path, data)
    return Recipe(path.resolve(), with_defaults(schema(), data))


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
        near = difflib.get_close_matches(key, known, 1)
        message = f"unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}")
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
