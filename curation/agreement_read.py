"""Reads anyone's long table of ratings: CSV, TSV, JSONL or Parquet with columns item, rater, field, value[, group].

A blank value is a missing rating. What is wrong in a file is told by row (the header is row 1) and with its fix.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from curation.agreement_sums import LEVELS, Rating
from curation.errors import DataError, UsageError

Json = dict[str, Any]
NEEDED = ("item", "rater", "field", "value")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
SEGMENT = re.compile(rf"[\[(]\s*({NUMBER.pattern})\s*[,;]\s*({NUMBER.pattern})\s*[\])]")
NO_NUMBER = frozenset({"nan", "na", "n/a", "null", "none", "-"})  # missing where the other values are numbers
MELT = (
    "if it is wide (a column per rater), make it long: df.melt(id_vars='item', var_name='rater', value_name='value')"
    ".assign(field='category')"
)


@dataclass
class Column:
    """The ratings of one field, with values of its level."""

    rows: list[Rating]
    level: str
    order: list[str] | None = None  # of ordinal text
    notes: list[str] = field(default_factory=list)


def read_table(path: Path, level: str | Mapping[str, str] | None = None) -> dict[str, Column]:
    """The table by field. `level` is one for all fields, or by field; fields without one are guessed (`guess_level`).

    Ordinal text needs its order: `ordinal:low<mid<high`. Raises DataError for what is wrong in the file, UsageError
    for a level or field that does not exist.
    """
    fields: dict[str, list[tuple[int, Rating]]] = defaultdict(list)
    blank = 0
    for number, rating in _ratings(path):
        if rating.value is None:
            blank += 1
        else:
            fields[rating.field].append((number, rating))
    if not fields:
        raise DataError(
            f"{path}: no ratings{' but blank values' if blank else ''}; rows need item, rater, field, value"
        )
    _check(path, fields)
    wanted = level if isinstance(level, Mapping) else dict.fromkeys(fields, level or "")
    if unknown := sorted(set(wanted) - set(fields)):
        raise UsageError(f"level given for field '{unknown[0]}', which {path.name} lacks; it has: {', '.join(fields)}")
    return {name: _column(path, name, rows, wanted.get(name) or "") for name, rows in fields.items()}


def _column(path: Path, name: str, rows: list[tuple[int, Rating]], level: str) -> Column:
    out = Column([], *level.partition(":")[:1])
    if ":" in level:
        out.order = [part.strip() for part in level.partition(":")[2].split("<")]
    if not level:
        out.level, out.notes = guess_level(Counter(rating.value for _, rating in rows))
    if out.level not in LEVELS:
        raise UsageError(f"field '{name}': unknown level '{out.level}'; use one of {', '.join(LEVELS)}")
    out.rows = list(_typed(path, name, rows, out.level, out.order))
    if len(out.rows) < len(rows):
        out.notes.append(f"{len(rows) - len(out.rows)} values like 'nan' count as missing")
    return out


def guess_level(values: Mapping[str, int]) -> tuple[str, list[str]]:
    """The level of a field from its texts (with counts): all numbers → interval, all [a, b] → segment, else nominal."""
    texts = [v for v in values if v.lower() not in NO_NUMBER]
    if texts and all(SEGMENT.fullmatch(v) for v in texts):
        return "segment", []
    numbers = [v for v in texts if NUMBER.fullmatch(v)]
    if any(re.match(r"[+-]?0\d", v) for v in numbers):
        return "nominal", ["numbers with leading zeros are read as names"] if len(numbers) == len(texts) else []
    if texts and len(numbers) == len(texts):
        if len({float(v) for v in texts}) <= 2:
            return "nominal", ["numbers, but at most two of them: read as two categories"]
        whole = all(float(v).is_integer() for v in texts)
        return "interval", [
            "whole numbers, read as a scale; if they are codes of categories, give level nominal"
        ] * whole
    notes = []
    if len(numbers) > 0.9 * len(values):
        odd = sorted(set(values) - set(numbers))[:3]
        notes.append(f"read as categories, because these are not numbers: {', '.join(odd)}")
    elif lost := sorted(v for v in values if v.lower() in NO_NUMBER - {"none"}):
        notes.append(f"'{lost[0]}' is counted as a category; leave the value blank if it means missing")
    return "nominal", notes


def _ratings(path: Path) -> Iterator[tuple[int, Rating]]:
    """Row number (the header is row 1) and rating; `value` is text, None where blank."""
    for number, row in _rows(path):
        cell = {name: _text(row.get(name)) for name in (*NEEDED, "group")}
        for name in ("item", "rater", "field"):
            if cell[name] is None:
                raise DataError(f"{path}: row {number} has no {name}; fill it in or delete the row")
        yield (
            number,
            Rating(cell["item"] or "", cell["rater"] or "", cell["field"] or "", cell["value"], cell["group"] or ""),
        )


def _rows(path: Path) -> Iterator[tuple[int, Json]]:
    kind = path.suffix.lower()
    if kind not in (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"):
        raise DataError(f"{path}: cannot read '{kind or 'no suffix'}'; save it as .csv, .tsv, .jsonl or .parquet")
    try:
        if kind == ".parquet":
            yield from _parquet_rows(path)
            return
        with path.open(encoding="utf-8-sig", newline="") as lines:
            yield from _csv_rows(path, lines) if kind in (".csv", ".tsv") else _json_rows(path, lines)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start}); save it with the encoding UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; check the path") from error


def _csv_rows(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, Json]]:
    lines = iter(lines)
    first = next(lines, "")
    delimiter = max("\t,;|", key=first.count) if path.suffix.lower() == ".csv" else "\t"
    reader = csv.reader(itertools.chain([first], lines), delimiter=delimiter, strict=True)
    number = 0
    try:
        header = _columns(path, next(reader, []))
        for number, cells in enumerate(reader, start=2):
            if not any(cells):
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{path}: row {number} has {len(cells)} columns, the header {len(header)}; quote the commas"
                )
            yield number, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}: after row {number}: {error}; check the quotes") from error


def _json_rows(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, Json]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}: row {number} is not JSON ({error}); one object a line") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}: row {number} is not an object; one object a line: item, rater, field, value")
        yield number, dict(zip(_columns(path, list(row), number), row.values(), strict=True))


def _parquet_rows(path: Path) -> Iterator[tuple[int, Json]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        header = _columns(path, file.schema_arrow.names)
        number = 1
        for batch in file.iter_batches():
            for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                number += 1
                yield number, dict(zip(header, cells, strict=True))
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]}); write it anew") from error


def _columns(path: Path, names: Sequence[str], number: int = 1) -> list[str]:
    columns = [str(name).strip().lower() for name in names]
    if missing := [name for name in NEEDED if name not in columns]:
        if missing == ["value"] and number > 1:  # a JSON row may leave a missing rating out
            return columns
        found = ", ".join(columns)[:200] or "nothing"
        fix = "add a column 'field', the same word in each row" if missing == ["field"] else f"rename them, or {MELT}"
        raise DataError(f"{path}: row {number} lacks {', '.join(missing)} (columns: {found}); {fix}")
    if twice := [name for name in (*NEEDED, "group") if columns.count(name) > 1]:
        raise DataError(f"{path}: two columns are called '{twice[0]}'; rename one")
    return columns


def _text(value: Any) -> str | None:
    """A cell as stripped NFC text; None for blank, null, NaN. Whole floats lose their .0, booleans are true, false."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return unicodedata.normalize("NFC", str(value)).strip() or None


