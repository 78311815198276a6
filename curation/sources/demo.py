"""Footage of ours: rendered dashcam scenes with exact labels, as ordinary mp4 files beside a CSV.

Every scene is rendered three times, as collision, near-collision and normal driving (a triplet), with equal frames up
to the alert: weather, light, road, cause, partner, drive, trigger and length are balanced over the classes by
construction, and only what happens afterwards tells them apart.

The encoder looks at no later frame (no B-frames, no lookahead, constant quantiser), so the decoded frames before the
alert are equal as well.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray

from curation.ids import make_id
from curation.pool import spread
from curation.release import write_atomic
from curation.sources.demo_draw import frames
from curation.sources.demo_scene import CLASSES, FPS, Scene, simulate
from curation.types import Progress

VERSION = 2  # of the look: part of the file names, so that footage of another version is never mistaken for this
SIZE = (168, 112)
X264 = {
    "preset": "superfast",
    "qp": "27",
    "x264-params": "cpu-independent=1:bframes=0:rc-lookahead=0:sync-lookahead=0:mbtree=0:scenecut=0:threads=1",
}
_Job = tuple[Path, int, int, int, tuple[int, int]]


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
    jobs = [(clips, seed, n, drives, size) for n in range(triplets)]
    jobs = [j for j in jobs if not all((clips / name_of(*j[1:], label=c)).exists() for c in CLASSES)]
    for done, _ in enumerate(spread(_triplet, jobs, workers if len(jobs) > 3 else 1), start=triplets - len(jobs) + 1):
        if progress:
            progress("render", done, triplets)
    rows = [
        _row(simulate(seed, n, label, drives=drives), name_of(seed, n, drives, size, label=label))
        for n in range(triplets)
        for label in CLASSES
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


def _triplet(job: _Job) -> None:
    """Render what is missing of one triplet; the frames before the alert are drawn once."""
    clips, seed, triplet, drives, size = job
    before: list[NDArray[np.uint8]] = []
    for label in CLASSES:
        scene = simulate(seed, triplet, label, drives=drives)
        first = round(scene.alert_s * FPS)
        before = before or list(islice(frames(scene, size), first))
        path = clips / name_of(seed, triplet, drives, size, label=label)
        if not path.exists():
            write_atomic(path, encode((*before, *frames(scene, size, first))))


def encode(pictures: Iterable[NDArray[np.uint8]]) -> bytes:
    """An mp4 of I420 `pictures` at a constant rate: H.264, a key frame each second, start 0, no clock inside."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=FPS, options=X264)
        stream.codec_context.gop_size = FPS
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= Flags.bitexact
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            if number == 0:
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


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
