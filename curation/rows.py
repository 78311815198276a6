"""Rows of anybody's table: JSONL, JSON, CSV, TSV, Parquet, a folder of them, or a dataset on a Hub.

A row is a dict. Nested objects stay as they are and are reached by dotted names (`meta.question`). JSON may be a list
of records, a list of lists under a header row, an object of records (their keys become the column `key1`), or an object
of objects of records (`key1`, `key2`), as benchmarks that hold several questions a video are.
"""

from __future__ import annotations

import csv
import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from curation.errors import DataError, UsageError
from curation.types import Json

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Rows:
    """`rows` as read, and the names of all columns, dotted where nested."""

    origin: str
    rows: list[Json]
    columns: list[str]


def read_rows(
    origin: str,
    wanted: Sequence[str],
    *,
    split: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    limit: int | None = None,
) -> Rows:
    """The rows of a file, folder or Hub dataset; of column formats only those `wanted` names (or patterns) ask for.

    Raises DataError when nothing can be read, UsageError when `origin` names nothing.
    """
    path = Path(origin).expanduser()
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not files:
            raise DataError(f"{origin}: no {', '.join(SUFFIXES)} file in this folder")
        rows = [{"file": str(p.relative_to(path))} | row for p in files for row in _read_file(p, wanted)]
    elif path.is_file():
        rows = _read_file(path, wanted)
    elif origin.count("/") == 1 and not origin.startswith((".", "/", "~")) and path.suffix.lower() not in SUFFIXES:
        rows = _read_hub(origin, wanted, split, config, revision, limit)
    else:
        raise UsageError(f"{origin}: no such file or folder (a dataset on the Hub is written owner/name)")
    if not rows:
        raise DataError(f"{origin}: no rows")
    return Rows(origin, rows[:limit], sorted({name for row in rows for name in _names(row)}))


