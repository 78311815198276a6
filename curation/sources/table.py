"""Rows of a table and what they claim, for any corpus.

A row that cannot be used is a Refusal that names its line; it never stops the others.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

from curation.errors import DataError, Refused, UsageError
from curation.types import Event, Json, Refusal, Source

YES, NO = ("true", "yes", "1", "y"), ("false", "no", "0", "n")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
SURROGATE = re.compile("[\ud800-\udfff]")


@cache
def ontology(name: str) -> tuple[str, ...]:
    """The values of one `$defs` entry of the driving ontology."""
    text = files("schemas").joinpath("ontology/driving.json").read_text(encoding="utf-8")
    return tuple(v for v in json.loads(text)["$defs"][name]["enum"] if v is not None)


def rows(
    table: Path, name: str, wanted: list[str], dataset: str, root: Path, config: Json, claims: Callable[[Json], Json]
) -> Iterator[Source | Refusal]:
    """A Source for each row of a UTF-8 table whose cells make good `claims`, a Refusal for every other row.

    JSONL by its ending, else CSV (or with semicolons or tabs, as its header has them); `name` is what refusals call it.
    Raises UsageError for a missing table or a `wanted` column that is missing or there twice, DataError for a table
    that cannot be taken apart.
    """
    if not table.is_file():
        raise UsageError(f"{table}: no such table; correct `table` in the recipe's sources")
    data = table.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{table}: not UTF-8 but UTF-16; convert it: iconv -f UTF-16 -t UTF-8")
    if b"\0" in data[:1024]:
        raise UsageError(f"{table}: no text; `table` in the recipe's sources names a CSV, TSV or JSONL file")
    parse = _jsonl if table.suffix in (".jsonl", ".ndjson") else _csv
    names, found = parse(table, data.decode("utf-8-sig", "surrogateescape"))
    for column in wanted:
        if names.count(column) > 1:
            raise UsageError(f"{table}: {names.count(column)} columns are named {column!r}; rename all but one")
        if names and column not in names:
            raise UsageError(f"{table}: no column {column!r}; {printable(_near(column, names))}")
    for line, cells in found:
        where = f"{name}:{line}"
        if isinstance(cells, str):
            yield Refusal("ingest", f"{dataset}/{where}", "malformed_row", f"{where}: {cells}")
        elif bad := SURROGATE.search(text := json.dumps(list(cells.values()), ensure_ascii=False)):
            near = printable(text[max(0, bad.start() - 20) : bad.end() + 20])
            detail = f"{where}: not UTF-8 near {near}; convert the table: iconv -f WINDOWS-1252 -t UTF-8"
            yield Refusal("ingest", f"{dataset}/{where}", "not_utf8", detail)
        else:
            yield source(claims(cells), where, dataset, root, config)


def check_names(config: Json, attributes: Iterable[str]) -> None:
    """Raises UsageError for a name in the recipe's `values` or `defaults` that is not ours."""
    if "trigger_s" in attributes:
        raise UsageError("sources: trigger_s is no attribute; name its column under `columns`")
    for section, known in (("values", [*FIELDS, *attributes]), ("defaults", [*FIELDS])):
        for name in config.get(section, {}):
            if name not in known:
                raise UsageError(f"sources: {section}: no field {name!r}; {_near(name, known)}")


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"there is {', '.join(known)}"


def printable(text: str) -> str:
    """`text` on one line, with what is no character written out."""
    return " ".join(text.encode("utf-8", "backslashreplace").decode().split())


Parsed = tuple[list[str], list[tuple[int, Json | str]]]  # columns; each row's first line, its cells or what is wrong


