"""From predictions to a summary of scores with intervals, and to one page that answers what a referee asks.

A prediction row: {"clip_id", "group", "arm", "truth", "pred", "scores": {class: probability}, "slice"}. The arms show
the same trained model less and less: `full` the whole clip, `shuffled` its frames in another order, `first_frame` and
`last_frame` one frame, `blind` none; `untrained` is the whole clip before training.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curation.errors import DataError
from eval import charts, page, stats
from eval.metrics import CLASSES, POSITIVE, Floats, Table, best_constant, confusion, measure, score, table

Json = dict[str, Any]
Row = Mapping[str, Any]

ARMS = ("full", "untrained", "shuffled", "last_frame", "first_frame", "blind")
NEEDED = ("clip_id", "group", "arm", "truth", "pred")
LARGEST_SLICES = 12  # values of an attribute that are shown
TOLERANCE = 0.10  # how far above the best constant the blind arm's upper end may lie


@dataclass(frozen=True)
class Setting:
    """How scores are taken: the class in question, the classes that count as positive, and the resampling."""

    classes: tuple[str, ...] = CLASSES
    target: str = "collision"
    positive: tuple[str, ...] = POSITIVE
    replicates: int = 2000
    seed: int = 0
    level: float = 0.95

    @property
    def compared(self) -> tuple[str, ...]:
        return (f"f1.{self.target}", "accuracy", "macro_f1", "average_precision")


def bears_on(t: Table, name: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(n,) bool: the clips that bear on score `name`: of a class those truly it (recall), called it, or either (F1)."""
    kind, _, cls = name.partition(".")
    if not cls:
        return np.ones(len(t), dtype=bool)
    true, said = t.truth == t.classes.index(cls), t.pred == t.classes.index(cls)
    return np.asarray({"recall": true, "precision": said, "f1": true | said}[kind])


@dataclass(frozen=True)
class Scored:
    """A table, its scores (name -> {value, low, high, n, support, groups, note}), and the replicates they rest on."""

    table: Table
    scores: Json
    replicates: dict[str, Floats]


def scored(t: Table, how: Setting) -> Scored:
    """Every score of `t` with its interval; None is undefined, and `note` says why."""
    group = t.group_index
    values = stats.bootstrap(lambda w: measure(t, w, how.positive), group, how.replicates, how.seed)
    fixed = len(set(t.pred.tolist())) == 1
    out: Json = {}
    for name, value in score(t, how.positive).items():
        bearing = bears_on(t, name)
        clips, groups = int(bearing.sum()), len(set(group[bearing].tolist()))
        bounds, note = None, _why_undefined(name, t)
        if value is not None and name == "ece":
            note = "no interval: resampling itself adds to this error"
        elif value is not None:
            top = 2.0 if name == "brier" else 1.0
            unit = (value / top, values[name] / top)
            bounds, note = stats.score_interval(*unit, groups, clips, level=how.level, fixed=fixed)
            bounds = None if bounds is None else (bounds[0] * top, bounds[1] * top)
        low, high = bounds or (None, None)
        out[name] = {"value": value, "low": low, "high": high, "n": len(t), "support": clips, "groups": groups}
        out[name]["note"] = note
    return Scored(t, out, values)


def _why_undefined(name: str, t: Table) -> str:
    if t.scores is None and name in ("average_precision", "brier", "ece"):
        return "no probabilities were recorded"
    reasons = {"precision": "never predicted", "recall": "no such clip", "f1": "no such clip, never predicted"}
    return reasons.get(name.partition(".")[0], "no positive clip")


