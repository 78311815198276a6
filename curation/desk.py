"""Where models write: the store of answers, the endpoints, the bill and the budget. What is due: `curation.draft`."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from curation.authors import Todo, check_price, forbid, refused
from curation.dialogue import converse
from curation.errors import DataError, Refused
from curation.models.answers import Answer, Answers, Question
from curation.models.endpoint import Model, body, load_model
from curation.models.frames import fill, kept, pictures
from curation.models.money import OVER_BUDGET, Bill, Budget
from curation.models.reply import Denied, Left, read
from curation.recipe import Recipe
from curation.store import Workspace
from curation.tasks import TaskPack
from curation.types import Draft, Json, Refusal

Keep = Callable[[Draft | Refusal], None]
Asks = Any  # an Asker (at once), Batches (within a day) or a forecast's Counting (never)


class Desk:
    """The shared store of answers, who asks which model, the bill and the budget.

    `left` are the ids of drafts without an answer in this run, `stopped` says why. `count`, a forecast's, makes what
    asks nobody; then what builds on drafts that are left does not wait for them.
    """

    def __init__(
        self, ws: Workspace, recipe: Recipe, stack: ExitStack, count: Callable[[Model, Desk], Asks] | None = None
    ) -> None:
        self.ws, self.recipe, self.count = ws, recipe, count
        self.left: set[str] = set()
        self.stopped: set[str] = set()
        self.bill = Bill()
        self._stack = stack
        self.askers: dict[str, Any] = {}

    @cached_property
    def answers(self) -> Answers:
        return self._stack.enter_context(closing(Answers(answers_path(self.ws), str(self.ws.root))))

    @cached_property
    def _budget(self) -> Budget:
        return Budget(self.recipe["draft"]["budget_usd"], *self.answers.spent())

    @cached_property
    def _runner(self) -> asyncio.Runner:
        return self._stack.enter_context(asyncio.Runner())

    def write(self, pack: TaskPack, model: Model, todo: list[Todo], keep: Keep) -> None:
        """Have `model` write what is due; `keep` gets each draft or refusal as it comes. Raises DataError (Halt)."""

        async def write(asker: Asks, one: Todo) -> None:
            try:
                forbid(model, one)
                keep(await _talk(asker, converse(pack, model, one)))
            except Left as e:
                self.left.add(one.draft.id)
                self.stopped.add(str(e))
            except Denied as e:
                keep(refused(one, "denied", str(e)))
            except Refused as e:
                keep(refused(one, e.reason, e.detail))

        try:
            self.each(model, todo, write)
        except Left as e:
            self.left |= {one.draft.id for one in todo}
            self.stopped.add(str(e))

    def each(self, model: Model, items: list[Any], work: Callable[[Asks, Any], Awaitable[None]]) -> None:
        """Do `work` for all items, as many at a time as the model takes. Raises Left if none can be done."""
        coming = iter(items)

        async def worker(asker: Asks) -> None:
            for one in coming:
                await work(asker, one)

        async def all_of_them() -> None:
            asker = self._asker(model)
            async with asyncio.TaskGroup() as group:
                for _ in range(min(model.in_flight, len(items))):
                    group.create_task(worker(asker))
            try:
                if model.batch and not self.count:
                    asker.submit()
            except Left as e:
                self.stopped.add(str(e))

        try:
            if items:
                self._runner.run(all_of_them())
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    def _asker(self, model: Model) -> Any:
        if model.name not in self.askers:
            shared = self.answers, self._fill, self.bill, self._budget
            asker: Any
            if self.count:
                asker = self.count(model, self)
            elif model.batch:
                from curation.models.batch import Batches

                asker = Batches(model, *shared)
                self._stack.callback(asker.close)
                asker.collect()
            else:
                from curation.models.ask import Asker
                from curation.models.wire import Client

                asker = Asker(model, Client(model), *shared)
                self._stack.callback(lambda: self._runner.run(asker.client.close()))
            self.askers[model.name] = asker
        return self.askers[model.name]

    async def _fill(self, raw: bytes) -> bytes:
        """A body with its frames in; where some are not in the cache, they are decoded in a thread."""
        try:
            return fill(raw, partial(kept, self.ws))
        except OSError:
            return await asyncio.to_thread(fill, raw, partial(pictures, self.ws))

    # -- what is told afterwards -------------------------------------------------------------------------------------
    @property
    def faults(self) -> list[str]:
        """Why drafts are left, where it is neither the budget nor a batch on its way."""
        return sorted(self.stopped - {OVER_BUDGET, ""})

    @property
    def gate(self) -> str:
        """What a person, or time, has to do next: raise a spent budget, wait for a batch."""
        waiting = "; ".join(w for asker in self.askers.values() for w in getattr(asker, "waiting", ()))
        if OVER_BUDGET not in self.stopped:
            return f"Batches: {waiting}. Run the same command again to collect them." if waiting else ""
        return (
            f"The budget of {self._budget.most:g} USD has no room for another request at its dearest "
            f"({self._budget.spent:.4f} are spent); {len(self.left)} drafts are left. "
            "Raise draft.budget_usd and run the same command again."
        )

    def notes(self) -> list[str]:
        why = "; ".join(self.faults[:3])
        left = [f"{len(self.left)} drafts are left for the next run, nothing is lost: {why}"] if why else []
        return [*left, *self.bill.told()]


async def _talk(asker: Asks, dialogue: Generator[Question, Answer, Draft | Refusal]) -> Draft | Refusal:
    """A dialogue with an endpoint, to its end."""
    try:
        question = next(dialogue)
        while True:
            question = dialogue.send(await asker.ask(question))
    except StopIteration as end:
        said: Draft | Refusal = end.value
        return said


@contextmanager
def opened(ws: Workspace, recipe: Recipe, count: Callable[[Model, Desk], Asks] | None = None) -> Iterator[Desk]:
    """A desk, closed at the end. Raises DataError for faults of the store's file."""
    with storing(ws), ExitStack() as stack:
        yield Desk(ws, recipe, stack, count)


