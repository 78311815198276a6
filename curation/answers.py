"""Annotations become Reviews: read what raters answered in a form, in Label Studio's plain JSON export. Pure.

Nothing is believed: names, choices, required answers, frames and edits are checked against the form and the schemas.
Frames are 1-based: seconds = (frame - 1) / fps. All reviews of an annotation carry its lead time, which is the clip's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import isfinite
from typing import Any

from curation.errors import Refused
from curation.forms import LETTERS, Control, expand, visible
from curation.ids import plain
from curation.tasks import TaskPack, at_pointer, errors, items
from curation.types import Clip, Draft, Json, Refusal, Review

VALUES = {"Choices": "choices", "TextArea": "text", "TimelineLabels": "timelinelabels"}  # where a tag has its answer
JUDGES = ("verdict", "fault", "edit")
TIME_BASIS = {"collision": "contact", "near_collision": "closest_approach"}


@dataclass(frozen=True)
class Sheet:
    """One annotation being read, and what it is read against."""

    clip: Clip
    data: Json
    answers: dict[str, dict[str, Any]]  # by task and what it asks: chosen labels, texts, (labels, first, last frame)
    origins: dict[str, str]  # by control: did it come from a prediction, was that changed
    base: Json  # what all its reviews share

    def review(self, task: str, verdict: str, **changes: Any) -> Review:
        return Review(task=task, verdict=verdict, **(self.base | changes))


def read_annotations(
    task: Json, config: str, packs: Sequence[TaskPack], clip: Clip, drafts: Mapping[str, Draft], *, round: str,
    project: str = "", seen: set[str] | None = None,
) -> tuple[list[Review], list[Refusal]]:  # fmt: skip
    """Reviews and refusals of one task in Label Studio's plain JSON export.

    `drafts` by id; `project` names the project if the export does not; `seen`: who judged this in another copy of the
    task, and does in this one. A task that simulated raters marked gives simulated reviews. Refused whole: wrong names
    or choices, missing required answers, a second annotation by one rater, a skipped one, times outside the clip.
    Refused in part: an edit that breaks its task's schema.
    """
    reviews: list[Review] = []
    refusals: list[Refusal] = []
    seen = set() if seen is None else seen
    known = expand(config, task["data"])
    kind = "simulated" if (task.get("meta") or {}).get("simulated") else "user"
    sound = [a for a in task.get("annotations", ()) if isinstance(a, dict)]
    for annotation in sorted(sound, key=lambda a: a["id"] if isinstance(a.get("id"), int) else 0):
        who = annotation.get("completed_by")
        who = who.get("id") if isinstance(who, dict) else who
        reviewer = f"{kind}-{who}"
        remote = f"{task.get('project') or project}/{task['id']}/{annotation.get('id')}"
        try:
            named = isinstance(who, (int, str)) and not isinstance(who, bool) and str(who).strip()
            if not isinstance(annotation.get("id"), int) or not named:
                raise Refused("malformed", "it has no number of its own, or does not say who completed it")
            if annotation.get("was_cancelled"):
                raise Refused("skipped", "the rater skipped this clip")
            if reviewer in seen:
                raise Refused("second_by_same_rater", f"{reviewer} judged this task before; the first one counts")
            seen.add(reviewer)
            base = {"reviewer": reviewer, "origin": "simulated" if kind == "simulated" else "human"}
            sheet = _sheet(task["data"], annotation, known, packs, clip, {**base, "remote": remote, "round": round})
            read = list(_read(sheet, packs, drafts))
        except Refused as e:
            read = [e]
        own = [r for r in read if isinstance(r, Review)]
        if own and (comment := " ".join(sheet.answers[""].get("comment", ())).strip()):
            own[0] = replace(own[0], comment=comment, id="")
        reviews += own
        refusals += [
            Refusal("review", remote, e.reason, f"annotation {remote}: {e.detail}")
            for e in read if isinstance(e, Refused)
        ]  # fmt: skip
    return reviews, refusals


def _sheet(
    data: Json, annotation: Json, known: Mapping[str, Control], packs: Sequence[TaskPack], clip: Clip, base: Json
) -> Sheet:
    told = annotation.get("result") or []
    if not isinstance(told, list) or not all(isinstance(r, dict) for r in told):
        raise Refused("malformed", "its result is no list of answers")
    results = [r for r in told if r.get("type") not in (None, "relation")]
    given: dict[str, Any] = {}
    for result in results:
        name = str(result.get("from_name"))
        if name not in known:
            raise Refused("unknown_control", f"the form has no control {name!r}")
        if name in given:
            raise Refused("twice_answered", f"'{name}' is answered twice; leave one")
        given[name] = _answer(known[name], result, clip)
    shown = visible(known, {k: v[0] if known[k].tag == "TimelineLabels" else v for k, v in given.items()})
    if missing := [n for n in shown if known[n].required and not given.get(n)]:
        raise Refused("missing_answer", f"'{min(missing)}' is required and empty")
    origins = {str(r.get("from_name")): str(r.get("origin") or "manual") for r in results}
    base |= {
        "clip_id": clip.id, "guideline": str(data.get("guideline", "")),
        "seconds": _seconds(annotation.get("lead_time")), "drafted_from": _origin(origins.values()),
        "reviewed_at": str(annotation.get("updated_at") or annotation.get("created_at") or ""),
    }  # fmt: skip
    tasks = tuple(p.name for p in packs)
    answers: dict[str, dict[str, Any]] = {name: {} for name in ("", *tasks)}
    for name in given:
        if name in shown:
            task, what = _split(name, tasks)
            answers[task][what] = given[name]
    return Sheet(clip, data, answers, origins, base)


def _seconds(told: Any) -> float | None:
    return told if isinstance(told, (int, float)) and isfinite(told) else None


@cache
def _split(name: str, tasks: tuple[str, ...]) -> tuple[str, str]:
    """A control's task (it may hold "_" itself) and what the control asks of it; no task if it is the frame's own."""
    task = max((t for t in tasks if name.startswith(f"{t}_")), key=len, default="")
    return task, name.removeprefix(f"{task}_")


def _origin(origins: Iterable[str]) -> str:
    found = set(origins)
    return next((o for o in ("prediction-changed", "prediction") if o in found), "manual")


def _answer(control: Control, result: Json, clip: Clip) -> Any:
    value = result.get("value")
    if control.tag == "Number":
        frame = value.get("number") if isinstance(value, dict) else None
        if not isinstance(frame, (int, float)) or not 1 <= frame <= clip.frames or frame % 1:
            raise Refused("outside_clip", f"'{control.name}' is {frame!r}; the clip has frames 1-{clip.frames}")
        return [frame]
    key = VALUES.get(control.tag, "")
    given = value.get(key) if isinstance(value, dict) else None
    given = [given] if isinstance(given, str) else given
    if not isinstance(given, list) or not all(isinstance(g, str) for g in given):
        raise Refused("malformed", f"'{control.name}' has no {key or 'value'}")
    if control.tag == "TextArea":
        texts = (g.encode("utf-8", "replace").decode().strip() for g in given)  # half a character is none
        return [text for text in texts if text]
    for choice in given:
        if choice not in control.choices:
            raise Refused("unknown_choice", f"'{control.name}' has no choice {choice[:60]!r}")
    if control.tag == "Choices" and control.single and len(given) > 1:
        raise Refused("unknown_choice", f"'{control.name}' takes one choice, not {len(given)}")
    if control.tag != "TimelineLabels":
        return given
    ranges = value.get("ranges") if isinstance(value, dict) else None
    if not isinstance(ranges, list) or len(ranges) != 1 or not all(isinstance(r, dict) for r in ranges):
        raise Refused("malformed", f"'{control.name}' must be one range of frames")
    start, end = ranges[0].get("start"), ranges[0].get("end")
    if not isinstance(start, (int, float)) or not isinstance(end, (int, float)):
        raise Refused("malformed", f"'{control.name}' has a range without frames")
    if not 1 <= start <= end <= clip.frames:
        raise Refused("outside_clip", f"'{control.name}' spans frames {start}-{end}; the clip has 1-{clip.frames}")
    return given, start, end


def _read(sheet: Sheet, packs: Sequence[TaskPack], drafts: Mapping[str, Draft]) -> Iterator[Review | Refused]:
    """What the sheet says. Raises Refused if all of it is refused, yields it for a part."""
    if problems := sheet.answers[""].get("clip_problem"):
        yield sheet.review("clip", "reject", faults=tuple(sorted(problems)))
        return
    for pack in packs:
        if "class" in sheet.answers[pack.name]:
            yield _read_event(sheet, pack)
        draft = drafts.get(sheet.data.get("drafts", {}).get(pack.name, ""))
        if draft is None:
            continue
        yield from _read_blind(sheet, pack, draft)
        parts = [(i, f"_{n}", item) for n, (i, item) in enumerate(items(pack, draft.value))]
        for item_id, suffix, judged in [(None, "", draft.value), *parts]:
            if f"verdict{suffix}" in sheet.answers[pack.name]:
                try:
                    yield _read_verdict(sheet, pack, draft, item_id, suffix, judged)
                except Refused as e:
                    yield e


def _read_event(sheet: Sheet, pack: TaskPack) -> Review:
    """The rater's own value: the edit of nothing where it was asked blind, an accept where a prediction was kept."""
    answers = sheet.answers[pack.name]
    said = answers["class"][0]
    if said == "cannot_tell":
        return sheet.review(pack.name, "cannot_tell")
    value: Json = dict.fromkeys(pack.schema["properties"])
    value |= {"class": said, "ego_role": "none", "time_basis": "unknown"}
    if said != "normal":
        value["time_basis"] = TIME_BASIS.get(said, "unknown")
        value["ego_role"] = "unknown"
        value |= {key: answer[0] for key, answer in answers.items() if key in value}
        _, *frames = answers.get("segment", ([], None, None))
        for n, key in enumerate(("alert", "event")):  # frames that were typed count before the segment
            (frame,) = answers.get(f"{key}_frame", [frames[n]])
            frames[n], value[f"{key}_s"] = frame, frame and round((frame - 1) / sheet.clip.fps, 4)
        if None not in frames and frames[0] > frames[1]:
            raise Refused("outside_clip", f"the alert (frame {frames[0]}) comes after the event ({frames[1]})")
    for error in errors(pack, value):
        raise Refused("breaks_schema", f"{error.pointer or pack.name}: {error.message}")
    asked = ("class", "segment", "alert_frame", "event_frame")
    marks = [sheet.origins[f"{pack.name}_{what}"] for what in asked if what in answers]
    verdict = "accept" if set(marks) == {"prediction"} else "edit"
    return sheet.review(pack.name, verdict, value=value, drafted_from=_origin(marks))


