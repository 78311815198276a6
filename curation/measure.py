"""What can be said of a clip's pictures without knowing what they show: black, frozen, repeated, and a hash."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

HASHES_PER_S = 2  # two cuts of one drive are then at most a quarter second out of step
BLACK_LUMA, BLACK_SHARE = 38, 0.98  # FFmpeg blackdetect's defaults: a pixel at most 10 % of the range, 98 % of them
STILL_LEVELS, FROZEN_S = 0.255, 1.0  # FFmpeg freezedetect's noise floor (-60 dB of 255 levels); shortest run counted
FLAT_LEVELS = 6.0  # a frame whose 8x9 thumbnail varies less than this has no shape to recognise: its hash is empty


def measure(frames: Sequence[Image], fps: float) -> tuple[dict[str, float], tuple[str, ...]]:
    """How long the frames (luma) that a clip shows are black, frozen or repeated; and their hashes, HASHES_PER_S."""
    black = sum(bool((f <= BLACK_LUMA).mean() >= BLACK_SHARE) for f in frames)
    repeated = sum(_apart(a, b) <= STILL_LEVELS / 5 for a, b in pairwise(frames))
    runs, anchor = [0], frames[0]  # of frames that are like the first of their run
    for frame in frames:
        if _apart(frame, anchor) > STILL_LEVELS:
            runs, anchor = [*runs, 0], frame
        runs[-1] += 1
    frozen = sum(n for n in runs if n / fps >= FROZEN_S)
    step = max(1.0, fps / HASHES_PER_S)
    places = [math.ceil(i * step) for i in range(len(frames))]
    hashes = tuple(dhash(frames[i]) for i in places if i < len(frames))
    told = {"black_s": round(black / fps, 3), "frozen_s": round(frozen / fps, 3)}
    return told | {"duplicate_frames": round(repeated / len(frames), 4)}, hashes


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
