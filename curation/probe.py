"""The text-prior probe: how far above chance are answers picked by something that never sees the video?

A linear model is trained on the questions and options of some groups (videos, drives) and picks in the others. What it
can pick, a model under test can pick too, and a score on such a set does not show that anything was seen. "clean"
means *not above chance by more than the margin for these features*, not that no prior exists.

Traps, and what is done about them
- A group's items are always in one fold. Near-duplicate videos in different groups are the caller's to join.
- In exactly balanced data (each string right in exactly 1/k of its offers) a string that is right in the held-out fold
  was right too seldom in the others: honest accuracy lies *below* chance (our own templates: 0.19 of 0.33 in 42 items).
  That is no leak and no defect: who has not learned from the other answers gains nothing by picking the opposite. A
  language model has not, so there a pick that is right too seldom is a cue: `probe_asked` also scores avoiding it.
- Ties are broken by the seed, never by the position; accuracy is the mean over seeds.
- The intervals resample groups (percentile bootstrap, 95 %) around fixed held-out picks. With few groups such intervals
  are too narrow, so below `MIN_GROUPS` groups nothing is concluded.
- Single items are never blamed: 1/k of perfect items are guessed. Families are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import schemas
from curation import priors
from curation.ids import seeded
from curation.priors import EVERYTHING, PERMUTED, Floats, Ints
from curation.questions import Option, UnreadableError, parse_answer
from curation.types import Json

Ask = Callable[[list[str]], Sequence[str | None]]  # prompts → replies, in order; None where there is none

MARGIN = 0.03
MIN_GROUPS = 30
BELOW_CHANCE = "below chance, as where answers are exactly balanced: what is right here was right too seldom elsewhere"


def probe_closed(items: Sequence[Mapping[str, Any]], *, seeds: int = 3, replicates: int = 1000) -> Json:
    """Can the answers be picked without the video?

    `items`: `{"id", "question", "options": list of str, "answer": index of the right one, "group", "family"}`; the
    number of options may vary, a yes/no question is an item of two options. Accuracies are means over `seeds` of
    picks in held-out folds of whole groups; `interval` is the 95 % bootstrap over groups, `chance` the mean
    of 1/k. Verdicts: "leaks" (lower end above chance + margin), "clean" (upper end at most chance + margin), else "not
    shown" with its reason. The whole leaks when any feature set or family does; `because` names which.

    Raises DataError for an item with fewer than two options or an answer outside them.
    """
    groups = len({str(item["group"]) for item in items})
    if groups < 2:
        lists: Json = {"by_family": {}, "by_features": {}, "telling": {}, "examples": [], "notes": []}
        return _nothing(len(items), groups, "nothing can be held out") | lists
    t = priors.make_table(items)
    blocks = priors.features(t)
    runs = [priors.guess(t, blocks, seed) for seed in range(seeds)]
    hits = {name: np.mean([run[0][name] for run in runs], axis=0) for name in runs[0][0]}
    by_features = scores(hits, 1 / t.k, t.group, tests=len(hits), replicates=replicates)
    by_family = _by_family(hits[EVERYTHING], 1 / t.k, t.group, np.array(t.families)[t.family], replicates)
    leaking = [f for f, s in by_features.items() if f != PERMUTED and s["verdict"] == "leaks"]
    leaking = leaking or [f"family {f!r}" for f, s in by_family.items() if s["verdict"] == "leaks"]
    return {
        **by_features[EVERYTHING],
        **({"verdict": "leaks", "because": ", ".join(leaking)} if leaking else {}),
        "by_family": by_family,
        "by_features": by_features,
        "telling": {family: priors.telling(t, i) for i, family in enumerate(t.families)},
        "examples": priors.examples(t, items, np.mean([run[1] for run in runs], axis=0), hits[EVERYTHING]),
        "notes": [BELOW_CHANCE] if by_features[EVERYTHING]["excess"][1] < 0 else [],
    }


def _nothing(n: int, groups: int, reason: str) -> Json:
    nothing: Json = {"accuracy": None, "chance": None, "interval": None, "excess": None}
    because = f"{n} items in {groups} groups: {reason}"
    return nothing | {"n": n, "groups": groups, "verdict": "not shown", "because": because}


def probe_class(
    texts: Sequence[str], classes: Sequence[str], groups: Sequence[str], *, seeds: int = 3, replicates: int = 1000
) -> Json:
    """Can the class be told from the texts alone (the question side: prompts, questions, never the answers)?

    Accuracy is balanced over classes, so that chance and every constant are 1 / number of classes whatever the class
    shares. Same intervals and verdicts as `probe_closed`.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import GroupKFold, cross_val_predict

    n_groups, n_classes = len(set(groups)), len(set(classes))
    if n_groups < 2 or n_classes < 2:
        return _nothing(len(texts), n_groups, f"{n_classes} classes; at least two groups and classes are needed")
    x = priors.word_tfidf([priors.clean(text) for text in texts], 2)
    y, group = (np.unique(names, return_inverse=True)[1] for names in (classes, groups))
    model = RidgeClassifier(class_weight="balanced", solver="lsqr", tol=1e-3)
    hits = []
    for seed in range(seeds):
        folds = GroupKFold(min(priors.FOLDS, n_groups), shuffle=True, random_state=seed)
        hits.append(cross_val_predict(model, x, y, groups=group, cv=folds) == y)
    hit, chance, weights = np.mean(hits, axis=0), np.full(len(y), 1 / n_classes), 1 / np.bincount(y)[y]
    return scores({EVERYTHING: hit}, chance, group, weights=weights, replicates=replicates)[EVERYTHING]


