"""How far raters agree: coefficients, each with its n and an interval clustered by what repeats.

Every coefficient here is a function of sums over items (counts of values, of agreeing pairs, …). So the bootstrap never
touches a rating: the sums per item are computed once, items with the same ratings are merged into one row (or the items
of a group added up), and a replicate is a multinomial draw of the rows: weights times rows, then the same function.

Sources: Krippendorff (2011) *Computing Krippendorff's Alpha-Reliability*; Fleiss (1971) Psychol. Bull. 76:378; Cohen
(1960) Educ. Psychol. Meas. 20:37; Gwet (2008) Br. J. Math. Stat. Psychol. 61:29 and, for missing ratings, Gwet (2014)
*Handbook of Inter-Rater Reliability*, ch. 2-3; specific agreement of many raters: Uebersax, *Raw agreement indices*,
after Cicchetti and Feinstein (1990) J. Clin. Epidemiol. 43:551; Wilson (1927) J. Am. Stat. Assoc. 22:209.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from curation.agreement_sums import (
    Cells,
    Floats,
    Ints,
    Ratings,
    category_stat,
    category_sums,
    fold_groups,
    number_stat,
    number_sums,
    pairable,
    patterns,
    per,
    sparse_sums,
    take,
    unfit,
    wilson,
)

LISTED_CLASSES = 50  # classes that get their own scores, the most frequent first
FEW = 10  # below so many (dis)agreeing groups a percentile interval is too narrow: Wilson's bound is taken in


@dataclass(frozen=True, slots=True)
class Score:
    """A number with its 95 % interval and the units it rests on; `value` None means undefined, for `reason`."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str = ""


class FieldScores(NamedTuple):
    """`specific` and `prevalence` by class, the most frequent ones; empty where values are not categories."""

    raw: Score  # share of rater pairs that agree; for segments their mean intersection over union
    alpha: Score
    fleiss: Score
    ac1: Score
    specific: dict[str, Score]
    prevalence: dict[str, float]  # every item counting once
    lost: float  # share of replicates in which alpha was undefined


