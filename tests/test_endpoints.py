"""What is declared of endpoints, and the small parts of asking them: bodies, frames, pace, replies."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.authors import Subject, metadata
from curation.errors import DataError, UsageError
from curation.models import pace
from curation.models.endpoint import body, load_model, table, user_message
from curation.models.frames import FrameSpec, asked, fill
from curation.models.reply import CAP, read
from curation.tasks import parse_json
from curation.types import Clip, Source

SCHEMA = {"type": "object"}


@pytest.mark.parametrize("name", table("presets"))
def test_every_preset_makes_a_body(name: str) -> None:
    model = load_model("m", {"endpoint": name, "model": "some"})
    made = body(model, [{"role": "user", "content": "hi"}], "caption", SCHEMA)
    assert made["model"] == "some" and made[model.limit_field] == 4096
    assert ("response_format" in made) == (model.structured in ("json_schema", "json_object"))
    assert model.third_party == (name in ("openai", "gemini", "deepseek", "nim"))


def test_capabilities_are_lines_of_the_recipe() -> None:
    def made(**more: Any) -> Any:
        model = load_model("m", {"endpoint": "vllm", "model": "some", "params": {"temperature": 0.5}, **more})
        return body(model, [], "caption", SCHEMA)

    assert made(structured="structured_outputs")["structured_outputs"] == {"json": SCHEMA}
    assert made(structured="json_object")["response_format"] == {"type": "json_object"}
    assert "response_format" not in made(structured="none") and made()["temperature"] == 0.5
    assert made(limit_field="max_completion_tokens", max_tokens=7)["max_completion_tokens"] == 7


def test_a_clip_goes_as_frames_or_as_one_video() -> None:
    given = {"endpoint": "vllm", "model": "some", "frames": {"n": 2}}
    turn, beside = user_message(load_model("m", given), "look", "a" * 64, 20, 10.0)
    kinds = [p["type"] for p in turn["content"]]
    assert kinds == ["text", "image_url", "text", "image_url", "text"] and not beside
    turn, beside = user_message(load_model("m", {**given, "video": "video_url"}), "look", "a" * 64, 20, 10.0)
    assert [p["type"] for p in turn["content"]] == ["video_url", "text", "text"]
    video = {"fps": 10.0, "frames_indices": [5, 15], "total_num_frames": 20, "duration": 2.0, "do_sample_frames": False}
    assert beside == {"media_io_kwargs": {"video": video}}
    assert user_message(load_model("m", {**given, "frames": None}), "look", "a" * 64, 20, 10.0)[0]["content"] == "look"


@pytest.mark.parametrize(
    ("url", "third"),
    [
        ("http://127.0.0.1:8000/v1", False), ("http://[::1]:8000/v1", False), ("http://localhost:1/v1", False),
        ("http://127.8.9.1/v1", False), ("http://10.0.0.5/v1", True), ("http://127.0.0.1.evil.com/v1", True),
        ("https://localhost.evil.com/v1", True), ("http://0.0.0.0/v1", True),
    ],
)  # fmt: skip
def test_only_this_machine_is_no_third_party(url: str, third: bool) -> None:
    assert load_model("m", {"endpoint": "local", "model": "some", "base_url": url}).third_party == third


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/v1",
        "host/v1",
        "http://me:secret@host/v1",
        "http:///v1",
        "http://h:x/v1",
        "http://[::1",
        "http://h?k=secret",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="base_url") as e:
        load_model("m", {"endpoint": "local", "model": "some", "base_url": url})
    assert "secret" not in str(e.value)


def test_prices_have_what_a_bill_needs() -> None:
    assert all(set(p) <= {"in", "out", "cached"} and p["in"] <= p["out"] for p in table("prices").values())
    assert load_model("m", {"endpoint": "openai", "model": "gpt-4.1"}).price == table("prices")["gpt-4.1"]
    assert load_model("m", {"endpoint": "openai", "model": "unheard-of"}).price is None


@given(st.integers(1, 400), st.floats(1, 60), st.integers(1, 64))
def test_frames_are_existing_ones_in_order(frames: int, fps: float, n: int) -> None:
    moments = FrameSpec(n=n).moments(frames, fps)
    places = [round(t * fps) for t in moments]
    assert len(places) == min(n, frames) == len(set(places)) and places == sorted(places)
    assert places[0] >= 0 and places[-1] < frames


@given(st.text())
def test_no_text_passes_for_a_frame(text: str) -> None:
    ref = FrameSpec().ref("frame", "b" * 64, (0.5,))
    for said in (text, f'"{ref}"', ref, f'{text}"{ref}"'):
        raw = json.dumps({"text": f"x {said}", "url": FrameSpec().ref("frame", "a" * 64, (1.0,))}).encode()
        filled = json.loads(fill(raw, lambda *_: [b"AAAA"]))
        assert filled == {"text": f"x {said}", "url": "data:image/jpeg;base64,AAAA"}
        assert set(asked(raw)) == {("a" * 64, 360, 85)}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("6m0s", 360), ("20ms", 0.02), ("1.5", 1.5), ("1h2m3s", 3723), ("0", 0), ("-3", 0), ("soon", None),
     ("", None), ("nan", None), ("inf", None)],
)  # fmt: skip
def test_spans_of_time_as_headers_tell_them(text: str, seconds: float | None) -> None:
    assert pace.span(text) == seconds


def test_how_long_to_wait() -> None:
    assert pace.retry_after({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert pace.retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert pace.retry_after({"retry-after": "later"}) is None
    left = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "3s", "x-ratelimit-reset-requests": "1h"}
    assert pace.retry_after(left) == 3 and pace.retry_after({}) is None


@pytest.mark.parametrize(("limit", "left", "reset"), [("10000", "9999", "6ms"), ("²", "1", "1s"), ("0", "0", "0s")])
def test_headers_do_not_lift_the_recipes_own_limit(limit: str, left: str, reset: str) -> None:
    own = pace.Pace(8, requests_per_minute=60)
    told = {"limit": limit, "remaining": left, "reset": reset}
    own.heed({f"x-ratelimit-{k}-requests": v for k, v in told.items()})
    assert own.asks.rate == 1 and own.asks.most == 60


def test_a_complaint_halves_the_limit_once_a_round_and_is_waited_out() -> None:
    async def ask() -> None:
        one = pace.Pace(64)
        early = [await one.enter(1) for _ in range(4)]
        for started in early:
            one.slow(started, 0.3)
        assert one.limit == pace.START / 2
        before = time.monotonic()
        later = await one.enter(1)
        assert time.monotonic() - before > 0.2
        one.slow(later, None)
        assert one.limit == pace.START / 4

    asyncio.run(ask())


def test_tokens_of_a_minute_are_kept_to() -> None:
    async def ask() -> float:
        one = pace.Pace(64, tokens_per_minute=60_000)
        began = time.monotonic()
        for _ in range(8):
            await one.enter(200)
        return time.monotonic() - began

    assert 0.5 < asyncio.run(ask()) < 3  # a thousand a second; the first were there


def test_what_is_told_of_attributes_is_said_or_nothing() -> None:
    given = {"endpoint": "local", "model": "some"}
    assert load_model("m", given).metadata is True
    assert load_model("m", {**given, "tell": {"event": False}}).metadata is False
    assert load_model("m", {**given, "tell": {"event": False, "metadata": ["light"]}}).metadata == ("light",)
    with pytest.raises(UsageError, match="some attributes tell the event"):
        load_model("m", {**given, "tell": {"event": False, "metadata": True}})


def test_no_attribute_names_the_source() -> None:
    attributes = {"id": 822, "number": 822.0, "clip": "00822", "file": "x/00822.MP4", "trigger_s": 4.0, "lanes": 2}
    source = Source("corpus", "00822", "00822.mp4", "0" * 64, 9.0, 10.0, 96, 64, attributes=attributes)
    clip = Clip(source.id, "event", 1.0, 3.0, {})
    model = load_model("m", {"endpoint": "local", "model": "some"})
    assert metadata(model, Subject(clip, None, attributes, source)) == {"lanes": 2}


def chat(**message: Any) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()


def test_where_the_answer_and_the_reasoning_are() -> None:
    assert read(chat(content="<think>\nit brakes\n</think>\n{}")) == ("ok", "{}", "it brakes", "")
    assert read(chat(content="```json\n{}\n```")).text == "{}"
    assert read(chat(content=[{"type": "text", "text": "{}"}], reasoning="so")).reasoning == "so"
    assert read(chat(content=None)).kind == "empty" and read(chat(refusal="no")).kind == "refused"
    assert read(b"x" * CAP).kind == "too_large"


@pytest.mark.parametrize("text", ["NaN", "1e999", "-Infinity", '{"a": 1, "a": 2}', "[" * 100_000])
def test_what_is_not_strict_json(text: str) -> None:
    with pytest.raises(DataError):
        parse_json(text)
