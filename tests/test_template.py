"""The template engine: each node kind, its errors, and that data is never taken for a template."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import UsageError
from curation.template import Loose, Scope, check, render

NAMES = {
    "event": {"class": "collision", "alert_s": 0.0, "event_s": 3.456, "partner": None},
    "say": Loose(a="a car"),
    "phases": [{"name": "before"}, {"name": "after"}],
}


def run(node: Any, seed: tuple[Any, ...] = (0,), defs: dict[str, Any] | None = None) -> Any:
    check(node, "t.json", defs)
    return render(node, Scope(NAMES, seed, defs or {}, "t.json"))


@pytest.mark.parametrize("node,value", [
    ("{event.class} at {event.event_s} s: {^say.a}", "collision at 3.5 s: A car"),
    ("no {braces here} or {{event.class}}", "no {braces here} or {collision}"),
    ([1, None, True, 2.5], [1, None, True, 2.5]),
    ({"$get": "event.event_s"}, 3.456),
    ({"$if": "event.alert_s", "then": "0 is there"}, "0 is there"),
    ({"$if": "event.partner", "then": "x", "else": "none"}, "none"),
    ({"$if": "say.nothing", "then": "x"}, None),
    ({"$if": "event.class", "is": ["collision", "normal"], "then": "x", "else": "y"}, "x"),
    ({"$if": "event.class", "is": "normal", "then": "x", "else": "y"}, "y"),
    ({"$switch": "event.class", "cases": {"normal": "n", "collision": "c"}}, "c"),
    ({"$switch": "event.partner", "cases": {"car": "c"}, "default": "d"}, "d"),
    (["a", {"$if": "event.partner", "then": "x"}, {"$switch": "event.class", "cases": {}}], ["a"]),
    ({"a": 1, "b": {"$if": "event.partner", "then": "x"}}, {"a": 1}),
    ({"$for": "phases", "as": "p", "do": "{p.name}!"}, ["before!", "after!"]),
    ({"$join": {"$get": "phases"}, "key": "name", "with": "+"}, "before+after"),
    ({"$join": ["a", {"$if": "event.partner", "then": "x"}, "b"]}, "a b"),
    ({"$concat": [["a"], ["b", "c"]]}, ["a", "b", "c"]),
    ({"$let": {"x": "{event.class}", "y": "{x}!"}, "in": ["{y}", "{y}"]}, ["collision!", "collision!"]),
])  # fmt: skip
def test_nodes(node: Any, value: Any) -> None:
    assert run(node) == value


def test_shared_nodes() -> None:
    assert run([{"$use": "who"}, {"$use": "who"}], defs={"who": "{say.a}"}) == ["a car", "a car"]


@pytest.mark.parametrize("node,said", [
    ({"a": [{"$pick": ["x"]}]}, r"t.json: /a/0: unknown node '\$pick'"),
    ({"$if": "event.class", "than": "x"}, "'than'"),
    ({"$if": "event.class"}, "needs 'then'"),
    ({"$choose": []}, "one node or more"),
    ({"$choose": "x"}, "one node or more"),
    ({"$use": "nobody"}, "no 'nobody'"),
    ({"$use": ["nobody"]}, "no \\['nobody'\\]"),
    ({"$let": "x", "in": "x"}, "an object, a node for each name"),
    ({"$switch": "event.class", "cases": ["x"]}, "an object, a node for each case"),
    ({"$for": "phases", "as": 3, "do": "x"}, "takes a name"),
    ({"$get": 3}, "takes a path"),
])  # fmt: skip
def test_a_wrong_template_is_told_with_its_place_before_it_runs(node: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check(node, "t.json", {})


@pytest.mark.parametrize("node,said", [
    ("{event.clas}", "no 'clas' in 'event.clas'"),
    ({"x": ["{evnt.class}"]}, "/x/0: no 'evnt'"),
    ("{event.partner}", "guard it with"),
    ("{say.nothing}", "guard it with"),
    ("{phases}", "not a text"),
])  # fmt: skip
def test_missing_variables_are_named(node: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run(node)


def test_choices_depend_on_seed_and_place_only() -> None:
    node = [{"$choose": list("abcdefgh")} for _ in range(200)]
    assert run(node, (1, "clip")) == run(node, (1, "clip"))
    assert run(node, (1, "clip")) != run(node, (2, "clip"))
    assert {*run(node)} == {*"abcdefgh"}
    loop = {"$for": "many", "as": "one", "do": {"$choose": list("abcdefgh")}}
    assert len({*render(loop, Scope({"many": list(range(100))}))}) == 8


@given(st.text())
def test_values_are_never_looked_at_again(text: str) -> None:
    names = {"given": text + "{event.class}{{schema}}", "event": {"class": "collision"}}
    assert render("<{given}>", Scope(names)) == f"<{text}{{event.class}}{{{{schema}}}}>"
