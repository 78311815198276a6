"""Asking: the store first, then the endpoint, at its pace, again where that may help, never beyond the budget."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from curation.models.answers import Answer, Answers, Question
from curation.models.endpoint import Model
from curation.models.frames import Fill
from curation.models.money import Bill, Budget, cost, estimate
from curation.models.pace import Pace
from curation.models.reply import CAP, Denied, Halt, Left, Turned, envelope, tokens
from curation.store import now

if TYPE_CHECKING:
    from curation.models.wire import Client

GIVE_UP = 8  # so many questions in a row without an answer: the endpoint is down


class Asker:
    """Asks one model. `fill` puts the frames into a body."""

    def __init__(self, model: Model, client: Client, answers: Answers, fill: Fill, bill: Bill, budget: Budget) -> None:
        self.model, self.client, self.answers, self.fill = model, client, answers, fill
        self.bill, self.budget = bill, budget
        self.pace = Pace(model.in_flight, model.requests_per_minute, model.tokens_per_minute)
        self.fruitless = self.denials = 0
        self.scale: float | None = None  # the most tokens that were counted for one that was estimated
        self.down = ""

    async def ask(self, q: Question) -> Answer:
        """The answer to `q`, from the store if it is there. Raises Left, Denied, Halt."""
        while not self.answers.claim(q.key):
            await asyncio.sleep(0.2)
        try:
            known = self.answers.get(q.key)
            answer = known or await self._send(q)
            if known is None:
                self.answers.put(q, answer)
        finally:
            self.answers.release(q.key)
        self.bill.add(q, answer, stored=known is not None)
        return answer

    def _dear(self, likely: float) -> float:
        """USD a request may cost. Until an answer shows how the endpoint counts, one at a time has all there is."""
        usd = cost(self.model, likely * (self.scale or 1.0), self.model.max_tokens) or 0.0
        return usd if self.scale or self.budget.most is None else max(usd, self.budget.room())

    async def _send(self, q: Question) -> Answer:
        """Attempts until one is answered. Every attempt keeps to the pace and to the budget."""
        likely = estimate(self.model, q.raw)
        for attempt in range(1, self.model.attempts + 1):
            if self.down:
                raise Left(self.down)
            async with self.budget.reserved(lambda: self._dear(likely)):
                try:
                    answer = await self._attempt(q, likely, attempt)
                    self.fruitless = self.denials = 0
                    self.scale = max(self.scale or 1.0, answer.tokens_in / likely)
                    self.budget.spent += answer.cost_usd or 0.0
                    return answer
                except Turned as turned:
                    why, wait = str(turned), turned.wait
                    self.bill.line(q).retries += 1
                except Denied as e:
                    self.denials += 1
                    if self.denials >= GIVE_UP and not self.answers.typical(q):
                        raise Halt(f"{self.model.base_url} turns everything away: {e}") from None
                    raise
            if attempt < self.model.attempts:
                await asyncio.sleep(random.uniform(0.5, 1.5) * (0.1 if wait else min(30.0, 0.5 * 2**attempt)))
        self.fruitless += 1
        if self.fruitless >= GIVE_UP:
            self.down = f"{self.model.base_url} does not answer: {why}; is it running, and base_url right?"
        raise Left(why)

    async def _attempt(self, q: Question, likely: float, attempt: int) -> Answer:
        started = await self.pace.enter(likely)
        fine = False
        try:
            filled = await self.fill(q.raw)
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
        counted = (asked, out, cached) if asked or out else (likely, self.model.max_tokens)  # so that a budget holds
        seconds = round(time.monotonic() - began, 3)
        return Answer(q.key, said, asked, out, cost(self.model, *counted), seconds, attempt, now())
