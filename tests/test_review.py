"""The review stage by file and by simulated raters: dealt once, taken in once, marked for what it is."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from curation import agree, draft, labelstudio, resolve, review
from curation.annotators import standing
from curation.errors import DataError, UsageError
from curation.recipe import Recipe, load_recipe
from curation.shares import assign
from curation.store import Workspace
from curation.types import Assignment, Clip, Decision, Event, Json, Refusal, Review, Source

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:label_studio_sdk")
CLASSES = ("collision", "near_collision", "normal")


def build(folder: Path, recipe: str, clips: int = 30) -> tuple[Workspace, Recipe]:
    """A workspace of clips without media, three classes in turn, two clips a drive."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(
        "name: t\nworkspace: work\nsources: [{kind: demo, triplets: 2, drives: 2}]\n"
        "tasks: [caption, description, vqa]\n" + recipe
    )
    loaded = load_recipe(folder / "recipe.yaml")
    ws = Workspace(loaded.workspace)
    with ws.writer(Source) as sources, ws.writer(Clip) as out:
        for i in range(clips):
            known = CLASSES[i % 3]
            events = (Event((known,), "striking", "car", 2.0, 4.0, None, "contact"),) if known != "normal" else ()
            sha256 = f"{i:064x}"
            source = Source("d", f"k{i}", f"k{i}.mp4", sha256, 9, 10, 64, 48, f"drive{i // 2}", events=events,
                            attributes={"weather": "rain", "light": "day"})  # fmt: skip
            sources.add(source)
            out.add(Clip(source.id, "event", 0, 6, {"v": 1}, events=events, blob=sha256, frames=60, fps=10.0,
                         width=64, height=48))  # fmt: skip
            out.add(Clip(source.id, "pre_event", 0, 3, {"v": 1}, parent_id="x", horizon_s=1, blob=sha256, frames=30,
                         fps=10.0, width=64, height=48))  # fmt: skip
    return ws, loaded


SIMULATED = "review: {raters: {kind: simulated}}\n"
PERFECT = (
    "review: {raters: {kind: simulated, error: {class: 0, role: 0, time_s: 0, edit: 0, reject: 0, verdict: 0, "
    "cannot_tell: 0}}}\n"
)


def test_shares_are_disjoint_stable_and_as_large_as_asked() -> None:
    clips = [f"clip1_{i}" for i in range(4000)]
    shares = {"overlap": 0.2, "single": 0.8}
    dealt = assign(clips, shares, 0, "text")
    assert set(dealt) == set(clips)
    assert Counter(dealt.values())["overlap"] == pytest.approx(800, abs=80)
    assert assign(clips[:50], shares, 0, "text") == {c: dealt[c] for c in clips[:50]}
    assert assign(clips, shares, 1, "text") != dealt
    assert assign(clips, {"overlap": 2, "single": 8}, 0, "text") == dealt, "shares are weights"


def test_simulated_raters_go_through_both_rounds(tmp_path: Path) -> None:
    ws, recipe = build(tmp_path, SIMULATED)
    report = review.run(ws, recipe, round="triage")
    assert report.counts == {"clips": 30, "pushed": 30, "reviews": 90, "refused": 0}
    assert not report.gate
    assert "simulated" in report.notes[0]
    resolve.run(ws, recipe)
    draft.run(ws, recipe)
    report = review.run(ws, recipe, round="text")
    assert report.counts["refused"] == 0
    assert not report.gate
    reviews = list(ws.read(Review))
    assert {r.origin for r in reviews} == {"simulated"}
    assert len({r.reviewer for r in reviews}) == 3
    raters = Counter(len({r.reviewer for r in reviews if r.clip_id == c and r.round == "text"})
                     for c in {r.clip_id for r in reviews if r.round == "text"})  # fmt: skip
    assert raters.keys() == {1, 3}, "the overlap share has three raters, the single share one"
    assert all(label.simulated for label in ws.labels() if label.task == "event")
    events = {c.id for c in ws.read(Clip) if c.role == "event"}
    assert {r.clip_id for r in reviews} <= events, "what a pre-event clip comes to is never asked"
    status = review.status(ws, recipe)
    assert status.counts["triage judged"] == 30
    assert status.data["triage"]["raters"] == 3


