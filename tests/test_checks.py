"""The rules: one fault of each kind is planted in clean drafts, in many wordings; clean texts raise no error.

The wordings are written as people and models write, not from the rules' word lists.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import draft, tasks
from curation.check_form import PATTERNS, signs
from curation.check_phrases import Worded
from curation.check_reading import lines_of
from curation.check_text import Context, Finding, walk
from curation.checks import RULES, check_record
from curation.deal import deal
from curation.lexicon import WORD, lexicon
from curation.types import Clip, Json

TASKS = ["caption", "description", "vqa", "cot"]
PACKS = tasks.load_packs(["event", *TASKS, "llava_cot", "drivevlm", "think", "watched"])
FIELDS = list(PACKS["event"].schema["properties"])


def clip(role: str = "event", **more: Any) -> Clip:
    return Clip("source1_x", role, 0, 6, {}, frames=60, fps=10.0, **more)


def event(cls: str, role: str, partner: str | None, alert: float | None, at: float | None) -> Json:
    basis = {"collision": "contact", "near_collision": "closest_approach"}.get(cls, "unknown")
    return {"class": cls, "alert_s": alert, "event_s": at, "ego_role": role, "partner": partner, "time_basis": basis}


class Scene(NamedTuple):
    event: Json | None
    attributes: Json
    clip: Clip

    def check(self, task: str, value: Any) -> list[Finding]:
        assert not tasks.errors(PACKS[task], value)
        return check_record(value, Context(PACKS[task], self.clip, self.event, self.attributes))


CITY = {"weather": "rain", "light": "night", "road": "urban", "scene": "intersection"}
OPEN = {"weather": "clear", "light": "day", "road": "highway"}
FIELD = {"weather": "overcast", "light": "dusk", "road": "rural", "scene": "curve"}
SCENES = {
    "hit": Scene(event("collision", "striking", "car", 2.1, 3.4), CITY, clip()),
    "struck": Scene(event("collision", "struck", "bicycle", 1.5, 2.6), FIELD, clip()),
    "seen": Scene(event("collision", "witness", "van", 1.0, 4.0), OPEN, clip()),
    "close": Scene(event("near_collision", "struck", "truck", 1.0, 2.5), OPEN, clip()),
    "dodge": Scene(event("near_collision", "striking", "pedestrian", 2.0, 3.5), CITY, clip()),
    "quiet": Scene(event("normal", "none", None, None, None), FIELD, clip()),
    "dark": Scene(None, OPEN, clip("pre_event", horizon_s=2.0, visible=False)),
    "dawning": Scene(None, OPEN, clip("pre_event", horizon_s=0.5, visible=True)),
}


def caption(text: str, scene: str = "hit") -> Json:
    cited = "event.class" if SCENES[scene].event else "clip.duration_s"
    return {"text": text, "clauses": [{"text": "The clip.", "field": cited}]}


def description(name: str, **more: Any) -> Json:
    cuts = {"hit": [0, 2.1, 3.4, 6], "close": [0, 1.0, 2.5, 6], "quiet": [0, 6]}[name]
    said = {
        "hit": ["A silver saloon waits at the lights.", "It pulls off, then stops again.",
        "After the bang both stand still."],
        "close": ["A lorry keeps to the next lane.", "It drifts over the line.",
        "It drops back, and the gap opens again."],
        "quiet": ["Hedges pass on both sides; nobody else is about."],
    }[name]  # fmt: skip
    focus = {"hit": "The ego vehicle runs into the car's tail at 3.4 s.",
        "close": "The truck all but hits our flank at 2.5 s.",
             "quiet": "Nothing of note happens."}[name]  # fmt: skip
    segments = [{"start_s": a, "end_s": b, "text": t} for a, b, t in zip(cuts, cuts[1:], said, strict=False)]
    return {"scene": "Seen through a windscreen.", "segments": segments, "event": focus,
            "text": " ".join(said) + " " + focus, **more}  # fmt: skip


def cot(name: str, **texts: str) -> Json:
    told = {
        "hit": ["A car waits ahead at the lights.", "We come nearer without slowing.", "The gap may not be enough.",
                "The bonnet meets metal: contact, hence a collision."],
        "close": ["A truck runs beside us.", "It drifts towards our lane.", "If it goes on it will strike us.",
                  "We steer away and nothing touches, so this is a near-collision."],
        "quiet": ["Fields and a bend.", "Nobody is near.", "It will go on like this.",
        "No conflict, so the class is normal."],
    }[name]  # fmt: skip
    spans = {"hit": [(0, 2.1), (2.1, 3.4), (2.1, 3.4), (3.4, 6)], "close": [(0, 1), (1, 2.5), (1, 2.5), (1, 6)],
             "quiet": [(0, 6)] * 4}[name]  # fmt: skip
    kinds = ("perceive", "relate", "predict", "decide")
    steps = [{"id": f"s{i}", "step": k, "text": texts.get(k, t), "evidence": {"start_s": a, "end_s": b}}
             for i, (k, t, (a, b)) in enumerate(zip(kinds, told, spans, strict=True))]  # fmt: skip
    return {"steps": steps, "conclusion": SCENES[name].event["class"]}  # type: ignore[index]


def question(**more: Any) -> Json:
    item = {"id": "q1", "family": "actors", "kind": "multiple_choice", "question": "Who waits on the left?",
            "options": ["a cyclist", "a lorry", "a dog", "a tram"], "answer": "a lorry", "answerable": True,
            "evidence": {"start_s": 0, "end_s": 6}}  # fmt: skip
    return {"items": [{**item, **more}]}


def thought(*sentences: str, conclusion: str) -> Json:
    return {"thought": " ".join(sentences), "conclusion": conclusion}


def staged(task: str, name: str, *texts: str) -> Json:
    """Steps of a pack whose last kind of step decides; `texts` one a kind."""
    kinds = PACKS[task].schema["properties"]["steps"]["items"]["properties"]["step"]["enum"]
    about = {"scene": "road", "object": "car", "influence": "car", "decision": "brakes"}
    steps = [
        {"id": f"s{i}", "step": k, "text": t, "evidence": {"start_s": 0, "end_s": 6}}
        | ({"about": about[k]} if k in about else {})
        for i, (k, t) in enumerate(zip(kinds, texts, strict=True))
    ]
    return {"steps": steps, "conclusion": SCENES[name].event["class"]}  # type: ignore[index]


# -- clean -----------------------------------------------------------------------------------------------------------
CLEAN = [
    ("hit", "Wet tarmac mirrors the street lamps; at 3.4 s the ego car bumps the sedan standing in front of it."),
    ("hit", "It pours; at a junction downtown the dashcam car fails to stop in time and rear-ends the car ahead."),
    ("hit", "The driver narrowly misses a cyclist, but then crashes into a parked car."),
    ("hit", "No evasive action is taken. The ego vehicle ploughs into the back of a taxi."),
    ("hit", "At first traffic is calm and there is no conflict; around 3.5 s we strike the hatchback."),
    ("hit", "This is not a near miss: metal meets metal as the ego vehicle collides with the car."),
    ("hit", "Night, rain, city lights. The car in front stops; there is an impact shortly afterwards."),
    ("hit", "The driver does not brake, and the ego vehicle slams into a car."),
    ("hit", "Braking hard cannot prevent the crash with the car ahead."),
    ("hit", "The ego vehicle hits the brakes too late and then hits the car."),
    ("hit", "The crash could have been avoided; contact comes at about 3.2 seconds."),
    ("hit", "A wet night in town. Headlights glare on the road, which is dark and shiny, and two cars touch."),
    ("struck", "Under a grey sky a cyclist rides into the side of the ego vehicle on a country road."),
    ("struck", "The ego vehicle is hit by a bike at 2.6 s, near the end of a bend."),
    ("struck", "The camera car is standing still when the cyclist runs into it."),
    ("struck", "Dusk. The bicycle strikes our vehicle while it waits."),
    ("seen", "Two others crash on the motorway: a van ends up sideways. The ego vehicle only looks on."),
    ("seen", "Ahead of us a delivery van hits the barrier in bright sunshine."),
    ("close", "A truck swings out and nearly sideswipes the ego vehicle at 2.5 s; they never touch."),
    ("close", "The lorry comes within inches of hitting us. No contact is made."),
    ("close", "A crash is averted at the last moment as the semi pulls back into its own lane."),
    ("close", "The ego car would have been struck by the truck had it not swerved onto the shoulder."),
    ("close", "It is a close shave with a lorry on a dry, sunny motorway, without a scratch on either side."),
    ("close", "The truck almost collides with the ego vehicle, which has to brake hard; nobody is touched."),
    ("close", "No collision occurs, though the truck leaves its lane and forces the ego vehicle to swerve."),
    ("dodge", "The driver stamps on the brake and stops just short of the woman who steps off the kerb."),
    ("dodge", "A pedestrian hurries over the street in the rain; the ego vehicle swerves and avoids hitting her."),
    ("dodge", "Had the driver not reacted, we would have run the man over; as it is, he is missed by a whisker."),
    ("dodge", "It was a near miss rather than a collision with the pedestrian, at roughly 3.5 s."),
    ("dodge", "A person runs into the road from between parked cars. The ego vehicle brakes and nothing touches."),
    ("quiet", "Evening drive through the countryside under clouds; nothing happens."),
    ("quiet", "No rain falls, the bend is taken slowly and there are no near misses or collisions of any kind."),
    ("quiet", "The ego vehicle brakes for a red light, waits, and goes on. No one is in danger."),
    ("quiet", "A tractor comes the other way; both keep to their side, and neither hits the other."),
    ("quiet", "The road is clear of traffic. The driver avoids a pothole and carries on without incident."),
    ("quiet", "A dark car with bright headlights passes. There was no accident, and nobody had to swerve."),
    ("quiet", "Rather than rain there are only clouds. Had anyone braked it might have become risky; nobody did."),
    ("quiet", "After the turn the vehicle runs straight into the village, past a speed bump and a crash barrier."),
    ("dark", "Bright daylight on a motorway; traffic flows and the gaps are wide."),
    ("dark", "The vehicle keeps its lane behind a white van."),
    ("dawning", "The van ahead brakes, and the gap closes quickly."),
    ("dawning", "A car drifts over the line: a collision may follow if nobody reacts."),
    ("hit", "Rain-slick streets at night; the driver does not see the sedan stopping, and hits it at 3.3 s."),
    ("hit", "After braking late, the ego vehicle taps the car in front. No one appears to be hurt."),
    ("hit", "The collision is unavoidable and happens at 3.4 s."),
    ("hit", "With no time to react, the camera car runs into the car ahead."),
    ("hit", "The driver avoids a pedestrian at 1.0 s but at 3.5 s crashes into a car."),
    ("hit", "It rains; the wipers are on. Not until 3.4 s do the two cars touch."),
    ("struck", "While turning, our vehicle is hit on the side by a cyclist who did not stop."),
    ("struck", "A cyclist loses control and falls against the ego vehicle; contact at 2.6 s."),
    ("close", "The truck merges without looking; we brake hard and there is no impact."),
    ("close", "Unless the truck swerves back the two crash, and it does: they stay apart."),
    ("close", "If we had not braked, the truck would have crushed us."),
    ("close", "The ego vehicle avoids a collision with a merging truck in daylight."),
    ("close", "Nearly hit by a truck on a sunny highway."),
    ("close", "The truck misses the ego vehicle by inches; it could have been a serious accident."),
    ("dodge", "A pedestrian crosses against the light. The ego vehicle stops before hitting him."),
    ("dodge", "The man jumps back and is not hit."),
    ("dodge", "Without emergency braking there would have been a collision with the pedestrian."),
    ("quiet", "The car brakes gently behind a tractor and no one is at risk."),
    ("quiet", "A collision never occurs; all vehicles keep a safe distance."),
    ("quiet", "The ego vehicle passes a parked police car at the scene of an earlier crash."),
    ("quiet", "Cloudy, late in the day, on a country lane; a dog watches from a garden."),
    ("quiet", "The driver hits the brakes for a speed bump, then accelerates."),
    ("quiet", "A bird strikes nothing; it just flies over."),
    ("quiet", "Traffic conflicts are absent."),
    ("seen", "On a bright day a van and a car crash in front of us; we stop in time."),
    ("seen", "The ego vehicle is not part of the collision between the van and a truck."),
    ("dark", "It is a clear day, and cars move steadily in all lanes."),
    ("dark", "Nothing is in the way."),
    ("hit", "The lights turn green; there is a crash: the ego vehicle has hit a car."),
    ("quiet", "Rainclouds gather but it stays dry."),
    ("quiet", "The truck in the next lane never gets close to us."),
    ("hit", "A car cuts in ahead; the ego vehicle fails to slow down and runs into it."),
    ("hit", "Rain is falling at night in the city as the vehicle strikes the rear of a taxi at 3.4 s."),
    ("struck", "A bicyclist swerves and hits the right side of the ego vehicle."),
    ("struck", "The ego vehicle slows for the curve, and a cyclist crashes into its door."),
    ("close", "A semi-truck drifts into the ego lane; the driver brakes, barely avoiding a collision."),
    ("close", "Contact with the truck was avoided by swerving at 2.4 s."),
    ("dodge", "The ego vehicle brakes sharply for a pedestrian who steps out; the person is unharmed."),
    ("dodge", "A close encounter: the car comes to rest just in front of the pedestrian without touching her."),
    ("quiet", "The ego vehicle follows a bend through farmland at dusk. No hazards appear."),
    ("quiet", "Cars pass in both directions; none comes into conflict with the ego vehicle."),
    ("quiet", "Under an overcast sky, the vehicle waits for cows to cross. No contact, no emergency."),
    ("quiet", "Nothing out of the ordinary: the driver slows for a curve and speeds up again."),
    ("seen", "On the highway in clear daylight, a van ahead crashes; the ego vehicle stops safely behind it."),
    ("dawning", "The lead vehicle brakes and the distance shrinks."),
    ("dark", "The ego vehicle drives on a highway on a clear day among light traffic."),
    ("dark", "A truck is visible far ahead in the right lane."),
    ("close", "The truck changes lanes abruptly; the ego vehicle has to brake to avoid a crash, and does so."),
    ("hit", "Both vehicles stop after the collision; the hazard lights of the car come on."),
    ("hit", "The car ahead brakes for a pedestrian, and the ego vehicle hits the car."),
    ("quiet", "No accident or near-miss takes place."),
    ("close", "A man in a dark jacket is waiting at the verge as a truck nearly hits us."),
    ("close", "The truck is a dark blue one; it comes within a hand's breadth of our flank, and no more."),
    ("close", "In dry weather following heavy snowfall a truck drifts over and all but hits us."),
    ("close", "Past a snow-covered verge and under partly cloudy skies the truck narrowly misses us."),
    ("close", "Near the entrance of a tunnel the truck almost sideswipes the ego vehicle."),
    ("hit", "The driver looks away: an avoidable accident with the car in front."),
    ("dawning", "The van brakes, which leaves little time before a collision."),
    ("dawning", "Unless the van moves on, the ego vehicle will hit it."),
    ("close", "Had the ego driver reacted any later, the truck would have taken off the mirror."),
    ("close", "The truck's trailer swings out; emergency braking keeps the two apart."),
    ("dodge", "Hard braking at 3.4 s saves the pedestrian; the bumper never reaches her."),
    ("quiet", "Although a deer stands beside the road, it stays there, and the car passes safely."),
]  # fmt: skip


@pytest.mark.parametrize("name,text", CLEAN)
def test_clean_texts_have_no_error(name: str, text: str) -> None:
    found = [f for f in SCENES[name].check("caption", caption(text, name)) if f.severity == "error"]
    assert not found


def test_clean_descriptions_steps_and_questions_have_no_finding() -> None:
    for name in ("hit", "close", "quiet"):
        assert SCENES[name].check("description", description(name)) == []
        assert SCENES[name].check("cot", cot(name)) == []
        assert SCENES[name].check("vqa", question()) == []


THOUGHTS = [
    ("hit", "think", thought("Is it a near miss? No.", "The bonnet meets the tailgate at 3.4 s.", "So: a collision.",
        conclusion="collision")),
    ("close", "think", thought("A collision or a near-collision: that is the question.", "Do they touch?",
        "The gap stays open by an inch.", "A near-collision, then.", conclusion="near_collision")),
    ("quiet", "think", thought("Nobody is near.", "Could there be a crash later? Nothing points to one.",
        "Normal driving.", conclusion="normal")),
    ("close", "llava_cot", staged("llava_cot", "close", "I look whether anything touches the ego vehicle.",
        "A truck drifts over.", "It all but hits us: a near-collision.")),
    ("hit", "llava_cot", staged("llava_cot", "hit", "Nothing has happened so far.", "A car stands ahead.",
        "We run into the car, a collision.")),
    ("hit", "drivevlm", staged("drivevlm", "hit", "A wet city street.", "A car brakes.", "It blocks the lane.",
        "Too late: the ego vehicle hits the car, a collision.")),
]  # fmt: skip


@pytest.mark.parametrize("name,task,value", THOUGHTS)
def test_other_ways_to_reason_are_read_by_their_shape(name: str, task: str, value: Json) -> None:
    assert SCENES[name].check(task, value) == []
    other = {"hit": "near_collision", "close": "collision", "quiet": "collision"}[name]
    found = SCENES[name].check(task, {**value, "conclusion": other})
    assert {"field", "conclusion"} <= {f.rule for f in found}
    if "steps" in value:
        turned = {**value, "steps": value["steps"][::-1]}
        assert "step_order" in {f.rule for f in SCENES[name].check(task, turned)}
        late = {**value, "steps": [{**s, "evidence": {"start_s": 5, "end_s": 9}} for s in value["steps"]]}
        assert "time_outside" in {f.rule for f in SCENES[name].check(task, late)}


def test_answers_to_a_bank_of_questions_are_held_against_the_event() -> None:
    good = next(e["value"] for e in PACKS["watched"].examples if e["value"]["closest"]["answer"] == "they touch")
    assert SCENES["hit"].check("watched", good) == []
    found = SCENES["close"].check("watched", good)
    assert ("answer_wrong", "/closest/answer") in {(f.rule, f.pointer) for f in found}


@pytest.mark.parametrize("name,item", [
    ("hit", {"question": "Does the ego vehicle touch anything?", "options": ["no", "yes"], "answer": "yes",
        "kind": "yes_no"}),
    ("close", {"question": "Is there physical contact?", "options": ["no", "yes"], "answer": "no", "kind": "yes_no"}),
    ("hit", {"question": "Is it dry outside?", "options": ["no", "yes"], "answer": "no", "kind": "yes_no"}),
    ("close", {"question": "Does it snow or rain?", "options": ["no", "yes"], "answer": "no", "kind": "yes_no"}),
    ("hit", {"question": "What falls from the sky, if anything?", "options": ["rain", "snow", "nothing"],
        "answer": "rain"}),
    ("hit", {"question": "When do they meet, if at all?", "options": ["around 1 s", "around 3 s", "never"],
        "answer": "around 3 s",
             "kind": "temporal"}),
    ("quiet", {"question": "When does anything risky happen, if it does?", "options": ["first half", "second half",
        "at no time"],
               "answer": "at no time", "kind": "temporal"}),
    ("hit", {"question": "Would braking earlier have prevented contact?", "options": ["no", "yes"], "answer": "yes",
        "kind": "yes_no"}),
    ("close", {"question": "What if nobody had reacted?", "options": ["a crash", "nothing"], "answer": "a crash"}),
    ("hit", {"question": "What kind of accident is it?", "options": ["a rear-end collision", "there is no accident"],
        "answer": "a rear-end collision"}),
    ("hit", {"question": "What stands on the right?", "options": ["a red car", "a red van", "red signs"],
        "answer": "a red van"}),
    ("hit", {"question": "Sum up the clip.", "options": [], "answer": "In the rain we bump into a car.",
        "kind": "open"}),
    ("hit", {"question": "At what second do they touch, if at all?", "options": [], "answer": "At about 3.3 s.",
        "kind": "open"}),
    ("hit", {"question": "How heavy is the rain?", "options": ["a drizzle", "steady rain", "a cloudburst"],
        "answer": "steady rain"}),
    ("hit", {"question": "Who is knocked down?", "options": ["a man", "a girl", "nobody"], "answer": "nobody"}),
    ("quiet", {"question": "What does it do at the stop sign?", "options": ["comes to a complete stop", "rolls on"],
        "answer": "comes to a complete stop"}),
    ("quiet", {"question": "Is it moving at the end?", "options": ["Yes, in reverse", "No, it is stopped"],
        "answer": "No, it is stopped"}),
    ("hit", {"question": "Is a person with an umbrella in view?", "options": ["no", "yes"], "answer": "no",
        "kind": "yes_no"}),
    ("seen", {"question": "What does the silver car do?", "options": ["It crashes into a van", "It turns back"],
        "answer": "It crashes into a van"}),
])  # fmt: skip
def test_clean_questions(name: str, item: Json) -> None:
    assert SCENES[name].check("vqa", question(**item)) == []


def drafted(n: int) -> Iterator[tuple[str, Any, Context]]:
    """Drafts of the template author over drawn events and metadata, witnesses and early clips among them."""
    drawn = {}
    for i in range(n):
        r = random.Random(i)
        cls = r.choice(("collision", "near_collision", "normal"))
        alert = round(r.uniform(0.3, 4), 2)
        who = (r.choice(("striking", "struck", "witness")), r.choice(("car", "van", "truck", "pedestrian", "object")))
        one = event(cls, *who, alert, round(alert + r.uniform(0.3, 1.9), 2))
        one |= {"alert_s": None} if i % 5 == 1 else {}  # tables know less than people
        one |= {"event_s": None, "partner": None} if i % 10 == 1 else {"partner": None} if i % 10 == 6 else {}
        one = event(cls, "none", None, None, None) if cls == "normal" else one
        attributes: Json = (
            {}
            if i % 7 == 3
            else {
                "weather": r.choice(("clear", "rain", "overcast", "fog", "snow")),
                "light": r.choice(("day", "dusk", "night", "dawn")),
                "road": r.choice(("urban", "suburban", "rural", "highway")),
                "cause": r.choice(("lead_brakes", "cut_in", "crossing_vehicle", "pedestrian", "oncoming")),
            }
            | ({"scene": r.choice(("straight", "curve", "intersection", "bridge"))} if i % 3 else {})
        )
        early = i % 8 == 7
        one_clip = Clip(f"source1_{i}", "pre_event" if early else "event", 0, 6, {}, frames=60, fps=10.0,
                        visible=i % 16 == 7 if early else None)  # fmt: skip
        subject = draft.Subject(one_clip, None if early else one, attributes)
        drawn[one_clip.id] = (subject, draft.context(PACKS["vqa"], subject, FIELDS))
    dealt = deal(PACKS["vqa"], {c: seen for c, (_, seen) in drawn.items()}, seed=0, per_clip=8)
    for clip_id, (subject, seen) in drawn.items():
        values: Json = {}
        for task in ("caption", "description", "vqa", "cot"):
            if (task == "cot" and not subject.event) or (task == "vqa" and not dealt[clip_id]):
                continue
            values[task] = draft.write(PACKS[task], seen, 0, clip_id, values, dealt[clip_id])
            yield task, values[task], Context(PACKS[task], subject.clip, subject.event, subject.attributes)


def test_what_the_template_author_writes_is_clean() -> None:
    records = list(drafted(320))
    found = [(task, f) for task, value, context in records for f in check_record(value, context)]
    assert len(records) > 1200
    assert found == []


# -- planted faults ----------------------------------------------------------------------------------------------------
def test_faulty_media_are_told_by_their_share() -> None:
    def found(**measures: float) -> dict[str, str]:
        scene = SCENES["quiet"]._replace(clip=clip(measures=measures))
        return {f.rule: f.severity for f in scene.check("caption", caption("Fields.", "quiet"))}

    assert found(black_s=0.5, frozen_s=1.0, duplicate_frames=0.1) == {}
    assert found(black_s=5.5, frozen_s=2.0) == {"media_black": "error", "media_frozen": "warning"}
    assert found(duplicate_frames=0.9) == {"media_duplicate": "error"}


def taken(task: str, value: Any, scene: Scene) -> Context:
    context = Context(PACKS[task], scene.clip, scene.event, scene.attributes)
    context.take(value)
    return context


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.__name__)
def test_every_rule_says_what_it_is_for_and_is_needed(rule: Any) -> None:
    assert len(rule.__doc__) > 30
    if rule.__name__ != "media":
        planted = (p for some in PLANTED.values() for p in some)
        assert any(list(rule(value, taken(task, value, SCENES[name]))) for name, task, value in planted)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(
    re.findall(r"\S+", "no not a hits almost avoids would if van we at 3.4 s 99:99 rain . , near-miss ß İ {x} <b>")),
    st.text(max_size=4)),
    min_size=1, max_size=30), st.sampled_from(sorted(SCENES)))  # fmt: skip
def test_any_text_can_be_read(words: list[str], name: str) -> None:
    text = " ".join(words) or "x"
    for f in SCENES[name].check("caption", caption(text[:900], name)):
        assert tasks.at_pointer(caption(text[:900], name), f.pointer) and f.severity in ("error", "warning")


def test_another_ontology_without_cues_is_held_against_structure_only(tmp_path: Path) -> None:
    bare = replace(PACKS["caption"], ontology={k: {**v} for k, v in PACKS["caption"].ontology.items() if k != "cues"})
    for node in bare.ontology.values():
        node.pop("x-together", None)
    scene = SCENES["hit"]
    value = caption("Nothing happens; it snows. TODO at 9.5 s")
    found = check_record(value, Context(bare, scene.clip, scene.event, scene.attributes))
    assert {f.rule for f in found} == {"placeholder", "time_outside"}


Planted = tuple[str, str, Any]  # scene, task, value


PART: Json = {
    "type": "object", "additionalProperties": False, "required": ["start_s", "end_s", "said"],
    "properties": {"start_s": {"type": "number"}, "end_s": {"type": "number"}, "said": {"type": "string"}},
}  # fmt: skip
SHAPES: dict[str, tuple[Json, Any]] = {
    "list of nullable": ({"type": "array", "items": {"anyOf": [PART, {"type": "null"}]}}, [None, 1]),
    "list of lists": ({"type": "array", "items": {"type": "array", "items": PART}}, [[1]]),
    "object or text": ({"anyOf": [{"type": "string"}, PART]}, 1),
    "objects or text": ({"anyOf": [{"type": "array", "items": PART}, {"type": "string"}]}, "text"),
    "text or a word": ({"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "string"}]}, "text"),
    "one of": ({"oneOf": [PART, {"type": "null"}]}, 1),
    "lists of texts": ({"type": "array", "items": {"type": "array", "items": {"type": "string"}}}, [["text"]]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_values_of_any_shape_are_read(name: str) -> None:
    """Whatever a pack of one's own lets a value be: its texts are read, its times held against the clip."""
    inner, value = SHAPES[name]
    schema = copy.deepcopy(PACKS["caption"].schema)
    schema["properties"]["more"] = inner
    schema["required"].append("more")
    pack = replace(PACKS["caption"], schema=schema)
    spoilt = "As an AI language model I cannot view this video."

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(v) for v in value]
        return {1: {"start_s": 1.0, "end_s": 99.0, "said": spoilt}, "text": spoilt}.get(value, value)

    value = caption("The ego vehicle hits a car at 3.4 s.") | {"more": filled(value)}
    assert not tasks.errors(pack, value)
    scene = SCENES["hit"]
    rules = {f.rule for f in check_record(value, Context(pack, scene.clip, scene.event, scene.attributes))}
    assert "refusal" in rules and ("time_outside" in rules) == ("text" not in str(SHAPES[name][1]))


