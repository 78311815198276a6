"""Scores: scikit-learn is the oracle, clip weights are counts, conventions for what is undefined hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from curation.errors import DataError
from eval.metrics import CLASSES, Table, best_constant, calibration_error, confusion, measure, score, table


def rows(truth: list[str], pred: list[str | None], scores: list[list[float]] | None = None) -> list[dict[str, object]]:
    return [
        {"clip_id": f"c{i:03d}", "group": f"g{i // 3}", "truth": t, "pred": p}
        | ({} if scores is None else {"scores": dict(zip(CLASSES, scores[i], strict=True))})
        for i, (t, p) in enumerate(zip(truth, pred, strict=True))
    ]


def random_table(n: int, seed: int) -> Table:
    rng = np.random.default_rng(seed)
    names = tuple(f"c{i:04d}" for i in range(n))
    groups = tuple(f"g{i // 3:04d}" for i in range(n))
    raw = np.round(rng.random((n, 3)), 1) + 0.05  # rounded, so that scores tie
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    return Table(CLASSES, names, groups, rng.integers(0, 3, n), rng.integers(0, 3, n), probabilities)


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
        assert got["balanced_accuracy"] == pytest.approx(oracle.balanced_accuracy_score(truth, pred, **w))
        assert got["macro_f1"] == pytest.approx(oracle.f1_score(truth, pred, average="macro", **w))
    assert t.scores is not None
    if (truth != 2).any():
        want = oracle.average_precision_score(truth != 2, t.scores[:, :2].sum(axis=1), **w)
        assert got["average_precision"] == pytest.approx(want)
    want = oracle.brier_score_loss(truth, t.scores, labels=[0, 1, 2], scale_by_half=False, **w)
    assert got["brier"] == pytest.approx(want)


def test_weight_two_is_the_clip_twice_and_weight_nought_is_its_absence() -> None:
    t = random_table(30, 3)
    keep = np.arange(30) % 3 != 1
    weights = keep * 1.0 + (np.arange(30) == 0)
    at = np.concatenate([[0], np.flatnonzero(keep)])
    twice = Table(
        CLASSES, *(tuple(map(str, at)),) * 2, t.truth[at], t.pred[at], t.scores[at] if t.scores is not None else None
    )
    a, b = measure(t, weights[None]), measure(twice, np.ones((1, len(at))))
    for name in a:
        assert a[name][0] == pytest.approx(b[name][0], nan_ok=True), name
    assert calibration_error(t, weights[None])[0] == pytest.approx(calibration_error(twice, np.ones((1, len(at))))[0])


@given(seed=st.integers(0, 1000), order=st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_order_of_the_rows_does_not_matter(seed: int, order: object) -> None:
    t = random_table(24, seed)
    assert t.scores is not None
    given_rows = rows([CLASSES[i] for i in t.truth], [CLASSES[i] for i in t.pred], t.scores.tolist())
    mixed = list(given_rows)
    order.shuffle(mixed)  # type: ignore[attr-defined]
    assert score(table(mixed)) == score(table(given_rows))


def test_undefined_is_none() -> None:
    got = score(table(rows(["normal", "normal"], ["normal", "near_collision"])))
    assert got["f1.collision"] is None and got["recall.collision"] is None and got["precision.collision"] is None
    assert got["f1.near_collision"] == 0.0 and got["recall.near_collision"] is None
    assert got["macro_f1"] == pytest.approx((2 * 1 / 3 + 0) / 2)  # collision, in neither, is left out
    assert got["balanced_accuracy"] == 0.5
    assert got["average_precision"] is None and got["brier"] is None and got["ece"] is None
    missed = score(table(rows(["collision", "normal"], ["normal", "normal"])))
    assert missed["f1.collision"] == 0.0 and missed["precision.collision"] is None


def test_an_answer_that_is_no_class_is_wrong_and_counted_apart() -> None:
    t = table(rows(["collision", "normal"], [None, "a crash"]))
    assert confusion(t, np.ones((1, 2)))[0].tolist() == [[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert score(t)["accuracy"] == 0.0 and score(t)["f1.collision"] == 0.0


def test_calibration_error_by_hand() -> None:
    # Two clips at .8 (one right) and two at .55 (both right): (2 |.8 - .5| + 2 |.55 - 1|) / 4 = .375.
    t = table(
        rows(
            ["collision", "normal", "collision", "collision"],
            ["collision"] * 4,
            [[0.8, 0.1, 0.1]] * 2 + [[0.55, 0.25, 0.2]] * 2,
        )
    )
    assert score(t)["ece"] == pytest.approx(0.375)


def test_the_best_constant_of_three_balanced_classes() -> None:
    t = table(rows(list(CLASSES) * 4, ["normal"] * 12))
    assert best_constant(t)["f1.collision"] == ("collision", pytest.approx(0.5))
    assert best_constant(t)["accuracy"] == ("collision", pytest.approx(1 / 3))


@given(seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_no_fixed_answer_beats_the_best_constant(seed: int) -> None:
    t = random_table(20, seed)
    best = best_constant(t)
    for name in ("accuracy", "f1.collision"):
        values = [score(t.constant(c))[name] for c in CLASSES]
        assert max(v for v in values if v is not None) == pytest.approx(best[name][1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": "crash"}, "'crash' is none of"),
        ({"clip_id": "c001"}, "answered twice"),
        ({"scores": {"collision": float("nan")}}, "finite"),
        ({"scores": {"collision": -0.1, "normal": 1.1}}, "not negative"),
        ({"scores": {"crash": 1.0}}, "not all zero"),
    ],
)
def test_rows_that_cannot_be_scored_are_refused(change: dict[str, object], message: str) -> None:
    bad = rows(["collision", "normal"], ["normal", "normal"], [[0.5, 0.2, 0.3]] * 2)
    with pytest.raises(DataError, match=message):
        table([bad[0] | change, bad[1]])
