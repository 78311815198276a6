"""The validate stage: findings by record and by set, the text prior, and what the recipe makes of them."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import checks, draft, publish, records, resolve, review, tasks, validate
from curation.check_set import check_set
from curation.cli import main
from curation.judge import judge_lines, judge_rows, verdicts
from curation.store import Workspace
from curation.types import Clip, Decision, Draft, Issue, Json, Review


def sibling(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


drafts_of = sibling("test_draft")
PACKS = drafts_of.PACKS


def make(tmp_path: Path, n: int, more: str = "") -> tuple[Workspace, Any, Any]:
    ws = Workspace(tmp_path / "ws")
    labels = drafts_of.add_clips(ws, {i: drafts_of.CLASSES[i % 3] for i in range(n)})
    ws.write_view("labels", labels)
    recipe = drafts_of.recipe_at(tmp_path, more)
    draft.run(ws, recipe)
    ws.write_view("groups", [{"clip_id": x.clip_id, "group": x.clip_id} for x in labels])
    return ws, recipe, labels


def spoil(ws: Workspace, task: str, change: Any) -> str:
    """Change the value of the first draft of a task on disk; its id does not depend on its value."""
    lines = [json.loads(line) for line in ws.path(Draft).read_text().splitlines()]
    row = next(r for r in lines if r["task"] == task and r["clip_id"])
    row["value"] = change(row["value"])
    ws.path(Draft).write_text("".join(json.dumps(r) + "\n" for r in lines))
    return str(row["id"])


def test_our_own_drafts_are_clean_and_the_prior_is_measured(tmp_path: Path) -> None:
    ws, recipe, _ = make(tmp_path, 240)
    report = validate.run(ws, recipe)
    assert report.ok and report.counts == {"drafts": 960, "errors": 0, "warnings": 0}, report.notes
    rows = {(r["task"], r["family"]): r for r in ws.read_view("probe")}
    assert {t for t, _ in rows} == {"vqa"}
    assert {f for _, f in rows} == {"all", validate.CLASS, *PACKS["vqa"].ontology["family"]["enum"]}
    assert rows["vqa", "all"]["verdict"] != "leaks" and rows["vqa", "all"]["n"] > 500
    assert rows["vqa", validate.CLASS]["verdict"] != "leaks"
    assert rows["vqa", validate.CLASS]["chance"] == pytest.approx(1 / 3)
    assert sum("text prior" in n for n in report.notes) == 2


def test_questions_that_go_with_a_class_are_seen_by_the_probe(tmp_path: Path) -> None:
    ws, _, labels = make(tmp_path, 120)
    classes = {x.clip_id: x for x in labels}
    drafts = [d for d in ws.read(Draft) if d.task == "vqa" and d.clip_id]
    told = [
        replace(d, value={"items": [
            {**i, "question": i["question"] + " Look." * (classes[d.clip_id].value["class"] == "normal")}
            for i in d.value["items"]]})
        for d in drafts
    ]  # fmt: skip
    groups = {c: c for c in classes}
    by_family = {r["family"]: r for r in validate.probe(PACKS["vqa"], told, classes, groups)}
    assert by_family[validate.CLASS]["verdict"] == "leaks"


def test_a_prior_below_chance_says_why_it_is_clean() -> None:
    row = {"task": "vqa", "family": "all", "accuracy": {"value": 0.2, "low": 0.1, "high": 0.3}, "n": 90, "groups": 40}
    row |= {"chance": 0.33, "verdict": "clean", "because": "at most -0.030 from chance, margin 0.03"}
    assert validate._sentence(row).endswith("clean (" + validate.BELOW_CHANCE + ")")
    told = validate._sentence({**row, "verdict": "leaks", "because": "avoiding what it picks is right in 0.400"})
    assert told.endswith("leaks (avoiding what it picks is right in 0.400)")
    assert validate._sentence({**row, "chance": 0.25}).endswith(": clean")


def test_findings_are_written_counted_and_dismissed(tmp_path: Path) -> None:
    ws, recipe, _ = make(tmp_path, 12, "validate: {fail_on: error}\n")
    assert validate.run(ws, recipe).ok
    broken = spoil(ws, "caption", lambda v: {**v, "text": ""})
    wrong = spoil(ws, "description", lambda v: {**v, "event": "As an AI, I cannot view the video."})
    report = validate.run(ws, recipe)
    issues = [ws_issue(row) for row in ws.read_view("issues")]
    assert {(i.record_id, i.rule, i.pointer) for i in issues} == {
        (broken, "schema", "/text"), (wrong, "refusal", "/event")}  # fmt: skip
    assert not report.ok and report.counts["errors"] == 2
    table = "\n".join(report.notes)
    assert re.search(r"  1  error   refusal +description +template template1_\w+ +1 of 12 drafts, 8.3%\n", table), table
    mine = next(i.id for i in issues if i.rule == "refusal")
    assert f"{mine[:16]}: 'As an AI'" in table and "autodrive dismiss" in table
    told = records.show(mine[:16], ws.root)
    assert told.startswith(f"issue {mine}") and f"  draft {wrong}\n    clip clip1_" in told
    assert '    /event: "As an AI, I cannot view the video."\nall of it: autodrive show draft1_' in told
    assert "segments" not in told and "source1_" not in told, "only what the finding points to"
    with ws.writer(Decision) as out:
        for i in issues:
            out.add(Decision(i.id, "dismiss", "seen", "me"))
    report = validate.run(ws, recipe)
    assert report.ok and report.counts == {"drafts": 48, "errors": 0, "warnings": 0, "dismissed": 2}
    assert len(ws.read_view("issues")) == 2


def test_before_any_draft_the_next_command_is_told(tmp_path: Path) -> None:
    recipe = drafts_of.recipe_at(tmp_path)
    report = validate.run(Workspace(tmp_path / "ws"), recipe)
    assert report.ok and report.notes == [f"no drafts yet; next: autodrive draft {recipe.path}"]


def test_worker_processes_find_the_same_in_the_same_order(tmp_path: Path) -> None:
    _, recipe, _ = make(tmp_path, 1)
    clip, texts = Clip("source1_x", "event", 0, 6, {}, frames=60, fps=10.0), ("An empty road.", "I cannot help.", "")
    value = {"clauses": [{"text": "An empty road.", "field": "clip.role"}]}
    n = validate.BATCH * validate.WORTH
    known = [
        (Draft(clip.id, "caption", {**value, "text": texts[i % 3]}, {}, "m", id=f"draft1_{i}"), clip, None, {})
        for i in range(n)
    ]
    shared = [i for batch in validate.check_records(known, recipe, PACKS) for i in batch]
    alone = [i for one in range(0, n, 500) for batch in validate.check_records(known[one : one + 500], recipe, PACKS)
             for i in batch]  # fmt: skip
    assert shared == alone and Counter(i.rule for i in shared) == {"refusal": n // 3, "schema": n // 3}


def test_a_bad_prompt_stands_out_among_ten_thousand_findings() -> None:
    versions = {("model-x", "prompt1_old"): 0.9, ("model-x", "prompt1_new"): 0.02, ("model-y", "prompt1_new"): 0.1}
    drafts, found = [], []
    for (author, prompt), rate in versions.items():
        for i in range(4000):
            drafts.append(Draft(f"clip1_{i}", "caption", {}, {"of": prompt, "by": author}, author, prompt_id=prompt))
            own = drafts[-1].id
            found += [Issue(own, "refusal", f"/{k}", "error", "", "caption") for k in range(3) if i < rate * 4000]
    found += [Issue("set:vqa:actors", "option_longest", "", "warning", "", "vqa")] * 2
    rows = validate.summary(drafts, found)
    assert [(r["author"], r["prompt"], r["findings"], r["drafts"], r["of"]) for r in rows] == [
        ("model-x", "prompt1_old", 10800, 3600, 4000), ("model-y", "prompt1_new", 1200, 400, 4000),
        ("model-x", "prompt1_new", 240, 80, 4000), ("", "", 2, 0, 0)]  # fmt: skip


def test_fail_on_of_the_command_goes_before_the_recipes(tmp_path: Path) -> None:
    ws, recipe, _ = make(tmp_path, 6, "workspace: ws\nvalidate: {fail_on: error}\n")
    spoil(ws, "caption", lambda v: {**v, "text": ""})
    for more, code in (([], 1), (["--fail-on", "never"], 0), (["--fail-on", "warning"], 1)):
        done = CliRunner().invoke(main, ["validate", str(recipe.path), *more])
        assert (done.exit_code, "schema" in done.output) == (code, True), done.output


def ws_issue(row: Json) -> Issue:
    return Issue(**{k: row[k] for k in ("record_id", "rule", "pointer", "severity", "message", "task", "id")})


# -- the set ---------------------------------------------------------------------------------------------------------
def asked(n: int, change: Any = None) -> list[Draft]:
    """`n` drafts of one fair question each, by another author than the template; `change(i, item)` spoils them."""
    options = ["a cyclist", "a lorry", "a tram", "a dog"]
    wordings = ["Who comes from the left?", "Who appears on the left?", "Who is it on the left?", "Who is on the left?"]
    made = []
    for i in range(n):
        item = {"id": "q", "family": "actors", "kind": "multiple_choice", "question": wordings[i % 4],
                "options": options[i % 4 :] + options[: i % 4], "answer": options[(i // 4) % 4], "answerable": True,
                "evidence": {"start_s": 0, "end_s": 6}}  # fmt: skip
        item = {**item, **(change(i, item) if change else {})}
        made.append(Draft(f"clip1_{i:04d}", "vqa", {"items": [item]}, {"i": i}, "model-x"))
    return made


CLASSES = {f"clip1_{i:04d}": drafts_of.CLASSES[i // 16 % 3] for i in range(480)}


def rules(drafts: list[Draft]) -> Counter[str]:
    found = list(check_set(drafts, PACKS, CLASSES))
    assert all(i.severity == "warning" for i in found)
    assert all(i.record_id == "set:vqa:actors" for i in found if i.rule != "copy")
    return Counter(i.rule for i in found)


def test_a_fair_set_has_no_findings() -> None:
    assert rules(asked(480)) == {}


@pytest.mark.parametrize("rule,change", [
    ("option_position", lambda i, q: {"options": sorted(q["options"],
        key=lambda o: o != q["answer"])} if i % 2 else {}),
    ("answer_frequency", lambda i, q: {"answer": "a tram"} if i % 3 == 0 else {}),
    ("option_longest", lambda i, q: {"options": [o + " that one sees" * (o == q["answer"]) for o in q["options"]],
                                     "answer": q["answer"] + " that one sees"}),
    ("question_diversity", lambda i, q: {"question": "Who is there?"}),
    ("question_class", lambda i, q: {"question": "Who else?"} if CLASSES[f"clip1_{i:04d}"] == "normal" else {}),
])  # fmt: skip
def test_each_bias_of_a_set_is_found(rule: str, change: Any) -> None:
    assert rule in rules(asked(480, change))


def test_a_family_asked_of_one_class_is_found() -> None:
    drafts = [d for d in asked(480) if CLASSES[d.clip_id] != "normal"]
    assert "family_class" in rules(drafts)


def test_copies_over_clips_are_found_and_templates_left_alone() -> None:
    texts = [f"A {c} van waits at the {p}, its driver looks left and {a}." for c in ("white", "dark", "blue")
             for p in ("lights", "kerb", "crossing") for a in ("waves", "turns slowly away",
                 "opens the door")]  # fmt: skip
    value = {"text": texts[0], "clauses": [{"text": "A van waits.", "field": "event.class"}]}
    near = {**value, "text": texts[0].replace("left", "right")}
    pair = [Draft(f"clip1_{i:04d}", "caption", v, {"i": i}, "model-x") for i, v in enumerate((value, value, near))]
    assert [(i.rule, i.record_id) for i in check_set(pair[:2], PACKS, CLASSES)] == [
        ("copy", max(d.id for d in pair[:2]))
    ]
    assert list(check_set([replace(d, author="template") for d in pair], PACKS, CLASSES)) == []
    assert list(check_set([replace(d, clip_id="clip1_0000", id="") for d in pair[:2]], PACKS, CLASSES)) == []


# -- judges ------------------------------------------------------------------------------------------------------------
JUDGE = tasks.load_packs(["event", "caption", "description", "judge"])["judge"]


JUDGING = {"judge": "description"}


def judged(n: int, right: Any) -> tuple[list[Draft], dict[str, Draft], list[Review]]:
    """`n` descriptions, the judge's drafts on them, and two people on each: a third of the descriptions is bad."""
    drafts, texts, reviews = [], {}, []
    for i in range(n):
        prompt = "prompt1_a" if i % 2 else "prompt1_b"
        text = Draft(f"clip1_{i}", "description", {}, {"i": i}, "model-x", prompt_id=prompt)
        bad = i % 3 == 0
        verdict = "reject" if bad == right(i) else "accept"
        value = {"grounded": 2 if bad else 5, "why": "x", "verdict": verdict}
        drafts.append(Draft(text.clip_id, "judge", value, {"j": i}, "judge-y", (text.id,), prompt_id="prompt1_j"))
        texts[text.id] = text
        said = ("edit" if i % 2 else "reject") if bad else "accept"
        reviews += [Review(text.clip_id, "description", who, "text", said, draft_id=text.id) for who in ("ann", "bob")]
    return drafts, texts, reviews


