"""The template author: executes the data of a template over a context. Nothing in a template or context is code.

A template is JSON; everything stands for itself except strings with `{path}` and objects with a `$` key:

    "{say.weather}"                                      the value at a path; "{^say.weather}" with a capital
    {"$get": PATH}                                       the value itself, typed
    {"$choose": [NODE, …]}                               one of several wordings, by seed and place
    {"$if": PATH, "is": X or [X, …], "then": N, "else": N}   "is" left out: not null, not empty
    {"$switch": PATH, "cases": {X: NODE}, "default": N}  by the value as text; without a match and default: left out
    {"$for": PATH, "as": NAME, "do": NODE}               a list
    {"$join": NODE, "key": NAME, "with": TEXT}           a list of texts (or of objects, by key) as one text
    {"$concat": [NODE, …]}                               lists as one list
    {"$let": {NAME: NODE}, "in": NODE}                   names for parts that are used twice; in order
    {"$use": NAME}                                       a node of the template's "defs"

What is left out vanishes from lists, objects and joins. A path that does not exist, or is empty inside a text, is an
error that names the place. A value put into a text is never looked at again, so `{…}` in metadata stays text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from curation.errors import UsageError
from curation.ids import seeded

ARGUMENTS: Final[dict[str, frozenset[str]]] = {
    "$get": frozenset(),
    "$choose": frozenset(),
    "$if": frozenset({"is", "then", "else"}),
    "$switch": frozenset({"cases", "default"}),
    "$for": frozenset({"as", "do"}),
    "$join": frozenset({"key", "with"}),
    "$concat": frozenset(),
    "$let": frozenset({"in"}),
    "$use": frozenset(),
}
REQUIRED: Final[dict[str, frozenset[str]]] = {
    "$if": frozenset({"then"}),
    "$switch": frozenset({"cases"}),
    "$for": frozenset({"as", "do"}),
    "$let": frozenset({"in"}),
}
VARIABLE = re.compile(r"\{(\^?)([A-Za-z_][\w]*(?:\.\w+)*)\}")


class Loose(dict[str, Any]):
    """A part of a context whose keys vary by clip (attributes): a key that is not there is null, not an error."""

    def __missing__(self, key: str) -> None:
        return None


class Absent:
    """What a node leaves out."""


ABSENT: Final = Absent()


@dataclass(frozen=True)
class Scope:
    """What a node sees: names, the seed of its choices, the template's shared nodes, and the file to name in errors."""

    names: dict[str, Any]
    seed: tuple[Any, ...] = ()
    defs: dict[str, Any] = field(default_factory=dict)
    where: str = "template"

    def with_names(self, **more: Any) -> Scope:
        return Scope({**self.names, **more}, self.seed, self.defs, self.where)


def check(node: Any, where: str, defs: dict[str, Any] | None = None, path: str = "") -> None:
    """Raises UsageError, naming the place, for a node kind or argument that does not exist."""
    defs = defs or {}
    if isinstance(node, list):
        for i, child in enumerate(node):
            check(child, where, defs, f"{path}/{i}")
    if not isinstance(node, dict):
        return
    kinds = [k for k in node if k.startswith("$")]
    if kinds:
        kind = kinds[0]
        if kind not in ARGUMENTS:
            raise UsageError(f"{where}: {path}: unknown node '{kind}'; known: {', '.join(ARGUMENTS)}")
        wrong = set(node) - {kind} - ARGUMENTS[kind]
        missing = REQUIRED.get(kind, frozenset()) - set(node)
        if wrong or missing:
            problem = f"does not take '{min(wrong)}'" if wrong else f"needs '{min(missing)}'"
            raise UsageError(f"{where}: {path}: '{kind}' {problem}; it takes {sorted(ARGUMENTS[kind])}")
        if kind in ("$choose", "$concat") and not (isinstance(node[kind], list) and node[kind]):
            raise UsageError(f"{where}: {path}: '{kind}' takes a list of one node or more")
        if kind == "$use" and node[kind] not in defs:
            raise UsageError(f"{where}: {path}: no '{node[kind]}' under \"defs\"; there: {sorted(defs)}")
        if kind in ("$get", "$if", "$switch", "$for") and not isinstance(node[kind], str):
            raise UsageError(f"{where}: {path}: '{kind}' takes a path such as \"event.class\"")
    for key, child in node.items():
        check(child, where, defs, f"{path}/{key}")


