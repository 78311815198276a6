"""Task packs: everything about one kind of supervision, read from a folder.

From a pack's schema.json come the language model's response format, the validator, the review form's data, the Hugging
Face features and the documentation. Nothing here knows a task by name.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import schemas
from curation.errors import DataError, UsageError
from curation.ids import make_id
from curation.recipe import check, with_defaults
from curation.schema import pointer, resolved
from curation.template import Scope, render
from curation.template import check as check_template
from curation.types import Json

if TYPE_CHECKING:
    import datasets

BUILT_IN = Path(schemas.__file__).parent
COLUMN_TYPES = {"string": "string", "number": "float64", "integer": "int64", "boolean": "bool"}
HALF = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")  # of a surrogate pair, perhaps alone
NOT_IN_STRICT = ("$schema", "$id", "$defs", "allOf", "if", "then", "else", "not", "uniqueItems", "contains", "examples")


class SchemaError(NamedTuple):
    """Where a value breaks its schema: a JSON pointer, the keyword that fails, and a sentence."""

    pointer: str
    keyword: str
    message: str


@dataclass(frozen=True, eq=False)
class TaskPack:
    """One task. `schema` has every `$ref` resolved; `ontology` is its `$defs`; `spec` is task.json with defaults."""

    name: str
    path: Path
    schema: Json
    ontology: Json
    spec: Json
    prompt: str
    review_xml: str
    template: Json | None
    examples: tuple[Json, ...]

    @cached_property
    def schema_id(self) -> str:
        return make_id("schema", self.schema)

    @cached_property
    def prompt_id(self) -> str:
        return make_id("prompt", self.prompt)

    @cached_property
    def above(self) -> list[str]:
        """The tasks it is written from, but for the event."""
        return [p for p in self.spec["parents"] if p != "event"]

    @property
    def dealt(self) -> bool:
        """Are its questions dealt over a set of clips?"""
        return "questions" in (self.template or {})

    @cached_property
    def asks_parents(self) -> bool:
        """Do the dealt questions take their answers from a parent's value?"""
        return self.dealt and "parents." in json.dumps((self.template or {})["questions"])

    @cached_property
    def template_id(self) -> str:
        return make_id("template", self.template)

    @cached_property
    def validator(self) -> Any:
        from jsonschema import Draft202012Validator

        return Draft202012Validator(self.schema)

    @cached_property
    def accepts(self) -> Callable[[Any], bool] | None:
        """A quick test that says yes only to values `validator` finds no fault with; None where patterns differ."""
        import jsonschema_rs

        text = json.dumps(self.schema)
        if re.search(r'\\\\[A-Za-z]|\(\?|patternProp|"pattern": "[^"]*\$[^"]', text):  # \w means more letters to Python
            return None
        text = re.sub(r'("pattern": "[^"]*)\$"', r'\1\\n?$"', text)  # so does $: before a last newline, too
        return jsonschema_rs.Draft202012Validator(json.loads(text)).is_valid

    @cached_property
    def guideline(self) -> str:
        """The version of guidelines.md (its first line, `version: X.Y.Z`); empty if the pack has none."""
        path = self.path / "guidelines.md"
        found = re.match(r"version:\s*(\S+)", path.read_text(encoding="utf-8")) if path.is_file() else None
        return found[1] if found else ""


def load_packs(names: Sequence[str | Path], base: Path = Path()) -> dict[str, TaskPack]:
    """Packs by task name, parents first. A name is one of ours; what holds a slash is a folder, relative to `base`.

    Raises UsageError naming the file and the fix for anything wrong in a pack, or a parent that is not among them.
    """
    packs: dict[str, TaskPack] = {}
    for name in names:
        path = base / name if isinstance(name, Path) or "/" in str(name) else BUILT_IN / name
        pack = load_pack(path)
        if pack.name in packs:
            raise UsageError(f"tasks: two packs are called '{pack.name}'; rename the folder {path}")
        packs[pack.name] = pack
    for pack in packs.values():
        for parent in pack.spec["parents"]:
            if parent not in packs and parent != "event":
                raise UsageError(f"tasks: '{pack.name}' is written from '{parent}'; add '{parent}' to the tasks")
    try:
        order = TopologicalSorter({n: [p for p in packs[n].spec["parents"] if p in packs] for n in packs})
        return {name: packs[name] for name in order.static_order()}
    except CycleError as e:
        raise UsageError(f"tasks: {' -> '.join(e.args[1])} are each other's parents; break the circle") from None


