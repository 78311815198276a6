"""Drafting: the words, written from the resolved event, the metadata and the frames. Makes Draft facts.

The author is a template or a model, task by task. A draft's id is that of its spec and parents, not of its value, so
what is already written is skipped by id and a killed run goes on where it stopped. Tasks that deal questions over a set
of clips first freeze the deal as a draft without a clip (a plan), which the clips' drafts name as parent; clips that
come later get a later plan and change no earlier draft.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from curation.authors import Subject, Todo, check_metadata, load_authors, model_draft, refused
from curation.checks import open_errors
from curation.deal import deal
from curation.desk import Desk
from curation.ids import make_id
from curation.models.endpoint import Model
from curation.recipe import Recipe
from curation.store import Workspace, current_clips, current_sources, now
from curation.tasks import TaskPack, canonical, errors, load_packs, phrase, words
from curation.template import Loose, Scope, render
from curation.types import PUBLISHED_BASES, Draft, Json, Label, Progress, Refusal, Report

LEAST_PLAN = 100  # clips; fewer would leave little to deal
PLAN_CLIPS = 1000  # clips dealt questions together; a plan is one line of drafts.jsonl
ROLES = ("event", "background")  # of the clips a template writes about, unless it says otherwise
QUARTERS = ("first", "second", "third", "last")


def subjects(ws: Workspace, labels: Iterable[Label]) -> list[Subject]:
    """The clips whose event is resolved and publishable, in order of id. A pre_event clip waits for its parent's."""
    events = {x.clip_id: x.value for x in labels if x.task == "event" and x.basis in PUBLISHED_BASES}
    sources = current_sources(ws)
    found = []
    for clip in current_clips(ws).values():
        early = clip.role == "pre_event"
        if (clip.parent_id if early else clip.id) in events:
            source = sources[clip.source_id]
            found.append(Subject(clip, None if early else events[clip.id], source.attributes, source))
    return sorted(found, key=lambda s: s.clip.id)


def context(pack: TaskPack, subject: Subject, event_fields: Iterable[str]) -> Json:
    """What a template sees of a clip; texts in it are words of the ontology, or short plain values of the user's table.

    clip: role, duration_s. event: its fields (null in a pre_event clip). attributes: canonical values. say: the
    phrases for both. phases: the clip cut at alert and event ({name: whole | before | conflict | after, start_s,
    end_s}, s). spans: before, conflict, after, whole; always there, the whole clip where there is no such phase.
    quarter: in which quarter of the clip alert and event fall, or null.
    """
    duration = round(subject.clip.duration_s, 2)
    event: Json = {field: (subject.event or {}).get(field) for field in event_fields}
    event["partner"] = canonical(pack, "partner", event["partner"]) if event.get("partner") else None
    given = {k: _attribute(pack, k, v) for k, v in subject.attributes.items()}
    attributes = {k: v for k, v in given.items() if v is not None}
    said = {k: v for k, v in {**attributes, **event}.items() if isinstance(v, str) and k in words(pack)}
    phases = _phases(duration, event.get("alert_s"), event.get("event_s"))
    spans = {p["name"]: {"start_s": p["start_s"], "end_s": p["end_s"]} for p in phases}
    whole = {"start_s": 0.0, "end_s": duration}
    return {
        "clip": {"role": subject.clip.role, "duration_s": duration},
        "event": event,
        "attributes": Loose(attributes),
        "say": Loose({k: phrase(pack, k, v) for k, v in said.items()}),
        "phases": phases,
        "spans": {name: spans.get(name, whole) for name in ("before", "conflict", "after", "whole")},
        "quarter": {k: _quarter(event.get(f"{k}_s"), duration) for k in ("alert", "event")},
    }


def _attribute(pack: TaskPack, name: str, given: Any) -> Any:
    """A value that may be written about: a word of the ontology, or (for names it lacks) a number or a short line."""
    if name in words(pack):
        return canonical(pack, name, given)
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return given
    return given if isinstance(given, str) and 0 < len(given) <= 80 and given.isprintable() else None


