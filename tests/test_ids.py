from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.ids import canonical_json, fraction, make_id, seeded
from curation.types import Clip, Event, Review, Source

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_canonical_json_is_a_fixed_point(value: object) -> None:
    try:
        text = canonical_json(value)
    except UnicodeEncodeError:
        return
    assert canonical_json(json.loads(text)) == text


@given(st.dictionaries(st.text("abcé", max_size=3), st.integers(), min_size=2))
def test_key_order_does_not_matter(value: dict[str, int]) -> None:
    assert make_id("x", value) == make_id("x", dict(reversed(value.items())))


def test_the_documented_form() -> None:
    # The docstring is a contract: anyone can re-derive an id with sha256 and json alone.
    assert canonical_json({"b": 1, "a": (1.5, "é")}) == '{"a":[1.5,"é"],"b":1}'
    digest = hashlib.sha256(b'["clip",["a",1]]').hexdigest()
    assert make_id("clip", ["a", 1]) == f"clip1_{digest[:32]}"


def test_equal_text_in_other_unicode_forms_is_one_id() -> None:
    assert make_id("x", "e\u0301") == make_id("x", "é")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "\ud800"])
def test_what_has_no_canonical_form_is_refused(bad: object) -> None:
    with pytest.raises(ValueError):
        canonical_json(bad)


def test_ids_do_not_depend_on_the_process() -> None:
    code = (
        "from curation.ids import *; print(make_id('x', {'s': {'a','b','c'}}), fraction(1,'q'), seeded(1,'z').random())"
    )
    runs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert runs == {f"{make_id('x', {'s': {'a', 'b', 'c'}})} {fraction(1, 'q')} {seeded(1, 'z').random()}\n"}


def test_clock_and_machine_are_not_hashed() -> None:
    a = Source("d", "k", "a.mp4", "00", 1.0, 10.0, 4, 4, root="/one")
    b = Source("d", "k", "b.mp4", "00", 1.0, 10.0, 4, 4, root="/two")
    assert a.id == b.id
    one = Review("c", "event", "r1", "triage", "accept", {"class": "normal"}, seconds=3.0, reviewed_at="now")
    two = Review("c", "event", "r1", "triage", "accept", {"class": "normal"}, seconds=9.0, reviewed_at="later")
    assert one.id == two.id != Review("c", "event", "r2", "triage", "accept", {"class": "normal"}).id


def test_a_label_change_is_another_source() -> None:
    plain = Source("d", "k", "a.mp4", "00", 1.0, 10.0, 4, 4)
    assert plain.id != Source("d", "k", "a.mp4", "00", 1.0, 10.0, 4, 4, events=(Event(("normal",)),)).id


def test_a_clip_is_its_cut_not_its_media() -> None:
    profile = {"fps": 10}
    assert Clip("s", "event", 0.0, 6.0, profile).id == Clip("s", "event", 0.0, 6.0, profile, blob="ab", frames=60).id
    assert Clip("s", "event", 0.0, 6.0, profile).id != Clip("s", "event", 0.0, 6.0, {"fps": 5}).id


@given(st.integers(), st.text("ab"))
def test_fraction_is_in_the_unit_interval(seed: int, item: str) -> None:
    assert 0 <= fraction(seed, item) < 1
