"""How fast one may ask: in-flight limit by additive increase and multiplicative decrease, and per-minute rates.

The limit starts small, doubles each round trip until the endpoint first complains, then grows by one a round trip and
is halved by a complaint (Chiu and Jain 1989; TCP's slow start). Rates are token buckets; an endpoint's own rate-limit
headers, where it sends any, set them. See https://platform.openai.com/docs/guides/rate-limits (headers).
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from curation.models.reply import Left

START = 64
PATIENCE_S = 900.0  # a longer wait (a daily limit) is for the next run
SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def span(text: str) -> float | None:
    """Seconds of "6m0s", "20ms", "1.5" (seconds); None for anything else."""
    parts = SPAN.findall(text)
    if parts and "".join(n + unit for n, unit in parts) == text.strip():
        return sum(float(n) * SECONDS[unit] for n, unit in parts)
    try:
        seconds = float(text)
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


class Bucket:
    """What may be used: `level` now, refilled at `rate` a second up to `most`. Without a limit it is never empty."""

    def __init__(self, per_minute: float | None) -> None:
        self.own = self.most = per_minute or math.inf  # the recipe's limit; an endpoint's own may only be lower
        self.rate = self.own / 60
        self.level, self.at = max(1.0, self.rate), time.monotonic()

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be used. More than the bucket ever holds waits until it is full."""
        if self.rate == math.inf:
            return 0.0
        self.level = min(self.most, self.level + (now - self.at) * self.rate)
        self.at = now
        return max(0.0, (min(amount, self.most) - self.level) / self.rate)

    def told(self, limit: float, remaining: float, reset_s: float, now: float) -> None:
        """What a reply's headers say: of `limit`, `remaining` is left, and it is full again in `reset_s`."""
        if limit <= 0:
            return
        self.wait(0, now)
        refill = (limit - remaining) / reset_s if reset_s > 0 and limit > remaining else limit / 60
        self.rate, self.most, self.at = min(refill, self.own / 60), min(limit, self.own), now
        self.level = min(self.level, remaining)


class Pace:
    """One for each endpoint. `enter` before a request, `leave` after it, `slow` when it was turned away."""

    def __init__(self, most: int, requests_per_minute: float | None = None, tokens_per_minute: float | None = None):
        self.most, self.limit, self.in_flight = most, float(min(most, START)), 0
        self.growing = True
        self.until = self.cut_at = 0.0
        self.asks, self.tokens = Bucket(requests_per_minute), Bucket(tokens_per_minute)
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    async def enter(self, tokens: float) -> float:
        """Wait for a place and for the rates; returns the time of starting. First come, first served."""
        async with self._turn:
            while self.in_flight >= int(self.limit):
                self._freed.clear()
                await self._freed.wait()
            while True:
                now = time.monotonic()
                wait = max(self.until - now, self.asks.wait(1, now), self.tokens.wait(tokens, now))
                if wait <= 0:
                    break
                if wait > PATIENCE_S:
                    raise Left(f"the endpoint's rate limit is used up for {wait / 60:.0f} minutes")
                await asyncio.sleep(min(wait, 5.0))
            self.asks.level -= 1
            self.tokens.level -= tokens
            self.in_flight += 1
            return now

    def leave(self, fine: bool) -> None:
        """A request is over; `fine` ones let the limit grow, if others wait to start."""
        if fine and self._turn.locked():
            self.limit = min(self.most, self.limit + (1.0 if self.growing else 1.0 / self.limit))
        self.in_flight -= 1
        self._freed.set()

    def slow(self, started: float, retry_after: float | None) -> None:
        """The endpoint is overloaded. Requests that started before the last cut tell nothing new."""
        now = time.monotonic()
        if started >= self.cut_at:
            self.limit, self.growing, self.cut_at = max(1.0, self.limit / 2), False, now
        if retry_after:
            self.until = max(self.until, now + min(retry_after, 600.0))

    def heed(self, headers: Mapping[str, str]) -> None:
        """Rate-limit headers, if there are any."""
        for what, bucket in (("requests", self.asks), ("tokens", self.tokens)):
            limit, left, reset = (headers.get(f"x-ratelimit-{k}-{what}", "") for k in ("limit", "remaining", "reset"))
            if limit.isdecimal() and left.isdecimal():
                bucket.told(float(limit), float(left), span(reset) or 0.0, time.monotonic())


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds an endpoint asks to wait: retry-after-ms, retry-after (seconds or a date, RFC 9110), else the resets."""
    if (ms := span(headers.get("retry-after-ms", ""))) is not None:
        return ms / 1000
    said = headers.get("retry-after", "")
    if not said:
        empty = [k for k in ("requests", "tokens") if headers.get(f"x-ratelimit-remaining-{k}") == "0"]
        resets = [span(headers.get(f"x-ratelimit-reset-{k}", "")) for k in empty]
        return max((r for r in resets if r is not None), default=None)
    try:
        seconds = span(said)
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time()) if seconds is None else seconds
    except ValueError:
        return None
