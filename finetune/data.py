"""From a release to training examples: conversations, and frames sampled uniformly over the whole clip."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from curation.errors import DataError
from curation.ids import canonical_json, fraction, seeded, sha256_bytes
from curation.media import sample_frames
from curation.release import Release
from curation.types import Json
from finetune.vlm import Frames

SIDES = re.compile(r"\b(left|right)(most|wards?)?\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation about one clip. The last turn is the assistant's: what is learned."""

    clip_id: str
    task: str
    style: str
    messages: tuple[Json, ...]
    flip: bool = False  # mirrored; only where no text names a side

    @property
    def prompt(self) -> tuple[Json, ...]:
        return self.messages[:-1]

    @property
    def completion(self) -> str:
        return str(self.messages[-1]["content"])


def examples(release: Release, tasks: Sequence[str], split: str) -> list[Example]:
    """Every conversation of the tasks, in the release's order.

    Raises DataError for a task the release lacks, a conversation without an answer, or a split without any.
    """
    out = []
    for task in tasks:
        for row in release.rows(task, split):
            for talk in row["messages"]:
                turns = tuple({"role": t["role"], "content": t["content"]} for t in talk["messages"])
                if len(turns) < 2 or turns[-1]["role"] != "assistant":
                    raise DataError(f"clip {row['clip_id']}, task {task}: a conversation must end with the assistant")
                out.append(Example(row["clip_id"], task, talk["style"], turns))
    if not out:
        raise DataError(f"{release.root}: {', '.join(tasks)}: no conversations in split {split!r}; see the card")
    return out


def epochs(items: Sequence[Example], weights: Mapping[str, float], seed: int, *, flips: bool) -> Iterator[Example]:
    """Examples without end: each epoch shows each one `weight of its task` times (the fraction by lot), shuffled.

    With `flips`, half of those whose text names no side come mirrored. Depends on the seed and the examples only.
    """
    sided = [any(SIDES.search(m["content"]) for m in e.messages) for e in items]
    epoch = 0
    while True:
        drawn = []
        for e, names_side in zip(items, sided, strict=True):
            weight = weights.get(e.task, 1.0)
            lot = (seed, epoch, e.clip_id, e.task, e.style, e.completion)
            for copy in range(int(weight) + (fraction("copy", *lot) < weight % 1)):
                mirrored = flips and not names_side and fraction("flip", copy, *lot) < 0.5
                drawn.append(Example(e.clip_id, e.task, e.style, e.messages, mirrored))
        seeded(seed, "epoch", epoch).shuffle(drawn)
        yield from drawn
        epoch += 1


@dataclass
class FrameStore:
    """The frames of a release's clips, decoded once: kept in memory up to `budget` bytes and, with `cache`, on disk.

    `count` frames (the middles of equal parts of the clip) of `size` (width, height) pixels.
    """

    release: Release
    count: int = 16
    size: tuple[int, int] = (84, 56)
    cache: Path | None = None
    budget: int = 2 << 30
    _kept: dict[str, tuple[Frames, float]] = field(default_factory=dict)

    def get(self, clip_id: str) -> tuple[Frames, float]:
        """Frames (count, height, width, 3) as uint8 RGB, and how many of them a second of the clip has."""
        if clip_id in self._kept:
            return self._kept[clip_id]
        loaded = self._load(clip_id)
        self.budget -= loaded[0].nbytes
        if self.budget > 0:
            self._kept[clip_id] = loaded
        return loaded

    def _load(self, clip_id: str) -> tuple[Frames, float]:
        name = sha256_bytes(canonical_json(["frames1", clip_id, self.count, self.size]).encode())
        path = self.cache / name[:2] / f"{name}.npz" if self.cache else None
        if path and path.is_file():
            with np.load(path, allow_pickle=False) as kept:
                return kept["frames"], float(kept["fps"])
        frames, times = sample_frames(self.release.video(clip_id), n=self.count, size=self.size)
        fps = (len(times) - 1) / (times[-1] - times[0]) if times[-1] > times[0] else 1.0
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_suffix(f".{os.getpid()}.tmp")
            with beside.open("wb") as f:
                np.savez(f, frames=frames, fps=fps)
            beside.replace(path)
        return frames, fps
