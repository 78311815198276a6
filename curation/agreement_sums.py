"""Ratings as arrays, the sums per item that every coefficient is a function of, and the bootstrap over those sums."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from curation.errors import DataError, UsageError
from curation.ids import seeded

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Cells = list[tuple[Ints, Ints, Floats]]  # rows, columns, what to add there
Stat = Callable[[Floats], Floats]  # (samples, columns) of sums -> (samples, outputs)

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


def wilson(successes: float, n: float, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a share; (0, 1) when n is 0."""
    if n <= 0:
        return 0.0, 1.0
    p, spread = successes / n, z * z / n
    centre, half = p + spread / 2, z * np.sqrt(p * (1 - p) / n + spread / (4 * n))
    return max(0.0, float((centre - half) / (1 + spread))), min(1.0, float((centre + half) / (1 + spread)))


def encode(rows: Iterable[Rating], level: str, classes: Sequence[Any] | None = None) -> Ratings:
    """The rows of ONE field as arrays.

    `classes` is the scale (the order of ordinal text; categories nobody used count for AC1). Row order does not matter.
    Raises DataError when a rater rated an item twice, an item is in two groups or a value is not in `classes`.
    """
    rows = list(rows)
    if level not in LEVELS:
        raise UsageError(f"agreement: unknown level '{level}'; use one of {', '.join(LEVELS)}")
    domain = tuple(classes) if classes else tuple(sorted({row.value for row in rows}))
    items, raters = sorted({row.item for row in rows}), sorted({row.rater for row in rows})
    of_value, of_item, of_rater = ({v: i for i, v in enumerate(names)} for names in (domain, items, raters))
    groups: dict[str, str] = {}
    for row in rows:
        if row.value not in of_value:
            where = f"field '{row.field}', item '{row.item}'"
            raise DataError(f"{where}: '{row.value}' is not in the list of classes; add it")
        if groups.setdefault(row.item, row.group) != row.group:
            both = f"'{groups[row.item]}' and '{row.group}'"
            raise DataError(f"item '{row.item}' is in groups {both}; an item has one group")
    # A name and an item may be spelt alike: the flag keeps them apart.
    named = [(bool(groups[i]), groups[i] or i) for i in items]
    of_group = {g: k for k, g in enumerate(sorted(set(named)))}
    item = np.array([of_item[row.item] for row in rows], dtype=np.int64)
    rater = np.array([of_rater[row.rater] for row in rows], dtype=np.int64)
    code = np.array([of_value[row.value] for row in rows], dtype=np.int64)
    group = np.array([of_group[g] for g in named], dtype=np.int64)
    pair, times = np.unique(item * max(1, len(raters)) + rater, return_counts=True)
    if len(rows) and times.max() > 1:
        i, k = divmod(int(pair[times.argmax()]), len(raters))
        where = f"field '{rows[0].field}', item '{items[i]}'"
        raise DataError(f"{where}: rated twice by '{raters[k]}'; keep one rating")
    return _sorted(Ratings(level, item, rater, code, group, tuple(items), tuple(raters), domain))


def from_matrix(matrix: npt.ArrayLike, level: str) -> Ratings:
    """Ratings from a (raters, items) matrix of numbers, NaN for missing; every item is its own group."""
    m = np.asarray(matrix, dtype=np.float64)
    rater, item = np.nonzero(~np.isnan(m))
    domain, code = np.unique(m[rater, item], return_inverse=True)
    items, raters = (tuple(map(str, range(k))) for k in (m.shape[1], m.shape[0]))
    return _sorted(Ratings(level, item, rater, code, np.arange(m.shape[1]), items, raters, tuple(domain.tolist())))


def _sorted(r: Ratings) -> Ratings:
    order = np.lexsort((r.code, r.item))
    return Ratings(r.level, r.item[order], r.rater[order], r.code[order], r.group, r.items, r.raters, r.domain)


def item_pairs(item: Ints) -> tuple[Ints, Ints]:
    """Positions (i, j), i < j, of all pairs of ratings of one item; `item` is sorted. Shapes (pairs,)."""
    left: list[Ints] = []
    right: list[Ints] = []
    here: Ints = np.arange(len(item), dtype=np.int64)
    for lag in range(1, len(item)):
        here = here[here + lag < len(item)]
        here = here[item[here] == item[here + lag]]
        if not len(here):
            break
        left.append(here)
        right.append(here + lag)
    empty = np.zeros(0, dtype=np.int64)
    return np.concatenate([empty, *left]), np.concatenate([empty, *right])


