"""Agreement: published examples to the printed digit, other implementations as oracles, other people's tables."""

from __future__ import annotations

import csv
import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import krippendorff
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa, fleiss_kappa

from curation.agreement import Rating, agree_table, field_report, gate, render_agreement
from curation.agreement_scores import cohen, scores
from curation.agreement_sums import Ratings, bootstrap, encode, fold, iou, item_sums, wilson
from curation.cli import main
from curation.errors import DataError, UsageError

NAN = float("nan")
# The example with three coders of Wikipedia, "Krippendorff's alpha", and of the package's documentation.
THREE = [
    [NAN, NAN, NAN, NAN, NAN, 3, 4, 1, 2, 1, 1, 3, 3, NAN, 3],
    [1, NAN, 2, 1, 3, 3, 4, 3, NAN, NAN, NAN, NAN, NAN, NAN, NAN],
    [NAN, NAN, 2, 1, 3, 4, 4, NAN, 2, 1, 1, 3, 3, NAN, 4],
]
# Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, section C; also `cac.raw4raters` of Gwet's irrCAC.
FOUR = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]
# Fleiss (1971), table 1: 30 patients, diagnosed by 6 psychiatrists each (1 depression, 2 personality disorder,
# 3 schizophrenia, 4 neurosis, 5 other).
FLEISS = """444444 222555 233335 555555 222444 113333 333355 113334 114444 555555 144444 124444 222333 144444 224445
333335 111455 111112 224444 133555 555555 244444 224555 114444 144445 222224 111155 224444 133333 555555"""
ONCE = {"replicates": 50}  # where only the point matters


def from_matrix(matrix: Any, level: str) -> Ratings:
    """Ratings from a (raters, items) matrix of numbers, NaN for missing."""
    cells = [(i, r, float(v)) for r, row in enumerate(matrix) for i, v in enumerate(row) if not math.isnan(v)]
    return encode([Rating(f"{i:04}", f"{r}", "f", v) for i, r, v in cells], level)


def two_raters(table: list[list[int]]) -> list[list[float]]:
    """(2, n) codes of a square contingency table."""
    cells = [(i, j) for i, row in enumerate(table) for j, count in enumerate(row) for _ in range(count)]
    return [[float(i) for i, _ in cells], [float(j) for _, j in cells]]


@pytest.mark.parametrize(
    ("matrix", "level", "alpha"),
    [
        (THREE, "nominal", 0.691),
        (THREE, "ordinal", 0.807),
        (THREE, "interval", 0.811),
        (FOUR, "nominal", 0.743),
        (FOUR, "ordinal", 0.815),
        (FOUR, "interval", 0.849),
    ],
)
def test_published_alpha(matrix: list[list[float]], level: str, alpha: float) -> None:
    assert round(scores(from_matrix(matrix, level), **ONCE).alpha.value, 3) == alpha


def test_published_fleiss_kappa() -> None:
    s = scores(from_matrix(np.array([list(map(int, item)) for item in FLEISS.split()]).T, "nominal"), **ONCE)
    assert [round(p, 3) for p in s.prevalence.values()] == [0.144, 0.144, 0.167, 0.306, 0.239]
    assert round(s.fleiss.value, 3) == 0.430  # Fleiss (1971), p. 381
    assert round(s.raw.value, 4) == 0.5556  # P-bar there


def test_published_cohen_kappa() -> None:
    raw, kappa = cohen(from_matrix(two_raters([[20, 5], [10, 15]]), "nominal"), 0, 1, **ONCE)
    assert (raw.value, round(kappa.value, 4)) == (0.7, 0.4)  # Wikipedia, "Cohen's kappa", simple example


def test_published_ac1_and_the_paradox_of_kappa() -> None:
    r = from_matrix(
        two_raters([[118, 5], [2, 0]]), "nominal"
    )  # Gwet (2002), Kappa statistic is not satisfactory, table 3
    assert round(scores(r, **ONCE).ac1.value, 4) == 0.9408
    assert round(cohen(r, 0, 1, **ONCE)[1].value, 4) == -0.0234


