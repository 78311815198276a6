"""The Batch API: the same drafts as live, at half the price, whatever happens in between."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openai_answers import Refused
from test_drafting import BY_TASK, EVENTS, FRAMES, drafts, recipe_for, stored, workspace

from curation import draft
from curation.errors import DataError
from curation.models import batch
from curation.store import Workspace
from curation.types import Clip, Json, Label, Refusal

BATCH = FRAMES + "      batch: true\n"


def values(ws: Workspace) -> Json:
    return {d.id: (d.value, d.tokens_in, d.tokens_out) for d in ws.read(draft.Draft)}


def test_a_batch_is_sent_survives_a_restart_and_gives_the_drafts_of_a_live_run(
    tmp_path: Path,
    footage: Path,
    openai_server: Any,
) -> None:
    author = "{caption: template, description: watch, cot: watch}"
    live = workspace(tmp_path / "live" / "a", footage)
    draft.run(live, recipe_for(tmp_path, openai_server.url, author, "[caption, description, cot]", model=FRAMES))
    asked = len(openai_server.bodies)
    ws = workspace(tmp_path / "work" / "a", footage)
    recipe = recipe_for(tmp_path, openai_server.url, author, "[caption, description, cot]", model=BATCH)
    for level in ("description", "cot"):
        report = draft.run(ws, recipe)
        assert report.ok and "was sent with 3 questions" in report.gate, level
        sent = len(openai_server.batches)
        report = draft.run(ws, recipe)
        assert "is validating" in report.gate or "is in progress" in report.gate
        assert len(openai_server.batches) == sent  # nothing is sent twice while a batch is open
        openai_server.advance(2)
    report = draft.run(ws, recipe)
    assert not report.gate and len(openai_server.batches) == 2
    assert len(openai_server.bodies) == asked  # none of it live
    assert values(ws) == values(live)
    half = sum(a["cost_usd"] for a in stored(tmp_path))
    assert half == pytest.approx(sum(d.cost_usd for d in live.read(draft.Draft)) / 2)


def test_a_faulty_reply_is_mended_in_a_later_batch(tmp_path: Path, footage: Path, openai_server: Any) -> None:
    openai_server.fail("not_json", at={0})
    openai_server.beside = {"note": "half a character: \ud83d"}
    ws = workspace(tmp_path / "work" / "a", footage)
    recipe = recipe_for(tmp_path, openai_server.url, BY_TASK, model=BATCH)
    for n, written in ((3, 0), (1, 2), (0, 3)):
        report = draft.run(ws, recipe)
        assert (f"was sent with {n} questions" in report.gate) == bool(n)
        assert len(drafts(ws, "description")) == written
        openai_server.advance(2)


def test_what_a_batch_did_not_answer_is_asked_again(tmp_path: Path, footage: Path, openai_server: Any) -> None:
    openai_server.fail("500", at={2})
    ws = workspace(tmp_path / "work" / "a", footage, n=5)
    recipe = recipe_for(tmp_path, openai_server.url, BY_TASK, model=BATCH)
    draft.run(ws, recipe)
    openai_server.advance()
    openai_server.expire("batch_0", done=3)
    assert "was sent with 3 questions" in draft.run(ws, recipe).gate  # two were late, one had a fault
    assert len(drafts(ws, "description")) == 2
    openai_server.advance(2)
    assert draft.run(ws, recipe).gate == "" and len(drafts(ws, "description")) == 5


def test_what_is_turned_away_is_refused(tmp_path: Path, footage: Path, openai_server: Any) -> None:
    openai_server.fail("too_long", at={0})
    ws = workspace(tmp_path / "work" / "a", footage)
    recipe = recipe_for(tmp_path, openai_server.url, BY_TASK, model=BATCH)
    draft.run(ws, recipe)
    openai_server.advance(2)
    for _ in range(2):  # and is not sent again
        report = draft.run(ws, recipe)
        assert report.counts["refused"] == 1 and len(drafts(ws, "description")) == 2 and not report.gate
    assert [r.reason for r in ws.read(Refusal)] == ["denied"] and len(openai_server.batches) == 1


@pytest.mark.parametrize("made", [True, False])
def test_a_batch_whose_name_was_lost_in_a_kill_is_found_again(
    made: bool,
    tmp_path: Path,
    footage: Path,
    openai_server: Any,
) -> None:
    ws = workspace(tmp_path / "work" / "a", footage)
    recipe = recipe_for(tmp_path, openai_server.url, BY_TASK, model=BATCH)
    draft.run(ws, recipe)
    ours = openai_server.batches["batch_0"]["metadata"]["autodrive"]
    with sqlite3.connect(tmp_path / "work" / "llm.sqlite") as db:  # killed between sending and writing its name down
        db.execute("update batches set id = ?", (ours,))
        db.execute("update batched set batch = ?", (ours,))
    if not made:
        openai_server.batches.clear()
    report = draft.run(ws, recipe)
    assert ("was sent with 3" in report.gate) != made and len(openai_server.batches) == 1
    openai_server.advance(2)
    assert draft.run(ws, recipe).gate == "" and len(drafts(ws, "description")) == 3


def test_open_batches_count_against_the_budget(tmp_path: Path, footage: Path, openai_server: Any) -> None:
    ws = workspace(tmp_path / "work" / "a", footage, n=20)
    recipe = recipe_for(tmp_path, openai_server.url, BY_TASK, model=BATCH + "      max_tokens: 2000\n")
    recipe["draft"]["budget_usd"] = 0.08
    report = draft.run(ws, recipe)
    sent = len(openai_server.files)
    assert "budget" in report.gate and sent == 1
    draft.run(ws, recipe)
    assert len(openai_server.files) == sent  # what is open is owed
    openai_server.advance(2)
    for _ in range(20):
        draft.run(ws, recipe)
        openai_server.advance(2)
    assert len(drafts(ws, "description")) > 5 and sum(a["cost_usd"] for a in stored(tmp_path)) <= 0.08


def test_a_batch_the_endpoint_cannot_read_is_told_of(tmp_path: Path, footage: Path, openai_server: Any) -> None:
    ws = workspace(tmp_path / "work" / "a", footage)
    recipe = recipe_for(tmp_path, openai_server.url, BY_TASK, model=BATCH)
    draft.run(ws, recipe)
    name = openai_server.batches["batch_0"]["input_file_id"]
    openai_server.files[name] = (openai_server.files[name][0], b"not json\n")
    openai_server.advance()
    with pytest.raises(DataError, match="batch_0 failed"):
        draft.run(ws, recipe)
    assert "was sent with 3" in draft.run(ws, recipe).gate


def test_a_batch_is_charged_to_whoever_sent_it_at_the_price_of_its_model(
    tmp_path: Path, footage: Path, openai_server: Any
) -> None:
    first, second = (workspace(tmp_path / "work" / name, footage) for name in "ab")
    recipe = recipe_for(tmp_path, openai_server.url, BY_TASK, model=BATCH)
    draft.run(first, recipe)
    assert "1 of" not in draft.run(second, recipe).gate and len(openai_server.batches) == 1
    openai_server.advance(2)
    recipe["draft"]["models"]["watch"] |= {"model": "small", "price": {"in": 1000, "out": 1000}}
    assert "was sent with 3" in draft.run(second, recipe).gate and not stored(tmp_path)  # it is another model's
    recipe["draft"]["models"]["watch"] |= {"model": "tiny", "price": {"in": 1.0, "out": 10.0}}
    assert draft.run(second, recipe).counts["written"] == 3
    assert {(a["payer"], a["model"]) for a in stored(tmp_path)} == {(str(first.root), "tiny")}


def test_what_another_run_is_about_to_send_is_not_forgotten(tmp_path: Path, footage: Path, openai_server: Any) -> None:
    first, second = (workspace(tmp_path / "work" / name, footage) for name in "ab")
    recipe = recipe_for(tmp_path, openai_server.url, BY_TASK, model=BATCH)
    draft.run(first, recipe)
    made = openai_server.batches.pop("batch_0")
    with sqlite3.connect(tmp_path / "work" / "llm.sqlite") as db:
        for change in ("update batches set id = ?", "update batched set batch = ?"):
            db.execute(change, (made["metadata"]["autodrive"],))
    assert "was sending one" in draft.run(second, recipe).gate and not openai_server.batches
    openai_server.batches["batch_0"] = made
    openai_server.advance(2)
    assert draft.run(first, recipe).counts["written"] == 3 == draft.run(second, recipe).counts["written"]


@pytest.mark.parametrize("what", ["batch", "files"])
def test_a_batch_that_is_no_longer_kept_is_asked_again(
    what: str, tmp_path: Path, footage: Path, openai_server: Any
) -> None:
    ws = workspace(tmp_path / "work" / "a", footage)
    recipe = recipe_for(tmp_path, openai_server.url, BY_TASK, model=BATCH)
    draft.run(ws, recipe)
    openai_server.advance(2)
    if what == "files":
        openai_server.files.clear()
    else:
        openai_server.batches["gone"] = openai_server.batches.pop("batch_0")
    assert "batch_1 was sent with 3" in draft.run(ws, recipe).gate


def test_a_batch_made_by_a_request_that_failed_is_found(
    tmp_path: Path, footage: Path, openai_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = openai_server._new_batch

    def fail(body: Json) -> Json:
        made(body)
        raise Refused(500, "The server had an error.")

    monkeypatch.setattr(openai_server, "_new_batch", fail)
    ws = workspace(tmp_path / "work" / "a", footage)
    recipe = recipe_for(tmp_path, openai_server.url, BY_TASK, model=BATCH)
    assert not draft.run(ws, recipe).ok
    openai_server.advance(2)
    assert draft.run(ws, recipe).counts["written"] == 3 and len(openai_server.batches) == 1


def test_a_broken_line_of_a_batch_answers_nothing(tmp_path: Path, footage: Path, openai_server: Any) -> None:
    ws = workspace(tmp_path / "work" / "a", footage, n=3)
    recipe = recipe_for(tmp_path, openai_server.url, BY_TASK, model=BATCH)
    draft.run(ws, recipe)
    openai_server.advance(2)
    name = openai_server.batches["batch_0"]["output_file_id"]
    about, data = openai_server.files[name]
    first, second, _ = data.splitlines()
    bad = [b"[1]", b'{"custom_id": [1], "response": 5}', b"", second[:60]]
    openai_server.files[name] = about, b"\n".join([first, *bad])
    report = draft.run(ws, recipe)
    assert report.counts["written"] == 1 and "was sent with 2" in report.gate


def test_a_large_batch_goes_in_parts_and_a_broken_clip_in_none(
    tmp_path: Path, footage: Path, openai_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MOST", (3, 1 << 20))
    ws = workspace(tmp_path / "work" / "a", footage, n=7)
    with ws.writer(Clip) as out:
        lost = replace(next(ws.read(Clip)), blob="0" * 64, start_s=2.0, id="")
        out.add(lost)
    ws.write_view("labels", [*ws.labels(), Label(lost.id, "event", EVENTS[0], "agreed")])
    recipe = recipe_for(tmp_path, openai_server.url, BY_TASK, model=BATCH)
    recipe["draft"]["budget_usd"] = 10
    report = draft.run(ws, recipe)
    assert report.gate.count("was sent with") == 3 and report.counts["left"] == 7
    assert [r.reason for r in ws.read(Refusal)] == ["missing"]
    with sqlite3.connect(tmp_path / "work" / "llm.sqlite") as db:
        dear = [usd for (usd,) in db.execute("select dear_usd from batches order by dear_usd")]
    assert dear[2] == pytest.approx(dear[1], rel=0.01) and dear[0] == pytest.approx(dear[1] / 3, rel=0.01)
    openai_server.advance(2)
    assert draft.run(ws, recipe).counts["written"] == 7


def test_an_output_that_breaks_off_is_collected_by_the_next_run(
    tmp_path: Path, footage: Path, openai_server: Any
) -> None:
    ws = workspace(tmp_path / "work" / "a", footage)
    recipe = recipe_for(tmp_path, openai_server.url, BY_TASK, model=BATCH)
    draft.run(ws, recipe)
    openai_server.advance(2)
    openai_server.cut = True
    report = draft.run(ws, recipe)
    assert not report.ok and report.counts["left"] == 3 and "left for the next run" in " ".join(report.notes)
    openai_server.cut = False
    assert draft.run(ws, recipe).gate == "" and len(drafts(ws, "description")) == 3
    assert len(openai_server.batches) == 1


def test_clips_that_ask_the_same_ask_once_a_batch(tmp_path: Path, footage: Path, openai_server: Any) -> None:
    ws = workspace(tmp_path / "work" / "a", footage)  # three clips of one file
    alike = "      tell: {event: false, metadata: [light]}\n"
    recipe = recipe_for(tmp_path, openai_server.url, BY_TASK, model=BATCH + alike)
    assert "was sent with 1 questions" in draft.run(ws, recipe).gate
    ((_, sent),) = openai_server.files.values()
    assert sent.count(b"custom_id") == 1
    openai_server.advance(2)
    draft.run(ws, recipe)
    assert len(drafts(ws, "description")) == 3
