"""From predictions to a summary of scores with intervals, and to one page that answers what a referee asks.

A prediction row: {"clip_id", "group", "arm", "truth", "pred", "scores": {class: probability}}. The arms show the same
trained model less and less: `full` the whole clip, `shuffled` its frames in another order, `first_frame` and
`last_frame` one frame, `blind` none; `untrained` is the whole clip before training.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curation.errors import DataError
from curation.types import Json
from eval import metrics, page, stats
from eval.metrics import CLASSES, TARGET, Floats, Table
from eval.page import ARM_TEXT, Media, Row

HEADLINE = f"f1.{TARGET}"
LARGEST_SLICES = 12  # values of an attribute that are shown
TOLERANCE = 0.10  # how far above the best constant the blind arm's upper end may lie
UNDEFINED = {
    "precision": "never predicted",
    "recall": "no such clip",
    "f1": "no such clip, never predicted",
    "average_precision": "no positive clip",
}


@dataclass(frozen=True)
class Scored:
    """A table, its scores (name -> {value, low, high, n, support, groups, note}), and the replicates they rest on."""

    table: Table
    scores: Json
    replicates: dict[str, Floats]


def scored(t: Table) -> Scored:
    """Every score of `t` with its interval; None is undefined, and `note` says why."""
    group = np.unique(t.groups, return_inverse=True)[1].astype(np.int64)
    replicates = stats.bootstrap(lambda w: metrics.measure(t, w), group)
    fixed = len(set(t.pred.tolist())) == 1
    out: Json = {}
    for name, values in metrics.measure(t, np.ones((1, len(t)))).items():
        bearing = metrics.bears_on(t, name)
        clips, groups = int(bearing.sum()), len(set(group[bearing].tolist()))
        value, low, high, note = float(values[0]), None, None, ""
        if np.isnan(value):
            note = UNDEFINED[name.partition(".")[0]]
        else:
            bounds, note = stats.score_interval(value, replicates[name], groups, clips, fixed=fixed)
            low, high = bounds or (None, None)
        told = {"n": len(t), "support": clips, "groups": groups, "note": note}
        out[name] = {"value": None if np.isnan(value) else value, "low": low, "high": high, **told}
    return Scored(t, out, replicates)


def difference(a: Scored, b: Scored, name: str) -> Json:
    """Score `name` of a - b, over the same clips: {value, low, high, p, n, groups, note}.

    Groups are resampled for both arms at once. Where that moves nothing, because an arm or the difference is the same
    in every group, the two arms' own intervals are added instead: a few clips that agree prove no equality.
    """
    x, y, groups = a.scores[name], b.scores[name], len(set(a.table.groups))
    out: Json = dict.fromkeys(("value", "low", "high", "p"))
    out |= {"n": len(a.table), "groups": groups, "note": x["note"] or y["note"]}
    if x["value"] is None or y["value"] is None:
        return out
    xs, ys = a.replicates[name], b.replicates[name]
    value = x["value"] - y["value"]
    se, note = stats.spread(xs - ys, groups)
    out |= {"value": value, "note": note}
    if se is None:
        return out
    half = stats.t_of(groups) * se
    bounds = value - half, value + half
    if x["low"] is not None and y["low"] is not None and min(np.nanstd(v) for v in (xs, ys, xs - ys)) < stats.NO_SPREAD:
        bounds = stats.square_and_add(x["value"], (x["low"], x["high"]), y["value"], (y["low"], y["high"]))
        out["note"] = "from the intervals of both arms"
    low, high = max(-1.0, bounds[0]), min(1.0, bounds[1])
    return out | {"low": low, "high": high, "p": stats.p_of(value, bounds, groups)}


def summarize(predictions: Sequence[Row], attributes: Mapping[str, Json] | None = None) -> Json:
    """All scores of all arms, how far their F1 is below that of `full`, the best constant answer, slices and verdicts.

    `attributes` gives the slices: clip id -> {"cause": ..., "weather": ...}. Raises DataError where arm `full` is
    missing, rows contradict one another, or the arms did not answer the same clips.
    """
    arms = {name: scored(t) for name, t in _tables(predictions).items()}
    full = arms["full"]
    constant: Json = {}
    for name, answer in metrics.best_constant(full.table).items():
        always = scored(full.table.constant(answer))
        constant[name] = always.scores[name] | {"answer": answer}
        if name == HEADLINE:
            against = difference(full, always, HEADLINE)
    differences = {name: difference(full, arm, HEADLINE) for name, arm in arms.items() if name != "full"}
    adjusted = stats.holm({k: d["p"] for k, d in differences.items() if d["p"] is not None})
    for name, told in differences.items():
        told["p_adjusted"] = adjusted.get(name)
    differences["constant"] = against | {"p_adjusted": against["p"]}  # asked first and alone; the arms are a family
    once = np.ones((1, len(full.table)))
    summary = {
        "replicates": stats.REPLICATES,
        "seed": stats.SEED,
        "clips": len(full.table),
        "groups": len(set(full.table.groups)),
        "class_counts": {c: int((full.table.truth == i).sum()) for i, c in enumerate(CLASSES)},
        "confusion": metrics.confusion(full.table, once)[0].astype(int).tolist(),
        "arms": {name: {"n": len(arm.table), "metrics": arm.scores} for name, arm in arms.items()},
        "constant": constant,
        "differences": differences,
        "slices": _slices(full.table, attributes or {}),
    }
    return summary | {"verdicts": verdicts(summary)}


def _tables(predictions: Sequence[Row]) -> dict[str, Table]:
    """The table of each arm, known arms first."""
    by_arm: dict[str, list[Row]] = {}
    for row in predictions:
        by_arm.setdefault(str(row["arm"]), []).append(row)
    if "full" not in by_arm:
        raise DataError("predictions: no arm 'full'; every other arm is read against it, so predict it first")
    known = [arm for arm in ARM_TEXT if arm in by_arm]
    out = {arm: metrics.table(by_arm[arm]) for arm in [*known, *sorted(by_arm.keys() - known)]}
    for arm, t in out.items():
        if any(not np.array_equal(getattr(t, k), getattr(out["full"], k)) for k in ("clips", "groups", "truth")):
            raise DataError(f"predictions: arm {arm!r} has other clips, groups or truths than 'full'; predict it again")
    return out


def _slices(full: Table, attributes: Mapping[str, Json]) -> Json:
    """Arm `full` by each attribute's values, largest first: attribute -> [{value, n, groups, accuracy, recall}]."""
    out: Json = {}
    for name in sorted({k for told in attributes.values() for k in told}):
        values = [attributes.get(clip, {}).get(name) for clip in full.clips.tolist()]
        counts = Counter(str(v) for v in values if v is not None)
        if len(counts) > 1:
            largest = sorted(counts, key=lambda v: (-counts[v], v))[:LARGEST_SLICES]
            out[name] = [_slice(full.take(np.array([str(v) == one for v in values])), one) for one in largest]
    return out