def _read_blind(sheet: Sheet, pack: TaskPack, draft: Draft) -> Iterator[Review | Refused]:
    """What was asked before the draft was seen (blind.xml): no draft is named, values are the rater's own."""
    own: Json = {}
    for name, answer in sheet.answers[pack.name].items():
        what, _, n = name.rpartition("_")
        if what in JUDGES or name in JUDGES:
            continue
        said = answer[0]
        if what not in ("letter", "words") or not n.isdigit():
            own[name] = said
            continue
        item_id = sheet.data[f"{pack.name}_{'closed' if what == 'letter' else 'open'}"][int(n)]["id"]
        if said.lower().replace(" ", "_") == "cannot_tell":
            yield sheet.review(pack.name, "cannot_tell", item_id=item_id)
            continue
        item = dict(items(pack, draft.value))[item_id]
        if what == "letter":
            options = item.get("options") or []
            if LETTERS.index(said) >= len(options):
                yield Refused("not_an_option", f"'{pack.name}_{name}': the question has no option {said}")
                continue
            said = options[LETTERS.index(said)]
        yield sheet.review(pack.name, "edit", value={**item, "answer": said}, item_id=item_id)
    if own:
        shrug = "cannot_tell" in own.values()
        yield sheet.review(pack.name, "cannot_tell" if shrug else "edit", value=None if shrug else own)


