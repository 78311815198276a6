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
from dataclasses import replace
from typing import Any

from curation.authors import Subject, Todo, check_metadata, load_authors, model_draft, refused
from curation.checks import open_errors
from curation.deal import deal
from curation.desk import Desk, opened
from curation.ids import make_id
from curation.recipe import Recipe
from curation.store import Workspace, current_clips, current_sources, now
from curation.tasks import TaskPack, canonical, errors, load_packs, phrase, words
from curation.template import Loose, Scope, render
from curation.types import PUBLISHED_BASES, Draft, Json, Label, Progress, Refusal, Report

LEAST_PLAN = 100  # clips; fewer would leave little to deal
PLAN_CLIPS = 1000  # clips dealt questions together; a plan is one line of drafts.jsonl
ROLES = ("event", "background")  # of the clips a template writes about, unless it says otherwise
QUARTERS = ("first", "second", "third", "last")
LATER = "(to be written)"  # a parent's value in a forecast


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
    cuts = [("before", 0.0)]
    for name, time in (("conflict", alert), ("after", event)):
        if time is not None:
            cuts.append((name, round(min(max(time, cuts[-1][1]), duration), 2)))
    cuts = cuts if len(cuts) > 1 else [("whole", 0.0)]
    found = zip(cuts, [*(start for _, start in cuts[1:]), duration], strict=True)
    return [{"name": name, "start_s": start, "end_s": end} for (name, start), end in found if end > start]


def _quarter(time: float | None, duration: float) -> str | None:
    inside = time is not None and duration > 0 and 0 <= time <= duration
    return QUARTERS[min(3, int(4 * time / duration))] if time is not None and inside else None