def difference(a: Scored, b: Scored, how: Setting) -> Json:
    """a - b on the clips both have: score name -> {value, low, high, p, n, groups, minimum_detectable, note}.

    Groups are resampled for both arms at once. Adds `mcnemar`, the exact test over clips.
    """
    both = set(a.table.clips) & set(b.table.clips)
    if not both:
        raise DataError("predictions: two arms share no clip, so they cannot be compared; score both on the same split")
    a, b = (s if len(s.table) == len(both) else scored(s.table.take(both), how) for s in (a, b))
    groups = len(set(a.table.groups))
    out: Json = {}
    for name in how.compared:
        x, y, xs, ys = a.scores[name], b.scores[name], a.replicates[name], b.replicates[name]
        entry: Json = {"value": None, "low": None, "high": None, "p": None, "n": len(both), "groups": groups}
        out[name] = entry | {"minimum_detectable": None, "note": x["note"] or y["note"]}
        if x["value"] is None or y["value"] is None:
            continue
        value = x["value"] - y["value"]
        bounds, p, note = stats.difference_interval(value, xs - ys, groups, how.level)
        if bounds is not None and _rigid(x, xs, y, ys):
            bounds = stats.square_and_add(x["value"], (x["low"], x["high"]), y["value"], (y["low"], y["high"]))
            p, note = stats.p_of(value, bounds, groups, how.level), "from the intervals of both arms"
        se, _ = stats.spread(xs - ys, groups)
        low, high = bounds or (None, None)
        out[name] |= {"value": value, "low": low, "high": high, "p": p, "note": note}
        out[name]["minimum_detectable"] = stats.minimum_detectable(se, how.level) if se else None
    only = (a.table.pred == a.table.truth).astype(int) - (b.table.pred == b.table.truth).astype(int)
    first, second = int((only > 0).sum()), int((only < 0).sum())
    out["mcnemar"] = {"first_only": first, "second_only": second, "p": stats.mcnemar_exact(first, second)}
    return out


def _rigid(x: Json, xs: Floats, y: Json, ys: Floats) -> bool:
    """True when an arm has no spread to resample, and both have an interval of their own."""
    if x["low"] is None or y["low"] is None:
        return False
    return bool(np.nanstd(xs) < 1e-9 or np.nanstd(ys) < 1e-9)