def test_perfect_raters_find_the_truth_to_the_frame(tmp_path: Path) -> None:
    ws, recipe = build(tmp_path, PERFECT)
    review.run(ws, recipe, round="triage")
    clips = {c.id: c for c in ws.read(Clip)}
    for r in ws.read(Review):
        event = resolve.target_event(clips[r.clip_id].events)
        said = (r.value["class"], r.value["alert_s"], r.value["event_s"], r.value["partner"])
        assert said == ((event.event_class, 2.0, 4.0, "car") if event else ("normal", None, None, None))
    ws.write_view("groups", [{"clip_id": c, "group": c} for c in clips])
    told = {n.partition(":")[0]: n for n in agree.run(ws, recipe).notes}
    assert "raw" in told["event.class"] and "raw" not in told["event.event_s"]
    assert "spread median 0" in told["event.event_s"]


def test_error_rates_are_what_the_recipe_says(tmp_path: Path) -> None:
    ws, recipe = build(tmp_path, SIMULATED.replace("}}", ", error: {class: 0.3, cannot_tell: 0.1}}}"), clips=400)
    review.run(ws, recipe, round="triage")
    clips = {c.id: c for c in ws.read(Clip)}
    reviews = list(ws.read(Review))
    tellable = [r for r in reviews if r.value]
    wrong = [r for r in tellable if {r.value["class"]} != {c for e in clips[r.clip_id].events for c in e.classes} | (
        set() if clips[r.clip_id].events else {"normal"})]  # fmt: skip
    assert 1 - len(tellable) / len(reviews) == pytest.approx(0.1, abs=0.03)
    assert len(wrong) / len(tellable) == pytest.approx(0.3, abs=0.05)
    for r in wrong:
        truth = clips[r.clip_id].events[0].classes[0] if clips[r.clip_id].events else "normal"
        assert "near_collision" in (truth, r.value["class"]), "collision and normal are not taken for each other"


def facts(ws: Workspace) -> list[str]:
    return [ws.path(kind).read_text() for kind in (Review, Refusal)]


def test_the_same_recipe_gives_the_same_reviews_and_again_adds_nothing(tmp_path: Path) -> None:
    one, recipe = build(tmp_path / "a", SIMULATED)
    two, other = build(tmp_path / "b", SIMULATED)
    review.run(one, recipe, round="triage")
    review.run(two, other, round="triage")
    assert facts(one) == facts(two)
    again = review.run(one, recipe, round="triage")
    assert (again.counts["pushed"], again.counts["reviews"]) == (0, 0)
    assert facts(one) == facts(two)


def test_a_killed_pull_is_completed_with_nothing_twice(tmp_path: Path) -> None:
    ws, recipe = build(tmp_path, SIMULATED)
    review.run(ws, recipe, round="triage")
    whole = facts(ws)
    lines = ws.path(Review).read_bytes().splitlines(keepends=True)
    ws.path(Review).write_bytes(b"".join(lines[:17]) + lines[17][:40])
    assert review.run(ws, recipe, round="triage").counts["reviews"] == len(lines) - 17
    assert facts(ws) == whole


def test_more_clips_move_no_review(tmp_path: Path) -> None:
    ws, recipe = build(tmp_path, SIMULATED, clips=10)
    review.run(ws, recipe, round="triage", limit=4)
    before = {r.id for r in ws.read(Review)}
    review.run(ws, recipe, round="triage")
    after = list(ws.read(Review))
    assert before <= {r.id for r in after}
    assert len(after) == 30


def answered(tasks: list[Json], users: int = 3) -> list[Json]:
    result = [{"from_name": "event_class", "to_name": "video", "type": "choices", "value": {"choices": ["normal"]}}]
    return [
        {**t, "id": 100 + i, "project": 8,
         "annotations": [{"id": 10 * i + u, "completed_by": u, "result": result} for u in range(users)]}
        for i, t in enumerate(tasks)
    ]  # fmt: skip


def test_by_file_tasks_go_out_and_exports_come_in(tmp_path: Path) -> None:
    ws, recipe = build(tmp_path, "review: {raters: {kind: file}}\n", clips=5)
    report = review.run(ws, recipe, round="triage")
    assert report.counts == {"clips": 5, "pushed": 5, "reviews": 0, "refused": 0, "ratings missing": 15}
    assert "export.json" in report.gate
    folder = ws.root / "exchange" / "triage.overlap"
    tasks = json.loads((folder / "tasks.json").read_text())
    assert "k0" not in (folder / "tasks.json").read_text(), "nothing names a source"
    (folder / "export.json").write_text(json.dumps(answered(tasks, users=2)))
    assert review.run(ws, recipe, round="triage").counts["ratings missing"] == 5
    (folder / "export.json").write_text(json.dumps(answered(tasks)))
    report = review.run(ws, recipe, round="triage")
    assert (report.counts["reviews"], report.gate) == (5, "")
    assert {(r.origin, r.revision) for r in ws.read(Review)} == {("human", 0)}