def per(item: Ints, x: Floats, n: int) -> Floats:
    """Sums of `x` by item, (n,)."""
    return np.asarray(np.bincount(item, weights=x, minlength=n), dtype=np.float64)


def iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union of segments (n, 2) in seconds; two equal instants have 1, two different ones 0."""
    inter = np.minimum(a[:, 1], b[:, 1]) - np.maximum(a[:, 0], b[:, 0])
    union = np.maximum(a[:, 1], b[:, 1]) - np.minimum(a[:, 0], b[:, 0])
    return np.where(union > 0, np.clip(inter, 0, None) / np.where(union > 0, union, 1), 1.0)


# The bootstrap: rows of sums, drawn.


@dataclass(frozen=True, slots=True)
class Fold:
    """Rows to draw from. Columns [0, width): ordered pairs that agree; [width, 2 width): all pairs; then others."""

    x: Any  # sparse (rows, columns)
    times: Ints  # how many groups look like this row
    rest: Floats  # (columns,): sums over groups without a unit, which are not drawn
    width: int

    def disagree(self, column: int | None = None) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Rows that disagree (in one class), rows with a pair (in that class)."""
        agree, every = self.x[:, : self.width], self.x[:, self.width : 2 * self.width]
        if column is not None:
            agree, every = agree[:, [column]], every[:, [column]]
        agree, every = (np.asarray(part.sum(axis=1)).ravel() for part in (agree, every))
        return every - agree > 1e-9, every > 0

    def disagreeing(self, column: int | None = None) -> tuple[int, int]:
        """How many groups disagree (in one class), of how many groups with a pair (in that class)."""
        apart, some = self.disagree(column)
        return int(self.times[apart].sum()), int(self.times[some].sum())

    def point(self, stat: Stat) -> Floats:
        """`stat` of the sums as they are, (outputs,)."""
        return self._at(stat, self.times.astype(np.float64))

    def worse(self, stat: Stat) -> Floats:
        """`stat` where the share of disagreeing groups is Wilson's upper bound; NaN when all or none disagree."""
        apart, _ = self.disagree()
        k, n = self.disagreeing()
        if k in (0, n):
            return np.full_like(self.point(stat), np.nan)
        most = wilson(k, n)[1]
        return self._at(stat, self.times * np.where(apart, most * n / k, (1 - most) * n / (n - k)))

    def _at(self, stat: Stat, weights: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            out: Floats = stat((weights @ self.x + self.rest)[None])[0]
        return out

    def draw(self, stat: Stat, name: str, seed: int, replicates: int) -> Floats:
        """`stat` of resampled sums, (replicates, outputs); NaN where a replicate leaves it undefined."""
        if replicates < 1:
            raise UsageError(f"agreement: {replicates} bootstrap replicates; use 1000")
        rng = np.random.default_rng(seeded("agreement", seed, name).getrandbits(64))
        total, rows = int(self.times.sum()), len(self.times)
        step = max(1, 4_000_000 // (rows + self.x.shape[1]))
        out = []
        for start in range(0, replicates, step):
            size = min(step, replicates - start)
            if rows == total:  # nothing merged: drawing rows is faster than a binomial for each
                drawn = rng.integers(0, total, size=(size, total)) + total * np.arange(size)[:, None]
                weights: Ints = np.bincount(drawn.ravel(), minlength=size * total).reshape(size, total)
            else:
                weights = rng.multinomial(total, self.times / total, size=size)
            with np.errstate(invalid="ignore", divide="ignore"):
                out.append(stat(weights @ self.x + self.rest))
        return np.concatenate(out)


def fold_groups(build: Callable[[Ints], Any], group: Ints, key: Ints | None, width: int, every: bool = False) -> Fold:
    """Sums by group, or, where each group is one item, by pattern of ratings (`key`, (items,)) with multiplicities.

    `build` makes the rows (n, columns) of n items. Groups without a unit are not drawn, unless `every`.
    """
    names, row = np.unique(group, return_inverse=True)
    if len(names) == len(group):
        chosen: Ints = np.arange(len(group), dtype=np.int64)
        times: Ints = np.ones(len(group), dtype=np.int64)
        if key is not None:
            _, chosen, times = np.unique(key, return_index=True, return_counts=True)
        x = build(chosen)
    else:
        times = np.ones(len(names), dtype=np.int64)
        member = sparse.csr_array((np.ones(len(row)), (row, np.arange(len(row)))), shape=(len(names), len(row)))
        x = sparse.csr_array(member @ build(np.arange(len(group))))
    live = (np.asarray(x[:, width : 2 * width].sum(axis=1)).ravel() > 0) | every
    return Fold(x[live], times[live], times[~live] @ x[~live], width)


# Sums per item, and the coefficients as functions of them.


def take(r: Ratings, chosen: Ints) -> tuple[Ints, Ints]:
    """Items (renumbered by their place in `chosen`) and codes of the ratings of the chosen items, sorted by item."""
    place = np.full(len(r.items), -1, dtype=np.int64)
    place[chosen] = np.arange(len(chosen))
    keep = place[r.item] >= 0
    item, code = place[r.item[keep]], r.code[keep]
    order = np.argsort(item, kind="stable")
    return item[order], code[order]


def pairable(r: Ratings) -> tuple[Ints, Ints]:
    keep = r.per_item()[r.item] > 1
    return r.item[keep], r.code[keep]


def patterns(r: Ratings) -> Ints | None:
    """A number per item, equal where the ratings are (whoever gave them); None when merging would not pay."""
    n, base = r.per_item(), len(r.domain) + 1
    most = int(n.max(initial=0))
    if base**most >= 2**62:
        if len(n) * most > 20_000_000:
            return None
        padded = np.zeros((len(n), most), dtype=np.int64)
        padded[r.item, np.arange(len(r.item)) - (np.cumsum(n) - n)[r.item]] = r.code + 1
        return np.unique(padded, axis=0, return_inverse=True)[1].ravel()
    key = np.zeros(len(n), dtype=np.int64)
    np.add.at(key, r.item, (r.code + 1) * base ** (np.arange(len(r.item)) - (np.cumsum(n) - n)[r.item]))
    return key


def sparse_sums(cells: Cells, rows: int, columns: int) -> Any:
    u, v, x = (np.concatenate(part) for part in zip(*cells, strict=True))
    return sparse.csr_array((x, (u, v)), shape=(rows, columns))


def category_sums(r: Ratings, chosen: Ints) -> Any:
    """Columns, q each: agreeing pairs, pairs, paired ratings, alpha's agreement, share of the item; 3 more; q * q."""
    item, code = take(r, chosen)
    q, n = len(r.domain), np.bincount(item, minlength=len(chosen))
    cell, times = np.unique(item * q + code, return_counts=True)
    u, v, c = cell // q, cell % q, times.astype(np.float64)
    m = n[u]
    cells = [(u, 4 * q + v, c / m)]
    u, v, c, m = u[m > 1], v[m > 1], c[m > 1], m[m > 1]
    cells += [(u, v, c * (c - 1)), (u, q + v, c * (m - 1)), (u, 2 * q + v, c), (u, 3 * q + v, c * (c - 1) / (m - 1))]
    cells += [(u, np.full(len(u), 5 * q), c * (c - 1) / (m * (m - 1)))]
    for least in (1, 2):  # items, units
        rated = np.flatnonzero(n >= least)
        cells.append((rated, np.full(len(rated), 5 * q + least), np.ones(len(rated))))
    if r.level == "ordinal" and not unfit(r):  # the coincidence matrix
        i, j = item_pairs(item)
        share = 1 / (n[item[i]] - 1)
        cells += [(item[i], 5 * q + 3 + code[a] * q + code[b], share) for a, b in ((i, j), (j, i))]
    return sparse_sums(cells, len(chosen), 5 * q + 3 + (q * q if r.level == "ordinal" and not unfit(r) else 0))


def category_stat(r: Ratings, listed: Ints) -> Stat:
    q = len(r.domain)

    def stat(s: Floats) -> Floats:
        agree, pairs, n, a, p = (s[:, k * q : (k + 1) * q] for k in range(5))
        total = n.sum(axis=1)
        if r.level == "ordinal" and not unfit(r):
            o = s[:, 5 * q + 3 :].reshape(-1, q, q)
            rank = np.cumsum(n, axis=1) - n / 2  # Krippendorff's ordinal metric is the squared difference of mid-ranks
            d = (rank[:, :, None] - rank[:, None, :]) ** 2
            observed, expected = (o * d).sum(axis=(1, 2)), np.einsum("bi,bj,bij->b", n, n, d)
        else:
            observed, expected = total - a.sum(axis=1), total**2 - (n**2).sum(axis=1)
        alpha = 1 - (total - 1) * observed / expected
        p = p / s[:, 5 * q + 1, None]
        pa = s[:, 5 * q] / s[:, 5 * q + 2]
        fleiss_pe = (p**2).sum(axis=1)
        ac1_pe = (p * (1 - p)).sum(axis=1) / (q - 1) if q > 1 else np.full(len(p), np.nan)
        fleiss, ac1 = (pa - fleiss_pe) / (1 - fleiss_pe), (pa - ac1_pe) / (1 - ac1_pe)
        coefficients = np.stack([agree.sum(axis=1) / pairs.sum(axis=1), alpha, fleiss, ac1], axis=1)
        return np.concatenate([coefficients, agree[:, listed] / pairs[:, listed]], axis=1)

    return stat


def number_sums(r: Ratings, chosen: Ints) -> Any:
    """Columns: agreeing pairs (segments: IoU), pairs; n, sum, sum of squares, alpha's disagreement; ratio: q counts."""
    item, code = take(r, chosen)
    n, q = np.bincount(item, minlength=len(chosen)), len(r.domain)
    values = np.asarray(r.domain, dtype=np.float64)
    unit = np.flatnonzero(n > 1)
    pairs = (n * (n - 1.0))[unit]
    cells: Cells = [(unit, 0 * unit + 1, pairs)]
    if r.level == "segment":
        i, j = item_pairs(item)
        return sparse_sums([*cells, (item[i], 0 * i, 2 * iou(values[code[i]], values[code[j]]))], len(chosen), 2)
    cell, times = np.unique(item * q + code, return_counts=True)
    cells.append((cell // q, 0 * cell, times * (times - 1.0)))
    x = values - values.mean() if r.level == "interval" else values
    keep = n[item] > 1
    item, code = item[keep], code[keep]
    s1, s2 = (per(item, x[code] ** power, len(chosen))[unit] for power in (1, 2))
    spread = np.clip(n[unit] * s2 - s1**2, 0, None) / (n[unit] - 1)
    if r.level == "ratio" and not unfit(r):
        i, j = item_pairs(item)
        away = 2 * _ratio(x[code[i]], x[code[j]]) / (n[item[i]] - 1)
        spread = per(item[i], away, len(chosen))[unit]
    for column, sums in enumerate((n[unit].astype(np.float64), s1, s2, spread)):
        cells.append((unit, 0 * unit + 2 + column, sums))
    if r.level == "interval":
        return sparse_sums(cells, len(chosen), 6)
    return sparse_sums([*cells, (item, 6 + code, np.ones(len(item)))], len(chosen), 6 + q)


def number_stat(r: Ratings) -> Stat:
    values = np.asarray(r.domain, dtype=np.float64)
    d = _ratio(values[:, None], values[None, :]) if r.level == "ratio" and not unfit(r) else None

    def stat(s: Floats) -> Floats:
        raw = s[:, 0] / s[:, 1]
        if r.level == "segment":
            return np.stack([raw, np.full(len(s), np.nan)], axis=1)
        n, s1, s2, spread = s[:, 2:6].T
        expected = n * s2 - s1**2 if d is None else np.einsum("bi,bi->b", s[:, 6:] @ d, s[:, 6:])
        alpha = 1 - (n - 1) * spread / expected
        return np.stack([raw, alpha], axis=1)

    return stat


def _ratio(x: Floats, y: Floats) -> Floats:
    total = x + y
    return np.where(total == 0, 0.0, (x - y) / np.where(total == 0, 1.0, total)) ** 2


def unfit(r: Ratings) -> str:
    """Why alpha cannot be computed at this level, or ''."""
    if r.level == "segment":
        return "segments have no alpha: see those of start and end"
    if r.level == "ordinal" and len(r.domain) > 100:
        return f"{len(r.domain)} ordinal values (at most 100): use level interval, or bin them"
    if r.level == "ratio" and (len(r.domain) > 1000 or min(r.domain, default=0) < 0):
        return "level ratio needs at most 1000 distinct values, none negative: use level interval"
    return ""