def label(value: Any) -> str:
    """How a class is called in results: whole numbers without a decimal point."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def scores(r: Ratings, seed: int = 0, replicates: int = 1000, listed: int = LISTED_CLASSES) -> FieldScores:
    """All coefficients of one field, with percentile bootstrap intervals that resample whole groups.

    Raw and specific agreement weigh every pair of ratings alike. Items rated once count in the prevalences of Fleiss'
    kappa and AC1 (Gwet's convention) and are not resampled. Where fewer than ten groups disagree (or agree) the
    interval also takes in Wilson's bound on the share of disagreeing groups: no disagreement at all is never [1, 1].
    Classes get scores of their own up to `listed`, the most frequent first.
    """
    categories = r.level in ("nominal", "ordinal")
    often = np.argsort(-np.bincount(r.code, minlength=len(r.domain)), kind="stable")
    shown = np.sort(often[: listed if categories else 0])
    prevalence = {label(r.domain[v]): float(share) for v, share in zip(shown, _class_shares(r)[shown], strict=True)}
    units = int((r.per_item() > 1).sum())
    if not units:
        alone = len(r.raters) < 2
        no = Score(None, reason="one rater only: agreement needs two" if alone else "no item was rated twice")
        return FieldScores(no, no, no, no, dict.fromkeys(prevalence, no), prevalence, 0.0)
    width = len(r.domain) if categories else 1
    build = category_sums if categories else number_sums
    fold = fold_groups(lambda chosen: build(r, chosen), r.group, patterns(r), width)
    stat = category_stat(r, shown) if categories else number_stat(r)
    point, worse, reps = fold.point(stat), fold.worse(stat), fold.draw(stat, r.level, seed, replicates)
    k, groups = fold.disagreeing()
    item, code = pairable(r)
    if not k:
        paired = np.bincount(code, minlength=len(r.domain)) / len(code)
        worse[:4] = _without_disagreement(paired, _class_shares(r), groups)[: len(worse)]
    alike = f"every paired rating is '{label(r.domain[code[0]])}': without variation it is undefined"
    flat = "" if (code != code[0]).any() else alike
    point[1] = np.nan if flat or unfit(r) else _package_alpha(r, point[1])
    why = ("", unfit(r) or flat, flat, flat)
    defined = range(4 if categories else 2)
    first = [_score(point[i], reps[:, i], units, k, groups, worse[i], reason=why[i]) for i in defined]
    first += [Score(None, n=units, reason=f"for categories, and the level is {r.level}")] * (4 - len(first))
    having = np.bincount(np.unique(item * width + code) % width, minlength=width) if categories else code[:0]
    specific = {}
    for i, v in enumerate(shown):
        k, groups = fold.disagreeing(int(v))
        reason = "" if groups else "no item that was rated twice has it"
        one = _score(point[4 + i], reps[:, 4 + i], int(having[v]), k, groups, floor=0.0, reason=reason)
        specific[label(r.domain[v])] = one
    lost = float(np.isnan(reps[:, 1]).mean()) if first[1].value is not None else 0.0
    return FieldScores(first[0], first[1], first[2], first[3], specific, prevalence, lost)


def cohen(r: Ratings, a: int, b: int, seed: int = 0, replicates: int = 1000) -> tuple[Score, Score]:
    """Raw agreement and Cohen's kappa of raters number `a` and `b` over the items both rated."""
    matrix = np.full((2, len(r.items)), -1, dtype=np.int64)
    for row, rater in enumerate((a, b)):
        matrix[row, r.item[r.rater == rater]] = r.code[r.rater == rater]
    both = np.flatnonzero((matrix >= 0).all(axis=0))
    (left, right), q, n = matrix[:, both], len(r.domain), len(both)
    if not n:
        return Score(None, reason="no item in common"), Score(None, reason="no item in common")

    def sums(chosen: Ints) -> Any:
        x, y, one = left[chosen], right[chosen], np.ones(len(chosen))
        u: Ints = np.arange(len(chosen), dtype=np.int64)
        cells: Cells = [(u, 0 * u, (x == y) * one), (u, 0 * u + 1, one), (u, 2 + x, one), (u, 2 + q + y, one)]
        return sparse_sums(cells, len(chosen), 2 + 2 * q)

    def stat(s: Floats) -> Floats:
        po, pe = s[:, 0] / s[:, 1], (s[:, 2 : 2 + q] * s[:, 2 + q :]).sum(axis=1) / s[:, 1] ** 2
        return np.stack([po, (po - pe) / (1 - pe)], axis=1)

    fold = fold_groups(sums, r.group[both], left * q + right, 1)
    point, worse = fold.point(stat), fold.worse(stat)
    reps = fold.draw(stat, f"{r.raters[a]} {r.raters[b]}", seed, replicates)
    k, groups = fold.disagreeing()
    if not k:
        paired = np.bincount(left, minlength=q) / n
        worse = np.array(_without_disagreement(paired, paired, groups)[:2])
    flat = f"both always say '{label(r.domain[left[0]])}': without variation it is undefined"
    raw = _score(point[0], reps[:, 0], n, k, groups, worse[0])
    return raw, _score(point[1], reps[:, 1], n, k, groups, worse[1], reason=flat)


def shares(r: Ratings, seed: int = 0, replicates: int = 1000) -> dict[str, Score]:
    """Share of each class, every item counting once (its ratings share it); n is the number of items."""
    q = len(r.domain)

    def sums(chosen: Ints) -> Any:
        item, code = take(r, chosen)
        n = np.bincount(item, minlength=len(chosen))
        return sparse_sums([(item, code, 1 / n[item])], len(chosen), q)

    def stat(s: Floats) -> Floats:
        total: Floats = s.sum(axis=1, keepdims=True)
        return s / total

    fold = fold_groups(sums, r.group, patterns(r), 0, every=True)
    point, reps, groups = fold.point(stat), fold.draw(stat, "shares", seed, replicates), float(fold.times.sum())
    items = int((r.per_item() > 0).sum())
    return {
        label(v): _score(p, reps[:, i], items, groups * (1 - p), groups, floor=0.0)
        for i, (v, p) in enumerate(zip(r.domain, point, strict=True))
    }


def _score(
    value: float,
    reps: Floats,
    n: int,
    k: float,  # groups that disagree
    groups: float,
    worse: float = np.nan,  # the coefficient at Wilson's upper bound of k / groups, where known
    floor: float = -1.0,
    reason: str = "",
) -> Score:
    """Percentile interval, widened by Wilson's bound on the share of groups that disagree where few do (or do not).

    Every coefficient is 1 - observed / expected disagreement: the bound scales what was observed, the expected staying
    as it is; where `worse` is given it is the lower bound, since more disagreement also shifts what is expected.
    """
    if np.isnan(value):
        return Score(None, n=n, reason=reason)
    value, defined = float(value), reps[~np.isnan(reps)]
    low, high = np.percentile(defined, [2.5, 97.5]) if len(defined) else (value, value)
    if min(k, groups - k) < FEW:
        least, most = wilson(k, groups)
        scaled = 1 - ((1 - value) * most * groups / k if k else most)
        low = min(low, scaled if np.isnan(worse) else worse)
        high = max(high, 1 - (1 - value) * least * groups / k if k else 1.0)
    return Score(value, min(value, max(floor, float(low))), max(value, min(1.0, float(high))), n)


def _class_shares(r: Ratings) -> Floats:
    n = r.per_item()
    return per(r.code, 1 / n[r.item], len(r.domain)) / float(max(1, (n > 0).sum()))


def _without_disagreement(paired: Floats, by_item: Floats, groups: int) -> list[float]:
    """Lower bounds of raw agreement, alpha (and kappa), Fleiss' kappa and AC1 when nobody disagreed.

    A share u of units, Wilson's upper bound for 0 of `groups`, is taken to disagree like random differing pairs: the
    class shares p become (1 - u) p + u p (1 - p) / (1 - sum p^2), and the bound is 1 - u / expected disagreement.
    `paired`, `by_item`: class shares (classes,) among paired ratings and with every item counting once.
    """
    u = wilson(0, groups)[1]
    out = [1 - u]
    for i, share in enumerate((paired, by_item, by_item)):
        differ = 1 - float((share**2).sum())
        p = (1 - u) * share + (u * share * (1 - share) / differ if differ else 0)
        expected = 1 - float((p**2 if i < 2 else p * (1 - p) / max(1, len(p) - 1)).sum())
        out.append(1 - u / expected if expected > 0 else np.nan)
    return out


def _package_alpha(r: Ratings, ours: float) -> float:
    """Alpha by the `krippendorff` package; `ours` where its dense (items, values, values) array would be large."""
    q, items = len(r.domain), len(r.items)
    if items * q * q > 5_000_000:
        return float(ours)
    import krippendorff

    counts = np.bincount(r.item * q + r.code, minlength=items * q).reshape(items, q)
    domain = np.arange(q) if r.level in ("nominal", "ordinal") else np.asarray(r.domain, dtype=np.float64)
    return float(krippendorff.alpha(value_counts=counts, value_domain=domain, level_of_measurement=r.level))
