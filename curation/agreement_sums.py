"""Ratings as arrays, the sums per item that every coefficient is a function of, and the bootstrap over those sums."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from curation.errors import DataError
from curation.ids import seeded

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Cells = list[tuple[Ints, Ints, Floats]]  # rows, columns, what to add there
Stat = Callable[[Floats], Floats]  # (samples, columns) of sums -> (samples, outputs)

MANY_PAIRS = 20_000_000  # of ratings of one item: above, they are not compared one by one
LEVELS = ("nominal", "ordinal", "interval", "ratio", "segment")


@dataclass(frozen=True, slots=True)
class Rating:
    """One row of the long table. `value`: text for categories, a number, or (start, end) in seconds; never None."""

    item: str
    rater: str
    field: str
    value: Any
    group: str = ""  # what repeats (drive, video); empty: the item itself


@dataclass(frozen=True, slots=True)
class Ratings:
    """One field: `raters[rater[k]]` gave `items[item[k]]` the value `domain[code[k]]`; sorted by item, then code."""

    level: str
    item: Ints
    rater: Ints
    code: Ints
    group: Ints  # by item
    items: tuple[str, ...]
    raters: tuple[str, ...]
    domain: tuple[Any, ...]  # sorted: the order of ordinal values

    def per_item(self) -> Ints:
        """Ratings of each item. A *unit* is an item with at least two."""
        return np.bincount(self.item, minlength=len(self.items))

    def shares(self) -> Floats:
        """Share of each class, (classes,), every item counting once."""
        n = self.per_item()
        return per(self.code, 1 / n[self.item], len(self.domain)) / float(max(1, len(n)))

    def both(self, a: int, b: int) -> tuple[Ints, Ints, Ints]:
        """Items that raters number `a` and `b` both rated, and the codes each gave: three arrays of (items,)."""
        codes = np.full((2, len(self.items)), -1, dtype=np.int64)
        for row, rater in enumerate((a, b)):
            codes[row, self.item[self.rater == rater]] = self.code[self.rater == rater]
        items = np.flatnonzero((codes >= 0).all(axis=0))
        return items, codes[0, items], codes[1, items]


def wilson(successes: float, n: float, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a share; (0, 1) when n is 0."""
    if n <= 0:
        return 0.0, 1.0
    p, spread = successes / n, z * z / n
    centre, half = p + spread / 2, z * np.sqrt(p * (1 - p) / n + spread / (4 * n))
    low, high = float((centre - half) / (1 + spread)), float((centre + half) / (1 + spread))
    return (0.0 if successes <= 0 else low), (1.0 if successes >= n else high)


def encode(rows: Iterable[Rating], level: str, classes: Sequence[Any] | None = None) -> Ratings:
    """The rows of ONE field as arrays.

    `classes` is the scale (the order of ordinal text; categories nobody used count for AC1). Row order does not matter.
    It has every value. Raises DataError when a rater rated an item twice or an item is in two groups.
    """
    rows = list(rows)
    domain = tuple(classes) if classes else tuple(sorted({row.value for row in rows}))
    items, raters = sorted({row.item for row in rows}), sorted({row.rater for row in rows})
    of_value, of_item, of_rater = ({v: i for i, v in enumerate(names)} for names in (domain, items, raters))
    groups: dict[str, str] = {}
    for row in rows:
        if (known := groups.setdefault(row.item, row.group)) != row.group:
            raise DataError(f"item '{row.item}' is in groups '{known}' and '{row.group}'; an item has one group")
    # A name and an item may be spelt alike: the flag keeps them apart.
    of_group: dict[tuple[bool, str], int] = {}
    group = [of_group.setdefault((bool(groups[i]), groups[i] or i), len(of_group)) for i in items]
    item = np.array([of_item[row.item] for row in rows], dtype=np.int64)
    rater = np.array([of_rater[row.rater] for row in rows], dtype=np.int64)
    code = np.array([of_value[row.value] for row in rows], dtype=np.int64)
    pair, times = np.unique(item * max(1, len(raters)) + rater, return_counts=True)
    if len(rows) and times.max() > 1:
        i, k = divmod(int(pair[times.argmax()]), len(raters))
        raise DataError(f"field '{rows[0].field}', item '{items[i]}': rated twice by '{raters[k]}'; keep one rating")
    order = np.lexsort((code, item))
    arrays = item[order], rater[order], code[order], np.array(group, dtype=np.int64)
    return Ratings(level, *arrays, tuple(items), tuple(raters), domain)


