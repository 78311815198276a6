"""Splits: each group (drive, upload, near-duplicates) goes to one split, once, and stays there.

The ledger maps every clip ever published to its split and is inherited from release to release. New groups are
assigned largest first to the split that is furthest below its share of the group's rarest class, so that classes
stay balanced (greedy stratification after Sechidis et al. 2011, with groups in place of items).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from curation.ids import fraction

ORDER = ("test", "validation", "train")  # who keeps a group that a new link pulls into two splits


@dataclass(frozen=True)
class SplitPlan:
    """`split` per clip; `withdrawn` clips may not be published: a near-duplicate of theirs is in a graver split."""

    split: dict[str, str]
    withdrawn: dict[str, str]  # clip id -> why


def assign(
    groups: dict[str, str], classes: dict[str, str], weights: dict[str, float], ledger: dict[str, str], seed: int
) -> SplitPlan:
    """Split per clip from `groups` (clip → group), `classes` (clip → class), split weights, and the parent's ledger."""
    total = sum(weights.values())
    share = {name: w / total for name, w in weights.items() if w > 0}
    members: dict[str, list[str]] = defaultdict(list)
    for clip in sorted(groups):
        members[groups[clip]].append(clip)
    split: dict[str, str] = {}
    withdrawn: dict[str, str] = {}
    counts: dict[str, Counter[str]] = {name: Counter() for name in share}
    fresh = []
    for group, clips in members.items():
        known = {ledger[c] for c in clips if c in ledger}
        if not known:
            fresh.append(group)
            continue
        kept = next(name for name in (*ORDER, *sorted(known)) if name in known)
        for clip in clips:
            was = ledger.get(clip, kept)
            if was == kept:
                split[clip] = kept
                counts.setdefault(kept, Counter())[classes.get(clip, "")] += 1
            else:
                withdrawn[clip] = f"was in {was}; its group now holds clips of {kept}"
    pool: Counter[str] = Counter(classes.get(c, "") for c in groups)
    fresh.sort(key=lambda g: (-len(members[g]), fraction(seed, "split", g)))
    for group in fresh:
        own = Counter(classes.get(c, "") for c in members[group])
        rarest = min(own, key=lambda k: (pool[k], k))
        lack = {n: share[n] * pool[rarest] - counts[n][rarest] for n in share}
        size = {n: share[n] * len(groups) - counts[n].total() for n in share}
        best = max(share, key=lambda n: (lack[n] / share[n], size[n] / share[n], fraction(seed, group, n)))
        for clip in members[group]:
            split[clip] = best
        counts[best].update(own)
    return SplitPlan(split, withdrawn)