def load_pack(path: Path) -> TaskPack:
    """The pack in one folder, checked: schema, examples, task.json, template. Raises UsageError."""
    name = path.name
    if not path.is_dir():
        known = sorted(p.parent.name for p in BUILT_IN.glob("*/schema.json"))
        raise UsageError(f"{path}: no such task pack; ours: {', '.join(known)}; a pack of yours is given by its path")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UsageError(f"{path}: a task's name is its folder's, of a-z, 0-9 and _; rename the folder")
    ontologies = _ontologies(path.parent / "ontology")
    rules, spec = _read_json(BUILT_IN / "pack.json"), _read_json(path / "task.json")
    check(path / "task.json", spec, rules)
    spec = with_defaults(rules, spec)
    if spec["ontology"] not in ontologies:
        raise UsageError(f"{path / 'task.json'}: no ontology '{spec['ontology']}'; there: {sorted(ontologies)}")
    template = _read_json(path / "template.json") if (path / "template.json").is_file() else None
    if template is not None:
        if not (isinstance(template, dict) and "value" in template and isinstance(template.get("defs", {}), dict)):
            raise UsageError(f'{path}/template.json: give an object with "value", the node to write, and "defs" if any')
        check_template(template, str(path / "template.json"), template.get("defs"))
    pack = TaskPack(
        name=name,
        path=path,
        schema=resolved(_read_json(path / "schema.json"), path / "schema.json", ontologies),
        ontology=ontologies[spec["ontology"]]["$defs"],
        spec=spec,
        prompt=_read(path / "prompt.md") if (path / "prompt.md").is_file() else "",  # dealt: no model writes it
        review_xml=_read(path / "review.xml"),
        template=template,
        examples=tuple(_examples(path / "examples.jsonl")),
    )
    for talk in spec["messages"]:
        check_template(talk["messages"], str(path / "task.json"))
    for example in pack.examples:
        _check_example(pack, example)
    return pack


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path}: not there; a task pack needs it (schemas/caption is a small one to copy)") from None
    except UnicodeDecodeError as e:
        raise UsageError(f"{path}: not UTF-8 at byte {e.start}; save it as UTF-8") from None


def _read_json(path: Path) -> Any:
    try:
        return parse_json(_read(path))
    except DataError as e:
        raise UsageError(f"{path}: {e}") from None


def _ontologies(beside: Path) -> dict[str, Json]:
    """Ontology documents by `$id`: ours, and those in `ontology/` beside the pack."""
    files = sorted({*(BUILT_IN / "ontology").glob("*.json"), *beside.glob("*.json")})
    documents = {}
    for path in files:
        document = _read_json(path)
        if not (isinstance(document, dict) and "$id" in document and isinstance(document.get("$defs"), dict)):
            raise UsageError(f'{path}: an ontology is an object with "$id" and "$defs"')
        documents[str(document["$id"])] = document
    return documents


def at_pointer(value: Any, where: str) -> Any:
    """What a JSON pointer points to. Raises DataError if there is nothing."""
    for part in where.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, ValueError, TypeError):
            raise DataError(f"nothing at '{where}' (no '{key}')") from None
    return value


def errors(pack: TaskPack, value: Any) -> list[SchemaError]:
    """How `value`, read from JSON, breaks the pack's schema, in document order; empty if it does not.

    What jsonschema-rs takes is right; `jsonschema`, slower by two orders, decides about the rest and writes the words.
    """
    with suppress(ValueError):  # half a character, say
        if pack.accepts and pack.accepts(value):
            return []
    found = sorted(pack.validator.iter_errors(value), key=lambda e: [str(p) for p in e.absolute_path])
    return [SchemaError(pointer(e.absolute_path), str(e.validator), e.message) for e in found]


