from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.annotators import standing
from curation.resolve import event_label, on_event, source_label, target_event, text_label
from curation.tasks import load_packs
from curation.types import Clip, Draft, Event, Review

CLIP = Clip(
    "s", "event", 0.0, 6.0, {}, frames=60, fps=10.0, events=(Event(("collision", "near_collision"), time_s=3.0),)
)


def value(name: str, at: float | None = None) -> dict[str, Any]:
    return {
        "class": name,
        "alert_s": at,
        "event_s": at,
        "ego_role": "striking",
        "partner": "car",
        "time_basis": "contact",
    }


def saw(rater: str, name: str, at: float | None = None, **more: Any) -> Review:
    return Review(CLIP.id, "event", rater, more.pop("round", "triage"), "edit", value(name, at), **more)


def test_one_rater_two_alike_two_of_three_and_a_tie() -> None:
    collision, near = "collision", "near_collision"
    assert event_label(CLIP, [saw("a", collision)]).basis == "single"
    assert event_label(CLIP, [saw("a", collision), saw("b", collision)]).basis == "agreed"
    most = event_label(CLIP, [saw("a", collision), saw("b", near), saw("c", collision)])
    assert (most.basis, most.value["class"], most.raters) == ("majority", collision, 3)
    tie = event_label(CLIP, [saw("a", collision), saw("b", near)])
    assert (tie.basis, tie.value, tie.detail) == ("conflict", None, "collision 1, near_collision 1")


def test_adjudication_wins() -> None:
    reviews = [saw("a", "collision"), saw("b", "near_collision"), saw("boss", "normal", round="adjudication")]
    label = event_label(CLIP, reviews)
    assert (label.basis, label.value["class"]) == ("adjudicated", "normal")


def test_times_are_the_median_of_those_who_chose_the_class() -> None:
    reviews = [
        saw("a", "collision", 3.0),
        saw("b", "collision", 3.4),
        saw("c", "normal", 9.0),
        saw("d", "collision", 5.0),
    ]
    assert event_label(CLIP, reviews).value["event_s"] == 3.4


def test_cannot_tell_is_no_vote_and_nobody_telling_is_no_label() -> None:
    shrug = Review(CLIP.id, "event", "b", "triage", "cannot_tell")
    assert event_label(CLIP, [saw("a", "normal"), shrug]).basis == "single"
    assert event_label(CLIP, [shrug]).basis == "rejected"
    assert event_label(CLIP, []).basis == "unreviewed"
    assert event_label(CLIP, []).value is None


def test_a_clip_most_call_unusable_is_excluded() -> None:
    bad = [Review(CLIP.id, "clip", r, "triage", "reject", faults=("unwatchable",)) for r in "ab"]
    assert event_label(CLIP, [*bad, saw("c", "normal")]).basis == "excluded"
    assert event_label(CLIP, [bad[0], saw("b", "normal"), saw("c", "normal")]).basis == "agreed"


def test_a_label_outside_the_sources_claim_says_so() -> None:
    assert event_label(CLIP, [saw("a", "normal")]).detail == "the source says collision or near_collision"
    assert event_label(CLIP, [saw("a", "collision")]).detail == ""


def test_simulated_marks_stay() -> None:
    assert event_label(CLIP, [saw("a", "collision", origin="simulated"), saw("b", "collision")]).simulated
    assert not event_label(CLIP, [saw("b", "collision")]).simulated


def test_only_the_newest_revision_stands_and_a_withdrawn_one_falls() -> None:
    old, new = saw("a", "collision", revision=0), saw("a", "normal", revision=1)
    gone = Review(CLIP.id, "event", "b", "triage", "withdrawn", revision=2)
    reviews = [new, old, saw("b", "collision"), gone]
    assert standing(reviews) == [new]


@given(st.permutations(range(5)))
def test_the_order_of_reviews_does_not_matter(order: list[int]) -> None:
    names = ["collision", "normal", "collision", "near_collision", "collision"]
    reviews = [saw(rater, name, float(i)) for i, (rater, name) in enumerate(zip("abcde", names, strict=True))]
    assert event_label(CLIP, [reviews[i] for i in order]).id == event_label(CLIP, reviews).id


def test_the_target_is_the_earliest_gravest_event_that_involves_the_ego() -> None:
    witnessed = Event(("collision",), ego_role="witness", time_s=1.0)
    near = Event(("near_collision",), ego_role="striking", time_s=2.0)
    hit = Event(("collision",), ego_role="struck", time_s=5.0)
    later = Event(("collision",), ego_role="struck", time_s=6.0)
    assert target_event([witnessed, later, near, hit]) == hit
    assert target_event([witnessed]) == witnessed
    assert target_event([]) is None


def test_a_trusted_source_must_name_one_class() -> None:
    assert source_label(CLIP).basis == "excluded"
    assert "collision or near_collision" in source_label(CLIP).detail
    one = Clip("s", "event", 0.0, 6.0, {}, events=(Event(("normal",)),))
    assert (source_label(one).basis, source_label(one).value["class"]) == ("source", "normal")


# -- texts -----------------------------------------------------------------------------------------------------------
PACKS = load_packs(["event", "caption", "description", "vqa"])


