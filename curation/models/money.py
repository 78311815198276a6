"""What asking costs: tokens and USD, the bill of a run, the budget of a workspace."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from curation.models.answers import Answer, Question
from curation.models.endpoint import Model
from curation.models.frames import REF
from curation.models.reply import Left
from curation.types import Json

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


def estimate(model: Model, raw: bytes) -> float:
    """Tokens of a body whose frames are references, on the high side: a token in three bytes, and what frames cost."""
    return len(raw) / 3 + model.image_tokens * sum(m[3].count(b",") + 1 for m in REF.finditer(raw))


@dataclass
class Line:
    """One line of a bill. `stored`: answers found in the store, paid before; `retries`: attempts that failed."""

    asked: int = 0
    stored: int = 0
    repairs: int = 0
    retries: int = 0
    tokens_in: float = 0
    tokens_out: float = 0
    cost_usd: float | None = 0.0

    def add(self, asked: float, said: float, usd: float | None) -> None:
        self.asked += 1
        self.tokens_in += asked
        self.tokens_out += said
        self.cost_usd = None if usd is None or self.cost_usd is None else self.cost_usd + usd


class Bill:
    """What a run used, by task, model and prompt version; repairs included."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str, str], Line] = defaultdict(Line)

    def line(self, q: Question) -> Line:
        return self.lines[q.task, q.body["model"], q.prompt_id]

    def add(self, q: Question, answer: Answer, stored: bool) -> None:
        line = self.line(q)
        line.repairs += q.turn > 0
        if stored:
            line.stored += 1
        else:
            line.add(answer.tokens_in, answer.tokens_out, answer.cost_usd)

    def rows(self) -> list[Json]:
        return [{"task": t, "model": m, "prompt": p, **line.__dict__} for (t, m, p), line in sorted(self.lines.items())]

    def told(self) -> list[str]:
        """The bill for people, one line for each task, model and prompt version, dearest first."""
        lines = []
        for row in sorted(self.rows(), key=lambda r: -(r["cost_usd"] or 0)):
            usd = "price unknown" if row["cost_usd"] is None else f"{row['cost_usd']:.4f} USD"
            more = "".join(f", {row[k]} {k}" for k in ("stored", "repairs", "retries") if row[k])
            lines.append(
                f"{row['task']} by {row['model']} (prompt {row['prompt'].split('_')[-1][:8]}): {row['asked']} asked"
                f"{more}, {row['tokens_in']:,.0f} tokens in, {row['tokens_out']:,.0f} out, {usd}"
            )
        return lines


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
