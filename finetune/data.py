"""From a release to training examples: conversations, and frames sampled uniformly over the whole clip."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from curation.errors import DataError
from curation.ids import seeded
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
    messages: list[Json]


def examples(release: Release, tasks: Sequence[str], split: str) -> list[Example]:
    """Every conversation of the tasks, in the release's order.

    Raises DataError for a task the release lacks, a conversation without an answer, or a split without any.
    """
    out = []
    for task in tasks:
        for row in release.rows(task, split):
            for talk in row["messages"]:
                turns = [{"role": t["role"], "content": t["content"]} for t in talk["messages"]]
                if len(turns) < 2 or turns[-1]["role"] != "assistant":
                    raise DataError(f"clip {row['clip_id']}, task {task}: a conversation must end with the assistant")
                out.append(Example(row["clip_id"], task, talk["style"], turns))
    if not out:
        raise DataError(f"{release.root}: {', '.join(tasks)}: no conversations in split {split!r}; see the card")
    return out


def epochs(
    items: Sequence[Example], weights: Mapping[str, float], seed: int, *, flips: bool
) -> Iterator[tuple[int, bool]]:
    """Which example, and whether it is mirrored, without end.

    Each epoch shows each one `weight of its task` times (the fraction by lot), shuffled. With `flips`, half of those
    whose text names no side come mirrored. Depends on the seed and the examples only.
    """
    sided = [any(SIDES.search(m["content"]) for m in e.messages) for e in items]
    epoch = 0
    while True:
        r = seeded(seed, "epoch", epoch)
        drawn = []
        for at, e in enumerate(items):
            weight = weights.get(e.task, 1.0)
            for _ in range(int(weight) + (r.random() < weight % 1)):
                drawn.append((at, flips and not sided[at] and r.random() < 0.5))
        r.shuffle(drawn)
        yield from drawn
        epoch += 1


def read_frames(release: Release, count: int, size: tuple[int, int], clip_id: str) -> tuple[Frames, float]:
    """`count` frames of a clip (the middles of equal parts of it) of `size` (width, height), and their rate.

    Frames are (count, height, width, 3), uint8 RGB; the rate is how many of them a second of the clip has.
    """
    frames, times = sample_frames(release.video(clip_id), n=count, size=size)
    return frames, (len(times) - 1) / (times[-1] - times[0]) if times[-1] > times[0] else 1.0
