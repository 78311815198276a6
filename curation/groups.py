"""Which clips must not straddle splits: drive, else upload, else the source itself, joined by near-duplicate links.

Near-duplicates are found by their sequences of frame hashes, in time about linear in the number of clips: frames that
share a third of their bits (locality-sensitive bands) propose a pair of clips and a shift in time; the pair is linked
if the frames agree over the whole overlap. In a crowded bucket only neighbours are tried, so that many copies form a
chain. A frame without shape (empty hash) proposes nothing, and a scene that stands still must agree almost exactly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from statistics import mean

from curation.ids import make_id
from curation.types import Clip, Source

BANDS, BITS = 3, 21  # frames 4 bits apart share a band in 6 cases of 10, and a copy has many frames
CROWD = 32  # places in one bucket from which on not every pair is tried: a common look, or many copies of one clip
MIN_FRAMES = 6  # of the overlap that must show something; all of a shorter clip, but at least half as many
NEAR_BITS = 7.0  # mean distance, of 64, over the overlap of copies (measured: to 5.3; other footage from 11.6)
STILL_BITS = 1.0  # the same for scenes that do not move
MOVES = 6  # bits between frames of one clip that make it a moving scene


def near_duplicates(clips: Iterable[tuple[str, Sequence[str]]]) -> list[tuple[str, str]]:
    """Pairs of ids of clips that show the same footage, shifted in time or not.

    `clips`: id and frame hashes at an equal rate, "" where a frame shows nothing. Sorted by id.
    """
    known = sorted(clips)
    numbers = [[int(h, 16) if h else None for h in hashes] for _, hashes in known]
    buckets: defaultdict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for c, frames in enumerate(numbers):
        for i, value in enumerate(frames):
            if value is not None:
                for band in range(BANDS):
                    buckets[band, (value >> BITS * band) % (1 << BITS)].append((c, i))
    proposed: set[tuple[int, int, int]] = set()
    for places in buckets.values():
        tried = pairwise(places) if len(places) > CROWD else combinations(places, 2)
        proposed |= {(a, b, i - j) for (a, i), (b, j) in tried if a != b}
    linked = {(a, b) for a, b, shift in proposed if _agree(numbers[a], numbers[b], shift)}
    return [(known[a][0], known[b][0]) for a, b in sorted(linked)]


def _agree(a: list[int | None], b: list[int | None], shift: int) -> bool:
    """Do frame i of `a` and frame i - shift of `b` show the same over their overlap."""
    pairs = [(a[i], b[i - shift]) for i in range(max(0, shift), min(len(a), len(b) + shift))]
    shown = [(x, y) for x, y in pairs if x is not None and y is not None]
    if len(shown) < max(MIN_FRAMES // 2, min(MIN_FRAMES, len(a), len(b))) or 2 * len(shown) < len(pairs):
        return False
    apart = mean((x ^ y).bit_count() for x, y in shown)
    moves = max((x ^ shown[0][0]).bit_count() for x, _ in shown) >= MOVES
    return apart <= (NEAR_BITS if moves else STILL_BITS)


def groups(clips: Iterable[Clip], sources: Mapping[str, Source]) -> dict[str, str]:
    """Clip id → opaque group.

    Clips of one source, of one drive or upload of a dataset, and of files with equal bytes are always together.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    clips = sorted(clips, key=lambda c: c.id)
    name = {c.id: _own(sources[c.source_id]) for c in clips}
    links = [(name[c.id], f"bytes/{sources[c.source_id].sha256}") for c in clips]
    links += [(name[a], name[b]) for a, b in near_duplicates((c.id, c.phashes) for c in clips)]
    names = sorted({n for link in links for n in link})
    place = {n: i for i, n in enumerate(names)}
    pairs = [(place[a], place[b]) for a, b in links]
    ends = ([a for a, _ in pairs], [b for _, b in pairs])
    _, parts = connected_components(coo_array(([1] * len(pairs), ends), shape=(len(names), len(names))), directed=False)
    first = {part: n for n, part in zip(reversed(names), reversed(parts.tolist()), strict=True)}
    return {c.id: make_id("group", first[parts[place[name[c.id]]]]) for c in clips}


def _own(source: Source) -> str:
    if source.drive:
        return f"drive/{source.dataset}/{source.drive}"
    return f"upload/{source.dataset}/{source.upload}" if source.upload else f"source/{source.dataset}/{source.key}"
