"""Rows of anybody's table: JSONL, JSON, CSV, TSV, Parquet, a folder of them, or a dataset on a Hub.

A row is a dict. Nested objects stay as they are and are reached by dotted names (`meta.question`). JSON may be a list
of records, a list of lists under a header row, an object of records (their keys become the column `key1`), or an object
of objects of records (`key1`, `key2`), as benchmarks that hold several questions a video are. Columns of bytes (media)
are not read.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from curation.errors import DataError, UsageError
from curation.types import Json

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
NO_FILE = "no such file or folder (a dataset on the Hub is written owner/name, or owner/name/config)"


def read_rows(origin: str) -> list[Json]:
    """The rows of a file, folder or Hub dataset. Raises as `read_file` does."""
    path = Path(origin).expanduser()
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not files:
            raise DataError(f"{origin}: no {', '.join(SUFFIXES)} file in this folder")
        rows = [{"file": str(p.relative_to(path))} | row for p in files for row in read_file(p)]
    elif not path.exists() and re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+){1,2}", origin) and path.suffix not in SUFFIXES:
        rows = _read_hub(*origin.split("/"))
    else:
        rows = read_file(path)
    if not rows:
        raise DataError(f"{origin}: no rows")
    return rows


def read_file(path: Path) -> list[Json]:
    """The rows of one file, by its suffix. Raises DataError, or UsageError when `path` names nothing."""
    suffix = path.suffix.lower()
    if not path.exists():
        raise UsageError(f"{path}: {NO_FILE}")
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: cannot read {suffix or 'a file without suffix'}; give {', '.join(SUFFIXES)}")
    if suffix == ".parquet":
        return _read_parquet(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as e:
        raise DataError(f"{path}: byte {e.start} is not UTF-8; convert it: iconv -f latin1 -t utf-8") from e
    except OSError as e:
        raise DataError(f"{path}: {e.strerror}; check the path") from e
    if suffix in (".csv", ".tsv"):
        return _read_csv(text.lstrip("\n"), path)
    if suffix == ".json":
        return _records(_decode(text, f"{path}"), path)
    lines = enumerate(text.split("\n"), 1)
    return _records([_decode(line, f"{path}, line {n}") for n, line in lines if line.strip()], path)


# --- columns ----------------------------------------------------------------------------------------------------------
def match_columns(rows: Sequence[Json], names: str) -> list[str]:
    """The columns (dotted where nested) that `names` means: one, a comma list, or a pattern such as `option*`.

    Of a pattern in natural order. The end of a dotted name will do where no other has it. Raises UsageError that names
    the nearest column.
    """
    columns = sorted({name for row in rows for name in _names(row)})
    if names in columns or any(c.startswith(f"{names}.") for c in columns):
        return [names]
    found: list[str] = []
    for name in (n.strip() for n in names.split(",")):
        ends = [c for c in columns if c.endswith(f".{name}")]
        hits = [c for c in columns if fnmatchcase(c, name)] or (ends if len(ends) == 1 else [])
        if not hits:
            near = difflib.get_close_matches(name, columns, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(f"no column {name!r}; {hint}The columns are: {', '.join(columns[:40])}")
        found += sorted(hits, key=lambda c: [(int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", c)])
    return found


def match_column(rows: Sequence[Json], name: str) -> str:
    """The one column that `name` means. Raises UsageError."""
    found = match_columns(rows, name)
    if len(found) > 1:
        raise UsageError(f"{name!r} means {len(found)} columns ({', '.join(found[:5])}); give one")
    return found[0]


def _names(row: Json, prefix: str = "") -> Iterator[str]:
    for key, value in row.items():
        inner = value if isinstance(value, dict) else next((v for v in _objects(value)), None)
        yield from _names(inner, f"{prefix}{key}.") if inner else [f"{prefix}{key}"]
        if inner and isinstance(value, list):  # a list of objects may be a value, too: options with labels
            yield f"{prefix}{key}"


def _objects(value: Any) -> list[Json]:
    return value if isinstance(value, list) and all(isinstance(v, dict) for v in value) else []


def unfold(row: Json, column: str) -> list[Json]:
    """A row for each object of a list that the dotted `column` goes through; others stay one row."""
    head, _, rest = column.partition(".")
    if column in row or not rest:
        return [row]
    inner = [row[head]] if isinstance(row.get(head), dict) else _objects(row.get(head))
    return [row | {head: one} for value in inner for one in unfold(value, rest)]


def cell(row: Json, column: str) -> Any:
    """The value at a column or dotted path; None when absent or NaN."""
    value: Any = row
    for part in [column] if column in row else column.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return None if value != value else value  # NaN is unlike itself


def shown(text: object, width: int = 300) -> str:
    """Foreign text as one line of printable characters: it must not drive a terminal."""
    line = "".join(c if c.isprintable() else " " for c in str(text))
    return line if len(line) <= width else line[: width - 1] + "…"


# --- formats ----------------------------------------------------------------------------------------------------------
def _read_csv(text: str, path: Path) -> list[Json]:
    """The delimiter is a tab in .tsv, else the one of `,;|` and tab that the header has most of."""
    header = text.partition("\n")[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restkey="\0", strict=True)
    rows = []
    try:
        names = [name for name in reader.fieldnames or () if name.strip()]
        if twice := [name for name in names if names.count(name) > 1]:
            raise DataError(f"{path}: two columns are called '{twice[0]}'; rename one")
        for row in reader:
            if any(row.pop("\0", ())):  # empty ones beyond the header are a spreadsheet's
                raise DataError(f"{path}, line {reader.line_num}: more cells than the header has; quote the commas")
            rows.append(row)
    except csv.Error as e:
        raise DataError(f"{path}, after line {reader.line_num}: cannot be read: {e}; check the quotes") from e
    return rows


def _decode(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:  # a number of 5,000 digits is a ValueError
        raise DataError(f"{where}: not JSON: {e}; one record a line is read from .jsonl") from e


def _records(value: Any, path: Path) -> list[Json]:
    """Rows of a decoded JSON value: see the module's first lines."""
    if isinstance(value, dict):
        value = _keyed(value)
    if not isinstance(value, list):
        raise DataError(f"{path}: {type(value).__name__}, neither a list nor an object of records")
    if value and all(isinstance(v, list) for v in value):
        header, *cells = value
        if not all(isinstance(h, str) for h in header) or len(set(header)) < len(header):
            raise DataError(f"{path}: a list of lists whose first row is no header of distinct names")
        if odd := next((n for n, v in enumerate(cells, 2) if len(v) != len(header)), None):
            raise DataError(f"{path}, row {odd}: {len(value[odd - 1])} values under {len(header)} columns")
        return [dict(zip(header, v, strict=True)) for v in cells]
    if odd := next((i for i, v in enumerate(value, 1) if not isinstance(v, dict)), None):
        raise DataError(f"{path}, record {odd}: {type(value[odd - 1]).__name__}, not an object")
    return value


