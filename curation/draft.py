"""Drafting: the words, written from the resolved event and the metadata. Makes Draft facts.

A draft's value is a pure function of its spec and parents, and its id does not depend on the value, so what is already
written is skipped by id and a killed run goes on where it stopped. Tasks that deal questions over a set of clips first
freeze the deal as a draft without a clip (a plan), which the clips' drafts name as parent; clips that come later get
a later plan and change no earlier draft.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from curation.deal import deal
from curation.errors import UsageError
from curation.ids import make_id
from curation.recipe import Recipe
from curation.store import Workspace, Writer, current_clips, current_sources, now
from curation.tasks import TaskPack, canonical, errors, load_packs, phrase, words
from curation.template import Loose, Scope, render
from curation.types import PUBLISHED_BASES, Clip, Draft, Json, Label, Progress, Refusal, Report

PLAN_CLIPS = 1000  # clips dealt questions together; a plan is one line of drafts.jsonl
ROLES = ("event", "background")  # of the clips a template writes about, unless it says otherwise
QUARTERS = ("first", "second", "third", "last")


@dataclass(frozen=True)
class Subject:
    """A clip to write about: its resolved event (None in a pre_event clip) and its source's attributes."""

    clip: Clip
    event: Json | None
    attributes: Json


def subjects(ws: Workspace, labels: Iterable[Label]) -> list[Subject]:
    """The clips whose event is resolved and publishable, in order of id. A pre_event clip waits for its parent's."""
    events = {x.clip_id: x.value for x in labels if x.task == "event" and x.basis in PUBLISHED_BASES}
    sources = current_sources(ws)
    found = []
    for clip in current_clips(ws).values():
        early = clip.role == "pre_event"
        if (clip.parent_id if early else clip.id) in events:
            found.append(Subject(clip, None if early else events[clip.id], sources[clip.source_id].attributes))
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
    subjects: list[Subject]
    seen: dict[tuple[str, str], tuple[Json, str]]  # by clip id and ontology: the context and its hash
    seed: int
    per_clip: int

    def context(self, pack: TaskPack, clip_id: str) -> Json:
        return self.seen[clip_id, pack.spec["ontology"]][0]

    def inputs(self, pack: TaskPack, clip_id: str) -> str:
        return self.seen[clip_id, pack.spec["ontology"]][1]

    def wants(self, pack: TaskPack, subject: Subject) -> bool:
        return subject.clip.role in (pack.template or {}).get("roles", ROLES)

    def spec(self, pack: TaskPack, subject: Subject) -> Json:
        """What the draft depends on beside its parents: another event, attribute or template is another draft."""
        return {
            "author": "template",
            "template": pack.template_id,
            "seed": self.seed,
            "event": make_id("event", subject.event),
            "inputs": self.inputs(pack, subject.clip.id),
        }

    def plan_spec(self, pack: TaskPack) -> Json:
        return {"author": "template", "template": pack.template_id, "seed": self.seed, "per_clip": self.per_clip}


def _job(ws: Workspace, recipe: Recipe, labels: Iterable[Label]) -> Job:
    author = recipe["draft"]["author"]
    packs = load_packs(["event", *recipe["tasks"]], recipe.base)
    event_fields = list(packs.pop("event").schema["properties"])
    for pack in packs.values():
        if author == "template" and pack.template is None:
            raise UsageError(f"{pack.path}: no template.json, so the template author cannot write '{pack.name}'")
    found = subjects(ws, labels)
    seen = {}
    for ontology, pack in {pack.spec["ontology"]: pack for pack in packs.values()}.items():
        for subject in found:
            one = context(pack, subject, event_fields)
            seen[subject.clip.id, ontology] = (one, make_id("inputs", one))
    return Job(packs, found, seen, recipe.seed, recipe["draft"]["vqa_per_clip"])


def _plans(job: Job, drafts: Iterable[Draft]) -> dict[tuple[str, str], Draft]:
    """The plan that covers a clip as it is now, by clip id and task: the first one with the clip's present inputs."""
    found: dict[tuple[str, str], Draft] = {}
    clips = {subject.clip.id for subject in job.subjects}
    for draft in drafts:
        pack = job.packs.get(draft.task)
        if draft.clip_id or pack is None or {k: draft.spec.get(k) for k in job.plan_spec(pack)} != job.plan_spec(pack):
            continue
        for clip, inputs in draft.value["inputs"].items():
            if clip in clips and job.inputs(pack, clip) == inputs:
                found.setdefault((clip, draft.task), draft)
    return found


