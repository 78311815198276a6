"""Whose ratings count, gold, conflicts and what is told of raters; by files, so without a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from curation import agree, resolve, review
from curation.agree import contrast
from curation.annotators import annotators, counted, gold_key, page, recalibrate, render, standing
from curation.errors import UsageError
from curation.ids import fraction
from curation.recipe import Recipe, load_recipe
from curation.shares import differing, serve_first, sides
from curation.store import Workspace
from curation.types import Assignment, Clip, Draft, Event, Json, Report, Review, Source

CLASSES = ("collision", "near_collision", "normal")
FILE = "review: {{raters: {{kind: file}}, triage: {{raters: {raters}}}{more}}}\n"


def build(folder: Path, raters: int = 3, clips: int = 12, more: str = "") -> tuple[Workspace, Recipe]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(
        "name: t\nworkspace: work\nsources: [{kind: demo, triplets: 2, drives: 2}]\ntasks: [caption]\n"
        + FILE.format(raters=raters, more=more)
    )
    recipe = load_recipe(folder / "recipe.yaml")
    ws = Workspace(recipe.workspace)
    with ws.writer(Source) as sources, ws.writer(Clip) as out:
        for i in range(clips):
            source = Source("d", f"k{i}", f"k{i}.mp4", f"{i:064x}", 9, 10, 64, 48, f"drive{i // 2}")
            sources.add(source)
            events = (Event((CLASSES[i % 3],), "striking", "car", 2.0, 4.0, None, "contact"),)
            out.add(Clip(source.id, "event", 0, 6, {"v": 1}, events=events, blob=f"{i:064x}", frames=60, fps=10.0,
                         width=64, height=48))  # fmt: skip
    return ws, recipe


def says(name: str) -> list[Json]:
    one = [{"from_name": "event_class", "to_name": "video", "type": "choices", "value": {"choices": [name]}}]
    role = {"from_name": "event_ego_role", "to_name": "video", "type": "choices", "value": {"choices": ["struck"]}}
    return one if name in ("normal", "cannot_tell") else [*one, role]


def judge(ws: Workspace, recipe: Recipe, project: str, said: Callable[[str, int], str | None], users: int) -> None:
    """Leave the export of `users` raters; `said` gives a class (or None: not judged) for a clip and a rater."""
    place = ws.root / "exchange" / project
    rows = []
    for n, task in enumerate(json.loads((place / "tasks.json").read_text())):
        answers = [(u, said(task["data"]["clip_id"], u)) for u in range(users)]
        own = [
            {"id": 1000 * n + u, "completed_by": u, "result": says(a), "lead_time": 5.0 + u}
            for u, a in answers
            if a is not None
        ]
        rows.append({**task, "id": 100 + n, "project": sum(map(ord, project)), "annotations": own})
    (place / "export.json").write_text(json.dumps(rows))


def planned(ws: Workspace, recipe: Recipe) -> dict[str, list[Assignment]]:
    return {s.project: s.planned for s in review.prepare(ws, recipe, "triage").shares}


def conflicted(tmp_path: Path, **more: str) -> tuple[Workspace, Recipe, list[str]]:
    """Two raters who disagree on six of twelve clips, and an adjudicator who decided all six: collision."""
    ws, recipe = build(tmp_path, raters=2, **more)
    review.exchange(ws, recipe, "push")
    odd = sorted(c.id for c in ws.read(Clip))[:6]
    judge(ws, recipe, "triage.overlap", lambda c, u: "normal" if u and c in odd else "collision", 2)
    review.exchange(ws, recipe, "pull")
    review.exchange(ws, recipe, "push")
    judge(ws, recipe, "triage.adjudication", lambda c, u: "collision", 1)
    review.exchange(ws, recipe, "pull")
    return ws, recipe, odd


def test_surplus_ratings_are_stored_and_do_not_count(tmp_path: Path) -> None:
    ws, recipe = build(tmp_path, raters=2)
    review.exchange(ws, recipe, "push")
    judge(ws, recipe, "triage.overlap", lambda c, u: "normal" if u < 2 else "collision", 4)
    review.exchange(ws, recipe, "pull")
    keep, aside = counted(ws, recipe)
    assert len(list(ws.read(Review))) == 48
    assert {r.reviewer for r in keep} == {"user-0", "user-1"}, "the first two, by their annotations"
    assert set(aside.values()) == {"surplus"}
    resolve.run(ws, recipe)
    assert {(x.basis, x.raters) for x in ws.labels()} == {("agreed", 2)}


def test_conflicts_are_decided_by_who_sees_both_sides_and_no_names(tmp_path: Path) -> None:
    ws, recipe, odd = conflicted(tmp_path)
    tasks = json.loads((ws.root / "exchange" / "triage.adjudication" / "tasks.json").read_text())
    assert sorted(t["data"]["clip_id"] for t in tasks) == odd
    for task in tasks:
        texts = [row["text"] for row in task["data"]["said"]]
        assert [t[:8] for t in texts] == ["Rater A:", "Rater B:"]
        assert {"class: collision" in t for t in texts} == {True, False}
        assert "user-" not in str(task)
    assert len({t["data"]["said"][0]["text"].partition("class: ")[2][:6] for t in tasks}) == 2, "A is not always one"
    resolve.run(ws, recipe)
    bases = {x.clip_id: (x.basis, x.value["class"]) for x in ws.labels()}
    assert {bases[c] for c in odd} == {("adjudicated", "collision")}
    assert "triage.adjudication" not in planned(ws, recipe), "what is decided is not asked again"


def test_by_file_the_reports_tell_what_is_new_and_where_conflicts_wait(tmp_path: Path) -> None:
    ws, recipe = build(tmp_path, raters=2)
    place = ws.root / "exchange"

    def told(report: Report) -> list[str]:
        return [n.partition("/tasks.json, put the export beside it as export.json")[0] for n in report.notes]

    clips = [c.id for c in ws.read(Clip)]
    (first,) = told(review.run(ws, recipe, limit=10))
    assert first == f"triage.overlap: 10 tasks, 10 new: import {place}/triage.overlap"
    asked = json.loads((place / "triage.overlap" / "tasks.json").read_text())
    odd = {task["data"]["clip_id"] for task in asked[:3]}
    judge(ws, recipe, "triage.overlap", lambda c, u: "normal" if u and c in odd else "collision", 2)
    both = told(review.run(ws, recipe))
    assert both == [
        f"triage.overlap: 2 tasks, 2 new: import {place}/triage.overlap",
        f"triage.adjudication: 3 tasks, 3 new: import {place}/triage.adjudication",
    ]
    left = json.loads((place / "triage.overlap" / "tasks.json").read_text())
    assert {t["data"]["clip_id"] for t in left} == set(clips) - {t["data"]["clip_id"] for t in asked}
    files = {p: p.read_bytes() for p in place.rglob("*.json")}
    assert told(review.run(ws, recipe)) == [
        f"triage.overlap: 2 tasks, 0 new: as before in {place}/triage.overlap",
        f"triage.adjudication: 3 tasks, 0 new: as before in {place}/triage.adjudication",
    ]
    assert {p: p.read_bytes() for p in place.rglob("*.json")} == files, "pushing again changes nothing"
    (waiting,) = told(resolve.run(ws, recipe))
    assert waiting.startswith("3 clips with conflicts wait for an adjudicator: autodrive review push")
    assert waiting.endswith(f"import {place}/triage.adjudication")
    judge(ws, recipe, "triage.adjudication", lambda c, u: "collision", 1)
    assert told(review.run(ws, recipe)) == [f"triage.overlap: 2 tasks, 0 new: as before in {place}/triage.overlap"]
    assert not told(resolve.run(ws, recipe))
    assert json.loads((place / "triage.adjudication" / "tasks.json").read_text()) == [], "all is decided"


def test_gold_comes_from_adjudicated_clips_only_and_half_of_it_lies_unmarked(tmp_path: Path) -> None:
    ws, recipe, odd = conflicted(tmp_path)
    other = next(c.id for c in ws.read(Clip) if c.id not in odd)
    with pytest.raises(UsageError, match="not adjudicated"):
        review.make_gold(ws, recipe, (other,), "clear", "me", None)
    with pytest.raises(UsageError, match="neither may be empty"):
        review.make_gold(ws, recipe, (), " ", "me", None)
    assert review.make_gold(ws, recipe, (), "clear", "me", 2) == 2
    assert len(gold_key(ws, standing(ws.read(Review)))) == 2, "of six that were adjudicated"
    assert review.make_gold(ws, recipe, (), "clear", "me", None) == 4, "two were gold"
    assert set(gold_key(ws, standing(ws.read(Review))).values()) == {"collision"}
    shares = planned(ws, recipe)
    hidden = [a for a in shares["triage.overlap"] if a.gold]
    assert sorted(a.clip_id for a in [*hidden, *shares["triage.gold"]]) == odd
    assert {a.clip_id for a in hidden} == {c for c in odd if fraction(recipe.seed, "hidden", "triage", c) < 0.5}
    assert {a.round for a in hidden} == {"gold"}
    review.exchange(ws, recipe, "push")
    tasks = json.loads((ws.root / "exchange" / "triage.overlap" / "tasks.json").read_text())
    assert len({tuple(t["data"]) for t in tasks}) == 1, "gold looks like all others"
    assert "gold" not in json.dumps(tasks).lower()


def test_who_does_not_qualify_does_not_count_and_others_are_asked(tmp_path: Path) -> None:
    ws, recipe, _ = conflicted(tmp_path)
    review.make_gold(ws, recipe, (), "clear", "me", None)
    review.exchange(ws, recipe, "push")
    project = "triage.gold" if planned(ws, recipe)["triage.gold"] else "triage.overlap"
    judge(ws, recipe, project, lambda c, u: "normal" if u else "collision", 2)
    review.exchange(ws, recipe, "pull")
    text = (tmp_path / "recipe.yaml").read_text().replace("kind: file}", "kind: file}, qualify: {items: 2, min: 0.7}")
    (tmp_path / "recipe.yaml").write_text(text)
    recipe = load_recipe(tmp_path / "recipe.yaml")
    keep, aside = counted(ws, recipe)
    assert {r.reviewer for r in keep if r.round == "triage"} == {"user-0"}
    assert {aside[r.id] for r in ws.read(Review) if r.reviewer == "user-1" and r.round == "triage"} == {"not qualified"}
    report = review.exchange(ws, recipe, "pull")
    assert report.counts["triage ratings missing"] == 12
    resolve.run(ws, recipe)
    assert {x.basis for x in ws.labels()} == {"single", "adjudicated"}
    (one,) = [r for r in annotators(ws) if r["rater"] == "user-1"]
    assert one["gold"]["value"] == 0
    assert 0 < one["gold"]["high"] < 1


def test_another_guideline_asks_for_recalibration(tmp_path: Path) -> None:
    ws, recipe, _ = conflicted(tmp_path)
    now = next(r.guideline for r in ws.read(Review))
    assert recalibrate(ws, {"triage": now}) == []
    assert not review.status(ws, recipe).notes
    lines = recalibrate(ws, {"triage": "2.0.0+abc"})
    assert [line.split()[0] for line in lines] == ["user-0", "user-1"]
    assert all(now in line and "2.0.0+abc" in line for line in lines)


def test_a_changed_form_keeps_what_was_judged_by_the_old_one(tmp_path: Path) -> None:
    ws, recipe = build(tmp_path, raters=2)
    review.exchange(ws, recipe, "push")
    half = {c.id for n, c in enumerate(ws.read(Clip)) if n % 2}
    judge(ws, recipe, "triage.overlap", lambda c, u: "normal" if c in half else None, 1)
    place = ws.root / "exchange" / "triage.overlap"
    old = (place / "config.xml").read_text().replace('"collision"', '"crash"')
    (place / "config.xml").write_text(old)  # the form as it was in an earlier version
    review.exchange(ws, recipe, "push")
    tasks = json.loads((place / "tasks.json").read_text())
    assert {t["data"]["clip_id"] for t in tasks} == {c.id for c in ws.read(Clip)} - half, (
        "judged ones end where they began"
    )
    (kept,) = place.parent.glob("triage.overlap.*")
    assert (kept / "config.xml").read_text() == old
    assert review.exchange(ws, recipe, "pull").counts["triage reviews"] == 6
    assert review.exchange(ws, recipe, "pull").counts["triage reviews"] == 0


def test_the_page_escapes_names_and_shows_no_figure_on_few(tmp_path: Path) -> None:
    ws, *_ = conflicted(tmp_path)
    ws.write_view("groups", [{"clip_id": c.id, "group": f"g{n // 2}"} for n, c in enumerate(ws.read(Clip))])
    rows = annotators(ws)
    assert [r["rater"] for r in rows] == ["user-0", "user-1"]
    assert rows[0]["agreement"]["value"] == 0.5
    assert rows[0]["agreement"]["low"] < 0.25, "six drives, not twelve clips"
    html = page([{**rows[0], "rater": "<script>alert(1)</script>\x1b"}], "<b>t</b>")
    assert "<script" not in html
    assert "<b>" not in html
    assert "\x1b" not in html
    assert "prefers-color-scheme: dark" in html
    assert "http" not in html
    few = {**rows[0], "agreement": {"value": 1.0, "low": 0.4, "high": 1.0, "n": 9}}
    assert "too few to tell (n 9)" in page([few], "t")
    assert "100% [" not in page([few], "t")
    assert "\x1b" not in render([{**rows[0], "rater": "\x1b[2J"}])


# -- order and sides -------------------------------------------------------------------------------------------------
def test_what_teaches_most_is_served_first_after_test_groups_and_only_where_chance_is_not_needed() -> None:
    clips = [f"c{i:02}" for i in range(40)]
    classes = dict.fromkeys(clips, "normal") | {"c07": "collision"}
    chance, teaches = serve_first(clips, {"c30": "g", "c31": "g"}, {"c20"}, {"c05", "c31"}, {"c09"}, classes, 0)
    assert sorted(clips, key=teaches)[:6] in (
        ["c20", *pair, "c09", "c07"][:6] for pair in (["c05", "c30", "c31"], ["c05", "c31", "c30"],
                                                     ["c30", "c31", "c05"], ["c31", "c30", "c05"])
    )  # fmt: skip
    by_chance = sorted(clips, key=chance)
    assert by_chance[0] == "c20"
    assert abs(by_chance.index("c30") - by_chance.index("c31")) == 1
    assert sorted(clips, key=serve_first(clips, {}, (), (), (), {}, 1)[0]) != sorted(
        clips, key=serve_first(clips, {}, (), (), (), {}, 0)[0]
    )


def test_drafts_differ_by_author_not_by_age() -> None:
    one = Draft("c", "caption", {"text": "a"}, {"v": 1}, "m1")
    assert differing([one, replace(one, value={"text": "b"}, spec={"v": 2}, id="")]) == set()
    assert differing([one, replace(one, value={"text": "b"}, author="m2", id="")]) == {"c"}
    assert differing([one, replace(one, author="m2", id="")]) == set()


def test_sides_tell_an_edit_and_its_faults() -> None:
    r = Review("c", "caption", "user-9", "text", "edit", {"text": "A wet road."}, "draft1_x", faults=("wrong_fact",))
    (told,) = sides([r], 0)
    assert told == "Rater A: caption: edit · wrong_fact · text: A wet road."


# -- anchoring -------------------------------------------------------------------------------------------------------
def test_a_contrast_has_an_interval_by_group_and_is_undefined_without_one_share() -> None:
    rows = [(f"g{i}", float(i % 4 != 0), 1.0) for i in range(80)]
    other = [(f"h{i}", float(i % 2), 1.0) for i in range(80)]
    got = contrast(rows, other, 0)
    assert got["value"] == pytest.approx(0.25)
    assert got["low"] == pytest.approx(0.25 - 1.96 * (0.75 * 0.25 / 80 + 0.25 / 80) ** 0.5, abs=0.03)
    copies = [(g, 5 * k, 5 * n) for g, k, n in rows], [(g, 5 * k, 5 * n) for g, k, n in other]
    assert contrast(*copies, 0)["low"] == pytest.approx(got["low"]), "five clips of a drive are no five drives"
    assert contrast(rows, rows, 0) | {"n": 0, "groups": 0} == {
        "drafted": 0.75, "blind": 0.75, "value": 0.0, "low": 0.0, "high": 0.0, "n": 0, "groups": 0,
    }  # fmt: skip
    none = contrast([], other, 0)
    assert (none["value"], none["reason"]) == (None, "nothing to compare in the drafted share")


def test_no_variation_is_no_certainty() -> None:
    """Newcombe (1998), method 10, by its definition: 8 of 8 against 8 of 8."""
    got = contrast([(f"g{i}", 1.0, 1.0) for i in range(8)], [(f"h{i}", 1.0, 1.0) for i in range(8)], 0)
    assert (got["value"], got["low"]) == (0.0, pytest.approx(-0.3244, abs=1e-3))
    assert got["high"] == pytest.approx(0.3244, abs=1e-3)


def test_the_distance_of_edits() -> None:
    assert agree.distance("a b c", "a b c") == 0
    assert agree.distance("a b c", "a x c d") == 0.5
    assert agree.distance("", "a") == 1
    assert agree.distance("", "") == 0


def test_anchoring_by_hand() -> None:
    """Four clips a share, two raters each: drafted ones always keep the class, blind ones differ on half the clips."""

    def saw(clip: str, who: str, round: str, name: str) -> Review:
        return Review(clip, "event", who, round, "edit", {"class": name})

    said, shares = [], {}
    for i in range(4):
        shares |= {(f"t{i}", "text"): "overlap", (f"b{i}", "blind"): "blind", (f"s{i}", "text"): "single"}
        said += [saw(f"t{i}", w, "text", "collision") for w in "ab"] + [saw(f"s{i}", "a", "text", "normal")]
        said += [
            saw(f"b{i}", "a", "blind", "collision"),
            saw(f"b{i}", "b", "blind", "normal" if i % 2 else "collision"),
        ]
    rows = {r["what"]: r for r in agree.anchoring(said, shares, {}, 0)}
    alike = rows["agreement on the class"]
    assert (alike["drafted"], alike["blind"], alike["n"]) == (1.0, 0.5, [4, 4])
    assert alike["low"] < 0.5 < alike["high"]
    assert rows["share of normal"]["value"] == -0.25, "the single share is no random one and is left out"
