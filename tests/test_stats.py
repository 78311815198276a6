"""Intervals and tests against published worked examples and statsmodels; properties of resampling by group."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as scipy_t
from statsmodels.api import OLS
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from eval import stats
from eval.metrics import Floats, Ints


def share(right: Floats) -> stats.Statistic:
    return lambda w: {"share": (w @ right) / w.sum(axis=1)}


Z = NormalDist().inv_cdf(0.975)


def three_each(groups: int) -> Ints:
    return np.repeat(np.arange(groups), 3)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (153, 198, 0.709, 0.826),  # the paper's 77.27 %, on the 198 clips that fit it
        (70, 198, 0.290, 0.422),  # its 35.35 % before training
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, Statist. Med. 17:857, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_published(right: int, n: int, low: float, high: float) -> None:
    digits = 3 if n == 198 else 4
    assert tuple(round(v, digits) for v in stats.wilson(right, n, Z)) == (low, high)


@given(n=st.integers(1, 500), data=st.data())
@settings(deadline=None)
def test_wilson_is_statsmodels(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    assert stats.wilson(right, n, Z) == pytest.approx(proportion_confint(right, n, method="wilson"), abs=1e-12)


@pytest.mark.parametrize(
    ("a", "n", "b", "m", "low", "high"),
    [
        (56, 70, 48, 80, 0.0524, 0.3339),  # Newcombe 1998, Statist. Med. 17:873, table II, method 10
        (9, 10, 3, 10, 0.1705, 0.8090),
        (10, 10, 0, 20, 0.6791, 1.0),
    ],
)
def test_square_and_add_published(a: int, n: int, b: int, m: int, low: float, high: float) -> None:
    got = stats.square_and_add(a / n, stats.wilson(a, n, Z), b / m, stats.wilson(b, m, Z))
    assert tuple(round(v, 4) for v in got) == (low, high)


def test_standard_error_is_the_cluster_robust_one() -> None:
    rng = np.random.default_rng(4)
    group = np.sort(rng.integers(0, 60, 240))
    group = np.unique(group, return_inverse=True)[1]
    right = (rng.random(240) < rng.beta(3, 2, group.max() + 1)[group]).astype(float)
    robust = OLS(right, np.ones(240)).fit(cov_type="cluster", cov_kwds={"groups": group})
    groups = int(group.max()) + 1
    se, note = stats.spread(stats.bootstrap(share(right), group, 4000)["share"], groups)
    assert note == "" and se == pytest.approx(robust.bse[0], rel=0.05)


def test_spread_of_a_few_groups_is_the_standard_error_of_their_mean() -> None:
    means = np.array([0.2, 0.4, 0.9])
    values = stats.bootstrap(share(np.repeat(means, 3)), three_each(3), 20_000)["share"]
    assert stats.spread(values, 3)[0] == pytest.approx(means.std(ddof=1) / math.sqrt(3), rel=0.02)


def test_paired_test_is_obuchowskis() -> None:
    """Obuchowski 1998 for paired shares: X2 = d^2 / (G/(G-1) sum (D_g - n_g d)^2 / N^2)."""
    rng = np.random.default_rng(8)
    group = three_each(50)
    skill = rng.beta(4, 3, 50)[group]
    a, b = (rng.random(150) < skill).astype(float), (rng.random(150) < skill - 0.12).astype(float)
    d = float((a - b).mean())
    sums = np.bincount(group, a - b - d)
    x2 = d**2 / (50 / 49 * (sums**2).sum() / 150**2)
    values = stats.bootstrap(share(a), group, 4000)["share"] - stats.bootstrap(share(b), group, 4000)["share"]
    se, _ = stats.spread(values, 50)
    assert se is not None
    half = stats.t_of(50) * se
    bounds = d - half, d + half
    p = stats.p_of(d, bounds, 50)
    assert p == pytest.approx(2 * scipy_t.sf(math.sqrt(x2), 49), rel=0.3)
    assert (bounds[0] > 0) == (p < 0.05)


@given(seed=st.integers(0, 10_000), groups=st.integers(2, 20))
@settings(max_examples=25, deadline=None)
def test_copies_within_a_group_never_narrow_the_interval(seed: int, groups: int) -> None:
    right = (np.random.default_rng(seed).random(groups * 3) < 0.6).astype(float)
    group = three_each(groups)
    value = float(right.mean())

    def width(r: Floats, g: Ints) -> float:
        values = stats.bootstrap(share(r), g, 400, seed)["share"]
        bounds, _ = stats.score_interval(value, values, groups, groups * 3)
        assert bounds is not None
        return bounds[1] - bounds[0]

    assert width(np.tile(right, 4), np.tile(group, 4)) == pytest.approx(width(right, group))
    apart = stats.bootstrap(share(np.tile(right, 4)), np.arange(12 * groups), 400, seed)["share"]
    bounds, _ = stats.score_interval(value, apart, 12 * groups, 12 * groups)
    sums = np.bincount(group, right - value)
    if 0 < value < 1 and (sums**2).sum() > 0.7 * len(right) * value * (1 - value):  # the groups differ
        # copies taken for independent clips would claim too much
        assert bounds is not None and bounds[1] - bounds[0] < width(right, group)


@given(seed=st.integers(0, 10_000), groups=st.integers(2, 30), p=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_an_interval_holds_its_score_and_stays_in_range(seed: int, groups: int, p: float) -> None:
    right = (np.random.default_rng(seed).random(groups * 3) < p).astype(float)
    values = stats.bootstrap(share(right), three_each(groups), 200, seed)["share"]
    value = float(right.mean())
    bounds, _ = stats.score_interval(value, values, groups, groups * 3)
    assert bounds is not None
    assert -1e-12 <= bounds[0] <= value + 1e-9 and value - 1e-9 <= bounds[1] <= 1 + 1e-12
    assert bounds[1] - bounds[0] > 1e-3  # never a point


def test_all_right_is_bounded_by_the_number_of_groups() -> None:
    bounds, note = stats.score_interval(1.0, np.ones(500), 40, 120)
    assert bounds is not None and bounds[1] == 1.0
    assert stats.wilson(40, 40, Z)[0] - 0.01 < bounds[0] < stats.wilson(40, 40, Z)[0]  # t for z is a little wider
    assert "40 independent clips" in note
    low, _ = stats.score_interval(0.0, np.zeros(500), 40, 120)
    assert low is not None and low[0] == 0.0 and low[1] == pytest.approx(1 - bounds[0])


def test_no_spread_between_groups() -> None:
    same = np.full(500, 1 / 3)
    bounds, note = stats.score_interval(1 / 3, same, 4, 12)
    assert bounds is not None and bounds[1] - bounds[0] > 0.5 and "same in every group" in note
    assert stats.score_interval(1 / 3, same, 4, 12, fixed=True)[0] == (1 / 3, 1 / 3)


def test_one_group_and_rare_scores_have_no_interval_and_say_so() -> None:
    bounds, note = stats.score_interval(0.5, np.full(10, 0.5), 1, 9)
    assert bounds is None and "one group" in note
    values = np.where(np.arange(100) < 10, np.nan, np.linspace(0, 1, 100))
    bounds, note = stats.score_interval(0.5, values, 20, 60)
    assert bounds is None and "undefined in 10%" in note
    assert stats.score_interval(0.5, np.where(np.arange(100) < 4, np.nan, values + 0.1), 20, 60)[0] is None


def test_coverage_near_the_top() -> None:
    """200 test sets of 40 groups of three at 93 %: the interval holds the truth nearly as often as it says."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        ability = rng.beta(0.93 * 5.7, 0.07 * 5.7, 40)
        right = (rng.random((40, 3)) < ability[:, None]).astype(float).ravel()
        values = stats.bootstrap(share(right), three_each(40), 300)["share"]
        bounds, _ = stats.score_interval(float(right.mean()), values, 40, 120)
        held += bounds is not None and bounds[0] <= 0.93 <= bounds[1]
    assert held >= 183  # 95 % of 200 is 190, minus 2.3 standard deviations


