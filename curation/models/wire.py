"""The wire: one HTTP exchange through the `openai` package's aiohttp client, and what its failure means.

The body is bytes that are ready, with the frames in. The package's typed methods walk through every frame's text, its
untyped `post` builds a request model and its options anew each time, and the default backend scans its pool for each
request: tests/bench/draft.py has the figures.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import aiohttp
import httpx2
import openai

from curation.models.endpoint import Model
from curation.models.pace import retry_after
from curation.models.reply import CAP, Denied, Halt, Turned


class Client:
    """A model's endpoint. Redirects are not followed, and what is on this machine is reached without a proxy: frames
    go nowhere else."""

    def __init__(self, model: Model) -> None:
        self.model = model
        limits = httpx2.Limits(max_connections=model.in_flight + 8, max_keepalive_connections=model.in_flight + 8)
        self.http = openai.DefaultAioHttpClient(
            limits=limits, follow_redirects=False, timeout=None, trust_env=model.third_party
        )
        self.url = httpx2.URL(model.base_url.rstrip("/") + "/chat/completions")
        self.headers = {"Authorization": f"Bearer {model.key()}", "Content-Type": "application/json"}

    async def close(self) -> None:
        await self.http.aclose()

    async def send(self, raw: bytes) -> tuple[bytes, Mapping[str, str]]:
        """Body (CAP bytes at most) and headers of a 200 reply, whole in time. Raises Turned, Denied, Halt."""
        body = bytearray()
        try:
            async with (
                asyncio.timeout(self.model.timeout_s),
                self.http.stream("POST", self.url, content=raw, headers=self.headers) as got,
            ):
                async for part in got.aiter_bytes():
                    body += part
                    if len(body) >= CAP:
                        break
        except TimeoutError:
            raise Turned(f"no reply within {self.model.timeout_s:g} s") from None
        except (httpx2.HTTPError, aiohttp.ClientError) as e:  # malformed replies the package does not translate
            raise Turned(str(e).partition(" ssl:")[0] or type(e).__name__) from None
        said = bytes(body[:CAP])
        if got.status_code >= 300:
            raise failure(got.status_code, got.headers, said.decode("utf-8", "replace"), self.model)
        kind = got.headers.get("content-type", "")
        if "json" not in kind:
            raise Turned(f"the reply is {kind.split(';')[0] or 'of no stated type'}, no JSON; is base_url right?")
        return said, got.headers


def failure(status: int, headers: Mapping[str, str], text: str, model: Model) -> Exception:
    """What an HTTP error means for the question: ask again (Turned), never (Denied), or nothing goes (Halt)."""
    try:
        said = json.loads(text)
        error = said.get("error", said) if isinstance(said, dict) else {}
    except ValueError:
        error = {}
    why = str(error.get("message", text) if isinstance(error, dict) else error)
    code = error.get("code") if isinstance(error, dict) else None
    if model.key_env:
        why = why.replace(model.key(), "(the key)")
    why = why.encode("utf-8", "replace").decode()
    line = f"HTTP {status}: {' '.join(why.split()).rstrip('. '):.300}"
    where = f"{model.base_url}: {line}"
    if status == 402 or code == "insufficient_quota":
        return Halt(f"{where}; the account is out of funds")
    if status in (408, 409, 425, 429) or status >= 500:
        return Turned(line, retry_after(headers))
    check = {401: model.key_env or "the key (key_env)", 404: f"base_url and model ({model.model})"}
    check |= {403: check[401]} | dict.fromkeys(range(300, 400), "base_url: it redirects, which is not followed")
    return Halt(f"{where}; check {check[status]}") if status in check else Denied(line)
