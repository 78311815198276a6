"""A folder of videos and a table: anybody's footage. The licence is what the recipe or the table says, else unknown.

    {kind: folder, dataset: x, root: clips, table: manifest.csv,
     columns: {file: file, class: label, event_s: event_time_s, drive: group},       # ours: theirs
     values: {class: {near-collision: near_collision, not-driving: null}},           # null leaves the row out
     attributes: [weather, light],                                                   # or {ours: theirs}
     defaults: {redistribute: false}}

The table is CSV, TSV or JSONL in UTF-8, a row a video; `columns` may name any of `curation.sources.table.FIELDS`, and
`file` is relative to `root`. Without a table every video below `root` is a source of which nothing is claimed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from curation.errors import UsageError
from curation.sources.table import Row, rows, source
from curation.types import Json, Refusal, Source

SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".mpeg", ".flv", ".wmv", ".3gp"}


def read(config: Json, base: Path) -> Iterator[Source | Refusal]:
    """One Source or Refusal a row (or a file). Raises UsageError for a missing folder, table or column."""
    root = (base / config["root"]).resolve()
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder; correct `root` in the recipe's sources")
    dataset = str(config.get("dataset") or root.name)
    if not config.get("table"):
        videos = (p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
        for path in sorted(videos):
            file = path.relative_to(root).as_posix()
            yield source({"file": file}, file, dataset, root, config)
        return
    columns: dict[str, str] = {"file": "file", **config.get("columns", {})}
    listed = config.get("attributes", [])
    attributes: dict[str, str] = dict(listed) if isinstance(listed, dict) else {a: a for a in listed}
    table = base / config["table"]
    csv_like = table.suffix not in (".jsonl", ".ndjson")
    for row in rows(table, dataset):
        if isinstance(row, Refusal):
            yield row
            continue
        if csv_like:
            _check_columns(row, [*columns.values(), *attributes.values()], table)
            csv_like = False  # every row has the header's columns
        claims: Json = {ours: row.cells.get(theirs) for ours, theirs in columns.items()}
        claims["attributes"] = {ours: row.cells.get(theirs) for ours, theirs in attributes.items()}
        yield source(claims, row.where, dataset, root, config)


def _check_columns(row: Row, wanted: list[str], table: Path) -> None:
    for column in wanted:
        if column not in row.cells:
            near = difflib.get_close_matches(column, row.cells, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(row.cells)}"
            raise UsageError(f"{table}: no column {column!r}; {hint}")