def test_published_coefficients_with_missing_ratings() -> None:
    s = scores(from_matrix(FOUR, "nominal"), **ONCE)
    assert round(s.ac1.value, 5) == 0.77544  # irrCAC, gwet.ac1.raw(cac.raw4raters)
    assert round(s.fleiss.value, 5) == 0.76117  # irrCAC, fleiss.kappa.raw(cac.raw4raters)


def test_specific_agreement_by_hand() -> None:
    # Two raters, [[20, 5], [10, 15]]: class 0 agrees in 2*20 of 25+30 mentions, class 1 in 2*15 of 25+20.
    s = scores(from_matrix(two_raters([[20, 5], [10, 15]]), "nominal"), **ONCE)
    assert s.specific["0"].value == pytest.approx(40 / 55) and s.specific["1"].value == pytest.approx(30 / 45)
    assert (s.specific["0"].n, s.specific["1"].n) == (35, 30)
    assert s.prevalence == {"0": 0.55, "1": 0.45}
    # Three raters, one item 0 0 1: of class 0, one ordered pair of two agrees for each of its 2 ratings: 2 of 4.
    one = scores(from_matrix([[0], [0], [1]], "nominal"), **ONCE)
    assert (one.specific["0"].value, one.specific["1"].value, one.raw.value) == (0.5, 0.0, pytest.approx(1 / 3))


def test_wilson_by_its_definition() -> None:
    for k, n in ((0, 10), (3, 10), (10, 10), (81, 263)):
        for end in wilson(k, n):  # the ends solve |k/n - p| = z sqrt(p (1 - p) / n)
            assert (k / n - end) ** 2 == pytest.approx(1.959964**2 * end * (1 - end) / n, abs=1e-9)
    assert wilson(81, 263) == (
        pytest.approx(0.2553, abs=1e-4),
        pytest.approx(0.3662, abs=1e-4),
    )  # Newcombe (1998), table I
    assert wilson(0, 0) == (0.0, 1.0)


ratings = (
    st.integers(2, 5)
    .flatmap(
        lambda raters: st.lists(
            st.lists(st.sampled_from([NAN, 0.0, 1.0, 2.0, 5.0]), min_size=raters, max_size=raters),
            min_size=2,
            max_size=25,
        )
    )
    .map(lambda items: np.array(items).T)
)


@settings(max_examples=60, deadline=None)
@given(ratings, st.sampled_from(["nominal", "ordinal", "interval"]))
def test_alpha_of_the_package_and_ours_agree_with_missing_ratings(matrix: np.ndarray, level: str) -> None:
    paired = matrix[:, (~np.isnan(matrix)).sum(axis=0) > 1]
    ours = scores(from_matrix(matrix, level), **ONCE).alpha
    if not paired.size or len(np.unique(paired[~np.isnan(paired)])) < 2:
        assert ours.value is None and ours.reason
        return
    theirs = krippendorff.alpha(reliability_data=paired, level_of_measurement=level)
    assert ours.value == pytest.approx(theirs, abs=1e-9)
    r = from_matrix(matrix, level)  # the vectorised form, which only large tables use as the point
    x, _, stat = item_sums(r, np.arange(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        assert stat(np.ones((1, len(r.items))) @ x)[0, 1] == pytest.approx(theirs, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 5), st.integers(2, 4), st.data())
def test_fleiss_kappa_of_statsmodels(raters: int, classes: int, data: st.DataObject) -> None:
    row = st.lists(st.integers(0, classes - 1), min_size=raters, max_size=raters)
    codes = np.array(data.draw(st.lists(row, min_size=2, max_size=20)))
    assume(len(np.unique(codes)) > 1)
    counts = np.array([[(item == c).sum() for c in np.unique(codes)] for item in codes])
    ours = scores(from_matrix(codes.T, "nominal"), **ONCE).fleiss.value
    assert ours == pytest.approx(fleiss_kappa(counts), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40))