def _keyed(value: Json) -> Any:
    """Records under names, or under names of names, where they share a key, as records of one kind do."""
    if not all(isinstance(v, dict) for v in value.values()):
        lists = [{"key1": key} | record for key, records in value.items() for record in _objects(records)]
        return lists or value
    pairs = [(a, b, r) for a, records in value.items() for b, r in records.items()]
    if pairs and all(isinstance(r, dict) for *_, r in pairs) and set.intersection(*(set(r) for *_, r in pairs)):
        return [{"key1": a, "key2": b} | r for a, b, r in pairs]
    return [{"key1": key} | record for key, record in value.items()]


def _readable(schema: Any) -> list[str]:
    """The columns of an Arrow schema without bytes in them."""
    return [field.name for field in schema if "binary" not in str(field.type)]


def _read_parquet(path: Path) -> list[Json]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        rows: list[Json] = parquet.read_table(path, columns=_readable(parquet.read_schema(path))).to_pylist()
    except (OSError, pa.ArrowException) as e:
        raise DataError(f"{path}: not readable as Parquet: {str(e).splitlines()[0]}") from e
    return rows


def _read_hub(owner: str, name: str, *config: str) -> list[Json]:
    """Every split of a dataset on the Hub; the split's name is the column `split`."""
    import datasets
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    repo = f"{owner}/{name}"
    try:
        if not constants.HF_HUB_OFFLINE:  # asks once, where `datasets` tries for half a minute
            HfApi().dataset_info(repo, timeout=10)
        splits = datasets.load_dataset(repo, *config)
    except (OSError, ValueError, RuntimeError, HTTPError) as e:
        line = " ".join(str(e).split())[:200]
        raise DataError(f"{repo}: no such path here, and nothing from the Hub: {line}; give files you have") from e
    parts = {name: part.select_columns(_readable(part.features.arrow_schema)) for name, part in splits.items()}
    return [{"split": name} | row for name, part in parts.items() for row in part]
