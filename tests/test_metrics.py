"""Scores: scikit-learn is the oracle, clip weights are counts, conventions for what is undefined hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from curation.errors import DataError
from eval.metrics import CLASSES, Table, best_constant, confusion, measure, table


def rows(truth: list[str], pred: list[str]) -> list[dict[str, object]]:
    scores = dict.fromkeys(CLASSES, 1 / 3)
    return [
        {"clip_id": f"c{i:03d}", "group": f"g{i // 3}", "truth": t, "pred": p, "scores": scores}
        for i, (t, p) in enumerate(zip(truth, pred, strict=True))
    ]


def score(t: Table) -> dict[str, float | None]:
    """Every score of `t` with each clip counted once; None where undefined."""
    values = measure(t, np.ones((1, len(t))))
    return {name: None if np.isnan(v[0]) else float(v[0]) for name, v in values.items()}


def random_table(n: int, seed: int) -> Table:
    rng = np.random.default_rng(seed)
    names = np.array([f"c{i:04d}" for i in range(n)])
    groups = np.array([f"g{i // 3:04d}" for i in range(n)])
    raw = np.round(rng.random((n, 3)), 1) + 0.05  # rounded, so that scores tie
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    return Table(names, groups, rng.integers(0, 3, n), rng.integers(0, 3, n), probabilities)


@given(n=st.integers(12, 60), seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_weighted_scores_are_scikit_learns(n: int, seed: int) -> None:
    t = random_table(n, seed)
    weights = np.random.default_rng(seed + 1).integers(1, 4, n).astype(float)
    got = {k: v[0] for k, v in measure(t, weights[None]).items()}
    truth, pred, w = t.truth, t.pred, {"sample_weight": weights}
    classes = {"labels": [0, 1, 2], "zero_division": np.nan}
    precision, recall, f1, _ = oracle.precision_recall_fscore_support(truth, pred, **classes, **w)
    for i, name in enumerate(CLASSES):
        for kind, want in (("precision", precision), ("recall", recall), ("f1", f1)):
            if not (kind == "f1" and np.isnan([precision[i], recall[i]]).any()):
                assert got[f"{kind}.{name}"] == pytest.approx(want[i], nan_ok=True)
    assert got["accuracy"] == pytest.approx(oracle.accuracy_score(truth, pred, **w))
    if len(set(truth)) == 3:
        assert got["macro_f1"] == pytest.approx(oracle.f1_score(truth, pred, average="macro", **w))
    if (truth != 2).any():
        want = oracle.average_precision_score(truth != 2, t.scores[:, :2].sum(axis=1), **w)
        assert got["average_precision"] == pytest.approx(want)


def test_weight_two_is_the_clip_twice_and_weight_nought_is_its_absence() -> None:
    t = random_table(30, 3)
    keep = np.arange(30) % 3 != 1
    weights = keep * 1.0 + (np.arange(30) == 0)
    at = np.concatenate([[0], np.flatnonzero(keep)])
    twice = Table(at.astype(str), at.astype(str), t.truth[at], t.pred[at], t.scores[at])
    a, b = measure(t, weights[None]), measure(twice, np.ones((1, len(at))))
    for name in a:
        assert a[name][0] == pytest.approx(b[name][0], nan_ok=True), name


def test_undefined_is_none_and_nought_is_nought() -> None:
    got = score(table(rows(["normal", "normal"], ["normal", "near_collision"])))
    assert got["average_precision"] is None
    assert got["f1.collision"] is None and got["recall.collision"] is None and got["precision.collision"] is None
    assert got["f1.near_collision"] == 0.0 and got["recall.near_collision"] is None
    assert got["macro_f1"] == pytest.approx((2 * 1 / 3 + 0) / 2)  # collision, in neither, is left out
    missed = score(table(rows(["collision", "normal"], ["normal", "normal"])))
    assert missed["f1.collision"] == 0.0 and missed["precision.collision"] is None


def test_rows_are_the_truth_and_columns_the_answer() -> None:
    t = table(rows(["collision", "normal", "normal"], ["normal", "normal", "near_collision"]))
    assert confusion(t, np.ones((1, 3)))[0].tolist() == [[0, 0, 1], [0, 0, 0], [0, 1, 1]]


def test_the_best_constant_of_three_balanced_classes() -> None:
    t = table(rows(list(CLASSES) * 4, ["normal"] * 12))
    assert score(t.constant("collision"))["f1.collision"] == pytest.approx(0.5)
    assert score(t.constant("normal"))["accuracy"] == pytest.approx(1 / 3)


@given(seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_no_fixed_answer_beats_the_best_constant(seed: int) -> None:
    t = random_table(20, seed)
    for name, best in best_constant(t).items():
        values = {c: score(t.constant(c))[name] for c in CLASSES}
        assert max(v for v in values.values() if v is not None) == values[best]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": "crash"}, "'crash' is none of"),
        ({"pred": None}, "None is none of"),
        ({"clip_id": "c001"}, "answered twice"),
        ({"scores": {"collision": float("nan"), "normal": 1.0}}, "clip c000: its scores are no probabilities"),
        ({"scores": {"collision": -0.1, "normal": 1.1}}, "no probabilities"),
        ({"scores": {"crash": 1.0}}, "no probabilities"),
    ],
)
def test_rows_that_cannot_be_scored_are_refused(change: dict[str, object], message: str) -> None:
    bad = rows(["collision", "normal"], ["normal", "normal"])
    with pytest.raises(DataError, match=message):
        table([bad[0] | change, bad[1]])