def test_a_judge_is_shown_beside_its_agreement_with_people_only() -> None:
    groups = {f"clip1_{i}": f"g{i // 2}" for i in range(240)}
    drafts, texts, reviews = judged(240, lambda i: i % 10 != 0)
    rows = judge_rows(JUDGING, [*drafts, *texts.values()], reviews, groups)
    assert [(r["author"], r["prompt"], r["n"], r["human"]) for r in rows] == [
        ("model-x", "prompt1_a", 120, 240), ("model-x", "prompt1_b", 120, 240)]  # fmt: skip
    # of 240 the judge is wrong about 24, of them 8 bad: it accepts 144 + 8, people 160; kappa = (po - pe) / (1 - pe)
    pe = (152 * 160 + 88 * 80) / 240**2
    assert rows[0]["kappa"]["value"] == pytest.approx((0.9 - pe) / (1 - pe), abs=1e-4)
    assert rows[0]["kappa"]["low"] < rows[0]["kappa"]["value"] < rows[0]["kappa"]["high"]
    of_a = [d.value for d in drafts if texts[d.parents[0]].prompt_id == "prompt1_a"]
    score = rows[0]["scores"]["grounded"]
    assert score["value"] == pytest.approx(sum(v["grounded"] for v in of_a) / 120) and score["low"] < score["high"]
    assert rows[0]["scores"]["accepted"]["value"] == sum(v["verdict"] == "accept" for v in of_a) / 120
    assert "kappa with people 0.78 [" in judge_lines(rows)[0] and "(n 120)" in judge_lines(rows)[0]
    simulated = [replace(r, origin="simulated", id="") for r in reviews[20:]]
    few = judge_lines(judge_rows(JUDGING, [*drafts, *texts.values()], [*reviews[:20], *simulated], groups))
    assert "not shown: 10 human verdicts, 30 are needed" in few[0]
    alike = [replace(r, verdict="accept", id="") for r in reviews]
    yes = [replace(d, value={**d.value, "verdict": "accept"}) for d in drafts]
    assert "kappa is undefined" in judge_lines(judge_rows(JUDGING, [*yes, *texts.values()], alike, groups))[0]
    none = judge_lines(judge_rows(JUDGING, [*drafts, *texts.values()], [], groups))
    assert none[0].endswith("not shown: 0 human verdicts, 30 are needed")