@pytest.mark.parametrize("text", [
    "the ego vehicle hits a car, " * 214, "no rain, " * 660, "\n" * 6000, "the end of the clip " * 300,
    "What " + ": " * 1000, "…" * 5000, "1-" * 3000, "a " * 3000, "(answer " * 700,
], ids=range(9))  # fmt: skip
@pytest.mark.timeout(60)
def test_a_text_that_loops_is_read_to_its_end(text: str) -> None:
    """A model that repeats itself, or means ill, holds nothing up: it took minutes."""
    refused = " As an AI language model I cannot view this video."
    told = SCENES["hit"].check("description", description("hit", text=text[:5900] + refused))
    assert ("refusal", "/text") in {(f.rule, f.pointer) for f in told}
    item = question(question="What?", options=[], answer=text[:900] + refused, kind="open")
    assert "refusal" in {f.rule for f in SCENES["hit"].check("vqa", item)}
    assert (
        SCENES["hit"].check("vqa", question(question=text[:400], options=[], answer="A van.", kind="open")) is not None
    )


@pytest.mark.parametrize("offered", [
    ["more than two vehicles", "a two-wheeler", "a three-wheeler"], ["at least 2 cars", "on one side", "nowhere"],
    ["the 1st exit", "the 2nd exit", "at least 2 exits"], ["←", "→", "↑"], ["10²", "at most 3", "②"],
    ["#", "more than two thirds", "brake failure"], ["striking", "struck", "a witness"],
    ["it is the striking vehicle", "it is the struck vehicle", "none"], ["drive forward", "reverse", "stand still"],
])  # fmt: skip
def test_odd_options_are_read_and_differ(offered: list[str]) -> None:
    found = SCENES["quiet"].check("vqa", question(question="What is it?", options=offered, answer=offered[1]))
    assert not {f.rule for f in found} & {"two_right", "options_alike"}


