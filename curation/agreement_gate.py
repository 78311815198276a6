"""What agreement decides: may a field be published, did drafts sway the raters, how does each rater stand."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from curation.agreement_scores import Score, label, scores, shares
from curation.agreement_sums import Rating, encode, wilson

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class GateResult:
    """`status`: passed, failed, or not shown (too few units to know); `message` says it in one line."""

    field: str
    status: str
    message: str
    alpha: Score
    specific: Score | None  # of `rarest`
    rarest: str | None
    units: int  # what the verdict rests on: units of the rarest class, or all units where values are not categories
    more_units: int | None  # about how many more units would be needed to know; None: more units would not help

    @property
    def passed(self) -> bool:
        return self.status == "passed"


def gate(
    table: Iterable[Rating],
    field: str,
    min_alpha: float,
    min_specific: float,
    min_units: int = 30,
    *,
    level: str = "nominal",
    classes: Sequence[str] | None = None,
    seed: int = 0,
    replicates: int = 1000,
) -> GateResult:
    """Does `field` hold on the lower ends of alpha and of the rarest class's specific agreement?

    `table` is the random, blind overlap and nothing else: ratings that saw a draft, or were chosen for being hard,
    answer another question. `classes` names classes that must be shown even if nobody gave them. Numbers and segments
    have no classes: alpha alone decides (of segments: the worse of start and end) on at least `min_units` units. How
    many in all: an interval's width shrinks with the root of their number, so n ((value - low) / (value - bound))^2.
    """
    rows = [row for row in table if row.field == field]
    if level == "segment":
        ends = [[replace(row, value=row.value[end]) for row in rows] for end in (0, 1)]
        both = [gate(r, field, min_alpha, min_specific, min_units, level="interval", seed=seed) for r in ends]
        return min(both, key=lambda one: -math.inf if one.alpha.low is None else one.alpha.low)
    # The scale as given comes first; what raters wrote beside it still counts.
    known = [*classes, *sorted({str(row.value) for row in rows} - set(classes))] if classes else None
    s = scores(encode(rows, level, known), seed, replicates, listed=len(rows) + len(known or ()))
    rarest = min(s.prevalence, key=lambda c: (s.prevalence[c], c)) if s.prevalence else None
    specific = s.specific[rarest] if rarest is not None else None
    units, every = (s.alpha.n if specific is None else specific.n), s.raw.n
    of = f" '{rarest}'" if rarest is not None else ""

    def told(status: str, text: str, more: int | None) -> GateResult:
        return GateResult(field, status, f"{field}: {status}: {text}", s.alpha, specific, rarest, units, more)

    if units < min_units:
        rate = units / every if units else 1 / max(1, every)  # none seen: at best one in the next as many
        more = math.ceil((min_units - units) / rate) if every else min_units
        wanted = f"{'about' if units else 'at least'} {more} more items rated twice, blind and at random"
        return told("not shown", f"{units} units of{of or ' it'}, {min_units} are needed: {wanted}", more)
    judged = [("alpha", s.alpha, min_alpha)]
    if specific is not None:
        judged.append((f"agreement on{of}", specific, min_specific))
    failing, needed = [], [0]
    for name, score, bound in judged:
        if score.value is None or score.low is None:
            return told("not shown", f"{name} is undefined: {score.reason}", None)
        if score.low >= bound:
            continue
        failing.append(
            f"{name} {score.value:.2f} [{score.low:.2f}, {score.high:.2f}], and the lower end must be {bound:g}"
        )
        shown = (score.value - score.low) / (score.value - bound) if score.value > bound else math.inf
        needed.append(math.ceil(every * (shown**2 - 1)) if shown < 1e4 else -1)
    if not failing:
        stands = [f"{name} {score.value:.2f} [{score.low:.2f}, {score.high:.2f}]" for name, score, _ in judged]
        return told("passed", ", ".join(stands), 0)
    if min(needed) < 0:
        text = "more ratings would not help, the value itself is too low: settle the guideline first"
        return told("failed", f"{'; '.join(failing)}; {text}", None)
    text = f"about {max(needed)} more items rated twice, blind and at random, would be needed to know"
    return told("failed", f"{'; '.join(failing)}; {text}", max(needed))


@dataclass(frozen=True, slots=True)
class Shift:
    """What a draft in view changes: a score on the blind share, on the drafted share, and drafted minus blind."""

    blind: Score
    drafted: Score
    difference: Score


def anchoring(
    blind: Iterable[Rating],
    drafted: Iterable[Rating],
    field: str,
    level: str = "nominal",
    *,
    seed: int = 0,
    replicates: int = 1000,
) -> dict[str, Shift]:
    """The shift of `raw`, `alpha` and of each class's share (`share:<class>`) from the blind to the drafted share.

    The two shares hold different clips, so they are independent. The interval of a difference is made from the two
    intervals (MOVER: Newcombe (1998) Stat. Med. 17:873, method 10; Zou and Donner (2008) Stat. Med. 27:1693).
    """
    both = [[row for row in rows if row.field == field] for rows in (blind, drafted)]
    classes = sorted({row.value for rows in both for row in rows})
    encoded = [encode(rows, level, classes) for rows in both]
    (b, d) = (scores(r, seed, replicates) for r in encoded)
    out = {"raw": shift(b.raw, d.raw), "alpha": shift(b.alpha, d.alpha)}
    if level in ("nominal", "ordinal") and all(both):
        before, after = (shares(r, seed, replicates) for r in encoded)
        out |= {f"share:{label(c)}": shift(before[label(c)], after[label(c)]) for c in classes}
    return out


def shift(blind: Score, drafted: Score) -> Shift:
    """Drafted minus blind of two independent scores, with the interval made from theirs; n is the smaller."""
    n = min(blind.n, drafted.n)
    for name, score in (("blind", blind), ("drafted", drafted)):
        if score.value is None:
            return Shift(blind, drafted, Score(None, n=n, reason=f"undefined on the {name} share: {score.reason}"))
    (b, bl, bh), (d, dl, dh) = ((float(x or 0) for x in (s.value, s.low, s.high)) for s in (blind, drafted))
    low, high = math.hypot(d - dl, bh - b), math.hypot(dh - d, b - bl)
    return Shift(blind, drafted, Score(d - b, d - b - low, d - b + high, n))


def annotators(rows: Iterable[Json]) -> list[Json]:
    """How each rater stands, from rows with item, rater, field, value; gold, verdict, seconds, one_click where known.

    Pass a random audit, never a priority queue. Per rater: `n` ratings, `items`; `agreement` with the others (share of
    the others' ratings of the same item and field that are the same) and `gold` (share equal to `gold`), both with
    Wilson's interval over items; `edit_rate` (verdict edit among accept, edit, reject), `median_seconds`, `one_click`
    (share). What no row can tell is None. Only text is compared: for numbers see the spread of the field.
    """
    rows = [row for row in rows if row.get("value") is not None]
    given: dict[tuple[str, str], list[Json]] = defaultdict(list)
    mine: dict[str, list[Json]] = defaultdict(list)
    for row in rows:
        given[row["item"], row["field"]].append(row)
        mine[row["rater"]].append(row)
    out = []
    for rater, own in sorted(mine.items()):
        same: dict[str, list[float]] = defaultdict(list)
        gold: dict[str, list[float]] = defaultdict(list)
        for row in own:
            if not isinstance(row["value"], str):
                continue
            if others := [o["value"] for o in given[row["item"], row["field"]] if o["rater"] != rater]:
                same[row["item"]].append(sum(o == row["value"] for o in others) / len(others))
            if row.get("gold") is not None:
                gold[row["item"]].append(float(row["gold"] == row["value"]))
        verdicts = [row["verdict"] for row in own if row.get("verdict") in ("accept", "edit", "reject")]
        seconds = [float(row["seconds"]) for row in own if row.get("seconds") is not None]
        clicks = [bool(row["one_click"]) for row in own if row.get("one_click") is not None]
        out.append(
            {
                "rater": rater,
                "n": len(own),
                "items": len({row["item"] for row in own}),
                "agreement": _share(same, "no item in common with another rater"),
                "gold": _share(gold, "no gold item rated"),
                "edit_rate": verdicts.count("edit") / len(verdicts) if verdicts else None,
                "median_seconds": median(seconds) if seconds else None,
                "one_click": sum(clicks) / len(clicks) if clicks else None,
            }
        )
    return out


def _share(by_item: dict[str, list[float]], reason: str) -> Score:
    """Mean over items of each item's mean, with Wilson's interval over items."""
    if not by_item:
        return Score(None, reason=reason)
    total, n = sum(sum(x) / len(x) for x in by_item.values()), len(by_item)
    return Score(total / n, *wilson(total, n), n)