def parse_json(text: str) -> Any:
    """Strict JSON: no NaN, infinity or half characters, no duplicate keys. Raises DataError saying which."""

    def unique(pairs: list[tuple[str, Any]]) -> Json:
        seen = dict(pairs)
        if len(seen) != len(pairs):
            twice = next(k for i, (k, _) in enumerate(pairs) if k in dict(pairs[:i]))
            raise DataError(f"not strict JSON: the key {twice!r} stands twice in one object")
        return seen

    def constant(name: str) -> Any:
        raise DataError(f"not strict JSON: {name} is no finite number")

    def finite(number: str) -> float:
        return value if math.isfinite(value := float(number)) else constant(number)

    def whole(number: str) -> int:
        finite(number)  # so that a column of numbers can hold it
        return int(number)

    try:
        value = json.loads(text, object_pairs_hook=unique, parse_constant=constant, parse_float=finite, parse_int=whole)
        if HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError:
        raise DataError("not strict JSON: half a character (a surrogate without the other)") from None
    except ValueError as e:
        raise DataError(f"not JSON: {e}") from None
    except RecursionError:
        raise DataError("not JSON: nested too deeply") from None


def _examples(path: Path) -> Iterator[Json]:
    for number, line in enumerate(_read(path).splitlines(), 1):
        try:
            example = parse_json(line)
        except DataError as e:
            raise UsageError(f"{path}:{number}: {e}") from None
        if not isinstance(example, dict) or "value" not in example or example.get("ok") not in (True, False):
            raise UsageError(f'{path}:{number}: an example is {{"value": …, "ok": true}}, or false with a "reason"')
        yield example


def _check_example(pack: TaskPack, example: Json) -> None:
    """A good example passes; a bad one fails for the stated reason, "<keyword> <pointer>"."""
    found = [f"{e.keyword} {e.pointer}".strip() for e in errors(pack, example["value"])]
    where = pack.path / "examples.jsonl"
    if example["ok"] and found:
        raise UsageError(f"{where}: a good example breaks the schema: {found[0]}")
    if not example["ok"] and example.get("reason") not in found:
        raise UsageError(f"{where}: a bad example states '{example.get('reason')}', but fails for {found or 'nothing'}")


# -- what is derived from it -----------------------------------------------------------------------------------------
def features(pack: TaskPack) -> datasets.Features:
    """The Hugging Face features of a value: one entry per property of the schema. Every field may be null."""
    import datasets

    return datasets.Features({k: _feature(v, f"{pack.path}/{k}") for k, v in pack.schema["properties"].items()})


def _feature(node: Json, where: str) -> Any:
    import datasets

    options = [n for n in node.get("anyOf", ()) if n.get("type") != "null"]
    if len(options) == 1:
        return _feature(options[0], where)
    kinds = node.get("type", [])
    kinds = [k for k in ([kinds] if isinstance(kinds, str) else kinds) if k != "null"]
    values = node.get("enum", [node["const"]] if "const" in node else [None])
    if not kinds and any(values) and all(isinstance(v, str) or v is None for v in values):
        kinds = ["string"]
    if kinds == ["object"]:
        return {k: _feature(v, f"{where}/{k}") for k, v in node["properties"].items()}
    if kinds == ["array"]:
        return datasets.List(_feature(node["items"], f"{where}/items"))
    if len(kinds) == 1 and kinds[0] in COLUMN_TYPES:
        return datasets.Value(COLUMN_TYPES[kinds[0]])
    raise UsageError(f"{where}: no column type for {kinds or node}; give it one type, or one type and null")


