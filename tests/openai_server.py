"""A server that speaks OpenAI's protocol over real HTTP, counts what it is asked, and fails on demand.

In a test it runs in a thread (the fixture `openai_server`), for benchmarks and kills in a process of its own:
`python tests/openai_server.py --port 8123 --latency 0.2 --log asked.jsonl`. Chat completions, models, files and
batches; field names after https://platform.openai.com/docs/api-reference, vLLM's `structured_outputs` and `video_url`
beside them. An answer is a random instance of the schema that was asked for, the same for the same question.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web
from openai_answers import CHINESE, GERMAN, WORDS, Json, Refused, check_body, instance, schema_in


class Request(NamedTuple):
    """What arrived: `body` is parsed JSON (None if it is none), `n` counts the questions from 0 (-1: not one)."""

    n: int
    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Fault:
    """What goes wrong: at the questions numbered `at`, with probability `p`, where `when(body)`, `times` at most."""

    kind: str
    at: Collection[int] | None
    p: float
    seed: int
    times: float
    when: Callable[[Json], bool] | None
    wait: float

    def strikes(self, n: int, body: Json) -> bool:
        if self.times <= 0 or (self.at is not None and n not in self.at) or (self.when and not self.when(body)):
            return False
        if random.Random(f"{self.seed}/{self.kind}/{n}").random() >= self.p:
            return False
        self.times -= 1
        return True


@dataclass
class Bucket:
    """`most` a minute, refilled evenly."""

    most: float
    left: float = field(init=False)
    at: float = field(init=False)

    def __post_init__(self) -> None:
        self.left, self.at = self.most, time.monotonic()

    def take(self, amount: float) -> bool:
        now = time.monotonic()
        self.left = min(self.most, self.left + (now - self.at) * self.most / 60)
        self.at = now
        if self.left < amount:
            return False
        self.left -= amount
        return True

    def headers(self, what: str) -> dict[str, str]:
        reset = (self.most - self.left) * 60 / self.most
        values = {"limit": f"{self.most:.0f}", "remaining": str(int(self.left)), "reset": duration(reset)}
        return {f"x-ratelimit-{k}-{what}": v for k, v in values.items()}


def duration(seconds: float) -> str:
    """As the rate-limit headers write it: 20ms, 1.5s, 6m0s."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    return f"{minutes:.0f}m{rest:.3g}s" if minutes else f"{rest:.4g}s"