def test_bootstrap_is_seeded_and_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    right, group = np.arange(30) % 2 * 1.0, three_each(10)
    first = stats.bootstrap(share(right), group, 100, 7)["share"]
    monkeypatch.setattr(stats, "CHUNK", 70)
    assert (stats.bootstrap(share(right), group, 100, 7)["share"] == first).all()
    assert (stats.bootstrap(share(right), group, 100, 8)["share"] != first).any()


def test_p_agrees_with_the_interval() -> None:
    half = stats.t_of(40) * 0.1
    bounds = 0.2 - half, 0.2 + half
    assert stats.p_of(0.2, (0.0, 0.4), 40) == pytest.approx(0.05)
    assert stats.p_of(-0.2, (-0.4, 0.0), 40) == pytest.approx(0.05)
    assert stats.p_of(0.0, bounds, 40) == 1.0
    assert stats.p_of(0.2, (0.0, 0.3), 40) == pytest.approx(0.05)  # only the reach towards 0 counts
    assert (stats.p_of(0.2, bounds, 40) < 0.05) == (bounds[0] > 0)


@pytest.mark.parametrize("ps", [[0.01, 0.04, 0.03, 0.005], [0.5], [0.02, 0.02, 0.9, 0.0, 1.0], [0.4, 0.4, 0.4]])
def test_holm_is_statsmodels(ps: list[float]) -> None:
    got = stats.holm({str(i): p for i, p in enumerate(ps)})
    assert [got[str(i)] for i in range(len(ps))] == pytest.approx(multipletests(ps, method="holm")[1].tolist())
