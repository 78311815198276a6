"""validate: drafts → findings. Only reads; a view, recomputed whole.

Pass 1, record by record: the schema, then the rules of `curation.checks`. Pass 2, over the set: copies and biases, and
the text-prior probe, which asks how far above chance the answers can be picked without the video.
"""

from __future__ import annotations

import marshal
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from curation.annotators import standing
from curation.check_set import check_set
from curation.check_text import Context, Finding
from curation.checks import check_record
from curation.desk import ask_plainly
from curation.draft import current_drafts
from curation.judge import judge_lines, judge_rows
from curation.pool import spread
from curation.probe import BELOW_CHANCE, Ask, probe_asked, probe_class, probe_closed
from curation.recipe import Recipe
from curation.rows import shown
from curation.store import Workspace, current_sources, decisions
from curation.tasks import TaskPack, errors, items, load_packs
from curation.types import PUBLISHED_BASES, Clip, Draft, Issue, Json, Label, Progress, Report, Review

CLASS = "the class, from what is asked"  # the probe's family for a whole question side
BATCH, WORTH = 250, 40  # drafts sent to a worker process at once; so many batches are worth starting them
SHOWN, TOLD, SHORT = 30, 5, 16  # lines of the summary; of them with an example; characters of an id


def run(ws: Workspace, recipe: Recipe, *, limit: int | None = None, progress: Progress | None = None) -> Report:
    """Write the views `issues`, `probe`, `judge`. `ok` is false when a finding is as grave as the recipe's `fail_on`.

    With `limit` the first drafts are checked and told of, but nothing is written: a part is no view. A `probe_model` of
    the recipe is asked the closed questions, too; what it said is stored like any paid answer.
    """
    packs = load_packs(["event", *recipe["tasks"]], recipe.base)
    labels = ws.labels()
    current = sorted(current_drafts(ws, recipe, labels).values(), key=lambda d: (d.task, d.clip_id))[:limit]
    drafts = [d for d in current if not packs[d.task].spec["judges"]]
    events = {x.clip_id: x for x in labels if x.task == "event" and x.basis in PUBLISHED_BASES}
    clips, sources = {c.id: c for c in ws.read(Clip)}, current_sources(ws)
    groups = {row["clip_id"]: row["group"] for row in ws.read_view("groups")}
    found: list[Issue] = []
    records = []
    for draft in current:
        clip, event = clips[draft.clip_id], events.get(draft.clip_id)
        records.append((draft, clip, event.value if event else None, sources[clip.source_id].attributes))
    for done, issues in enumerate(check_records(records, recipe, packs), 1):
        found += issues
        if progress:
            progress("validate", min(done * BATCH, len(current)), len(current))
    found += check_set(drafts, packs, {clip: x.value["class"] for clip, x in events.items()})
    name = recipe["validate"]["probe_model"]
    bill: list[str] = []
    asked = (name, partial(ask_plainly, ws, recipe, name, bill)) if name else None
    probes = [row for pack in packs.values() for row in probe(pack, drafts, events, groups, asked)]
    judging = {name: pack.spec["judges"] for name, pack in packs.items() if pack.spec["judges"]}
    judges = judge_rows(judging, current, standing(ws.read(Review)), groups) if judging else []
    if limit is None:
        for view, rows in (("issues", found), ("probe", probes), ("judge", judges)):
            ws.write_view(view, rows)
    report = _report(ws, recipe, current, found, probes)
    report.notes += (
        judge_lines(judges) + bill + [f"only {len(current)} drafts looked at, nothing written"] * bool(limit)
    )
    report.data["judge"] = judges
    return report


Known = tuple[Draft, Clip, Json | None, Json]  # a draft, its clip, the resolved event, the source's attributes


class _Batch(list[Known]):
    """Records that go to another process at a fraction of what pickling them costs: what rules look at, marshalled.
    Values are what JSON gives."""

    def __reduce__(self) -> tuple[Any, ...]:
        told = [(d.id, d.task, d.value, clip.id, event, given) for d, clip, event, given in self]
        return _batch, (marshal.dumps(told), {clip.id: clip for _, clip, *_ in self})