@pytest.mark.parametrize("answer", [
    "mechanical breakdown", "move out of its lane", "no traffic signals", "group of persons", "engine off",
])  # fmt: skip
def test_a_question_that_holds_its_answer_word_for_word_is_found(answer: str) -> None:
    item = question(question=f"What comes of the {answer}?", options=[answer, "a puddle", "a dog"], answer=answer)
    assert "question_tells_answer" in {f.rule for f in SCENES["quiet"].check("vqa", item)}


def told(scene: str, *texts: str) -> Iterator[Planted]:
    """A text as a whole caption, as the event of a description or, where there is none, as a scene."""
    for text in texts:
        yield scene, "caption", caption(text, scene)
        if scene in ("hit", "close", "quiet"):
            yield scene, "description", description(scene, event=text)


def decided(scene: str, *texts: str) -> Iterator[Planted]:
    for text in texts:
        yield scene, "cot", cot(scene, decide=text)


def asked(scene: str, *items: Json) -> Iterator[Planted]:
    for item in items:
        yield scene, "vqa", question(**item)


def segments(*cuts: tuple[float, float]) -> Iterator[Planted]:
    parts = [{"start_s": a, "end_s": b, "text": "The road goes on."} for a, b in cuts]
    yield "quiet", "description", description("quiet", segments=parts)


