"""Replies that no honest endpoint sends, and what it must not do with what it was sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai_server as server_module
import pytest
from openai_answers import Refused
from test_drafting import BY_TASK, FRAMES, drafts, recipe_for, said, workspace

from curation import draft
from curation.desk import words
from curation.models.reply import read, tokens
from curation.types import Json, Refusal

TOLD: Json = {
    "scene": "A road in town.",
    "segments": [{"start_s": 0, "end_s": 2, "text": "The car ahead brakes hard."}],
    "event": "It brakes.",
    "text": "On a road in town the car ahead brakes hard.",
}
CHINESE = "前方的灰色汽车突然刹车。"
BAD = {
    "half a character": (json.dumps({**TOLD, "text": "cut \ud83d off"}), "not_json"),
    "half a character, plain": ("cut \ud83d off", "not_json"),
    "half a key, twice": (r'{"\ud83d": 1, "\ud83d": 2}', "not_json"),
    "endless number": (json.dumps(TOLD).replace(': 2,', f": 1{'0' * 400},"), "not_json"),
    "language without spaces": (
        json.dumps({"scene": CHINESE, "event": CHINESE, "text": CHINESE, "segments": TOLD["segments"]}), "language"),
    "a reference to a frame": (f"frame:{'a' * 64}@0.5?h=48&q=85", "not_json"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_hostile_reply_is_mended_or_refused_and_stops_nothing(
    what: str, tmp_path: Path, footage: Path, openai_server: Any
) -> None:
    reply, reason = BAD[what]
    ws = workspace(tmp_path / "work" / "a", footage, n=2)
    openai_server.answer = lambda body: reply if '"rain"' in said(body).replace("\\", "") else TOLD
    report = draft.run(ws, recipe_for(tmp_path, openai_server.url, BY_TASK, model=FRAMES))
    assert report.counts == {"clips": 2, "written": 3, "refused": 1}
    assert [r.reason for r in ws.read(Refusal)] == [reason]
    assert [d.value for d in drafts(ws, "description")] == [TOLD]
    assert report.data["bill"][0]["repairs"] == 1


def test_what_is_shown_of_a_request_says_nothing_to_the_terminal() -> None:
    assert words({"messages": [{"role": "user", "content": "\x1b]0;pwned\x07\u202eé\n"}]}) == (
        "[user]\n\\x1b]0;pwned\\x07\\u202eé\n\n"
    )


@pytest.mark.parametrize("usage", [None, "x", [1], {"prompt_tokens": 10**30}, {"prompt_tokens_details": [1]}])
def test_odd_counts_of_tokens_count_nothing(usage: Any) -> None:
    assert tokens({"usage": usage}) == (0, 0, 0)


@pytest.mark.parametrize("opened", ["<think>", ""])
def test_thinking_before_the_answer_is_told_apart(opened: str) -> None:
    message = {"content": f'{opened}It brakes.\n</think>\n\n{{"a": 1}}'}
    assert read(json.dumps({"choices": [{"message": message}]}).encode())[:3] == ("ok", '{"a": 1}', "It brakes.")


def test_an_endpoint_that_echoes_the_key_has_it_written_nowhere(
    tmp_path: Path, footage: Path, openai_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo = lambda d, s: Refused(400, "Invalid request of Bearer sk-very-secret.")  # noqa: E731
    monkeypatch.setitem(server_module.REFUSALS, "400", echo)
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    openai_server.fail("400")
    ws = workspace(tmp_path / "work" / "a", footage)
    report = draft.run(ws, recipe_for(tmp_path, openai_server.url, BY_TASK, model="      key_env: MY_KEY\n"))
    assert report.counts["refused"] == 3 and "Bearer (the key)" in next(ws.read(Refusal)).detail
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and b"very-secret" in p.read_bytes()]
