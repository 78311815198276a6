"""Scores of one arm's predictions, each a function of clip weights.

A weight matrix `(r, n)` says how often each of the n clips counts in each of r replicates: ones give the score
itself, bootstrap counts give its replicates. So every score exists once and is vectorised over replicates.

Undefined (NaN here, None in a summary) are the precision of a class nobody predicted, the recall of a class without
truth, the F1 of a class with neither, and average precision without a positive clip. Macro-F1 is the mean F1 of the
classes that occur in truth or predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import DataError

CLASSES = ("collision", "near_collision", "normal")
POSITIVE = ("collision", "near_collision")  # Nexar's target = 1
TARGET = "collision"  # the class whose F1 is the headline

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Table:
    """One arm's predictions as arrays over n clips, in order of clip id; truth and prediction as index of CLASSES."""

    clips: NDArray[np.str_]
    groups: NDArray[np.str_]
    truth: Ints  # (n,)
    pred: Ints  # (n,)
    scores: Floats  # (n, K), rows sum to 1

    def __len__(self) -> int:
        return len(self.clips)

    def take(self, rows: Bools) -> Table:
        """The marked rows only."""
        return Table(self.clips[rows], self.groups[rows], self.truth[rows], self.pred[rows], self.scores[rows])

    def constant(self, answer: str) -> Table:
        """The same clips, all answered with `answer`, all scored alike."""
        pred = np.full(len(self), CLASSES.index(answer), dtype=np.int64)
        return Table(self.clips, self.groups, self.truth, pred, np.full_like(self.scores, 1 / len(CLASSES)))


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Prediction rows of one arm as arrays.

    Raises DataError for a clip given twice, a class that is none of ours, or scores that are no probabilities.
    """
    rows = sorted(rows, key=lambda r: str(r["clip_id"]))
    clips, groups = (np.array([str(r[key]) for r in rows]) for key in ("clip_id", "group"))
    if len(set(clips)) < len(rows):
        raise DataError("predictions: a clip is answered twice in one arm; score a clip once per arm")
    if unknown := {r[key] for r in rows for key in ("truth", "pred")} - {*CLASSES}:
        raise DataError(f"predictions: {unknown.pop()!r} is none of {', '.join(CLASSES)}")
    truth, pred = (np.array([CLASSES.index(r[key]) for r in rows], dtype=np.int64) for key in ("truth", "pred"))
    scores = np.array([[float(r["scores"].get(c, 0.0)) for c in CLASSES] for r in rows])
    fine = (scores >= 0).all(axis=1) & (np.abs(scores.sum(axis=1) - 1) < 0.01)  # what is no number is not >= 0
    if not fine.all():
        raise DataError(f"predictions: clip {clips[fine.argmin()]}: its scores are no probabilities; predict it again")
    return Table(clips, groups, truth, pred, scores)


def confusion(t: Table, weights: Floats) -> Floats:
    """(r, K, K): weight of each (truth, prediction)."""
    k = len(CLASSES)
    cell = np.zeros((len(t), k * k))
    cell[np.arange(len(t)), t.truth * k + t.pred] = 1.0
    return np.asarray((weights @ cell).reshape(-1, k, k))


def _ratio(a: Floats, b: Floats) -> Floats:
    out: Floats = np.full(np.broadcast(a, b).shape, np.nan)
    np.divide(a, b, out=out, where=b > 0)
    return out


def average_precision(positive: Bools, score: Floats, weights: Floats) -> Floats:
    """(r,): sum over thresholds of (recall gained) x precision, ties taken together (as scikit-learn defines it)."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    w = weights[:, order]
    hits = np.cumsum(w * positive[order], axis=1)[:, ends]
    seen = np.cumsum(w, axis=1)[:, ends]
    precision = np.nan_to_num(_ratio(hits, seen))
    gained = np.diff(hits, axis=1, prepend=0.0)
    return _ratio((gained * precision).sum(axis=1), hits[:, -1])


def measure(t: Table, weights: Floats) -> dict[str, Floats]:
    """Every score of `t` under each row of `weights` (r, n): name -> (r,), NaN where undefined.

    Names: accuracy, macro_f1, precision.<class>, recall.<class>, f1.<class>, and from the probabilities
    average_precision (of any class in POSITIVE: Nexar's score).
    """
    c = confusion(t, weights)
    right = np.diagonal(c, axis1=1, axis2=2)  # (r, K)
    truth, said = c.sum(axis=2), c.sum(axis=1)
    f1, recall, precision = _ratio(2 * right, truth + said), _ratio(right, truth), _ratio(right, said)
    known = ~np.isnan(f1)
    macro = _ratio(np.where(known, f1, 0.0).sum(axis=1), known.sum(axis=1).astype(float))
    out = {"accuracy": _ratio(right.sum(axis=1), truth.sum(axis=1)), "macro_f1": macro}
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        out |= {f"{name}.{cls}": values[:, i] for i, cls in enumerate(CLASSES)}
    at = [CLASSES.index(p) for p in POSITIVE]
    out["average_precision"] = average_precision(np.isin(t.truth, at), t.scores[:, at].sum(axis=1), weights)
    return out


def bears_on(t: Table, name: str) -> Bools:
    """(n,): the clips that bear on score `name`: of a class those truly it (recall), called it, or either (F1)."""
    kind, _, cls = name.partition(".")
    if not cls:
        return np.ones(len(t), dtype=bool)
    true, said = t.truth == CLASSES.index(cls), t.pred == CLASSES.index(cls)
    return np.asarray({"recall": true, "precision": said, "f1": true | said}[kind])


def best_constant(t: Table) -> dict[str, str]:
    """The one answer that, given to every clip, does best: score name -> answer.

    For accuracy the commonest class. For F1 of a class that class: 2p / (1 + p) where p is its share (.50 for three
    balanced classes); any other fixed answer gives 0.
    """
    common = int(np.bincount(t.truth, minlength=len(CLASSES)).argmax())
    return {f"f1.{TARGET}": TARGET, "accuracy": CLASSES[common]}
