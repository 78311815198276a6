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
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from curation.errors import UsageError
from curation.types import Event, Json, Refusal, Source

TIMES = ("event_s", "alert_s", "end_s", "trigger_s")
FLAGS = ("redistribute", "third_party_endpoint", "commercial")
FIELDS = (
    "file", "key", "class", *TIMES, "ego_role", "partner", "time_basis", "drive", "upload",
    "licence_video", "licence_annotation", *FLAGS,
)  # fmt: skip
YES, NO = ("true", "yes", "1", "y"), ("false", "no", "0", "n")


class Row(NamedTuple):
    where: str  # "manifest.csv:7"
    cells: Json


class Refused(Exception):  # noqa: N818 - a turn within this module, never seen outside
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@cache
def ontology(name: str) -> tuple[str, ...]:
    """The values of one `$defs` entry of the driving ontology."""
    text = files("schemas").joinpath("ontology/driving.json").read_text(encoding="utf-8")
    return tuple(v for v in json.loads(text)["$defs"][name]["enum"] if v is not None)


def rows(table: Path, dataset: str) -> Iterator[Row | Refusal]:
    """The rows of a CSV (or, by its ending, TSV or JSONL) file in UTF-8; each that cannot be read is a Refusal.

    Raises UsageError if the table is missing or has no header.
    """
    if not table.is_file():
        raise UsageError(f"{table}: no such table; correct `table` in the recipe's sources")
    data = table.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        detail = f"{table.name} is UTF-16; convert it: iconv -f UTF-16 -t UTF-8 {table.name}"
        yield Refusal("ingest", f"{dataset}/{table.name}", "not_utf8", detail)
        return
    text = data.decode("utf-8-sig", "surrogateescape")
    for row in _jsonl(table.name, text) if table.suffix in (".jsonl", ".ndjson") else _csv(table, text):
        bad = next((v for v in row.cells.values() if isinstance(v, str) and _undecodable(v)), None)
        if bad is not None:
            shown = bad.encode("utf-8", "surrogateescape").decode("latin-1")
            detail = f"{row.where}: not UTF-8 near {shown[:40]!r}; convert: iconv -f WINDOWS-1252 -t UTF-8 {table.name}"
            yield Refusal("ingest", f"{dataset}/{row.where}", "not_utf8", detail)
        elif problem := row.cells.get(""):
            yield Refusal("ingest", f"{dataset}/{row.where}", "malformed_row", f"{row.where}: {problem}")
        else:
            yield row


def _undecodable(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)