def _batch(told: bytes, clips: dict[str, Clip]) -> list[Known]:
    return [
        (Draft(clip, task, value, {}, "", id=draft), clips[clip], event, given)
        for draft, task, value, clip, event, given in marshal.loads(told)
    ]


def check_records(records: Sequence[Known], recipe: Recipe, packs: Mapping[str, TaskPack]) -> Iterator[list[Issue]]:
    """The findings of pass 1, batch by batch in the order of `records`; many are shared out to the recipe's workers."""
    batches = [_Batch(records[i : i + BATCH]) for i in range(0, len(records), BATCH)]
    if len(batches) < WORTH:
        yield from (_check_batch(packs, batch) for batch in batches)
    else:
        check = partial(_check_elsewhere, ("event", *recipe["tasks"]), recipe.base)
        yield from (issues for _, issues in spread(check, batches, recipe["workers"]))


def _check_elsewhere(tasks: tuple[str, ...], base: Path, batch: Sequence[Known]) -> list[Issue]:
    return _check_batch(_packs(tasks, base), batch)


@cache
def _packs(tasks: tuple[str, ...], base: Path) -> dict[str, TaskPack]:
    return load_packs(tasks, base)


def _check_batch(packs: Mapping[str, TaskPack], batch: Sequence[Known]) -> list[Issue]:
    return [
        issue for draft, clip, event, attributes in batch
        for issue in record_issues(draft, Context(packs[draft.task], clip, event, attributes))
    ]  # fmt: skip


def record_issues(draft: Draft, context: Context) -> list[Issue]:
    """The findings on one draft: schema faults first; the rules run only on a value of the right shape."""
    found = [Finding("schema", e.pointer, f"{e.keyword}: {e.message}") for e in errors(context.pack, draft.value)]
    if not found and not context.pack.spec["judges"]:
        found = check_record(draft.value, context)
    return [Issue(draft.id, f.rule, f.pointer, f.severity, f.message, draft.task) for f in found]


def probe(
    pack: TaskPack,
    drafts: list[Draft],
    events: dict[str, Label],
    groups: dict[str, str],
    asked: tuple[str, Ask] | None = None,
) -> list[Json]:
    """One row per family of closed questions of a task, and one for the whole; again as a model, named in `asked`,
    picks them; and one for the class, told from what is asked.
    """
    own = [d for d in drafts if d.task == pack.name and d.clip_id in groups]
    asking = [(d, i, item) for d in own for i, item in items(pack, d.value) if isinstance(item.get("question"), str)]
    questions = [
        {"id": f"{d.id}#{i}", "group": groups[d.clip_id], "family": str(item.get("family", "")),
         "question": item["question"], "options": item["options"], "answer": item["options"].index(item["answer"])}
        for d, i, item in asking if len(item.get("options") or ()) > 1 and item.get("answer") in item["options"]
    ]  # fmt: skip
    rows = []
    if questions:
        result = probe_closed(questions, seeds=2, replicates=400)
        families = {"all": result, **result["by_family"]}
        rows = [_probe_row(pack.name, family, r) for family, r in families.items()]
        if asked:
            result = probe_asked(questions, asked[1], replicates=400)
            families = {"all": result, **result["by_family"]}
            rows += [_probe_row(pack.name, f"{f}, asked of {asked[0]}", r) for f, r in families.items()]
            rows[-len(families)]["unread"] = result["unread"]
    sides = [
        (" | ".join([item["question"], *sorted(item.get("options") or ())]), events[d.clip_id].value["class"],
         groups[d.clip_id]) for d, _, item in asking if d.clip_id in events
    ]  # fmt: skip
    if len({side for side, *_ in sides}) > 1:
        side, classes, of = zip(*sides, strict=True)
        rows.append(_probe_row(pack.name, CLASS, probe_class(side, classes, of, seeds=2, replicates=400)))
    return rows


def _probe_row(task: str, family: str, r: Json) -> Json:
    low, high = r["interval"] or (None, None)
    score = {"value": r["accuracy"], "low": low, "high": high}
    told = {key: r[key] for key in ("n", "groups", "chance", "verdict")}
    return {"task": task, "family": family, "accuracy": score, **told, "because": r.get("because", "")}


