"""The packs that models write: strict schemas, exact tags, a form that asks for all, fair questions from answers."""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from curation import tasks
from curation.answers import read_annotations
from curation.check_set import check_set
from curation.check_text import Context
from curation.checks import check_record
from curation.deal import deal
from curation.forms import compose, controls, expand, task_data
from curation.tasks import TaskPack
from curation.template import Scope, render
from curation.types import Clip, Draft, Json

PACKS = tasks.load_packs(sorted(p.parent.name for p in tasks.BUILT_IN.glob("*/schema.json")))
TEXT = [p for n, p in PACKS.items() if n != "event"]
CLASSES = ("collision", "near_collision", "normal")
UNTOLD = "cannot be told"
STEMS = {k: v for k, v in PACKS["watched"].schema["properties"].items() if k != "open"}
DEALT = PACKS["vqa_watched"]
QUESTIONS = {q["id"]: q for q in (DEALT.template or {})["questions"]}
each_pack = pytest.mark.parametrize("pack", PACKS.values(), ids=list(PACKS))


def good(name: str) -> list[Any]:
    return [e["value"] for e in PACKS[name].examples if e["ok"]]


# -- what is sent to a model -----------------------------------------------------------------------------------------
# https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
STRICT = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"pattern", "format", "minLength", "maxLength"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "boolean": set(),
    "null": set(),
}


def strict_faults(node: Json, depth: int, sums: Counter[str], at: str = "") -> list[str]:
    """What OpenAI's strict mode would refuse in a schema, with its place; adds up what it limits."""
    kinds = [node["type"]] if isinstance(node.get("type"), str) else node.get("type", [])
    known = {"type", "title", "description", "enum", "const", "anyOf"}.union(*(STRICT[k] for k in kinds))
    found = [f"{at}: {k}" for k in set(node) - known]
    if not kinds and "anyOf" not in node:
        found.append(f"{at}: no type")
    texts = [v for v in [*node.get("enum", []), node.get("const")] if isinstance(v, str)]
    sums["enum"] += len(node.get("enum", []))
    sums["text"] += sum(map(len, texts)) + sum(map(len, node.get("properties", {})))
    if len(texts) > 250 and sum(map(len, texts)) > 15_000:
        found.append(f"{at}: enum too long")
    if "object" in kinds:
        sums["properties"] += len(node["properties"])
        if node.get("additionalProperties") is not False or sorted(node["required"]) != sorted(node["properties"]):
            found.append(f"{at}: open, or a property that may be missing")
        if depth > 10:
            found.append(f"{at}: deeper than ten objects")
    inner = [(f"{at}/{k}", v, depth + 1) for k, v in node.get("properties", {}).items()]
    inner += [(f"{at}/[]", node["items"], depth + ("array" in kinds))] if "items" in node else []
    inner += [(f"{at}/{i}", v, depth) for i, v in enumerate(node.get("anyOf", []))]
    return found + [f for place, child, down in inner for f in strict_faults(child, down, sums, place)]


@each_pack
def test_schemas_are_within_the_limits_of_strict_output(pack: TaskPack) -> None:
    sums: Counter[str] = Counter()
    sent = tasks.response_format(pack)["json_schema"]
    assert sent["strict"] is True and sent["name"] == pack.name
    assert strict_faults(sent["schema"], 1, sums) == []
    assert sums["properties"] <= 5000 and sums["enum"] <= 1000 and sums["text"] <= 120_000
    assert all(Draft202012Validator(sent["schema"]).is_valid(v) for v in good(pack.name))


def test_the_strict_check_finds_what_is_not_strict() -> None:
    loose: Json = {"type": "object", "properties": {"a": {"type": "string"}}, "required": [], "if": {}}
    assert len(strict_faults(loose, 1, Counter())) == 2
    assert strict_faults({"type": "string", "minItems": 1}, 1, Counter()) == [": minItems"]


@each_pack
def test_every_text_has_an_end(pack: TaskPack) -> None:
    def walk(node: Any) -> None:
        if isinstance(node, dict):
            kind = node.get("type")
            if kind == "string" or (isinstance(kind, list) and "string" in kind):
                assert {"maxLength", "enum", "const", "pattern"} & set(node), node
            for key, child in node.items():
                if key not in ("if", "then", "else", "not", "contains", "allOf"):
                    walk(child)
        for child in node if isinstance(node, list) else ():
            walk(child)

    walk(pack.schema)


@each_pack
def test_a_models_own_reasoning_has_a_text_to_go_to(pack: TaskPack) -> None:
    where = pack.spec["reasoning"]
    if where is not None:
        assert pack.schema["properties"][where[1:]]["type"] == "string"
    assert (where is not None) == (pack.name == "think")


