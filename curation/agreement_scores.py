"""How far raters agree: coefficients, each with its n and an interval clustered by what repeats; and the gate on them.

Every coefficient here is a function of sums over items (counts of values, of agreeing pairs, …). So the bootstrap never
touches a rating: the sums per item are computed once, items with the same ratings are merged into one row (or the items
of a group added up), and a replicate is a multinomial draw of the rows: weights times rows, then the same function.

Sources: Krippendorff (2011) *Computing Krippendorff's Alpha-Reliability*; Fleiss (1971) Psychol. Bull. 76:378; Cohen
(1960) Educ. Psychol. Meas. 20:37; Gwet (2008) Br. J. Math. Stat. Psychol. 61:29 and, for missing ratings, Gwet (2014)
*Handbook of Inter-Rater Reliability*, ch. 2-3; specific agreement of many raters: Uebersax, *Raw agreement indices*,
after Cicchetti and Feinstein (1990) J. Clin. Epidemiol. 43:551; Wilson (1927) J. Am. Stat. Assoc. 22:209.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from curation.agreement_sums import Floats, Rating, Ratings, encode, fold, item_fold, item_stat, matrix, unfit, wilson
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
    lost: float  # share of replicates in which alpha was undefined


def label(value: Any) -> str:
    """How a class is called in results: whole numbers without a decimal point."""
    return f"{value:.15g}" if isinstance(value, float) else str(value)


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
    prevalence = {label(r.domain[v]): float(share) for v, share in zip(shown, r.shares()[shown], strict=True)}
    units = int((r.per_item() > 1).sum())
    if not units:
        why = "one rater only: agreement needs two" if len(r.raters) < 2 else "no item was rated twice"
        no = Score(None, reason=why)
        return FieldScores(no, no, no, no, dict.fromkeys(prevalence, no), prevalence, 0.0)
    folded, stat = item_fold(r), item_stat(r, shown)
    point, worse, reps = folded.at(stat, folded.times), folded.worse(stat), folded.draw(stat, r.level, seed, replicates)
    k, groups = (folded.times @ mark for mark in folded.disagree())
    paired = r.per_item()[r.item] > 1
    item, code = r.item[paired], r.code[paired]
    if not k[0]:
        among = np.bincount(code, minlength=len(r.domain)) / len(code)
        worse[:4] = _without_disagreement(among, r.shares(), int(groups[0]))[: len(worse)]
    alike = f"every paired rating is '{label(r.domain[code[0]])}': without variation it is undefined"
    flat = "" if (code != code[0]).any() else alike
    point[1] = np.nan if flat or unfit(r) else _package_alpha(r, point[1])
    undefined = ("", unfit(r) or flat, flat, flat)
    defined = range(4 if categories else 2)
    first = [_score(point[i], reps[:, i], units, k[0], groups[0], worse[i], undefined[i]) for i in defined]
    first += [Score(None, n=units, reason=f"for categories, and the level is {r.level}")] * (4 - len(first))
    specific = {}
    for i, v in enumerate(shown):
        having, reason = len(np.unique(item[code == v])), "no item that was rated twice has it"
        one = _score(point[4 + i], reps[:, 4 + i], having, k[1 + v], groups[1 + v], floor=0, why=reason)
        specific[label(r.domain[v])] = one
    lost = float(np.isnan(reps[:, 1]).mean()) if first[1].value is not None else 0.0
    return FieldScores(first[0], first[1], first[2], first[3], specific, prevalence, lost)


def cohen(r: Ratings, a: int, b: int, seed: int = 0, replicates: int = 1000) -> tuple[Score, Score]:
    """Raw agreement and Cohen's kappa of raters number `a` and `b` over the items both rated; there is one."""
    both, left, right = r.both(a, b)
    q, n = len(r.domain), len(both)
    u, one = np.arange(n, dtype=np.int64), np.ones(n)
    cells = [(u, 0 * u, (left == right) * one), (u, 0 * u + 1, one), (u, 2 + left, one), (u, 2 + q + right, one)]

    def stat(s: Floats) -> Floats:
        po, pe = s[:, 0] / s[:, 1], (s[:, 2 : 2 + q] * s[:, 2 + q :]).sum(axis=1) / s[:, 1] ** 2
        return np.stack([po, (po - pe) / (1 - pe)], axis=1)

    folded = fold(matrix(cells, n, 2 + 2 * q), r.group[both], left * q + right, 1)
    point, worse = folded.at(stat, folded.times), folded.worse(stat)
    reps = folded.draw(stat, f"{r.raters[a]} {r.raters[b]}", seed, replicates)
    k, groups = (int((folded.times @ mark)[0]) for mark in folded.disagree())
    if not k:
        among = np.bincount(left, minlength=q) / n
        worse = np.array(_without_disagreement(among, among, groups)[:2])
    flat = f"both always say '{label(r.domain[left[0]])}': without variation it is undefined"
    raw = _score(point[0], reps[:, 0], n, k, groups, worse[0])
    return raw, _score(point[1], reps[:, 1], n, k, groups, worse[1], flat)