def probe_asked(items: Sequence[Mapping[str, Any]], ask: Ask, *, seed: int = 0, replicates: int = 1000) -> Json:
    """Can a language model pick the answers without the video, or tell which are wrong? Items, intervals and verdicts
    as in `probe_closed`; it leaks, too, if drawing among the options that it does not pick is right too often.

    Each question is asked once, by `schemas/probe.md`, its options in an order drawn by `seed` and the item's id. A
    reply that names no option (`unread`) counts as a draw, 1/k.
    """
    if len({str(item["group"]) for item in items}) < 2:
        return _nothing(len(items), 1, "nothing can be held out") | {"by_family": {}, "unread": 0}
    text = (Path(schemas.__file__).parent / "probe.md").read_text(encoding="utf-8")
    head, middle, tail = re.split(r"\{\{question\}\}|\{\{options\}\}", text)
    orders = [seeded(seed, "probe", i["id"]).sample(i["options"], len(i["options"])) for i in items]
    listed = ["\n".join(f"{chr(65 + n)}. {option}" for n, option in enumerate(order)) for order in orders]
    prompts = [f"{head}{i['question']}{middle}{o}{tail}" for i, o in zip(items, listed, strict=True)]
    hits, chance = np.zeros(len(items)), np.array([1 / len(order) for order in orders])
    unread = 0
    for n, (item, order, reply) in enumerate(zip(items, orders, ask(prompts), strict=True)):
        options = [Option(o, i, chr(65 + i)) for i, o in enumerate(order)]
        try:
            place = parse_answer(options, (reply or "").strip().partition("\n")[0], "letter")
        except UnreadableError:
            unread += 1
            hits[n] = chance[n]
            continue
        hits[n] = order[place] == item["options"][item["answer"]]
    group, family = (np.array([str(item[key]) for item in items]) for key in ("group", "family"))
    whole = _picked_or_avoided(hits, chance, group, replicates)
    if unread > 0.2 * len(items):
        whole |= {"verdict": "not shown", "because": f"{unread} of {len(items)} replies name no option"}
    return whole | {"by_family": _by_family(hits, chance, group, family, replicates), "unread": unread}