def match_column(table: Rows, name: str) -> str:
    """`name` if the table has it. Raises UsageError that names the near ones otherwise."""
    if name in table.columns or any(c.startswith(f"{name}.") for c in table.columns):
        return name
    near = difflib.get_close_matches(name, table.columns, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UsageError(f"{table.origin}: no column {name!r}; {hint}It has: {', '.join(table.columns[:40])}")


def match_columns(table: Rows, names: str) -> list[str]:
    """One column, or several: a comma list or a pattern such as `option*` (in natural order)."""
    if names in table.columns or any(c.startswith(f"{names}.") for c in table.columns):
        return [names]
    found: list[str] = []
    for name in (n.strip() for n in names.split(",")):
        hits = sorted((c for c in table.columns if fnmatchcase(c, name)), key=_natural)
        found += hits or [match_column(table, name)]
    return found


def cell(row: Json, column: str) -> Any:
    """The value at a column or dotted path; None when absent or NaN."""
    value: Any = row
    if column in row:
        value = row[column]
    else:
        for part in column.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    return None if value != value else value  # NaN is unlike itself


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", name)]


def _names(row: Json, prefix: str = "") -> Iterable[str]:
    for key, value in row.items():
        if isinstance(value, dict) and value:
            yield from _names(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _read_file(path: Path, wanted: Sequence[str]) -> list[Json]:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: cannot read {suffix or 'a file without suffix'}; give {', '.join(SUFFIXES)}")
    if suffix == ".parquet":
        return _read_parquet(path, wanted)
    try:
        if suffix in (".csv", ".tsv"):
            with path.open(encoding="utf-8-sig", newline="") as f:
                rows = csv.DictReader(f, delimiter="\t" if suffix == ".tsv" else ",", restkey="(surplus)")
                return [{k: v for k, v in row.items() if k is not None} for row in rows]
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as e:
        raise DataError(f"{path}: byte {e.start} is not UTF-8; convert it: iconv -f latin1 -t utf-8") from e
    except (OSError, csv.Error) as e:
        raise DataError(f"{path}: cannot be read: {e}") from e
    if suffix == ".json":
        try:
            return _records(json.loads(text), path)
        except (json.JSONDecodeError, RecursionError) as e:
            raise DataError(f"{path}: not JSON: {e}; one record a line is read from .jsonl") from e
    return _records(list(_json_lines(text, path)), path)


def _json_lines(text: str, path: Path) -> Iterable[Any]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except (json.JSONDecodeError, RecursionError) as e:
                raise DataError(f"{path}, line {number}: not JSON: {e}") from e


def _records(value: Any, path: Path) -> list[Json]:
    """Rows of a decoded JSON value: see the module's first lines."""
    if isinstance(value, list) and value and all(isinstance(v, list) for v in value):
        header = value[0]
        if not all(isinstance(h, str) for h in header) or len(set(header)) < len(header):
            raise DataError(f"{path}: a list of lists whose first row is no header of distinct names")
        if odd := next((i for i, v in enumerate(value) if len(v) != len(header)), None):
            raise DataError(f"{path}, row {odd + 1}: {len(value[odd])} values under {len(header)} columns")
        return [dict(zip(header, v, strict=True)) for v in value[1:]]
    if isinstance(value, list):
        if odd := next((i for i, v in enumerate(value, 1) if not isinstance(v, dict)), None):
            raise DataError(f"{path}, record {odd}: {type(value[odd - 1]).__name__}, not an object")
        return value
    if not isinstance(value, dict):
        raise DataError(f"{path}: {type(value).__name__}, neither a list nor an object of records")
    return _keyed(value, path)


def _keyed(value: Json, path: Path) -> list[Json]:
    inner = list(value.values())
    if all(isinstance(v, dict) for v in inner) and inner:
        if all(v and all(isinstance(r, dict) for r in v.values()) for v in inner) and _alike(inner):
            return [{"key1": a, "key2": b} | r for a, rs in value.items() for b, r in rs.items()]
        return [{"key1": key} | record for key, record in value.items()]
    lists = {k: v for k, v in value.items() if isinstance(v, list) and v and all(isinstance(r, dict) for r in v)}
    if lists:
        return [{"key1": key} | record for key, records in lists.items() for record in records]
    raise DataError(f"{path}: an object without records; give a list of objects, or an object of them")


def _alike(outer: list[Json]) -> bool:
    """Do the innermost objects share a key, as records of one kind do?"""
    keys = [set(record) for records in outer for record in records.values()]
    return bool(set.intersection(*keys))


def _top_names(names: list[str], wanted: Sequence[str]) -> list[str]:
    """The columns that `wanted` asks for; all of them when it asks for one that is not there (the caller will say)."""
    found: set[str] = set()
    for want in wanted:
        parts = [want] if want in names else [p.strip().split(".")[0] for p in want.split(",")]
        hits = [[n for n in names if n == p or fnmatchcase(n, p)] for p in parts]
        if not all(hits):
            return names
        found.update(n for hit in hits for n in hit)
    return [n for n in names if n in found]


def _read_parquet(path: Path, wanted: Sequence[str]) -> list[Json]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        names = _top_names(parquet.read_schema(path).names, wanted)
        rows: list[Json] = parquet.read_table(path, columns=names).to_pylist()
    except (OSError, pa.ArrowException) as e:
        raise DataError(f"{path}: not readable as Parquet: {str(e).splitlines()[0]}") from e
    return rows


def _read_hub(
    repo: str, wanted: Sequence[str], split: str | None, config: str | None, revision: str | None, limit: int | None
) -> list[Json]:
    import datasets

    try:
        loaded = datasets.load_dataset(repo, name=config, split=split, revision=revision)
    except (OSError, ValueError, RuntimeError) as e:
        line = " ".join(str(e).split())[:200]
        raise DataError(f"{repo}: no such path here, and the Hub gives nothing: {line}") from e
    parts = loaded if isinstance(loaded, dict) else {split or "": loaded}
    rows: list[Json] = []
    for name, part in parts.items():
        part = part.select_columns(_top_names(part.column_names, wanted))
        part = part.select(range(min(limit, len(part)))) if limit else part
        rows += [{"split": name} | row for row in part]
    return rows