def shape(pack: TaskPack, without: str | None = None, lengths: bool = False) -> Json:
    """The schema in the subset that OpenAI's strict structured output takes, `without` one top-level property.

    Conditions it cannot carry are left to `errors`, and so are the lengths of strings: vLLM's grammars make invalid
    JSON of them (https://github.com/mlc-ai/xgrammar/issues/800). `lengths`: for a prompt, where they are good advice.
    See https://platform.openai.com/docs/guides/structured-outputs#supported-schemas.
    """
    left_out = NOT_IN_STRICT if lengths else (*NOT_IN_STRICT, "minLength", "maxLength")

    def strict(node: Any) -> Any:
        if isinstance(node, list):
            return [strict(n) for n in node]
        if not isinstance(node, dict):
            return node
        return {k: strict(v) for k, v in node.items() if k not in left_out and not k.startswith("x-")}

    schema: Json = strict(pack.schema)
    if without is not None:
        schema["properties"] = {k: v for k, v in schema["properties"].items() if k != without}
        schema["required"] = [k for k in schema["required"] if k != without]
    return schema


def response_format(pack: TaskPack) -> Json:
    """The request field that makes an OpenAI-compatible endpoint keep to the pack's `shape`."""
    return {"type": "json_schema", "json_schema": {"name": pack.name, "strict": True, "schema": shape(pack)}}


def items(pack: TaskPack, value: Any) -> list[tuple[str, Json]]:
    """(item id, item) of a value that is a list of items, else empty. An id is the item's own, else its place."""
    if pack.spec["items"] is None:
        return []
    return [(str(item.get("id", i)), item) for i, item in enumerate(at_pointer(value, pack.spec["items"]))]


def form_data(pack: TaskPack, value: Any) -> Json:
    """What a review form shows of a value, keyed as review.xml names it: `<task>` holds the items (also empty), and
    `<task>_<property>` each plain top-level property. Texts are passed on as they are; the form's server escapes them.
    """
    data: Json = {pack.name: [item for _, item in items(pack, value)]} if pack.spec["items"] else {}
    plain = {key: value[key] for key in pack.schema["properties"] if not isinstance(value[key], (list, dict))}
    return data | {f"{pack.name}_{key}": "" if one is None else one for key, one in plain.items()}


def conversations(pack: TaskPack, value: Any, context: Json | None = None) -> list[Json]:
    """Training conversations: `{"style", "messages": [{"role", "content"}]}`. "<video>" stands for the clip.

    The texts of task.json see `value`, `item` and what `context` names. Raises UsageError for a missing variable.
    """
    names = {**(context or {}), "value": value}
    talks = []
    for talk in pack.spec["messages"]:
        for item in [i for _, i in items(pack, value)] if talk.get("each") else [None]:
            scope = Scope({**names, "item": item} if item else names, where=str(pack.path / "task.json"))
            body = [{"role": m["role"], "content": render(m["content"], scope, "/messages")} for m in talk["messages"]]
            talks.append({"style": render(talk["style"], scope, "/style"), "messages": body})
    return talks


@cache
def words(pack: TaskPack) -> dict[str, dict[str, str]]:
    """For each named value set of the ontology: how people (and foreign tables) say it -> our value, casefolded."""
    said: dict[str, dict[str, str]] = {}
    for name, node in pack.ontology.items():
        if "enum" in node:
            synonyms = node.get("x-synonyms", {})
            said[name] = {w.casefold(): v for v, more in synonyms.items() for w in more}
            said[name] |= {str(v).casefold().replace("_", " "): v for v in node["enum"] if v is not None}
    return said


def canonical(pack: TaskPack, name: str, given: Any) -> str | None:
    """The ontology's value for what a table says of `name` ("Rainy" -> "rain"), None if it has none."""
    return words(pack).get(name, {}).get(" ".join(str(given).casefold().replace("_", " ").split()))


def phrase(pack: TaskPack, name: str, value: str) -> str:
    """How a text says the value `value` of `name`: the ontology's phrase, else the value with spaces."""
    said: str = pack.ontology.get(name, {}).get("x-phrases", {}).get(value, value.replace("_", " "))
    return said