def item_pairs(item: Ints) -> tuple[Ints, Ints]:
    """Positions (i, j), i < j, of all pairs of ratings of one item; `item` is sorted. Shapes (pairs,)."""
    here = np.arange(len(item), dtype=np.int64)
    later = np.searchsorted(item, item, side="right") - 1 - here  # ratings of the same item that follow
    if later.sum() > MANY_PAIRS:
        raise DataError(f"{later.sum()} pairs of ratings of one item; more than {MANY_PAIRS} cannot be compared")
    i = np.repeat(here, later)
    return i, i + 1 + np.arange(len(i)) - np.repeat(np.cumsum(later) - later, later)


def per(item: Ints, x: Floats, n: int) -> Floats:
    """Sums of `x` by item, (n,)."""
    return np.asarray(np.bincount(item, weights=x, minlength=n), dtype=np.float64)


def iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union of segments (n, 2) in seconds; two equal instants have 1, two different ones 0."""
    inter = np.minimum(a[:, 1], b[:, 1]) - np.maximum(a[:, 0], b[:, 0])
    union = np.maximum(a[:, 1], b[:, 1]) - np.minimum(a[:, 0], b[:, 0])
    return np.where(union > 0, np.clip(inter, 0, None) / np.where(union > 0, union, 1), 1.0)


@dataclass(frozen=True, slots=True)
class Fold:
    """Rows to draw from. Columns [0, width): ordered pairs that agree; [width, 2 width): all pairs; then others."""

    x: Any  # sparse (rows, columns)
    times: Ints  # how many groups look like this row
    rest: Floats  # (columns,): sums over groups without a unit, which are not drawn
    width: int

    def disagree(self) -> tuple[Any, Any]:
        """Rows that disagree, rows with a pair: (rows, 1 + width), in any class, then class by class."""
        agree, every = self.x[:, : self.width], self.x[:, self.width : 2 * self.width]
        marks = every - agree > 1e-9, every > 0
        apart, some = (sparse.hstack([mark.sum(axis=1)[:, None] > 0, mark], format="csr") for mark in marks)
        return apart, some

    def at(self, stat: Stat, weights: Ints | Floats) -> Floats:
        """`stat` of the rows so many times each, (outputs,): `times` gives the sums as they are."""
        with np.errstate(invalid="ignore", divide="ignore"):
            out: Floats = stat((weights @ self.x + self.rest)[None])[0]
        return out

    def worse(self, stat: Stat) -> Floats:
        """`stat` where the share of disagreeing groups is Wilson's upper bound; NaN when all or none disagree."""
        apart, n = self.disagree()[0][:, [0]].toarray().ravel(), int(self.times.sum())
        k = int(self.times[apart].sum())
        if k in (0, n):
            return np.full_like(self.at(stat, self.times), np.nan)
        most = wilson(k, n)[1]
        return self.at(stat, self.times * np.where(apart, most * n / k, (1 - most) * n / (n - k)))

    def draw(self, stat: Stat, name: str, seed: int, replicates: int) -> Floats:
        """`stat` of resampled sums, (replicates, outputs); NaN where a replicate leaves it undefined."""
        rng = np.random.default_rng(seeded("agreement", seed, name).getrandbits(64))
        total, rows = int(self.times.sum()), len(self.times)
        little, owner = 10 * rows > total, np.repeat(np.arange(rows), self.times)  # was merged
        step = max(1, 4_000_000 // ((total if little else rows) + self.x.shape[1]))
        out = []
        for start in range(0, replicates, step):
            size = min(step, replicates - start)
            if little:  # drawing groups is faster than a binomial for each row
                drawn = owner[rng.integers(0, total, size=(size, total))] + rows * np.arange(size)[:, None]
                weights: Ints = np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows)
            else:
                weights = rng.multinomial(total, self.times / total, size=size)
            with np.errstate(invalid="ignore", divide="ignore"):
                out.append(stat(weights @ self.x + self.rest))
        return np.concatenate(out)


def fold(x: Any, group: Ints, key: Ints, width: int) -> Fold:
    """Rows of items (n, columns) added up by group; where each group is one item, items of one `key` are merged."""
    names, row = np.unique(group, return_inverse=True)
    if len(names) == len(group):
        _, first, times = np.unique(key, return_index=True, return_counts=True)
        x = x[first]
    else:
        member = sparse.csr_array((np.ones(len(row)), (row, np.arange(len(row)))), shape=(len(names), len(row)))
        x, times = sparse.csr_array(member @ x), np.ones(len(names), dtype=np.int64)
    live = x[:, width : 2 * width].sum(axis=1) > 0
    return Fold(x[live], times[live], times[~live] @ x[~live], width)


