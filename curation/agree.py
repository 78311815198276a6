"""agree: reviews → the views `agreement` and `gate`.

One long table (item, rater, field, value): what raters said of an event without seeing a draft, and their verdicts on
drafts. Only judgements made blind can show agreement; verdicts on drafts say how often a draft was taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from curation.agreement import Rating, field_report, gate
from curation.annotators import counted
from curation.recipe import Recipe
from curation.resolve import GRAVITY
from curation.store import Workspace
from curation.tasks import TaskPack, at_pointer, load_packs
from curation.types import Json, Progress, Report, Review

BLIND = ("triage", "blind")


def ratings(reviews: Iterable[Review], packs: dict[str, TaskPack], groups: dict[str, str]) -> list[tuple[Rating, str]]:
    """The long table of standing reviews, each row with its level of measurement; cannot_tell is missing."""
    rows = []
    for r in reviews:
        pack = packs.get(r.task)
        if pack is None or r.round in ("adjudication", "gold") or r.clip_id not in groups:
            continue
        item = f"{r.clip_id}#{r.item_id}" if r.item_id else r.clip_id
        if r.draft_id is not None and r.verdict in ("accept", "edit", "reject"):
            rows.append((Rating(item, r.reviewer, f"{r.task}.verdict", r.verdict, groups[r.clip_id]), "nominal"))
        elif r.round in BLIND and r.verdict in ("accept", "edit") and r.item_id is None:
            for spec in pack.spec["fields"]:
                value = at_pointer(r.value, spec["pointer"])
                if value is not None and spec["level"] in ("nominal", "ordinal", "interval"):
                    name = f"{r.task}{spec['pointer'].replace('/', '.')}"
                    rows.append((Rating(item, r.reviewer, name, value, groups[r.clip_id]), spec["level"]))
    return rows


def run(ws: Workspace, recipe: Recipe, *, limit: int | None = None, progress: Progress | None = None) -> Report:
    """Write one row per field to `agreement`, and the event class's row to `gate`."""
    packs = load_packs(["event", *recipe["tasks"]], recipe.base)
    groups = {row["clip_id"]: row["group"] for row in ws.read_view("groups")}
    fields: dict[str, list[Rating]] = defaultdict(list)
    levels: dict[str, str] = {}
    reviews = counted(ws, recipe)[0]
    simulated = any(r.origin == "simulated" for r in reviews)
    for rating, level in ratings(reviews, packs, groups):
        fields[rating.field].append(rating)
        levels[rating.field] = level
    rows, notes = [], []
    for done, name in enumerate(sorted(fields)):
        if progress:
            progress("agree", done, len(fields))
        rows.append({"field": name, "simulated": simulated, **field_report(fields[name], levels[name], recipe.seed)})
        notes.append(_sentence(rows[-1]))
    ws.write_view("agreement", rows)
    gates = _gates(fields, recipe) if recipe["event"]["basis"] == "review" else []
    ws.write_view("gate", gates)
    notes += [f"gate on {g['message']}" for g in gates]
    return Report("agree", {"fields": len(rows), "ratings": sum(map(len, fields.values()))}, notes, {"fields": rows})


def _sentence(row: Json) -> str:
    def told(score: Json) -> str:
        if score["value"] is None:
            return f"undefined ({score['reason']})"
        return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"

    units = f"{row['n_units']} units, {row['n_raters']} raters"
    return f"{row['field']}: raw {told(row['raw'])}, alpha {told(row['alpha'])}; {units}"


def _gates(fields: dict[str, list[Rating]], recipe: Recipe) -> list[Json]:
    limits = recipe["gate"]
    bounds = limits["min_alpha"], limits["min_specific"], limits["min_units"]
    return [gate(fields.get("event.class", []), "event.class", *bounds, classes=GRAVITY, seed=recipe.seed)]