def test_raters_who_are_split_say_nothing_and_one_bad_item_rejects() -> None:
    def said(who: str, verdict: str, item: str | None = None) -> Review:
        return Review("clip1_0", "vqa", who, "text", verdict, draft_id="draft1_0", item_id=item)

    assert verdicts([said("a", "accept"), said("b", "edit")]) == {}
    assert verdicts([said("a", "accept", "q1"), said("a", "reject", "q2")]) == {"draft1_0": "reject"}
    assert verdicts([said("a", "cannot_tell")]) == {}


def test_a_judges_drafts_meet_their_schema_only_and_go_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ws, recipe, _ = make(tmp_path, 6, "event: {basis: source}\n")
    recipe.data["tasks"] = ["caption", "description", "judge"]
    texts = [d for d in ws.read(Draft) if d.task in ("caption", "description")]
    good = next(e["value"] for e in JUDGE.examples if e["ok"])
    judge = [
        Draft(d.clip_id, "judge", {**good, "why": "A crash. As an AI I cannot see it."}, {}, "judge-y", (d.id,))
        for d in texts if d.task == "description"
    ]  # fmt: skip
    judge[0] = replace(judge[0], value={**good, "grounded": 9})
    found = {(d.clip_id, d.task): d for d in [*texts, *judge]}
    for stage in (validate, resolve, review):
        monkeypatch.setattr(stage, "current_drafts", lambda *given: found)
    report = validate.run(ws, recipe)
    assert [(i["record_id"], i["rule"], i["pointer"]) for i in ws.read_view("issues")] == [
        (judge[0].id, "schema", "/grounded")]  # fmt: skip
    assert sum("not shown: 0 human verdicts" in n for n in report.notes) == 1
    events = ws.labels()
    resolve.run(ws, recipe)
    assert {x.task for x in ws.labels()} == {"event", "caption", "description"}
    ws.write_view("labels", events)
    plan = review.prepare(ws, recipe, "text")
    assert {t for own in plan.drafts.values() for t in own} == {"caption", "description"}
    assert "judge" not in publish.gather(ws, recipe).packs


