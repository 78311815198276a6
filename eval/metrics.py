"""Scores of one arm's predictions, each a function of clip weights.

A weight matrix `(r, n)` says how often each of the n clips counts in each of r replicates: ones give the score
itself, bootstrap counts give its replicates. So every score exists once and is vectorised over replicates.

Conventions (NaN here, None in a summary, where a score is undefined):
precision of a class nobody predicted, recall of a class without truth, F1 of a class with neither;
macro-F1 is the mean F1 of the classes that occur in truth or predictions, balanced accuracy the mean recall of those
in truth; average precision without a positive clip. An answer that is no class is wrong, and counted apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import DataError

CLASSES = ("collision", "near_collision", "normal")
POSITIVE = ("collision", "near_collision")  # Nexar's target = 1
BINS = 10  # equal-width confidence bins of the calibration error

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """One arm's predictions as arrays over n clips, in order of clip id. `pred` is K for an answer that is no class."""

    classes: tuple[str, ...]
    clips: tuple[str, ...]
    groups: tuple[str, ...]
    truth: Ints  # (n,)
    pred: Ints  # (n,), 0..K
    scores: Floats | None  # (n, K), rows sum to 1; None when any clip has none

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def group_index(self) -> Ints:
        """(n,): the position of each clip's group among the sorted groups."""
        index = {g: i for i, g in enumerate(sorted(set(self.groups)))}
        return np.array([index[g] for g in self.groups], dtype=np.int64)

    def take(self, clips: set[str]) -> Table:
        """The rows of `clips` only."""
        at = [i for i, c in enumerate(self.clips) if c in clips]
        names = tuple(self.clips[i] for i in at), tuple(self.groups[i] for i in at)
        scores = None if self.scores is None else self.scores[at]
        return Table(self.classes, *names, self.truth[at], self.pred[at], scores)

    def constant(self, answer: str) -> Table:
        """The same clips, all answered with `answer`, all scored alike."""
        k = len(self.classes)
        pred = np.full(len(self), self.classes.index(answer), dtype=np.int64)
        return Table(self.classes, self.clips, self.groups, self.truth, pred, np.full((len(self), k), 1 / k))


def table(rows: Sequence[Mapping[str, Any]], classes: Sequence[str] = CLASSES) -> Table:
    """Prediction rows of one arm as arrays.

    Raises DataError for a clip given twice, a truth that is no class, or scores that are no probabilities.
    """
    ordered = sorted(rows, key=lambda r: str(r["clip_id"]))
    clips = tuple(str(r["clip_id"]) for r in ordered)
    for first, second in pairwise(clips):
        if first == second:
            raise DataError(f"predictions: clip {first} is answered twice in one arm; score a clip once per arm")
    index = {c: i for i, c in enumerate(classes)}
    for row in ordered:
        if row["truth"] not in index:
            known = ", ".join(classes)
            raise DataError(f"predictions: clip {row['clip_id']}: truth {row['truth']!r} is none of {known}")
    return Table(
        tuple(classes),
        clips,
        tuple(str(r["group"]) for r in ordered),
        np.array([index[r["truth"]] for r in ordered], dtype=np.int64),
        np.array([index.get(str(r.get("pred")), len(index)) for r in ordered], dtype=np.int64),
        _probabilities(ordered, classes),
    )


