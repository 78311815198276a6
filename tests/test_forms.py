"""Forms and answers: what is composed is a contract, and nothing that breaks it is taken."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.answers import read_annotations, revise
from curation.errors import UsageError
from curation.forms import PROBLEMS, calibration, compose, controls, expand, task_data, visible
from curation.tasks import TaskPack, load_packs
from curation.types import Clip, Draft, Json, Refusal, Review

PACKS = load_packs(["event", "caption", "description", "vqa", "cot"])
TRIAGE = [PACKS["event"]]
TEXT = [p for n, p in PACKS.items() if n != "event"]
CLIP = Clip("source1_ab", "event", 0, 4, {}, blob="ab" * 32, frames=40, fps=10.0, width=64, height=48)
VALUES: dict[str, Any] = {
    name: next(e["value"] for e in PACKS[name].examples if e["ok"]) for name in ("caption", "description", "vqa", "cot")
}
DRAFTS = {name: Draft(CLIP.id, name, value, {"of": name}, "template") for name, value in VALUES.items()}
BY_ID = {d.id: d for d in DRAFTS.values()}


def data_of(packs: list[TaskPack], drafts: dict[str, Draft]) -> Json:
    return task_data("assignment1_x", CLIP, drafts, packs, f"/media/{CLIP.blob}.mp4")


def choice(name: str, *chosen: str) -> Json:
    return {"from_name": name, "to_name": "video", "type": "choices", "value": {"choices": list(chosen)}}


def words(name: str, text: str) -> Json:
    return {"from_name": name, "to_name": "video", "type": "textarea", "value": {"text": [text]}}


def segment(start: Any, end: Any) -> Json:
    value = {"ranges": [{"start": start, "end": end}], "timelinelabels": ["event"]}
    return {"from_name": "event_segment", "to_name": "video", "type": "timelinelabels", "value": value}


def frame(which: str, number: Any) -> Json:
    return {"from_name": f"event_{which}_frame", "to_name": "video", "type": "number", "value": {"number": number}}


def exported(packs: list[TaskPack], drafts: dict[str, Draft], *answers: list[Json], **changes: Any) -> Json:
    rows = [
        {"id": 70 + n, "completed_by": 5 + n, "result": a, "was_cancelled": False, "lead_time": 9.5, **changes}
        for n, a in enumerate(answers)
    ]
    return {"id": 3, "project": 2, "data": data_of(packs, drafts), "annotations": rows}


def read(task: Json, packs: list[TaskPack], round: str = "triage") -> tuple[list[Review], list[Refusal]]:
    return read_annotations(task, compose(packs), packs, CLIP, BY_ID, round=round)


def everything(*changes: Json) -> list[Json]:
    """Accepts every draft and item, but for `changes` by control."""
    data = data_of(TEXT, DRAFTS)
    accepted = [choice(n, "accept") for n in expand(compose(TEXT), data) if "_verdict" in n]
    new = {c["from_name"] for c in changes}
    return [r for r in accepted if r["from_name"] not in new] + list(changes)


# -- compose ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("packs", [TRIAGE, TEXT])
def test_a_form_is_xml_round_one_video_with_the_clips_own_frame_rate(packs: list[TaskPack]) -> None:
    root = ET.fromstring(compose(packs))
    (video,) = root.iter("Video")
    assert video.get("frameRate") == "$fps"
    assert not root.findall(".//Chat")


@pytest.mark.parametrize("packs", [TRIAGE, TEXT])
def test_no_verdict_is_filled_in_and_all_are_required(packs: list[TaskPack]) -> None:
    root = ET.fromstring(compose(packs))
    assert not [n for n in root.iter("Choice") if n.get("selected")]
    for control in controls(compose(packs)):
        if "_verdict" in control.name:
            assert control.required
            assert control.choices == {"accept", "edit", "reject", "cannot_tell"}
    (named,) = [c for c in controls(compose(TRIAGE)) if c.name == "event_class"]
    assert named.required
    assert "cannot_tell" in named.choices


@pytest.mark.parametrize("packs", [TRIAGE, TEXT])
def test_a_clip_problem_hides_all_else(packs: list[TaskPack]) -> None:
    known = expand(compose(packs), data_of(packs, DRAFTS if packs is TEXT else {}))
    assert visible(known, {"clip_problem": ["privacy"]}) == {"clip_problem", "comment"}
    assert known["clip_problem"].choices == set(PROBLEMS)


def test_containers_that_do_not_pass_on_that_they_are_hidden_are_guarded_inside() -> None:
    """In the editor a required control in a hidden Panel or Repeater would still block Submit."""
    for node in ET.fromstring(compose(TEXT)).iter():
        if (node.tag == "Panel" or node.get("on") in ("$vqa", "$cot")) and "Guidelines" not in node.get("value", ""):
            assert [child.get("whenTagName") for child in node] == ["clip_problem"]


def test_every_variable_of_a_form_is_in_the_data_also_without_drafts() -> None:
    for drafts in ({}, DRAFTS, {"vqa": DRAFTS["vqa"]}):
        data = data_of(TEXT, drafts)
        for node in ET.fromstring(compose(TEXT)).iter():
            for key in ("value", "on", "frameRate"):
                if (name := node.get(key, "")).startswith("$"):
                    assert name[1:].split("[")[0] in data, name


def test_data_names_no_source() -> None:
    clip = replace(CLIP, source_id="source1_SECRET")
    data = task_data("assignment1_x", clip, DRAFTS, TEXT, "/media/x.mp4")
    assert "SECRET" not in str(data)
    assert "prompt" not in str(data.keys())


def test_a_missing_draft_asks_nothing() -> None:
    known = expand(compose(TEXT), data_of(TEXT, {"caption": DRAFTS["caption"]}))
    assert {n.split("_")[0] for n in known} == {"caption", "clip", "comment"}


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        ("<Panel>", "not well-formed"),
        ('<View><Video name="v" value="$video"/></View>', "Video"),
        ('<View><Choices name="verdict" toName="video"/></View>', "must be named"),
    ],
)
def test_a_broken_part_is_told_by_its_file(xml: str, said: str) -> None:
    pack = replace(PACKS["caption"], review_xml=xml, path=Path("packs/mine"))
    with pytest.raises(UsageError, match=f"packs/mine/review.xml: .*{said}"):
        compose([pack])


@given(st.text(max_size=80))
def test_texts_pass_through_the_data_as_they_are(text: str) -> None:
    draft = replace(DRAFTS["caption"], value={**VALUES["caption"], "text": text}, id="")
    assert data_of(TEXT, {"caption": draft})["caption_text"] == draft.value["text"] or not text.isascii()


# -- read: triage ----------------------------------------------------------------------------------------------------
def test_frames_become_seconds_one_based() -> None:
    answers = [choice("event_class", "collision"), choice("event_ego_role", "struck"), segment(1, 40)]
    (review,), refused = read(exported(TRIAGE, {}, [*answers, choice("event_partner", "bus")]), TRIAGE)
    assert not refused
    assert review.value == {
        "class": "collision", "alert_s": 0.0, "event_s": 3.9, "ego_role": "struck", "partner": "bus",
        "time_basis": "contact",
    }  # fmt: skip
    assert (review.verdict, review.draft_id, review.seconds, review.reviewer) == ("edit", None, 9.5, "user-5")
    assert (review.remote, review.origin, review.guideline) == ("2/3/70", "human", calibration(TRIAGE))
    assert review.guideline.startswith("1.0.0+")


@pytest.mark.parametrize(
    ("marks", "times"),
    [
        ([frame("alert", 1), frame("event", 40)], (0.0, 3.9)),
        ([frame("event", 40)], (None, 3.9)),
        ([segment(3, 9), frame("alert", 5)], (0.4, 0.8)),
        ([segment(3, 9), frame("alert", 9), frame("event", 9)], (0.8, 0.8)),
    ],
)
def test_typed_frames_count_before_the_segment(marks: list[Json], times: tuple[Any, Any]) -> None:
    answers = [choice("event_class", "collision"), choice("event_ego_role", "struck"), *marks]
    (review,), _ = read(exported(TRIAGE, {}, answers), TRIAGE)
    assert (review.value["alert_s"], review.value["event_s"]) == times


def test_normal_has_no_times_and_no_partner_even_if_they_were_set_before() -> None:
    (review,), _ = read(exported(TRIAGE, {}, [choice("event_class", "normal"), segment(3, 9)]), TRIAGE)
    assert review.value["alert_s"] is None
    assert review.value["ego_role"] == "none"


def test_cannot_tell_has_no_value() -> None:
    (review,), _ = read(exported(TRIAGE, {}, [choice("event_class", "cannot_tell"), words("comment", "dark")]), TRIAGE)
    assert (review.verdict, review.value, review.comment) == ("cannot_tell", None, "dark")


def test_a_clip_problem_is_a_review_of_the_clip() -> None:
    (review,), refused = read(exported(TRIAGE, {}, [choice("clip_problem", "privacy", "duplicate")]), TRIAGE)
    assert (review.task, review.verdict, review.faults) == ("clip", "reject", ("duplicate", "privacy"))
    assert not refused


CRASH = [choice("event_class", "collision"), choice("event_ego_role", "struck")]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([], "missing_answer"),
        ([choice("event_class", "collision")], "missing_answer"),
        ([choice("event_class", "crash")], "unknown_choice"),
        ([choice("event_class", "collision", "normal")], "unknown_choice"),
        ([choice("event_kind", "collision")], "unknown_control"),
        ([choice("event_class", "normal"), choice("event_class", "collision")], "twice_answered"),
        ([{"from_name": "event_class", "type": "choices", "value": {}}], "malformed"),
        ([{"from_name": "event_class", "type": "choices"}], "malformed"),
        (["event_class"], "malformed"),
        ({"event_class": "normal"}, "malformed"),
        ([choice("event_class", "\ud800")], "unknown_choice"),
        ([choice("\ud800", "normal")], "unknown_control"),
        ([*CRASH, segment(0, 5)], "outside_clip"),
        ([*CRASH, segment(5, 41)], "outside_clip"),
        ([*CRASH, segment(9, 5)], "outside_clip"),
        ([*CRASH, segment("3", 5)], "malformed"),
        ([*CRASH, segment(3, 5), segment(6, 8)], "twice_answered"),
        ([*CRASH, frame("alert", 0)], "outside_clip"),
        ([*CRASH, frame("event", 41)], "outside_clip"),
        ([*CRASH, frame("event", 7.5)], "outside_clip"),
        ([*CRASH, frame("event", float("nan"))], "outside_clip"),
        ([*CRASH, frame("event", "7")], "outside_clip"),
        ([*CRASH, frame("alert", 9), frame("event", 8)], "outside_clip"),
        ([*CRASH, segment(3, 5), frame("alert", 6)], "outside_clip"),
    ],
)
def test_bad_answers_are_refused_with_their_reason(answers: list[Json], reason: str) -> None:
    reviews, (refusal,) = read(exported(TRIAGE, {}, answers), TRIAGE)
    assert not reviews
    assert (refusal.reason, refusal.stage, refusal.key) == (reason, "review", "2/3/70")


def test_a_second_annotation_by_one_rater_does_not_count() -> None:
    task = exported(TRIAGE, {}, [choice("event_class", "normal")], [choice("event_class", "cannot_tell")])
    task["annotations"][1]["completed_by"] = {"id": 5, "email": "x@example.org"}
    (review,), (refusal,) = read(task, TRIAGE)
    assert review.value["class"] == "normal"
    assert refusal.reason == "second_by_same_rater"
    assert "example.org" not in str((review, refusal))


def test_a_skipped_clip_is_refused() -> None:
    reviews, (refusal,) = read(exported(TRIAGE, {}, [], was_cancelled=True), TRIAGE)
    assert not reviews
    assert refusal.reason == "skipped"


@given(st.integers(1, 40), st.integers(1, 40))
def test_times_are_within_the_clip_and_in_order(a: int, b: int) -> None:
    (review,), _ = read(exported(TRIAGE, {}, [*CRASH, segment(min(a, b), max(a, b))]), TRIAGE)
    assert 0 <= review.value["alert_s"] <= review.value["event_s"] < CLIP.duration_s
    assert round(review.value["alert_s"] * CLIP.fps) + 1 == min(a, b)


# -- read: text ------------------------------------------------------------------------------------------------------
def test_accepting_all_gives_every_draft_and_item_back() -> None:
    reviews, refused = read(exported(TEXT, DRAFTS, everything()), TEXT, "text")
    assert not refused
    assert {r.verdict for r in reviews} == {"accept"}
    whole = {r.task: r.value for r in reviews if r.item_id is None}
    assert whole["caption"] == VALUES["caption"]
    for task, key in (("vqa", "items"), ("cot", "steps")):
        own = [r for r in reviews if r.task == task and r.item_id is not None]
        assert [r.value for r in own] == VALUES[task][key]
        assert [r.item_id for r in own] == [i["id"] for i in VALUES[task][key]]
        assert {r.draft_id for r in own} == {DRAFTS[task].id}


def test_an_edit_replaces_the_text_and_nothing_else() -> None:
    before = copy.deepcopy(VALUES)
    answers = everything(
        choice("cot_verdict_1", "edit"), words("cot_edit_1", "  The gap closes. "), choice("cot_fault_1", "bad_logic"),
        choice("caption_verdict", "edit"), words("caption_edit", "A wet road."),
    )  # fmt: skip
    reviews, refused = read(exported(TEXT, DRAFTS, answers), TEXT, "text")
    assert not refused
    step = next(r for r in reviews if r.item_id == VALUES["cot"]["steps"][1]["id"] and r.task == "cot")
    assert step.value == {**VALUES["cot"]["steps"][1], "text": "The gap closes."}
    assert step.faults == ("bad_logic",)
    caption = next(r for r in reviews if r.task == "caption")
    assert caption.value == {**VALUES["caption"], "text": "A wet road."}
    assert before == VALUES, "a draft is never changed in place"


def test_an_edit_that_changes_nothing_is_an_accept() -> None:
    answers = everything(choice("caption_verdict", "edit"), words("caption_edit", VALUES["caption"]["text"]))
    reviews, _ = read(exported(TEXT, DRAFTS, answers), TEXT, "text")
    assert next(r for r in reviews if r.task == "caption").verdict == "accept"


def test_an_edit_that_breaks_the_schema_is_refused_alone() -> None:
    answers = everything(choice("caption_verdict", "edit"), words("caption_edit", "x" * 2000))
    reviews, (refusal,) = read(exported(TEXT, DRAFTS, answers), TEXT, "text")
    assert refusal.reason == "breaks_schema"
    assert "/text" in refusal.detail
    assert {r.task for r in reviews} == {"description", "vqa", "cot"}


def test_an_answer_outside_its_options_is_refused() -> None:
    n = next(i for i, item in enumerate(VALUES["vqa"]["items"]) if item["options"])
    answers = everything(choice(f"vqa_verdict_{n}", "edit"), words(f"vqa_edit_{n}", "something else"))
    _, (refusal,) = read(exported(TEXT, DRAFTS, answers), TEXT, "text")
    assert refusal.reason == "not_an_option"


def test_text_hidden_by_the_verdict_is_dropped() -> None:
    left_over = words("caption_edit", "left over"), choice("caption_fault", "wrong_fact")
    answers = everything(choice("caption_verdict", "accept"), *left_over)
    reviews, refused = read(exported(TEXT, DRAFTS, answers), TEXT, "text")
    caption = next(r for r in reviews if r.task == "caption")
    assert (caption.value, caption.faults) == (VALUES["caption"], ())
    assert not refused


def test_a_verdict_left_out_is_refused() -> None:
    _, (refusal,) = read(exported(TEXT, DRAFTS, everything()[1:]), TEXT, "text")
    assert refusal.reason == "missing_answer"


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=9), lambda x: st.lists(x) | st.dictionaries(st.text(max_size=9), x)
    )
)
def test_garbage_is_a_refusal_never_a_crash(value: Any) -> None:
    for tag in ("event_class", "comment", "event_segment"):
        result = {"from_name": tag, "type": "choices", "value": value}
        _, refusals = read(exported(TRIAGE, {}, [result]), TRIAGE)
        assert len(refusals) == 1


NOBODY: list[Any] = [None, {}, "", " ", True, {"id": ""}, {"id": False}]


@pytest.mark.parametrize("spoil", [{"id": None}, {"id": "x"}, *({"completed_by": who} for who in NOBODY)])
def test_an_annotation_without_number_or_rater_is_refused(spoil: Json) -> None:
    task = exported(TRIAGE, {}, [choice("event_class", "normal")])
    task["annotations"][0] |= spoil
    reviews, (refused,) = read(task, TRIAGE)
    assert reviews == [] and refused.reason == "malformed"


def test_a_time_that_is_none_is_not_told() -> None:
    task = exported(TRIAGE, {}, [choice("event_class", "normal")])
    task["annotations"][0]["lead_time"] = float("nan")
    assert [r.seconds for r in read(task, TRIAGE)[0]] == [None]


# -- revisions -------------------------------------------------------------------------------------------------------
def test_reading_again_changes_nothing_and_a_change_is_the_next_revision() -> None:
    first, _ = read(exported(TRIAGE, {}, [choice("event_class", "normal")]), TRIAGE)
    assert revise([], first) == first
    assert revise(first, first) == []
    second, _ = read(exported(TRIAGE, {}, CRASH), TRIAGE)
    (changed,) = revise(first, second)
    assert (changed.revision, changed.value["class"]) == (1, "collision")
    assert changed.id != second[0].id
    assert revise([*first, changed], second) == []
    (back,) = revise([*first, changed], first)
    assert back.revision == 2


def test_a_deleted_annotation_is_withdrawn_once() -> None:
    first, _ = read(exported(TRIAGE, {}, [choice("event_class", "normal")]), TRIAGE)
    (gone,) = revise(first, [])
    assert (gone.verdict, gone.value, gone.revision) == ("withdrawn", None, 1)
    assert revise([*first, gone], []) == []


def test_a_clip_problem_withdraws_the_class_named_before() -> None:
    first, _ = read(exported(TRIAGE, {}, [choice("event_class", "normal")]), TRIAGE)
    second, _ = read(exported(TRIAGE, {}, [choice("clip_problem", "privacy")]), TRIAGE)
    assert {(r.task, r.verdict) for r in revise(first, second)} == {("clip", "reject"), ("event", "withdrawn")}


def test_the_guidelines_are_in_reach_and_name_no_variable() -> None:
    root = ET.fromstring(compose(TRIAGE))
    assert f"Guidelines {PACKS['event'].guideline}" in [n.get("value") for n in root.iter("Panel")]
    said = [n.get("value", "") for tag in ("Header", "Markdown") for n in root.iter(tag)]
    assert any("**touches**" in text for text in said)
    assert not [text for text in said if "$" in text]


def test_keys_go_to_what_is_frequent_and_no_choice_takes_one_that_is_dealt() -> None:
    """33 keys are dealt to choices without one, in the form's order: every accept, and nothing before it is rare."""
    for box in ET.fromstring(compose(TEXT)).iter("Choices"):
        keys = [c.get("hotkey") for c in box]
        if "_verdict" in box.get("name", ""):
            assert keys == [None, " ", " ", " "]
            assert box[0].get("value") == "accept"
        else:
            assert None not in keys, box.get("name")
    keys = [c.get("hotkey") for c in ET.fromstring(compose(TRIAGE)).iter() if c.tag in ("Choice", "Label")]
    assert len({k for k in keys if k}) == len([k for k in keys if k]), "no key does two things"