def _slice(t: Table, value: str) -> Json:
    m, about = scored(t).scores, {"value": value, "n": len(t), "groups": len(set(t.groups))}
    return {**about, "accuracy": m["accuracy"], f"recall of {TARGET}": m[f"recall.{TARGET}"]}


QUESTIONS = {
    "constant": "Is it better than the best constant answer?",
    "untrained": "Did training help?",
    "blind": "Does it need the frames?",
    "first_frame": "Is the first frame too little?",
    "last_frame": "Is the last frame too little?",
    "shuffled": "Does it use the order of the frames?",
}


def verdicts(summary: Json) -> list[Json]:
    """The summary in words: [{id, question, answer, text}], answer yes, no or "not shown".

    "yes" and "no" need p, adjusted over the arms, at most .05 and so an interval on one side of 0; all else is "not
    shown", which is not "no difference".
    """
    out = []
    for key, question in QUESTIONS.items():
        d = summary["differences"].get(key)
        if d is None or d["low"] is None:
            answer, text = "not shown", f"Not shown: {'this arm was not run' if d is None else d['note']}."
        else:
            sure = d["p_adjusted"] <= 1 - stats.LEVEL + 1e-12
            answer = "not shown" if not sure else "yes" if d["value"] > 0 else "no"
            p = f"{'' if key == 'constant' else 'adjusted '}p {page.p_value(d['p_adjusted'])}"
            text = f"Difference in F1 {page.interval(d, signed=True)}, {p}, n = {d['n']} clips in {d['groups']} groups."
        out.append({"id": key, "question": question, "answer": answer, "text": text})
    return [*out, _guessing(summary)]


def _guessing(summary: Json) -> Json:
    blind, best = summary["arms"].get("blind"), summary["constant"][HEADLINE]["value"]
    m = blind["metrics"][HEADLINE] if blind else None
    if m is None or m["high"] is None:
        answer, text = "not shown", f"Not shown: {'this arm was not run' if m is None else m['note']}."
    else:
        limit = best + TOLERANCE
        answer = "yes" if m["high"] <= limit else "no" if m["low"] > limit else "not shown"
        text = f"Without frames F1 is {page.interval(m)}; the best constant has {page.number(best)}, "
        text += f"and {TOLERANCE:.2f} above it is the limit."
    question = "Is the blind arm no better than guessing?"
    return {"id": "guessing", "question": question, "answer": answer, "text": text}


def evaluate(predictions: Path, out: Path, context: Json, *, clips: Media = lambda _: None) -> Json:
    """Score the prediction rows of a JSONL file; write `summary.json` and `report.html` into the folder `out`.

    `context`: title, provenance, attributes (see `summarize`) and what only the caller knows (see `page.render`).
    `clips` gives a PNG of a clip, or None. Returns the summary. Raises DataError for rows that cannot be scored.
    """
    rows = [json.loads(line) for line in predictions.read_text(encoding="utf-8").split("\n") if line]
    summary = summarize(rows, context.get("attributes"))
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(summary, indent=1, sort_keys=True, allow_nan=False) + "\n"
    (out / "summary.json").write_text(text, encoding="utf-8")
    (out / "report.html").write_text(page.render(summary, rows, context, clips), encoding="utf-8")
    return summary