def _score(
    value: float, reps: Floats, n: int, k: float, of: float, worse: float = np.nan, why: str = "", floor: float = -1
) -> Score:
    """Percentile interval, widened by Wilson's bound on the share of groups that disagree where few do (or do not).

    `k` of `of` groups disagree; `worse` is the coefficient if the share of them were Wilson's upper bound, where known.
    Every coefficient is 1 - observed / expected disagreement: the bound scales what was observed, the expected staying
    as it is; where `worse` is given it is the lower bound, since more disagreement also shifts what is expected.
    """
    if np.isnan(value):
        return Score(None, n=n, reason=why)
    value, defined = float(value), reps[~np.isnan(reps)]
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
    domain = np.arange(q) if r.level in ("nominal", "ordinal") else np.asarray(r.domain, dtype=np.float64)
    return float(krippendorff.alpha(value_counts=counts, value_domain=domain, level_of_measurement=r.level))


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
) -> Json:
    """Does `field` hold on the lower ends of alpha and of the rarest class's specific agreement?

    `table` is the random, blind overlap and nothing else: ratings that saw a draft, or were chosen for being hard,
    answer another question. `classes` names classes that must be shown even if nobody gave them. Numbers have no
    classes: alpha alone decides, on at least `min_units` units. How many in all would be needed to know: an interval's
    width shrinks with the root of their number, so n ((value - low) / (value - bound))^2.

    Gives field, status (passed, failed, or not shown: too few units to know) and message, which says it in one line.
    """
    rows = [row for row in table if row.field == field]
    # The scale as given comes first; what raters wrote beside it still counts.
    known = [*classes, *sorted({str(row.value) for row in rows} - set(classes))] if classes else None
    s = scores(encode(rows, level, known), seed, listed=len(rows) + len(known or ()))
    rarest = min(s.prevalence, key=lambda c: (s.prevalence[c], c)) if s.prevalence else None
    specific = s.specific[rarest] if rarest is not None else None
    units, every = (s.alpha.n if specific is None else specific.n), s.raw.n
    of = f" '{rarest}'" if rarest is not None else ""

    def told(status: str, text: str) -> Json:
        return {"field": field, "status": status, "message": f"{field}: {status}: {text}"}

    if units < min_units:
        rate = units / every if units else 1 / max(1, every)  # none seen: at best one in the next as many
        lack = math.ceil((min_units - units) / rate) if every else min_units
        wanted = f"{'about' if units else 'at least'} {lack} more items rated twice, blind and at random"
        return told("not shown", f"{units} units of{of or ' it'}, {min_units} are needed: {wanted}")
    judged = [("alpha", s.alpha, min_alpha)]
    if specific is not None:
        judged.append((f"agreement on{of}", specific, min_specific))
    passing, failing, needed = [], [], [0]
    for name, score, bound in judged:
        if score.value is None or score.low is None:
            return told("not shown", f"{name} is undefined: {score.reason}")
        stands = f"{name} {score.value:.2f} [{score.low:.2f}, {score.high:.2f}]"
        if score.low >= bound:
            passing.append(stands)
            continue
        failing.append(f"{stands}, and the lower end must be {bound:g}")
        shown = (score.value - score.low) / (score.value - bound) if score.value > bound else math.inf
        needed.append(math.ceil(every * (shown**2 - 1)) if shown < 1e4 else -1)
    if not failing:
        return told("passed", ", ".join(passing))
    too_low = "more ratings would not help, the value itself is too low: settle the guideline first"
    more = f"about {max(needed)} more items rated twice, blind and at random, would be needed to know"
    return told("failed", "; ".join([*failing, too_low if min(needed) < 0 else more]))
