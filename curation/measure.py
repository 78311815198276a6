"""What can be said of a clip's pictures without knowing what they show: black, frozen, repeated, and a hash."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

HASHES_PER_S = 2  # two cuts of one drive are then at most a quarter second out of step
BLACK_LUMA, BLACK_SHARE = 38, 0.98  # FFmpeg blackdetect's defaults: a pixel at most 10 % of the range, 98 % of them
STILL_LEVELS, FROZEN_S = 0.255, 1.0  # FFmpeg freezedetect's noise floor (-60 dB of 255 levels); shortest run counted
FLAT_LEVELS = 6.0  # a frame whose 8x9 thumbnail varies less than this has no shape to recognise: its hash is empty


def measure(frames: Iterable[Image], fps: float) -> tuple[dict[str, float], tuple[str, ...]]:
    """How long the frames (luma) that a clip shows are black, frozen or repeated; and their hashes, HASHES_PER_S. Each
    is looked at as it comes: a long clip takes no more memory than a short one."""
    hashes: list[str] = []
    count = black = repeated = frozen = run = 0
    before: Image | None = None
    anchor: Image | None = None  # the first of a run of frames that are like it
    for count, frame in enumerate(frames, 1):
        if count - 1 >= len(hashes) * fps / HASHES_PER_S:
            hashes.append(dhash(frame))
        black += bool((frame <= BLACK_LUMA).mean() >= BLACK_SHARE)
        repeated += before is not None and _apart(frame, before) <= STILL_LEVELS / 5
        if anchor is None or _apart(frame, anchor) > STILL_LEVELS:
            frozen += run * (run / fps >= FROZEN_S)
            run, anchor = 0, frame
        run, before = run + 1, frame
    frozen += run * (run / fps >= FROZEN_S)
    told = {"black_s": round(black / fps, 3), "frozen_s": round(frozen / fps, 3)}
    return told | {"duplicate_frames": round(repeated / count, 4)}, tuple(hashes)


def _apart(a: Image, b: Image) -> float:
    return float(np.abs(a.astype(np.int16) - b).mean())


def dhash(luma: Image) -> str:
    """64-bit difference hash, 16 hex digits: is each of 8x8 cells brighter than its left neighbour.

    N. Krawetz, "Kind of Like That" (2013). A frame without shape (night, fog, lens cap) gives "": its bits would be
    sensor noise, and all such frames would resemble one another.
    """
    rows = np.linspace(0, luma.shape[0], 9).astype(int)
    columns = np.linspace(0, luma.shape[1], 10).astype(int)
    sums = np.add.reduceat(np.add.reduceat(luma.astype(np.float64), rows[:-1], 0), columns[:-1], 1)
    cells = sums / np.outer(np.diff(rows), np.diff(columns))
    if cells.std() < FLAT_LEVELS:
        return ""
    return np.packbits(np.diff(cells, axis=1) > 0).tobytes().hex()
