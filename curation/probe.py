"""The text-prior probe: how far above chance are answers picked by something that never sees the video?

A linear model is trained on the questions and options of some groups (videos, drives) and picks in the others. What it
can pick, a model under test can pick too, and a score on such a set does not show that anything was seen. The probe
finds what a linear text model can find: "clean" means *not above chance by more than the margin for these features*,
not that no prior exists.

Traps, and what is done about them
- A group's items are always in one fold. Near-duplicate videos in different groups are the caller's to join.
- In exactly balanced data (each string right in exactly 1/k of its offers) a string that is right in the held-out fold
  was right too seldom in the others: honest accuracy lies slightly *below* chance. That is no leak and no defect.
- Ties are broken by the seed, never by the position; accuracy is the mean over seeds.
- The intervals resample groups (percentile bootstrap, 95 %) around fixed held-out picks. With few groups such intervals
  are too narrow, so below `MIN_GROUPS` groups nothing is concluded.
- Single items are never blamed: 1/k of perfect items are guessed. Families are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from curation.priors import (
    EVERYTHING,
    Floats,
    Ints,
    Mask,
    Table,
    clean,
    constant_name,
    constant_scores,
    examples,
    features,
    fold_masks,
    lookup_scores,
    make_table,
    pick,
    ridge_scores,
    string_counts,
    telling,
    text_lengths,
    word_tfidf,
)
from curation.types import Json

MARGIN = 0.03
MIN_GROUPS = 30
PERMUTED = "permuted answers"
BELOW_CHANCE = (
    "accuracy is below chance, as in exactly balanced answers: a string that is right in the held-out fold was right "
    "too seldom in the others, so the probe leans the wrong way; this is no leak"
)


def _seed(t: Table, blocks: dict[str, Any], folds: int, seed: int) -> tuple[dict[str, Floats], Ints, Floats]:
    """One seed: hits (0 or 1 per item) by feature set, and the headline's picks and leads."""
    rng = np.random.default_rng(seed)
    drawn = (rng.random(len(t.k)) * t.k).astype(np.int64)
    shuffled = np.asarray(t.place == drawn[t.item])
    names = [*blocks, "look-up", "best constant", PERMUTED]
    rated = {name: np.zeros(len(t.item)) for name in names}
    chance = 1 / t.k[t.item]
    for test in fold_masks(t.group, folds, rng):
        rows, train = test[t.item], ~test
        for name, x in blocks.items():
            rated[name][rows] = ridge_scores(t, x, t.right - chance, train)[rows]
        rated["look-up"][rows] = lookup_scores(t, train)[rows]
        rated["best constant"][rows] = constant_scores(t, train)[rows]
        rated[PERMUTED][rows] = ridge_scores(t, blocks[EVERYTHING], shuffled - chance, train)[rows]
    picks = {name: pick(t, s, rng) for name, s in rated.items()}
    hits = {n: (p[0] == (drawn if n == PERMUTED else t.answer)).astype(np.float64) for n, p in picks.items()}
    return hits, *picks[EVERYTHING]


