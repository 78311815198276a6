"""The test server speaks the protocol: the plain `openai` client gets along with it, and every fault shows there."""

from __future__ import annotations

import base64
import io
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openai_answers import instance, not_strict
from openai_server import KINDS, Server, duration, sha

from curation.tasks import BUILT_IN, load_packs

SCHEMA: Any = {
    "type": "object",
    "additionalProperties": False,
    "required": ["text", "score"],
    "properties": {"text": {"type": "string"}, "score": {"type": ["number", "null"], "minimum": 0, "maximum": 1}},
}
PACKS = load_packs(sorted(p.parent.name for p in BUILT_IN.glob("*/schema.json")))


@pytest.fixture
def client(openai_server: Any) -> Any:
    with openai.OpenAI(base_url=openai_server.url, api_key="k", max_retries=0, timeout=5) as made:
        yield made


def jpeg() -> str:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (16, 16), (90, 20, 20)).save(out, "JPEG")
    return base64.b64encode(out.getvalue()).decode()


def shown(url: str) -> Any:
    return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}


def question(text: str = "What happens?", schema: Any = SCHEMA, frames: int = 0, **more: Any) -> Any:
    picture = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{jpeg()}"}}
    asked = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    content = [{"type": "text", "text": text}, *[picture] * frames]
    return {"model": "tiny", "messages": [{"role": "user", "content": content}], "response_format": asked, **more}


def test_a_question_gets_the_same_instance_of_its_schema_each_time(openai_server: Any, client: Any) -> None:
    one, same, other = (client.chat.completions.create(**question(t, frames=2)) for t in ("a", "a", "b"))
    texts = [c.choices[0].message.content for c in (one, same, other)]
    assert texts[0] == texts[1] != texts[2]
    assert Draft202012Validator(SCHEMA).is_valid(json.loads(texts[0]))
    assert one.choices[0].finish_reason == "stop" and one.object == "chat.completion"
    assert one.usage.prompt_tokens == 4 + 0 + 2 * 85 and one.usage.total_tokens > one.usage.prompt_tokens
    assert openai_server.asked(question("a", frames=2)) == 2 == openai_server.asked(sha(question("a", frames=2)))
    assert [b["model"] for b in openai_server.bodies] == ["tiny"] * 3
    assert openai_server.requests[0].headers["authorization"] == "Bearer k"
    assert [m.id for m in client.models.list()] == ["judge", "small", "tiny"]


def test_the_schema_may_come_by_vllms_field_or_stand_in_the_prompt(openai_server: Any, client: Any) -> None:
    message = [{"role": "user", "content": f"Answer {{in JSON}} of this schema:\n{json.dumps(SCHEMA)}"}]
    said = client.chat.completions.create(model="tiny", messages=message)
    assert json.loads(said.choices[0].message.content).keys() == {"text", "score"}
    said = client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "hm"}],
        extra_body={"structured_outputs": {"json": SCHEMA}},
    )
    assert json.loads(said.choices[0].message.content).keys() == {"text", "score"}
    video = {"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{jpeg()},{jpeg()}"}}
    said = client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": [video]}])
    assert said.usage.prompt_tokens == 4 + 2 * 85
    openai_server.answer = lambda body: {"mine": body["model"]}
    openai_server.beside = {"reasoning_content": "I look."}
    said = client.chat.completions.create(**question()).choices[0].message
    assert json.loads(said.content) == {"mine": "tiny"} and said.reasoning_content == "I look."


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"model": 1}, "model parameter"),
        ({"model": "gpt-9"}, "does not exist"),
        ({"frames": 1}, "Unrecognized request argument supplied: frames"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "human", "content": "a"}]}, "role"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "image": "x"}]}]}, "content part"),
        (shown("http://x/a.jpg"), "data:"),
        (shown(f"data:image/jpeg;base64,{jpeg()[:-200]}"), "whole JPEG"),
        (shown("data:image/jpeg;base64,***"), "whole JPEG"),
        ({"response_format": {"type": "json_object"}}, "'json'"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}}, "name"),
        ({"stream": True}, "streams"),
    ],
)
def test_a_malformed_question_is_turned_down_in_the_real_envelope(client: Any, change: Any, why: str) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.post("/chat/completions", cast_to=object, body={**question(), **change})
    assert caught.value.status_code in (400, 404) and why in str(caught.value)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"allOf": []}, "'allOf' is not permitted"),
        ({"additionalProperties": True}, "additionalProperties"),
        ({"required": ["text"]}, "required"),
        ({"type": "array"}, "type"),
        ({"properties": {**SCHEMA["properties"], "text": {"if": {}}}}, "('properties', 'text'), 'if'"),
        (
            {"properties": {**SCHEMA["properties"], "text": {"type": "array", "items": {"uniqueItems": True}}}},
            "'items'",
        ),
        ({"properties": {**SCHEMA["properties"], "text": {}}}, "'type' key"),
    ],
)
def test_strict_mode_takes_its_subset_of_json_schema_only(client: Any, change: Any, why: str) -> None:
    assert not_strict(SCHEMA, ()) is None
    assert why in (not_strict({**SCHEMA, **change}, ()) or "")
    with pytest.raises(openai.BadRequestError, match="Invalid schema for response_format 'answer'"):
        client.chat.completions.create(**question(schema={**SCHEMA, **change}))