def _probabilities(rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> Floats | None:
    if not rows or any(not row.get("scores") for row in rows):
        return None
    values = np.array([[float(row["scores"].get(c, 0.0)) for c in classes] for row in rows])
    total = values.sum(axis=1, keepdims=True)
    bad = ~np.isfinite(values).all(axis=1) | (values < 0).any(axis=1) | (total[:, 0] <= 0)
    if bad.any():
        clip = rows[int(np.flatnonzero(bad)[0])]["clip_id"]
        raise DataError(f"predictions: clip {clip}: scores must be finite, not negative and not all zero")
    return np.asarray(values / total, dtype=np.float64)


def confusion(t: Table, weights: Floats) -> Floats:
    """(r, K, K + 1): weight of each (truth, prediction); the last column holds answers that are no class."""
    k = len(t.classes)
    cell = np.zeros((len(t), k * (k + 1)))
    cell[np.arange(len(t)), t.truth * (k + 1) + t.pred] = 1.0
    return np.asarray((weights @ cell).reshape(-1, k, k + 1))


def _ratio(a: Floats, b: Floats) -> Floats:
    out: Floats = np.full(np.broadcast(a, b).shape, np.nan)
    np.divide(a, b, out=out, where=b > 0)
    return out


def _mean_defined(values: Floats) -> Floats:
    """(r,): the mean over the last axis of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1).astype(float))


def average_precision(positive: NDArray[np.bool_], score: Floats, weights: Floats) -> Floats:
    """(r,): sum over thresholds of (recall gained) x precision, ties taken together (as scikit-learn defines it)."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    w = weights[:, order]
    hits = np.cumsum(w * positive[order], axis=1)[:, ends]
    seen = np.cumsum(w, axis=1)[:, ends]
    precision = np.nan_to_num(_ratio(hits, seen))
    gained = np.diff(hits, axis=1, prepend=0.0)
    total: Floats = hits[:, -1]
    return _ratio((gained * precision).sum(axis=1), total)


def calibration_error(t: Table, weights: Floats) -> Floats:
    """(r,): expected calibration error of the likeliest class in 10 equal bins (Naeini 2015; Guo et al. 2017)."""
    if t.scores is None:
        return np.full(len(weights), np.nan)
    sure = t.scores.max(axis=1)
    gap = sure - (t.scores.argmax(axis=1) == t.truth)
    cell = np.zeros((len(t), BINS))
    cell[np.arange(len(t)), np.minimum((sure * BINS).astype(int), BINS - 1)] = gap
    return _ratio(np.abs(weights @ cell).sum(axis=1), weights.sum(axis=1))


def measure(t: Table, weights: Floats, positive: Sequence[str] = POSITIVE) -> dict[str, Floats]:
    """Every score of `t` under each row of `weights` (r, n): name -> (r,), NaN where undefined.

    Names: accuracy, balanced_accuracy, macro_f1, precision.<class>, recall.<class>, f1.<class>, and from the
    probabilities average_precision (of any class in `positive`: Nexar's score), brier (multi-class, 0 to 2,
    Brier 1950).
    """
    c = confusion(t, weights)
    right = np.diagonal(c, axis1=1, axis2=2)  # (r, K)
    truth, said = c.sum(axis=2), c[:, :, :-1].sum(axis=1)
    f1, recall, precision = _ratio(2 * right, truth + said), _ratio(right, truth), _ratio(right, said)
    out = {
        "accuracy": _ratio(right.sum(axis=1), truth.sum(axis=1)),
        "balanced_accuracy": _mean_defined(recall),
        "macro_f1": _mean_defined(f1),
    }
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        out |= {f"{name}.{cls}": values[:, i] for i, cls in enumerate(t.classes)}
    undefined = np.full(len(weights), np.nan)
    out |= {"average_precision": undefined, "brier": undefined}
    if t.scores is not None:
        at = [t.classes.index(p) for p in positive if p in t.classes]
        out["average_precision"] = average_precision(np.isin(t.truth, at), t.scores[:, at].sum(axis=1), weights)
        off = ((t.scores - np.eye(len(t.classes))[t.truth]) ** 2).sum(axis=1)
        out["brier"] = _ratio(weights @ off, weights.sum(axis=1))
    return out


def score(t: Table, positive: Sequence[str] = POSITIVE) -> dict[str, float | None]:
    """Every score of `t` with each clip counted once; None where undefined. Adds `ece`."""
    ones = np.ones((1, len(t)))
    values = measure(t, ones, positive) | {"ece": calibration_error(t, ones)}
    return {name: None if np.isnan(v[0]) else float(v[0]) for name, v in values.items()}


def best_constant(t: Table, target: str = "collision") -> dict[str, tuple[str, float]]:
    """The best that one fixed answer does on these clips: score name -> (answer, value).

    Accuracy: the share of the commonest class. F1 of `target`: always answering it gives 2p / (1 + p) where p is its
    share (.50 for three balanced classes); any other fixed answer gives 0.
    """
    share = np.bincount(t.truth, minlength=len(t.classes)) / max(len(t), 1)
    p = float(share[t.classes.index(target)])
    common = int(share.argmax())
    return {"accuracy": (t.classes[common], float(share[common])), f"f1.{target}": (target, 2 * p / (1 + p))}
