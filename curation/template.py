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

KINDS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {  # what a node must and what it may have beside
    "$get": ((), ()),
    "$choose": ((), ()),
    "$if": (("then",), ("is", "else")),
    "$switch": (("cases",), ("default",)),
    "$for": (("as", "do"), ()),
    "$join": ((), ("key", "with")),
    "$concat": ((), ()),
    "$let": (("in",), ()),
    "$use": ((), ()),
}
ABSENT: Final = object()  # what a node leaves out
VARIABLE = re.compile(r"\{(\^?)([A-Za-z_][\w]*(?:\.\w+)*)\}")


class Loose(dict[str, Any]):
    """A part of a context whose keys vary by clip (attributes): a key that is not there is null, not an error."""

    def __missing__(self, key: str) -> None:
        return None


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
    for key, child in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        check(child, where, defs, f"{path}/{key}")
    if not (kind := _kind(node)):
        return
    body, (needs, takes) = node[kind], KINDS.get(kind, ((), ()))
    wrong = ""
    if kind not in KINDS:
        wrong = f"unknown node '{kind}'; known: {', '.join(KINDS)}"
    elif other := set(node) - {kind, *needs, *takes}:
        wrong = f"'{kind}' does not take '{min(other)}'; it takes {[*needs, *takes]}"
    elif missing := set(needs) - set(node):
        wrong = f"'{kind}' needs '{min(missing)}'"
    elif kind in ("$choose", "$concat") and not (isinstance(body, list) and body):
        wrong = f"'{kind}' takes a list of one node or more"
    elif kind == "$use" and not (isinstance(body, str) and body in (defs or {})):
        wrong = f'no {body!r} under "defs"; there: {sorted(defs or {})}'
    elif kind in ("$get", "$if", "$switch", "$for") and not isinstance(body, str):
        wrong = f"'{kind}' takes a path such as \"event.class\""
    elif kind in ("$let", "$switch") and not isinstance(body if kind == "$let" else node["cases"], dict):
        wrong = f"'{kind}' takes an object, a node for each {'name' if kind == '$let' else 'case'}"
    elif kind == "$for" and not isinstance(node["as"], str):
        wrong = '\'$for\' takes a name: "as": "one"'
    if wrong:
        raise UsageError(f"{where}: {path}: {wrong}")


def _kind(node: Any) -> str:
    return next((k for k in node if k.startswith("$")), "") if isinstance(node, dict) else ""


def lookup(path: str, scope: Scope, at: str) -> Any:
    """The value at a dotted path of the context. Raises UsageError for a name that is not there."""
    value: Any = scope.names
    for part in path.split("."):
        try:
            value = value[part]
        except (KeyError, TypeError, IndexError):
            known = sorted(value) if isinstance(value, dict) else type(value).__name__
            raise UsageError(f"{scope.where}: {at}: no '{part}' in '{path}'; there: {known}") from None
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
    if not (kind := _kind(node)):
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
        found = enumerate(lookup(body, scope, path) or [])
        return _present(_render(node["do"], scope.with_names(**{node["as"]: one}), f"{path}/{i}") for i, one in found)
    if kind == "$concat":
        return [one for part in _render(body, scope, path) for one in part]
    if kind == "$join":
        parts = _render(body, scope, path)
        texts = [part[node["key"]] for part in parts] if "key" in node else parts
        return str(node.get("with", " ")).join(texts)
    value = lookup(body, scope, path)
    if kind == "$switch":
        branch = node["cases"].get(str(value), node.get("default", ABSENT))
    else:
        wanted = node["is"] if isinstance(node.get("is"), list) else [node.get("is")]
        holds = value in wanted if "is" in node else value is not ABSENT and value not in (None, "", [])
        branch = node["then"] if holds else node.get("else", ABSENT)
    return branch if branch is ABSENT else _render(branch, scope, path)


def _present(values: Any) -> list[Any]:
    return [v for v in values if v is not ABSENT]