def _new_plans(job: Job, pack: TaskPack, plans: dict[tuple[str, str], Draft]) -> Iterator[Draft]:
    """Plans for the clips that no plan covers."""
    open_clips = [s.clip.id for s in job.subjects if job.wants(pack, s) and (s.clip.id, pack.name) not in plans]
    for first in range(0, len(open_clips), PLAN_CLIPS):
        contexts = {clip: job.context(pack, clip) for clip in open_clips[first : first + PLAN_CLIPS]}
        dealt = deal(pack, contexts, seed=job.seed, per_clip=job.per_clip)
        inputs = {clip: job.inputs(pack, clip) for clip in contexts}
        spec = {**job.plan_spec(pack), "inputs": make_id("inputs", inputs)}
        value = {"plan": dealt, "inputs": inputs}
        yield Draft("", pack.name, value, spec, "template", schema_id=pack.schema_id, written_at=now())


def _expected(job: Job, plans: dict[tuple[str, str], Draft], subject: Subject) -> Iterator[tuple[TaskPack, Draft]]:
    """The drafts a clip should have, parents first, without their values (their ids do not need them)."""
    ids: dict[str, str] = {}
    for pack in job.packs.values():
        plan = plans.get((subject.clip.id, pack.name))
        parents = [p for p in pack.spec["parents"] if p != "event"]
        dealt = "questions" in (pack.template or {})
        if not job.wants(pack, subject) or any(p not in ids for p in parents) or (dealt and plan is None):
            continue
        above = tuple(ids[p] for p in parents) + ((plan.id,) if plan and dealt else ())
        spec = job.spec(pack, subject)
        draft = Draft(subject.clip.id, pack.name, None, spec, "template", above, schema_id=pack.schema_id)
        ids[pack.name] = draft.id
        yield pack, draft


def current_drafts(ws: Workspace, recipe: Recipe, labels: Iterable[Label]) -> dict[tuple[str, str], Draft]:
    """By clip id and task, the drafts that fit the recipe and the events as resolved now; older ones are left aside."""
    job = _job(ws, recipe, labels)
    written = {draft.id: draft for draft in ws.read(Draft)}
    plans = _plans(job, written.values())
    expected = (draft for subject in job.subjects for _, draft in _expected(job, plans, subject))
    return {(d.clip_id, d.task): written[d.id] for d in expected if d.id in written}


def write(pack: TaskPack, seen: Json, seed: int, clip_id: str, values: Json, dealt: list[Json]) -> Any:
    """The value of a draft by the template author. `values` are its parents', `dealt` the clip's planned items."""
    template: Json = pack.template or {}
    names = {**seen, "parents": values, "plan": dealt}
    scope = Scope(names, (seed, clip_id, pack.name), template.get("defs", {}), str(pack.path / "template.json"))
    return render(template["value"], scope, "/value")


def run(ws: Workspace, recipe: Recipe, *, limit: int | None = None, progress: Progress | None = None) -> Report:
    """Write what is missing for every clip with a resolved event, `limit` clips at most.

    Counts clips, drafts written and known, plans, refused. Raises UsageError for a broken task pack.
    """
    job = _job(ws, recipe, ws.labels())
    written = {draft.id: draft for draft in ws.read(Draft)}
    plans = _plans(job, written.values())
    counts: Counter[str] = Counter(clips=len(job.subjects[:limit]))
    refusals: list[Refusal] = []
    with ws.writer(Draft) as out:
        for pack in job.packs.values():
            if "questions" in (pack.template or {}):
                new = list(_new_plans(job, pack, plans))
                counts["plans"] += sum(out.add(p) for p in new)
                plans |= _plans(job, new)
        for done, subject in enumerate(job.subjects[:limit]):
            _write_clip(job, subject, plans, written, out, refusals, counts)
            if progress:
                progress("drafts", done + 1, counts["clips"])
    ws.refuse(refusals)
    return Report("draft", dict(counts), _unknown_words(job), {"refused": [r.detail for r in refusals]})


def _write_clip(
    job: Job,
    subject: Subject,
    plans: dict[tuple[str, str], Draft],
    written: dict[str, Draft],
    out: Writer[Draft],
    refusals: list[Refusal],
    counts: Counter[str],
) -> None:
    """Write a clip's missing drafts; what cannot be written is refused with its reason, and so is what builds on it."""
    values: Json = {}
    for pack, draft in _expected(job, plans, subject):
        if draft.id in written:
            values[pack.name] = written[draft.id].value
            counts["known"] += 1
            continue
        plan = plans.get((subject.clip.id, pack.name))
        dealt = plan.value["plan"][subject.clip.id] if plan else []
        missing = [p for p in pack.spec["parents"] if p not in values and p != "event"]
        value = None
        if not missing:
            value = write(pack, job.context(pack, subject.clip.id), job.seed, subject.clip.id, values, dealt)
        wrong = [f"{e.pointer}: {e.message}" for e in errors(pack, value)] if not missing else [f"no {missing[0]}"]
        if wrong:
            why = "parent_missing" if missing else "schema"
            detail = f"{subject.clip.id}: {pack.name} by template: {wrong[0]:.200}"
            refusals.append(Refusal("draft", f"{subject.clip.id}/{pack.name}", why, detail, now()))
            counts["refused"] += 1
            continue
        values[pack.name] = value
        out.add(replace(draft, value=value, written_at=now()))
        counts["written"] += 1


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