def _csv(table: Path, text: str) -> Parsed:
    delimiter = max(",;\t", key=text.lstrip().split("\n", 1)[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    found: list[tuple[int, Json | str]] = []
    try:
        header = [h.strip() for h in next(filter(any, reader), [])]
        end = reader.line_num
        for cells in reader:
            line, end = end + 1, reader.line_num
            if not any(c.strip() for c in cells):
                continue
            if len(cells) == len(header):
                found.append((line, dict(zip(header, (c.strip() for c in cells), strict=True))))
            else:
                wrong = f"{len(cells)} cells where the header has {len(header)}; is text with a comma not quoted?"
                found.append((line, wrong if line == end else f"{wrong} or a quote not closed (to line {end})?"))
    except csv.Error as e:
        raise DataError(f"{table}:{reader.line_num}: {e}; is a quote not closed?") from None
    if not header:
        raise UsageError(f"{table}: no header line; the first line must name the columns")
    return header, found


def _jsonl(table: Path, text: str) -> Parsed:
    found: list[tuple[int, Json | str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
            json.dumps(cells, allow_nan=False)
        except (ValueError, RecursionError) as e:
            found.append((number, f"not JSON ({e})"))
        else:
            found.append((number, cells if isinstance(cells, dict) else "not a JSON object"))
    return list(dict.fromkeys(k for _, cells in found if isinstance(cells, dict) for k in cells)), found


def source(claims: Json, where: str, dataset: str, root: Path, config: Json) -> Source | Refusal:
    """One row's claims, by our field names, as a Source without file facts; or why it cannot be one.

    `config`: `values` maps foreign values per field, `defaults` fills blank ones. A `class` that is mapped to null is
    excluded; a blank one leaves every class admissible. A video without a licence is never redistributed.
    """
    try:
        return _source(claims, dataset, root, config)
    except Refused as e:
        name = printable(str(claims.get("key") or claims.get("file") or where))
        return Refusal("ingest", f"{dataset}/{name}", e.reason, printable(f"{where}: {e.detail}"))


def _source(claims: Json, dataset: str, root: Path, config: Json) -> Source:
    values, defaults = config.get("values", {}), config.get("defaults", {})

    def mapped(field: str, raw: Any) -> Any:
        mapping = {str(k): v for k, v in values.get(field, {}).items()}  # YAML reads 1 and no as other than text
        return mapping.get(str(raw), raw)

    def get(field: str) -> Any:
        given = mapped(field, claims.get(field))
        if field == "class" and given is None and claims.get(field) is not None:
            raise Refused("excluded", f"the recipe leaves out class {str(claims[field])!r}")
        return defaults.get(field) if given in (None, "") else given

    told = {field: parse(field, get(field)) for field, parse in FIELDS.items()}
    times = {t: told[t] for t in ("alert_s", "event_s", "end_s") if told[t] is not None}
    for (name, time), (later, after) in pairwise(times.items()):
        if time > after:
            raise Refused("times_out_of_order", f"{name} {time:g} is after {later} {after:g}")
    event = Event(
        classes=told["class"],
        ego_role=told["ego_role"] or ("none" if told["class"] == ("normal",) else "unknown"),
        partner=told["partner"],
        alert_s=told["alert_s"],
        time_s=told["event_s"],
        end_s=told["end_s"],
        time_basis=told["time_basis"] or "unknown",
    )
    attributes = {k: mapped(k, v) for k, v in claims.get("attributes", {}).items() if v not in (None, "")}
    attributes["trigger_s"] = told["trigger_s"]
    licence = told["licence_video"] or "unknown"
    return Source(
        *(dataset, told["key"] or told["file"], told["file"], "", 0.0, 0.0, 0, 0),  # the file's facts: ingest's to say
        events=(event,),
        attributes={k: v for k, v in attributes.items() if v is not None},
        licence_video=licence,
        licence_annotation=told["licence_annotation"] or "unknown",
        root=str(root),
        drive=told["drive"],
        upload=told["upload"],
        redistribute=told["redistribute"] and not re.match(r"(none|unknown)\b", licence, re.IGNORECASE),
        third_party_endpoint=told["third_party_endpoint"],
        commercial=told["commercial"],
    )


def _file(field: str, given: Any) -> str:
    if not isinstance(given, str):
        raise Refused("no_file", "no file is named")
    if SURROGATE.search(given):
        raise Refused("not_utf8", "the file's name is not UTF-8; rename it")
    return unicodedata.normalize("NFC", given)  # as it will be stored


def _classes(field: str, given: Any) -> tuple[str, ...]:
    known = ontology("class")
    wanted = given if isinstance(given, list) else [given]
    for c in wanted:
        if c not in (*known, None):
            near = difflib.get_close_matches(str(c), known, 1)
            fix = f"values: {{class: {{{c}: {near[0] if near else 'null'}}}}}"
            raise Refused("unknown_class", f"class {str(c)!r} is none of {', '.join(known)}; map it: {fix}")
    return tuple(c for c in known if c in wanted) or known


def _word(field: str, given: Any) -> str | None:
    known = ontology(field)
    if given is not None and given not in known:
        detail = f"{field} {str(given)!r} is none of {', '.join(known)}; map it under `values` in the recipe"
        raise Refused("unknown_value", detail)
    return _text(field, given)


def _text(field: str, given: Any) -> str | None:
    if isinstance(given, (list, dict)):
        raise Refused("unknown_value", f"{field} is {type(given).__name__}, not text")
    return None if given is None else str(given)


def _seconds(field: str, given: Any) -> float | None:
    if given is None:
        return None
    text = str(given).strip()
    seconds = float(text) if NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(seconds):
        fix = "if that means none, map it to null under `values`"
        raise Refused("bad_time", f"{field} {text[:40]!r} is no number of seconds; {fix}")
    if seconds < 0:
        raise Refused("negative_time", f"{field} is {seconds:g}; times are seconds from the first frame")
    return seconds


def _flag(field: str, given: Any) -> bool:
    said = "no" if given is None else str(given).lower()
    if said not in YES + NO:
        raise Refused("unknown_value", f"{field} {str(given)!r} is neither true nor false; map it under `values`")
    return said in YES


FIELDS: dict[str, Callable[[str, Any], Any]] = {
    "file": _file, "key": _text, "class": _classes,
    **dict.fromkeys(("alert_s", "event_s", "end_s", "trigger_s"), _seconds),
    **dict.fromkeys(("ego_role", "partner", "time_basis"), _word),
    **dict.fromkeys(("drive", "upload", "licence_video", "licence_annotation"), _text),
    **dict.fromkeys(("redistribute", "third_party_endpoint", "commercial"), _flag),
}  # fmt: skip
