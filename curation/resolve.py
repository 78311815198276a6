"""resolve: reviews → Labels. A view: recomputed whole from reviews, drafts, decisions and the recipe's trust.

Events. With `event.basis: source` the source's own event is the label. Otherwise the class is decided by the raters:
all alike is `agreed`, more than half `majority`, one rater `single`, anything else `conflict`; an adjudication wins.
Times are the median over the raters who chose the winning class. A clip that most raters call unusable is `excluded`.

Texts. The verdicts on the current draft decide: most accept → the draft; most reject → `rejected`; most edit → the
edit, if there is one rater or the edits are alike, else `conflict`. Items are decided one by one: rejected ones leave
the value, edited ones replace theirs. No review is `unreviewed`; a draft with an open error is `excluded`.
"""

from __future__ import annotations

import copy
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from curation.annotators import counted
from curation.checks import open_errors
from curation.draft import current_drafts
from curation.exchange import where
from curation.ids import canonical_json
from curation.recipe import Recipe
from curation.store import Workspace, current_clips
from curation.tasks import TaskPack, at_pointer, errors, items, load_packs
from curation.types import Clip, Draft, Event, Json, Label, Progress, Report, Review

GRAVITY = ("collision", "near_collision", "normal")
ON_EVENTS = ("triage", "blind", "adjudication")  # a class confirmed beside a draft is no evidence of its own


def target_event(events: Iterable[Event]) -> Event | None:
    """The clip's target: the earliest ego-involved event of the gravest class; else the earliest of the gravest."""

    def rank(e: Event) -> tuple[bool, int, float]:
        gravest = min((GRAVITY.index(c) for c in e.classes if c in GRAVITY), default=len(GRAVITY))
        return (e.ego_role in ("witness", "none"), gravest, e.time_s if e.time_s is not None else float("inf"))

    return min(events, key=rank, default=None)


def event_value(event: Event) -> Json:
    """An event as a value of the task `event`, times in clip seconds."""
    return {
        "class": event.event_class,
        "alert_s": event.alert_s,
        "event_s": event.time_s,
        "ego_role": event.ego_role,
        "partner": event.partner,
        "time_basis": event.time_basis,
    }


def source_label(clip: Clip) -> Label:
    """What the source says, taken on trust."""
    event = target_event(clip.events)
    if event is None or event.event_class is None:
        held = " or ".join(event.classes) if event else "nothing"
        return Label(clip.id, "event", None, "excluded", detail=f"the source says {held}: review decides")
    return Label(clip.id, "event", event_value(event), "source")


def event_label(clip: Clip, reviews: list[Review]) -> Label:
    """The raters' event. `reviews`: the standing ones of this clip, tasks `event` and `clip`."""
    ids = tuple(sorted(r.id for r in reviews))
    simulated = any(r.origin == "simulated" for r in reviews)
    newest = {r.reviewer: r for r in sorted(reviews, key=_told) if r.task == "event" and _names_a_class(r)}
    judged = list(newest.values())  # one vote a rater

    def label(value: Any, basis: str, detail: str = "") -> Label:
        return Label(clip.id, "event", value, basis, None, ids, simulated, len(judged), detail)

    problems = [r for r in reviews if r.task == "clip" and r.verdict == "reject"]
    if 2 * len({r.reviewer for r in problems}) > len({r.reviewer for r in reviews}):
        faults = sorted({f for r in problems for f in r.faults})
        return label(None, "excluded", "clip problem: " + ", ".join(faults))
    decided = [r for r in judged if r.round == "adjudication"]
    if decided:
        return label(_combine([decided[-1].value]), "adjudicated")
    if not judged:
        return label(None, "unreviewed" if not reviews else "rejected", "no rater named a class")
    votes = Counter(r.value["class"] for r in judged)
    winner, basis = _vote(votes)
    if basis == "conflict":
        return label(None, basis, ", ".join(f"{c} {n}" for c, n in sorted(votes.items())))
    value = _combine([r.value for r in judged if r.value["class"] == winner])
    admissible = {c for e in clip.events for c in e.classes}
    detail = f"the source says {' or '.join(sorted(admissible))}" if admissible and winner not in admissible else ""
    return label(value, basis, detail)