def changed(scene: str, make: Callable[[str], Any], task: str, *changes: Callable[[Any], Any]) -> Iterator[Planted]:
    for change in changes:
        value = copy.deepcopy(make(scene))
        change(value)
        yield scene, task, value


def yes_no(text: str, answer: str) -> Json:
    return {"question": text, "options": ["yes", "no"], "answer": answer, "kind": "yes_no"}


def plant() -> dict[str, list[Planted]]:
    """Planted faults by kind."""
    kinds: dict[str, Iterator[Planted] | list[Planted]] = {
        "collision told as near": [*told(
            "hit", "The ego vehicle stops with inches to spare behind the car, a near-miss.",
            "Luckily the two cars do not touch.",
            "A last-second swerve averts the crash.", "The dashcam driver narrowly avoids rear-ending the sedan.",
            "The car ahead is missed by a hair.", "They come close to colliding but no contact is made.",
            "The ego vehicle brakes in time and there is no impact.", "It was a close call with a car.",
            "Both vehicles escape without a collision."),
            *decided("hit", "Nothing touches, so this is a near-collision.",
                "The vehicles avoid each other at the last moment: near collision.")],
        "collision told as normal": [*told(
            "hit", "The trip is entirely uneventful.", "Nothing unusual occurs during the drive.",
            "The ego vehicle drives on without any incident.",
            "Routine driving with no conflict at all.", "There are no hazards and no accident in this clip."),
            *decided("hit", "No conflict partner, hence ordinary driving.", "The verdict is normal driving.")],
        "near told as collision": [*told(
            "close", "The truck slams into the ego vehicle.", "A lorry rams our car at 2.5 s.",
            "The truck's trailer scrapes along the ego vehicle.",
            "There is a violent crash with a truck.", "The truck fails to yield and strikes the ego car.",
            "Ego vehicle is T-boned by a lorry.",
            "The lorry sideswipes us.", "We get rear-ended by a truck.",
            "The swerve comes too late to avoid the impact with the truck."),
            *decided("close", "The truck makes contact with us, thus a collision.",
                "Metal crunches as it hits us; that is a crash.")],
        "near told as normal": [*told(
            "close", "Everyday driving, nothing unusual.", "No conflict with the truck arises.",
            "An uneventful stretch of motorway.",
            "The journey passes without incident."),
            *decided("close", "No evasive manoeuvre was necessary, so it is normal.",
                "There is no danger: this is normal driving.")],
        "normal told as event": [*told(
            "quiet", "The ego vehicle crashes into a tree.", "A tractor nearly hits the ego car.",
            "We collide with a deer on the bend.",
            "The ego vehicle is struck from behind.", "A fender bender happens at low speed.",
            "There is a near miss with an oncoming car.",
            "The car runs over a dog.", "The van only just misses us.", "An accident occurs in the curve."),
            *decided("quiet", "They touch, so the class is collision.",
                "A car is avoided at the last second, which is a near-collision.",
                     "A crash happens in the end.")],
        "wrong conclusion": [
            *changed("hit", cot, "cot", lambda v: v.update(conclusion="near_collision"),
                lambda v: v.update(conclusion="normal")),
            *changed("close", cot, "cot", lambda v: v.update(conclusion="collision"),
                lambda v: v.update(conclusion="normal")),
            *changed("quiet", cot, "cot", lambda v: v.update(conclusion="collision"))],
        "class where none is resolved": [
            *((s, t, v) for s, t, v in told("dark", "A crash.", "There is no collision.",
                "The clip ends in a near miss.", "An uneventful drive.")),
            ("dark", "cot", cot("quiet"))],
        "wrong role": told(
            "hit", "The ego vehicle is rear-ended by a car.",
            "A car crashes into the back of the ego vehicle at 3.4 s.", "A sedan rams us from behind.",
            "A taxi hits the camera car.", "The ego vehicle merely witnesses a collision of two cars.",
            "Our car was struck by a hatchback."),
        "wrong role, struck": told(
            "struck", "The ego vehicle runs into a cyclist.", "We hit the bicycle at 2.6 s.",
            "A cyclist is knocked over by the ego vehicle.",
            "The dashcam vehicle ploughs into a bike.", "The ego car is a bystander as a cyclist crashes."),
        "wrong partner": [*told(
            "hit", "The ego vehicle hits a pedestrian.", "We rear-end a bus at the lights.",
            "The ego car crashes into a motorcyclist.",
            "There is a collision with a deer.", "The ego vehicle strikes a lamp pole.",
            "A dog is run over by the ego vehicle.",
            "The ego vehicle ploughs into a lorry."), *told("close", "A cyclist almost hits the ego vehicle.",
            "A near miss with a bus.",
            "A motorbike narrowly misses us.")],
        "wrong weather": [*told(
            "hit", "The sun shines from a blue sky.", "It is a sunny scene.",
            "Snow covers the street and more is falling: it is snowing.", "A dry night without a drop of rain.",
            "It isn't raining.", "There's no rain at all.", "Thick fog hangs between the houses.",
            "The weather is clear.", "Dry streets in town."),
            *told("quiet", "It is raining heavily.", "Snowy weather.", "A foggy drive.", "Drizzle wets the glass.")],
        "wrong light": [*told(
            "hit", "The clip was filmed in broad daylight.", "It is daytime.",
            "A bright sunny noon scene in daylight.", "Filmed at sunset.", "At dawn the streets are empty."),
            *told("close", "The drive takes place at night.", "It is dark outside, a night-time drive.",
                "In the darkness the motorway is empty.")],
        "wrong road": [*told(
            "hit", "On a motorway the traffic stops.", "We are on a quiet country road.",
            "A rural lane between fields.", "An expressway with three lanes."),
            *told("quiet", "The drive is along a busy city street.", "A freeway at speed.",
                "In a tunnel under the downtown area.", "Inside a parking garage.")],
        "wrong time in a text": [*told(
            "hit", "The ego vehicle hits the car at 5.3 s.", "Impact occurs around 1.2 seconds.",
            "At second 1 the cars collide.", "Contact at 0:05.",
            "Roughly one second in, no: at 5.0 s, the bumper strikes the sedan.",
            "The collision takes place at t=0.8 s."),
            *told("close", "At 4.8 s the gap is smallest.", "The truck nearly hits us at 5 s.",
                "The hazard becomes visible at 3.9 s.")],
        "wrong time as an answer": asked(
            "hit", {"question": "When is the peak of it, if any?", "options": ["at 1 s", "at 3.4 s", "never"],
            "answer": "at 1 s", "kind": "temporal"},
            {"question": "In which part does contact come, if any?", "options": ["first third", "last third",
            "at no time"], "answer": "at no time"},
            {"question": "When does something happen, if so?", "options": ["in the first quarter",
            "in the third quarter"], "answer": "in the first quarter"},
            {"question": "Where does a conflict first show, if any?", "options": ["0 to 1 s", "2 to 3 s", "5 to 6 s"],
            "answer": "5 to 6 s", "kind": "temporal"}),
        "time outside the clip": [*told("hit", "The car stops at 7.5 s.", "At 0:12 the lights change.",
        "From 9 to 11 seconds nothing moves."),
            *changed("hit", cot, "cot", lambda v: v["steps"][3]["evidence"].update(end_s=9.0)),
            *changed("hit", description, "description", lambda v: v["segments"][2].update(end_s=6.8))],
        "reversed span": [*changed("hit", cot, "cot", lambda v: v["steps"][1].update(evidence={"start_s": 3.0,
        "end_s": 1.0})),
            *asked("hit", {"evidence": {"start_s": 4.5, "end_s": 4.0}})],
        "segments overlap": [*segments((0, 3), (2, 6)), *segments((0, 4), (0, 6)), *segments((0, 2.5), (2.0, 6.0)),
        *segments((3, 6), (0, 3))],
        "segments leave a hole": [*segments((0, 2), (3.5, 6)), *segments((1.2, 6)), *segments((0, 4.1)), *segments((0,
        2), (2, 3), (3.8, 6))],
        "steps out of order": changed("hit", cot, "cot", lambda v: v["steps"].reverse(),
        lambda v: v["steps"].insert(0, {**v["steps"].pop(), "id": "z"}),
            lambda v: v["steps"].insert(2, v["steps"].pop(1)) , lambda v: v["steps"].append({**v["steps"][0],
            "id": "s9"})),
        "step missing": changed("hit", cot, "cot", lambda v: v["steps"][1].update(step="perceive"),
        lambda v: v["steps"][3].update(step="predict")),
        "last step unlike the conclusion": [*changed("hit", cot, "cot",
        lambda v: v["steps"][3].update(text="This is normal driving.")),
            *changed("close", cot, "cot",
                lambda v: v["steps"][3].update(text="The truck crashes into us, a collision."))],
        "two with one id": [*changed("hit", cot, "cot", lambda v: v["steps"][1].update(id="s0")),
            *changed("hit", lambda s: question(), "vqa", lambda v: v["items"].append(v["items"][0]))],
        "answer not offered": asked("hit", {"answer": "a horse"}, {"answer": "A lorry"}, {"answer": "B"},
        {"answer": "a lorry."}),
        "options alike": asked("hit", {"options": ["a lorry", "a dog", "A dog.", "a tram"]}, {"options": ["a lorry",
        "a motorbike", "a motorcycle"]},
            {"options": ["a lorry", "dogs", "the dog"]}, {"options": ["a lorry", "a  cyclist", "the cyclist"]}),
        "two right answers": asked("hit", {"options": ["a lorry", "A Lorry!", "a dog"]}, {"options": ["a lorry",
        "a truck", "a dog"]},
            {"options": ["rain", "rainy", "snow"], "answer": "rain", "question": "What is the weather?"},
            {"options": ["a lorry", "lorries", "a dog"]},
            {"options": ["a lorry", "a dog or a lorry", "a tram"]}),
        "all of the above": asked("hit", {"options": ["a lorry", "a dog", "all of the above"]},
        {"options": ["a lorry", "None of the above"]},
            {"options": ["a lorry", "none of these", "a dog"]}, {"options": ["a lorry", "both of the above",
            "a dog"]}, {"options": ["a lorry", "any of the other options"]}),
        "question tells the answer": asked("hit", {"question": "Where does the lorry on the left wait, and who is it?"},
            {"question": "The weather is rain; what is it like?", "options": ["rain", "snow"], "answer": "rain"},
            {"question": "A lorry waits on the left. Who waits there?"}),
        "question tells the class": asked("hit", {"question": "Why did the ego vehicle crash?"},
        {"question": "What does the ego vehicle hit?"},
            {"question": "At what moment do the cars collide?"}, {"question": "How severe is the collision?"},
            {"question": "Who is involved in the accident?"},
            {"question": "What makes the driver narrowly avoid a crash?"}, {"question": "Which vehicle strikes us?"},
            {"question": "Where did the accident happen?"}, {"question": "How could this accident be prevented?"}),
        "wrong yes or no": asked("hit", yes_no("Does the ego vehicle make contact with anything?", "no"),
        yes_no("Is it raining?", "no"), yes_no("Is it daytime?", "yes"),
            yes_no("Does a collision occur?", "no"), yes_no("Does the ego vehicle touch the car?", "no"),
            yes_no("Is it a night scene?", "no"), yes_no("Is it snowing?",
            "yes"), yes_no("Is the ego vehicle on a motorway?", "yes")),
        "wrong choice": asked("hit", {"question": "What is the weather?", "options": ["rain", "snow", "fog"],
        "answer": "fog"},
            {"question": "Who is the partner, if any?", "options": ["a car", "a bus", "nobody"], "answer": "a bus"},
            {"question": "How does it end?", "options": ["in a crash", "in a near miss", "calmly"],
            "answer": "in a near miss"},
            {"question": "When was it filmed?", "options": ["night", "day", "dusk"], "answer": "day"}),
        "refusal": told("hit", "I'm sorry, but I can't help with that request.", "As an AI model I do not have eyes.",
        "I cannot view videos directly.",
            "Unfortunately, I am unable to determine what happens.", "I don't have access to the footage.",
            "No frames were provided, so nothing can be said.",
            "Sorry, the clip can't be processed."),
        "prompt echo": [("hit", "caption", caption("Every clause says what one field says, and cites that field.")),
        *told("hit", "Sure! A car stands in the rain.", "Here is the caption you asked for: a car.",
            "Certainly. The car stands still.",
            "As requested, one paragraph follows.", "Based on the provided metadata a car is there.",
            "The JSON object below describes the clip.", "Let me know if you need more detail.")],
        "placeholder": told("hit", "TODO", "The {partner} stands there.", "At [time] the lights change.",
        "Lorem ipsum dolor sit amet.", "The <vehicle> waits.",
            "A car waits; ___ crosses.", "None", "[INSERT DESCRIPTION]", "${scene} at the lights"),
        "other language": told("hit", "Das Auto fährt auf der nassen Straße und bleibt stehen.",
        "El coche está parado en la calle y la gente cruza.",
            "La voiture attend dans la rue avec les autres.", "Машина стоит на светофоре.",
            "車が交差点で止まっている。",
            "السيارة تقف عند الإشارة",
            "O carro não para e os outros esperam na rua.",
            "De auto staat op het kruispunt en wacht niet op een ander."),
        "markup": told("hit", "**Car** ahead of us.", "# Scene\nA car waits.", "- a car\n- a lamp",
        "See [the car](http://x.y).", "A `car` waits.", "<b>A car</b> waits.",
            "1. A car waits.\n2. It goes."),
        "numbers no dashcam shows": told("hit", "The car goes at 45 km/h.", "We travel at about 30 mph.",
        "The gap is 12 metres.", "Only 5 m remain.",
            "Some twenty feet ahead a car waits.", "It stands 3.5 meters away.", "We drive sixty kilometres per hour."),
        "plate": told("hit", "A car with the license plate 7ABC123 waits.", "Its plate reads KL 55 AB 1234.",
        "The sedan, number plate B-MW 1234, waits."),
        "person named": told("hit", "The driver, named Paolo, waits.", "Mr. Miller stands at the kerb.",
        "Officer Jones waves us on.", "A woman called Anna waits.",
            "Next to the kerb John Smith waits.", "The red Toyota waits."),
        "citation of nothing": [("quiet", "caption", {"text": "x y", "clauses": [{"text": "The time.", "field": f}]})
            for f in ("event.event_s", "event.partner", "attributes.cause", "attributes.speed")],
        "outcome told before it": told("dark", "The ego vehicle will hit a van; the crash comes later.",
        "No collision occurs.", "It ends with a bang: the cars collide.",
            "A near miss follows.", "A normal driving clip."),
        "hazard told before it shows": told("dark", "The van ahead brakes hard.", "A dangerous situation builds.",
        "A car suddenly cuts in.", "A risk of collision exists.",
            "An emergency is imminent.", "A lorry swerves into our path."),
    }  # fmt: skip
    return {kind: list(some) for kind, some in kinds.items()}