def test_a_keyword_some_models_refuse_can_be_refused(openai_server: Any, client: Any) -> None:
    openai_server.refuses = {"maximum"}
    with pytest.raises(openai.BadRequestError, match="'maximum' is not permitted"):
        client.chat.completions.create(**question())


@pytest.mark.parametrize("name", sorted(PACKS))
def test_instances_pass_the_schemas_of_our_packs_conditions_included(name: str) -> None:
    validator = PACKS[name].validator
    values = [instance(PACKS[name].schema, random.Random(seed)) for seed in range(3)]
    assert all(validator.is_valid(v) for v in values)
    assert values[0] != values[1] != values[2]


LEAVES = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("string"), "minLength": st.integers(0, 30), "maxLength": st.integers(30, 60)}
    ),
    st.sampled_from([r"^[a-z0-9_]{1,40}$", r"^(event|clip)\.[a-z][a-z0-9_]*$", r"^a+b?c$"]).map(
        lambda p: {"type": "string", "pattern": p}
    ),
    st.sampled_from(["integer", "number"]).flatmap(
        lambda t: st.sampled_from(
            [{}, {"minimum": -3}, {"maximum": -7}, {"exclusiveMinimum": 2, "maximum": 4}, {"exclusiveMaximum": 9}]
        ).map(lambda bounds: {"type": t, **bounds})
    ),
    st.sampled_from([{"const": 3}, {"enum": ["a", None]}, {"type": ["null", "boolean"]}, {"type": ["string", "null"]}]),
)


@given(
    st.recursive(
        LEAVES,
        lambda inner: st.one_of(
            st.builds(
                lambda i, n: {"type": "array", "items": i, "minItems": n, "maxItems": n + 2}, inner, st.integers(0, 4)
            ),
            st.builds(lambda i: {"anyOf": [i, {"type": "null"}]}, inner),
            st.dictionaries(st.sampled_from("abc"), inner).map(
                lambda p: {"type": "object", "properties": p, "required": list(p), "additionalProperties": False}
            ),
        ),
        max_leaves=5,
    ),
    st.integers(0, 9),
)
def test_an_instance_fits_its_schema(schema: Any, seed: int) -> None:
    Draft202012Validator(schema).validate(instance(schema, random.Random(seed)))


def raised(client: Any) -> Any:
    with pytest.raises(openai.APIError) as caught:
        client.chat.completions.create(**question())
    return caught.value


def test_faults_of_the_wire(openai_server: Any, client: Any) -> None:
    for n, kind in enumerate(
        ("429", "429_ratelimit", "429_bare", "quota", "500", "503", "401", "404", "400", "too_long")
    ):
        openai_server.fail(kind, at={n}, wait=0.02)
    told = [raised(client) for _ in range(10)]
    assert [e.status_code for e in told] == [429, 429, 429, 429, 500, 503, 401, 404, 400, 400]
    assert told[0].response.headers["retry-after"] == "0.02"
    assert told[1].response.headers["x-ratelimit-reset-requests"] == "20ms"
    assert not [h for h in told[2].response.headers if "retry" in h or "ratelimit" in h]
    assert [e.code for e in (told[3], told[9])] == ["insufficient_quota", "context_length_exceeded"]
    for kind in ("drop", "drop_midway", "html", "redirect", "hang"):
        openai_server.fail(kind, times=1)
    assert isinstance(raised(client), openai.APIConnectionError)
    assert isinstance(raised(client), openai.APIConnectionError)
    page = client.chat.completions.with_raw_response.create(**question())
    assert page.headers["content-type"].startswith("text/html")
    with pytest.raises(openai.NotFoundError):  # this client follows; the other host knows no such address
        client.chat.completions.create(**question())
    assert openai_server.requests[-1].path == "/elsewhere"
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.2).chat.completions.create(**question())
    assert client.chat.completions.create(**question()).choices


