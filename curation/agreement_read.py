"""Anyone's long table of ratings: columns item, rater, field, value and, if something repeats, group.

A blank value is a missing rating. What is wrong is told by row (the header is row 1, blank rows do not count).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from curation.agreement_sums import LEVELS, Rating
from curation.errors import DataError, UsageError
from curation.rows import read_file
from curation.types import Json

NEEDED = ("item", "rater", "field", "value")
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
SEGMENT = re.compile(rf"[\[(]\s*({NUMBER.pattern})\s*[,;]\s*({NUMBER.pattern})\s*[\])]")
RANGE = re.compile(r"(\d+\.?\d*)\s*[-–]\s*(\d+\.?\d*)")  # 1.2-3.4
LARGEST = 1e100  # the square of a number has to be a number
MISSING = frozenset({"nan", "na", "n/a", "<na>", "null"})
NO_NUMBER = MISSING | {"none", "-", "inf", "-inf"}  # missing where the other values are numbers
MELT = "if each rater has a column, make it long: df.melt(id_vars='item', var_name='rater').assign(field='class')"


class Column(NamedTuple):
    """The ratings of one field, with values of its level."""

    rows: list[Rating]
    level: str
    order: list[str] | None  # of ordinal text
    notes: list[str]


def read_table(path: Path, levels: Mapping[str, str]) -> dict[str, Column]:
    """The table by field. `levels` are by field ("": all that are not named); what has none is guessed.

    Ordinal text needs its order: `ordinal:low<mid<high`. Raises DataError for what is wrong in the file, UsageError
    for a level or field that does not exist.
    """
    fields: dict[str, dict[Rating, int]] = defaultdict(dict)
    rated: dict[str, int] = defaultdict(int)
    for number, rating in _ratings(path):
        if rating.value:
            fields[rating.field].setdefault(rating, number)
            rated[rating.field] += 1
    if not fields:
        raise DataError(f"{path}: no ratings; rows need item, rater, field, and a value that is not blank")
    if unknown := sorted(set(levels) - set(fields) - {""}):
        raise UsageError(f"level given for field '{unknown[0]}', which {path.name} lacks; it has: {', '.join(fields)}")
    columns = {name: _column(path, name, rows, levels.get(name, levels.get("", ""))) for name, rows in fields.items()}
    for name, column in columns.items():
        if again := rated[name] - len(fields[name]):
            column.notes.append(f"{again} rows repeat others word for word: each is counted once")
    return columns


def _ratings(path: Path) -> Iterator[tuple[int, Rating]]:
    """Row number and rating; `value` is text, '' where blank."""
    rows = read_file(path)
    columns, suffix = _columns(path, rows), path.suffix.lower()
    for number, row in enumerate(rows, start=1 if "json" in suffix else 2):
        if suffix in (".csv", ".tsv") and None in [row[columns[name]] for name in NEEDED]:
            raise DataError(f"{path}: row {number} has fewer cells than the header; leave missing ones blank")
        cell = {name: _text(row.get(column)) for name, column in columns.items()}
        if not any(cell.values()):
            continue
        if lost := next((name for name in ("item", "rater", "field") if not cell[name]), None):
            raise DataError(f"{path}: row {number} has no {lost}; fill it in or delete the row")
        yield number, Rating(**cell)


def _columns(path: Path, rows: list[Json]) -> dict[str, str]:
    """What the columns we need (and `group`) are called in this file: case and blanks around do not matter."""
    called: dict[str, str] = {}
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    for name in names:
        plain = name.strip().lower()
        if plain in (*NEEDED, "group") and plain in called:
            raise DataError(f"{path}: two columns are called '{plain}'; rename one")
        called[plain] = name
    if missing := [name for name in NEEDED if names and name not in called]:
        fix = "add a column 'field', the same word in each row" if missing == ["field"] else f"rename them, or {MELT}"
        raise DataError(f"{path}: lacks {', '.join(missing)} (columns: {', '.join(names)[:200]}); {fix}")
    return {plain: name for plain, name in called.items() if plain in (*NEEDED, "group")}


def _text(value: Any) -> str:
    """A cell as stripped NFC text; '' for null and NaN. Whole floats lose their .0, booleans are true, false."""
    if isinstance(value, str) and value.isascii():
        return value.strip()
    if value is None or value != value:  # NaN is unlike itself
        return ""
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return unicodedata.normalize("NFC", str(value)).strip()


def _column(path: Path, name: str, rows: Mapping[Rating, int], wanted: str) -> Column:
    level, _, given = wanted.partition(":")
    order = [part.strip() for part in given.split("<")] if given else None
    notes: list[str] = []
    if order and (level != "ordinal" or len(set(order)) < len(order)):
        raise UsageError(f"field '{name}': '{wanted}' is no order; write ordinal:low<mid<high, each value once")
    if not level:
        level, notes = guess_level([row.value for row in rows])
    if level not in LEVELS:
        raise UsageError(f"field '{name}': unknown level '{level}'; use one of {', '.join(LEVELS)}")
    missing = MISSING if level == "nominal" or order else NO_NUMBER
    kept = {row: number for row, number in rows.items() if row.value.lower() not in missing}
    if len(kept) < len(rows):
        notes.append(f"{len(rows) - len(kept)} values like 'nan' count as missing")
    codes = level == "nominal" and _numeric({row.value for row in kept})
    out = []
    for row, number in kept.items():
        where, value = f"{path}: row {number}, field '{name}'", row.value
        if order and value not in order:
            raise DataError(f"{where}: '{value}' is not among {' < '.join(order)}; add it to the order")
        if codes:
            value = f"{float(value):.15g}"  # 1 and 1.0 are one class
        elif level != "nominal" and not order:
            value = _number(where, value, level)
        out.append(Rating(row.item, row.rater, name, value, row.group))
    return Column(out, level, order, notes)


def _number(where: str, text: str, level: str) -> float | tuple[float, float]:
    """A number, or a segment as (start, end)."""
    found = (SEGMENT.fullmatch(text) or RANGE.fullmatch(text)) if level == "segment" else NUMBER.fullmatch(text)
    if not found:
        fix = "give the order, e.g. ordinal:low<mid<high" if level == "ordinal" else "or give level nominal"
        raise DataError(f"{where}: '{text}' is not a {'segment [a, b]' if level == 'segment' else 'number'}; {fix}")
    values = [float(part) for part in found.groups() or (text,)]
    if max(map(abs, values)) > LARGEST:
        raise DataError(f"{where}: {text} is larger than {LARGEST:g}; correct it, or leave it blank")
    if len(values) == 1:
        return values[0]
    if values[1] < values[0]:
        raise DataError(f"{where}: the segment {text} ends before it starts; swap its ends")
    return values[0], values[1]


def _numeric(texts: Collection[str]) -> bool:
    """Are these all numbers, and none a name such as 007?"""
    return all(NUMBER.fullmatch(v) and not re.match(r"[+-]?0\d", v) for v in texts)


def guess_level(values: Collection[str]) -> tuple[str, list[str]]:
    """The level of a field from its texts: all numbers → interval, all [a, b] or 1.2-3.4 → segment, else nominal."""
    given = Counter(v for v in values if v.lower() not in NO_NUMBER)
    texts, odd = sorted(given), {v: n for v, n in given.items() if not NUMBER.fullmatch(v)}
    ranges = all(RANGE.fullmatch(v) for v in texts)
    if not texts:
        return "nominal", []
    if all(SEGMENT.fullmatch(v) for v in texts) or (ranges and any("." in v for v in texts)):
        return "segment", []
    if _numeric(texts):
        if len({float(v) for v in texts}) <= 2:
            return "nominal", ["numbers, but at most two of them: read as two categories"]
        codes = "whole numbers, read as a scale; if they are codes of categories, give level nominal"
        return "interval", [codes] if all(float(v).is_integer() for v in texts) else []
    if not odd:
        return "nominal", ["numbers with leading zeros are read as names"]
    if sum(odd.values()) < given.total() / 2:
        such = ", ".join(repr(v) for v in sorted(odd)[:3])
        told = f"not numbers: {sum(odd.values())} of {given.total()} values ({such})"
        return "nominal", [f"{told}, so all are read as categories; mend them or leave them blank"]
    if ranges:
        return "nominal", ["ranges of whole numbers, read as categories; if they are times, give level segment"]
    if all(re.fullmatch(r"[+-]?\d+(,\d+)?", v) for v in texts):
        return "nominal", ["numbers with commas are read as categories; write 1.5 for one and a half"]
    if len({v.casefold() for v in texts}) < len(texts):
        return "nominal", ["some values differ in upper and lower case alone: they are counted as different"]
    return "nominal", []