PLANTED = plant()
RULE = {  # the rules that may find a kind
    "collision told as near": "told_class conclusion", "collision told as normal": "told_class conclusion",
    "near told as collision": "told_class conclusion", "near told as normal": "told_class conclusion",
    "normal told as event": "told_class conclusion", "wrong conclusion": "field", "wrong role": "told_role",
    "class where none is resolved": "outcome class_unresolved", "wrong role, struck": "told_role",
    "wrong partner": "told_partner", "wrong weather": "told_attribute", "wrong light": "told_attribute",
    "wrong road": "told_attribute", "wrong time in a text": "told_time", "wrong time as an answer": "answer_wrong",
    "time outside the clip": "time_outside", "reversed span": "time_reversed", "segments overlap": "overlap hole",
    "segments leave a hole": "hole", "steps out of order": "step_order", "step missing": "step_missing",
    "last step unlike the conclusion": "conclusion", "two with one id": "id_twice",
    "answer not offered": "answer_not_offered",
    "options alike": "options_alike", "two right answers": "two_right", "all of the above": "options_above",
    "question tells the answer": "question_tells_answer", "question tells the class": "question_tells_class",
    "wrong yes or no": "answer_wrong", "wrong choice": "answer_wrong", "refusal": "refusal",
    "prompt echo": "prompt_echo",
    "placeholder": "placeholder markup", "other language": "language", "markup": "markup placeholder",
    "numbers no dashcam shows": "number", "plate": "plate", "person named": "person name",
    "citation of nothing": "citation",
    "outcome told before it": "outcome", "hazard told before it shows": "unseen_hazard outcome",
}  # fmt: skip


@pytest.mark.parametrize("kind", PLANTED)
def test_planted_faults_are_found(kind: str) -> None:
    missed = []
    for name, task, value in PLANTED[kind]:
        found = SCENES[name].check(task, value)
        if not {f.rule for f in found} & set(RULE[kind].split()):
            missed.append((task, json.dumps(value)[:300], found))
        for f in found:
            tasks.at_pointer(value, f.pointer)
    assert len(missed) <= 0.05 * len(PLANTED[kind]), missed


def test_enough_kinds_are_planted() -> None:
    assert len(PLANTED) >= 25 and {t for some in PLANTED.values() for _, t, _ in some} == {
        "caption",
        "description",
        "vqa",
        "cot",
    }