def lookup(path: str, scope: Scope, at: str) -> Any:
    """The value at a dotted path of the context. Raises UsageError for a name that is not there."""
    value: Any = scope.names
    for part in path.split("."):
        if isinstance(value, dict):
            try:
                value = value[part]
                continue
            except KeyError:
                pass
        known = sorted(value) if isinstance(value, dict) else type(value).__name__
        raise UsageError(f"{scope.where}: {at}: no '{part}' in '{path}'; there: {known}")
    return value


def substitute(text: str, scope: Scope, at: str) -> str:
    """`text` with each `{path}` replaced once, plainly. Raises UsageError for a missing or empty variable."""

    def one(match: re.Match[str]) -> str:
        value = lookup(match[2], scope, at)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)) or value == "":
            raise UsageError(f"{scope.where}: {at}: '{{{match[2]}}}' is {value!r:.40}, not a text; guard it with $if")
        shown = f"{value:.1f}" if isinstance(value, float) else str(value)
        return shown[:1].upper() + shown[1:] if match[1] else shown

    return VARIABLE.sub(one, text)


def render(node: Any, scope: Scope, path: str = "") -> Any:
    """The value of `node`: texts filled, choices made, what is left out gone (null at the top)."""
    value = _render(node, scope, path)
    return None if value is ABSENT else value


def _render(node: Any, scope: Scope, path: str) -> Any:
    if isinstance(node, str):
        return substitute(node, scope, path)
    if isinstance(node, list):
        return _present(_render(child, scope, f"{path}/{i}") for i, child in enumerate(node))
    if not isinstance(node, dict):
        return node
    kind = next((k for k in node if k.startswith("$")), "")
    if not kind:
        pairs = ((k, _render(v, scope, f"{path}/{k}")) for k, v in node.items())
        return {k: v for k, v in pairs if v is not ABSENT}
    return _node(kind, node, scope, f"{path}/{kind}")


def _node(kind: str, node: dict[str, Any], scope: Scope, path: str) -> Any:
    body = node[kind]
    if kind == "$get":
        return lookup(body, scope, path)
    if kind == "$choose":
        i = seeded(*scope.seed, path).randrange(len(body))
        return _render(body[i], scope, f"{path}/{i}")
    if kind == "$use":
        return _render(scope.defs[body], scope, f"{path}/{body}")
    if kind == "$let":
        for name, child in body.items():
            scope = scope.with_names(**{name: _render(child, scope, f"{path}/{name}")})
        return _render(node["in"], scope, f"{path}/in")
    if kind == "$for":
        found = lookup(body, scope, path) or []
        return _present(
            _render(node["do"], scope.with_names(**{node["as"]: one}), f"{path}/{i}") for i, one in enumerate(found)
        )
    if kind == "$concat":
        return [one for part in _render(body, scope, path) for one in part]
    if kind == "$join":
        parts = _render(body, scope, path)
        texts = [part[node["key"]] for part in parts] if "key" in node else parts
        return str(node.get("with", " ")).join(texts)
    branch = _branch(kind, node, lookup(body, scope, path))
    return branch if branch is ABSENT else _render(branch, scope, path)


def _branch(kind: str, node: dict[str, Any], value: Any) -> Any:
    """The node that an `$if` or `$switch` leads to."""
    if kind == "$switch":
        return node["cases"].get(str(value), node.get("default", ABSENT))
    if "is" in node:
        wanted = node["is"] if isinstance(node["is"], list) else [node["is"]]
        return node["then"] if value in wanted else node.get("else", ABSENT)
    full = value is not None and value is not ABSENT and value != "" and value != []
    return node["then"] if full else node.get("else", ABSENT)


def _present(values: Any) -> list[Any]:
    return [v for v in values if v is not ABSENT]