def test_a_task_imported_twice_is_one_and_a_stranger_is_refused(tmp_path: Path) -> None:
    ws, recipe = build(tmp_path, "review: {raters: {kind: file}, triage: {raters: 2}}\n", clips=1)
    review.run(ws, recipe, round="triage")
    folder = ws.root / "exchange" / "triage.overlap"
    (task,) = json.loads((folder / "tasks.json").read_text())
    rows = answered([task, task], users=2)
    rows.append({"id": 900, "project": 8, "data": {"text": "of somebody else"}, "annotations": []})
    (folder / "export.json").write_text(json.dumps(rows))
    report = review.run(ws, recipe, round="triage")
    assert (report.counts["reviews"], report.counts["refused"], report.gate) == (2, 3, "")
    reasons = Counter(r.reason for r in ws.read(Refusal))
    assert reasons == {"second_by_same_rater": 2, "unknown_task": 1}
    for told in (report.notes, review.exchange(ws, recipe, "pull").notes):
        assert [n.partition(", such as")[0] for n in told] == [
            "refused so far, second_by_same_rater: 2", "refused so far, unknown_task: 1"]  # fmt: skip


@pytest.mark.parametrize("spoilt", [{"data": None}, {"id": None}, {"annotations": "x"}, "a word"])
def test_a_task_that_is_none_is_named(tmp_path: Path, spoilt: Any) -> None:
    ws, recipe = build(tmp_path, "review: {raters: {kind: file}, triage: {raters: 2}}\n", clips=1)
    review.run(ws, recipe, round="triage")
    folder = ws.root / "exchange" / "triage.overlap"
    (task,) = answered(json.loads((folder / "tasks.json").read_text()))
    rows = [task, {**task, **spoilt} if isinstance(spoilt, dict) else spoilt]
    (folder / "export.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=r"export.json: task 2 has no id, data and list of annotations"):
        review.run(ws, recipe, round="triage")


def test_two_servers_may_number_their_tasks_alike(tmp_path: Path) -> None:
    ws, recipe = build(tmp_path, "review: {raters: {kind: file}, triage: {raters: 2}}\n", clips=3)
    review.run(ws, recipe, round="triage")
    folder = ws.root / "exchange" / "triage.overlap"
    one, two, _ = json.loads((folder / "tasks.json").read_text())
    shutil.copytree(folder, earlier := folder.with_name("triage.overlap.abcdef"))
    (earlier / "export.json").write_text(json.dumps(answered([one], users=2)))
    (folder / "export.json").write_text(json.dumps(answered([two], users=2)))
    assert review.run(ws, recipe, round="triage").counts["reviews"] == 4
    assert review.run(ws, recipe, round="triage").counts["reviews"] == 0
    (folder / "export.json").write_text(json.dumps(answered([two], users=1)))
    review.run(ws, recipe, round="triage")
    (gone,) = [r for r in ws.read(Review) if r.verdict == "withdrawn"]
    assert (gone.clip_id, gone.reviewer) == (two["data"]["clip_id"], "user-1")


@pytest.mark.parametrize("content", ["{", '{"tasks": []}', '[{"image": 1}]'])
def test_a_file_that_is_no_export_is_told(tmp_path: Path, content: str) -> None:
    ws, recipe = build(tmp_path, "review: {raters: {kind: file}}\n", clips=1)
    review.run(ws, recipe, round="triage")
    (ws.root / "exchange" / "triage.overlap" / "export.json").write_text(content)
    with pytest.raises(DataError, match=r"export\.json: .*format JSON"):
        review.run(ws, recipe, round="triage")


def test_simulated_exports_stay_simulated_when_people_take_over(tmp_path: Path) -> None:
    ws, recipe = build(tmp_path, SIMULATED, clips=3)
    review.run(ws, recipe, round="triage")
    ws, recipe = build(tmp_path, "review: {raters: {kind: file, folder: simulated}}\n", clips=3)
    review.run(ws, recipe, round="triage")
    assert {r.origin for r in ws.read(Review)} == {"simulated"}


def test_nobody_is_asked_what_a_trusted_source_says(tmp_path: Path) -> None:
    ws, recipe = build(tmp_path, "event: {basis: source}\n" + SIMULATED)
    report = review.run(ws, recipe, round="triage")
    assert not report.counts
    assert not ws.path(Assignment).exists()


def test_yanked_clips_are_not_asked(tmp_path: Path) -> None:
    ws, recipe = build(tmp_path, SIMULATED, clips=3)
    gone = next(c for c in ws.read(Clip) if c.role == "event")
    with ws.writer(Decision) as out:
        out.add(Decision(gone.id, "yank", "a face", "me"))
    assert review.run(ws, recipe, round="triage").counts["clips"] == 2


def test_test_groups_come_first_and_groups_stay_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ws, recipe = build(tmp_path, SIMULATED, clips=12)
    clips = [c.id for c in ws.read(Clip) if c.role == "event"]
    group = {c: f"g{i // 2}" for i, c in enumerate(clips)}
    ws.write_view("groups", [{"clip_id": c, "group": g} for c, g in group.items()])
    release = ws.root / "releases" / "1.0.0"
    release.mkdir(parents=True)
    rows: list[Any] = [{"clip_id": clips[6], "split": "test"}, {"clip_id": clips[0], "split": "train"}]
    (release / "splits.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    monkeypatch.setattr("curation.release.latest", lambda *_: type("R", (), {"root": release}))
    order = [group[a.clip_id] for a in review.prepare(ws, recipe, "triage").shares[0].planned]
    assert order[:2] == ["g3", "g3"]
    assert [g for i, g in enumerate(order) if i == 0 or order[i - 1] != g] == list(dict.fromkeys(order))


def test_without_an_address_one_line_says_what_to_set(tmp_path: Path) -> None:
    ws, recipe = build(tmp_path, "", clips=1)
    with pytest.raises(UsageError, match="LABEL_STUDIO_URL"):
        review.run(ws, recipe, round="triage")


def test_an_address_without_http_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "a" * 40)
    monkeypatch.setenv("LABEL_STUDIO_URL", "localhost:8080")
    ws, recipe = build(tmp_path, "", clips=1)
    with pytest.raises(UsageError, match=r"'localhost:8080' begins with neither http://"):
        review.run(ws, recipe, round="triage")


def test_a_dead_server_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("label_studio_sdk")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "a" * 40)
    ws, recipe = build(tmp_path, "review: {raters: {url: 'http://127.0.0.1:9'}}\n", clips=1)
    with pytest.raises(DataError, match="does not answer"):
        review.run(ws, recipe, round="triage")


