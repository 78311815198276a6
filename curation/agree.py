"""agree: reviews → the views `agreement`, `gate` and `anchoring`.

One long table (item, rater, field, value): what raters said of an event or a question without seeing a draft, and their
verdicts on drafts. Only judgements made blind can show agreement; verdicts on drafts say how often a draft was taken,
and edits how far its words were changed. What a draft does to judgements is told by the blind share beside the drafted.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from curation.agreement import Rating, field_report, figure, gate
from curation.agreement_sums import Floats, bootstrap, wilson
from curation.annotators import counted, share_of
from curation.recipe import Recipe
from curation.resolve import GRAVITY
from curation.store import Workspace
from curation.tasks import TaskPack, at_pointer, items, load_packs
from curation.types import Draft, Json, Progress, Report, Review

BLIND = ("triage", "blind")
Trial = tuple[str, float, float]  # group, successes, of how many


def ratings(reviews: Iterable[Review], packs: dict[str, TaskPack], groups: dict[str, str]) -> list[tuple[Rating, str]]:
    """The long table of the reviews that count, each row with its level of measurement; cannot_tell is missing.

    Who judged a clip in both blind rounds is heard once, in the first.
    """
    rows: dict[tuple[str, str, str], tuple[Rating, str]] = {}
    for r in sorted(reviews, key=lambda r: (r.round not in ("triage", "text"), r.id)):
        pack = packs.get(r.task)
        if pack is None or r.round in ("adjudication", "gold") or r.clip_id not in groups:
            continue
        item = f"{r.clip_id}#{r.item_id}" if r.item_id else r.clip_id
        for name, value, level in _said(r, pack):
            rating = Rating(item, r.reviewer, f"{r.task}.{name}", value, groups[r.clip_id])
            rows.setdefault((item, r.reviewer, rating.field), (rating, level))
    return list(rows.values())


def _said(r: Review, pack: TaskPack) -> Iterator[tuple[str, Any, str]]:
    """(name, value, level of measurement) of what one review says."""
    if r.draft_id is not None and r.verdict in ("accept", "edit", "reject"):
        yield "verdict", r.verdict, "nominal"
    elif r.draft_id is None and r.round in BLIND and r.verdict in ("accept", "edit"):
        whole = set(pack.schema["properties"]) <= set(r.value) or (r.item_id and r.value.get("options"))
        for spec in pack.spec["fields"] if whole else ():
            value = at_pointer(r.value, spec["pointer"])
            if value is not None and spec["level"] in ("nominal", "interval"):
                yield spec["pointer"][1:].replace("/", "."), value, spec["level"]
        if whole and r.item_id is None and None not in (span := (r.value.get("alert_s"), r.value.get("event_s"))):
            yield "segment", span, "segment"
        if not whole and r.item_id is None:  # what blind.xml asks beside the schema
            yield from ((name, value, "nominal") for name, value in sorted(r.value.items()))


def run(ws: Workspace, recipe: Recipe, *, limit: int | None = None, progress: Progress | None = None) -> Report:
    """Write one row per field to `agreement`, the event class's row to `gate`, and what drafts do to `anchoring`."""
    packs = load_packs(["event", *recipe["tasks"]], recipe.base)
    groups = {row["clip_id"]: row["group"] for row in ws.read_view("groups")}
    fields: dict[str, list[Rating]] = defaultdict(list)
    levels: dict[str, str] = {}
    reviews = counted(ws, recipe)[0]
    drafts = {d.id: d for d in ws.read(Draft)}
    simulated = any(r.origin == "simulated" for r in reviews)
    for rating, level in ratings(reviews, packs, groups):
        fields[rating.field].append(rating)
        levels[rating.field] = level
    edits = edit_distances(reviews, packs, drafts)
    rows, notes = [], []
    for done, name in enumerate(sorted(fields)):
        if progress:
            progress("agree", done, len(fields))
        rows.append({"field": name, "simulated": simulated, **field_report(fields[name], levels[name], recipe.seed)})
        rows[-1] |= edits.get(name, {})
        notes.append(_sentence(rows[-1]))
    ws.write_view("agreement", rows)
    gates = []
    if recipe["event"]["basis"] == "review":
        bounds = [recipe["gate"][name] for name in ("min_alpha", "min_specific", "min_units")]
        gates = [gate(fields["event.class"], "event.class", *bounds, classes=GRAVITY, seed=recipe.seed)]
    ws.write_view("gate", gates)
    effects = anchoring(reviews, share_of(ws), groups, recipe.seed)
    ws.write_view("anchoring", effects)
    notes += [f"gate on {g['message']}" for g in gates]
    if any(e["value"] is not None for e in effects):
        notes += [_effect(e) for e in effects]
    elif effects:
        notes.append(f"anchoring by drafts: undefined ({effects[0]['reason']})")
    counts = {"fields": len(rows), "ratings": sum(map(len, fields.values()))}
    return Report("agree", counts, notes, {"fields": rows, "anchoring": effects})


def _sentence(row: Json) -> str:
    said = {"segment": ["iou"], "interval": ["alpha"]}.get(row["level"], ["raw", "alpha"])
    scored = ", ".join(f"{'IoU' if key == 'iou' else key} {figure(row[key])}" for key in said)
    scored += f", spread median {q['median']:g}" if (q := row.get("spread")) else ""
    units = f"{row['n_units']} units, {row['n_raters']} raters"
    most = max(row["prevalence"].items(), key=lambda kv: kv[1], default=None)
    share = f", {most[1]:.0%} are {most[0]}" if most else ""
    words = "".join(
        f"; {what} {q['median']:.2f} of the words (n {q['n']})"
        for what, key in (("edits change", "edited"), ("raters' words differ by", "words_apart"))
        if (q := row.get(key))
    )
    worst = f"; most apart on {', '.join(w['item'] for w in row['worst'][:3])}" if row["worst"] else ""
    return f"{row['field']}: {scored}; {units}{share}{words}{worst}"


