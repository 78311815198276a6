"""Paid answers by request key, in one SQLite file that all workspaces and concurrent runs share.

An answer is written before anything is read out of it, so a question is paid for once: after a kill only what was in
flight may be asked again. Whoever asks locks, in a file beside the store, the byte that the key names; the lock goes
with its process (and does not tell two stores of one process apart: a process opens one at a time). The write-ahead
log survives a killed process; a power cut may lose the last moments.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from curation.ids import make_id
from curation.types import Json

TABLES = """
create table if not exists answers (key text primary key, endpoint text, model text, task text, prompt_id text,
  payer text, turn integer, batch text, body text, reply blob, tokens_in integer, tokens_out integer, cost_usd real,
  seconds real, attempts integer, answered_at text);
create index if not exists payers on answers (payer, cost_usd);
create table if not exists batches (id text primary key, endpoint text, payer text, dear_usd real, sent_at text,
  ended_at text);
create table if not exists batched (key text primary key, batch text, question text) without rowid;
"""


@dataclass(frozen=True)
class Question:
    """What is asked: the body with frames as references. Its key is the hash of endpoint, body and sample number."""

    endpoint: str
    body: Json
    sample: int
    task: str
    prompt_id: str
    turn: int = 0  # 1: the repair turn
    key: str = ""

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", make_id("request", [self.endpoint, self.raw.decode(), self.sample]))

    @cached_property
    def raw(self) -> bytes:
        """The body as it is sent, but for its frames."""
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Answer:
    """What came back, whole; tokens as the server counted them, `cost_usd` None where no price is known."""

    key: str
    reply: bytes
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float | None = None
    seconds: float = 0.0
    attempts: int = 1
    answered_at: str = ""


class Answers:
    """The store at `path`. `payer` says whose budget new answers count against."""

    def __init__(self, path: Path, payer: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.payer = payer
        self.db = sqlite3.connect(path, timeout=60, isolation_level=None)
        self.db.execute("pragma journal_mode=wal")
        self.db.execute("pragma synchronous=normal")
        self.db.executescript(TABLES)
        self._asking: set[str] = set()
        self._locks = path.with_name(f"{path.name}.lock").open("ab")

    def close(self) -> None:
        self.db.close()
        self._locks.close()

    def get(self, key: str) -> Answer | None:
        names = "key, reply, tokens_in, tokens_out, cost_usd, seconds, attempts, answered_at"
        row = self.db.execute(f"select {names} from answers where key = ?", (key,)).fetchone()
        return Answer(*row) if row else None

    def find(self, prefix: str) -> Json | None:
        """The one row whose key starts with `prefix`, None for none or several."""
        found = self.db.execute("select * from answers where substr(key, 1, ?) = ? limit 2", (len(prefix), prefix))
        rows, names = found.fetchall(), [column[0] for column in found.description]
        return dict(zip(names, rows[0], strict=True)) if len(rows) == 1 else None

    def put(self, q: Question, a: Answer, batch: str = "", payer: str = "") -> None:
        """Keep an answer. The first one counts, should two arrive. `payer`: whose batch it is, if not ours."""
        row: list[Any] = [q.key, q.endpoint, q.body["model"], q.task, q.prompt_id, payer or self.payer, q.turn, batch]
        row += [q.raw.decode(), a.reply, a.tokens_in, a.tokens_out, a.cost_usd, a.seconds, a.attempts, a.answered_at]
        self.db.execute(f"insert or ignore into answers values ({','.join('?' * 16)})", row)

    def claim(self, key: str) -> bool:
        """The right to ask; False while somebody else, alive, is asking."""
        if key in self._asking:
            return False
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int(key[-15:], 16))
        except BlockingIOError:
            return False
        self._asking.add(key)
        return True

    def release(self, key: str) -> None:
        fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, int(key[-15:], 16))
        self._asking.discard(key)

    def spent(self) -> tuple[float, float]:
        """USD that `payer` has spent so far, and what its open batches may cost at most."""
        found: tuple[float, float] = self.db.execute(
            "select (select total(cost_usd) from answers where payer = ?1), "
            "(select total(dear_usd) from batches where payer = ?1 and ended_at is null)",
            (self.payer,),
        ).fetchone()
        return found

    def typical(self, q: Question) -> tuple[float, float] | None:
        """Mean tokens in and out of what questions like `q` took, repairs included; None if there were none."""
        row: tuple[float, float] = self.db.execute(
            "select 1.0 * sum(tokens_in) / sum(turn = 0), 1.0 * sum(tokens_out) / sum(turn = 0) from answers "
            "where model = ? and task = ? and prompt_id = ?",
            (q.body["model"], q.task, q.prompt_id),
        ).fetchone()
        return row if row[0] is not None else None

    # -- batches -----------------------------------------------------------------------------------------------------
    def add_batch(self, batch: str, endpoint: str, questions: Iterable[Question], dear_usd: float, at: str) -> None:
        """Remember a batch before it is made, with what it asks, so that a later run can collect it."""
        rows = [(q.key, batch, json.dumps(asdict(q), ensure_ascii=False)) for q in questions]
        self.db.execute("begin immediate")
        self.db.execute("insert into batches values (?, ?, ?, ?, ?, null)", (batch, endpoint, self.payer, dear_usd, at))
        self.db.executemany("insert or replace into batched values (?, ?, ?)", rows)
        self.db.execute("commit")

    def open_batches(self, endpoint: str, model: str) -> list[tuple[str, str]]:
        """Names and payers of the batches that ask `model`, and have not ended."""
        found = self.db.execute(
            "select id, payer from batches where endpoint = ? and ended_at is null and (select "
            "json_extract(question, '$.body.model') from batched where batch = batches.id limit 1) = ? "
            "order by sent_at, id",
            (endpoint, model),
        )
        return found.fetchall()

    def rename_batch(self, batch: str, name: str) -> None:
        """Give a batch the name its endpoint gave it."""
        self.db.execute("begin immediate")
        self.db.execute("delete from batches where id = ? and ended_at is not null", (name,))  # of another server
        self.db.execute("update batches set id = ? where id = ?", (name, batch))
        self.db.execute("update batched set batch = ? where batch = ?", (name, batch))
        self.db.execute("commit")

    def end_batch(self, batch: str, at: str) -> None:
        self.db.execute("begin immediate")
        self.db.execute("update batches set ended_at = ? where id = ?", (at, batch))
        self.db.execute("delete from batched where batch = ?", (batch,))
        self.db.execute("commit")

    def batched(self, key: str) -> bool:
        """Is the question in a batch that has not ended?"""
        return self.db.execute("select 1 from batched where key = ?", (key,)).fetchone() is not None

    def batch_questions(self, batch: str) -> dict[str, Question]:
        rows = self.db.execute("select key, question from batched where batch = ?", (batch,))
        return {key: Question(**json.loads(text)) for key, text in rows}
