"""Nexar collision prediction dataset: dashcam videos of about 40 s, positives with event and alert times.

Both layouts: Kaggle (`train.csv`: id,time_of_event,time_of_alert,target; `train/<id>.mp4`) and Hugging Face
(`train/positive|negative/metadata.csv`: file_name,time_of_event,time_of_alert,light_conditions,weather,scene). Ids are
text of five digits; a table that lost the leading zeros is understood. A positive is a collision or a near-collision,
which the corpus does not tell apart: both stay admissible. The test folders are not read: their videos end before the
event. Drives are unknown.

Licence: Nexar Open Data License (use and distribution with attribution; no resale, no re-identification). Nothing is
redistributed unless the recipe says `defaults: {redistribute: true}`.

    {kind: nexar, root: nexar-collision-prediction}
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from curation.errors import UsageError
from curation.sources.table import check_names, rows
from curation.types import Json, Refusal, Source

CLASSES = {"1": ["collision", "near_collision"], "0": ["normal"]}
FOLDERS = {"positive": "1", "negative": "0"}
LICENCE = "Nexar Open Data License"
TIMES = ["time_of_event", "time_of_alert"]
WORDS = {
    "light_conditions": {"Normal": "day", "Bright": "day", "Dark": "night"},
    "weather": {"Clear": "clear", "Cloudy": "overcast", "Rain": "rain", "Snow": "snow", "Fog": "fog"},
    "scene": {"Urban": "urban", "Sub-urban": "suburban", "Highway": "highway", "Rural": "rural"},
}
ATTRIBUTES = {"light": "light_conditions", "weather": "weather", "road": "scene"}


def read(config: Json, base: Path) -> Iterator[Source | Refusal]:
    """One Source or Refusal a row. Raises UsageError where neither layout is found, or a column is missing."""
    root = (base / config["root"]).resolve()
    dataset = str(config.get("dataset") or "nexar")
    check_names(config, ATTRIBUTES)
    licence = {"licence_video": LICENCE, "licence_annotation": LICENCE}
    config = {**config, "defaults": licence | config.get("defaults", {})}
    tables = [root / "train.csv", *(root / "train" / f / "metadata.csv" for f in FOLDERS)]
    found = [t for t in tables if t.is_file()]
    if not found:
        raise UsageError(f"{root}: neither train.csv nor train/positive/metadata.csv; is `root` Nexar's folder?")
    for table in found[:1] if found[0] == tables[0] else found:
        target = FOLDERS.get(table.parent.name)
        folder = table.parent if target else root / "train"
        wanted = [*TIMES, *(["file_name"] if target else ["id", "target"])]
        claims = partial(_claims, folder=folder, root=root, target=target)
        yield from rows(table, table.relative_to(root).as_posix(), wanted, dataset, root, config, claims)


def _claims(cells: Json, folder: Path, root: Path, target: str | None) -> Json:
    name = PurePosixPath(cells["file_name"]).stem if target else str(cells["id"])
    if name.isdigit() and len(name) < 5 and not (folder / f"{name}.mp4").exists():
        name = name.zfill(5)
    target = target or cells["target"].removesuffix(".0")
    return {
        "key": name,
        "file": f"{folder.relative_to(root).as_posix()}/{name}.mp4" if name else None,
        "class": CLASSES.get(target, target or None),
        "event_s": cells["time_of_event"],
        "alert_s": cells["time_of_alert"],
        "attributes": {ours: WORDS[theirs].get(str(cells.get(theirs))) for ours, theirs in ATTRIBUTES.items()},
    }