def _phases(duration: float, alert: float | None, event: float | None) -> list[Json]:
    cuts = [0.0]
    names = ["before"]
    for time, name in ((alert, "conflict"), (event, "after")):
        if time is not None:
            cuts.append(round(min(max(time, cuts[-1]), duration), 2))
            names.append(name)
    cuts.append(duration)
    if len(names) == 1:
        names = ["whole"]
    found = zip(names, cuts, cuts[1:], strict=False)
    return [{"name": name, "start_s": start, "end_s": end} for name, start, end in found if end > start]


def _quarter(time: float | None, duration: float) -> str | None:
    inside = time is not None and duration > 0 and 0 <= time <= duration
    return QUARTERS[min(3, int(4 * time / duration))] if time is not None and inside else None


@dataclass(frozen=True)
class Job:
    """Everything a draft run works on."""

    packs: dict[str, TaskPack]  # without event, parents first
    authors: dict[str, Model | None]  # by task; None is the template
    subjects: list[Subject]
    seen: dict[tuple[str, str], tuple[Json, str]]  # by clip id and ontology: the context and its hash
    seed: int
    per_clip: int
    per_family: int | None

    def context(self, pack: TaskPack, clip_id: str) -> Json:
        return self.seen[clip_id, pack.spec["ontology"]][0]

    def inputs(self, pack: TaskPack, clip_id: str, above: Iterable[str]) -> str:
        """The hash of what a clip's questions are dealt from: its context, and its parents if they are asked."""
        seen = self.seen[clip_id, pack.spec["ontology"]][1]
        return make_id("inputs", [seen, *above]) if pack.asks_parents else seen

    def wants(self, pack: TaskPack, subject: Subject) -> bool:
        """Templates say which clips they write about; models write only where the class is resolved."""
        roles = (pack.template or {}).get("roles", ROLES)
        return subject.clip.role in (ROLES if self.authors[pack.name] else roles)

    def template_spec(self, pack: TaskPack, subject: Subject) -> Json:
        """What the draft depends on beside its parents: another event, attribute or template is another draft."""
        return {
            "author": "template",
            "template": pack.template_id,
            "seed": self.seed,
            "event": make_id("event", subject.event),
            "inputs": self.seen[subject.clip.id, pack.spec["ontology"]][1],
        }

    def plan_spec(self, pack: TaskPack) -> Json:
        spec = {"author": "template", "template": pack.template_id, "seed": self.seed, "per_clip": self.per_clip}
        return spec | ({"per_family": self.per_family} if self.per_family else {})


Chain = dict[str, Draft]  # a clip's drafts so far, by task; those yet to be written have no value
Plans = dict[tuple[str, str], Draft]  # by clip id and task


def _job(ws: Workspace, recipe: Recipe, labels: Iterable[Label]) -> Job:
    packs = load_packs(["event", *recipe["tasks"]], recipe.base)
    event_fields = list(packs.pop("event").schema["properties"])
    authors = load_authors(recipe, packs)
    found = subjects(ws, labels)
    check_metadata(authors.values(), found)
    seen = {}
    for ontology, pack in {pack.spec["ontology"]: pack for pack in packs.values()}.items():
        for subject in found:
            one = context(pack, subject, event_fields)
            seen[subject.clip.id, ontology] = (one, make_id("inputs", one))
    given = recipe["draft"]
    return Job(packs, authors, found, seen, recipe.seed, given["vqa_per_clip"], given["vqa_per_family"])


def _parents(pack: TaskPack) -> list[str]:
    return [p for p in pack.spec["parents"] if p != "event"]


def _above(pack: TaskPack, chain: Chain) -> list[str]:
    return [chain[p].id for p in _parents(pack) if p in chain]


def _plans(job: Job, pack: TaskPack, drafts: Iterable[Draft], chains: dict[str, Chain]) -> Plans:
    """The plan that covers a clip as it is now: the first one with the clip's present inputs."""
    found: Plans = {}
    if not pack.dealt:
        return found
    spec = job.plan_spec(pack)
    for draft in drafts:
        if draft.clip_id or draft.task != pack.name or {k: draft.spec.get(k) for k in spec} != spec:
            continue
        for clip, inputs in draft.value["inputs"].items():
            if clip in chains and job.inputs(pack, clip, _above(pack, chains[clip])) == inputs:
                found.setdefault((clip, pack.name), draft)
    return found


