"""How far raters agree: coefficients, each with its n and an interval clustered by what repeats; and the gate on them.

Every coefficient here is a function of sums over items (counts of values, of agreeing pairs, …). So the bootstrap never
touches a rating: the sums per item are computed once, added up by group, and what looks alike is merged into one row; a
replicate is a multinomial draw of the rows: weights times rows, then the same function.

Sources: Krippendorff (2011) *Computing Krippendorff's Alpha-Reliability*; Fleiss (1971) Psychol. Bull. 76:378; Cohen
(1960) Educ. Psychol. Meas. 20:37; Gwet (2008) Br. J. Math. Stat. Psychol. 61:29 and, for missing ratings, Gwet (2014)
*Handbook of Inter-Rater Reliability*, ch. 2-3; specific agreement of many raters: Uebersax, *Raw agreement indices*,
after Cicchetti and Feinstein (1990) J. Clin. Epidemiol. 43:551; Wilson (1927) J. Am. Stat. Assoc. 22:209.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from curation.agreement_sums import (
    Floats,
    Ints,
    Rating,
    Ratings,
    bootstrap,
    encode,
    fold,
    item_sums,
    matrix,
    unfit,
    wilson,
)
from curation.types import Json

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


def label(value: Any) -> str:
    """How a class is called in results: whole numbers without a decimal point."""
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def scores(r: Ratings, seed: int = 0, replicates: int = 1000, listed: int = LISTED_CLASSES) -> FieldScores:
    """All coefficients of one field, with percentile bootstrap intervals that resample whole groups.

    Raw and specific agreement weigh every pair of ratings alike. Items rated once count in the prevalences of Fleiss'
    kappa and AC1 (Gwet's convention). Where fewer than ten groups disagree (or agree) the interval also takes in
    Wilson's bound on the share of disagreeing groups: no disagreement at all is never [1, 1].
    Classes get scores of their own up to `listed`, the most frequent first.
    """
    categories = r.level in ("nominal", "ordinal")
    often = np.argsort(-np.bincount(r.code, minlength=len(r.domain)), kind="stable")
    shown = np.sort(often[: listed if categories else 0])
    shares = r.shares()
    prevalence = {label(r.domain[v]): float(shares[v]) for v in shown}
    paired = r.per_item()[r.item] > 1
    item, code = r.item[paired], r.code[paired]
    if not len(item):
        why = ("no ratings", "one rater only: agreement needs two", "no item was rated twice")[min(2, len(r.raters))]
        no = Score(None, reason=why)
        return FieldScores(no, no, no, no, dict.fromkeys(prevalence, no), prevalence)
    x, width, stat = item_sums(r, shown)
    x, times = fold(x, r.group)
    value, draws = _point(stat, x, times), bootstrap(stat, x, times, seed, replicates)
    apart, groups = _disagreeing(x, times, width)
    alike = f"every paired rating is '{label(r.domain[code[0]])}': without variation it is undefined"
    flat = "" if (code != code[0]).any() else alike
    value[1] = np.nan if flat or unfit(r) else _package_alpha(r, value[1])
    worse = _worse(stat, x, times, width)
    if not apart[0]:
        among = np.bincount(code, minlength=len(r.domain)) / len(code)
        worse[:4] = _without_disagreement(among, shares, int(groups[0]))[: len(worse)]
    units, undefined = len(np.unique(item)), ("", unfit(r) or flat, flat, flat)
    first = [
        _score(value[i], draws[:, i], units, apart[0], groups[0], worse[i], why=undefined[i])
        for i in range(4 if categories else 2)
    ]
    first += [Score(None, n=units, reason=f"for categories, and the level is {r.level}")] * (4 - len(first))
    specific = {}
    for i, v in enumerate(shown):
        having, why = len(np.unique(item[code == v])), "no item that was rated twice has it"
        one = _score(value[4 + i], draws[:, 4 + i], having, apart[1 + v], groups[1 + v], floor=0, why=why)
        specific[label(r.domain[v])] = one
    return FieldScores(first[0], first[1], first[2], first[3], specific, prevalence)


def cohen(r: Ratings, a: int, b: int, seed: int = 0, replicates: int = 1000) -> tuple[Score, Score]:
    """Raw agreement and Cohen's kappa of raters number `a` and `b` over the items both rated; there is one."""
    both, left, right = rated_by_both(r, a, b)
    q, n = len(r.domain), len(both)
    u = np.arange(n)
    cells = [(u, 0, (left == right) * 1.0), (u, 1, 1.0), (u, 2 + left, 1.0), (u, 2 + q + right, 1.0)]

    def stat(s: Floats) -> Floats:
        po, pe = s[:, 0] / s[:, 1], (s[:, 2 : 2 + q] * s[:, 2 + q :]).sum(axis=1) / s[:, 1] ** 2
        return np.stack([po, (po - pe) / (1 - pe)], axis=1)

    x, times = fold(matrix(cells, n, 2 + 2 * q), r.group[both])
    value, draws = _point(stat, x, times), bootstrap(stat, x, times, seed, replicates)
    apart, groups = (int(k[0]) for k in _disagreeing(x, times, 1))
    worse = _worse(stat, x, times, 1)
    if not apart:
        among = np.bincount(left, minlength=q) / n
        worse = np.array(_without_disagreement(among, among, groups)[:2])
    flat = f"both always say '{label(r.domain[left[0]])}': without variation it is undefined"
    raw = _score(value[0], draws[:, 0], n, apart, groups, worse[0])
    return raw, _score(value[1], draws[:, 1], n, apart, groups, worse[1], why=flat)


def rated_by_both(r: Ratings, a: int, b: int) -> tuple[Ints, Ints, Ints]:
    """Items that raters number `a` and `b` both rated, and the codes each gave: three arrays of (items,)."""
    codes = np.full((2, len(r.items)), -1, dtype=np.int64)
    for row, rater in enumerate((a, b)):
        codes[row, r.item[r.rater == rater]] = r.code[r.rater == rater]
    items = np.flatnonzero((codes >= 0).all(axis=0))
    return items, codes[0, items], codes[1, items]


def _point(stat: Any, x: Any, times: Ints | Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(stat((times @ x)[None])[0])


def _disagreeing(x: Any, times: Ints, width: int) -> list[Ints]:
    """Groups that disagree, and groups with a pair: (1 + width,) each, in any class, then class by class."""
    agree, every = x[:, :width], x[:, width : 2 * width]
    marks = every - agree > 1e-9, every > 0
    return [np.concatenate([[times @ (mark.sum(axis=1) > 0)], times @ mark]) for mark in marks]


def _worse(stat: Any, x: Any, times: Ints, width: int) -> Floats:
    """The outputs if the share of disagreeing groups were Wilson's upper bound; NaN when all or none disagree."""
    apart = np.asarray((x[:, width : 2 * width] - x[:, :width] > 1e-9).sum(axis=1)).ravel() > 0
    n, k = int(times.sum()), int(times[apart].sum())
    if k in (0, n):
        return np.full_like(_point(stat, x, times), np.nan)
    most = wilson(k, n)[1]
    return _point(stat, x, times * np.where(apart, most * n / k, (1 - most) * n / (n - k)))


def _score(
    value: float, draws: Floats, n: int, k: float, of: float, worse: float = np.nan, floor: float = -1, why: str = ""
) -> Score:
    """Percentile interval, widened by Wilson's bound on the share of groups that disagree where few do (or do not).

    `k` of `of` groups disagree; `worse` is the coefficient if the share of them were Wilson's upper bound, where known.
    Every coefficient is 1 - observed / expected disagreement: the bound scales what was observed, the expected staying
    as it is; where `worse` is given it is the lower bound, since more disagreement also shifts what is expected.
    """
    if np.isnan(value):
        return Score(None, n=n, reason=why)
    value, defined = float(value), draws[~np.isnan(draws)]
    low, high = np.percentile(defined, [2.5, 97.5]) if len(defined) else (value, value)
    if min(k, of - k) < FEW:
        least, most = wilson(k, of)
        scaled = 1 - ((1 - value) * most * of / k if k else most)
        low = min(low, scaled if np.isnan(worse) else worse)
        high = max(high, 1 - (1 - value) * least * of / k if k else 1.0)
    return Score(value, min(value, max(floor, float(low))), max(value, min(1.0, float(high))), n)


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
    domain = np.arange(q) if r.level == "nominal" else r.numbers()
    return float(krippendorff.alpha(value_counts=counts, value_domain=domain, level_of_measurement=r.level))


def gate(
    rows: Sequence[Rating], field: str, min_alpha: float, min_specific: float, min_units: int = 30,
    *, classes: Sequence[str] = (), seed: int = 0,
) -> Json:  # fmt: skip
    """Do a field's categories hold on the lower ends of alpha and of the rarest class's specific agreement?

    `rows` are the random, blind overlap and nothing else: ratings that saw a draft, or were chosen for being hard,
    answer another question. `classes` names classes that must be shown even if nobody gave them. How many in all would
    be needed to know: an interval's width shrinks with the root of their number, so
    n ((value - low) / (value - bound))^2.

    Gives field, status (passed, failed, or not shown: too few units to know) and message, which says it in one line.
    """
    # The scale as given comes first; what raters wrote beside it still counts.
    known = [*classes, *sorted({str(row.value) for row in rows} - set(classes))]
    s = scores(encode(rows, "nominal", known), seed, listed=len(known))
    rarest = min(s.prevalence, key=lambda c: (s.prevalence[c], c), default="any class")
    specific = s.specific.get(rarest, Score(None))
    units, every = specific.n, s.raw.n

    def told(status: str, text: str) -> Json:
        return {"field": field, "status": status, "message": f"{field}: {status}: {text}"}

    if units < min_units:
        rate = units / every if units else 1 / max(1, every)  # none seen: at best one in the next as many
        lack = f"{'about' if units else 'at least'} {math.ceil((min_units - units) / rate)} more items rated twice"
        return told("not shown", f"{units} units of '{rarest}', {min_units} are needed: {lack}, blind and at random")
    passing, failing, needed = [], [], [0.0]
    for name, score, bound in (("alpha", s.alpha, min_alpha), (f"agreement on '{rarest}'", specific, min_specific)):
        if score.value is None or score.low is None:
            return told("not shown", f"{name} is undefined: {score.reason}")
        stands = f"{name} {score.value:.2f} [{score.low:.2f}, {score.high:.2f}]"
        if score.low >= bound:
            passing.append(stands)
            continue
        failing.append(f"{stands}, and the lower end must be {bound:g}")
        wide = (score.value - score.low) / (score.value - bound) if score.value > bound else math.inf
        needed.append(every * (wide**2 - 1))
    if not failing:
        return told("passed", ", ".join(passing))
    more = "more ratings would not help, the value itself is too low: settle the guideline first"
    if max(needed) < 1e8:
        more = f"about {math.ceil(max(needed))} more items rated twice, blind and at random, would be needed to know"
    return told("failed", "; ".join([*failing, more]))
