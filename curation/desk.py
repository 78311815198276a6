"""Where models write: the store of answers, the endpoints, the bill and the budget. What is due: `curation.draft`."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from curation.authors import Todo, answered, check_price, forbidden, refused, told
from curation.dialogue import Outcome, converse
from curation.errors import DataError, Refused, UsageError
from curation.models.answers import Answer, Answers, Question
from curation.models.ask import OVER_BUDGET, Asker, Bill, Budget, cost, dumps, estimate
from curation.models.endpoint import Model, body, load_model
from curation.models.frames import Moments, fill, kept, pictures
from curation.models.outcome import Denied, Left
from curation.models.reply import read
from curation.recipe import Recipe
from curation.store import Workspace
from curation.tasks import TaskPack
from curation.types import Draft, Json, Refusal

if TYPE_CHECKING:
    from curation.models.batch import Batches

Keep = Callable[[Draft | Refusal], None]
Dialogue = Generator[Question, Answer, Outcome]


async def talk(asker: Asker, dialogue: Dialogue) -> Outcome:
    """A dialogue with an endpoint, to its end."""
    try:
        question = next(dialogue)
        while True:
            question = dialogue.send(await asker.ask(question))
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome


class Desk:
    """The shared store of answers, an asker for each model, the bill and the budget.

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
        self._batches: dict[str, Batches] = {}

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, kind: object, e: BaseException | None, tb: object) -> None:
        with storing(self.ws):
            self._stack.close()
            if isinstance(e, sqlite3.Error):
                raise e

    @cached_property
    def answers(self) -> Answers:
        return self._stack.enter_context(closing(open_answers(self.ws)))

    @cached_property
    def budget(self) -> Budget:
        return Budget(self.recipe["draft"]["budget_usd"], self.answers.paid(), self.answers.owed())

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
        if model.batch:
            self._write_batched(pack, model, allowed, keep)
            return
        self._run(self._write(pack, model, self._asker(model), allowed, keep))

    def ask(self, model: Model, prompts: list[str], task: str) -> list[str | None]:
        """What `model` says to plain texts, in their order; None where there is no answer."""
        blind = replace(model, name=f"{model.name} without frames", frames=None, structured="none")
        said: list[str | None] = [None] * len(prompts)
        coming = iter(enumerate(prompts))

        async def work(asker: Asker) -> None:
            for n, prompt in coming:
                messages = [{"role": "user", "content": prompt}]
                question = Question(model.base_url, body(blind, messages, task, {}), model.sample, task, task)
                try:
                    said[n] = read((await asker.ask(question)).reply).text
                except (Left, Denied) as e:
                    self.stopped.add(str(e))

        async def all_of_them() -> None:
            asker = self._asker(blind)
            async with asyncio.TaskGroup() as group:
                for _ in range(min(model.in_flight, len(prompts))):
                    group.create_task(work(asker))

        self._run(all_of_them())
        return said

    def _run(self, coroutine: Coroutine[None, None, None]) -> None:
        try:
            self._runner.run(coroutine)
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

    async def _write(self, pack: TaskPack, model: Model, asker: Asker, todo: list[Todo], keep: Keep) -> None:
        coming = iter(todo)

        async def work() -> None:
            for one in coming:
                try:
                    dialogue = converse(pack, model, one.subject.clip, told(model, one))
                    keep(answered(one, await talk(asker, dialogue)))
                except Left as e:
                    self.left.add(one.draft.id)
                    self.stopped.add(str(e))
                except Denied as e:
                    keep(refused(one, "denied", str(e)))
                except Refused as e:
                    keep(refused(one, e.reason, e.detail))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(model.in_flight, len(todo))):
                group.create_task(work())

    def _write_batched(self, pack: TaskPack, model: Model, todo: list[Todo], keep: Keep) -> None:
        """Keep what batches have answered so far, and send one with what no batch was asked yet."""
        try:
            batches = self._batches_of(model)
        except Left as e:
            self.left |= {one.draft.id for one in todo}
            self.stopped.add(str(e))
            return
        due: dict[str, Question] = {}
        dear = 0.0
        for one in todo:
            missing = self._replay(batches, converse(pack, model, one.subject.clip, told(model, one)), one, keep)
            if missing is None:
                continue
            if missing.key not in due and not self.answers.batched(missing.key):
                raw = dumps(missing.body)
                try:
                    fill(raw, self._pictures)
                except Refused as e:
                    keep(refused(one, e.reason, e.detail))
                    continue
                most = cost(model, estimate(model, raw), model.max_tokens, batch=True) or 0.0
                if self.budget.room() < dear + most:
                    self.stopped.add(OVER_BUDGET)
                else:
                    due[missing.key] = missing
                    dear += most
            self.left.add(one.draft.id)
        if due:
            try:
                batches.submit(list(due.values()), dear)
            except Left as e:
                self.stopped.add(str(e))
            finally:
                self.budget.owed = self.answers.owed()

    def _batches_of(self, model: Model) -> Batches:
        if model.name not in self._batches:
            from curation.models.batch import Batches

            batches = Batches(model, self.answers, self._pictures)
            self._stack.callback(batches.close)
            batches.collect()
            self._batches[model.name] = batches
            self.budget.spent, self.budget.owed = self.answers.paid(), self.answers.owed()
        return self._batches[model.name]

    def _replay(self, batches: Batches, dialogue: Dialogue, one: Todo, keep: Keep) -> Question | None:
        """A dialogue as far as the store knows its answers: kept at its end; else the question that is open."""
        try:
            question = next(dialogue)
            while (known := self.answers.get(question.key)) is not None:
                self.bill.add(question, known, stored=known.key not in batches.taken)
                question = dialogue.send(known)
        except StopIteration as end:
            keep(answered(one, end.value))
            return None
        return question

    async def _fill(self, raw: bytes) -> bytes:
        """A body with its frames in; where some are not in the cache, they are decoded in a thread."""
        try:
            return fill(raw, partial(kept, self.ws.root))
        except OSError:
            return await asyncio.get_running_loop().run_in_executor(self._threads, fill, raw, self._pictures)

    def _pictures(self, blob: str, times: Moments, height: int, quality: int) -> list[bytes]:
        return pictures(self.ws.root, self.ws.blob(blob), blob, times, height, quality)

    # -- what is told afterwards -------------------------------------------------------------------------------------
    @property
    def gate(self) -> str:
        """What a person, or time, has to do next: raise a spent budget, wait for a batch."""
        waiting = "; ".join(w for batches in self._batches.values() for w in batches.waiting)
        if OVER_BUDGET not in self.stopped:
            return f"Batches: {waiting}. Run the same command again to collect them." if waiting else ""
        return (
            f"The budget of {self.budget.most:g} USD has no room for another request at its dearest "
            f"({self.budget.spent:.4f} are spent); {len(self.left)} drafts are left. "
            "Raise draft.budget_usd and run the same command again."
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


def bill_lines(rows: list[Json]) -> list[str]:
    """A bill for people, one line for each task, model and prompt version, dearest first."""
    lines = []
    for row in sorted(rows, key=lambda r: -(r["cost_usd"] or 0)):
        usd = "price unknown" if row["cost_usd"] is None else f"{row['cost_usd']:.4f} USD"
        more = "".join(f", {row[k]} {k}" for k in ("stored", "repairs", "retries") if row[k])
        lines.append(
            f"{row['task']} by {row['model']} (prompt {row['prompt'].split('_')[-1][:8]}): {row['asked']} asked{more}, "
            f"{row['tokens_in']} tokens in, {row['tokens_out']} out, {usd}"
        )
    return lines


@contextmanager
def storing(ws: Workspace) -> Iterator[None]:
    """Faults of the store's file, in a line. Raises DataError."""
    try:
        yield
    except sqlite3.Error as e:
        fix = "free some room, or move the file aside if it is broken, and run the same command again"
        raise DataError(f"{answers_path(ws)}: {e}; {fix}") from e


def open_answers(ws: Workspace) -> Answers:
    """The store of paid answers, beside the workspaces that share it. Raises DataError."""
    with storing(ws):
        return Answers(answers_path(ws), str(ws.root))


def answers_path(ws: Workspace) -> Path:
    return ws.root.parent / "llm.sqlite"


def ask_plainly(ws: Workspace, recipe: Recipe, name: str, bill: list[str], prompts: list[str]) -> list[str | None]:
    """Put texts to the model `name` of the recipe, without frames; what it cost goes to `bill`, in lines. Raises
    DataError if answers are missing."""
    if name not in recipe["draft"]["models"]:
        raise UsageError(f"validate.probe_model: no '{name}' under draft.models")
    model = load_model(name, recipe["draft"]["models"][name])
    check_price(model, recipe)
    with Desk(ws, recipe) as desk:
        said = desk.ask(model, prompts, "probe")
        if desk.stopped:
            raise DataError(f"the probe by {name}: {sorted(desk.stopped)[0]}; run the same command again to go on")
        bill += desk.notes()
    return said


def words(asked: Json) -> str:
    """The texts of a request, turn by turn, frames as references."""
    lines = []
    for message in asked["messages"]:
        lines.append(f"[{message['role']}]")
        content = message["content"]
        parts: list[Json] = [{"type": "text", "text": content}] if isinstance(content, str) else content
        lines += [p["text"] if p["type"] == "text" else f"<{p[p['type']]['url']}>" for p in parts]
    text = "\n".join(lines) + "\n"
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)  # a terminal obeys some


def show_request(ws: Workspace, prefix: str) -> str | None:
    """A paid request of the store, whole: what was asked, what came back, what it cost. None if there is none."""
    if not answers_path(ws).is_file():
        return None
    with closing(open_answers(ws)) as answers:
        row = answers.find(prefix)
    if row is None:
        return None
    asked, reply = json.loads(row.pop("body")), row.pop("reply").decode("utf-8", "replace")
    told = [f"  {key}: {value}" for key, value in row.items() if value not in (None, "")]
    return "\n".join([f"request {row['key']}", *told, "asked:", words(asked), "replied:", reply])