def test_cohen_kappa_of_scikit_learn_and_statsmodels(pairs: list[tuple[int, int]]) -> None:
    left, right = zip(*pairs, strict=True)
    _, kappa = cohen(from_matrix([left, right], "nominal"), 0, 1, **ONCE)
    if len({*left, *right}) == 1:
        assert kappa.value is None and "without variation" in kappa.reason
        return
    assert kappa.value == pytest.approx(cohen_kappa_score(left, right), abs=1e-9)
    table = np.zeros((4, 4))
    np.add.at(table, (left, right), 1)
    assert kappa.value == pytest.approx(cohens_kappa(table, return_results=False), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(ratings, st.randoms(use_true_random=False))
def test_names_and_order_do_not_matter(matrix: np.ndarray, rnd: random.Random) -> None:
    rows = [
        Rating(f"item{i}", f"rater{r}", "f", f"class{v:g}")
        for r, given_ in enumerate(matrix)
        for i, v in enumerate(given_)
        if not math.isnan(v)
    ]
    assume(rows)
    values = {}
    for kind in ("item", "rater", "value"):
        names = sorted({getattr(row, kind) for row in rows})
        values[kind] = dict(zip(names, rnd.sample(names, len(names)), strict=True))
    renamed = [Rating(values["item"][r.item], values["rater"][r.rater], "f", values["value"][r.value]) for r in rows]
    rnd.shuffle(renamed)
    before, after = (scores(encode(x, "nominal"), **ONCE) for x in (rows, renamed))
    for name in ("raw", "alpha", "fleiss", "ac1"):
        a, b = getattr(before, name).value, getattr(after, name).value
        assert (a is None) == (b is None) and (a is None or a == pytest.approx(b, abs=1e-9))
        one = getattr(before, name)
        assert one.value is None or one.low <= one.value <= one.high
    for cls, score in before.specific.items():
        assert after.specific[values["value"][cls]].value == pytest.approx(score.value)
    rnd.shuffle(rows)  # the same rows in another order: the same to the last bit, interval included
    assert scores(encode(rows, "nominal"), **ONCE) == before


def simulated(n: int, accuracy: float, seed: int = 0, raters: int = 2, share: float = 0.3) -> list[Rating]:
    rnd, rows = random.Random(seed), []
    for i in range(n):
        truth = "collision" if rnd.random() < share else "normal"
        for r in range(raters):
            value = truth if rnd.random() < accuracy else rnd.choice(["collision", "normal"])
            rows.append(Rating(f"i{i}", f"r{r}", "class", value))
    return rows


def test_the_bootstrap_is_the_one_by_hand() -> None:
    """Against resampling items one by one and calling the package: same ends within Monte-Carlo error."""
    r = encode(simulated(150, 0.8, raters=3), "nominal")
    matrix = np.full((3, 150), NAN)
    matrix[r.rater, r.item] = r.code
    rng = np.random.default_rng(1)
    by_hand = [
        krippendorff.alpha(reliability_data=matrix[:, rng.integers(0, 150, 150)], level_of_measurement="nominal")
        for _ in range(1000)
    ]
    alpha = scores(r, seed=3, replicates=4000).alpha
    assert [alpha.low, alpha.high] == pytest.approx(np.percentile(by_hand, [2.5, 97.5]), abs=0.02)


def test_merged_items_are_drawn_as_often_as_they_are() -> None:
    """12 items of one pattern, 5 of another, 3 of a third; then the same in drives of two like items."""
    rows = [(0.0, 0.0)] * 12 + [(1.0, 1.0)] * 5 + [(0.0, 1.0)] * 3
    r = from_matrix(np.array(rows * 20).T, "nominal")
    sums, _, stat = item_sums(r, np.arange(0))
    for group, size in ((r.group, 1), (np.arange(400) % 20 + 20 * (np.arange(400) // 40), 2)):
        x, times = fold(sums, group)
        assert sorted(times.tolist()) == [60 // size, 100 // size, 240 // size]
        raw = bootstrap(stat, x, times, 0, 4000)[:, 0]
        assert raw.mean() == pytest.approx(0.85, abs=0.01)
        assert raw.std() == pytest.approx(math.sqrt(0.85 * 0.15 / (400 / size)), rel=0.1)


def test_the_interval_follows_the_groups() -> None:
    """Ten copies of each item under one group name tell no more than the item; as items of their own they seem to."""
    rows = simulated(60, 0.7)
    copies = [
        Rating(f"{r.item}.{k}", r.rater, r.field, r.value, group) for r in rows for k in range(10) for group in [r.item]
    ]
    alone, grouped = (scores(encode(x, "nominal"), seed=1, replicates=3000) for x in (rows, copies))
    naive = scores(encode([Rating(r.item, r.rater, r.field, r.value) for r in copies], "nominal"), replicates=3000)
    width = alone.raw.high - alone.raw.low
    assert grouped.raw.high - grouped.raw.low == pytest.approx(width, rel=0.15)
    assert naive.raw.high - naive.raw.low == pytest.approx(width / math.sqrt(10), rel=0.15)
    assert grouped.raw.value == pytest.approx(alone.raw.value)


def test_groups_of_one_item_are_as_no_groups() -> None:
    rows = simulated(80, 0.8)
    named = [Rating(r.item, r.rater, r.field, r.value, f"drive of {r.item}") for r in rows]
    assert scores(encode(rows, "nominal")).raw == scores(encode(named, "nominal")).raw


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_no_disagreement_is_bounded(level: str) -> None:
    s = scores(from_matrix([[0, 1] * 20, [0, 1] * 20], level))
    least = 1 - wilson(0, 40)[1]  # of the share of agreeing items
    assert (s.raw.value, s.raw.low, s.raw.high) == (1.0, pytest.approx(least), 1.0)
    # A share u = 1 - least of items disagrees; classes stay even, so half of random pairs differ.
    assert (s.alpha.value, s.alpha.low, s.alpha.high) == (1.0, pytest.approx(1 - (1 - least) / 0.5), 1.0)
    if level == "nominal":
        assert s.specific["1"].low == pytest.approx(1 - wilson(0, 20)[1])


def test_one_disagreement_does_not_shrink_the_interval() -> None:
    none = scores(from_matrix([[0, 1] * 20, [0, 1] * 20], "nominal"))
    one = scores(from_matrix([[0, 1] * 20, [1, 1, *[0, 1] * 19]], "nominal"))
    assert one.alpha.low < none.alpha.low and one.raw.low < none.raw.low
    assert one.raw.low == pytest.approx(1 - wilson(1, 40)[1])


def test_a_bound_is_what_the_coefficient_can_take() -> None:
    """Two raters who never name the rare class of the same item: kappa cannot fall far below 0 (90 items)."""
    r = from_matrix(two_raters([[82, 7], [1, 0]]), "nominal")
    (_, kappa), s = cohen(r, 0, 1), scores(r)
    assert -0.1 < kappa.low < kappa.value < 0 and -0.1 < s.alpha.low < s.alpha.value < 0


def test_items_rated_once_count_in_the_prevalence_of_every_replicate() -> None:
    """Without the 300 items rated once, classes would be even and the interval of AC1 beside its value."""
    once = [Rating(f"single{i}", "r0", "class", "normal") for i in range(300)]
    ac1 = scores(encode(simulated(60, 0.7, share=0.5) + once, "nominal")).ac1
    low, high = ac1.value - ac1.low, ac1.high - ac1.value
    assert 0 < low < 2 * high and 0 < high < 2 * low


def test_a_class_nobody_agrees_on_is_bounded() -> None:
    zero = scores(from_matrix(two_raters([[118, 5], [2, 0]]), "nominal")).specific["1"]
    assert (zero.value, zero.low, zero.n) == (0.0, 0.0, 7)
    assert zero.high == pytest.approx(1 - wilson(7, 7)[0])


def test_undefined_is_said() -> None:
    flat = scores(from_matrix([[1, 1, 1], [1, 1, 1]], "nominal"))
    assert flat.alpha.value is None and "every paired rating is '1'" in flat.alpha.reason
    assert flat.raw.value == 1.0 and flat.raw.low is not None and flat.raw.low < 0.5
    alone = scores(from_matrix([[0, 1, 2]], "nominal"))
    assert alone.alpha.value is None and "one rater only" in alone.alpha.reason
    apart = scores(from_matrix([[0, NAN], [NAN, 1]], "nominal"))
    assert apart.raw.value is None and apart.raw.reason == "no item was rated twice"
    many = scores(from_matrix([list(range(150)), list(range(150))], "ordinal"), **ONCE)
    assert many.alpha.value is None and "bin them" in many.alpha.reason and many.raw.value == 1.0


def test_scale_given_counts_unused_classes_for_ac1() -> None:
    rows = simulated(50, 0.8)
    three = encode(rows, "nominal", ["normal", "near_collision", "collision"])
    assert scores(three, **ONCE).ac1.value != pytest.approx(scores(encode(rows, "nominal"), **ONCE).ac1.value)
    assert scores(three, **ONCE).alpha.value == pytest.approx(scores(encode(rows, "nominal"), **ONCE).alpha.value)


def test_segments_and_times() -> None:
    assert iou(np.array([[0.0, 2], [0, 1], [3, 3], [3, 3]]), np.array([[1.0, 3], [2, 3], [3, 3], [4, 4]])).tolist() == [
        pytest.approx(1 / 3),
        0.0,
        1.0,
        0.0,
    ]
    said = {"a": [(0.0, 2.0), (1.0, 3.0)], "b": [(4.0, 6.0), (4.0, 6.0)], "c": [(1.0, 2.0)]}
    rows = [Rating(i, f"r{k}", "seg", s) for i, segments in said.items() for k, s in enumerate(segments)]
    out = field_report(rows, "segment", replicates=50)
    assert out["iou"]["value"] == pytest.approx(2 / 3, abs=1e-6) and out["iou"]["n"] == 2
    assert out["start"]["spread"] == {"median": 0.5, "p90": 0.9, "n": 2}
    assert out["start"]["alpha"]["value"] == pytest.approx(
        krippendorff.alpha([[0, 4], [1, 4]], level_of_measurement="interval")
    )
    assert out["alpha"]["value"] is None and "start and end" in out["alpha"]["reason"]
    assert out["worst"][0]["item"] == "a" and out["pairs"][0]["iou"] == pytest.approx(2 / 3, abs=1e-6)
    times = [Rating("a", f"r{k}", "t", t) for k, t in enumerate([1.0, 5.0, 2.0, 3.0])]
    one = field_report(times, "interval", replicates=50)
    assert one["spread"] == {"median": 4.0, "p90": 4.0, "n": 1} and one["worst"][0]["disagreement"] == 4.0
    assert one["pairs"][0] == {"raters": ["r0", "r1"], "n": 1, "difference": 4.0}
    text = render_agreement({"t": one})
    assert "raw agreement" not in text and "spread by item        median 4" in text


def test_gate() -> None:
    assert gate(simulated(400, 0.97), "class", 0.667, 0.7)["status"] == "passed"
    poor = gate(simulated(400, 0.5), "class", 0.667, 0.7)
    assert poor["status"] == "failed" and "settle the guideline" in poor["message"]
    rows = simulated(120, 0.89, seed=5)
    unsure, s = gate(rows, "class", 0.667, 0.7), scores(encode(rows, "nominal"))
    assert unsure["status"] == "failed" and "class: failed: alpha" in unsure["message"]
    # The width shrinks with the root of n: so many units bring the lower end to the bound.
    needed = [
        math.ceil(120 * (((x.value - x.low) / (x.value - bound)) ** 2 - 1))
        for x, bound in ((s.alpha, 0.667), (s.specific["collision"], 0.7))
        if x.low < bound
    ]
    assert f"about {max(needed)} more items" in unsure["message"]
    few = simulated(40, 1.0)
    units = sum(r.value == "collision" for r in few) // 2
    missing = (
        f"class: not shown: {units} units of 'collision', 30 are needed: about {math.ceil((30 - units) * 40 / units)}"
    )
    assert gate(few, "class", 0.667, 0.7)["message"].startswith(missing)
    unseen = gate(simulated(400, 0.97), "class", 0.667, 0.7, classes=["collision", "near_collision", "normal"])
    assert unseen["message"].startswith("class: not shown: 0 units of 'near_collision', 30 are needed: at least 12000")
    assert gate([], "class", 0.667, 0.7)["status"] == "not shown"


# Other people's tables.


def written(path: Path, rows: list[list[str]], delimiter: str = ",", encoding: str = "utf-8") -> Path:
    with path.open("w", newline="", encoding=encoding) as f:
        csv.writer(f, delimiter=delimiter).writerows(rows)
    return path


HEAD = ["item", "rater", "field", "value"]
ROWS = [[f"{i:05d}", r, "class", "near, miss" if i % 3 else "accident ü"] for i in range(30) for r in ("a", "b")]


@pytest.mark.parametrize("kind", ["csv", "bom", "semicolon", "tsv", "jsonl", "parquet", "case"])
def test_formats_say_the_same(tmp_path: Path, kind: str) -> None:
    expected = agree_table(written(tmp_path / "x.csv", [HEAD, *ROWS]), replicates=50)
    path = tmp_path / f"y.{kind if kind in ('tsv', 'jsonl', 'parquet') else 'csv'}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(dict(zip(HEAD, row, strict=True))) + "\n" for row in ROWS), encoding="utf-8")
    elif kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({h: [row[k] for row in ROWS] for k, h in enumerate(HEAD)}), path)
    else:
        head = [" Item", "RATER", "Field", "value "] if kind == "case" else HEAD
        delimiter = {"tsv": "\t", "semicolon": ";"}.get(kind, ",")
        written(path, [head, *ROWS], delimiter, "utf-8-sig" if kind == "bom" else "utf-8")
    assert agree_table(path, replicates=50) == expected
    one = expected["class"]
    assert (one["n_items"], one["n_raters"], one["alpha"]["value"], one["kappa"]["value"]) == (30, 2, 1.0, 1.0)
    assert set(one["specific"]) == {"accident ü", "near, miss"}


def test_levels_are_guessed_and_can_be_given(tmp_path: Path) -> None:
    values = {
        "time": ["1.5", "2", "-3e1", "nan"],
        "zeros": ["007", "008", "009", "007"],
        "flag": ["True", "False", "True", "True"],
        "bit": ["0", "1", "1", "0"],
        "span": ["[1, 2.5]", "[2,3]", "(0; 1)", ""],
        "size": ["low", "mid", "high", "low"],
    }
    rows = [[f"{i}", r, f, v] for f, column in values.items() for i, v in enumerate(column) for r in ("a", "b")]
    path = written(tmp_path / "t.csv", [HEAD, *rows])
    out = agree_table(path, replicates=50)
    guessed = {f: one["level"] for f, one in out.items()}
    names = ("interval", "nominal", "nominal", "nominal", "segment", "nominal")
    assert guessed == dict(zip(values, names, strict=True))
    assert out["time"]["n_items"] == 3 and "2 values like 'nan' count as missing" in out["time"]["notes"]
    assert out["span"]["n_ratings"] == 6 and out["span"]["iou"]["value"] == 1.0
    assert set(out["zeros"]["specific"]) == {"007", "008", "009"}
    ordered = agree_table(path, {"size": "ordinal:low<mid<high", "zeros": "ordinal"}, replicates=50)
    assert (ordered["size"]["level"], ordered["zeros"]["level"]) == ("ordinal", "ordinal")
    for level, message in (
        ({"size": "ordinal"}, r"row \d+, field 'size': 'low' is not a number; give the order"),
        ({"size": "ordinal:low<high"}, "'mid' is not among low < high"),
        ({"size": "interval"}, "'low' is not a number; or give level nominal"),
    ):
        with pytest.raises(DataError, match=message):
            agree_table(path, level)
    for bad in (
        {"colour": "nominal"},
        {"": "nominale"},
        {"size": "nominal:low<mid<high"},
        {"size": "ordinal:low<mid<low"},
    ):
        with pytest.raises(UsageError):
            agree_table(path, bad)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no ratings"),
        ("item,rater,field,value\n", "no ratings"),
        ("item,rater,field,value\na,b,c,\n", "a value that is not blank"),
        ("id,r1,r2\n1,x,y\n", r"lacks item, rater, field, value .*columns: id, r1, r2.*df\.melt"),
        ("item,rater,value\n1,x,y\n", "add a column 'field'"),
        ("item,rater,field,value\n1,x,f,y\n2,x,f,y\n1,x,f,z\n", "field 'f', item '1': rated twice by 'x'; keep one"),
        ("item,rater,field,value\n1,,f,y\n", "row 2 has no rater"),
        ("item,rater,field,value\n1,x,f,y,z\n", "line 2: more cells than the header"),
        ("item,rater,field,value\n1,x,f,y\n2,x,f\n", "row 3 has fewer cells than the header"),
        ("item,rater,field,value\n1,x,f,1\n2,x,f,2\n3,x,f,1e999\n", "row 4, field 'f': 1e999 is larger than"),
        ("item,rater,field,value\n1,x,f,1\n2,x,f,2\n3,x,f,-1e200\n", "row 4, field 'f': -1e200 is larger than"),
        ("item,rater,field,value,Value\n1,x,f,y,z\n", "two columns are called 'value'"),
        ("item,rater,field,value,value\n1,x,f,y,z\n", "two columns are called 'value'"),
        ("item,rater,field,value,group\n1,x,f,y,g\n1,z,f,y,h\n", "item '1' is in groups 'g' and 'h'"),
        ('item,rater,field,value\n1,x,f,"y\n2,x,f,z\n', "after line 1: cannot be read: .*check the quotes"),
        ('item,rater,field,value\n1,x,f,"[2, 1]"\n', "row 2, field 'f': the segment .* ends before it starts"),
    ],
)
def test_errors_name_the_row_and_the_fix(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as error:
        agree_table(path)
    assert "\n" not in str(error.value)


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    for name, data, message in (
        ("a.csv", "item,rater,field,value\n1,a,f,ü\n".encode("latin-1"), "not UTF-8"),
        ("a.jsonl", b"{", "line 1: not JSON"),
        ("b.jsonl", b"[1]\n", "no header"),
        ("c.jsonl", b"[" * 100_000, "not JSON"),
        ("d.jsonl", b'{"value": ' + b"9" * 5000 + b"}", "not JSON"),
        ("a.parquet", b"PAR1", "not readable as Parquet"),
        ("a.xlsx", b"", "cannot read .xlsx"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=message):
            agree_table(tmp_path / name)
    with pytest.raises(UsageError, match="no such file"):
        agree_table(tmp_path / "none.csv")


def table(path: Path, values: list[str], head: str = "item,rater,field,value", more: str = "") -> Any:
    """The report on items 0, 1, …, each rated by a and b: pairs of `values` as they follow."""
    rows = [f"{n // 2},{'ab'[n % 2]},f,{value}" for n, value in enumerate(values)]
    path.write_text("\n".join([head, *rows, more]), encoding="utf-8")
    result = agree_table(path, replicates=50)
    json.dumps(result, allow_nan=False)
    assert "\x1b" not in render_agreement(result)
    return result["f"]


def test_odd_tables_are_read_as_they_are_meant(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    codes = table(path, ["1", "1.0", "2", "2", "1", "2.0"])
    assert (codes["level"], set(codes["specific"]), codes["raw"]["value"]) == ("nominal", {"1", "2"}, 0.666667)
    spans = table(path, ["1.2-3.4", "1.2-3.4", "0 – 2", "1-3"])
    assert (spans["level"], spans["iou"]["value"]) == ("segment", pytest.approx(2 / 3, abs=1e-6))
    assert "give level segment" in table(path, ["0-10", "0-10", "10-20", "0-10"])["notes"][0]
    times = ["1.5", "1.6"] * 5 + ["2.5", "unclear"]
    odd = table(path, times)
    assert odd["level"] == "nominal" and odd["notes"][0].startswith("not numbers: 1 of 12 values ('unclear'), so all")
    assert "write 1.5" in table(path, ['"1,5"', '"1,5"', '"2,5"', '"1,5"'])["notes"][0]
    assert "upper and lower case" in table(path, ["Yes", "yes", "no", "no"])["notes"][0]
    missing = table(path, ["x", "NaN", "x", "n/a", "y", "y", "x", "x"])
    assert (missing["n_units"], missing["notes"][0]) == (2, "2 values like 'nan' count as missing")
    again = table(path, ["x", "x", "y", "y"], more="1,a,f,y\n1,b,f,y\n")
    assert (again["n_units"], again["notes"][0]) == (2, "2 rows repeat others word for word: each is counted once")
    named = table(path, ["x,d1", "x,", "y,", "y,"], head="item,rater,field,value,group")
    assert (named["n_groups"], named["raw"]["value"]) == (2, 1.0)  # what is said of one rating holds for its item
    assert table(path, ["nan", "nan"], more="3,a,g,x")["alpha"] == {
        "value": None, "low": None, "high": None, "n": 0, "reason": "no ratings",
    }  # fmt: skip
    for level in ("nominal", "ordinal:x<y"):  # nobody rated the same item
        path.write_text("item,rater,field,value\n1,a,f,x\n2,b,f,y\n", encoding="utf-8")
        alone = agree_table(path, {"": level}, replicates=50)["f"]
        assert (alone["alpha"]["reason"], alone["worst"]) == ("no item was rated twice", [])


def test_more_unlike_groups_than_are_drawn_are_dealt_to_heaps() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(20, 5, 8000)
    matrix = np.stack([truth + rng.normal(0, 2, 8000) for _ in range(2)])
    r = from_matrix(matrix, "interval")
    x, times = fold(item_sums(r, np.arange(0))[0], r.group)
    assert (x.shape[0], times.sum()) == (5000, 5000)
    alpha = scores(r, replicates=1000).alpha
    part = scores(from_matrix(matrix[:, :4000], "interval"), replicates=1000).alpha
    assert alpha.high - alpha.low == pytest.approx((part.high - part.low) / math.sqrt(2), rel=0.15)


def test_many_raters_and_many_classes(tmp_path: Path) -> None:
    rnd = random.Random(0)
    rows = [[f"i{i}", f"r{r}", "text", f"word {rnd.randrange(400)}"] for i in range(60) for r in range(31)]
    out = agree_table(written(tmp_path / "t.csv", [HEAD, *rows]), replicates=20)["text"]
    assert len(out["specific"]) == 50 and out["pairs"] == [] and abs(out["alpha"]["value"]) < 0.02
    assert sum("most frequent are listed" in note or "pairs are listed" in note for note in out["notes"]) == 2
    assert "31 raters" in out["kappa"]["reason"]


@pytest.mark.parametrize("level", ["nominal", "interval"])
def test_a_crowd_that_rated_few_items_takes_no_memory_for_its_pairs(level: str) -> None:
    rnd = random.Random(0)
    rows = [Rating(f"i{i}", f"r{r}", "f", float(rnd.randrange(3))) for i in range(4) for r in range(5000)]
    out = field_report(rows, level, replicates=20)
    assert abs(out["alpha"]["value"]) < 0.02 and len(out["worst"]) == 4 and len(out["worst"][0]["ratings"]) == 30
    with pytest.raises(DataError, match="pairs of ratings"):
        field_report([replace(r, value=(r.value, 2 + rnd.random())) for r in rows], "segment", replicates=20)


def test_disagreement_of_an_item_is_the_share_of_its_pairs_or_its_spread() -> None:
    said = [1.0, 1.0, 4.0, 6.0]
    for level, expected in (("nominal", 5 / 6), ("ordinal", 2), ("interval", 5)):
        worst = field_report([Rating("a", f"r{k}", "f", v) for k, v in enumerate(said)], level, **ONCE)["worst"]
        assert worst[0]["disagreement"] == pytest.approx(expected, abs=1e-6)


def test_the_text_names_figures_and_cautions(tmp_path: Path) -> None:
    values = [("y", "y")] * 94 + [("y", "n")] * 5 + [("n\x1b[31m", "y")]
    rows = [[f"{i}", r, "f", v] for i, pair in enumerate(values) for r, v in zip("ab", pair, strict=True)]
    result = agree_table(written(tmp_path / "t.csv", [HEAD, *rows]), replicates=200)
    text = render_agreement(result)
    assert "raw agreement         0.940 [" in text and "high by chance" in text and "\x1b" not in text
    assert "disagree on 94: a: y, b: n" in text
    json.dumps(result, allow_nan=False)


def test_one_level_for_all_and_another_for_one(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"{i},{r},{f},{i % 4}" for i in range(9) for r in "ab" for f in "fg"]
    path.write_text("\n".join(["item,rater,field,value", *rows]))
    levels = ["--level", "ordinal:0<1<2<3", "--level", "f=nominal"]
    told = CliRunner().invoke(main, ["agree", "--table", str(path), *levels, "--json"]).output
    assert {name: one["level"] for name, one in json.loads(told).items()} == {"f": "nominal", "g": "ordinal"}
