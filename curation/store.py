"""A workspace on disk: facts (append-only JSONL), views (replaced whole), blobs (content-addressed media).

One writer per fact file (an advisory lock); one record is one append; a torn last line (a killed writer) is moved
aside when the file is next opened for writing and ignored by readers. A view or blob is complete because it was
renamed into place. Trade-off accepted: the ids of a file are read into memory when it is opened for writing.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from curation.errors import DataError
from curation.ids import as_line, sha256_bytes
from curation.release import write_atomic
from curation.types import FACTS, Clip, Decision, Event, Issue, Json, Label, Record, Refusal, Source

R = TypeVar("R", bound=Record)
_FILE = {kind: f"{name}.jsonl" for name, kind in FACTS.items()}
_LISTS: dict[type[Record], set[str]] = {
    kind: {f.name for f in fields(kind) if str(f.type).startswith("tuple[")} for kind in (*FACTS.values(), Issue, Label)
}


def now() -> str:
    """The time of writing, UTC, to the second. Stored, never hashed."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def load(kind: type[R], row: Json) -> R:
    """A record from its stored row. Raises DataError for fields this version does not know."""
    lists = _LISTS[kind]
    try:
        row = {k: tuple(v) if k in lists else v for k, v in row.items()}
        if "events" in row:
            row["events"] = tuple(Event(**{**e, "classes": tuple(e["classes"])}) for e in row["events"])
        return kind(**row)
    except TypeError as e:
        raise DataError(f"{kind.__name__} {row.get('id', '?')}: {e}; written by a newer version?") from None


def dump(record: Record | Json) -> str:
    """One line of JSON, keys in field order."""
    return as_line(record)


class Writer(Generic[R]):
    """Appends records to one fact file; knows which ids are there."""

    def __init__(self, path: Path, fd: int, ids: set[str]) -> None:
        self.path, self._fd, self._ids = path, fd, ids

    def __contains__(self, record_id: str) -> bool:
        return record_id in self._ids

    def add(self, record: R) -> bool:
        """Append `record`; False if its id is known. Raises DataError when the disk is full, leaving no torn line."""
        if record.id in self._ids:
            return False
        line, written = (dump(record) + "\n").encode(), 0
        try:
            written = os.write(self._fd, line)
            if written < len(line):
                raise OSError(errno.ENOSPC, "the disk is full")
        except OSError as e:
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
            why = f"cannot write ({e.strerror}); free some room and run the same command again"
            raise DataError(f"{self.path}: {why}") from e
        self._ids.add(record.id)
        return True


class Workspace:
    """The folder `work/<name>/`."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.root.mkdir(parents=True, exist_ok=True)

    # -- facts ---------------------------------------------------------------------------------------------------
    def path(self, kind: type[Record]) -> Path:
        return self.root / _FILE[kind]

    def rows(self, kind: type[Record]) -> Iterator[Json]:
        """Raw rows, a torn last line left out. Raises DataError with the line number for any other broken line."""
        path = self.path(kind)
        if not path.exists():
            return
        with path.open("rb") as f:
            for number, line in enumerate(f, 1):
                if not line.endswith(b"\n"):
                    return
                yield _object(line, f"{path}:{number}", "restore the file or remove the line")

    def torn(self, kind: type[Record]) -> bool:
        """Is the last line of a fact file cut off? Readers leave it out; the next writer moves it aside."""
        path = self.path(kind)
        return path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")

    def read(self, kind: type[R]) -> Iterator[R]:
        """The records of `kind` in the order they were written."""
        for row in self.rows(kind):
            yield load(kind, row)

    @contextmanager
    def writer(self, kind: type[R]) -> Iterator[Writer[R]]:
        """Exclusive right to append to one fact file. Raises DataError if another process holds it."""
        path = self.path(kind)
        with _locked(path) as fd:
            _move_torn_line(path, fd)
            yield Writer(path, fd, {row["id"] for row in self.rows(kind)})
            os.fsync(fd)

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Exclusive right to do `what` in this workspace. Raises DataError if another process is at it."""
        path = self.root / "locks" / what
        path.parent.mkdir(exist_ok=True)
        with _locked(path):
            yield

    def refuse(self, refusals: Iterable[Refusal]) -> int:
        """Record refusals; returns how many were new."""
        with self.writer(Refusal) as out:
            return sum(out.add(replace(r, refused_at=now())) for r in refusals)

    # -- views ---------------------------------------------------------------------------------------------------
    def view_path(self, name: str) -> Path:
        return self.root / "views" / f"{name}.jsonl"

    def write_view(self, name: str, rows: Iterable[Record | Json]) -> Path:
        """Replace a view whole."""
        path = self.view_path(name)
        write_atomic(path, "".join(dump(r) + "\n" for r in rows).encode())
        return path

    def read_view(self, name: str) -> list[Json]:
        path = self.view_path(name)
        lines = path.read_bytes().splitlines() if path.exists() else []  # of bytes: a text may hold U+2028
        fix = "remove the file and run the recipe again"
        return [_object(line, f"{path}:{number}", fix) for number, line in enumerate(lines, 1)]

    def labels(self) -> list[Label]:
        """The view `labels`, as records."""
        return [load(Label, row) for row in self.read_view("labels")]

    # -- blobs ---------------------------------------------------------------------------------------------------
    def blob(self, sha256: str) -> Path:
        return self.root / "blobs" / sha256[:2] / f"{sha256}.mp4"

    def add_blob(self, path: Path) -> str:
        """Copy a file in by the hash of its bytes; returns the hash."""
        data = path.read_bytes()
        sha256 = sha256_bytes(data)
        if not self.blob(sha256).exists():
            write_atomic(self.blob(sha256), data)
        return sha256


def _object(line: bytes, where: str, fix: str) -> Json:
    try:
        row = json.loads(line)
    except ValueError as e:
        raise DataError(f"{where}: not JSON ({e}); {fix}") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: not a record; {fix}")
    return row


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataError(f"{path}: another run is writing it; wait for it to end, or stop it") from None
        yield fd
    finally:
        os.close(fd)


def _move_torn_line(path: Path, fd: int) -> None:
    """A killed writer leaves at most one line without its newline: keep it beside the file, out of the way."""
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        with open(f"{path}.torn", "ab") as torn:
            torn.write(data[end:] + b"\n")
        os.ftruncate(fd, end)


def decisions(ws: Workspace, kind: str) -> dict[str, Decision]:
    """Decisions of one kind by target."""
    return {d.target: d for d in ws.read(Decision) if d.decision == kind}


def current_sources(ws: Workspace) -> dict[str, Source]:
    """Sources by id: those of ingest's last word (else each key's newest row), without yanked and withdrawn ones."""
    said = ws.view_path("sources").exists()
    listed = {row["source_id"] for row in ws.read_view("sources")}
    newest = {(s.dataset, s.key): s for s in ws.read(Source) if not said or s.id in listed}
    out = gone(ws)
    return {s.id: s for s in newest.values() if s.id not in out}


def current_clips(ws: Workspace) -> dict[str, Clip]:
    """Clips by id: those of clip's last word, of current sources, without yanked and withdrawn ones."""
    sources, out = current_sources(ws), gone(ws)
    stale = {row["clip_id"] for row in ws.read_view("groups") if not row.get("current", True)}
    return {c.id: c for c in ws.read(Clip) if c.source_id in sources and c.id not in out | stale}


def gone(ws: Workspace) -> set[str]:
    """Targets of the decisions that take something out."""
    return decisions(ws, "yank").keys() | decisions(ws, "withdraw").keys()