def _new_plans(job: Job, pack: TaskPack, plans: Plans, chains: dict[str, Chain], values: Json) -> Iterator[Draft]:
    """Plans for the clips that no plan covers; few are dealt to among others, whose own questions stay as they are.
    `values` are the parents', by draft id."""
    ready = [s.clip.id for s in job.subjects if job.wants(pack, s)]
    if pack.asks_parents:
        ready = [c for c in ready if all(p in chains[c] and chains[c][p].id in values for p in _parents(pack))]
    open_clips = [clip for clip in ready if (clip, pack.name) not in plans]
    for first in range(0, len(open_clips), PLAN_CLIPS):
        asked = open_clips[first : first + PLAN_CLIPS]
        fill = [c for c in ready if c not in set(asked)][:LEAST_PLAN] if len(asked) < LEAST_PLAN else []
        contexts = {clip: job.context(pack, clip) for clip in [*asked, *fill]}
        if pack.asks_parents:
            told = {clip: {p: values[chains[clip][p].id] for p in _parents(pack)} for clip in contexts}
            contexts = {clip: {**seen, "parents": told[clip]} for clip, seen in contexts.items()}
        dealt = deal(pack, contexts, seed=job.seed, per_clip=job.per_clip, per_family=job.per_family)
        inputs = {clip: job.inputs(pack, clip, _above(pack, chains[clip])) for clip in asked}
        spec = {**job.plan_spec(pack), "inputs": make_id("inputs", inputs)}
        value = {"plan": {clip: dealt[clip] for clip in asked}, "inputs": inputs}
        yield Draft("", pack.name, value, spec, "template", schema_id=pack.schema_id, written_at=now())


def _expected(job: Job, pack: TaskPack, subject: Subject, plans: Plans, chain: Chain) -> Draft | None:
    """The draft a clip should have of a task, without its value (the id does not need it); None if it has none."""
    plan = plans.get((subject.clip.id, pack.name))
    if not job.wants(pack, subject) or any(p not in chain for p in _parents(pack)) or (pack.dealt and plan is None):
        return None
    model = job.authors[pack.name]
    if model is not None:
        return model_draft(pack, model, subject, [chain[p] for p in _parents(pack)])
    above = (*_above(pack, chain), *((plan.id,) if plan else ()))
    spec = job.template_spec(pack, subject)
    return Draft(subject.clip.id, pack.name, None, spec, "template", above, schema_id=pack.schema_id)


def current_drafts(ws: Workspace, recipe: Recipe, labels: Iterable[Label]) -> dict[tuple[str, str], Draft]:
    """By clip id and task, the drafts that fit the recipe and the events as resolved now; older ones are left aside."""
    job = _job(ws, recipe, labels)
    written = {draft.id: draft for draft in ws.read(Draft)}
    mended = mended_drafts(written.values())
    chains: dict[str, Chain] = {subject.clip.id: {} for subject in job.subjects}
    for pack in job.packs.values():
        plans = _plans(job, pack, written.values(), chains)
        for subject in job.subjects:
            if draft := _expected(job, pack, subject, plans, chains[subject.clip.id]):
                chains[subject.clip.id][pack.name] = mended.get(draft.id, draft)
    found = (draft for chain in chains.values() for draft in chain.values())
    return {(d.clip_id, d.task): written[d.id] for d in found if d.id in written}


def write(pack: TaskPack, seen: Json, seed: int, clip_id: str, values: Json, dealt: list[Json]) -> Any:
    """The value of a draft by the template author. `values` are its parents', `dealt` the clip's planned items."""
    template: Json = pack.template or {}
    names = {**seen, "parents": values, "plan": dealt}
    scope = Scope(names, (seed, clip_id, pack.name), template.get("defs", {}), str(pack.path / "template.json"))
    return render(template["value"], scope, "/value")