def _vote(votes: Counter[str]) -> tuple[str, str]:
    """(winner, basis): all alike, more than half, or one rater alone; anything else is a conflict."""
    winner, count = min(votes.items(), key=lambda kv: (-kv[1], kv[0]))
    if 2 * count <= votes.total():
        return winner, "conflict"
    return winner, "single" if votes.total() == 1 else "agreed" if count == votes.total() else "majority"


def _told(r: Review) -> tuple[bool, str, str]:
    """Order of judgements: adjudications last, then by time; the id where clocks say nothing."""
    return r.round == "adjudication", r.reviewed_at, r.id


def on_event(reviews: Iterable[Review]) -> list[Review]:
    """Of a clip's reviews those that decide its event."""
    return [r for r in reviews if r.task == "clip" or (r.task == "event" and r.round in ON_EVENTS)]


def _names_a_class(r: Review) -> bool:
    return r.verdict in ("accept", "edit") and bool(r.value)


def _combine(values: list[Json]) -> Json:
    """One value from several raters of one class: median times, most frequent roles (a tie is unknown)."""
    out: Json = {"class": values[0]["class"]}
    for key in ("alert_s", "event_s"):
        times = [v[key] for v in values if v.get(key) is not None]
        out[key] = round(statistics.median(times), 3) if times else None
    for key, tie in (("ego_role", "unknown"), ("partner", None), ("time_basis", "unknown")):
        ranked = Counter(v.get(key) or tie for v in values).most_common(2)
        out[key] = tie if len(ranked) > 1 and ranked[0][1] == ranked[1][1] else ranked[0][0]
    return out


def text_label(pack: TaskPack, draft: Draft, reviews: list[Review], error: str = "") -> Label:
    """The reviewed text. `reviews`: the standing ones that judged this draft; `error`: why validation refuses it."""
    ids = tuple(sorted(r.id for r in reviews))
    simulated = any(r.origin == "simulated" for r in reviews)
    by_item = _verdicts(reviews)
    raters = len({r.reviewer for own in by_item.values() for r in own})

    def label(value: Any, basis: str, detail: str = "") -> Label:
        return Label(draft.clip_id, draft.task, value, basis, draft.id, ids, simulated, raters, detail)

    if error:
        return label(None, "excluded", error)
    if not by_item:
        return label(None, "rejected", "nobody could tell") if reviews else label(draft.value, "unreviewed")
    value, basis = draft.value, "single" if raters == 1 else "agreed"
    if None in by_item:
        value, basis = _decide(draft.value, by_item.pop(None))
        if value is None:
            return label(None, basis)
    drafted = dict(items(pack, value))
    decided = {item: _decide(drafted.get(item or ""), own) for item, own in by_item.items()}
    for r in reviews:  # an item that nobody could tell goes the way of a text that nobody could tell
        if r.item_id is not None:
            decided.setdefault(r.item_id, (None, "rejected"))
    if decided:
        kept = [new for item, old in drafted.items() if (new := decided.get(item, (old, ""))[0]) is not None]
        if not kept:
            return label(None, "rejected", "every item was rejected")
        value = copy.deepcopy(value)
        at_pointer(value, pack.spec["items"])[:] = kept
        if faults := errors(pack, value):
            return label(None, "rejected", f"what the reviews leave breaks the schema: {faults[0].message}")
        basis = max([basis, *(b for _, b in decided.values() if b in BEST_FIRST)], key=BEST_FIRST.index)
    return label(value, basis)


BEST_FIRST = ("adjudicated", "agreed", "majority", "single")


def _verdicts(reviews: Iterable[Review]) -> dict[str | None, list[Review]]:
    """The verdicts on one draft that decide something, by item (None: the whole), in the order they were told."""
    by_item: dict[str | None, list[Review]] = defaultdict(list)
    for r in sorted(reviews, key=_told):
        if r.verdict in ("accept", "edit", "reject"):
            by_item[r.item_id].append(r)
    return by_item


def disputed(reviews: Iterable[Review]) -> bool:
    """Is there a draft or item among these verdicts on one draft on which the raters do not come to a decision?"""
    return any(_decide(None, own)[1] == "conflict" for own in _verdicts(reviews).values())