class Round:
    """What the recipe wants of the clips as resolved now, what is written of it, and what comes of a run.

    `chains` are a clip's drafts so far, by task; those yet to be written have no value. `packs` are without the event,
    parents first; an author of None is the template.
    """

    def __init__(self, ws: Workspace, recipe: Recipe, labels: Iterable[Label]) -> None:
        self.packs = load_packs(["event", *recipe["tasks"]], recipe.base)
        event_fields = list(self.packs.pop("event").schema["properties"])
        self.authors = load_authors(recipe, self.packs)
        self.subjects = subjects(ws, labels)
        check_metadata(self.authors.values(), self.subjects)
        self.seed, self.dealing = recipe.seed, recipe["draft"]
        self.seen: dict[tuple[str, str], tuple[Json, str]] = {}  # by clip id and ontology: the context and its hash
        for ontology, pack in {pack.spec["ontology"]: pack for pack in self.packs.values()}.items():
            for subject in self.subjects:
                one = context(pack, subject, event_fields)
                self.seen[subject.clip.id, ontology] = (one, make_id("inputs", one))
        self.chains: dict[str, dict[str, Draft]] = {subject.clip.id: {} for subject in self.subjects}
        self.plans: dict[tuple[str, str], Draft] = {}  # by clip id and task
        self.written: dict[str, Draft] = {}
        self.mended: dict[str, Draft] = {}  # by the id of the one with errors in place of which they were written
        for draft in ws.read(Draft):
            self.note(draft)
        self.faulty: dict[str, list[str]] = {}  # what validate holds against drafts that are to be mended
        self.waiting: set[str] = set()  # tasks of which drafts were left
        self.counts: Counter[str] = Counter()
        self.refusals: list[Refusal] = []
        self.barred: list[str] = []  # tasks of which every request was turned away

    def note(self, draft: Draft) -> None:
        self.written[draft.id] = draft
        if "mends" in draft.spec:
            self.mended[draft.spec["mends"]] = draft

    # -- what a clip should have -------------------------------------------------------------------------------------
    def wants(self, pack: TaskPack, subject: Subject) -> bool:
        """Templates say which clips they write about; models write only where the class is resolved."""
        roles = (pack.template or {}).get("roles", ROLES)
        return subject.clip.role in (ROLES if self.authors[pack.name] else roles)

    def expect(self, pack: TaskPack, subject: Subject) -> Draft | None:
        """The draft a clip should have of a task, perhaps not written yet (the id needs no value); None if none."""
        chain, plan = self.chains[subject.clip.id], self.plans.get((subject.clip.id, pack.name))
        if not self.wants(pack, subject) or any(p not in chain for p in pack.above) or (pack.dealt and plan is None):
            return None
        above = [chain[p] for p in pack.above]
        if model := self.authors[pack.name]:
            draft = model_draft(pack, model, subject, above)
        else:  # another event, attribute or template is another draft
            spec = {
                "author": "template",
                "template": pack.template_id,
                "seed": self.seed,
                "event": make_id("event", subject.event),
                "inputs": self.seen[subject.clip.id, pack.spec["ontology"]][1],
            }
            ids = tuple(d.id for d in [*above, *([plan] if plan else [])])
            draft = Draft(subject.clip.id, pack.name, None, spec, "template", ids, schema_id=pack.schema_id)
        chain[pack.name] = self.mended.get(draft.id, draft)
        return chain[pack.name]

    # -- questions that are dealt ------------------------------------------------------------------------------------
    def inputs(self, pack: TaskPack, clip_id: str) -> str:
        """The hash of what a clip's questions are dealt from: its context, and its parents if they are asked."""
        seen, chain = self.seen[clip_id, pack.spec["ontology"]][1], self.chains[clip_id]
        above = [chain[p].id for p in pack.above if p in chain]
        return make_id("inputs", [seen, *above]) if pack.asks_parents else seen

    def plan_spec(self, pack: TaskPack) -> Json:
        per_clip, per_family = self.dealing["vqa_per_clip"], self.dealing["vqa_per_family"]
        spec = {"author": "template", "template": pack.template_id, "seed": self.seed, "per_clip": per_clip}
        return spec | ({"per_family": per_family} if per_family else {})

    def find_plans(self, pack: TaskPack) -> None:
        """The plan that covers a clip as it is now: the first one with the clip's present inputs."""
        spec = self.plan_spec(pack) if pack.dealt else {}
        for draft in self.written.values() if pack.dealt else ():
            if draft.clip_id or draft.task != pack.name or {k: draft.spec.get(k) for k in spec} != spec:
                continue
            for clip, inputs in draft.value["inputs"].items():
                if clip in self.chains and self.inputs(pack, clip) == inputs:
                    self.plans.setdefault((clip, pack.name), draft)

    def new_plans(self, pack: TaskPack) -> Iterator[Draft]:
        """Plans for the clips that no plan covers; few are dealt to among others, whose own questions stay."""
        ready = [s.clip.id for s in self.subjects if self.wants(pack, s)]
        asked = pack.above if pack.asks_parents else []
        ready = [c for c in ready if all(p in self.chains[c] and self.chains[c][p].id in self.written for p in asked)]
        open_clips = [clip for clip in ready if (clip, pack.name) not in self.plans]
        for first in range(0, len(open_clips), PLAN_CLIPS):
            new = open_clips[first : first + PLAN_CLIPS]
            fill = [c for c in ready if c not in set(new)][:LEAST_PLAN] if len(new) < LEAST_PLAN else []
            contexts = {clip: self.seen[clip, pack.spec["ontology"]][0] for clip in [*new, *fill]}
            for clip, seen in contexts.items() if asked else ():
                told = {p: self.written[self.chains[clip][p].id].value for p in asked}
                contexts[clip] = {**seen, "parents": told}
            per_clip, per_family = self.dealing["vqa_per_clip"], self.dealing["vqa_per_family"]
            dealt = deal(pack, contexts, seed=self.seed, per_clip=per_clip, per_family=per_family)
            inputs = {clip: self.inputs(pack, clip) for clip in new}
            spec = {**self.plan_spec(pack), "inputs": make_id("inputs", inputs)}
            value = {"plan": {clip: dealt[clip] for clip in new}, "inputs": inputs}
            yield Draft("", pack.name, value, spec, "template", schema_id=pack.schema_id, written_at=now())

    # -- writing -----------------------------------------------------------------------------------------------------
    def write(
        self,
        pack: TaskPack,
        subjects: list[Subject],
        desk: Desk,
        add: Callable[[Draft], bool],
        progress: Progress | None,
    ) -> None:
        """Plan what is dealt, find what is due, and have its author write it; `add` keeps a draft."""
        model, done = self.authors[pack.name], 0
        self.find_plans(pack)
        if pack.dealt and not (pack.asks_parents and self.waiting.intersection(pack.above)):
            new = list(self.new_plans(pack))
            self.counts["plans"] += sum(add(plan) for plan in new)
            for plan in new:
                self.note(plan)
            self.find_plans(pack)
        expected = [(s, draft) for s in subjects if (draft := self.expect(pack, s))]
        todo = [one for s, draft in expected if (one := self.due(pack, s, draft))]
        self.counts.update(+Counter(known=len(expected) - len(todo)))

        def keep(one: Draft | Refusal) -> None:
            nonlocal done
            done += 1
            if isinstance(one, Refusal):
                self.refusals.append(one)
            elif add(one):
                self.note(one)
                self.chains[one.clip_id][one.task] = one
                self.counts["written"] += 1
            if progress:
                progress(pack.name, done, len(todo))

        ready = [one for one in todo if self.parents_there(one, desk, keep)]
        if model is None:
            for one in ready:
                keep(self.by_template(pack, one))
        elif ready:
            before = len(self.refusals)
            desk.write(pack, model, ready, keep)
            turned_away = [r for r in self.refusals[before:] if r.reason in ("denied", "third_party")]
            self.barred += [pack.name] if len(turned_away) == len(ready) else []
        if any(one.draft.id in desk.left for one in todo):
            self.waiting.add(pack.name)

    def due(self, pack: TaskPack, subject: Subject, draft: Draft) -> Todo | None:
        """What is to be written: a draft that is not there, or a mended one, once, in place of one with errors. What
        validate found tells the event, so an author that is not told the event mends nothing."""
        earlier = ""
        if draft.id in self.written:
            by_template = self.authors[pack.name] is None
            if by_template or draft.id not in self.faulty or "mends" in draft.spec or not draft.informed:
                return None
            earlier = json.dumps(self.written[draft.id].value, ensure_ascii=False)
            spec = {**draft.spec, "mends": draft.id, "findings": self.faulty[draft.id]}
            draft = replace(draft, id="", value=None, spec=spec)
        above = [self.chains[subject.clip.id][p] for p in pack.above]
        told = [self.written.get(d.id, replace(d, value=LATER)) for d in above if d.id in draft.parents]
        return Todo(subject, draft, {d.task: d.value for d in told}, earlier)

    def parents_there(self, one: Todo, desk: Desk, keep: Callable[[Draft | Refusal], None]) -> bool:
        """Are its parents written? What waits for an endpoint waits with it; what never comes is refused."""
        missing = [p for p in one.draft.parents if p not in self.written]
        if any(p in desk.left for p in missing):
            desk.left.add(one.draft.id)
            return desk.count is not None and self.authors[one.draft.task] is not None
        if missing:
            keep(refused(one, "parent_missing", f"no {', '.join(p for p, v in one.parents.items() if v == LATER)}"))
        return not missing

    def by_template(self, pack: TaskPack, one: Todo) -> Draft | Refusal:
        clip_id = one.draft.clip_id
        plan = self.plans.get((clip_id, pack.name))
        dealt = plan.value["plan"][clip_id] if plan else []
        value = write(pack, self.seen[clip_id, pack.spec["ontology"]][0], self.seed, clip_id, one.parents, dealt)
        if wrong := errors(pack, value):
            return refused(one, "schema", f"by template: {wrong[0].pointer}: {wrong[0].message:.200}")
        return replace(one.draft, value=value, written_at=now())

    # -- what is told of it ------------------------------------------------------------------------------------------
    def notes(self, recipe: Recipe) -> list[str]:
        """Attribute values no text mentions, reasons of refusal with an example each, and what to do."""
        unknown: Counter[tuple[str, str]] = Counter()
        for pack in list(self.packs.values())[:1]:
            for name, given in ((k, v) for s in self.subjects for k, v in s.attributes.items()):
                if name in words(pack) and given not in (None, "") and canonical(pack, name, given) is None:
                    unknown[name, str(given)[:40]] += 1
        hint = "left out; add it to the ontology's x-synonyms, or map it in the recipe"
        lines = [
            f"attribute {name}={given!r} is not a word of the ontology ({n} clips): {hint}"
            for (name, given), n in sorted(unknown.items())
        ]
        first = {r.reason: r.detail for r in reversed(self.refusals)}
        for reason, n in Counter(r.reason for r in self.refusals).most_common():
            lines.append(f"refused, {reason}: {n}, such as {first[reason]}")
        lines += [f"{name}: every request was turned away; mend that before going on" for name in self.barred]
        if not self.subjects:
            lines.append(f"no clip's event is resolved yet; next: autodrive resolve {recipe.path}")
        return lines