@contextmanager
def storing(ws: Workspace) -> Iterator[None]:
    """Faults of the store's file, in a line. Raises DataError."""
    try:
        yield
    except sqlite3.Error as e:
        fix = "free some room, or move the file aside if it is broken, and run the same command again"
        raise DataError(f"{answers_path(ws)}: {e}; {fix}") from e


def answers_path(ws: Workspace) -> Path:
    """The store of paid answers, beside the workspaces that share it."""
    return ws.root.parent / "llm.sqlite"


def ask_plainly(ws: Workspace, recipe: Recipe, name: str, bill: list[str], prompts: list[str]) -> list[str]:
    """What the model `name` of the recipe says to texts, without frames; what it cost goes to `bill`, in lines. Raises
    DataError if answers are missing."""
    model = replace(load_model(name, recipe["draft"]["models"][name]), frames=None, structured="none", batch=False)
    check_price(model, recipe)
    said = [""] * len(prompts)

    async def ask(asker: Asks, n: int) -> None:
        messages = [{"role": "user", "content": prompts[n]}]
        question = Question(model.base_url, body(model, messages, "probe", {}), model.sample, "probe", "probe")
        try:
            said[n] = read((await asker.ask(question)).reply).text
        except (Left, Denied) as e:
            desk.stopped.add(str(e))

    with opened(ws, recipe) as desk:
        desk.each(model, list(range(len(prompts))), ask)
        if desk.stopped:
            raise DataError(f"the probe by {name}: {min(desk.stopped)}; run the same command again to go on")
        bill += desk.notes()
    return said


def words(asked: Json) -> str:
    """The texts of a request, turn by turn, frames as references."""
    lines = []
    for message in asked["messages"]:
        lines.append(f"[{message['role']}]")
        content = message["content"]
        parts: Iterable[Json] = [{"type": "text", "text": content}] if isinstance(content, str) else content
        lines += [p["text"] if p["type"] == "text" else f"<{p[p['type']]['url']}>" for p in parts]
    text = "\n".join(lines) + "\n"
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)  # a terminal obeys some


def show_request(ws: Workspace, prefix: str) -> str | None:
    """A paid request of the store, whole: what was asked, what came back, what it cost. None if there is none."""
    if not answers_path(ws).is_file():
        return None
    with storing(ws), closing(Answers(answers_path(ws), str(ws.root))) as answers:
        row = answers.find(prefix)
    if row is None:
        return None
    asked, reply = json.loads(row.pop("body")), row.pop("reply").decode("utf-8", "replace")
    told = [f"  {key}: {value}" for key, value in row.items() if value not in (None, "")]
    return "\n".join([f"request {row['key']}", *told, "asked:", words(asked), "replied:", reply])