def test_the_options_of_a_question_are_shown() -> None:
    shown = data_of(TEXT, DRAFTS)["vqa"]
    for item, drafted in zip(shown, VALUES["vqa"]["items"], strict=True):
        assert item["options_text"] == (" · ".join(drafted["options"]) or "(none)")
    assert "options_text" in compose(TEXT)


# -- blind and adjudication ------------------------------------------------------------------------------------------
BLIND = [PACKS["event"], PACKS["vqa"], PACKS["cot"]]


def blind_task(*answers: list[Json]) -> Json:
    drafts = {n: DRAFTS[n] for n in ("vqa", "cot")}
    task = exported(BLIND, drafts, *answers)
    return task | {"data": task_data("assignment1_x", CLIP, drafts, BLIND, "x.mp4", blind=True)}


def blind_answers(*changes: Json) -> list[Json]:
    """Answers `A` (or in words), class, cause, then accepts every step; but for `changes` by control."""
    data = blind_task()["data"]
    answers = [choice("event_class", "normal"), choice("cot_cause", "none")]
    answers += [choice(f"vqa_letter_{i}", "A") for i in range(len(data["vqa_closed"]))]
    answers += [words(f"vqa_words_{i}", "Somewhere.") for i in range(len(data["vqa_open"]))]
    answers += [choice(f"cot_verdict_{i}", "accept") for i in range(len(data["cot"]))]
    new = {c["from_name"] for c in changes}
    return [r for r in answers if r["from_name"] not in new] + list(changes)