def test_faults_of_the_answer(openai_server: Any, client: Any) -> None:
    def said(kind: str) -> Any:
        openai_server.faults.clear()
        openai_server.fail(kind)
        return client.chat.completions.create(**question()).choices[0]

    for kind in ("not_json", "truncated"):
        with pytest.raises(ValueError):
            json.loads(said(kind).message.content)
    assert said("truncated").finish_reason == "length" and said("content_filter").finish_reason == "content_filter"
    assert not Draft202012Validator(SCHEMA).is_valid(json.loads(said("wrong_shape").message.content))
    pairs = json.loads(said("duplicate_keys").message.content, object_pairs_hook=list)
    assert [k for k, _ in pairs] == ["text", "text", "score"]
    assert said("refusal").message.content is None and "can't" in said("refusal").message.refusal
    assert said("empty").message.content == ""
    assert any(w in said("german").message.content for w in ("das", "und", "der", "auf", "bremst", "Straße", "es"))
    assert json.loads(said("chinese").message.content)["text"][0] > "\u4e00"
    assert len(said("huge").message.content) == 10_000_000
    openai_server.faults.clear()
    openai_server.fail("no_choices")
    assert client.chat.completions.create(**question()).choices is None


def test_a_reply_is_cut_at_the_most_tokens(client: Any) -> None:
    said = client.chat.completions.create(**question(max_completion_tokens=3))
    assert said.choices[0].finish_reason == "length" and len(said.choices[0].message.content) <= 12
    assert said.usage.completion_tokens == 3


def test_faults_strike_where_planned(openai_server: Any, client: Any) -> None:
    with pytest.raises(ValueError, match="no fault 'oops'"):
        openai_server.fail("oops")
    openai_server.fail("500", when=lambda body: body["model"] == "small", times=2)
    openai_server.fail("503", p=0.3, seed=4)

    def status(model: str) -> int:
        try:
            client.chat.completions.create(**question(model=model) if model else question())
        except openai.APIStatusError as e:
            return e.status_code
        return 200

    def question(model: str = "tiny") -> Any:
        return {"model": model, "messages": [{"role": "user", "content": "hm"}]}

    first = [status("small") for _ in range(2)]
    rest = [status("tiny") for _ in range(60)]
    assert first == [500, 500] and set(rest) == {200, 503} and 8 <= rest.count(503) <= 28
    openai_server.n = 2
    assert [status("tiny") for _ in range(60)] == rest


def test_the_rate_limit_is_real_and_said_in_headers(openai_server: Any, client: Any) -> None:
    openai_server.limit(requests=600)
    openai_server.buckets["requests"].left = 3
    fine = client.chat.completions.with_raw_response.create(**question())
    assert fine.headers["x-ratelimit-limit-requests"] == "600"
    assert fine.headers["x-ratelimit-remaining-requests"] == "2"
    assert (
        fine.headers["x-ratelimit-reset-requests"].endswith("m0s") or "s" in fine.headers["x-ratelimit-reset-requests"]
    )
    while True:
        try:
            client.chat.completions.create(**question())
        except openai.RateLimitError as e:
            wait = float(e.response.headers["retry-after"])
            assert 0 < wait <= 0.1 and e.response.headers["x-ratelimit-remaining-requests"] == "0"
            break
    time.sleep(wait)
    assert client.chat.completions.create(**question())


def test_durations_are_written_as_in_the_headers() -> None:
    assert [duration(s) for s in (0.02, 1, 1.5, 59.99, 360, 61.2)] == ["20ms", "1s", "1.5s", "59.99s", "6m0s", "1m1.2s"]


def test_requests_that_overlap_are_counted_and_wait_the_latency(openai_server: Any) -> None:
    import asyncio

    openai_server.latency = 0.2

    async def all_at_once() -> None:
        async with openai.AsyncOpenAI(base_url=openai_server.url, api_key="k", max_retries=0) as client:
            await asyncio.gather(*(client.chat.completions.create(**question(str(i))) for i in range(8)))

    asyncio.run(all_at_once())
    assert openai_server.most_in_flight == 8 and openai_server.in_flight == 0


# -- files and batches -----------------------------------------------------------------------------------------------
def submit(client: Any, bodies: list[Any]) -> Any:
    rows = [
        {"custom_id": f"q{i}", "method": "POST", "url": "/v1/chat/completions", "body": b} for i, b in enumerate(bodies)
    ]
    lines = "\n".join(map(json.dumps, rows)).encode()
    kept = client.files.create(file=("batch.jsonl", lines), purpose="batch")
    assert client.files.content(kept.id).content == lines
    return client.batches.create(input_file_id=kept.id, endpoint="/v1/chat/completions", completion_window="24h")


def rows(client: Any, name: str | None) -> dict[str, Any]:
    if name is None:
        return {}
    return {r["custom_id"]: r for r in map(json.loads, client.files.content(name).text.splitlines())}


