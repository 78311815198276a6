"""What drafting would ask and cost, before it does: the same round as `draft.run`, at a desk that asks nobody."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from curation import draft
from curation.desk import Desk, opened, words
from curation.models.answers import Answer, Question
from curation.models.endpoint import Model
from curation.models.frames import asked
from curation.models.money import cost, estimate
from curation.models.reply import Left
from curation.recipe import Recipe
from curation.release import write_atomic
from curation.store import Workspace
from curation.types import Progress, Report

SHOWN = 3  # questions of each task of which a dry run shows what would be sent


class Counting:
    """Stands in for an Asker: answers from the store, and counts the rest in the bill. `dear_usd` is what they cost
    if every reply is as long as it may be."""

    def __init__(self, shown: Path | None, model: Model, desk: Desk) -> None:
        self.shown, self.model, self.desk = shown, model, desk
        self.dear_usd = 0.0

    async def ask(self, q: Question) -> Answer:
        if (known := self.desk.answers.get(q.key)) is not None:
            self.desk.bill.add(q, known, stored=True)
            return known
        line, model = self.desk.bill.line(q), self.model
        if line.asked < SHOWN and self.shown is not None:
            self._show(q, self.shown / q.task / str(line.asked + 1))
        typical = self.desk.answers.typical(q)
        tokens_in, tokens_out = typical or (estimate(model, q.raw) * 0.75, model.max_tokens / 4)
        line.add(tokens_in, tokens_out, cost(model, tokens_in, tokens_out, batch=model.batch))
        self.dear_usd += cost(model, tokens_in, max(model.max_tokens, tokens_out), batch=model.batch) or 0.0
        raise Left

    def _show(self, q: Question, at: Path) -> None:
        """A request as it would be sent (frames as references), its words, its frames."""
        write_atomic(at.with_suffix(".json"), json.dumps(q.body, indent=1, ensure_ascii=False).encode())
        write_atomic(at.with_suffix(".txt"), words(q.body).encode())
        for (blob, height, _), times in asked(q.raw).items():
            from curation.preview import contact_sheet

            contact_sheet(self.desk.ws.blob(blob), at.with_suffix(".png"), times=times, height=height)


def forecast(
    ws: Workspace,
    recipe: Recipe,
    *,
    limit: int | None = None,
    shown: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Requests, tokens and price of what `draft.run` would ask; with `shown`, the first prompts and frames go there.

    Nothing is written to the workspace and nothing is sent. What depends on drafts yet to come is estimated.
    """
    with opened(ws, recipe, partial(Counting, shown)) as desk:
        done = draft.draft_all(ws, recipe, desk, lambda one: True, limit, progress)
    rows, dear = desk.bill.rows(), sum(asker.dear_usd for asker in desk.askers.values())
    asked_ = sum(r["asked"] for r in rows)
    notes = desk.bill.told()
    if dear:
        notes.append(f"{dear:.4f} USD at most, were every reply as long as it may be")
    if shown is not None:
        notes += done.notes(recipe)
        notes += [f"prompts, requests and frames of the first questions: {shown}"] * bool(asked_)
    counts = {"clips": done.counts["clips"], "requests": asked_, "stored": sum(r["stored"] for r in rows)}
    return Report("forecast", counts, notes, {"forecast": rows, "dear_usd": dear})