def _csv(table: Path, text: str) -> Iterator[Row]:
    """Rows as dicts; a row of the wrong width has its problem under the empty name."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if table.suffix == ".tsv" else ",")
    header = [h.strip() for h in next(reader, [])]
    if not header:
        raise UsageError(f"{table}: no header line; the first line must name the columns")
    for cells in reader:
        where = f"{table.name}:{reader.line_num}"
        if not any(c.strip() for c in cells):
            continue
        if len(cells) == len(header):
            yield Row(where, dict(zip(header, (c.strip() for c in cells), strict=True)))
        else:
            yield Row(where, {"": f"{len(cells)} cells where the header has {len(header)}; is a comma not quoted?"})


def _jsonl(name: str, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line, parse_constant=lambda c: str(c))
        except ValueError as e:
            cells = {"": f"not JSON ({e})"}
        yield Row(f"{name}:{number}", cells if isinstance(cells, dict) else {"": "not a JSON object"})


def source(claims: Json, where: str, dataset: str, root: Path, config: Json) -> Source | Refusal:
    """One row's claims, by our field names, as a Source without file facts; or why it cannot be one.

    `config`: `values` maps foreign values per field, `defaults` fills blank ones. A `class` that is mapped to null is
    excluded; a blank one leaves every class admissible. A video without a licence is never redistributed.
    """
    name = str(claims.get("key") or claims.get("file") or where)
    try:
        return _source(claims, where, dataset, root, config)
    except Refused as e:
        return Refusal("ingest", f"{dataset}/{name}", e.reason, f"{where}: {e.detail}")


def _source(claims: Json, where: str, dataset: str, root: Path, config: Json) -> Source:
    values, defaults = config.get("values", {}), config.get("defaults", {})

    def get(field: str) -> Any:
        raw = claims.get(field)
        mapping = {str(k): v for k, v in values.get(field, {}).items()}  # YAML reads 1 and no as other than text
        if raw is not None and str(raw) in mapping:
            raw = mapping[str(raw)]
            if raw is None and field == "class":
                raise Refused("excluded", f"the recipe leaves out class {str(claims[field])!r}")
        return defaults.get(field) if raw is None or raw == "" else raw

    file = get("file")
    if not isinstance(file, str):
        raise Refused("no_file", "no file is named")
    times = {t: _seconds(t, get(t)) for t in TIMES}
    classes = _classes(get("class"))
    event = Event(
        classes=classes,
        ego_role=_word("ego_role", get("ego_role")) or ("none" if classes == ("normal",) else "unknown"),
        partner=_word("partner", get("partner")),
        alert_s=times["alert_s"],
        time_s=times["event_s"],
        end_s=times["end_s"],
        time_basis=_word("time_basis", get("time_basis")) or "unknown",
    )
    _check_order(event)
    attributes = dict(claims.get("attributes", {}))
    attributes = {k: values.get(k, {}).get(str(v), v) for k, v in attributes.items() if v not in (None, "")}
    if times["trigger_s"] is not None:
        attributes["trigger_s"] = times["trigger_s"]
    licence = str(get("licence_video") or "unknown")
    flags = {f: _flag(f, get(f)) for f in FLAGS}
    if re.match(r"(none|unknown)\b", licence, re.IGNORECASE):
        flags["redistribute"] = False
    drive, upload = get("drive"), get("upload")
    return Source(
        dataset=dataset,
        key=str(get("key") or file),
        uri=file,
        sha256="",
        duration_s=0.0,
        fps=0.0,
        width=0,
        height=0,
        events=(event,),
        attributes={k: v for k, v in attributes.items() if v is not None},
        licence_video=licence,
        licence_annotation=str(get("licence_annotation") or "unknown"),
        root=str(root),
        drive=None if drive is None else str(drive),
        upload=None if upload is None else str(upload),
        redistribute=flags["redistribute"],
        third_party_endpoint=flags["third_party_endpoint"],
        commercial=flags["commercial"],
    )


def _classes(given: Any) -> tuple[str, ...]:
    known = ontology("class")
    if given is None:
        return known
    wanted = given if isinstance(given, list) else [given]
    for c in wanted:
        if c not in known:
            near = difflib.get_close_matches(str(c), known, 1)
            fix = f"values: {{class: {{{c}: {near[0] if near else 'null'}}}}}"
            raise Refused("unknown_class", f"class {str(c)!r} is none of {', '.join(known)}; map it: {fix}")
    return tuple(c for c in known if c in wanted)


def _word(field: str, given: Any) -> str | None:
    if given is None:
        return None
    if given not in ontology(field):
        known = ", ".join(ontology(field))
        detail = f"{field} {str(given)!r} is none of {known}; map it under `values` in the recipe"
        raise Refused("unknown_value", detail)
    return str(given)


def _seconds(field: str, given: Any) -> float | None:
    if given is None:
        return None
    try:
        seconds = float(given)
    except (TypeError, ValueError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise Refused("bad_time", f"{field} {str(given)!r} is no number of seconds")
    if seconds < 0:
        raise Refused("negative_time", f"{field} is {seconds:g}; times are seconds from the first frame")
    return seconds


def _flag(field: str, given: Any) -> bool:
    said = str(given).lower()
    if given is None or said in NO:
        return False
    if said in YES:
        return True
    raise Refused("unknown_value", f"{field} {str(given)!r} is neither true nor false; map it under `values`")


def _check_order(event: Event) -> None:
    named = [("alert_s", event.alert_s), ("event_s", event.time_s), ("end_s", event.end_s)]
    given = [(n, t) for n, t in named if t is not None]
    for (n, t), (later, u) in pairwise(given):
        if t > u:
            raise Refused("times_out_of_order", f"{n} {t:g} is after {later} {u:g}")