def test_no_mark_is_missed_for_the_word_it_begins_with() -> None:
    """Trying every expression at every word finds nothing that the remembered beginnings leave out."""
    lex, tried = lexicon(PACKS["caption"]), set()
    said = (
        "we doesn't car's t-bones an uneventful, normal, drive; no events, with in inches of, rear-end us, rear ended"
    )
    texts = [
        said,
        *(s.text for some in PLANTED.values() for _, task, v in some for s in walk(PACKS[task], v)[0]),
    ]
    for text in texts:
        tokens = list(WORD.finditer(text.lower()))
        for i, token in enumerate(tokens):
            here = {kind for kind, e in lex.begins.all if lex.begins.pattern(e).match(text.lower(), token.start())}
            assert here <= {kind for kind, _ in lex.begins[token.group()]}, (token.group(), text)
            pair = text.lower()[token.start() : tokens[i + 1].end() if i + 1 < len(tokens) else None]
            assert here <= {kind for kind, _ in lex.begins.pairs[pair]}, (pair, text)
            tried |= here
    assert {"ego", "contact", "near", "normal", "neg", "hyp", "if", "value", "partner truck"} <= tried


# -- families of form and of questions: other wordings, and what only looks like a fault ------------------------------
def picks(text: str, answer: str, *others: str, **more: Any) -> Json:
    return {"question": text, "options": [answer, *others], "answer": answer, **more}


FAMILIES: dict[str, list[Planted]] = {
    "options_alike": [*asked(
        "hit", picks("What is parked there?", "a tent", "a grey bin", "a gray bin"),
        picks("What does the driver ahead do?", "he waves", "he is slowing down", "he slows down"),
        picks("When is the horn heard?", "never", "at 2 s", "at 2.0 seconds", kind="temporal"),
        picks("When does it dim?", "never", "between 1 and 2 s", "from 1 s to 2 s", kind="temporal"),
        picks("What lies there?", "a coin", "a broken branch", "a branch that is broken"),
        picks("How many?", "five", "three cars", "3 cars"),
        picks("What does it do next?", "it waits", "it makes a U-turn", "it turns around"),
        picks("Who waits?", "a guard", "a tall young man", "a young tall man"),
        picks("What happens next?", "a gate opens", "the bus overtakes the tram", "the tram is overtaken by the bus"),
        picks("What is there?", "a gate", "a pavement cafe", "a sidewalk cafe"),
        picks("Which way?", "back", "towards the centre", "toward the center"),
        picks("Why?", "no reason", "due to the traffic lights", "because of the traffic signal"),
        picks("What is it?", "a crane", "a zebra crossing", "a crosswalk"),
        picks("Who is it?", "a nun", "two girls and a boy", "a boy and two girls"),
        picks("What moves?", "a flag", "an ambulance", "an ambulence"))],
    "two_right": [*asked(
        "hit", picks("What does the ego vehicle run up to?", "a car", "a vehicle", "a horse"),
        picks("What is the weather?", "rain", "precipitation", "fog"),
        picks("Where is this?", "at an intersection", "in the city", "by the sea"),
        picks("Which statement holds?", "the ego vehicle is in a city", "it rains", "it is noon"),
        picks("When do the two come nearest?", "between 3 and 4 s", "after 3 s", "before 1 s", kind="temporal"),
        picks("Which of the following is correct?", "it is night", "it does not snow", "it is sunny"),
        picks("How is it lit?", "night", "nighttime", "noon")),
        *asked("dodge", picks("Who is missed?", "a pedestrian", "a road user", "a lamp"),
               picks("Who steps out?", "a person", "a pedestrian", "a lamp"))],
    "options_above": [*asked(
        "hit", *(picks("What stands there?", "a lorry", "a dog", o) for o in (
            "all of these apply", "None of the listed options", "A or B", "options (a) and (c)", "Both",
            "neither of them",
            "two of these", "every answer is right", "at least two of the above", "no option fits", "either of these",
            "the first and the second", "none of the choices given", "a combination of the above", "all the others",
            "any of the answers could be true", "both answers are correct", "nothing on the list", "they are all right",
            "not listed here", "the other options are wrong", "same as the first")))],
    "question_tells_answer": [*asked(
        "hit", picks("On this rainy night, how is the weather?", "rain", "snow", "fog"),
        picks("Umbrellas are open and drops run down the glass. What is the weather?", "rain", "snow", "fog"),
        picks("What colour is the red van ahead?", "red", "blue", "green"),
        picks("Which junction does it reach when it gets to the crossroads?", "a crossroads", "a roundabout", "a fork"),
        picks("The light changes at 2.5 s. When does the light change?", "2.5 seconds", "1 s", "4 s", kind="temporal"),
        yes_no("It is raining, isn't it?", "yes"), yes_no("Is it night, as the street lamps show?", "yes"),
        yes_no("The driver is obviously tired; does he yawn?", "yes"), yes_no("Is the sky dark, right?", "yes"),
        yes_no("The van stops at the kerb. Does the van stop at the kerb?", "yes"),
        yes_no("With puddles everywhere and wipers going, is it raining?", "yes"))],
    "question_tells_class": [*asked(
        "hit", *({"question": q} for q in (
            "Which door was damaged?", "Who was injured?", "After the vehicles collide, where does the car stop?",
            "How did the driver try to avoid the car?", "What led to the incident?", "Which part took the impact?",
            "In this fender bender, who is to blame?", "What does the driver do right after the smash?",
            "Shortly before they crash, what colour is the signal?", "What does the ego vehicle narrowly miss?",
            "Why does nothing happen on this uneventful trip?", "Who causes the near miss?")))],
    "answer_wrong": [*asked(
        "hit", picks("What time of day is it?", "around noon", "late at night", "at sunset"),
        picks("Which road is this?", "a motorway", "a city street", "a farm track"),
        picks("Does anything fall from the sky?", "nothing", "rain", "snow"),
        picks("Whom does the ego vehicle come into conflict with?", "a big lorry", "a sedan", "a dog"),
        picks("What becomes of the ego vehicle?", "it is struck by another car", "it strikes another car", "it turns"),
        picks("When is the gap smallest?", "in the first second", "between 3 and 4 s", kind="temporal"),
        picks("When do they touch?", "before 2 s", "after 2 s", kind="temporal"),
        yes_no("Does the ego vehicle hit a pedestrian?", "yes"), yes_no("Is this an uneventful drive?", "yes"))],
    "refusal": [*told(
        "hit", "I'd prefer not to describe people in danger.", "This goes against our content policy.",
        "I lack access to the footage.", "Being an AI, I have no eyes.", "Apologies, the images did not load.",
        "It would be unethical for me to judge this scene.", "Please upload the clip again.",
        "I was not given any frames to look at.", "That is beyond my capabilities.", "I won't be able to answer this.",
        "We regret that the clip could not be processed.", "Could you provide the video?",
            "I am not comfortable with this.",
        "There is not enough information for me to say more.", "The material contains graphic scenes of violence.",
        "As a text-based model I only see words.", "I refuse to caption accidents.",
            "My training prevents me from this.",
        "The video file failed to load.")],
    "prompt_echo": [*told(
        "hit", "Okay, here we go: a car waits.", "You are given a dashcam clip and its record.",
        "Answer with valid JSON only: a car waits.", "Caption: a car waits in the rain.",
        "As per your instructions, a car waits.", "I have written the caption in plain words.",
        "A car waits, as the prompt says.", "Use no more than three sentences.", "The following caption covers it all.",
        "Write one clause for each field of the record.", "partner = car, class = collision",
            "Below is the text you requested.",
        "event.partner is a car.", "assistant: a car waits.", "Each segment must have a start and an end.",
        "Do not mention the metadata in your answer.", "I hope this helps!", "I was asked to describe the clip.",
        "According to the instructions above a car waits.", "In two to four sentences: a car waits.")],
    "placeholder": [*told(
        "hit", "Your text here", "option 3", "A car waits at X seconds.", "TBC", "[describe the weather]",
        "The {{actor}} waits.", "<scene>", "Description to be added.", "xxx", "string", "n/a", "... ...", "???",
        "lorem ipsum", "Sample caption", "fill this in later", "%s waits", "undefined", "The #REF! waits."),
        *asked("hit", picks("Who waits?", "a lorry", "option B", "distractor 3"),
               picks("Who waits?", "a lorry", "[wrong answer]", "a dog"))],
    "language": [*told(
        "hit", "Bilen kör på vägen och det regnar.", "Samochód jedzie przez miasto w deszczu.",
        "Araba yolda duruyor ve yağmur yağıyor.", "Mobil itu berhenti di jalan karena hujan.",
        "Gadi ruk gayi aur sadak par baarish ho rahi hai.", "Xe dang chay tren duong trong mua.",
        "Un coche para.", "Es regnet, und die Ampel ist rot.", "Mașina este pe drum și plouă.",
        "Auto jede po silnici a prší na ně.", "Az autó az úton van és esik az eső.", "Auto ajaa tiellä ja sataa.",
        "Una macchina è ferma sotto la pioggia.", "Kuruma wa michi de tomatte iru.",
            "Het regent en de auto staat stil.",
        "차가 멈춘다.", "รถหยุด", "Το αυτοκίνητο σταματά.", "Xe ô tô đang dừng lại.",
        "A car waits. Die Straße ist nass und es regnet stark. It goes on."),
        *asked("hit", picks("Was sieht man auf der Straße?", "a lorry", "a dog"),
               picks("What is it like?", "lluvia", "snow", "fog"))],
    "markup": [*told(
        "hit", "~~A car~~ waits.", "| car | waits |\n|---|---|", "1) A car waits.\n2) It goes.", "A car&nbsp;waits.",
        "__A car__ waits.", "```A car waits.```", "<p>A car waits.</p>", "*A car* waits.", "> A car waits.",
        "A car waits.\\nIt goes.")],
    "number": [*told(
        "hit", "It is a hundred and fifty metres off.", "Half a mile ahead a car waits.",
            "A dozen yards away a car waits.",
        "At a speed of 50 it comes near.", "It does 12 m/s.", "Some 30 ft away.", "The gap shrinks to one metre.",
        "A kerb 15 cm high.", "at 70 mph", "eighteen kilometers per hour")],
    "plate": [*told(
        "hit", "The taxi KA01AB1234 waits.", "A van (AB12 CDE) waits.", "Behind 京A·12345 a bus waits.",
        "The car 34 ABC 123 waits.", "The car AB-123-CD waits.", "The car HH-XY 99 waits.", "The car 12-ABC-3 waits.",
        "The number plate spells HOTROD.", "The car 8XYZ123 waits.", "The car BRA2E19 waits.",
        "Its registration is 1234 BCD.")],
    "person": [*told("hit", "Sergeant Baker waves.", "The driver Tomasz waits.", "A woman by the name of Ines waits.",
        "Dr. Osei waits at the kerb.")],
}  # fmt: skip