def test_the_blind_form_holds_no_answer_and_no_text_but_the_steps() -> None:
    data = blind_task()["data"]
    assert not {"caption_text", "description_text", "vqa"} & data.keys()
    assert all(item.keys() == {"id", "question", "options_text"} for item in data["vqa_closed"] + data["vqa_open"])
    assert len(data["vqa_closed"]) + len(data["vqa_open"]) == len(VALUES["vqa"]["items"])
    for node in ET.fromstring(compose(BLIND, blind=True)).iter():
        for key in ("value", "on"):
            if (name := node.get(key, "")).startswith("$"):
                assert name[1:].split("[")[0] in data, name


def test_the_steps_are_shown_when_class_and_cause_are_said() -> None:
    known = expand(compose(BLIND, blind=True), blind_task()["data"])
    said = {"event_class": ["collision"], "cot_cause": ["cut_in"]}
    assert "cot_verdict_0" in visible(known, said)
    for part in said:
        assert "cot_verdict_0" not in visible(known, {part: said[part]})
    assert not visible(known, said | {"clip_problem": ["privacy"]}) & {"cot_verdict_0", "vqa_letter_0"}


def read_blind(*changes: Json) -> tuple[list[Review], list[Refusal]]:
    task = blind_task(blind_answers(*changes))
    return read_annotations(task, compose(BLIND, blind=True), BLIND, CLIP, BY_ID, round="blind")


