"""Uncertainty of scores whose clips come in groups (drives): intervals and tests.

Clips of one drive resemble one another, so whole groups are resampled, never clips (Field & Welsh 2007,
J. R. Statist. Soc. B 69:369; for paired proportions Obuchowski 1998, Statist. Med. 17:1495). Intervals are of 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from scipy.special import stdtr, stdtrit

from curation.agreement_sums import wilson
from eval.metrics import Floats, Ints

Statistic = Callable[[Floats], Mapping[str, Floats]]  # weights (r, n) -> name -> (r,)
Bounds = tuple[float, float]

LEVEL = 0.95
REPLICATES, SEED = 2000, 0
CHUNK = 4_000_000  # weights held at once
MOST_UNDEFINED = 0.05  # share of replicates that may be undefined before an interval is refused
NO_SPREAD = 1e-9


def bootstrap(statistic: Statistic, group: Ints, replicates: int = REPLICATES, seed: int = SEED) -> dict[str, Floats]:
    """`statistic` over samples of whole groups drawn with replacement: name -> (replicates,).

    `group` (n,) numbers each clip's group from 0. The same groups and seed give the same samples, so the replicates
    of two arms over the same clips may be subtracted (Efron & Tibshirani 1993, ch. 8).
    """
    count = int(group.max()) + 1
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=replicates).astype(float)
    rows = max(1, CHUNK // len(group))
    parts = [statistic(draws[i : i + rows][:, group]) for i in range(0, replicates, rows)]
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def spread(values: Floats, groups: int) -> tuple[float | None, str]:
    """The standard error that bootstrap `values` give, or None and why. Undefined replicates are left out, up to 5 %.

    Scaled by sqrt(G / (G - 1)), since a sample of G groups resampled varies a little too little (Hesterberg 2015,
    Am. Stat. 69:371).
    """
    if groups < 2:
        return None, "one group only: nothing shows how much groups differ"
    known = values[~np.isnan(values)]
    if len(known) < (1 - MOST_UNDEFINED) * len(values):
        return None, f"undefined in {1 - len(known) / len(values):.0%} of the resamples: too few clips of this kind"
    return float(known.std() * math.sqrt(groups / (groups - 1))), ""


def t_of(groups: int) -> float:
    """How many standard errors an interval reaches, with so many groups."""
    return float(stdtrit(groups - 1, (1 + LEVEL) / 2))


def score_interval(
    value: float, values: Floats, groups: int, clips: int, *, fixed: bool = False
) -> tuple[Bounds | None, str]:
    """The interval of a score in [0, 1] from its bootstrap `values`: (bounds or None, a note).

    Wilson's interval at the effective size value (1 - value) / SE^2, with t_(G-1) for z (Korn & Graubard 1998, Survey
    Methodology 24:193; Dean & Pagano 2015, J. Surv. Stat. Methodol. 3:484). `groups` and `clips` are those that bear on
    the score. All right or all wrong: each group counts as one clip, never [1, 1]. Without spread otherwise: each clip
    counts, unless the predictions are one `fixed` answer, which is exact where every group holds the classes alike.
    """
    se, why = spread(values, groups)
    if se is None:
        return None, why
    z = t_of(groups)
    if value in (0.0, 1.0):
        return wilson(value * groups, groups, z), f"at the end of the scale: bounded as {groups} independent clips"
    if se >= NO_SPREAD:
        effective = value * (1 - value) / se**2
        return wilson(value * effective, effective, z), ""
    if fixed:
        return (value, value), "one fixed answer, and every group holds the classes alike"
    return wilson(value * clips, clips, z), f"the same in every group: bounded as {clips} independent clips"


def square_and_add(a: float, a_bounds: Bounds, b: float, b_bounds: Bounds) -> Bounds:
    """The interval of a - b from each one's own, taken as independent (Newcombe 1998; Zou & Donner 2008).

    Where resampling shows no spread; for paired arms, which mostly go together, it is on the wide side.
    """
    low = a - b - math.hypot(a - a_bounds[0], b_bounds[1] - b)
    return low, a - b + math.hypot(a_bounds[1] - a, b - b_bounds[0])


def p_of(value: float, bounds: Bounds, groups: int) -> float:
    """Two-sided p of no difference, from the interval's reach towards 0 taken as t_(G-1) standard errors."""
    reach = value - bounds[0] if value > 0 else bounds[1] - value
    if value == 0 or reach <= 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * stdtr(groups - 1, -abs(value) * t_of(groups) / reach))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p values adjusted for their number (Holm 1979, Scand. J. Stat. 6:65)."""
    out: dict[str, float] = {}
    worst = 0.0
    for i, name in enumerate(sorted(p_values, key=lambda k: (p_values[k], k))):
        worst = max(worst, min(1.0, (len(p_values) - i) * p_values[name]))
        out[name] = worst
    return out