def probe_closed(
    items: Sequence[Mapping[str, Any]],
    *,
    seeds: int = 3,
    folds: int = 5,
    replicates: int = 1000,
    margin: float = MARGIN,
) -> Json:
    """Can the answers be picked without the video?

    `items`: `{"id", "question", "options": list of str, "answer": index of the right one, "group", "family"}`; the
    number of options may vary, a yes/no question is an item of two options. Accuracies are means over `seeds` of
    picks in `folds` held-out folds of whole groups; `interval` is the 95 % bootstrap over groups, `chance` the mean
    of 1/k. Verdicts: "leaks" (lower end above chance + margin), "clean" (upper end at most chance + margin), else "not
    shown" with its reason. The whole leaks when any feature set does; `because` names which.

    Raises DataError for an item with fewer than two options or an answer outside them.
    """
    groups = len({str(item["group"]) for item in items})
    settings = {"margin": margin, "seeds": seeds, "folds": min(folds, groups)}
    if groups < 2:
        reason = f"{len(items)} items in {groups} groups: nothing can be held out"
        nothing = dict.fromkeys(["accuracy", "chance", "interval", "excess", "best_constant", "strings"])
        empty = nothing | {"by_family": {}, "by_features": {}, "telling": {}, "examples": [], "notes": []}
        return empty | settings | {"n": len(items), "groups": groups, "verdict": "not shown", "because": reason}
    t = make_table(items)
    blocks = features(t)
    runs = [_seed(t, blocks, folds, seed) for seed in range(seeds)]
    hits = {name: np.mean([run[0][name] for run in runs], axis=0) for name in runs[0][0]}
    chance = 1 / t.k
    by_features = scores(hits, chance, t.group, replicates=replicates, margin=margin)
    headline = by_features[EVERYTHING]
    table = {
        f: scores(
            hits, chance, t.group, mask=t.family == i, tests=len(t.families), replicates=replicates, margin=margin
        )
        for i, f in enumerate(t.families)
    }
    verdict, because = _overall(by_features, table)
    return {
        **headline,
        **settings,
        "verdict": verdict,
        "because": because,
        "by_family": {
            f: table[f][EVERYTHING]
            | {"best_constant": table[f]["best constant"] | {"what": constant_name(t, i)}}
            | {"features": {name: table[f][name]["accuracy"] for name in hits}}
            for i, f in enumerate(t.families)
        },
        "by_features": by_features,
        "best_constant": by_features["best constant"],
        "strings": string_counts(t),
        "telling": {f: telling(t, i) for i, f in enumerate(t.families)},
        "examples": examples(t, items, runs, hits[EVERYTHING]),
        "notes": [BELOW_CHANCE] if headline["excess"]["high"] < 0 else [],
    }


def _overall(by_features: Json, by_family: Mapping[str, Json]) -> tuple[str, str]:
    """The whole leaks when any feature set does, or a family by all features (at a level shared by the families)."""
    leaking = [f for f, s in by_features.items() if f != PERMUTED and s["verdict"] == "leaks"]
    families = [f"family {f!r}" for f, s in by_family.items() if s[EVERYTHING]["verdict"] == "leaks"]
    if leaking or families:
        return "leaks", ", ".join(leaking or families)
    return by_features[EVERYTHING]["verdict"], by_features[EVERYTHING]["because"]


def probe_numbers(
    values: Sequence[float],
    groups: Sequence[str],
    *,
    tolerance: float = 1.0,
    span: float | None = None,
    folds: int = 5,
    replicates: int = 1000,
    margin: float = MARGIN,
) -> Json:
    """How many of `values` (seconds, say) does one constant guess hit within `tolerance`?

    The constant is chosen on the other folds, `constant` is that of the whole. `span` is the length of the range in
    which an answer may lie (the clip's length): chance is then what a uniform answer gives, min(1, 2 tolerance / span).
    Without a span there is nothing to compare with and the verdict is "not shown".
    """
    x = np.asarray(values, dtype=np.float64)
    n_groups = len(set(groups))
    if n_groups < 2:
        return {"accuracy": None, "n": len(x), "groups": n_groups, "verdict": "not shown", "because": "one group only"}
    group = np.unique(np.asarray([str(g) for g in groups]), return_inverse=True)[1]
    hit = np.zeros(len(x))
    for test in fold_masks(group, folds, np.random.default_rng(0)):
        hit[test] = np.abs(x[test] - _best_guess(x[~test], tolerance)) <= tolerance
    chance = np.full(len(x), min(1.0, 2 * tolerance / span) if span else 0.0)
    score = scores({"constant": hit}, chance, group, replicates=replicates, margin=margin)["constant"]
    if span is None:
        because = "no span of possible answers given"
        score |= {"chance": None, "excess": None, "verdict": "not shown", "because": because}
    return score | {"constant": _best_guess(x, tolerance), "tolerance": tolerance, "margin": margin}