def run(ws: Workspace, recipe: Recipe, *, limit: int | None = None, progress: Progress | None = None) -> Report:
    """Write what is missing for every clip with a resolved event, `limit` clips at most, task by task.

    Counts clips, drafts written and known, plans, refused, and left: what an endpoint did not answer, or the budget
    forbade; the same command asks for it again. Raises UsageError for a broken task pack or model, DataError for an
    endpoint that turns everything away.
    """
    with ws.writer(Draft) as out, Desk(ws, recipe) as desk:
        report, refusals = draft_all(ws, recipe, desk, out.add, limit, progress)
        ws.refuse(refusals)
        report.notes += desk.notes()
        report.data |= desk.data()
        report.ok, report.gate = report.ok and not desk.failed, desk.gate
    return report


@dataclass
class State:
    """Where a draft run stands."""

    job: Job
    desk: Any  # Desk, or a forecast's, which asks nobody
    add: Callable[[Draft], bool]
    written: dict[str, Draft]  # when it began
    values: Json  # by draft id; grows
    chains: dict[str, Chain]
    faulty: dict[str, list[str]]  # what validate holds against drafts that are to be mended
    waiting: set[str]  # tasks of which drafts were left
    counts: Counter[str]
    refusals: list[Refusal]
    barred: list[str]  # tasks of which every request was turned away


def draft_all(
    ws: Workspace, recipe: Recipe, desk: Any, add: Callable[[Draft], bool], limit: int | None, progress: Progress | None
) -> tuple[Report, list[Refusal]]:
    """Go through the tasks, parents first. `desk` has models write, `add` keeps a draft."""
    job = _job(ws, recipe, ws.labels())
    written = {draft.id: draft for draft in ws.read(Draft)}
    values = {draft.id: draft.value for draft in written.values()}
    chains: dict[str, Chain] = {subject.clip.id: {} for subject in job.subjects}
    faulty = open_errors(ws) if recipe["validate"]["flagged"] == "redraft" else {}
    counts = Counter(clips=len(job.subjects[:limit]))
    state = State(job, desk, add, written, values, chains, faulty, set(), counts, [], [])
    for pack in job.packs.values():
        _draft_task(state, pack, job.subjects[:limit], progress)
    counts.update(+Counter(refused=len(state.refusals), left=len(desk.left)))
    said = {"refused": [r.detail for r in state.refusals]}
    notes = [*_unknown_words(job), *_why(state.refusals)]
    notes += [f"{name}: every request was turned away; mend that before going on" for name in state.barred]
    if not job.subjects:
        notes.append(f"no clip's event is resolved yet; next: autodrive resolve {recipe.path}")
    return Report("draft", dict(counts), notes, said, ok=not state.barred), state.refusals


def _draft_task(state: State, pack: TaskPack, subjects: list[Subject], progress: Progress | None) -> None:
    """Plan what is dealt, find what is due, and have its author write it."""
    job, model, done = state.job, state.job.authors[pack.name], 0
    plans = _plans(job, pack, state.written.values(), state.chains)
    if pack.dealt and not (pack.asks_parents and state.waiting.intersection(_parents(pack))):
        new = list(_new_plans(job, pack, plans, state.chains, state.values))
        state.counts["plans"] += sum(state.add(plan) for plan in new)
        state.values |= {plan.id: plan.value for plan in new}
        plans |= _plans(job, pack, new, state.chains)
    todo: list[Todo] = []

    def keep(one: Draft | Refusal) -> None:
        nonlocal done
        done += 1
        if isinstance(one, Refusal):
            state.refusals.append(one)
        elif state.add(one):
            state.values[one.id] = one.value
            state.chains[one.clip_id][one.task] = one
            state.counts["written"] += 1
        if progress:
            progress(pack.name, done, len(todo))

    mended = mended_drafts(state.written.values())
    for subject in subjects:
        chain = state.chains[subject.clip.id]
        if expected := _expected(job, pack, subject, plans, chain):
            chain[pack.name] = draft = mended.get(expected.id, expected)
            if one := _due(state, pack, subject, draft):
                todo.append(one)
            else:
                state.counts["known"] += 1
    ready = [one for one in todo if _parents_there(state, pack, one, keep)]
    if model is not None and ready:
        before = len(state.refusals)
        state.desk.write(pack, model, ready, keep)
        barred = [r for r in state.refusals[before:] if r.reason in ("denied", "third_party")]
        state.barred += [pack.name] if len(barred) == len(ready) else []
    elif model is None:
        for one in ready:
            keep(_by_template(job, pack, one, plans))
    if any(one.draft.id in state.desk.left for one in todo):
        state.waiting.add(pack.name)