def test_blind_answers_are_the_raters_own_and_name_no_draft() -> None:
    reviews, refused = read_blind(choice("cot_cause", "cut_in"))
    assert not refused
    closed = [i for i in VALUES["vqa"]["items"] if i["options"]]
    answers = {r.item_id: r.value for r in reviews if r.task == "vqa"}
    for item in closed:
        assert answers[item["id"]] == {**item, "answer": item["options"][0]}
    assert {r.draft_id for r in reviews if r.task in ("vqa", "event")} == {None}
    (cause,) = [r for r in reviews if r.task == "cot" and r.item_id is None]
    assert (cause.value, cause.draft_id) == ({"cause": "cut_in"}, None)
    assert {r.draft_id for r in reviews if r.task == "cot" and r.item_id} == {DRAFTS["cot"].id}


def test_blind_shrugs_are_no_answers_and_a_letter_too_far_is_refused() -> None:
    reviews, refused = read_blind(choice("vqa_letter_0", "cannot_tell"), choice("cot_cause", "cannot_tell"))
    assert not refused
    assert [r.verdict for r in reviews if r.verdict == "cannot_tell"] == ["cannot_tell"] * 2
    reviews, (refusal,) = read_blind(choice("vqa_letter_0", "H"))
    assert refusal.reason == "not_an_option"
    assert any(r.task == "event" for r in reviews)