def _best_guess(values: Floats, tolerance: float) -> float:
    """The middle of the window of width 2 `tolerance` that holds most values (the first such window)."""
    ordered = np.sort(values)
    held = np.searchsorted(ordered, ordered + 2 * tolerance, side="right") - np.arange(len(ordered))
    first = int(held.argmax())
    return float((ordered[first] + ordered[first + held[first] - 1]) / 2)


def probe_class(
    texts: Sequence[str],
    classes: Sequence[str],
    groups: Sequence[str],
    *,
    seeds: int = 3,
    folds: int = 5,
    replicates: int = 1000,
    margin: float = MARGIN,
) -> Json:
    """Can the class be told from the texts alone (the question side: prompts, questions, never the answers)?

    Accuracy is balanced over classes, so that chance and every constant are 1 / number of classes whatever the class
    shares. Same intervals and verdicts as `probe_closed`; `telling` has the words that speak most for each class.
    """
    names = sorted(set(classes))
    n_groups = len(set(groups))
    if n_groups < 2 or len(names) < 2:
        reason = f"{n_groups} groups, {len(names)} classes: at least two of each are needed"
        return {"accuracy": None, "n": len(texts), "groups": n_groups, "verdict": "not shown", "because": reason}
    y = np.array([names.index(c) for c in classes])
    group = np.unique(np.asarray([str(g) for g in groups]), return_inverse=True)[1]
    cleaned = [clean(t) for t in texts]
    blocks = {EVERYTHING: word_tfidf(cleaned, 2), "lengths": text_lengths(cleaned)}
    runs = [_class_seed(blocks, y, group, folds, seed) for seed in range(seeds)]
    hits = {name: np.mean([run[name] for run in runs], axis=0) for name in runs[0]}
    weights = 1 / np.bincount(y)[y]
    chance = np.full(len(y), 1 / len(names))
    by_features = scores(hits, chance, group, weights=weights, replicates=replicates, margin=margin)
    verdict, because = _overall(by_features, {})
    return {
        **by_features[EVERYTHING],
        "verdict": verdict,
        "because": because,
        "margin": margin,
        "classes": {name: int((y == i).sum()) for i, name in enumerate(names)},
        "by_features": by_features,
        "telling": _class_words(cleaned, y, names),
    }


def _class_seed(blocks: dict[str, Any], y: Ints, group: Ints, folds: int, seed: int) -> dict[str, Floats]:
    """One seed: hits (0 or 1 per text) by feature set. A class that a training fold lacks is never picked."""
    from sklearn.linear_model import RidgeClassifier

    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(y)
    hits: dict[str, Floats] = {name: np.zeros(len(y)) for name in [*blocks, PERMUTED]}
    for test in fold_masks(group, folds, rng):
        for name in hits:
            x, target = (blocks[EVERYTHING], shuffled) if name == PERMUTED else (blocks[name], y)
            if len(set(target[~test])) < 2:
                hits[name][test] = target[test] == target[~test][0]
                continue
            model = RidgeClassifier(class_weight="balanced", solver="lsqr", tol=1e-3).fit(x[~test], target[~test])
            margins = np.atleast_2d(model.decision_function(x[test]).T).T
            margins = np.hstack([-margins, margins]) if margins.shape[1] == 1 else margins
            margins = np.round(margins, 6) + rng.random(margins.shape) * 1e-7
            hits[name][test] = model.classes_[margins.argmax(axis=1)] == target[test]
    return hits


def _class_words(texts: list[str], y: Ints, names: list[str], top: int = 6) -> dict[str, list[Json]]:
    """Per class the words whose texts are of that class more often than their number lets expect."""
    words = [set(re.findall(r"\w+", t.casefold())) for t in texts]
    total = Counter(w for ws in words for w in ws)
    out: dict[str, list[Json]] = {}
    for i, name in enumerate(names):
        share = float((y == i).mean())
        inside = Counter(w for ws, c in zip(words, y, strict=True) if c == i for w in ws)
        z = {w: (inside[w] - n * share) / (n * share * (1 - share)) ** 0.5 for w, n in total.items() if n > 2}
        best = sorted(z, key=lambda w: (-z[w], w))[:top]
        out[name] = [{"text": w, "in_class": inside[w], "in_all": total[w], "z": round(z[w], 2)} for w in best]
    return out


