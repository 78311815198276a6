"""Footage of ours: rendered dashcam scenes with exact labels, as ordinary mp4 files beside a CSV.

Every scene is rendered three times, as collision, near-collision and normal driving (a triplet), with equal frames up
to the alert: weather, light, road, cause, partner, drive, trigger and length are balanced over the classes by
construction, and only what happens afterwards tells them apart.

The encoder looks at no later frame, so the decoded frames before the alert are equal as well.
"""

from __future__ import annotations

import csv
import io
import os
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from curation import media
from curation.ids import make_id
from curation.pool import spread
from curation.release import write_atomic
from curation.sources.demo_draw import frames
from curation.sources.demo_scene import CLASSES, FPS, Scene, simulate
from curation.types import Progress

VERSION = 2  # of the look: part of the file names, so that footage of another version is never mistaken for this
SIZE = (168, 112)
# One quantiser, blind to what comes: neither a file's size nor a frame's grain may foretell the class.
X264 = ":qp=27:rc-lookahead=0:sync-lookahead=0:mbtree=0"


def render(
    out: Path,
    *,
    triplets: int,
    drives: int,
    seed: int,
    size: tuple[int, int] = SIZE,
    progress: Progress | None = None,
    workers: int = 2,
) -> Path:
    """Write `3 * triplets` files to `out/clips/` and `out/manifest.csv` (last); returns the manifest's path.

    The files are a function of the arguments, whatever `workers` is; more triplets change no earlier file. A file that
    is there is complete (it was renamed into place) and is not rendered again. Times in the manifest are seconds of
    the file, empty where the class has none; `trigger_s` is there for every file and equal within a triplet.
    """
    clips = out / "clips"
    clips.mkdir(parents=True, exist_ok=True)
    names = [[name_of(seed, n, drives, size, label=label) for label in CLASSES] for n in range(triplets)]
    todo = [n for n, files in enumerate(names) if not all((clips / file).exists() for file in files)]
    work = partial(_triplet, clips, seed, drives, size)
    for done, _ in enumerate(spread(work, todo, workers if len(todo) > 3 else 1), start=triplets - len(todo) + 1):
        if progress:
            progress("render", done, triplets)
    rows = [
        _row(simulate(seed, n, label, drives=drives), file)
        for n, files in enumerate(names)
        for label, file in zip(CLASSES, files, strict=True)
    ]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: row["file"]))
    write_atomic(out / "manifest.csv", text.getvalue().encode())
    return out / "manifest.csv"


def name_of(seed: int, triplet: int, drives: int, size: tuple[int, int], *, label: str) -> str:
    """The opaque name of a file: a hash of all it depends on, so its order says nothing about its class."""
    return make_id("demo", [VERSION, seed, triplet, drives, size, label]).removeprefix("demo1_")[:16] + ".mp4"


def _triplet(clips: Path, seed: int, drives: int, size: tuple[int, int], triplet: int) -> None:
    """Render what is missing of one triplet; the frames before the alert are drawn once."""
    before: list[NDArray[np.uint8]] = []
    for label in CLASSES:
        scene = simulate(seed, triplet, label, drives=drives)
        first = round(scene.alert_s * FPS)
        before = before or list(islice(frames(scene, size), first))
        path = clips / name_of(seed, triplet, drives, size, label=label)
        if path.exists():
            continue
        beside = path.with_suffix(f".{os.getpid()}.part")
        with media.h264(beside, Fraction(FPS), *size, crf=0, more=X264) as put:
            for number, picture in enumerate((*before, *frames(scene, size, first))):
                frame = av.VideoFrame.from_ndarray(picture, "yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, FPS)
                put(frame)
        beside.replace(path)


def _row(scene: Scene, name: str) -> dict[str, str]:
    happened, drive = scene.label != "normal", scene.drive
    return {
        "file": f"clips/{name}",
        "drive": drive.key,
        "label": scene.label,
        "trigger_s": f"{scene.trigger_s:.2f}",
        "alert_s": f"{scene.alert_s:.2f}" if happened else "",
        "event_time_s": f"{scene.event_s:.2f}" if scene.event_s is not None else "",
        "ego_role": scene.role if happened else "none",
        "partner": scene.actors[0].kind if happened else "",
        "cause": scene.cause,
        "weather": drive.weather,
        "light": drive.light,
        "scene": "intersection" if scene.junction is not None else "straight",
        "road": drive.road,
    }