def current_drafts(ws: Workspace, recipe: Recipe, labels: Iterable[Label]) -> dict[tuple[str, str], Draft]:
    """By clip id and task, the drafts that fit the recipe and the events as resolved now; older ones are left aside."""
    now_due = Round(ws, recipe, labels)
    for pack in now_due.packs.values():
        now_due.find_plans(pack)
        for subject in now_due.subjects:
            now_due.expect(pack, subject)
    found = (draft for chain in now_due.chains.values() for draft in chain.values())
    return {(d.clip_id, d.task): now_due.written[d.id] for d in found if d.id in now_due.written}


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
    with ws.writer(Draft) as out, opened(ws, recipe) as desk:
        done = draft_all(ws, recipe, desk, out.add, limit, progress)
        ws.refuse(done.refusals)
        data = {"bill": desk.bill.rows()} if desk.bill.lines else {}
        ok = not done.barred and not desk.faults
        return Report("draft", dict(done.counts), done.notes(recipe) + desk.notes(), data, ok=ok, gate=desk.gate)


def draft_all(
    ws: Workspace,
    recipe: Recipe,
    desk: Desk,
    add: Callable[[Draft], bool],
    limit: int | None,
    progress: Progress | None,
) -> Round:
    """Go through the tasks, parents first. `desk` has models write, `add` keeps a draft."""
    done = Round(ws, recipe, ws.labels())
    done.faulty = open_errors(ws) if recipe["validate"]["flagged"] == "redraft" else {}
    done.counts["clips"] = len(done.subjects[:limit])
    for pack in done.packs.values():
        done.write(pack, done.subjects[:limit], desk, add, progress)
    done.counts.update(+Counter(refused=len(done.refusals), left=len(desk.left)))
    return done