def _picked_or_avoided(hit: Floats, chance: Floats, group: Any, replicates: int) -> Json:
    avoiding = (1 - hit) * chance / (1 - chance)  # right in 1 of the k - 1 others
    picked, avoided = scores({"pick": hit, "avoid": avoiding}, chance, group, tests=2, replicates=replicates).values()
    if avoided["verdict"] == "leaks":
        told = f"avoiding what it picks is right in {avoided['accuracy']:.3f}: {avoided['because']}"
        picked |= {"verdict": "leaks", "because": told}
    return picked


def _by_family(hit: Floats, chance: Floats, group: Any, family: Any, replicates: int) -> Json:
    parts = {str(name): family == name for name in np.unique(family)}
    return {
        name: scores({EVERYTHING: hit[of]}, chance[of], group[of], tests=len(parts), replicates=replicates)[EVERYTHING]
        for name, of in parts.items()
    }


def scores(
    hits: Mapping[str, Floats],
    chance: Floats,
    group: Any,
    *,
    weights: Floats | None = None,
    tests: int = 1,
    replicates: int = 1000,
) -> dict[str, Json]:
    """Score and verdict by feature set; `hits`, `chance` and `group` per item, `excess` is the interval over chance.

    Intervals are 95 %; "leaks" is concluded at a level shared among `tests` (Bonferroni), so that of many families one
    does not leak by luck.
    """
    members = np.unique(group, return_inverse=True)[1]
    n, n_groups = len(chance), int(members.max()) + 1
    values = np.stack([*hits.values(), chance], axis=1)
    weights = np.ones(n) if weights is None else weights
    draws = resampled(values, weights, members, replicates)
    means = np.average(values, axis=0, weights=weights)
    out: dict[str, Json] = {}
    for column, name in enumerate(hits):
        mean = float(means[column])
        low, high = np.percentile(draws[:, column], [2.5, 97.5])
        strict, below, above = np.percentile(draws[:, column] - draws[:, -1], [2.5 / tests, 2.5, 97.5])
        if mean in (0.0, 1.0):  # the bootstrap has no width: Clopper-Pearson with groups as the units
            edge = 0.025 ** (1 / n_groups)
            low, high = (edge, 1.0) if mean else (0.0, 1 - edge)
            below, above = low - means[-1], high - means[-1]
            strict = (0.025 / tests) ** (1 / n_groups) - means[-1] if mean else below
        verdict, because = conclude(float(strict), float(above), n, n_groups)
        score = {"accuracy": mean, "chance": float(means[-1]), "interval": [float(low), float(high)]}
        score |= {"excess": [float(below), float(above)], "n": n, "groups": n_groups}
        out[name] = score | {"verdict": verdict, "because": because}
    return out


def resampled(values: Floats, weights: Floats, group: Ints, replicates: int) -> Floats:
    """Bootstrap over groups of weighted means: `values` items x columns to replicates x columns."""
    n = int(group.max()) + 1
    total, weight = np.zeros((n, values.shape[1])), np.bincount(group, weights)
    np.add.at(total, group, values * weights[:, None])
    rng = np.random.default_rng(0)
    counts = (np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(replicates))
    return np.stack([(c @ total) / (c @ weight) for c in counts])


def conclude(low: float, high: float, n: int, groups: int) -> tuple[str, str]:
    """(verdict, why) from the ends of the interval of accuracy minus chance."""
    if groups < MIN_GROUPS:
        return "not shown", f"{groups} groups ({n} items): too few, at least {MIN_GROUPS} are needed"
    if low > MARGIN:
        return "leaks", f"at least {low:+.3f} from chance, margin {MARGIN}"
    if high <= MARGIN:
        return "clean", f"at most {high:+.3f} from chance, margin {MARGIN}"
    why = f"too few items ({n}, {groups} groups) to tell" if high - low > 2 * MARGIN else f"in between, margin {MARGIN}"
    return "not shown", f"{low:+.3f} to {high:+.3f} from chance: {why}"
