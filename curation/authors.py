"""Models as authors of drafts: what each is told, whom it asks, what it costs. See `curation.draft` for what is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from curation.dialogue import Outcome, Told, converse
from curation.errors import UsageError
from curation.ids import make_id
from curation.media import MediaError
from curation.models.answers import Answer, Answers, Question
from curation.models.ask import OVER_BUDGET, Asker, Bill, Budget
from curation.models.endpoint import Model, load_model
from curation.models.frames import Moments, asked, cache_path, fill, pictures
from curation.models.outcome import Denied, Left
from curation.recipe import Recipe
from curation.store import Workspace, now
from curation.tasks import TaskPack
from curation.types import Clip, Draft, Json, Refusal, Source


@dataclass(frozen=True)
class Subject:
    """A clip to write about: its resolved event (None in a pre_event clip) and its source's attributes."""

    clip: Clip
    event: Json | None
    attributes: Json
    source: Source | None = None


@dataclass(frozen=True)
class Todo:
    """One draft that is due: `draft` has no value yet; `parents` are its parents' values, by task, as far as
    its author is told them."""

    subject: Subject
    draft: Draft
    parents: Json
    earlier: str = ""  # the text that a re-draft is to mend


def load_authors(recipe: Recipe, packs: dict[str, TaskPack]) -> dict[str, Model | None]:
    """Who writes each task: a model of the recipe, or None, the template. Raises UsageError."""
    given, named = recipe["draft"], recipe["draft"]["models"]
    said = given["author"] if isinstance(given["author"], dict) else dict.fromkeys(packs, given["author"])
    if unknown := sorted(set(said) - set(packs)):
        raise UsageError(f"draft.author: '{unknown[0]}' is not among the tasks: {', '.join(packs)}")
    models = {name: load_model(name, one) for name, one in named.items()}
    authors: dict[str, Model | None] = {}
    for name, pack in packs.items():
        author = said.get(name, "template")
        if author != "template" and author not in models:
            raise UsageError(f"draft.author: no '{author}' under draft.models; there: {', '.join(models) or 'none'}")
        if pack.dealt and not isinstance(given["author"], dict):
            author = "template"  # options are dealt whoever wrote the answers
        if author == "template" and pack.template is None:
            raise UsageError(
                f"{pack.path}: no template.json, so the template author cannot write '{name}'; name a model"
            )
        if author != "template" and (pack.dealt or not pack.prompt):
            why = "its questions are dealt over all clips" if pack.dealt else "it has no prompt.md"
            raise UsageError(f"draft.author.{name}: a model cannot write '{name}': {why}; see schemas/README.md")
        authors[name] = models.get(author)
    unpriced = [m.name for m in authors.values() if m and m.price is None]
    if unpriced and given["budget_usd"] is not None:
        raise UsageError(
            f"draft.models.{unpriced[0]}: a budget needs a price; say price: {{in: …, out: …}} (USD per million)"
        )
    return authors


def model_draft(pack: TaskPack, model: Model, subject: Subject, parents: list[Draft]) -> Draft:
    """The draft that is due from a model, without its value. Not told the event, it is not told what tells it, either:
    texts by an author who knew it. `informed` says whether the label reached it in any way."""
    shown = [p for p in parents if model.event or not p.informed]
    spec: Json = {
        "author": "model",
        "model": model.model,
        "prompt": pack.prompt_id,
        "schema": pack.schema_id,
        "frames": model.frames and {**model.frames.__dict__, "as": model.video},
        "params": model.params,
        "max_tokens": model.max_tokens,
        "structured": model.structured,
        "event": make_id("event", subject.event) if model.event else None,
        "metadata": make_id("metadata", metadata(model, subject)),
    }
    informed = model.event or any(p.informed for p in shown)
    above = tuple(p.id for p in shown)
    return Draft(subject.clip.id, pack.name, None, spec, model.model, above, model.sample, informed, pack.prompt_id,
                 pack.schema_id)  # fmt: skip