# -- what is learnt from -----------------------------------------------------------------------------------------------
FORMS = {
    "llava_cot": r"<SUMMARY>\n.+\n</SUMMARY>\n\n<CAPTION>\n.+\n</CAPTION>\n\n<REASONING>\n.+\n</REASONING>\n\n"
    r"<CONCLUSION>\n(\w+)\n</CONCLUSION>",
    "think": r"<think>\n.+\n</think>\n\n<answer>\n(\w+)\n</answer>",
    "drivevlm": r"Scene:\n(?:- \w+: .+\n)+\nObjects:\n(?:- \w+ \([\d.]+ to [\d.]+ s\): .+\n)+\nInfluence:\n"
    r"(?:- \w+: .+\n)+\nDecision: \w[\w ]+\. .+\n\n<answer>\n(\w+)\n</answer>",
}


@pytest.mark.parametrize("name", FORMS)
def test_answers_have_exactly_their_tags(name: str) -> None:
    for value in good(name):
        (talk,) = tasks.conversations(PACKS[name], value)
        said = talk["messages"][1]["content"]
        match = re.fullmatch(FORMS[name], said, re.S if name != "drivevlm" else 0)
        assert match and match[1] == value["conclusion"], said
        for tag in re.findall(r"</?\w+>", said):
            assert said.count(tag) == 1
        told = value["steps"] if "steps" in value else [{"text": value["thought"]}]
        assert all(said.count(step["text"]) >= 1 for step in told)


@pytest.mark.parametrize("name", ["llava_cot", "drivevlm"])
def test_what_reviews_leave_must_still_have_every_stage(name: str) -> None:
    pack = PACKS[name]
    for value in good(name):
        for kind in {s["step"] for s in value["steps"]}:
            left = {**value, "steps": [s for s in value["steps"] if s["step"] != kind]}
            assert "contains" in {e.keyword for e in tasks.errors(pack, left)}, kind


def test_the_words_of_a_drive_are_those_of_the_ontology() -> None:
    pack = PACKS["drivevlm"]
    said = set(pack.schema["properties"]["steps"]["items"]["properties"]["about"]["enum"])
    ours = {w for name in ("partner", "manoeuvre") for w in pack.ontology[name]["enum"] if w}
    assert said == ours | {"weather", "light", "road", "lane", "signal"}


# -- the form ----------------------------------------------------------------------------------------------------------
CLIP = Clip("source1_ab", "event", 0, 6, {}, blob="ab" * 32, frames=60, fps=10.0, width=64, height=48)
DRAFTS = {p.name: Draft(CLIP.id, p.name, good(p.name)[0], {"of": p.name}, "template") for p in TEXT}


def judged(packs: list[TaskPack], blind: bool) -> dict[str, list[Any]]:
    """What comes back, by task, from a form of `packs` with every draft accepted and every question answered "A"."""
    data, form = task_data("a_x", CLIP, DRAFTS, packs, "x.mp4", blind=blind), compose(packs, blind=blind)
    picks = {"event_class": "collision", "event_ego_role": "unknown", "cot_cause": "none"}
    result = []
    for name, control in expand(form, data).items():
        pick = picks.get(name) or ("accept" if "_verdict" in name else "A" if "_letter_" in name else None)
        if pick and pick in control.choices:
            result.append({"from_name": name, "type": "choices", "value": {"choices": [pick]}})
        elif "_words_" in name:
            result.append({"from_name": name, "type": "textarea", "value": {"text": ["Two."]}})
    annotation = {"id": 7, "completed_by": 5, "result": result, "was_cancelled": False, "lead_time": 9.5}
    exported = {"id": 3, "project": 2, "data": data, "annotations": [annotation]}
    by_id = {d.id: d for d in DRAFTS.values()}
    reviews, refused = read_annotations(exported, form, packs, CLIP, by_id, round="text")
    assert not refused
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for review in reviews:
        found[review.task].append(review.value)
    return found


def parts(pack: TaskPack) -> list[Any]:
    value = DRAFTS[pack.name].value
    return [i for _, i in tasks.items(pack, value)] or [value]


def test_all_packs_go_into_one_form_and_every_draft_comes_back() -> None:
    found = judged(TEXT, blind=False)
    for pack in TEXT:
        assert found[pack.name] == (parts(pack) if pack.spec["messages"] else []), pack.name