# -- edits -----------------------------------------------------------------------------------------------------------
def edit_distances(reviews: Iterable[Review], packs: dict[str, TaskPack], drafts: dict[str, Draft]) -> dict[str, Json]:
    """By verdict field: how far edits are from their drafts, and raters who edited one text from each other.

    Medians of Levenshtein's distance over words, divided by the longer length: 0 alike, 1 nothing in common.
    """
    texts: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for r in reviews:
        where = packs[r.task].spec["edit"] if r.task in packs else None
        if where and r.draft_id in drafts and r.verdict == "edit":
            texts[r.task, r.draft_id or "", r.item_id or ""].append(str(at_pointer(r.value, where)))
    far: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for (task, draft, item), edited in texts.items():
        value = drafts[draft].value
        before = dict(items(packs[task], value)).get(item) if item else value
        given = str(at_pointer(before, packs[task].spec["edit"]))
        far[task][0].extend(distance(given, text) for text in edited)
        far[task][1].extend(distance(a, b) for a, b in combinations(edited, 2))
    return {f"{t}.verdict": {"edited": _median(a), "words_apart": _median(b)} for t, (a, b) in far.items()}


def distance(a: str, b: str) -> float:
    """Levenshtein (1966) over words, divided by the longer length."""
    x, y = a.split(), b.split()
    row = list(range(len(y) + 1))
    for i, word in enumerate(x, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(y, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (word != other))
    return row[-1] / max(1, len(x), len(y))


def _median(x: list[float]) -> Json | None:
    return {"median": round(statistics.median(x), 4), "n": len(x)} if x else None


# -- anchoring -------------------------------------------------------------------------------------------------------
def anchoring(
    reviews: Iterable[Review], shares: dict[tuple[str, str], str], groups: dict[str, str], seed: int
) -> list[Json]:
    """What drafts do to judgements: the drafted overlap minus the blind share, each row with a clustered interval.

    Rows: agreement of raters on the class; the share of each class. `shares`: the share of a clip in a round. Both
    shares are dealt by chance, so what differs is what the raters were shown.
    """
    said: dict[str, dict[str, list[str]]] = {"text": defaultdict(list), "blind": defaultdict(list)}
    for r in reviews:
        dealt = shares.get((r.clip_id, r.round)) == {"text": "overlap", "blind": "blind"}.get(r.round, "-")
        if dealt and r.task == "event" and r.value:
            said[r.round][r.clip_id].append(r.value["class"])

    def row(what: str, count: Callable[[list[str]], tuple[int, int]]) -> Json:
        drafted, blind = ([(groups.get(c, c), *count(names)) for c, names in said[n].items()] for n in said)
        return {"what": what, **contrast(drafted, blind, seed)}

    def pairs(names: list[str]) -> tuple[int, int]:
        same = [a == b for a, b in combinations(names, 2)]
        return sum(same), len(same)

    def share(name: str) -> Callable[[list[str]], tuple[int, int]]:
        return lambda names: (names.count(name), len(names))

    return [row("agreement on the class", pairs), *(row(f"share of {name}", share(name)) for name in GRAVITY)]


def contrast(first: Sequence[Trial], second: Sequence[Trial], seed: int) -> Json:
    """Share in `first` (drafted) minus share in `second` (blind), with a 95 % interval.

    The bootstrap resamples whole groups, those in both with both their rows. Where a share is 0 or 1 it sees no
    variation, so Newcombe's interval from Wilson's (1998, Stat. Med. 17:873, method 10), on as many trials as there are
    groups, is taken in.
    """
    shares = {"drafted": first, "blind": second}
    if empty := [name for name, rows in shares.items() if not sum(of for *_, of in rows)]:
        return {"value": None, "reason": f"nothing to compare in the {' and the '.join(empty)} share", "n": [0, 0]}
    names = {group: i for i, group in enumerate(sorted({group for group, *_ in (*first, *second)}))}
    sums = np.zeros((len(names), 4))
    for column, rows in ((0, first), (2, second)):
        for group, k, of in rows:
            sums[names[group], column : column + 2] += k, of

    def stat(s: Floats) -> Floats:
        return (s[:, 0] / s[:, 1] - s[:, 2] / s[:, 3])[:, None]

    draws = bootstrap(stat, sums, np.ones(len(names), dtype=np.int64), seed, 1000)
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    p, q = sums[:, 0].sum() / sums[:, 1].sum(), sums[:, 2].sum() / sums[:, 3].sum()
    if {p, q} & {0.0, 1.0}:
        g, h = (len({group for group, *_ in rows}) for rows in shares.values())
        (a, b), (c, d) = wilson(p * g, g), wilson(q * h, h)
        low, high = min(low, p - q - np.hypot(p - a, d - q)), max(high, p - q + np.hypot(b - p, q - c))
    told = {"drafted": p, "blind": q, "value": p - q, "low": low, "high": high}
    return {k: round(float(v), 6) for k, v in told.items()} | {
        "n": sums[:, 1::2].sum(axis=0).astype(int).tolist(),
        "groups": len(names),
    }


def _effect(e: Json) -> str:
    if e["value"] is None:
        return f"anchoring, {e['what']}: undefined ({e['reason']})"
    span = f"{e['value']:+.3f} [{e['low']:+.3f}, {e['high']:+.3f}]"
    return f"anchoring, {e['what']}: {e['drafted']:.3f} drafted, {e['blind']:.3f} blind, {span}; n {e['n']}"