def test_a_servers_accounts_lie_outside_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    where = labelstudio.instance_dir(tmp_path / "work")
    assert tmp_path / "work" not in where.parents
    assert labelstudio.instance_dir(tmp_path / "other" / "work") != where


def test_who_takes_a_judgement_back_and_judges_anew_is_heard(tmp_path: Path) -> None:
    ws, recipe = build(tmp_path, "review: {raters: {kind: file}, triage: {raters: 2}}\n", clips=1)
    review.run(ws, recipe, round="triage")
    folder = ws.root / "exchange" / "triage.overlap"
    (task,) = answered(json.loads((folder / "tasks.json").read_text()), users=1)
    heard = []
    for number in (10, None, 11, 12):  # deleted, then made anew, once before a pull and once between two
        one = [{**task["annotations"][0], "id": number}] if number else []
        (folder / "export.json").write_text(json.dumps([{**task, "annotations": one}]))
        review.run(ws, recipe, round="triage")
        heard.append([r.remote.rpartition("/")[2] for r in standing(ws.read(Review))])
    assert heard == [["10"], [], ["11"], ["12"]]


def test_a_page_where_json_was_due_is_told_in_one_line() -> None:
    pytest.importorskip("label_studio_sdk")

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}" if "whoami" in self.path else b"<html>\nSign in to the network</html>")

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        Thread(target=proxy.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{proxy.server_port}"
        told = "GET api/projects/1/export with no JSON: <html> Sign in to the network</html>; is a proxy in between"
        with pytest.raises(DataError, match=told), labelstudio.connect(url, "0" * 40) as client:
            next(labelstudio.export(client, 1, [7, 8]))
        proxy.shutdown()
