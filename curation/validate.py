"""validate: drafts → findings. Only reads; a view, recomputed whole.

Pass 1, record by record: the schema, then the rules of `curation.checks`. Pass 2, over the set: copies and biases, and
the text-prior probe, which asks how far above chance the answers can be picked without the video.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from curation.check_set import check_set
from curation.check_text import Context
from curation.checks import check_record
from curation.draft import current_drafts
from curation.probe import probe_class, probe_closed
from curation.recipe import Recipe
from curation.store import Workspace, current_sources, decisions
from curation.tasks import TaskPack, errors, items, load_packs
from curation.types import PUBLISHED_BASES, Clip, Draft, Issue, Json, Label, Progress, Report

CLASS = "the class, from what is asked"  # the probe's family for a whole question side


def run(ws: Workspace, recipe: Recipe, *, limit: int | None = None, progress: Progress | None = None) -> Report:
    """Write the views `issues` and `probe`. `ok` is false when a finding is as grave as the recipe's `fail_on`.

    With `limit` the first drafts are checked and told of, but nothing is written: a part is no view.
    """
    packs = load_packs(["event", *recipe["tasks"]], recipe.base)
    labels = ws.labels()
    drafts = sorted(current_drafts(ws, recipe, labels).values(), key=lambda d: (d.task, d.clip_id))[:limit]
    events = {x.clip_id: x for x in labels if x.task == "event" and x.basis in PUBLISHED_BASES}
    clips, sources = {c.id: c for c in ws.read(Clip)}, current_sources(ws)
    groups = {row["clip_id"]: row["group"] for row in ws.read_view("groups")}
    found: list[Issue] = []
    for done, draft in enumerate(drafts):
        if progress and done % 50 == 0:
            progress("validate", done, len(drafts))
        clip = clips[draft.clip_id]
        label = events.get(clip.id)
        known = label.value if label else None
        context = Context(packs[draft.task], clip, known, sources[clip.source_id].attributes)
        found += record_issues(draft, context)
    found += check_set(drafts, packs, {clip: x.value["class"] for clip, x in events.items()})
    probes = [row for task in recipe["tasks"] if task in packs for row in probe(packs[task], drafts, events, groups)]
    if limit is None:
        ws.write_view("issues", found)
        ws.write_view("probe", probes)
    report = _report(ws, recipe, drafts, found, probes)
    report.notes += [f"only {len(drafts)} drafts looked at, nothing written"] if limit else []
    return report


def record_issues(draft: Draft, context: Context) -> list[Issue]:
    """The findings on one draft: schema faults first; the rules run only on a value of the right shape."""
    faults = errors(context.pack, draft.value)
    if faults:
        return [Issue(draft.id, "schema", e.pointer, "error", f"{e.keyword}: {e.message}", draft.task) for e in faults]
    return [
        Issue(draft.id, f.rule, f.pointer, f.severity, f.message, draft.task)
        for f in check_record(draft.value, context)
    ]


def probe(pack: TaskPack, drafts: list[Draft], events: dict[str, Label], groups: dict[str, str]) -> list[Json]:
    """One row per family of closed questions of a task, and one for the whole; free texts: can the class be told?"""
    own = [d for d in drafts if d.task == pack.name and d.clip_id in groups]
    questions = [q for d in own for q in closed_questions(pack, d, groups[d.clip_id])]
    rows = []
    if questions:
        result = probe_closed(questions, seeds=2, replicates=400)
        families = {"all": result, **result["by_family"]}
        rows = [_probe_row(pack.name, family, r) for family, r in families.items()]
    asked = [(d.clip_id, side) for d in own if d.clip_id in events for side in question_sides(pack, d)]
    if len({side for _, side in asked}) > 1:
        classes = [events[clip].value["class"] for clip, _ in asked]
        result = probe_class(
            [side for _, side in asked], classes, [groups[c] for c, _ in asked], seeds=2, replicates=400
        )
        rows.append(_probe_row(pack.name, CLASS, {"chance": None, "interval": None, **result}))
    return rows


def question_sides(pack: TaskPack, draft: Draft) -> list[str]:
    """What a draft asks, one text an item: the question with its options in sorted order."""
    asked = [i for _, i in items(pack, draft.value) if isinstance(i.get("question"), str)]
    return [" | ".join([i["question"], *sorted(i.get("options") or ())]) for i in asked]


def closed_questions(pack: TaskPack, draft: Draft, group: str) -> list[Json]:
    """The items of a draft that offer options, as the probe takes them."""
    found = []
    for item_id, item in items(pack, draft.value):
        options = item.get("options") or []
        if len(options) > 1 and item.get("answer") in options:
            place = options.index(item["answer"])
            family = str(item.get("family", ""))
            where = {"id": f"{draft.id}#{item_id}", "group": group, "family": family}
            found.append({**where, "question": item["question"], "options": options, "answer": place})
    return found


def _probe_row(task: str, family: str, r: Json) -> Json:
    low, high = r["interval"] or (None, None)
    score = {"value": r["accuracy"], "low": low, "high": high}
    told = {key: r[key] for key in ("n", "groups", "chance", "verdict")}
    return {"task": task, "family": family, "accuracy": score, **told, "because": r.get("because", "")}


def _report(ws: Workspace, recipe: Recipe, drafts: list[Draft], found: list[Issue], probes: list[Json]) -> Report:
    dismissed = decisions(ws, "dismiss")
    open_ = [i for i in found if i.id not in dismissed]
    by_rule: dict[str, Counter[str]] = defaultdict(Counter)
    prompts = {d.id: (d.task, d.author, d.prompt_id or d.spec.get("template", "")) for d in drafts}
    for issue in open_:
        by_rule[f"{issue.severity} {issue.rule}"][" ".join(prompts.get(issue.record_id, ("set", "", "")))] += 1
    notes = [
        f"{rule}: {n} in {where.strip()}"
        for rule, counts in sorted(by_rule.items())
        for where, n in counts.most_common()
    ]
    for row in probes:
        if row["family"] in ("all", CLASS) or row["verdict"] == "leaks":
            notes.append(_sentence(row))
    severities: Any = Counter(i.severity for i in open_)
    grave = {"error": ("error",), "warning": ("error", "warning"), "never": ()}[recipe["validate"]["fail_on"]]
    counts = {"drafts": len(drafts), "errors": severities["error"], "warnings": severities["warning"]}
    return Report("validate", counts, notes, {"probe": probes}, ok=not any(severities[s] for s in grave))


def _sentence(row: Json) -> str:
    score, what = row["accuracy"], f"text prior, {row['task']} {row['family']}"
    if score["value"] is None or row["chance"] is None:
        return f"{what}: not shown ({row['because']})"
    span = f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
    return f"{what}: {span} without the video, chance {row['chance']:.3f}, n {row['n']}: {row['verdict']}"