def sha(body: Json) -> str:
    """Hash of a body, however it was written down."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


KINDS = {
    "429", "429_ratelimit", "429_bare", "quota", "500", "503", "hang", "drop", "drop_midway", "not_json",
    "wrong_shape", "duplicate_keys", "truncated", "refusal", "content_filter", "empty", "german", "chinese",
    "huge", "html", "no_choices", "redirect", "401", "404", "too_long", "400",
}  # fmt: skip


class Server:
    """`with Server() as server:` listens on `server.url`. What a test may set: `answer`, `latency`, `beside` (fields of
    the message beside its content, e.g. reasoning_content), `key`, `models`, `refuses`, `batch_seconds`, `log`, `cut`
    (files break off in the middle)."""

    def __init__(self, port: int = 0, fast: bool = False) -> None:
        self.port, self.fast = port, fast  # fast: frames unread, nothing kept, one answer per schema
        self.loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self.in_flight = 0
        self.reset()

    def reset(self) -> None:
        self.requests: list[Request] = []
        self.shas: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self.buckets: dict[str, Bucket] = {}
        self.answer: Callable[[Json], str | Json] | None = None
        self.latency = 0.0
        self.beside: Json = {}
        self.key: str | None = None
        self.models: Collection[str] = {"tiny", "small", "judge"}
        self.refuses: Collection[str] = ()
        self.log: Path | None = None
        self.n = self.most_in_flight = 0
        self.files: dict[str, tuple[Json, bytes]] = {}
        self.cut = False
        self.batches: dict[str, Json] = {}
        self._since: dict[str, float] = {}
        self.batch_seconds = 0.0  # of each status; 0: only `advance` moves a batch

    # what a test plans and reads
    def fail(
        self, kind: str, at: Collection[int] | None = None, *, p: float = 1.0, seed: int = 0,
        times: float = float("inf"), when: Callable[[Json], bool] | None = None, wait: float = 1.0,
    ) -> None:  # fmt: skip
        """Plan a fault, see KINDS and Fault. `wait`: seconds named by retry-after and the like."""
        if kind not in KINDS:
            raise ValueError(f"no fault '{kind}'; there are {sorted(KINDS)}")
        self.faults.append(Fault(kind, at, p, seed, times, when, wait))

    def limit(self, requests: float | None = None, tokens: float | None = None) -> None:
        """Truly allow so many a minute, and say so in headers."""
        self.buckets = {k: Bucket(v) for k, v in (("requests", requests), ("tokens", tokens)) if v}

    def asked(self, body: Json | str) -> int:
        """How often this body, or the body of this hash, was asked."""
        return self.shas[body if isinstance(body, str) else sha(body)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def bodies(self) -> list[Json]:
        """The bodies of all questions, in the order in which they arrived."""
        return [r.body for r in self.requests if r.n >= 0]

    # life
    def __enter__(self) -> Server:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.run())
        self.loop.close()

    async def run(self) -> None:
        """Serve until told otherwise."""
        self._over = asyncio.Event()
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=1024)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self._ready.set()
        await self._over.wait()
        await runner.cleanup()

    # requests
    async def _handle(self, request: web.Request) -> web.StreamResponse:
        kept: dict[str, str] = {k.lower(): v for k, v in request.headers.items()}
        raw, upload = b"", {}
        if request.content_type == "multipart/form-data":
            form = await request.post()
            upload = {k: v.file.read() if isinstance(v, web.FileField) else v for k, v in form.items()}
        else:
            raw = await request.read()
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = None
        route = request.method, request.path.removeprefix("/v1")
        n, self.n = (self.n, self.n + 1) if route == ("POST", "/chat/completions") else (-1, self.n)
        if not self.fast:
            self.requests.append(Request(n, request.method, request.path, kept, body))
        try:
            if self.key is not None and kept.get("authorization") != f"Bearer {self.key}":
                raise Refused(401, "Incorrect API key provided.", "invalid_api_key")
            if n >= 0:
                return await self._chat(request, n, body)
            return self._other(*route, body, upload)
        except Refused as e:
            return web.json_response(e.body, status=e.status, headers=e.headers)

    async def _chat(self, request: web.Request, n: int, body: Any) -> web.StreamResponse:
        key = sha(body) if isinstance(body, dict) and not self.fast else ""
        self.shas[key] += 1
        self._note("asked", n, key)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.latency)
            fault = next((f for f in self.faults if f.strikes(n, body)), None)
            if fault and fault.kind in WIRE:
                return await WIRE[fault.kind](self, request)
            told: dict[str, str] = {}
            if self.buckets:
                told = self._pass(body)
            reply = self.reply(n, body, fault)
            response = web.json_response(reply, headers={**told, "x-request-id": f"req_{n}"})
            await response.prepare(request)
            await response.write_eof()
            self._note("answered", n, key)
            return response
        finally:
            self.in_flight -= 1

    def _pass(self, body: Json) -> dict[str, str]:
        """Take from the buckets; the headers that tell what is left. Raises Refused with them when one is empty."""
        cost = {"requests": 1, "tokens": check_body(body, self.refuses, self.models)}
        short = [k for k, bucket in self.buckets.items() if not bucket.take(cost[k])]
        told = {k: v for what, bucket in self.buckets.items() for k, v in bucket.headers(what).items()}
        if short:
            seconds = (cost[short[0]] - self.buckets[short[0]].left) * 60 / self.buckets[short[0]].most
            raise Refused(429, f"Rate limit reached for {short[0]}.", "rate_limit_exceeded", short[0],
                          retry_after=f"{seconds:.3f}", **told)  # fmt: skip
        return told

    def _note(self, what: str, n: int, key: str) -> None:
        if self.log:
            with self.log.open("a", encoding="utf-8") as out:
                out.write(json.dumps({"what": what, "n": n, "sha": key, "at": time.time()}) + "\n")

    def reply(self, n: int, body: Any, fault: Fault | None) -> Json:
        """A chat completion, with `fault` in its content. Raises Refused."""
        kind = fault.kind if fault else ""
        if fault and kind in REFUSALS:
            raise REFUSALS[kind](duration(fault.wait), f"{fault.wait:g}")
        asked = 1000 if self.fast else check_body(body, self.refuses, self.models)
        content = self._content(body, kind)
        said = len(content) // 4 + 1
        most = body.get("max_completion_tokens") or body.get("max_tokens") or said
        if (said > most and kind != "huge") or kind == "truncated":
            content, said, reason = content[: min(most * 4, len(content) * 2 // 3)], min(said, most), "length"
        else:
            reason = "content_filter" if kind == "content_filter" else "stop"
        message = {"role": "assistant", "content": content, "refusal": None, **self.beside}
        if kind == "refusal":
            message |= {"content": None, "refusal": "I'm sorry, I can't assist with that request."}
        reply = {
            "id": f"chatcmpl-{n}", "object": "chat.completion", "created": int(time.time()), "model": body["model"],
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
            "usage": {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said},
        }  # fmt: skip
        return {"object": "chat.completion", "id": "x"} if kind == "no_choices" else reply

    def _content(self, body: Json, kind: str) -> str:
        if kind in ("empty", "content_filter", "huge"):
            return "x" * 10_000_000 if kind == "huge" else ""
        words = {"german": GERMAN, "chinese": CHINESE}.get(kind, WORDS)
        if self.answer and kind not in ("german", "chinese"):
            value: Any = self.answer(body)
        else:
            schema = schema_in(body)
            seed = "" if self.fast else sha(body)
            value = json.loads(_instance(json.dumps(schema), seed, words)) if schema else f"{words}."
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if kind == "not_json":
            return "Here is the JSON you asked for: " + text[: len(text) // 2]
        if kind == "wrong_shape":
            return json.dumps({"unexpected": 1, **json.loads(text)})
        if kind == "duplicate_keys" and isinstance(value, dict) and value:
            name = next(iter(value))
            return "{" + f"{json.dumps(name)}: {json.dumps(value[name])}, " + text[1:]
        return text

    # models, files, batches
    def _file(self, whole: bytes) -> web.Response:
        sent = whole[: len(whole) // 2] if self.cut else whole
        response = web.Response(body=sent, headers={"content-length": str(len(whole))})
        if self.cut:
            response.force_close()
        return response

    def _other(self, method: str, path: str, body: Any, upload: Json) -> web.Response:
        parts = path.strip("/").split("/")
        match method, *parts:
            case "GET", "models":
                listed = [{"id": m, "object": "model", "created": 0, "owned_by": "test"} for m in sorted(self.models)]
                return web.json_response({"object": "list", "data": listed})
            case "POST", "files":
                return web.json_response(self._keep(upload.get("file", b""), str(upload.get("purpose"))))
            case "GET", "files", name, "content" if name in self.files:
                return self._file(self.files[name][1])
            case "GET", "files", name if name in self.files:
                return web.json_response(self.files[name][0])
            case "DELETE", "files", name if name in self.files:
                del self.files[name]
                return web.json_response({"id": name, "object": "file", "deleted": True})
            case "POST", "batches":
                return web.json_response(self._new_batch(body))
            case "GET", "batches":
                return web.json_response({"object": "list", "data": [*self.batches.values()], "has_more": False})
            case "GET", "batches", name if name in self.batches:
                self._move_on(self.batches[name])
                return web.json_response(self.batches[name])
            case "POST", "batches", name, "cancel" if name in self.batches:
                if self.batches[name]["status"] in ("validating", "in_progress"):
                    self.batches[name]["status"] = "cancelling"
                return web.json_response(self.batches[name])
        raise Refused(404, f"Invalid URL ({method} {path})", "unknown_url")

    def _keep(self, data: bytes, purpose: str) -> Json:
        if purpose not in ("batch", "batch_output"):
            raise Refused(400, f"'{purpose}' is not one of ['batch']")
        name = f"file-{len(self.files)}{hashlib.sha256(data).hexdigest()[:8]}"
        about = {"id": name, "object": "file", "bytes": len(data), "created_at": int(time.time()), "purpose": purpose,
                 "filename": "batch.jsonl", "status": "processed"}  # fmt: skip
        self.files[name] = about, data
        return about

    def _new_batch(self, body: Any) -> Json:
        if body.get("endpoint") != "/v1/chat/completions" or body.get("completion_window") != "24h":
            raise Refused(400, "Invalid endpoint or completion_window.")
        source = self.files.get(body.get("input_file_id"))
        if source is None or source[0]["purpose"] != "batch":
            raise Refused(400, f"Invalid file ID '{body.get('input_file_id')}'.")
        made = int(time.time())
        batch: Json = dict.fromkeys(
            ["errors", "output_file_id", "error_file_id", "completed_at", "cancelled_at", "expired_at", "failed_at"]
        )
        batch |= {
            "id": f"batch_{len(self.batches)}",
            "object": "batch",
            "endpoint": body["endpoint"],
            "status": "validating",
            "input_file_id": body["input_file_id"],
            "completion_window": "24h",
            "created_at": made,
            "expires_at": made + 86400,
            "metadata": body.get("metadata"),
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
        }
        self.batches[batch["id"]] = batch
        self._since[batch["id"]] = time.monotonic()
        return batch

    def _move_on(self, batch: Json) -> None:
        while self.batch_seconds and time.monotonic() - self._since[batch["id"]] >= self.batch_seconds:
            self._since[batch["id"]] += self.batch_seconds
            self._step(batch)

    def advance(self, steps: int = 1) -> None:
        """Every batch goes `steps` on: validating, in_progress, completed (or cancelling, cancelled)."""
        for batch in self.batches.values():
            for _ in range(steps):
                self._step(batch)

    def _step(self, batch: Json) -> None:
        lines = self.files[batch["input_file_id"]][1].splitlines()
        if batch["status"] == "validating":
            wrong = faulty_lines(lines)
            batch["errors"] = {"object": "list", "data": wrong} if wrong else None
            batch["request_counts"]["total"] = 0 if wrong else len(lines)
            self._end(batch, "failed", []) if wrong else batch.update(status="in_progress")
        elif batch["status"] == "in_progress":
            self._end(batch, "completed", lines)
        elif batch["status"] == "cancelling":
            self._end(batch, "cancelled", lines[: len(lines) // 2])

    def expire(self, name: str, done: int = 0) -> None:
        """The 24 hours of a batch are over, with so many of its requests answered."""
        lines = self.files[self.batches[name]["input_file_id"]][1].splitlines()
        self._end(self.batches[name], "expired", lines[:done], lines[done:])

    def _end(self, batch: Json, status: str, lines: list[bytes], late: Collection[bytes] = ()) -> None:
        fine: list[Json] = []
        bad: list[Json] = []
        for line in map(json.loads, lines):
            n, self.n = self.n, self.n + 1
            self.shas[sha(line["body"])] += 1
            self._note("asked", n, sha(line["body"]))
            fault = next((f for f in self.faults if f.strikes(n, line["body"])), None)
            try:
                code, said = 200, self.reply(n, line["body"], fault)
            except Refused as e:
                code, said = e.status, e.body
            answer = {"status_code": code, "request_id": f"req_{n}", "body": said}
            row = {"id": f"batch_req_{n}", "custom_id": line["custom_id"], "response": answer, "error": None}
            (fine if code == 200 else bad).append(row)
        expired = {"code": "batch_expired", "message": "The request was not executed within the completion window."}
        for i, line in enumerate(map(json.loads, late)):
            bad.append({"id": f"batch_late_{i}", "custom_id": line["custom_id"], "response": None, "error": expired})
        for name, rows in (("output_file_id", fine), ("error_file_id", bad)):
            if rows:  # in another order than asked, as the real one may do
                data = b"".join(json.dumps(r).encode() + b"\n" for r in reversed(rows))
                batch[name] = self._keep(data, "batch_output")["id"]
        batch["request_counts"] |= {"completed": len(fine), "failed": len(bad)}
        batch |= {"status": status, f"{status}_at": int(time.time())}


def faulty_lines(lines: list[bytes]) -> list[Json]:
    """What is wrong with a batch's input file, line by line."""
    if not lines:
        return [{"code": "empty_file", "message": "The input file is empty.", "line": None, "param": None}]
    wrong, seen = [], set()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            same = row["custom_id"] in seen
            seen.add(row["custom_id"])
            fine = row["method"] == "POST" and row["url"] == "/v1/chat/completions" and isinstance(row["body"], dict)
            code = "duplicate_custom_id" if same else None if fine else "invalid_request"
        except (ValueError, KeyError, TypeError):
            code = "invalid_json_line"
        if code:
            wrong.append({"code": code, "message": f"Line {number}: {code}.", "line": number, "param": None})
    return wrong


