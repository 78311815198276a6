"""What drafting would ask and cost, before it does: the same round as `draft.run`, with a desk that asks nobody."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from curation import draft
from curation.authors import Todo, forbidden, frame_times, refused, told
from curation.desk import open_answers, words
from curation.dialogue import first_question
from curation.models.answers import Question
from curation.models.ask import cost, dumps, estimate
from curation.models.endpoint import Model
from curation.recipe import Recipe
from curation.release import write_atomic
from curation.store import Workspace
from curation.tasks import TaskPack
from curation.types import Draft, Json, Progress, Refusal, Report

SHOWN = 3  # clips of which a dry run shows what would be sent
UNWRITTEN, LATER = 600, "(to be written)"  # tokens of a parent that is not written yet; how it is shown


@dataclass
class Expected:
    """A line of the forecast. `dear_usd`: were every reply as long as it may be; None: no price known."""

    asked: int = 0
    stored: int = 0
    tokens_in: float = 0.0
    tokens_out: float = 0.0
    cost_usd: float | None = 0.0
    dear_usd: float | None = 0.0


class Forecast:
    """Stands in for the desk. Drafts of models stay unwritten; what builds on them is counted all the same."""

    waits = False

    def __init__(self, ws: Workspace, shown: Path | None) -> None:
        self.ws, self.shown = ws, shown
        self.left: set[str] = set()
        self.lines: dict[tuple[str, str, str], Expected] = {}
        self.refused: Counter[str] = Counter()
        self.clips: set[str] = set()
        self.answers = open_answers(ws)

    def write(self, pack: TaskPack, model: Model, todo: list[Todo], keep: Callable[[Draft | Refusal], None]) -> None:
        line = self.lines.setdefault((pack.name, model.model, pack.prompt_id), Expected())
        typical = self.answers.typical(model.model, pack.name, pack.prompt_id)
        for one in todo:
            if reason := forbidden(model, one):
                keep(refused(one, "third_party", reason))
                continue
            self.left.add(one.draft.id)
            missing = len(one.draft.parents) - len(one.parents)
            if missing:
                later = {p: LATER for p in pack.spec["parents"] if p != "event" and p not in one.parents}
                one = replace(one, parents={**one.parents, **later})
            question = first_question(pack, model, one.subject.clip, told(model, one))
            if not missing and self.answers.get(question.key):
                line.stored += 1
                continue
            asked, said = typical or (
                estimate(model, dumps(question.body)) * 0.75 + missing * UNWRITTEN,
                model.max_tokens / 4,
            )
            line.asked += 1
            line.tokens_in += asked
            line.tokens_out += said
            line.cost_usd = _plus(line.cost_usd, cost(model, asked, said, batch=model.batch))
            line.dear_usd = _plus(line.dear_usd, cost(model, asked, model.max_tokens, batch=model.batch))
            self._show(one, question)

    def _show(self, one: Todo, question: Question) -> None:
        """For the first clips: the request as it would be sent (frames as references), its words, its frames."""
        clip = one.subject.clip
        if self.shown is None or (len(self.clips) >= SHOWN and clip.id not in self.clips):
            return
        self.clips.add(clip.id)
        at = self.shown / clip.id / one.draft.task
        write_atomic(at.with_suffix(".json"), json.dumps(question.body, indent=1, ensure_ascii=False).encode())
        write_atomic(at.with_suffix(".txt"), words(question.body).encode())
        frames = one.draft.spec["frames"]
        if frames:
            from curation.preview import contact_sheet

            times = frame_times(one.draft.spec, clip)
            contact_sheet(self.ws.blob(clip.blob), at.with_suffix(".png"), times=times, height=frames["height"])


def _plus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b


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
    desk = Forecast(ws, shown)
    known: dict[str, Draft] = {}

    def add(one: Draft) -> bool:
        return known.setdefault(one.id, one) is one

    report, _ = draft.draft_all(ws, recipe, desk, add, limit, progress)
    desk.answers.close()
    rows = [{"task": t, "model": m, "prompt": p, **line.__dict__} for (t, m, p), line in desk.lines.items()]
    total = sum(r["asked"] for r in rows)
    notes = [_line(r) for r in rows]
    if shown is not None:
        notes += report.notes
        notes += [f"prompts, requests and frames of {len(desk.clips)} clips: {shown}"] * bool(desk.clips)
    counts = {"clips": report.counts.get("clips", 0), "requests": total, "stored": sum(r["stored"] for r in rows)}
    return Report("forecast", counts, notes, {"forecast": rows})


def _line(row: Json) -> str:
    if not row["asked"]:
        return f"{row['task']} by {row['model']}: nothing to ask, {row['stored']} answers are stored"
    usd = (
        "price unknown"
        if row["cost_usd"] is None
        else f"about {row['cost_usd']:.4f} USD, {row['dear_usd']:.4f} with the longest replies"
    )
    return (
        f"{row['task']} by {row['model']}: {row['asked']} requests ({row['stored']} stored already), about "
        f"{row['tokens_in']:,.0f} tokens in, {row['tokens_out']:,.0f} out, {usd}"
    )