def test_a_batch_answers_as_the_live_endpoint_does(openai_server: Any, client: Any) -> None:
    live = client.chat.completions.create(**question("1")).choices[0].message.content
    bodies = [question("0"), question("1"), question("2", model="gpt-9"), question("3")]
    batch = submit(client, bodies)
    assert (batch.status, batch.output_file_id) == ("validating", None)
    openai_server.fail("refusal", when=lambda body: body == bodies[3])
    openai_server.advance()
    assert client.batches.retrieve(batch.id).status == "in_progress"
    openai_server.advance()
    done = client.batches.retrieve(batch.id)
    assert done.status == "completed" and done.completed_at
    assert done.request_counts.to_dict() == {"total": 4, "completed": 3, "failed": 1}
    fine, bad = rows(client, done.output_file_id), rows(client, done.error_file_id)
    assert list(fine) == ["q3", "q1", "q0"] and list(bad) == ["q2"]
    assert fine["q1"]["response"]["body"]["choices"][0]["message"]["content"] == live
    assert fine["q3"]["response"]["body"]["choices"][0]["message"]["refusal"]
    assert bad["q2"]["response"]["status_code"] == 404 and bad["q2"]["response"]["body"]["error"]["message"]
    assert [b.id for b in client.batches.list()] == [batch.id]
    assert openai_server.asked(bodies[1]) == 2


def test_a_batch_goes_on_by_itself_if_told_to(openai_server: Any, client: Any) -> None:
    openai_server.batch_seconds = 0.05
    batch = submit(client, [question()])
    time.sleep(0.12)
    assert client.batches.retrieve(batch.id).status == "completed"


def test_a_batch_can_fail_expire_and_be_cancelled(openai_server: Any, client: Any) -> None:
    wrong = client.files.create(file=("b.jsonl", b'{"custom_id": "a"}\nnonsense'), purpose="batch")
    failed = client.batches.create(input_file_id=wrong.id, endpoint="/v1/chat/completions", completion_window="24h")
    late, gone = (
        submit(client, [question("0"), question("1"), question("2")]),
        submit(client, [question("0"), question("1")]),
    )
    openai_server.advance()
    failed = client.batches.retrieve(failed.id)
    assert failed.status == "failed" and [e.line for e in failed.errors.data] == [1, 2]
    assert client.batches.cancel(gone.id).status == "cancelling"
    openai_server.expire(late.id, done=1)
    late = client.batches.retrieve(late.id)
    assert late.status == "expired" and list(rows(client, late.output_file_id)) == ["q0"]
    left = rows(client, late.error_file_id)
    assert (
        left.keys() == {"q1", "q2"}
        and left["q1"]["response"] is None
        and left["q1"]["error"]["code"] == "batch_expired"
    )
    openai_server.advance()
    gone = client.batches.retrieve(gone.id)
    assert gone.status == "cancelled" and list(rows(client, gone.output_file_id)) == ["q0"]
    with pytest.raises(openai.BadRequestError, match="Invalid file ID"):
        client.batches.create(input_file_id="file-no", endpoint="/v1/chat/completions", completion_window="24h")
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_no")


# -- in a process of its own -----------------------------------------------------------------------------------------
def test_it_runs_in_a_process_of_its_own_and_logs_each_question(tmp_path: Path) -> None:
    log, script = tmp_path / "asked.jsonl", Path(__file__).with_name("openai_server.py")
    run = [sys.executable, str(script), "--log", str(log), "--fail", "503=0.5", "--latency", "0.01"]
    with subprocess.Popen(run, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        try:
            with openai.OpenAI(base_url=url, api_key="k", max_retries=20) as client:
                said = client.chat.completions.create(**question())
            while "answered" not in log.read_text():  # written once the answer is out
                time.sleep(0.01)
        finally:
            process.terminate()
    assert said.choices
    seen = [json.loads(line) for line in log.read_text().splitlines()]
    assert {r["sha"] for r in seen} == {sha(question())}
    assert [r["what"] for r in seen][-2:] == ["asked", "answered"]


def test_a_key_can_be_required(openai_server: Any, client: Any) -> None:
    openai_server.key = "secret"
    assert isinstance(raised(client), openai.AuthenticationError)


def test_every_fault_is_known_by_one_name() -> None:
    from openai_server import REFUSALS, WIRE

    content = {"not_json", "wrong_shape", "duplicate_keys", "truncated", "refusal", "content_filter"}
    assert {*REFUSALS, *WIRE, *content, "empty", "german", "chinese", "huge", "no_choices"} == KINDS
    with Server() as server:
        assert server.url.startswith("http://127.0.0.1:")