def test_what_becomes_of_drafts_with_errors(tmp_path: Path) -> None:
    ws, recipe, _ = make(tmp_path, 12)
    bad = spoil(ws, "description", lambda v: {**v, "event": "As an AI, I cannot view the video."})
    clip = next(d.clip_id for d in ws.read(Draft) if d.id == bad)
    validate.run(ws, recipe)
    assert list(checks.open_errors(ws)) == [bad] and checks.open_errors(ws)[bad][0].startswith("refusal /event: ")
    recipe["review"]["text"]["shares"] = {"single": 1}  # of the others people judge a random sample first
    for flagged, left in (("drop", False), ("redraft", False), ("review_first", True)):
        recipe["validate"]["flagged"] = flagged
        assert (bad not in resolve.refused(ws, recipe)) == left
        plan = review.prepare(ws, recipe, "text")
        assert ("description" in plan.drafts[clip]) == left
        assert not left or clip in [a.clip_id for share in plan.shares for a in share.planned[:1]]


# -- the quick schema check --------------------------------------------------------------------------------------------
ALL_PACKS = tasks.load_packs(sorted(p.parent.name for p in tasks.BUILT_IN.glob("*/schema.json")))
NOISE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
    | st.sampled_from(["", "yes", "collision", "event.class", "a\n", "\ud800", -1, 0, 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything inside a value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, child in pairs for place in ((value, key), *places(child))]


@settings(max_examples=150, deadline=None)
@given(st.data())
@pytest.mark.parametrize("pack", ALL_PACKS.values(), ids=list(ALL_PACKS))
def test_quick_and_slow_schema_checks_find_the_same(pack: tasks.TaskPack, data: st.DataObject) -> None:
    value = copy.deepcopy(data.draw(st.sampled_from([e["value"] for e in pack.examples])))
    for _ in range(data.draw(st.integers(0, 3))):
        holder, key = data.draw(st.sampled_from(places(value) or [({"": 0}, "")]))
        what = data.draw(st.sampled_from(["change", "drop", "add", "twice"]))
        if what == "drop":
            del holder[key]
        elif what == "change":
            holder[key] = data.draw(NOISE)
        elif isinstance(holder, list):
            holder.append(holder[key] if what == "twice" else data.draw(NOISE))
        else:
            holder[data.draw(st.text(max_size=3))] = data.draw(NOISE)
    slow = [(tasks.pointer(e.absolute_path), e.validator) for e in pack.validator.iter_errors(value)]
    assert sorted((e.pointer, e.keyword) for e in tasks.errors(pack, value)) == sorted(slow)


def test_a_pattern_that_means_other_letters_elsewhere_gets_no_quick_check() -> None:
    pack = replace(PACKS["caption"], schema={"type": "object", "properties": {"text": {"pattern": r"^\W+$"}}})
    assert pack.accepts is None
    assert [e.keyword for e in tasks.errors(pack, {"text": "é"})] == ["pattern"]
    ends = replace(PACKS["caption"], schema={"properties": {"text": {"not": {"pattern": "^a$"}}}})
    assert ends.accepts and not ends.accepts({"text": "a\n"}) and ends.accepts({"text": "ab"})
    quick = [p for p in ALL_PACKS.values() if p.accepts]
    assert {"vqa", "cot"} <= {p.name for p in quick}
    assert all(p.accepts(e["value"]) == e["ok"] for p in quick for e in p.examples if p.accepts)