@cache
def _instance(schema: str, seed: str, words: str) -> str:
    return json.dumps(instance(json.loads(schema), random.Random(seed), words))


# -- faults ----------------------------------------------------------------------------------------------------------
REFUSALS: dict[str, Callable[[str, str], Refused]] = {  # (as a duration, in seconds)
    "429": lambda d, s: Refused(429, "Rate limit reached.", "rate_limit_exceeded", retry_after=s),
    "429_ratelimit": lambda d, s: Refused(
        429, "Rate limit reached.", "rate_limit_exceeded", x_ratelimit_limit_requests="60",
        x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests=d),
    "429_bare": lambda d, s: Refused(429, "Rate limit reached.", "rate_limit_exceeded"),
    "quota": lambda d, s: Refused(429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
    "500": lambda d, s: Refused(500, "The server had an error while processing your request.", kind="server_error"),
    "503": lambda d, s: Refused(503, "The engine is currently overloaded.", kind="server_error"),
    "401": lambda d, s: Refused(401, "Incorrect API key provided.", "invalid_api_key"),
    "404": lambda d, s: Refused(404, "The model does not exist.", "model_not_found"),
    "400": lambda d, s: Refused(400, "Invalid request."),
    "too_long": lambda d, s: Refused(400, "The maximum context length is 8192 tokens.", "context_length_exceeded"),
}  # fmt: skip


async def _hang(server: Server, request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(3600)
    return web.Response()


async def _drop(server: Server, request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _drop_midway(server: Server, request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-length": "1000", "content-type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"id": "chatcmpl-cut", "choices": [')
    assert request.transport is not None
    request.transport.close()
    return response


async def _html(server: Server, request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html><body>Sign in to the network</body></html>", content_type="text/html")


async def _redirect(server: Server, request: web.Request) -> web.StreamResponse:
    return web.Response(status=307, headers={"location": f"http://localhost:{server.port}/elsewhere"})


WIRE = {"hang": _hang, "drop": _drop, "drop_midway": _drop_midway, "html": _html, "redirect": _redirect}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--log", type=Path, help="append a line for each question asked and answered")
    parser.add_argument("--fail", action="append", default=[], metavar="KIND=P", help="a fault with its probability")
    parser.add_argument("--rpm", type=float, help="requests a minute beyond which 429 is answered")
    parser.add_argument("--fast", action="store_true", help="for benchmarks: check nothing, keep nothing")
    given = parser.parse_args()
    server = Server(given.port, given.fast)
    server.latency, server.log = given.latency, given.log
    server.limit(given.rpm)
    for fault in given.fail:
        kind, _, p = fault.partition("=")
        server.fail(kind, p=float(p or 1))
    with server:
        print(server.url, flush=True)
        try:
            server._thread.join()
        except KeyboardInterrupt:
            sys.exit(130)


if __name__ == "__main__":
    main()
