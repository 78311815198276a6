"""A folder of videos and a table: anybody's footage. The licence is what the recipe or the table says, else unknown.

    {kind: folder, dataset: x, root: clips, table: manifest.csv,
     columns: {file: file, class: label, event_s: event_time_s, drive: group},       # ours: theirs
     values: {class: {near-collision: near_collision, not-driving: null}},           # null leaves the row out
     attributes: [weather, light],                                                   # or {ours: theirs}
     defaults: {redistribute: false}}

The table is CSV, TSV or JSONL in UTF-8, a row a video; its `file` is relative to `root`. Without a table every video
below `root` is a source of which nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from curation.errors import UsageError
from curation.sources.table import check_names, rows, source
from curation.types import Json, Refusal, Source

SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".mpeg", ".flv", ".wmv", ".3gp"}


def read(config: Json, base: Path) -> Iterator[Source | Refusal]:
    """One Source or Refusal a row (or a file). Raises UsageError for a missing folder, table or column."""
    root = (base / config["root"]).resolve()
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder; correct `root` in the recipe's sources")
    dataset = str(config.get("dataset") or root.name)
    if not config.get("table"):
        found = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
        yield from (source({"file": file}, file, dataset, root, config) for file in found)
        return
    columns: dict[str, str] = {"file": "file", **config.get("columns", {})}
    listed = config.get("attributes", [])
    attributes: dict[str, str] = dict(listed) if isinstance(listed, dict) else {a: a for a in listed}
    check_names(config, attributes)

    def claims(cells: Json) -> Json:
        found = {ours: cells.get(theirs) for ours, theirs in columns.items()}
        return found | {"attributes": {ours: cells.get(theirs) for ours, theirs in attributes.items()}}

    table, wanted = base / config["table"], [*columns.values(), *attributes.values()]
    yield from rows(table, table.name, wanted, dataset, root, config, claims)
