"""Agreement of a long table of ratings: scored field by field, told in words.

The public names of the whole: `agreement_sums` (ratings as arrays, the bootstrap), `agreement_scores` (coefficients),
`agreement_gate` (what follows from them), `agreement_read` (other people's files), and the reports below.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from curation.agreement_gate import GateResult, Shift, anchoring, annotators, gate, shift
from curation.agreement_read import read_table
from curation.agreement_scores import FieldScores, Score, cohen, label, scores, shares
from curation.agreement_sums import Floats, Rating, Ratings, encode, from_matrix, iou, item_pairs, per, wilson

__all__ = [
    "FieldScores",
    "GateResult",
    "Rating",
    "Ratings",
    "Score",
    "Shift",
    "agree_table",
    "anchoring",
    "annotators",
    "cohen",
    "encode",
    "field_report",
    "from_matrix",
    "gate",
    "iou",
    "item_medians",
    "label",
    "read_table",
    "render_agreement",
    "scores",
    "shares",
    "shift",
    "wilson",
]
Json = dict[str, Any]
PAIRED_RATERS = 30  # above, pairs are not listed
WORST = 10


def agree_table(
    path: Path, level: str | Mapping[str, str] | None = None, seed: int = 0, replicates: int = 1000
) -> Json:
    """Agreement per field of a CSV, TSV, JSONL or Parquet file: `{field: field_report(…)}`; see `read_table`."""
    result = {}
    for name, column in read_table(path, level).items():
        result[name] = field_report(column.rows, column.level, seed, replicates, column.order)
        result[name]["notes"] = column.notes + result[name]["notes"]
    return result


def field_report(
    rows: Sequence[Rating], level: str, seed: int = 0, replicates: int = 1000, classes: Sequence[str] | None = None
) -> Json:
    """One field as JSON data: counts, coefficients with intervals, classes, pairs of raters, worst items, notes."""
    r = encode(rows, level, classes)
    s = scores(r, seed, replicates)
    n, values = (
        r.per_item(),
        np.asarray(r.domain if level in ("interval", "ratio", "segment") else [], dtype=np.float64),
    )
    out: Json = {
        "level": level,
        "n_items": len(r.items),
        "n_units": int((n > 1).sum()),
        "n_raters": len(r.raters),
        "n_ratings": len(r.item),
        "n_groups": len(set(r.group.tolist())),
        "raw": _json(s.raw),
        "alpha": _json(s.alpha),
        "kappa": _json(_kappa(r, seed, replicates)),
        "fleiss": _json(s.fleiss),
        "ac1": _json(s.ac1),
        "specific": {name: _json(score) for name, score in s.specific.items()},
        "prevalence": {name: round(share, 6) for name, share in s.prevalence.items()},
    }
    i, j = item_pairs(r.item)
    if level == "segment":
        out["iou"] = out["raw"]
        out["raw"] = _json(Score(None, reason="segments are compared by iou"))
        away = iou(values[r.code[i]], values[r.code[j]])
        out["iou_at_least_half"] = round(float((away >= 0.5).mean()), 6) if len(i) else None
        for end, name in enumerate(("start", "end")):
            part = encode([replace(row, value=row.value[end]) for row in rows], "interval")
            out[name] = {"alpha": _json(scores(part, seed, replicates).alpha), **_times(part)}
    elif len(values):
        out.update(_times(r))
    out["pairs"] = _pairs(r, seed, replicates)
    out["worst"] = _worst(r)
    out["notes"] = _notes(r, s.lost, out)
    return out


def item_medians(r: Ratings) -> dict[str, tuple[float, float, int]]:
    """The raters' median and spread (greatest minus least) and their number, by item; values are numbers."""
    values, n = np.asarray(r.domain, dtype=np.float64)[r.code], r.per_item()
    first = np.cumsum(n) - n
    out = {}
    for k in np.flatnonzero(n):
        own = values[first[k] : first[k] + n[k]]  # ascending
        median = (own[(len(own) - 1) // 2] + own[len(own) // 2]) / 2
        out[r.items[k]] = (float(median), float(own[-1] - own[0]), len(own))
    return out


def _times(r: Ratings) -> Json:
    """How far raters' numbers are apart, in their own unit: of pairs, and the spread by item."""
    values = np.asarray(r.domain, dtype=np.float64)
    i, j = item_pairs(r.item)
    if not len(i):
        return {"difference": None, "spread": None}
    apart = np.abs(values[r.code[i]] - values[r.code[j]])
    spread = [s for _, s, k in item_medians(r).values() if k > 1]
    return {name: _quantiles(np.asarray(x)) for name, x in (("difference", apart), ("spread", spread))}


def _quantiles(x: Floats) -> Json:
    return {"median": round(float(np.median(x)), 6), "p90": round(float(np.percentile(x, 90)), 6), "n": len(x)}


def _json(score: Score) -> Json:
    out = {k: round(v, 6) if isinstance(v, float) else v for k, v in asdict(score).items()}
    if not score.reason:
        del out["reason"]
    return out


def _kappa(r: Ratings, seed: int, replicates: int) -> Score:
    if r.level not in ("nominal", "ordinal"):
        return Score(None, reason=f"for categories, and the level is {r.level}")
    if len(r.raters) != 2:
        more = "one rater only: agreement needs two"
        return Score(
            None, reason=more if len(r.raters) < 2 else f"{len(r.raters)} raters: see pairs, or fleiss for all"
        )
    return cohen(r, 0, 1, seed, replicates)[1]


def _pairs(r: Ratings, seed: int, replicates: int) -> list[Json]:
    """Each pair of raters with items in common: raw agreement and kappa, or the median difference, or the mean IoU."""
    if len(r.raters) > PAIRED_RATERS:
        return []
    i, j = item_pairs(r.item)
    left, right = np.minimum(r.rater[i], r.rater[j]), np.maximum(r.rater[i], r.rater[j])
    out = []
    for key in np.unique(left * len(r.raters) + right):
        a, b = divmod(int(key), len(r.raters))
        mine = (left == a) & (right == b)
        one: Json = {"raters": [r.raters[a], r.raters[b]], "n": int(mine.sum())}
        x, y = r.code[i[mine]], r.code[j[mine]]
        values = np.asarray(r.domain, dtype=np.float64) if r.level not in ("nominal", "ordinal") else None
        if values is None:
            raw, kappa = cohen(r, a, b, seed, replicates)
            one |= {"raw": _json(raw), "kappa": _json(kappa)}
        elif r.level == "segment":
            one["iou"] = round(float(iou(values[x], values[y]).mean()), 6)
        else:
            one["difference"] = round(float(np.median(np.abs(values[x] - values[y]))), 6)
        out.append(one)
    return out


def _worst(r: Ratings) -> list[Json]:
    """The items whose raters disagree most, the worst first; disagreement is the mean over pairs of raters."""
    i, j = item_pairs(r.item)
    x, y = r.code[i], r.code[j]
    values = np.asarray(range(len(r.domain)) if r.level in ("nominal", "ordinal") else r.domain, dtype=np.float64)
    if r.level == "segment":
        away = 1 - iou(values[x], values[y])
    else:
        away = np.abs(values[x] - values[y])
        away = np.sign(away) if r.level == "nominal" else away
    n = r.per_item()
    mean = per(r.item[i], away, len(n)) / np.maximum(1, n * (n - 1) / 2)
    found = []
    for k in np.lexsort((-n, -mean))[:WORST]:
        if mean[k] <= 0:
            break
        own = np.flatnonzero(r.item == k)
        ratings = {r.raters[r.rater[p]]: r.domain[r.code[p]] for p in own[np.argsort(r.rater[own])]}
        found.append({"item": r.items[k], "disagreement": round(float(mean[k]), 6), "ratings": ratings})
    return found


def _notes(r: Ratings, lost: float, out: Json) -> list[str]:
    notes = []
    n = r.per_item()
    groups = len(set(r.group[n > 1].tolist()))
    if single := int((n == 1).sum()):
        notes.append(f"{single} of {len(n)} items have one rating: they count in prevalence only")
    if 0 < groups < 10:
        notes.append(f"intervals rest on {groups} groups: rough")
    if lost > 0.05:
        notes.append(
            f"alpha is undefined in {lost:.0%} of the replicates (one value left): its interval is of the others"
        )
    if len(set(n[n > 1].tolist())) > 1 and r.level in ("nominal", "ordinal"):
        notes.append("ratings per item vary: fleiss is its generalisation to missing ratings (Gwet 2014)")
    most = max(out["prevalence"].items(), key=lambda pair: pair[1], default=("", 0.0))
    raw, alpha = out["raw"]["value"], out["alpha"]["value"]
    if raw is not None and alpha is not None and most[1] > 0.8 and alpha < 0.667 < raw:
        notes.append(
            f"{most[1]:.0%} are '{most[0]}', so raw agreement is high by chance: read alpha and specific agreement"
        )
    folded: dict[str, list[str]] = defaultdict(list)
    for value in r.domain if r.level == "nominal" else ():
        folded[" ".join(str(value).casefold().split())].append(str(value))
    for same in [names for names in folded.values() if len(names) > 1][:3]:
        notes.append(f"spelt alike but counted as different: {', '.join(same)}")
    if len(r.raters) > PAIRED_RATERS:
        notes.append(f"{len(r.raters)} raters: pairs are listed up to {PAIRED_RATERS}")
    if len(out["specific"]) < len(r.domain) and r.level in ("nominal", "ordinal"):
        notes.append(f"{len(r.domain)} classes: the {len(out['specific'])} most frequent are listed")
    return notes


def render_agreement(result: Json) -> str:
    """`agree_table`'s result for people: intervals in brackets, then what to be careful about."""
    return "\n\n".join(_render(name, one) for name, one in result.items())


def _render(name: str, one: Json) -> str:
    rated = (
        f"{one['n_ratings']} ratings of {one['n_items']} items in {one['n_groups']} groups by {one['n_raters']} raters"
    )
    lines = [f"{_shown(name)}: {one['level']}, {rated}; {one['n_units']} rated at least twice"]
    named = {"raw": "raw agreement", "iou": "mean IoU", "alpha": "Krippendorff's alpha", "kappa": "Cohen's kappa"}
    named |= {"fleiss": "Fleiss' kappa", "ac1": "Gwet's AC1"}
    lines += [f"  {text:<22}{_figure(one[key])}" for key, text in named.items() if key in one]
    for end in ("start", "end"):
        if end in one:
            lines.append(f"  {'alpha of ' + end:<22}{_figure(one[end]['alpha'])}")
    for owner, prefix in ((one, ""), (one.get("start", {}), "start "), (one.get("end", {}), "end ")):
        for key, text in (("difference", "pair difference"), ("spread", "spread by item")):
            if owner.get(key):
                q = owner[key]
                lines.append(f"  {prefix + text:<22}median {q['median']:g}, 90th percentile {q['p90']:g} (n {q['n']})")
    width = min(40, max(map(len, one["specific"]), default=0))
    if one["specific"]:
        lines.append(f"  {'class':<{width}} {'share':>6}  specific agreement (n: items it was given to)")
    for cls, score in one["specific"].items():
        lines.append(f"  {_shown(cls):<{width}} {one['prevalence'][cls]:>6.1%}  {_figure(score)}")
    for pair in one["pairs"]:
        kept = {
            k: f"{k} {_figure(v) if isinstance(v, dict) else v}" for k, v in pair.items() if k not in ("raters", "n")
        }
        lines.append(f"  {_shown(' / '.join(pair['raters']))}: n {pair['n']}, {', '.join(kept.values())}")
    for item in one["worst"]:
        said = ", ".join(f"{rater}: {value}" for rater, value in item["ratings"].items())
        lines.append(f"  disagree on {_shown(item['item'])}: {_shown(said)}")
    return "\n".join(lines + [f"  note: {_shown(note)}" for note in one["notes"]])


def _figure(score: Json) -> str:
    if score["value"] is None:
        return f"undefined: {_shown(score.get('reason', ''))}"
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}] (n {score['n']})"


def _shown(text: str) -> str:
    """Text from a stranger's file, safe on a terminal: no control characters, not endless."""
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return clean if len(clean) <= 300 else clean[:299] + "…"
