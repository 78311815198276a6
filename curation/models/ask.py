"""Asking: the store first, then the endpoint, at its pace, again where that may help, never beyond the budget."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curation.models.answers import Answer, Answers, Question
from curation.models.endpoint import Model
from curation.models.outcome import Denied, Halt, Left, Turned
from curation.models.pace import Pace
from curation.models.reply import CAP, envelope, tokens
from curation.store import now
from curation.types import Json

if TYPE_CHECKING:
    from curation.models.wire import Client

GIVE_UP = 8  # so many questions in a row without an answer: the endpoint is down
BATCH_PRICE = 0.5
OVER_BUDGET = "the budget is spent"


def cost(model: Model, asked: float, said: float, cached: float = 0, batch: bool = False) -> float | None:
    """USD for so many tokens in and out, None where no price is known."""
    if model.price is None:
        return None
    fresh, out = float(model.price["in"]), float(model.price["out"])
    old = float(model.price.get("cached", fresh))
    usd = ((asked - cached) * fresh + cached * old + said * out) / 1e6
    return usd * (BATCH_PRICE if batch else 1.0)


def dumps(body: Json) -> bytes:
    """A body as it is sent, but for its frames."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def estimate(model: Model, raw: bytes) -> float:
    """Tokens of a body whose frames are references, on the high side: a token in three bytes, and what frames cost."""
    from curation.models.frames import REF

    return len(raw) / 3 + model.image_tokens * sum(m[3].count(b",") + 1 for m in REF.finditer(raw))


@dataclass
class Line:
    """One line of a bill. `stored`: answers found in the store, paid before; `retries`: attempts that failed."""

    asked: int = 0
    stored: int = 0
    repairs: int = 0
    retries: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float | None = 0.0


class Bill:
    """What a run used, by task, model and prompt version; repairs included."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str, str], Line] = defaultdict(Line)

    def line(self, q: Question) -> Line:
        return self.lines[q.task, q.body["model"], q.prompt_id]

    def add(self, q: Question, answer: Answer, stored: bool) -> None:
        line = self.line(q)
        line.stored += stored
        line.repairs += q.turn > 0
        if not stored:
            line.asked += 1
            line.tokens_in += answer.tokens_in
            line.tokens_out += answer.tokens_out
            line.cost_usd = _sum(line.cost_usd, answer.cost_usd)

    def rows(self) -> list[Json]:
        return [
            {"task": task, "model": model, "prompt": prompt, **line.__dict__}
            for (task, model, prompt), line in sorted(self.lines.items())
        ]


def _sum(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b


class Asker:
    """Asks one model. `fill` puts the frames into a body; `budget_usd` is the payer's, all runs together."""

    def __init__(
        self,
        model: Model,
        answers: Answers,
        client: Client,
        fill: Callable[[bytes], Awaitable[bytes]],
        bill: Bill,
        budget: Budget,
    ) -> None:
        self.model, self.answers, self.client, self.fill, self.bill = model, answers, client, fill, bill
        self.budget = budget
        self.pace = Pace(model.in_flight, model.requests_per_minute, model.tokens_per_minute)
        self.fruitless = self.denials = 0
        self.scale: float | None = None  # the most tokens that were counted for one that was estimated
        self.down = ""

    async def ask(self, q: Question) -> Answer:
        """The answer to `q`, from the store if it is there. Raises Left, Denied, Halt."""
        while (known := self.answers.get(q.key)) is None:
            if self.answers.claim(q.key):
                known = self.answers.get(q.key)
                break
            await asyncio.sleep(0.2)
        if known is not None:
            self.answers.release(q.key)
            self.bill.add(q, known, stored=True)
            return known
        try:
            answer = await self._send(q)
            self.answers.put(q, answer)
        except BaseException:
            self.answers.release(q.key)
            raise
        self.bill.add(q, answer, stored=False)
        return answer

    def _dear(self, likely: float) -> float:
        """USD a request may cost. Until an answer shows how the endpoint counts, one at a time has all there is."""
        usd = cost(self.model, likely * (self.scale or 1.0), self.model.max_tokens) or 0.0
        return usd if self.scale or self.budget.most is None else max(usd, self.budget.room())

    async def _send(self, q: Question) -> Answer:
        """Attempts until one is answered. Every attempt keeps to the pace and to the budget."""
        raw = q.raw
        likely = estimate(self.model, raw)
        why = ""
        for attempt in range(1, self.model.attempts + 1):
            if self.down:
                raise Left(self.down)
            async with self.budget.reserved(lambda: self._dear(likely)):
                try:
                    answer = await self._attempt(raw, likely, attempt, q)
                    self.fruitless = self.denials = 0
                    self.scale = max(self.scale or 1.0, answer.tokens_in / likely)
                    self.budget.spent += answer.cost_usd or 0.0
                    return answer
                except Turned as turned:
                    why, wait = str(turned), turned.wait
                    self.bill.line(q).retries += 1
                except Denied as e:
                    self.denials += 1
                    if self.denials >= GIVE_UP and not self.answers.typical(q.body["model"], q.task, q.prompt_id):
                        raise Halt(f"{self.model.base_url} turns everything away: {e}") from None
                    raise
            if attempt < self.model.attempts:
                await asyncio.sleep(random.uniform(0.5, 1.5) * (0.1 if wait else min(30.0, 0.5 * 2**attempt)))
        self.fruitless += 1
        if self.fruitless >= GIVE_UP:
            self.down = f"{self.model.base_url} does not answer: {why}; is it running, and base_url right?"
        raise Left(why)

    async def _attempt(self, raw: bytes, likely: float, attempt: int, q: Question) -> Answer:
        started = await self.pace.enter(likely)
        fine = False
        try:
            filled = await self.fill(raw)
            began = time.monotonic()
            said, headers = await self.client.send(filled)
            fine = True
            self.pace.heed(headers)
        except Turned as turned:
            self.pace.slow(started, turned.wait)
            raise
        finally:
            self.pace.leave(fine)
        found = envelope(said)
        if found is None and len(said) < CAP:
            raise Turned("the reply is no chat completion")
        asked, out, cached = tokens(found or {})
        counted = (
            (asked, out, cached) if asked or out else (likely, self.model.max_tokens)
        )  # a budget holds all the same
        usd = cost(self.model, *counted)
        return Answer(q.key, said, asked, out, usd, round(time.monotonic() - began, 3), attempt, now())


class Budget:
    """What may be spent: `spent` so far by the payer, all runs together; `owed` to open batches and in flight, at the
    dearest."""

    def __init__(self, most: float | None, spent: float, owed: float = 0.0) -> None:
        self.most, self.spent, self.owed = most, spent, owed
        self._asking: dict[object, float] = {}
        self._freed = asyncio.Event()

    def room(self) -> float:
        """USD that are neither spent nor spoken for."""
        return float("inf") if self.most is None else self.most - self.spent - self.owed - sum(self._asking.values())

    @asynccontextmanager
    async def reserved(self, usd: Callable[[], float]) -> AsyncIterator[None]:
        """Room for one more request; waits while others may still turn out cheaper. Raises Left if there is none."""
        while self.room() < (dear := usd()):
            if not self._asking:
                raise Left(OVER_BUDGET)
            self._freed.clear()
            await self._freed.wait()
        self._asking[place := object()] = dear
        try:
            yield
        finally:
            del self._asking[place]
            self._freed.set()