def _read_verdict(sheet: Sheet, pack: TaskPack, draft: Draft, item_id: str | None, suffix: str, judged: Any) -> Review:
    """The verdict on a draft, or on one of its items."""
    answers = sheet.answers[pack.name]
    verdict = answers[f"verdict{suffix}"][0]
    faults = tuple(sorted(answers.get(f"fault{suffix}", ())))
    value = judged if verdict == "accept" else None
    if verdict == "edit":
        value = _edited(pack, draft, item_id, judged, "\n".join(answers.get(f"edit{suffix}", ())))
        if plain(value) == plain(judged):
            verdict, value = "accept", judged  # opened, changed nothing
    return sheet.review(pack.name, verdict, value=value, draft_id=draft.id, item_id=item_id, faults=faults)


def _edited(pack: TaskPack, draft: Draft, item_id: str | None, judged: Any, text: str) -> Any:
    """What was judged, with the rater's text where task.json says. Raises Refused if that breaks the schema."""
    where = pack.spec["edit"]
    if where is None:
        raise Refused("no_edit", f"'{pack.name}' has no text that an edit replaces (task.json: edit)")
    whole = copy.deepcopy(plain(draft.value))
    part = whole if item_id is None else dict(items(pack, whole))[item_id]
    parent, _, last = where.rpartition("/")
    options = at_pointer(part, parent).get("options") or [text]
    if text not in options:
        raise Refused("not_an_option", f"the edit of {pack.name}{where} must be one of its options, word for word")
    at_pointer(part, parent)[last] = text
    for error in errors(pack, whole):
        raise Refused("breaks_schema", f"the edit of {pack.name}{error.pointer}: {error.message}")
    return part


def revise(known: Iterable[Review], fresh: Iterable[Review]) -> list[Review]:
    """What is new in `fresh`: first readings, changed ones as the next revision, and `withdrawn` for what is gone.

    Both are of one task at the server: `known` what is stored of it, `fresh` what it says now.
    """

    def place(r: Review) -> tuple[str, str, str]:
        return r.remote, r.task, r.item_id or ""

    def content(r: Review) -> Any:
        return plain([r.verdict, r.value, r.draft_id, r.faults, r.comment, r.reviewer])

    latest: dict[tuple[str, str, str], Review] = {}
    for r in known:
        if r.revision >= latest.get(place(r), r).revision:
            latest[place(r)] = r
    out = []
    for r in fresh:
        old = latest.pop(place(r), None)
        if old is None:
            out.append(r)
        elif old.id != r.id and content(old) != content(r):
            out.append(replace(r, revision=old.revision + 1, id=""))
    gone: Json = {"verdict": "withdrawn", "value": None, "faults": (), "comment": "", "id": ""}
    return out + [replace(r, revision=r.revision + 1, **gone) for r in latest.values() if r.verdict != "withdrawn"]