def patterns(r: Ratings) -> Ints:
    """A number per item, equal where the ratings are (whoever gave them)."""
    n = r.per_item()
    place = np.arange(len(r.item)) - (np.cumsum(n) - n)[r.item]
    key: Ints = np.zeros(len(n), dtype=np.int64)
    for k in range(int(n.max(initial=0))):
        here = np.flatnonzero(place == k)
        key *= len(r.domain) + 1
        key[r.item[here]] += r.code[here] + 1
        key = np.unique(key, return_inverse=True)[1].astype(np.int64)
    return key


def matrix(cells: Sequence[tuple[Ints, Ints, Floats]], rows: int, columns: int) -> Any:
    """The sparse (rows, columns) matrix with the cells in it; cells of one place are added up."""
    u, v, x = (np.concatenate(part) for part in zip(*cells, strict=True))
    return sparse.csr_array((x, (u, v)), shape=(rows, columns))


def item_fold(r: Ratings) -> Fold:
    if r.level in ("interval", "segment"):
        return fold(_number_sums(r), r.group, patterns(r), 1)
    return fold(_category_sums(r), r.group, patterns(r), len(r.domain))


def item_stat(r: Ratings, listed: Ints) -> Stat:
    """Raw agreement (of segments: mean IoU) and alpha; of categories also Fleiss' kappa, AC1 and specific agreement."""
    if r.level not in ("interval", "segment"):
        return _category_stat(r, listed)

    def stat(s: Floats) -> Floats:
        alpha = np.full(len(s), np.nan)
        if r.level == "interval":
            n, s1, s2, spread = s[:, 2:6].T
            alpha = 1 - (n - 1) * spread / (n * s2 - s1**2)
        return np.stack([s[:, 0] / s[:, 1], alpha], axis=1)

    return stat


def _category_sums(r: Ratings) -> Any:
    """Columns, q each: agreeing pairs, pairs, paired ratings, alpha's agreement, share of the item; 3 more; q * q."""
    q, n = len(r.domain), r.per_item()
    u, v, c = alike(r)
    m = n[u]
    cells: Cells = [(u, 4 * q + v, c / m)]
    u, v, c, m = u[m > 1], v[m > 1], c[m > 1], m[m > 1]
    cells += [(u, v, c * (c - 1)), (u, q + v, c * (m - 1)), (u, 2 * q + v, c), (u, 3 * q + v, c * (c - 1) / (m - 1))]
    cells += [(u, np.full(len(u), 5 * q), c * (c - 1) / (m * (m - 1)))]
    for least in (1, 2):  # items, units
        rated = np.flatnonzero(n >= least)
        cells.append((rated, np.full(len(rated), 5 * q + least), np.ones(len(rated))))
    if r.level == "nominal" or unfit(r):
        return matrix(cells, len(n), 5 * q + 3)
    return matrix(cells + _coincidences(r, 5 * q + 3), len(n), 5 * q + 3 + q * q)


def _category_stat(r: Ratings, listed: Ints) -> Stat:
    q = len(r.domain)

    def stat(s: Floats) -> Floats:
        agree, pairs, n, a, p = (s[:, k * q : (k + 1) * q] for k in range(5))
        total = n.sum(axis=1)
        if r.level == "nominal" or unfit(r):
            alpha = 1 - (total - 1) * (total - a.sum(axis=1)) / (total**2 - (n**2).sum(axis=1))
        else:
            alpha = _alpha(r, n, s[:, 5 * q + 3 :])
        p = p / s[:, 5 * q + 1, None]
        pa = s[:, 5 * q] / s[:, 5 * q + 2]
        fleiss_pe = (p**2).sum(axis=1)
        ac1_pe = (p * (1 - p)).sum(axis=1) / (q - 1) if q > 1 else np.full(len(p), np.nan)
        fleiss, ac1 = (pa - fleiss_pe) / (1 - fleiss_pe), (pa - ac1_pe) / (1 - ac1_pe)
        coefficients = np.stack([agree.sum(axis=1) / pairs.sum(axis=1), alpha, fleiss, ac1], axis=1)
        return np.concatenate([coefficients, agree[:, listed] / pairs[:, listed]], axis=1)

    return stat


def _number_sums(r: Ratings) -> Any:
    """Columns: agreeing pairs (segments: IoU), pairs; interval: number, sum, sum of squares, alpha's disagreement."""
    n, values = r.per_item(), np.asarray(r.domain, dtype=np.float64)
    unit = np.flatnonzero(n > 1)
    cells: Cells = [(unit, 0 * unit + 1, (n * (n - 1.0))[unit])]
    if r.level == "segment":
        i, j = item_pairs(r.item)
        return matrix([*cells, (r.item[i], 0 * i, 2 * iou(values[r.code[i]], values[r.code[j]]))], len(n), 2)
    u, _, c = alike(r)
    x = values - values.mean()
    s1, s2 = (per(r.item, x[r.code] ** power, len(n))[unit] for power in (1, 2))
    spread = np.clip(n[unit] * s2 - s1**2, 0, None) / (n[unit] - 1)
    sums = (n[unit].astype(np.float64), s1, s2, spread)
    cells += [(u, 0 * u, c * (c - 1)), *((unit, 0 * unit + 2 + k, column) for k, column in enumerate(sums))]
    return matrix(cells, len(n), 6)


