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
from pathlib import Path

from curation.errors import UsageError
from curation.sources.table import Row, rows, source
from curation.types import Json, Refusal, Source

CLASSES = {"1": ["collision", "near_collision"], "0": ["normal"]}
FOLDERS = {"positive": "1", "negative": "0"}
LICENCE = "Nexar Open Data License"
ATTRIBUTES = {"light": "light_conditions", "weather": "weather", "road": "scene"}
WORDS = {
    "light": {"Normal": "day", "Bright": "day", "Dark": "night"},
    "weather": {"Clear": "clear", "Cloudy": "overcast", "Rain": "rain", "Snow": "snow", "Fog": "fog"},
    "road": {"Urban": "urban", "Sub-urban": "suburban", "Highway": "highway", "Rural": "rural"},
}


def read(config: Json, base: Path) -> Iterator[Source | Refusal]:
    """One Source or Refusal a row. Raises UsageError where neither layout is found."""
    root = (base / config["root"]).resolve()
    dataset = str(config.get("dataset") or "nexar")
    config = {
        **config,
        "defaults": {"licence_video": LICENCE, "licence_annotation": LICENCE} | config.get("defaults", {}),
    }
    kaggle = root / "train.csv"
    tables = [kaggle] if kaggle.is_file() else [root / "train" / f / "metadata.csv" for f in FOLDERS]
    tables = [t for t in tables if t.is_file()]
    if not tables:
        raise UsageError(f"{root}: neither train.csv nor train/positive/metadata.csv; is `root` Nexar's folder?")
    for table in tables:
        below = table.parent.relative_to(root)
        folder = below / "train" if table is kaggle else below
        for row in rows(table, dataset):
            if isinstance(row, Refusal):
                yield row
            else:
                yield source(_claims(row, folder, root), f"{below / row.where}", dataset, root, config)


def _claims(row: Row, folder: Path, root: Path) -> Json:
    cells = row.cells
    name = str(cells.get("id") or Path(str(cells.get("file_name") or cells.get("video") or "")).stem)
    target = FOLDERS.get(folder.name) or str(cells.get("target", "")).removesuffix(".0")
    if name.isdigit() and len(name) < 5 and not (root / folder / f"{name}.mp4").exists():
        name = name.zfill(5)
    return {
        "key": name,
        "file": f"{(folder / name).as_posix()}.mp4" if name else None,
        "class": CLASSES.get(target, target or None),
        "event_s": cells.get("time_of_event"),
        "alert_s": cells.get("time_of_alert"),
        "attributes": {ours: WORDS[ours].get(str(cells.get(theirs))) for ours, theirs in ATTRIBUTES.items()},
    }