def summarize(
    predictions: Sequence[Row],
    *,
    how: Setting | None = None,
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Json:
    """All scores of all arms, their difference to `full`, the best constant answer, slices and verdicts, as JSON data.

    `attributes` gives further slices: clip id -> {"cause": ..., "weather": ...}. Raises DataError for rows that lack a
    field or contradict one another, and where arm `full` is missing.
    """
    how = how or Setting()
    tables = _arms(predictions, how)
    arms = {name: scored(t, how) for name, t in tables.items()}
    full = tables["full"]
    differences = {name: difference(arms["full"], arm, how) for name, arm in arms.items() if name != "full"}
    constant: Json = {}
    against: Json = {}
    for name, (answer, value) in best_constant(full, how.target).items():
        always = scored(full.constant(answer), how)
        constant[name] = always.scores[name] | {"answer": answer, "value": value}
        against[name] = difference(arms["full"], always, how)[name]
    for name in how.compared:  # the comparison with the constant comes first and stands alone; the arms are a family
        known = {k: d[name]["p"] for k, d in differences.items() if d[name]["p"] is not None}
        adjusted = stats.holm(known)
        for k, d in differences.items():
            d[name]["p_adjusted"] = adjusted.get(k)
    differences = {"constant": {k: d | {"p_adjusted": d["p"]} for k, d in against.items()}} | differences
    summary = {
        "format": 1,
        "setting": {**how.__dict__, "classes": list(how.classes), "positive": list(how.positive)},
        "clips": len(full),
        "groups": len(set(full.groups)),
        "class_counts": {c: int((full.truth == i).sum()) for i, c in enumerate(full.classes)},
        "arms": {name: _arm(arm) for name, arm in arms.items()},
        "constant": constant,
        "differences": differences,
        "power": _power(against[f"f1.{how.target}"], len(full), how),
        "slices": _slices(predictions, full, attributes or {}, how),
    }
    return summary | {"verdicts": verdicts(summary)}


def _arms(predictions: Sequence[Row], how: Setting) -> dict[str, Table]:
    """The table of each arm, known arms first. Raises DataError where rows are incomplete or disagree."""
    by_arm: dict[str, list[Row]] = {}
    facts: dict[str, tuple[str, str]] = {}
    for number, row in enumerate(predictions, 1):
        missing = [k for k in NEEDED if k not in row]
        if missing:
            raise DataError(f"predictions row {number}: no {', '.join(missing)}; write them with `autodrive eval`")
        fact = (str(row["truth"]), str(row["group"]))
        if facts.setdefault(str(row["clip_id"]), fact) != fact:
            raise DataError(
                f"predictions row {number}: clip {row['clip_id']} has another truth or group in another arm"
            )
        by_arm.setdefault(str(row["arm"]), []).append(row)
    if "full" not in by_arm:
        raise DataError("predictions: no arm 'full'; every other arm is read against it, so predict it first")
    order = [a for a in ARMS if a in by_arm] + sorted(set(by_arm) - set(ARMS))
    return {arm: table(by_arm[arm], how.classes) for arm in order}


def _arm(arm: Scored) -> Json:
    t = arm.table
    right = (t.pred == t.truth).astype(float)
    effect = stats.design_effect(right, t.group_index)
    return {
        "n": len(t),
        "groups": len(set(t.groups)),
        "no_answer": int((t.pred == len(t.classes)).sum()),
        "design_effect": effect,
        "effective_n": None if not effect else len(t) / effect,
        "confusion": confusion(t, np.ones((1, len(t))))[0].astype(int).tolist(),
        "metrics": arm.scores,
    }


def _power(against_constant: Json, n: int, how: Setting) -> Json:
    """The smallest F1 difference to the constant that is found with 80 % power, and the clips it takes for less."""
    least = against_constant["minimum_detectable"]
    if least is None:
        note = against_constant["note"] if against_constant["low"] is None else "the groups show no spread"
        return {"minimum_detectable": None, "clips_for": {}, "note": note}
    se = least / stats.minimum_detectable(1.0, how.level)
    need = {f"{e:.2f}": stats.clips_needed(n, se, e, how.level) for e in (0.05, 0.10)}
    return {"minimum_detectable": least, "clips_for": need, "note": ""}


def _slices(rows: Sequence[Row], full: Table, attributes: Mapping[str, Mapping[str, Any]], how: Setting) -> Json:
    """Arm `full` by each attribute's values, largest first: attribute -> [{value, n, groups, accuracy, f1}]."""
    told: dict[str, dict[str, str]] = {c: {} for c in full.clips}
    for row in rows:
        if row["arm"] == "full" and row.get("slice") is not None:
            told[str(row["clip_id"])]["slice"] = str(row["slice"])
    for clip, group in zip(full.clips, full.groups, strict=True):
        told[clip] |= {k: str(v) for k, v in attributes.get(clip, {}).items() if v is not None} | {"group": group}
    out: Json = {}
    for name in [*sorted({k for t in told.values() for k in t} - {"group"}), "group"]:
        counts = Counter(t[name] for t in told.values() if name in t)
        if len(counts) < 2:
            continue
        largest = sorted(counts, key=lambda v: (-counts[v], v))[: None if name == "group" else LARGEST_SLICES]
        out[name] = [
            _slice(full, value, {c for c, t in told.items() if t.get(name) == value}, how) for value in largest
        ]
    return out


def _slice(full: Table, value: str, clips: set[str], how: Setting) -> Json:
    t = full.take(clips)
    groups = len(set(t.groups))
    if groups == 1:  # no interval to be had: only the share
        right = float((t.pred == t.truth).mean())
        none: Json = {"low": None, "high": None, "n": len(t), "groups": 1, "note": "one group only"}
        return {
            "value": value,
            "n": len(t),
            "groups": 1,
            "accuracy": none | {"value": right},
            "f1": none | {"value": None},
        }
    m = scored(t, how).scores
    f1 = m[f"f1.{how.target}"]
    if how.target not in {t.classes[i] for i in t.truth}:
        f1 = f1 | {"value": None, "low": None, "high": None, "note": f"no {how.target} here"}
    return {"value": value, "n": len(t), "groups": groups, "accuracy": m["accuracy"], "f1": f1}


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

    "yes" needs the difference's interval above 0 and its p, adjusted over the arms, at most 1 - level; "no" an interval
    below 0 alike; all else is "not shown", which is not "no difference".
    """
    how, name = summary["setting"], f"f1.{summary['setting']['target']}"
    out = []
    for key, question in QUESTIONS.items():
        d = summary["differences"].get(key, {}).get(name)
        if d is None or d["low"] is None:
            why = "this arm was not run" if d is None else d["note"]
            out.append({"id": key, "question": question, "answer": "not shown", "text": f"Not shown: {why}."})
            continue
        sure = d["p_adjusted"] <= 1 - how["level"] + 1e-12
        answer = "yes" if sure and d["low"] > 0 else "no" if sure and d["high"] < 0 else "not shown"
        p = f"{'' if key == 'constant' else 'adjusted '}p {charts.p_value(d['p_adjusted'])}"
        text = f"Difference in F1 {charts.interval(d, signed=True)}, {p}, n = {d['n']} clips in {d['groups']} groups."
        out.append({"id": key, "question": question, "answer": answer, "text": text})
    return [*out, _guessing(summary, name)]


def _guessing(summary: Json, name: str) -> Json:
    question = "Is the blind arm no better than guessing?"
    blind, best = summary["arms"].get("blind"), summary["constant"][name]["value"]
    m = blind["metrics"][name] if blind else None
    if m is None or m["high"] is None:
        why = "this arm was not run" if m is None else m["note"]
        return {"id": "guessing", "question": question, "answer": "not shown", "text": f"Not shown: {why}."}
    answer = "yes" if m["high"] <= best + TOLERANCE else "no" if m["low"] > best + TOLERANCE else "not shown"
    text = f"Without frames F1 is {charts.interval(m)}; the best constant has {charts.number(best)}, "
    text += f"and {TOLERANCE:.2f} above it is the limit."
    return {"id": "guessing", "question": question, "answer": answer, "text": text}


def write(
    summary: Json,
    predictions: Sequence[Row],
    out: Path,
    *,
    clips: charts.Media | None = None,
    title: str = "Evaluation",
    provenance: Mapping[str, Any] | None = None,
    sections: Mapping[str, Any] | None = None,
) -> Path:
    """Write the page of `summary` to `out` (one HTML file without outside assets) and return its path.

    `clips` gives the media of a clip that was answered wrongly: PNG or JPEG bytes (embedded), a path relative to the
    page (a video that is linked), or None. `sections` holds what only the caller knows, see `page.render`.
    """
    text = page.render(summary, predictions, clips or (lambda _: None), title, provenance or {}, sections or {})
    _replace(out, text)
    return out


def evaluate(
    predictions: Path,
    out: Path,
    context: Mapping[str, Any],
    *,
    clips: charts.Media | None = None,
    how: Setting | None = None,
) -> Json:
    """Score the prediction rows of a JSONL file; write `summary.json` and `report.html` into the folder `out`.

    `context`: title, provenance, attributes and the sections of the page (data, splits, agreement, probe, test_scored,
    simulated). Returns the summary. Raises DataError for a line that is no JSON object, or rows that cannot be scored.
    """
    rows = read_rows(predictions)
    summary = summarize(rows, how=how, attributes=context.get("attributes"))
    out.mkdir(parents=True, exist_ok=True)
    _replace(out / "summary.json", json.dumps(summary, indent=1, sort_keys=True, allow_nan=False) + "\n")
    own = {k: v for k, v in context.items() if k not in ("title", "provenance", "attributes")}
    title, provenance = context.get("title", "Evaluation"), context.get("provenance")
    write(summary, rows, out / "report.html", clips=clips, title=title, provenance=provenance, sections=own)
    return summary


def read_rows(path: Path) -> list[Json]:
    """The JSON objects of a JSONL file. Raises DataError naming the line that is none."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").rstrip("\n").split("\n"), 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: not JSON ({error.msg}); predict again") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}:{number}: a prediction is a JSON object")
        rows.append(row)
    return rows


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