MORE: dict[str, list[Planted]] = {
    "options_alike": [*asked(
        "hit", picks("What does it do?", "it waits", "swerves to the right", "he swerves right"),
        picks("What does the van do?", "it waits", "it turns to the right", "it makes a right turn"),
        picks("Who waits?", "a nun", "a cyclist", "a person riding a bike"),
        picks("What comes next?", "it stops", "it takes the next exit", "it leaves at the next exit"),
        picks("What does it do?", "it waits", "brakes hard", "brakes heavily"),
        picks("How?", "on foot", "at high speed", "very fast"),
        picks("Who?", "a nun", "a child on a bike", "a child on a bicycle"),
        picks("Who?", "a nun", "no one", "nobody"),
        picks("What?", "a nun", "no other vehicle", "no other vehicles"),
        picks("Where?", "a pond", "on the left-hand side", "on the left"),
        picks("Why?", "a pond", "because it is raining", "because of rain"),
        picks("When?", "never", "at the start of the clip", "at the beginning of the video"),
        picks("What does the van do?", "it waits", "it fails to stop", "it does not stop"),
        picks("What?", "a pond", "a road covered with snow", "a snow-covered road"),
        picks("What?", "a pond", "a running dog", "a dog that is running"),
        picks("How fast?", "slow", "30 km/h", "30 kilometres per hour"),
        picks("What?", "a pond", "The lorry's tail lights", "the tail lights of the truck"),
        picks("What?", "a pond", "people crossing the road", "a person crosses the street"),
        picks("What?", "a pond", "it is turning left", "it turned left"),
        picks("What does it do?", "it waits", "continues straight ahead", "it goes straight on"),
        picks("What?", "a pond", "a blue-coloured coach", "a blue coach"),
        picks("What?", "a pond", "One cyclist.", "1 cyclist"))],
    "two_right": [*asked(
        "hit", picks("Which is true?", "There is physical contact", "A crash occurs", "The driver waves"),
        picks("What does it strike?", "a sedan", "a car", "a dog"),
        picks("What is the road like?", "a wet road", "rain", "snow", ),
        picks("When does contact occur?", "3.4 s", "in the second half", "in the first second", kind="temporal"))],
    "options_above": [*asked(
        "hit", *(picks("What stands there?", "a lorry", "a dog", o) for o in (
            "all of the previous", "A and B only", "multiple answers", "none applies", "no correct answer",
            "Both A & C",
            "More than one is correct", "any of them", "all listed", "everything above", "options A and B",
            "either A or C",
            "None of the alternatives", "each of the above")))],
    "question_tells_answer": [*asked(
        "hit", yes_no("Isn't it raining?", "yes"), yes_no("Is it not obvious that it rains?", "yes"),
        yes_no("Since the moon shines, is it night?", "yes"), yes_no("Does it rain (yes)?", "yes"),
        picks("Given the heavy rainfall, what is the weather?", "rain", "snow", "fog"),
        picks("The answer is a van: what waits?", "a van", "a dog", "a tram"),
        picks("How many lorries are the two lorries ahead?", "two", "three", "four"),
        picks("Which way does the car turning right go?", "right", "left", "straight on"),
        picks("What is the bicycle rider riding?", "a bike", "a horse", "a scooter"))],
    "question_tells_class": [*asked(
        "hit", *({"question": q} for q in (
            "What caused the two vehicles to make contact?", "Why was there no collision?", "Was the damage severe?",
            "How close was the ego vehicle to crashing?", "What made emergency braking necessary?",
            "Which move kept the ego vehicle from hitting the cyclist?", "When does the car get rear-ended?",
            "Did the crash happen at night?", "What saved the pedestrian from being struck?",
            "How fast was it going when it struck the van?", "Who was at fault in this accident?")))],
    "answer_wrong": [*asked(
        "hit", picks("How would you describe the sky?", "a bright blue sky", "pouring rain", "fog"),
        picks("What surface is it?", "dry", "wet", "icy"), picks("What is the light like?", "broad daylight", "dark"),
        picks("Where was it recorded?", "in the countryside", "in the city", "on a freeway"),
        picks("What does the ego vehicle collide with?", "a pedestrian", "a car", "nothing"),
        picks("Is there contact?", "no contact", "contact"), yes_no("Is the road dry?", "yes"),
        yes_no("Is this a daytime scene?", "yes"), yes_no("Is the ego vehicle involved in a crash?", "no"),
        yes_no("Is it snowing?", "yes"))],
    "refusal": [*told(
        "hit", "I am just an AI and have no way of watching this.", "Sorry! That is something I can't help with.",
        "I don't feel comfortable describing this.", "Unfortunately, I can't view videos.", "I can't identify people.",
        "As an assistant I am not allowed to comment.", "I'm not able to see the frames.", "No image was attached.",
        "I need to decline.", "This request violates our content policy.", "I do not have enough visual information.",
        "It isn't possible for me to watch the clip.", "I must refrain from describing violence.",
        "Please consult an expert.", "The footage is not available to me.", "I cannot fulfill this request.",
        "My apologies, but I can't do that.", "Regrettably I cannot assist.", "I have no access to the images.")],
    "prompt_echo": [*told(
        "hit", "Certainly! Here is a description: a car.", "Output: a car waits.", "The task is to describe the clip.",
        "You should write plain sentences.", "Following your instructions, a car waits.", "Return a JSON object.",
        "The answer should be one of the options.", "Below you will find the caption: a car.",
            "Remember to cite the field.",
        "Here's what you asked for.", "### Response: a car waits.", "Instruction: describe the clip.",
        "The schema requires a scene.", "Avoid markdown in the text.", "Describe the clip in two sentences.",
        "Step-by-step reasoning as requested: a car waits.", "Based on your prompt, a car waits.",
        "Let me think step by step.", "I will now describe the clip.", "Each clause cites one field.")],
    "placeholder": [*told(
        "hit", "Lorem ipsum", "to be filled in", "<insert scene>", "{weather}", "[car]", "CAPTION_TEXT_HERE",
            "TODO: text",
        "A car waits at [TIME].", "text text text", "N/A", "null", "example answer", "answer 1", "YOUR_ANSWER", "[...]",
        "The ____ waits.", "XX", "(description)", "placeholder")],
    "plate": [*told("hit", "The car with plate 12-34-AB waits.", "The van bears the plate LMN 456.",
            "The car M-AB 123 waits.",
        "The taxi DL 3C AB 1234 waits.", "Its licence plate begins with KL.", "The car WAW 12345 waits.")],
    "number": [*told("hit", "A 3-metre gap.", "It is travelling at fifty.", "It slows from 60 to 30 km/h.", "1.5 m")],
    "language": [*told(
        "hit", "Il pleut.", "Piove forte.", "Det regnar.", "Pada deszcz.", "Sataa vettä.", "Yağmur yağıyor.", "Βρέχει.",
        "Fahrzeug bremst.", "Le camion tourne.", "Kendaraan berhenti.", "Pojazd skręca w lewo.",
            "Bil foran bremser.",
        "El peatón cruza.", "Il pedone attraversa.", "O pedestre atravessa.", "De fietser steekt over.", "Hujan deras.",
        "Aage wali gaadi ruk jati hai.", "Ongoval na doroge.", "Yaya karşıya geçiyor.", "Vozidlo brzdí.",
        "Ajoneuvo pysähtyy risteykseen.", "A jármű megáll.", "Vehiculul se opreste la semafor.", "Xe tai re trai.")],
}  # fmt: skip


@pytest.mark.parametrize("rule", FAMILIES)
def test_families_are_found(rule: str) -> None:
    planted = [*FAMILIES[rule], *MORE.get(rule, ())]
    missed = [v for name, task, v in planted if rule not in {f.rule for f in SCENES[name].check(task, v)}]
    assert not missed