def _report(ws: Workspace, recipe: Recipe, drafts: list[Draft], found: list[Issue], probes: list[Json]) -> Report:
    dismissed = decisions(ws, "dismiss")
    open_ = [i for i in found if i.id not in dismissed]
    rules = summary(drafts, open_)
    notes = _table(rules, recipe) if drafts else [f"no drafts yet; next: autodrive draft {recipe.path}"]
    for row in probes:
        if row["family"].split(", asked")[0] in ("all", CLASS) or row["verdict"] == "leaks":
            notes.append(_sentence(row))
    severities: Any = Counter(i.severity for i in open_)
    grave = {"error": ("error",), "warning": ("error", "warning"), "never": ()}[recipe["validate"]["fail_on"]]
    counts = {"drafts": len(drafts), "errors": severities["error"], "warnings": severities["warning"]}
    counts |= {"dismissed": len(found) - len(open_)} if len(open_) < len(found) else {}
    data = {"probe": probes, "rules": rules}
    return Report("validate", counts, notes, data, ok=not any(severities[s] for s in grave))


def summary(drafts: list[Draft], found: list[Issue]) -> list[Json]:
    """One row per severity, rule, task, author and prompt (or template) version, errors first, then by their number:
    how many findings, in how many drafts of how many of that version; an example. Findings on the set have no drafts.
    """
    by_id = {d.id: (d.task, d.author, d.prompt_id or d.spec.get("template", "")) for d in drafts}
    total = Counter(by_id.values())
    groups: dict[tuple[str, ...], list[Issue]] = defaultdict(list)
    for i in found:
        groups[i.severity, i.rule, *by_id.get(i.record_id, (i.task, "", ""))].append(i)
    rows = []
    for (severity, rule, task, author, prompt), own in groups.items():
        row = {"severity": severity, "rule": rule, "task": task, "author": author, "prompt": prompt}
        hit = len({i.record_id for i in own}) if author else 0
        example = {"example": own[0].id, "message": own[0].message}
        rows.append({**row, "findings": len(own), "drafts": hit, "of": total[task, author, prompt], **example})
    return sorted(rows, key=lambda r: (r["severity"], -r["findings"], r["rule"], r["task"], r["author"], r["prompt"]))


def _table(rules: list[Json], recipe: Recipe) -> list[str]:
    """The summary as lines, the gravest findings of all told whole."""
    lines = []
    for n, r in enumerate(rules[:SHOWN]):
        where = f"{r['author']} {r['prompt'][:SHORT]}" if r["author"] else "the set"
        share = f"{r['drafts']} of {r['of']} drafts, {r['drafts'] / r['of']:.1%}" if r["of"] else ""
        counts = f"{r['findings']:>6}  {r['severity']:<7} {r['rule']:<20}"
        lines.append(f"{counts} {r['task']:<12} {where:<32} {share}".rstrip())
        if n < TOLD:
            lines.append(f"        {r['example'][:SHORT]}: {shown(r['message'], 100)}")
    if rest := sum(r["findings"] for r in rules[SHOWN:]):
        lines.append(f"and {rest} findings in {len(rules) - SHOWN} more rows: --json lists them")
    if rules:
        one = rules[0]["example"][:SHORT]
        how = f"autodrive dismiss {recipe.path} {one} --reason … --who …"
        lines.append(f"look: autodrive show {one}; if it is no fault: {how}")
    return lines


def _sentence(row: Json) -> str:
    score, what = row["accuracy"], f"text prior, {row['task']} {row['family']}"
    if score["value"] is None or row["chance"] is None:
        return f"{what}: not shown ({row['because']})"
    span = f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
    told = f"{what}: {span} without the video, chance {row['chance']:.3f}, n {row['n']}: {row['verdict']}"
    why = {"clean": BELOW_CHANCE, "leaks": row["because"]}.get(row["verdict"])
    return f"{told} ({why})" if why and score["high"] < row["chance"] else told