def test_asked_blind_chains_wait_for_the_class_and_questions_come_without_answers() -> None:
    packs = list(PACKS.values())
    found = judged(packs, blind=True)
    for name in ("llava_cot", "drivevlm", "think"):
        assert found[name] == parts(PACKS[name])
        assert any("event_class" in str(c.conditions) for c in controls(compose(packs, blind=True)) if name in c.name)
    items = parts(PACKS["vqa_watched"])
    first = [i["options"][0] if i["options"] else "Two." for i in items]
    assert sorted(found["vqa_watched"], key=str) == sorted(
        ({**i, "answer": a} for i, a in zip(items, first, strict=True)), key=str
    )
    assert not found["watched"] and not found["caption"]


# -- the checks --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [p.name for p in TEXT])
def test_the_checks_find_nothing_in_good_values(name: str) -> None:
    for value in good(name):
        cls = value.get("conclusion") or ("collision" if "3.4" in json.dumps(value) else None)
        event = {"class": cls, "alert_s": 2.1, "event_s": 3.4, "ego_role": "striking"}
        if cls == "normal":
            event |= {"alert_s": None, "event_s": None, "ego_role": "none"}
        found = check_record(value, Context(PACKS[name], CLIP, event if cls else None, {}))
        assert not [f for f in found if f.rule not in ("class_unresolved", "citation")], found
    told = [replace(DRAFTS[name], clip_id=f"clip{i}", author="a-model", id="") for i in range(2)]
    copied = [i for i in check_set(told, PACKS, {}) if i.rule == "copy"]
    assert len(copied) == any(len(v.split()) >= 8 for v in re.findall(r'"([^"]*)"', json.dumps(told[0].value)))


# -- fair questions from what was watched ------------------------------------------------------------------------------
def watched(cls: str, r: random.Random) -> Json:
    """Skewed answers, as a model gives them; in normal driving there is no conflict."""
    value: Json = {"open": []}
    for stem, node in STEMS.items():
        words = [a for a in node["properties"]["answer"]["enum"] if a != UNTOLD]
        none = QUESTIONS[stem].get("always")
        some = [w for w in words if w != none]
        answer = r.choices(some, [2.0**-i for i in range(len(some))])[0]
        if none and cls == "normal":
            answer = none
        if r.random() < 0.15:
            answer = UNTOLD
        start = round(r.uniform(0, 3), 2)
        value[stem] = {"answer": answer, "evidence": {"start_s": start, "end_s": start + 1.5}}
    if r.random() < 0.5:
        value["open"] = good("watched")[0]["open"]
    return value


@cache
def dealt(n: int, per_clip: int = 8, per_family: int | None = None) -> tuple[dict[str, Json], dict[str, list[Json]]]:
    """(contexts, items) by clip, classes 1:1:4."""
    contexts = {}
    for i in range(n):
        cls = CLASSES[min(2, i % 6)]
        contexts[f"clip{i:04}"] = {
            "event": {"class": cls},
            "parents": {"watched": watched(cls, random.Random(i))},
        }
    return contexts, deal(DEALT, contexts, seed=0, per_clip=per_clip, per_family=per_family)


def surprise(n: int, hits: int, share: float) -> float:
    """Standard deviations from what is expected."""
    return float((hits - n * share) / (n * share * (1 - share)) ** 0.5)


def test_the_bank_is_asked_as_it_was_answered() -> None:
    assert set(QUESTIONS) == set(STEMS) and 20 <= len(STEMS) <= 24
    families = Counter(q["family"] for q in QUESTIONS.values())
    assert set(families) == set(DEALT.ontology["family"]["enum"]) and min(families.values()) == 3
    assert {q["kind"] for q in QUESTIONS.values()} == {"multiple_choice", "yes_no", "temporal"}
    for stem, node in STEMS.items():
        words, question = node["properties"]["answer"]["enum"], QUESTIONS[stem]
        assert node["description"] == question["ask"]["$choose"][0] and words[-1] == UNTOLD
        quiet = {"there is none", "nobody does", "nothing, no conflict arises", "at no time"} & set(words)
        assert {question.get("always")} - {None} == quiet and question.get("most") == (3 if quiet else None)
        assert (question["kind"] == "yes_no") == (words == ["yes", "no", UNTOLD])
    assert DEALT.schema_id == PACKS["vqa"].schema_id


@pytest.mark.parametrize("per_family", [None, 1])
def test_no_answer_of_a_watched_question_is_a_better_guess(per_family: int | None) -> None:
    items = [i for _, dealt_ in sorted(dealt(900, per_family=per_family)[1].items()) for i in dealt_]
    assert len(items) > 3000
    offered: Counter[Any] = Counter()
    right: Counter[Any] = Counter()
    places: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for item in items:
        k = len(item["options"])
        offered.update((item["id"], k, o) for o in item["options"])
        right[item["id"], k, item["answer"]] += 1
        places[k][item["options"].index(item["answer"])] += 1
    off = {key: surprise(n, right[key], 1 / key[1]) for key, n in offered.items()}
    assert max(map(abs, off.values())) < 4, off
    assert 0.4 < sum(x * x for x in off.values()) / len(off) < 1.6
    for k, counts in places.items():
        assert all(abs(surprise(counts.total(), n, 1 / k)) < 4 for n in counts.values()) and len(counts) == k
    assert {i["id"] for i in items} == set(STEMS)