# --- scores with intervals --------------------------------------------------------------------------------------------


def resampled(values: Floats, weights: Floats, group: Ints, *, replicates: int, seed: int = 0) -> Floats:
    """Bootstrap over groups of weighted means: `values`, `weights` items x columns to replicates x columns.

    NaN where a replicate holds no weight of the column.
    """
    n_groups = int(group.max()) + 1
    total, weight = np.zeros((2, n_groups, values.shape[1]))
    np.add.at(total, group, values * weights)
    np.add.at(weight, group, weights)
    rng = np.random.default_rng(seed)
    out = np.empty((replicates, values.shape[1]))
    for r in range(replicates):
        draw = np.bincount(rng.integers(0, n_groups, n_groups), minlength=n_groups).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            out[r] = (draw @ total) / (draw @ weight)
    return out


def scores(
    hits: Mapping[str, Floats],
    chance: Floats,
    group: Ints,
    *,
    mask: Mask | None = None,
    weights: Floats | None = None,
    tests: int = 1,
    replicates: int,
    margin: float,
) -> dict[str, Json]:
    """Score and verdict by feature set; `hits` and `chance` per item, `mask` chooses items.

    Intervals are 95 %; "leaks" is concluded at a level shared among `tests` (Bonferroni), so that of many families one
    does not leak by luck.
    """
    mask = np.ones(len(chance), bool) if mask is None else mask
    members = np.unique(group[mask], return_inverse=True)[1]
    values = np.stack([h[mask] for h in hits.values()] + [chance[mask]], axis=1)
    of_item = np.ones(len(values)) if weights is None else weights[mask]
    weight = np.repeat(of_item[:, None], values.shape[1], axis=1)
    draws = resampled(values, weight, members, replicates=replicates)
    means = np.average(values, axis=0, weights=of_item)
    n, n_groups = len(values), int(members.max()) + 1
    out: dict[str, Json] = {}
    for column, name in enumerate(hits):
        low, high = np.nanpercentile(draws[:, column], [2.5, 97.5])
        strict, below, above = np.nanpercentile(draws[:, column] - draws[:, -1], [2.5 / tests, 2.5, 97.5])
        if means[column] in (0.0, 1.0):  # the bootstrap has no width: Clopper-Pearson with groups as the units
            edge = 0.025 ** (1 / n_groups)
            low, high = (edge, 1.0) if means[column] else (0.0, 1 - edge)
            below, above = low - means[-1], high - means[-1]
            strict = (0.025 / tests) ** (1 / n_groups) - means[-1] if means[column] else below
        verdict, because = conclude(float(strict), float(above), n, n_groups, margin)
        out[name] = {
            "accuracy": float(means[column]),
            "chance": float(means[-1]),
            "interval": [float(low), float(high)],
            "excess": {"mean": float(means[column] - means[-1]), "low": float(below), "high": float(above)},
            "n": n,
            "groups": n_groups,
            "verdict": verdict,
            "because": because,
        }
    return out


def conclude(low: float, high: float, n: int, groups: int, margin: float) -> tuple[str, str]:
    """(verdict, why) from the ends of the interval of accuracy minus chance."""
    if groups < MIN_GROUPS:
        return "not shown", f"{groups} groups ({n} items): too few, at least {MIN_GROUPS} are needed"
    if low > margin:
        return "leaks", f"at least {low:+.3f} from chance, margin {margin:.3f}"
    if high <= margin:
        return "clean", f"at most {high:+.3f} from chance, margin {margin:.3f}"
    if high - low > 2 * margin:
        return "not shown", f"{low:+.3f} to {high:+.3f} from chance: too few items ({n}, {groups} groups) to tell"
    return "not shown", f"{low:+.3f} to {high:+.3f} from chance: in between, margin {margin:.3f}"
