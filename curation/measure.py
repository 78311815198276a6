"""What can be said of a clip's pictures without knowing what they show: black, frozen, repeated, and a hash."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

HASHES_PER_S = 2  # two cuts of one drive are then at most a quarter second out of step
BLACK_LUMA, BLACK_SHARE = 38, 0.98  # FFmpeg blackdetect's defaults: a pixel at most 10 % of the range, 98 % of them
STILL_LEVELS, FROZEN_S = 0.255, 1.0  # FFmpeg freezedetect's noise floor (-60 dB of 255 levels); shortest run counted
FLAT_LEVELS = 6.0  # a frame whose 8x9 thumbnail varies less than this has no shape to recognise: its hash is empty


class Measure:
    """Black, frozen and repeated frames, and hashes, of the frames that a cut shows."""

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self.hashes: list[str] = []
        self.count = self.black = self.repeated = self.frozen = 0
        self.previous: Image | None = None
        self.anchor: Image | None = None  # first frame of the run that may be frozen
        self.run = 0

    def add(self, luma: Image) -> None:
        if self.count >= len(self.hashes) * self.fps / HASHES_PER_S:
            self.hashes.append(dhash(luma))
        self.black += bool((luma <= BLACK_LUMA).mean() >= BLACK_SHARE)
        self.repeated += _apart(luma, self.previous) <= STILL_LEVELS / 5
        if _apart(luma, self.anchor) > STILL_LEVELS:
            self._end_run()
            self.anchor = luma
        self.run += 1
        self.previous = luma
        self.count += 1

    def _end_run(self) -> None:
        if self.run / self.fps >= FROZEN_S:
            self.frozen += self.run
        self.run = 0

    def result(self) -> dict[str, float]:
        self._end_run()
        return {
            "black_s": round(self.black / self.fps, 3),
            "frozen_s": round(self.frozen / self.fps, 3),
            "duplicate_frames": round(self.repeated / self.count, 4),
        }


def _apart(a: Image, b: Image | None) -> float:
    return 255.0 if b is None else float(np.abs(a.astype(np.int16) - b).mean())


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
