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
Stat = Callable[[Floats], Floats]  # (samples, columns) of sums -> (samples, outputs)

MANY_PAIRS = 20_000_000  # of segments of one item: above, they are not compared one by one
MOST_ROWS = 5_000  # that a replicate draws from
MOST_ORDINAL = 100  # different values of an ordinal field: its coincidences are a square of them
LEVELS = ("nominal", "ordinal", "interval", "segment")


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

    def numbers(self) -> Floats:
        """The values of `domain` as numbers: (values,), of segments (values, 2), of ordinal classes their places."""
        ranks = range(len(self.domain))
        return np.array(ranks if self.level == "ordinal" else self.domain, dtype=np.float64)


def wilson(successes: float, n: float, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a share; (0, 1) when n is 0."""
    if n <= 0:
        return 0.0, 1.0
    p, spread = successes / n, z * z / n
    centre, half = p + spread / 2, z * np.sqrt(p * (1 - p) / n + spread / (4 * n))
    low, high = float((centre - half) / (1 + spread)), float((centre + half) / (1 + spread))
    return (0.0 if successes <= 0 else low), (1.0 if successes >= n else high)


def encode(rows: Iterable[Rating], level: str, classes: Sequence[Any] | None = None) -> Ratings:
    """The rows of ONE field as arrays; their order does not matter.

    `classes` is the scale (the order of ordinal text; categories nobody used count for AC1) and holds every value. A
    row without a group is of its item's. Raises DataError when a rater rated an item twice or an item is in two groups.
    """
    rows = list(rows)
    domain = tuple(classes) if classes else tuple(sorted({row.value for row in rows}))
    items, raters = sorted({row.item for row in rows}), sorted({row.rater for row in rows})
    of_value, of_item, of_rater = ({v: i for i, v in enumerate(names)} for names in (domain, items, raters))
    groups: dict[str, str] = {}
    for row in rows:
        if row.group and (known := groups.setdefault(row.item, row.group)) != row.group:
            raise DataError(f"item '{row.item}' is in groups '{known}' and '{row.group}'; an item has one group")
    # A group and an item may be spelt alike: the flag keeps them apart.
    of_group: dict[tuple[bool, str], int] = {}
    group = [of_group.setdefault((i in groups, groups.get(i, i)), len(of_group)) for i in items]
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


# -- the bootstrap -----------------------------------------------------------------------------------------------------
def fold(x: Any, group: Ints) -> tuple[Any, Ints]:
    """Rows of items (n, columns) added up by group, equal ones merged: (rows, how many groups each stands for).

    More than `MOST_ROWS` that are unlike are first dealt to as many heaps by chance, which costs intervals 1 %.
    """
    names, row = np.unique(group, return_inverse=True)
    if len(names) < len(group):
        member = sparse.csr_array((np.ones(len(row)), (row, np.arange(len(row)))), shape=(len(names), len(row)))
        x = sparse.csr_array(member @ x)
    mark = x @ np.random.default_rng(0).random(x.shape[1])  # equal rows have the same, others by all odds not
    _, first, times = np.unique(mark, return_index=True, return_counts=True)
    if len(first) > MOST_ROWS:
        return fold(x, np.random.default_rng(0).permutation(x.shape[0]) % MOST_ROWS)
    return x[first], times


def bootstrap(stat: Stat, x: Any, times: Ints, seed: int, replicates: int) -> Floats:
    """`stat` of the sums of rows drawn with replacement, (replicates, outputs); NaN where it is undefined."""
    rng = np.random.default_rng(seeded("agreement", seed).getrandbits(64))
    total = int(times.sum())
    step = max(1, 4_000_000 // (len(times) + x.shape[1]))
    sizes = [min(step, replicates - done) for done in range(0, replicates, step)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.concatenate([stat(rng.multinomial(total, times / total, size=n) @ x) for n in sizes])


# -- sums and what they give -------------------------------------------------------------------------------------------
def matrix(cells: Sequence[tuple[Ints, Any, Any]], rows: int, columns: int) -> Any:
    """The sparse (rows, columns) matrix of cells (rows, column or columns, values); those of one place are added up."""
    u, v, x = (np.concatenate(part) for part in zip(*(np.broadcast_arrays(*cell) for cell in cells), strict=True))
    return sparse.csr_array((x.astype(np.float64), (u, v)), shape=(rows, columns))


def item_sums(r: Ratings, listed: Ints) -> tuple[Any, int, Stat]:
    """(sums per item, width w, the coefficients of added sums).

    Columns [0, w): ordered pairs of ratings that agree (segments: their IoU), by class; [w, 2 w): all pairs; then what
    alpha and the others need. Coefficients: raw agreement (segments: mean IoU), alpha; of categories Fleiss' kappa, AC1
    and the specific agreement of the classes `listed`.
    """
    return _number_sums(r) if r.level in ("interval", "segment") else _category_sums(r, listed)


def _category_sums(r: Ratings, listed: Ints) -> tuple[Any, int, Stat]:
    """Columns, q each: agreeing pairs, pairs, paired ratings, share of the item; 4 more; coincidences q * q."""
    q, n, ordinal = len(r.domain), r.per_item(), r.level == "ordinal" and not unfit(r)
    cell, times = np.unique(r.item * q + r.code, return_counts=True)
    u, v, c = cell // q, cell % q, times * 1.0
    rated, units, m = np.arange(len(n)), np.flatnonzero(n > 1), n[u]
    cells = [(u, 3 * q + v, c / m), (rated, 4 * q, 1.0), (units, 4 * q + 1, 1.0)]
    u, v, c, m = u[m > 1], v[m > 1], c[m > 1], m[m > 1]
    cells += [(u, v, c * (c - 1)), (u, q + v, c * (m - 1)), (u, 2 * q + v, c)]
    cells += [(u, 4 * q + 2, c * (c - 1) / (m * (m - 1))), (u, 4 * q + 3, c * (c - 1) / (m - 1))]
    if ordinal:  # Krippendorff's coincidence matrix off its diagonal
        i, j = item_pairs(u)
        cells += [(u[i], 4 * q + 4 + v[a] * q + v[b], c[i] * c[j] / (m[i] - 1)) for a, b in ((i, j), (j, i))]

    def stat(s: Floats) -> Floats:
        agree, pairs, n, p = (s[:, k * q : (k + 1) * q] for k in range(4))
        items, units, same, coincide = s[:, 4 * q : 4 * q + 4].T
        total = n.sum(axis=1)
        if ordinal:
            rank = np.cumsum(n, axis=1) - n / 2  # the ordinal metric is the squared difference of mid-ranks
            d = (rank[:, :, None] - rank[:, None, :]) ** 2
            apart = (s[:, 4 * q + 4 :].reshape(d.shape) * d).sum(axis=(1, 2))
            alpha = 1 - (total - 1) * apart / (n[:, :, None] * n[:, None, :] * d).sum(axis=(1, 2))
        else:
            alpha = 1 - (total - 1) * (total - coincide) / (total**2 - (n**2).sum(axis=1))
        p, pa = p / items[:, None], same / units
        fleiss, ac1 = (p**2).sum(axis=1), (p * (1 - p)).sum(axis=1) / (q - 1)  # expected agreement
        out = [agree.sum(axis=1) / pairs.sum(axis=1), alpha, (pa - fleiss) / (1 - fleiss), (pa - ac1) / (1 - ac1)]
        return np.concatenate([np.stack(out, axis=1), agree[:, listed] / pairs[:, listed]], axis=1)

    return matrix(cells, len(r.items), 4 * q + 4 + q * q * ordinal), q, stat


def _number_sums(r: Ratings) -> tuple[Any, int, Stat]:
    """Columns: agreeing pairs (segments: IoU), pairs; interval: number, sum, sum of squares, alpha's disagreement."""
    n, values = r.per_item(), r.numbers()
    unit = np.flatnonzero(n > 1)
    cells: list[tuple[Ints, Any, Any]] = [(unit, 1, (n * (n - 1.0))[unit])]
    if r.level == "segment":
        i, j = item_pairs(r.item)
        cells.append((r.item[i], 0, 2 * iou(values[r.code[i]], values[r.code[j]])))
    else:
        cell, times = np.unique(r.item * len(values) + r.code, return_counts=True)
        x = (values - values.mean())[r.code]
        s1, s2 = per(r.item, x, len(n))[unit], per(r.item, x**2, len(n))[unit]
        spread = np.clip(n[unit] * s2 - s1**2, 0, None) / (n[unit] - 1)
        cells += [(cell // len(values), 0, times * (times - 1.0))]
        cells += [(unit, 2 + k, column) for k, column in enumerate((n[unit], s1, s2, spread))]

    def stat(s: Floats) -> Floats:
        alpha = np.full(len(s), np.nan)
        if r.level == "interval":
            m, s1, s2, spread = s[:, 2:].T
            alpha = 1 - (m - 1) * spread / (m * s2 - s1**2)
        return np.stack([s[:, 0] / s[:, 1], alpha], axis=1)

    return matrix(cells, len(n), 6 if r.level == "interval" else 2), 1, stat


def unfit(r: Ratings) -> str:
    """Why alpha cannot be computed at this level, or ''."""
    if r.level == "segment":
        return "segments have no alpha: see those of start and end"
    if r.level == "ordinal" and len(r.domain) > MOST_ORDINAL:
        return f"level ordinal takes {MOST_ORDINAL} different values: use interval, or bin them"
    return ""
