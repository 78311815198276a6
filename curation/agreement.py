"""Agreement of a long table of ratings: scored field by field, told in words.

Beneath: `agreement_read` (other people's files), `agreement_sums` (ratings as arrays, the bootstrap),
`agreement_scores` (coefficients, and the gate on them).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from curation.agreement_read import read_table
from curation.agreement_scores import Score, cohen, gate, rated_by_both, scores
from curation.agreement_sums import Floats, Rating, Ratings, encode, iou, item_sums
from curation.rows import shown
from curation.types import Json

__all__ = ["Rating", "agree_table", "field_report", "figure", "gate", "render_agreement"]
PAIRED_RATERS = 30  # above, pairs are not listed
WORST = 10


def agree_table(path: Path, level: Mapping[str, str] | None = None, replicates: int = 1000) -> Json:
    """Agreement per field of a CSV, TSV, JSONL or Parquet file: `{field: field_report(…)}`; see `read_table`."""
    result = {}
    for name, column in read_table(path, level or {}).items():
        result[name] = field_report(column.rows, column.level, 0, replicates, column.order)
        result[name]["notes"] = column.notes + result[name]["notes"]
    return result


def field_report(
    rows: Sequence[Rating], level: str, seed: int = 0, replicates: int = 1000, classes: Sequence[str] | None = None
) -> Json:
    """One field as JSON data: counts, coefficients with intervals, classes, pairs of raters, worst items, notes."""
    r = encode(rows, level, classes)
    s = scores(r, seed, replicates)
    pairs = _pairs(r, seed, replicates)
    both = len(r.raters) == 2 and pairs and "kappa" in pairs[0]
    here = f"here {len(r.raters)} raters, level {level}: see pairs"
    out: Json = {
        "level": level,
        "n_items": len(r.items),
        "n_units": int((r.per_item() > 1).sum()),
        "n_raters": len(r.raters),
        "n_ratings": len(r.item),
        "n_groups": len(set(r.group.tolist())),
        "raw": _json(s.raw),
        "alpha": _json(s.alpha),
        "kappa": pairs[0]["kappa"] if both else _json(Score(None, reason=f"of two raters and categories; {here}")),
        "fleiss": _json(s.fleiss),
        "ac1": _json(s.ac1),
        "specific": {name: _json(score) for name, score in s.specific.items()},
        "prevalence": {name: round(share, 6) for name, share in s.prevalence.items()},
    }
    if level == "segment":
        out["iou"], out["raw"] = out["raw"], _json(Score(None, reason="segments are compared by iou"))
        for end, name in enumerate(("start", "end")):
            part = encode([replace(row, value=row.value[end]) for row in rows], "interval")
            out[name] = {"alpha": _json(scores(part, seed, replicates).alpha), "spread": _quantiles(_spread(part))}
    elif level == "interval":
        out["spread"] = _quantiles(_spread(r))
    return out | {"pairs": pairs, "worst": _worst(r), "notes": _notes(r, out)}


def _spread(r: Ratings) -> Floats:
    """The greatest rating less the least, by unit, in the unit of the numbers; of ordinal classes in ranks."""
    n, values = r.per_item(), r.numbers()[r.code]
    last = np.cumsum(n) - 1  # an item's ratings are ascending
    return np.asarray((values[last] - values[last - n + 1])[n > 1])


def _quantiles(x: Floats) -> Json | None:
    if not len(x):
        return None
    return {"median": round(float(np.median(x)), 6), "p90": round(float(np.percentile(x, 90)), 6), "n": len(x)}


def _json(score: Score) -> Json:
    told = ((k, v) for k, v in asdict(score).items() if k != "reason" or v)
    return {k: round(v, 6) if isinstance(v, float) else v for k, v in told}


def _pairs(r: Ratings, seed: int, replicates: int) -> list[Json]:
    """Each pair of raters with items in common: raw agreement and kappa, or the median difference, or the mean IoU."""
    out: list[Json] = []
    for a, b in combinations(range(len(r.raters)), 2) if len(r.raters) <= PAIRED_RATERS else ():
        items, left, right = rated_by_both(r, a, b)
        if not len(items):
            continue
        one: Json = {"raters": [r.raters[a], r.raters[b]], "n": len(items)}
        if r.level in ("nominal", "ordinal"):
            raw, kappa = cohen(r, a, b, seed, replicates)
            one |= {"raw": _json(raw), "kappa": _json(kappa)}
        elif r.level == "segment":
            one["iou"] = round(float(iou(r.numbers()[left], r.numbers()[right]).mean()), 6)
        else:
            one["difference"] = round(float(np.median(np.abs(r.numbers()[left] - r.numbers()[right]))), 6)
        out.append(one)
    return out


def _worst(r: Ratings) -> list[Json]:
    """The items whose raters disagree most: by their spread, or by the share of pairs that disagree (1 - mean IoU)."""
    units = np.flatnonzero(r.per_item() > 1)
    apart = _spread(r) if r.level in ("ordinal", "interval") else np.zeros(len(units))
    if len(units) and r.level in ("nominal", "segment"):
        sums, width, _ = item_sums(r, units[:0])
        agree, pairs = (sums[units][:, k * width : (k + 1) * width].sum(axis=1) for k in range(2))
        apart = 1 - agree / pairs
    found = []
    for k in np.argsort(-apart, kind="stable")[:WORST]:
        if apart[k] <= 1e-9:
            break
        own = np.flatnonzero(r.item == units[k])
        ratings = {r.raters[r.rater[p]]: r.domain[r.code[p]] for p in own[np.argsort(r.rater[own])][:PAIRED_RATERS]}
        found.append({"item": r.items[units[k]], "disagreement": round(float(apart[k]), 6), "ratings": ratings})
    return found


def _notes(r: Ratings, out: Json) -> list[str]:
    notes = []
    n = r.per_item()
    groups = len(set(r.group[n > 1].tolist()))
    if single := int((n == 1).sum()):
        notes.append(f"{single} of {len(n)} items have one rating: they count in prevalence only")
    if 0 < groups < 10:
        notes.append(f"intervals rest on {groups} groups: rough")
    share, most = max(((share, name) for name, share in out["prevalence"].items()), default=(0.0, ""))
    raw, alpha = out["raw"]["value"], out["alpha"]["value"]
    if raw is not None and alpha is not None and share > 0.8 and alpha < 0.667 < raw:
        notes.append(f"{share:.0%} are '{most}', so raw agreement is high by chance: read alpha and specific agreement")
    if len(r.raters) > PAIRED_RATERS:
        notes.append(f"{len(r.raters)} raters: pairs are listed up to {PAIRED_RATERS}")
    if len(out["specific"]) < len(r.domain) and r.level in ("nominal", "ordinal"):
        notes.append(f"{len(r.domain)} classes: the {len(out['specific'])} most frequent are listed")
    return notes


def render_agreement(result: Json) -> str:
    """`agree_table`'s result for people: intervals in brackets, then what to be careful about."""
    return "\n\n".join(_render(name, one) for name, one in result.items())