def test_a_class_kept_from_a_prediction_is_an_accept_a_changed_one_an_edit() -> None:
    for origin, verdict in (("prediction", "accept"), ("prediction-changed", "edit"), ("manual", "edit")):
        (review,), _ = read(exported(TRIAGE, {}, [{**choice("event_class", "normal"), "origin": origin}]), TRIAGE)
        assert (review.verdict, review.drafted_from) == (verdict, origin)


def test_another_guideline_or_class_list_is_another_calibration(tmp_path: Path) -> None:
    before = calibration(TRIAGE)
    pack = PACKS["event"]
    other = replace(pack, review_xml=pack.review_xml.replace('"struck"', '"hit"'))
    assert calibration([other]) != before
    assert calibration([other]).startswith(f"{pack.guideline}+")
    assert calibration([replace(pack, review_xml=pack.review_xml.replace("What happens?", "What is it?"))]) == before


def test_an_adjudicator_sees_what_was_said_side_by_side() -> None:
    said = ["Rater A: class collision", "Rater B: <b>class</b> normal"]
    data = task_data("a", CLIP, {}, TRIAGE, "x.mp4", said=said)
    assert [row["text"] for row in data["said"]] == said
    config = compose(TRIAGE, said=True)
    assert "$said[{{said}}].text" in config
    assert {c.name for c in controls(config)} == {c.name for c in controls(compose(TRIAGE))}


def test_half_a_character_in_a_raters_text_is_a_question_mark() -> None:
    task = exported(TEXT, DRAFTS, everything(words("comment", "so \ud83d")))
    reviews, refusals = read(task, TEXT, "text")
    assert [r.comment for r in reviews if r.comment] == ["so ?"] and not refusals