def _due(state: State, pack: TaskPack, subject: Subject, draft: Draft) -> Todo | None:
    """What is to be written: a draft that is not there, or a mended one, once, in place of one with errors. What
    validate found tells the event, so an author that is not told the event mends nothing."""
    earlier = ""
    if draft.id in state.values:
        by_template = state.job.authors[pack.name] is None
        if by_template or draft.id not in state.faulty or "mends" in draft.spec or not draft.informed:
            return None
        earlier = json.dumps(state.values[draft.id], ensure_ascii=False)
        spec = {**draft.spec, "mends": draft.id, "findings": state.faulty[draft.id]}
        draft = replace(draft, id="", value=None, spec=spec)
    chain = state.chains[subject.clip.id]
    above = {p: chain[p].id for p in _parents(pack)}
    parents = {p: state.values[i] for p, i in above.items() if i in draft.parents and i in state.values}
    return Todo(subject, draft, parents, earlier)


def _parents_there(state: State, pack: TaskPack, one: Todo, keep: Callable[[Draft | Refusal], None]) -> bool:
    """Are its parents written? What waits for an endpoint waits with it; what never comes is refused."""
    missing = [p for p in one.draft.parents if p not in state.values]
    if any(p in state.desk.left for p in missing):
        state.desk.left.add(one.draft.id)
        return not state.desk.waits
    if missing:
        chain = state.chains[one.draft.clip_id]
        names = [p for p in _parents(pack) if chain[p].id in missing]
        keep(refused(one, "parent_missing", f"no {names[0] if names else 'plan'}"))
    return not missing


def _by_template(job: Job, pack: TaskPack, one: Todo, plans: Plans) -> Draft | Refusal:
    clip_id = one.draft.clip_id
    plan = plans.get((clip_id, pack.name))
    dealt = plan.value["plan"][clip_id] if plan else []
    value = write(pack, job.context(pack, clip_id), job.seed, clip_id, one.parents, dealt)
    if wrong := errors(pack, value):
        return refused(one, "schema", f"by template: {wrong[0].pointer}: {wrong[0].message:.200}")
    return replace(one.draft, value=value, written_at=now())


def mended_drafts(drafts: Iterable[Draft]) -> dict[str, Draft]:
    """Drafts that were written in place of one with errors, by the id of that one."""
    return {d.spec["mends"]: d for d in drafts if "mends" in d.spec}


def _why(refusals: list[Refusal]) -> list[str]:
    """One note for each reason of refusal, with an example."""
    counts = Counter(r.reason for r in refusals)
    first = {r.reason: r.detail for r in reversed(refusals)}
    return [f"refused, {reason}: {n}, such as {first[reason]}" for reason, n in counts.most_common()]


def _unknown_words(job: Job) -> list[str]:
    """One note for each attribute value that the ontology has no word for, and so no text mentions."""
    found: Counter[tuple[str, str]] = Counter()
    for pack in list(job.packs.values())[:1]:
        for subject in job.subjects:
            for name, given in subject.attributes.items():
                if name in words(pack) and given not in (None, "") and canonical(pack, name, given) is None:
                    found[name, str(given)[:40]] += 1
    hint = "left out; add it to the ontology's x-synonyms, or map it in the recipe"
    return [
        f"attribute {name}={given!r} is not a word of the ontology ({n} clips): {hint}"
        for (name, given), n in sorted(found.items())
    ]