def alike(r: Ratings) -> tuple[Ints, Ints, Floats]:
    """Item, code and number of the ratings that are alike."""
    cell, times = np.unique(r.item * len(r.domain) + r.code, return_counts=True)
    return cell // len(r.domain), cell % len(r.domain), times.astype(np.float64)


def _coincidences(r: Ratings, at: int) -> Cells:
    """Krippendorff's coincidence matrix off its diagonal: columns `at` + code * q + other code."""
    u, v, c = alike(r)
    i, j = item_pairs(u)
    share = c[i] * c[j] / (r.per_item()[u[i]] - 1)
    return [(u[i], at + v[a] * len(r.domain) + v[b], share) for a, b in ((i, j), (j, i))]


def _alpha(r: Ratings, n: Floats, o: Floats) -> Floats:
    """Alpha of (samples, q) counts of paired values and their (samples, q * q) coincidences, ordinal or ratio."""
    if r.level == "ordinal":
        rank = np.cumsum(n, axis=1) - n / 2  # Krippendorff's ordinal metric is the squared difference of mid-ranks
        d = (rank[:, :, None] - rank[:, None, :]) ** 2
    else:
        x = np.asarray(r.domain, dtype=np.float64)
        total = x[:, None] + x
        d = (((x[:, None] - x) / np.where(total == 0, 1.0, total)) ** 2)[None]
    observed, expected = (o.reshape(-1, *d.shape[1:]) * d).sum(axis=(1, 2)), n[:, :, None] * n[:, None, :] * d
    return np.asarray(1 - (n.sum(axis=1) - 1) * observed / expected.sum(axis=(1, 2)), dtype=np.float64)


def unfit(r: Ratings) -> str:
    """Why alpha cannot be computed at this level, or ''."""
    if r.level == "segment":
        return "segments have no alpha: see those of start and end"
    negative = r.level == "ratio" and min(r.domain, default=0) < 0
    if negative or (r.level in ("ordinal", "ratio") and len(r.domain) > 100):
        return f"level {r.level} takes 100 different values{', none negative' * negative}: use interval, or bin them"
    return ""


def contrast(
    first: Sequence[tuple[str, float, float]], second: Sequence[tuple[str, float, float]], seed: int, n: int = 1000
) -> dict[str, Any]:
    """Share in `first` minus share in `second`, rows of (group, successes, trials), with a 95 % interval.

    The bootstrap resamples whole groups, those in both with both their rows. Where a share is 0 or 1 it sees no
    variation, so Newcombe's interval from Wilson's (1998, Stat. Med. 17:873, method 10), on as many trials as there are
    groups, is taken in.
    """
    empty = [name for name, rows in (("drafted", first), ("blind", second)) if not sum(r[2] for r in rows)]
    if empty:
        return {"value": None, "reason": f"nothing to compare in the {' and the '.join(empty)} share", "n": [0, 0]}
    names = sorted({r[0] for r in (*first, *second)})
    at = {name: i for i, name in enumerate(names)}
    sums = np.zeros((len(names), 4))
    for column, rows in ((0, first), (2, second)):
        for group, k, of in rows:
            sums[at[group], column : column + 2] += k, of
    rng = np.random.default_rng(seeded(seed, "contrast").getrandbits(64))
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n) @ sums
    kept = draws[(draws[:, 1] > 0) & (draws[:, 3] > 0)]
    p, q = sums[:, 0].sum() / sums[:, 1].sum(), sums[:, 2].sum() / sums[:, 3].sum()
    low, high = (
        np.percentile(kept[:, 0] / kept[:, 1] - kept[:, 2] / kept[:, 3], [2.5, 97.5]) if len(kept) else (p - q, p - q)
    )
    if {p, q} & {0.0, 1.0}:
        groups = [len({r[0] for r in rows}) for rows in (first, second)]
        (a, b), (c, d) = (wilson(share * k, k) for share, k in zip((p, q), groups, strict=True))
        low = min(low, p - q - float(np.hypot(p - a, d - q)))
        high = max(high, p - q + float(np.hypot(b - p, q - c)))
    told = {"drafted": p, "blind": q, "value": p - q, "low": low, "high": high}
    return {
        **{k: round(float(v), 6) for k, v in told.items()},
        "n": [int(sums[:, i].sum()) for i in (1, 3)],
        "groups": len(names),
    }