def _render(name: str, one: Json) -> str:
    counts = [f"{one[f'n_{what}']} {what}" for what in ("ratings", "raters", "items", "groups")]
    lines = [f"{shown(name)}: {one['level']}; {', '.join(counts)}; {one['n_units']} items rated at least twice"]
    named = {"raw": "raw agreement", "iou": "mean IoU", "alpha": "Krippendorff's alpha", "kappa": "Cohen's kappa"}
    named |= {"fleiss": "Fleiss' kappa", "ac1": "Gwet's AC1"}
    if one["level"] == "interval":
        del named["raw"]  # that two clocks show the very same number says nothing
    lines += [f"  {text:<22}{figure(one[key])}" for key, text in named.items() if key in one]
    for prefix, owner in (("", one), ("start ", one.get("start", {})), ("end ", one.get("end", {}))):
        if prefix and owner:
            lines.append(f"  {prefix + 'alpha':<22}{figure(owner['alpha'])}")
        if q := owner.get("spread"):
            said = f"median {q['median']:g}, 90th percentile {q['p90']:g} (n {q['n']})"
            lines.append(f"  {prefix + 'spread by item':<22}{said}")
    width = min(40, max(map(len, one["specific"]), default=0))
    if one["specific"]:
        lines.append(f"  {'class':<{width}} {'share':>6}  specific agreement (n: items it was given to)")
    for cls, score in one["specific"].items():
        lines.append(f"  {shown(cls):<{width}} {one['prevalence'][cls]:>6.1%}  {figure(score)}")
    for pair in one["pairs"] if one["n_raters"] > 2 else ():  # two raters: all said above
        said = ", ".join(f"{k} {figure(v) if isinstance(v, dict) else v}" for k, v in pair.items() if k != "raters")
        lines.append(f"  {shown(' / '.join(pair['raters']))}: {said}")
    for item in one["worst"]:
        said = ", ".join(f"{rater}: {value}" for rater, value in item["ratings"].items())
        lines.append(f"  disagree on {shown(item['item'])}: {shown(said)}")
    return "\n".join(lines + [f"  note: {shown(note)}" for note in one["notes"]])


def figure(score: Json) -> str:
    """0.914 [0.882, 0.941] (n 373), or why it is undefined."""
    if score["value"] is None:
        return f"undefined: {shown(score.get('reason', ''))}"
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}] (n {score['n']})"