def _decide(drafted: Any, reviews: list[Review]) -> tuple[Any, str]:
    """(value, basis) of a draft or of one of its items from the verdicts on it; value None: do not publish."""
    final = [r for r in reviews if r.round == "adjudication"]
    if final:
        r = final[-1]
        return {"accept": drafted, "edit": r.value, "reject": None}[r.verdict], "adjudicated"
    verdict, basis = _vote(Counter(r.verdict for r in reviews))
    if basis == "conflict":
        return None, basis
    if verdict == "accept":
        return drafted, basis
    if verdict == "reject":
        return None, "rejected"
    edits = {canonical_json(r.value): r.value for r in reviews if r.verdict == "edit"}
    return (next(iter(edits.values())), basis) if len(edits) == 1 else (None, "conflict")


def run(ws: Workspace, recipe: Recipe, *, limit: int | None = None, progress: Progress | None = None) -> Report:
    """Write the view `labels`: events first, then the texts drafted from the events that are resolved.

    With `limit` the first clips are resolved and counted, but nothing is written: a part is no view.
    """
    packs = load_packs(["event", *recipe["tasks"]], recipe.base)
    clips = list(current_clips(ws).values())[:limit]
    reviews: dict[str, list[Review]] = defaultdict(list)
    judged, aside = counted(ws, recipe)
    for r in judged:
        reviews[r.clip_id].append(r)
    labels: list[Label] = []
    for clip in clips:
        if clip.role == "pre_event":
            continue
        own = on_event(reviews[clip.id])
        labels.append(source_label(clip) if recipe["event"]["basis"] == "source" else event_label(clip, own))
    open_ = {"triage": {x.clip_id for x in labels if x.basis == "conflict"}, "text": set()}
    labels += _outcomes(clips, {label.clip_id: label for label in labels})
    simulated = {x.clip_id for x in labels if x.simulated}
    flagged = refused(ws, recipe)
    for (clip_id, task), draft in current_drafts(ws, recipe, labels).items():
        if packs[task].spec["judges"]:
            continue
        own = [r for r in reviews[clip_id] if r.task == task and r.draft_id == draft.id]
        text = text_label(packs[task], draft, own, flagged.get(draft.id, ""))
        if draft.id not in flagged and disputed(own):
            open_["text"].add(clip_id)
        labels.append(replace(text, simulated=text.simulated or clip_id in simulated))
    labels.sort(key=lambda label: (label.clip_id, label.task))
    counts = dict(sorted(Counter(f"{x.task}.{x.basis}" for x in labels).items()))
    if limit is None:
        ws.write_view("labels", labels)
    notes = [f"{n} reviews do not count: {why}" for why, n in sorted(Counter(aside.values()).items())]
    send = f"wait for an adjudicator: autodrive review push {recipe.path} sends them out"
    if recipe["review"]["raters"]["kind"] != "simulated":  # those adjudicate nothing
        places = {name: where(ws, recipe, f"{name}.adjudication") for name, own in open_.items() if own}
        notes += [f"{len(open_[name])} clips with conflicts {send}; {place}" for name, place in places.items()]
    notes += [f"only {len(clips)} clips looked at, nothing written"] if limit else []
    return Report("resolve", counts, notes)


def _outcomes(clips: list[Clip], events: dict[str, Label]) -> list[Label]:
    """A pre_event clip inherits its parent's resolved class as `outcome`; it is never asked of a rater."""
    out = []
    for clip in clips:
        parent = events.get(clip.parent_id or "")
        if clip.role != "pre_event" or parent is None or parent.value is None:
            continue
        value = {"outcome": parent.value["class"], "horizon_s": clip.horizon_s, "visible": clip.visible}
        out.append(
            Label(clip.id, "outcome", value, parent.basis, None, parent.review_ids, parent.simulated, parent.raters)
        )
    return out


def refused(ws: Workspace, recipe: Recipe) -> dict[str, str]:
    """Drafts that validation refuses, with the first reason; none if the recipe has people judge them."""
    left = {} if recipe["validate"]["flagged"] == "review_first" else open_errors(ws)
    return {draft: messages[0] for draft, messages in left.items()}