# What looks like a fault of form: signs, orders of flagmen, road numbers, models, ways to speak.
PLAIN = [
    ("quiet", "A sign reads 'SORRY, ROAD CLOSED'; the ego vehicle turns off."),
    ("quiet", "A poster says \"I'm sorry, we are closed\" as the ego vehicle passes."),
    ("quiet", "A van says SORRY NO ENTRY in large letters; nothing happens."),
    ("quiet", "As directed by an officer, the ego vehicle waits and goes on."),
    ("quiet", "The driver follows the instructions of the flagman and halts."),
    ("quiet", "None of the other cars comes near."),
    ("quiet", "Fields to the left, a sentence of graffiti on a wall to the right; a quiet drive."),
    ("quiet", "The vehicle leaves the A40 for the B27 and meets the E45; no trouble."),
    ("quiet", "Exit 12 of US-101 is ahead, then I-95; all is calm."),
    ("quiet", "A BMW 320 and a MAN TGX overtake; nothing happens."),
    ("quiet", "At 2.5 s the light turns green, and at 0:04 the car moves off."),
    ("quiet", "A bus of line 42 stops; bay 7 is free."),
    ("quiet", "Along the Rue de la Paix the drive is quiet."),
    ("quiet", "The car passes the Plaza de la Concordia and the El Camino motel without trouble."),
    ("quiet", "A café with a naïve mural stands at the bend."),
    ("quiet", "The road is not clearly marked. The driver cannot see round the bend and slows down."),
    ("quiet", "One foot on the kerb, a boy waits; he stays there."),
    ("quiet", "A speed limit of 50 is signed; traffic keeps to it."),
    ("quiet", "The prompt response of the driver ahead keeps the flow smooth."),
    ("quiet", "All four lanes are free, and each of these stays so."),
    ("quiet", "Of course the road bends; nobody is near."),
    ("quiet", "A text on the bridge is too far to read; the drive is uneventful."),
    ("quiet", "The user of the crosswalk has long gone; nothing happens."),
    ("quiet", "Here the road bends and there it runs straight; here is a village."),
    ("quiet", "Please note the calm: nothing happens."),
    ("quiet", "There is no car in view, and no picture of danger."),
    ("quiet", "I can see the bend, and I follow a tractor that keeps left."),
    ("quiet", "The driver does not respond to the horn; nothing comes of it."),
    ("quiet", "A Škoda and a Citroën van pass. The Łódź tram turns."),
    ("quiet", "Keep-clear markings line the road; the driver will describe a wide arc round them."),
    ("quiet", "The sedan is outside our lane; its distance cannot be made out."),
    ("quiet", "The text on the sign, a caption of sorts, is faded; nothing happens."),
    ("quiet", "A man in a jacket with the number 7 waits; bus 112 and train 12 34 pass."),
    ("quiet", "The light, then green, lets 20 cars by in 12 s; a quiet drive."),
    ("quiet", "The answer to the empty road is a steady pace. No event occurs."),
    ("quiet", "Driving at dusk, the car passes a pub called 'None of the Above'; all is calm."),
    ("quiet", "Going at an even pace, then at two junctions straight on, the ride is dull."),
    ("quiet", "At the test track a van waits; its text is foreign. The drive goes on as before."),
    ("quiet", "Two others wait at a gate to be opened; it is not needed."),
    ("quiet", "In two or three spots the grass is brown; the ride is calm."),
    ("hit", "Its view is blocked, and it is impossible to see the car; unable to respond, the ego car hits it."),
    ("hit", "It cannot proceed or continue its turn and is unable to see the car in time: a direct and violent crash."),
    ("hit", "Unable to stop, the ego vehicle hits the car at 3.4 s."),
    ("hit", "The driver cannot avoid the car, is sorry later, and the two touch at 3.4 s."),
    ("hit", "He is not responsible for the crash, which happens at 3.4 s as a car brakes at an inappropriate place."),
]  # fmt: skip


@pytest.mark.parametrize("name,text", PLAIN)
def test_what_only_looks_like_a_fault_of_form_is_none(name: str, text: str) -> None:
    rules = {f.rule for f in SCENES[name].check("caption", caption(text, name))}
    assert not rules & {*FAMILIES} - {"answer_wrong"}


@pytest.mark.parametrize("name,item", [
    ("hit", picks("Which way does it turn?", "left", "right", "it goes straight on")),
    ("hit", picks("Who is at the kerb?", "a man", "a woman", "a child")),
    ("hit", picks("Which animal is seen?", "a dog", "a cat", "a cow")),
    ("hit", picks("Which car is parked on the left?", "a taxi", "a hatchback", "an SUV")),
    ("hit", picks("Who overtakes whom?", "the bus overtakes the tram", "the tram overtakes the bus")),
    ("hit", picks("What is it?", "a red car and a blue van", "a blue car and a red van", "neither car nor van")),
    ("hit", picks("When?", "before the bus", "after the bus", "beside the bus")),
    ("hit", picks("What is true of the light?", "it is red", "it is not red")),
    ("hit", picks("How many lanes are there?", "two", "three", "four or more")),
    ("hit", picks("Which lane is free, the left one or the right one?", "the right one", "both", "neither")),
    ("hit", picks("Who is on the road?", "both lanes are empty", "one bus", "none is visible")),
    ("hit", picks("Which part of the day is it?", "night", "noon", "dawn")),
    ("hit", picks("At what time of day was it filmed?", "by night", "by day", "at dusk")),
    ("hit", picks("When do the brake lights ahead come on?", "at 0.5 s", "at 2 s", "at 5 s", kind="temporal")),
    ("hit", picks("What vehicle waits on the left?", "a bus", "a van", "a truck")),
    ("hit", picks("What does the driver do to avoid the pothole?", "steers left", "steers right", "brakes")),
    ("hit", picks("Which vehicle is ahead?", "a car", "another vehicle with a trailer", "no vehicle")),
    ("hit", picks("What does it end with, if there is a collision?", "a dent", "a scratch", "no collision")),
    ("hit", picks("Does the light change while the bus waits?", "yes", "no", kind="yes_no")),
    ("hit", picks("Does the car stop, when the light is red?", "yes", "no", kind="yes_no")),
    ("hit", picks("Is a pedestrian clearly visible on the left?", "no", "yes", kind="yes_no")),
    ("hit", picks("What hides the sign?", "a tree", "a lorry", "something in front of the lens")),
    ("hit", picks("Where does the bus stop?", "at the first stop", "at the second stop", "at the last stop")),
    ("hit", picks("What does the sign say?", "STOP", "GIVE WAY", "30")),
    ("hit", picks("What happens?", "it runs into another car", "another car looks on", "another car waits for it")),
    ("struck", picks("What happens to it?", "a cyclist rides into it", "it runs into a cyclist", "it waits")),
    ("hit", picks("What kind of junction is it?", "a crossroads", "a roundabout", "a T-junction")),
    ("hit", picks("Who is responsible for keeping the distance here?", "the ego driver", "the driver ahead", "a tram")),
    ("hit", picks("Which pair fits the scene?", "wet and dark", "wet and bright", "dry and dark")),
    ("hit", picks("What is on the roof?", "a ladder", "a rack", "two boxes and a ladder")),
    ("hit", picks("Where does the van stop?", "at the kerb", "at the stop line", "in the bus lane")),
    ("hit", picks("What does the driver do at 1 s?", "brakes", "accelerates", "keeps the speed")),
    ("hit", picks("Who has the right of way?", "the tram", "the ego vehicle", "the cyclist")),
    ("hit", picks("What is the state of the lights ahead?", "green", "red", "off")),
    ("hit", picks("Which of these appears first?", "a tram", "a cyclist", "a lorry")),
    ("hit", picks("What would have helped the driver see more?", "a clean windscreen", "a slower pace", "nothing")),
    ("hit", picks("Which way does the cyclist go?", "from left to right", "from right to left", "straight ahead")),
])  # fmt: skip
def test_what_only_looks_like_a_faulty_question_is_none(name: str, item: Json) -> None:
    assert SCENES[name].check("vqa", question(**item)) == []


@pytest.mark.parametrize("rule,severity,name,item", [
    ("answer_wrong", "error", "hit", question(question="At what second do they touch, if at all?", options=[],
        answer="At about 1.2 s.", kind="open")),
    ("answer_wrong", "error", "dodge", question(question="Does the car touch the pedestrian on the crossing?",
        options=["yes", "no"], answer="yes", kind="yes_no")),
    ("answer_wrong", "warning", "dodge", question(question="What becomes of him?",
        options=["he is knocked over", "he walks on"], answer="he is knocked over")),
    ("two_right", "warning", "hit", question(question="What makes it hard to drive?",
        options=["the rain", "the night", "smoke"], answer="the rain")),
    ("two_right", "error", "quiet", question(question="At about 2 s the van slows. When is that?",
        options=["in the first half", "between 1 and 4 s", "in the last second"], answer="in the first half")),
    ("question_tells_class", "error", "hit", question(question="After it collides with the car, is there contact?",
        options=["yes", "no"], answer="yes", kind="yes_no")),
    ("question_tells_class", "warning", "close", question(question="How much room is left as it misses us?",
        options=["a hand", "a lane"], answer="a hand")),
])  # fmt: skip
def test_how_grave_a_finding_on_a_question_is(rule: str, severity: str, name: str, item: Json) -> None:
    assert (rule, severity) in {(f.rule, f.severity) for f in SCENES[name].check("vqa", item)}


def test_no_expression_misses_a_text_for_the_words_it_is_tried_by() -> None:
    planted = [*(p for some in PLANTED.values() for p in some), *(p for some in FAMILIES.values() for p in some)]
    texts = {s.text for _, task, value in planted for s in walk(PACKS[task], value)[0]} | {
        "isn't it raining?", "It rains, right?", "It hits the van, doesn't it?", "(Answer: yes) What falls?", "Or not?",
        "As the wet road shows, what falls?", "In which part of the day, in spite of the near miss?", "A near-crash.",
        "A fender-bender, a fenderbender, a pileup.", "the near miss", "the nearmiss", "Which of these can be said?",
    }  # fmt: skip
    for text in texts:
        for worded in Worded.every:
            assert bool(worded.search(text)) == bool(worded.expression.search(text)), (worded.expression.pattern, text)
    assert sum(bool(w.search(t)) for t in texts for w in Worded.every) > 300


def test_no_form_is_missed_for_the_words_it_is_tried_by() -> None:
    """Trying every expression on every line finds nothing that the remembered words leave out."""
    planted = [*(p for some in PLANTED.values() for p in some), *(p for some in FAMILIES.values() for p in some)]
    planted += [p for some in MORE.values() for p in some]
    missed = set()
    for _, task, value in planted:
        for line in (line for s in walk(PACKS[task], value)[0] for line in lines_of(s.text)):
            found = {rule for rule, *_ in signs(PACKS[task], line, line.lower(), WORD.findall(line.lower())).faults}
            missed |= {
                (rule, line) for rule, expression, *_ in PATTERNS if expression.search(line) and rule not in found
            }
    assert not missed