@pytest.fixture
def draft() -> Draft:
    good = next(e["value"] for e in PACKS["vqa"].examples if e["ok"])
    first = good["items"][0]
    return Draft(CLIP.id, "vqa", {**good, "items": [{**first, "id": "a"}, {**first, "id": "b"}]}, {}, "template")


def judge(draft: Draft, rater: str, verdict: str, item: str | None = None, new: Any = None, **more: Any) -> Review:
    return Review(draft.clip_id, draft.task, rater, more.pop("round", "text"), verdict, new, draft.id, item, **more)


def test_texts_by_verdict(draft: Draft) -> None:
    pack = PACKS["vqa"]
    assert text_label(pack, draft, []).basis == "unreviewed"
    assert text_label(pack, draft, [judge(draft, "a", "accept")]).basis == "single"
    assert text_label(pack, draft, [judge(draft, r, "accept") for r in "ab"]).basis == "agreed"
    assert text_label(pack, draft, [judge(draft, "a", "reject")]).value is None
    split = [judge(draft, "a", "accept"), judge(draft, "b", "reject")]
    assert text_label(pack, draft, split).basis == "conflict"
    assert text_label(pack, draft, [*split, judge(draft, "z", "accept", round="adjudication")]).basis == "adjudicated"
    assert text_label(pack, draft, [judge(draft, "a", "cannot_tell")]).value is None


def test_items_are_decided_one_by_one(draft: Draft) -> None:
    pack = PACKS["vqa"]
    first, second = draft.value["items"]
    kept = text_label(pack, draft, [judge(draft, "r", "reject", "a"), judge(draft, "r", "accept", "b")])
    assert kept.value["items"] == [second]
    new = {**first, "answer": first["options"][1]}
    edited = text_label(pack, draft, [judge(draft, "r", "edit", "a", new), judge(draft, "r", "accept", "b")])
    assert edited.value["items"] == [new, second]
    assert text_label(pack, draft, [judge(draft, "r", "reject", i) for i in "ab"]).value is None
    assert draft.value["items"] == [first, second]


def test_two_different_edits_are_a_conflict_two_alike_are_not(draft: Draft) -> None:
    pack, first = PACKS["vqa"], draft.value["items"][0]
    one, two = {**first, "question": "One?"}, {**first, "question": "Two?"}
    ok = judge(draft, "r", "accept", "b")
    differ = text_label(pack, draft, [judge(draft, "r", "edit", "a", one), judge(draft, "s", "edit", "a", two), ok])
    assert [i["id"] for i in differ.value["items"]] == ["b"]
    alike = text_label(pack, draft, [judge(draft, "r", "edit", "a", one), judge(draft, "s", "edit", "a", one), ok])
    assert alike.value["items"][0] == one


def test_what_the_reviews_leave_must_fit_the_schema(draft: Draft) -> None:
    broken = {**draft.value["items"][0], "answer": ""}
    label = text_label(PACKS["vqa"], draft, [judge(draft, "r", "edit", "a", broken)])
    assert (label.basis, label.value) == ("rejected", None)


def test_an_open_error_excludes(draft: Draft) -> None:
    label = text_label(PACKS["vqa"], draft, [judge(draft, "a", "accept")], "schema: broken")
    assert (label.basis, label.value, label.detail) == ("excluded", None, "schema: broken")


def test_one_rater_has_one_vote_and_the_last_word_is_theirs() -> None:
    twice = [saw("a", "collision", round="triage"), saw("a", "collision", round="blind", reviewed_at="2")]
    assert (event_label(CLIP, twice).basis, event_label(CLIP, twice).raters) == ("single", 1)
    changed = [saw("a", "normal", reviewed_at="1"), saw("a", "collision", round="blind", reviewed_at="2")]
    assert event_label(CLIP, changed).value["class"] == event_label(CLIP, changed[::-1]).value["class"] == "collision"


def test_who_cannot_tell_is_no_rater_of_the_label(draft: Draft) -> None:
    shrug = Review(CLIP.id, "event", "b", "triage", "cannot_tell")
    assert event_label(CLIP, [saw("a", "normal"), shrug]).raters == 1
    label = text_label(PACKS["vqa"], draft, [judge(draft, "a", "accept"), judge(draft, "b", "cannot_tell")])
    assert (label.basis, label.raters) == ("single", 1)


def test_the_later_adjudication_decides_in_any_order() -> None:
    first = saw("boss", "normal", round="adjudication", reviewed_at="2026-01-01")
    second = saw("chief", "collision", round="adjudication", reviewed_at="2026-01-02")
    for order in ([first, second], [second, first]):
        assert event_label(CLIP, order).value["class"] == "collision"


def test_an_item_that_nobody_could_tell_is_left_out(draft: Draft) -> None:
    reviews = [judge(draft, "r", "accept", "a"), judge(draft, "r", "cannot_tell", "b")]
    assert [i["id"] for i in text_label(PACKS["vqa"], draft, reviews).value["items"]] == ["a"]


def test_a_class_confirmed_beside_a_draft_or_on_gold_is_no_vote() -> None:
    own = [saw("a", "collision", round=r) for r in ("triage", "blind", "adjudication")]
    problem = Review(CLIP.id, "clip", "b", "text", "reject", faults=("privacy",))
    assert on_event([*own, saw("b", "normal", round="text"), saw("c", "normal", round="gold"), problem]) == [
        *own,
        problem,
    ]