def _check(path: Path, fields: Mapping[str, list[tuple[int, Rating]]]) -> None:
    """Refuses two ratings of one item and field by one rater, and an item in two groups."""
    group: dict[str, tuple[int, str]] = {}
    for name, rows in fields.items():
        seen: dict[tuple[str, str], int] = {}
        for number, row in rows:
            before = seen.setdefault((row.item, row.rater), number)
            if before != number:
                who = f"'{row.rater}' rated item '{row.item}' twice in field '{name}'"
                raise DataError(f"{path}: row {number}: {who} (first in row {before}); keep one of them")
            first, known = group.setdefault(row.item, (number, row.group))
            if known != row.group:
                both = f"'{row.group}', in row {first} in '{known}'"
                raise DataError(f"{path}: row {number}: item '{row.item}' is in group {both}; an item has one group")


def _typed(
    path: Path, name: str, rows: Iterable[tuple[int, Rating]], level: str, order: Sequence[str] | None
) -> Iterator[Rating]:
    """The ratings with values of their level: text, numbers, or (start, end)."""
    numeric = level in ("interval", "ratio", "segment") or (level == "ordinal" and order is None)
    for number, row in rows:
        where = f"{path}: row {number}, field '{name}'"
        if order is not None and row.value not in order:
            raise DataError(f"{where}: '{row.value}' is not among {' < '.join(order)}; add it to the order")
        if not numeric:
            yield row
        elif row.value.lower() in NO_NUMBER:
            continue
        elif level == "segment" and (found := SEGMENT.fullmatch(row.value)):
            start, end = float(found[1]), float(found[4])
            if end < start:
                raise DataError(f"{where}: the segment {row.value} ends before it starts; swap its ends")
            yield replace(row, value=(start, end))
        elif level != "segment" and NUMBER.fullmatch(row.value):
            yield replace(row, value=float(row.value))
        else:
            fix = "give the order, e.g. ordinal:low<mid<high" if level == "ordinal" else "or give level nominal"
            raise DataError(
                f"{where}: '{row.value}' is not a {'segment [a, b]' if level == 'segment' else 'number'}; {fix}"
            )
