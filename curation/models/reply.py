"""What an endpoint's reply says: the answer, the reasoning beside it, the tokens; and how asking ends without one."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from curation.errors import DataError
from curation.types import Json

CAP = 1 << 20  # bytes of a reply that are read: 100,000 tokens are half of it
FENCE = re.compile(r"\A\s*```[a-z]*\s*\n(.*?)\n?\s*```\s*\Z", re.S)
THINK = re.compile(r"\A\s*(?:<think>)?(.*?)</think>\s*", re.S)  # some chat templates open it themselves


class Left(Exception):  # noqa: N818 - not a fault: the next run asks again
    """A question without an answer in this run, and why: the endpoint failed, or the budget is spent."""


class Denied(Exception):  # noqa: N818
    """The endpoint will not answer this question, whenever it is asked."""


class Halt(DataError):  # noqa: N818
    """The endpoint will not answer any question as things are."""


class Turned(Exception):  # noqa: N818
    """One attempt failed in a way that may pass."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


class Reply(NamedTuple):
    """kind: ok, truncated (at the most tokens), refused, filtered (by the endpoint), denied, empty, too_large. `text`
    is what was said all the same; `reasoning` the thinking that came apart from the answer, or in <think> before it."""

    kind: str
    text: str = ""
    reasoning: str = ""
    detail: str = ""


def envelope(raw: bytes) -> Json | None:
    """The chat completion in `raw`, None if there is none (an error page, a cut connection)."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    choices = found.get("choices") if isinstance(found, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return found if isinstance(first, dict) and isinstance(first.get("message"), dict) else None


def denial(why: str) -> bytes:
    """What is stored for a question that the endpoint will not answer, whenever it is asked."""
    return json.dumps({"denied": why}).encode()


def tokens(found: Json) -> tuple[int, int, int]:
    """Tokens in, out, and how many of those in were cached, as the server counted them; 0 where it says nothing."""
    usage = _object(found.get("usage"))
    details = _object(usage.get("prompt_tokens_details"))
    counts = usage.get("prompt_tokens"), usage.get("completion_tokens"), details.get("cached_tokens")
    asked, said, cached = (n if isinstance(n, int) and 0 < n < 1 << 40 else 0 for n in counts)
    return asked, said, min(cached, asked)


def read(raw: bytes) -> Reply:
    """What a stored reply says."""
    if len(raw) >= CAP:
        return Reply("too_large", detail=f"the reply has {CAP >> 20} MB or more")
    found = envelope(raw)
    if found is None:
        if raw.startswith(b'{"denied": '):
            return Reply("denied", detail=json.loads(raw)["denied"])
        return Reply("empty", detail="the stored reply is no chat completion")
    choice = found["choices"][0]
    message = choice["message"]
    text = _text(message.get("content"))
    reasoning = _text(message.get("reasoning")) or _text(message.get("reasoning_content"))
    if m := THINK.match(text):
        text, reasoning = text[m.end() :], reasoning or m[1].strip()
    if fenced := FENCE.match(text):
        text = fenced[1]
    if said := _text(message.get("refusal")):
        return Reply("refused", text, reasoning, f"the model refuses: {said:.200}")
    reason = choice.get("finish_reason")
    if reason == "content_filter":
        return Reply("filtered", text, reasoning, "the endpoint's content filter stopped the reply")
    if reason == "length":
        return Reply("truncated", text, reasoning, "the reply was cut off at the most tokens; raise max_tokens")
    if not text.strip():
        return Reply("empty", text, reasoning, "the reply is empty")
    return Reply("ok", text, reasoning)


def _object(found: Any) -> Json:
    return found if isinstance(found, dict) else {}


def _text(content: Any) -> str:
    """A text, whole or in parts; half a character (a lone surrogate) becomes a question mark."""
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content.encode("utf-8", "replace").decode() if isinstance(content, str) else ""