def test_being_asked_a_watched_question_does_not_tell_the_class() -> None:
    contexts, plan = dealt(900)
    asked: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for clip, items in plan.items():
        for item in items:
            asked[item["id"]][contexts[clip]["event"]["class"]] += 1
    for question, classes in asked.items():  # of the clips, a sixth, a sixth and two thirds
        assert all(0.2 < classes[c] / classes.total() < 0.55 for c in CLASSES), (question, classes)
    everything = sum(asked.values(), Counter())
    assert all(0.28 < everything[c] / everything.total() < 0.4 for c in CLASSES), everything


def test_what_cannot_be_told_is_not_asked_and_evidence_is_that_of_the_answer() -> None:
    contexts, plan = dealt(900)
    for clip, items in plan.items():
        seen = contexts[clip]["parents"]["watched"]
        for item in items:
            assert item["answer"] == seen[item["id"]]["answer"] != UNTOLD
            assert UNTOLD not in item["options"]
            assert item["evidence"] == seen[item["id"]]["evidence"]


def test_at_most_so_many_of_a_family() -> None:
    for most in (1, 2):
        plan = dealt(300, 12, most)[1]
        counts = [Counter(i["family"] for i in items) for items in plan.values()]
        assert max(max(c.values()) for c in counts) == most
        assert max(map(len, plan.values())) <= min(12, 8 * most)
        assert sum(map(len, plan.values())) > 300 * 3
    assert max(max(Counter(i["family"] for i in items).values()) for items in dealt(300, 12)[1].values()) == 3


def test_of_a_full_family_no_open_question_is_asked_either() -> None:
    template = DEALT.template or {}
    asked = {"ask": "What goes on?", "answer": "Much.", "evidence": {"start_s": 0, "end_s": 6}}
    tell = [{"id": f"tell_{f}", "family": f, "kind": "open", **asked} for f in ("risk", "actors")]
    pack = replace(DEALT, template={**template, "questions": [*template["questions"], *tell]})
    plan = deal(pack, dealt(200)[0], seed=0, per_clip=5, per_family=1)
    families = [Counter(i["family"] for i in items) for items in plan.values()]
    assert max(max(f.values()) for f in families) == 1
    told = sum(i["kind"] == "open" for items in plan.values() for i in items)
    assert 20 < told < 200  # some clips have both families full


def test_own_questions_follow_the_dealt_ones() -> None:
    contexts, plan = dealt(60)
    own = good("watched")[0]["open"]
    for clip, seen in contexts.items():
        value = render((DEALT.template or {})["value"], Scope({**seen, "plan": plan[clip]}))
        assert tasks.errors(DEALT, value) == []
        n = len(plan[clip])
        assert value["items"][:n] == plan[clip]
        assert len(value["items"]) - n == len(seen["parents"]["watched"]["open"])
        for item, asked in zip(value["items"][n:], own, strict=False):
            assert item == {**asked, "kind": "open", "options": []}


def test_a_model_that_says_it_cannot_be_answered_says_only_that() -> None:
    pack, value = PACKS["watched"], good("watched")[0]
    (fixed,) = {o["answer"] for o in value["open"] if not o["answerable"]}
    for flag, answer, fine in (
        (False, fixed, True),
        (True, fixed, False),
        (False, "Two.", False),
        (True, "Two.", True),
    ):
        one = {**value["open"][0], "answerable": flag, "answer": answer}
        assert (tasks.errors(pack, {**value, "open": [one]}) == []) == fine
    assert fixed in json.dumps(tasks.response_format(pack))  # the model is told the words


# -- styles cost no code -----------------------------------------------------------------------------------------------
def test_no_code_names_a_style() -> None:
    root = Path(tasks.__file__).parent.parent
    code = {p: p.read_text() for folder in ("curation", "finetune", "eval") for p in (root / folder).rglob("*.py")}
    assert len(code) > 40
    named = re.compile(r"llava_?cot|drivevlm|vqa_watched|[\"']watched[\"']|/thought|[\"'/]think[\"'/](?!:)", re.I)
    assert not {str(p): m.group() for p, text in code.items() if (m := named.search(text))}