def metadata(model: Model, subject: Subject) -> Json:
    """The attributes that the recipe lets a model see: short values, and none that names the source."""
    if not model.metadata:
        return {}
    source = subject.source
    names = {source.key, Path(source.uri).stem, Path(source.uri).name, source.drive, source.upload} if source else set()
    secret = {str(n).casefold() for n in names if n and len(str(n)) > 3}
    told = {}
    for name, value in sorted(subject.attributes.items()):
        plain = isinstance(value, (int, float, bool)) or (isinstance(value, str) and len(value) <= 80)
        named = isinstance(model.metadata, bool) or name in model.metadata
        if plain and named and value != "" and not any(s in str(value).casefold() for s in secret):
            told[name] = value
    return told


def told(model: Model, todo: Todo) -> Told:
    spec = todo.draft.spec
    event = todo.subject.event if model.event else None
    return Told(event, metadata(model, todo.subject), todo.parents, tuple(spec.get("findings", ())), todo.earlier)


def answered(todo: Todo, outcome: Outcome) -> Draft | Refusal:
    """The draft with its value and what it cost; or the refusal, which names the stored reply."""
    answers, draft = outcome.answers, todo.draft
    key = answers[-1].key
    if outcome.reason:
        detail = f"{draft.clip_id}: {draft.task} by {draft.author}: {outcome.detail:.300} (reply kept as {key})"
        return Refusal("draft", f"{draft.clip_id}/{draft.task}", outcome.reason, detail, now())
    return replace(
        draft,
        value=outcome.value,
        request_key=key,
        tokens_in=sum(a.tokens_in for a in answers),
        tokens_out=sum(a.tokens_out for a in answers),
        cost_usd=sum(a.cost_usd or 0.0 for a in answers),
        written_at=now(),
    )


def refused(todo: Todo, reason: str, detail: str) -> Refusal:
    draft = todo.draft
    return Refusal("draft", f"{draft.clip_id}/{draft.task}", reason, f"{draft.clip_id}: {draft.task}: {detail}", now())


Keep = Callable[[Draft | Refusal], None]


async def talk(asker: Asker, dialogue: Generator[Question, Answer, Outcome]) -> Outcome:
    """A dialogue with an endpoint, to its end."""
    try:
        question = next(dialogue)
        while True:
            question = dialogue.send(await asker.ask(question))
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome


class Desk:
    """Where models write: the shared store of answers, an asker for each model, the bill and the budget.

    `left` are the ids of drafts without an answer in this run, `stopped` says why.
    """

    waits = True  # what builds on a draft that was left waits for it

    def __init__(self, ws: Workspace, recipe: Recipe) -> None:
        self.ws, self.recipe = ws, recipe
        self.left: set[str] = set()
        self.stopped: set[str] = set()
        self.bill = Bill()
        self._stack = ExitStack()
        self._askers: dict[str, Asker] = {}

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @cached_property
    def answers(self) -> Answers:
        return self._stack.enter_context(closing(open_answers(self.ws)))

    @cached_property
    def budget(self) -> Budget:
        return Budget(self.recipe["draft"]["budget_usd"], self.answers.paid())

    @cached_property
    def _runner(self) -> asyncio.Runner:
        return self._stack.enter_context(asyncio.Runner())

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return self._stack.enter_context(ThreadPoolExecutor(self.recipe["workers"]))

    def write(self, pack: TaskPack, model: Model, todo: list[Todo], keep: Keep) -> None:
        """Have `model` write what is due; `keep` gets each draft or refusal as it comes. Raises DataError (Halt)."""
        allowed = []
        for one in todo:
            if reason := forbidden(model, one):
                keep(refused(one, "third_party", reason))
            else:
                allowed.append(one)
        if not allowed:
            return
        try:
            self._runner.run(self._write(pack, self._asker(model), allowed, keep))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    def _asker(self, model: Model) -> Asker:
        if model.name not in self._askers:
            from curation.models.wire import Client

            asker = Asker(model, self.answers, Client(model), self._fill, self.bill, self.budget)
            runner = self._runner
            self._stack.callback(lambda: runner.run(asker.client.close()))
            self._askers[model.name] = asker
        return self._askers[model.name]

    async def _write(self, pack: TaskPack, asker: Asker, todo: list[Todo], keep: Keep) -> None:
        coming = iter(todo)

        async def work() -> None:
            for one in coming:
                try:
                    dialogue = converse(pack, asker.model, one.subject.clip, told(asker.model, one))
                    keep(answered(one, await talk(asker, dialogue)))
                except Left as e:
                    self.left.add(one.draft.id)
                    self.stopped.add(str(e))
                except Denied as e:
                    keep(refused(one, "denied", str(e)))
                except MediaError as e:
                    keep(refused(one, e.reason, e.detail))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(asker.model.in_flight, len(todo))):
                group.create_task(work())

    async def _fill(self, raw: bytes) -> bytes:
        """A body with its frames in; what is not in the cache is decoded in a thread."""
        wanted = asked(raw)
        if not wanted:
            return raw
        kept = all(cache_path(self.ws.root, blob, times, *size).exists() for (blob, *size), times in wanted.items())
        if kept:
            return fill(raw, self._pictures)
        return await asyncio.get_running_loop().run_in_executor(self._threads, fill, raw, self._pictures)

    def _pictures(self, blob: str, times: Moments, height: int, quality: int) -> list[bytes]:
        return pictures(self.ws.root, self.ws.blob(blob), blob, times, height, quality)

    # -- what is told afterwards -------------------------------------------------------------------------------------
    @property
    def gate(self) -> str:
        """A spent budget is a person's to raise."""
        if OVER_BUDGET not in self.stopped:
            return ""
        return (
            f"The budget of {self.budget.most:g} USD is spent ({self.budget.spent:.4f} so far); {len(self.left)} "
            "drafts are left. Raise draft.budget_usd and run the same command again."
        )

    @property
    def failed(self) -> bool:
        return bool(self.stopped - {OVER_BUDGET})

    def notes(self) -> list[str]:
        why = sorted(self.stopped - {OVER_BUDGET})[:3]
        left = [f"{len(self.left)} drafts are left for the next run, nothing is lost: {'; '.join(why)}"] if why else []
        return [*left, *bill_lines(self.bill.rows())]

    def data(self) -> Json:
        return {"bill": self.bill.rows()} if self.bill.lines else {}


def open_answers(ws: Workspace) -> Answers:
    """The store of paid answers, beside the workspaces that share it."""
    return Answers(ws.root.parent / "llm.sqlite", str(ws.root))


def forbidden(model: Model, todo: Todo) -> str:
    """Why the clip's frames may not go to the model's endpoint, or nothing."""
    source = todo.subject.source
    if not (model.frames and model.third_party) or (source and source.third_party_endpoint):
        return ""
    return f"{model.base_url} is a third party, and its source's third_party_endpoint is no"


def bill_lines(rows: list[Json]) -> list[str]:
    """A bill for people, one line for each task, model and prompt version, dearest first."""
    lines = []
    for row in sorted(rows, key=lambda r: -(r["cost_usd"] or 0)):
        usd = "price unknown" if row["cost_usd"] is None else f"{row['cost_usd']:.4f} USD"
        more = "".join(f", {row[k]} {k}" for k in ("stored", "repairs", "retries") if row[k])
        lines.append(
            f"{row['task']} by {row['model']} (prompt {row['prompt'].split('_')[1][:8]}): {row['asked']} asked{more}, "
            f"{row['tokens_in']} tokens in, {row['tokens_out']} out, {usd}"
        )
    return lines
