"""Annotations become Reviews: read what raters answered in a form, in Label Studio's plain JSON export. Pure.

Nothing is believed: names, choices, required answers, frames and edits are checked against the form and the schemas.
Frames are 1-based: seconds = (frame - 1) / fps. All reviews of an annotation carry its lead time, which is the clip's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from curation.forms import LETTERS, Control, expand, visible
from curation.ids import plain
from curation.tasks import TaskPack, at_pointer, errors, items
from curation.types import Clip, Draft, Json, Refusal, Review

TIME_BASIS = {"collision": "contact", "near_collision": "closest_approach"}


class RefusedError(Exception):
    """Why an annotation (or a part of it) is not taken: a short reason and one line for a person."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Sheet:
    """One annotation being read, and what it is read against."""

    clip: Clip
    data: Json
    answers: dict[str, Any]  # by control: chosen labels, texts, or for a segment (labels, first frame, last frame)
    origins: dict[str, str]  # by control: did it come from a prediction, was that changed
    base: Review  # what all its reviews share

    def review(self, task: str, verdict: str, **changes: Any) -> Review:
        return replace(self.base, task=task, verdict=verdict, id="", **changes)


def read_annotations(
    task: Json, config: str, packs: Sequence[TaskPack], clip: Clip, drafts: Mapping[str, Draft], *, round: str,
    project: str = "",
) -> tuple[list[Review], list[Refusal]]:  # fmt: skip
    """Reviews and refusals of one task in Label Studio's plain JSON export.

    `drafts` by id; `project` names the project if the export does not. A task that simulated raters marked gives
    simulated reviews. Refused whole: wrong names or choices, missing required answers, a second annotation by one
    rater, a skipped one, times outside the clip. Refused in part: an edit that breaks its task's schema.
    """
    reviews: list[Review] = []
    refusals: list[Refusal] = []
    seen: set[str] = set()
    known = expand(config, task["data"])
    for annotation in sorted(task.get("annotations", ()), key=lambda a: int(a["id"])):
        who = annotation.get("completed_by")
        who = who["id"] if isinstance(who, dict) else who
        reviewer = f"simulated-{who}" if (task.get("meta") or {}).get("simulated") else f"user-{who}"
        remote = f"{task.get('project') or project}/{annotation.get('task', task['id'])}/{annotation['id']}"
        try:
            if annotation.get("was_cancelled"):
                raise RefusedError("skipped", "the rater skipped this clip")
            if reviewer in seen:
                raise RefusedError("second_by_same_rater", f"{reviewer} judged this task before; the first one counts")
            seen.add(reviewer)
            sheet = _sheet(task, annotation, known, clip, reviewer, remote, round)
            own, bad = _read(sheet, packs, drafts)
            if own and (comment := " ".join(sheet.answers.get("comment", ())).strip()):
                own[0] = replace(own[0], comment=comment, id="")
        except RefusedError as e:
            own, bad = [], [(e.reason, e.detail)]
        reviews += own
        refusals += [Refusal("review", remote, reason, f"annotation {remote}: {detail}") for reason, detail in bad]
    return reviews, refusals


def _sheet(
    task: Json, annotation: Json, known: Mapping[str, Control], clip: Clip, reviewer: str, remote: str, round: str
) -> Sheet:
    data = task["data"]
    origin = "simulated" if reviewer.startswith("simulated-") else "human"
    results = [r for r in annotation.get("result") or () if r.get("type") not in (None, "relation")]
    answers: dict[str, Any] = {}
    for result in results:
        name = str(result.get("from_name"))
        if name not in known:
            raise RefusedError("unknown_control", f"the form has no control '{name}'")
        if name in answers:
            raise RefusedError("twice_answered", f"'{name}' is answered twice; leave one")
        answers[name] = _answer(known[name], result, clip)
    chosen = {k: v[0] if known[k].tag == "TimelineLabels" else v for k, v in answers.items()}
    shown = {n for n, c in known.items() if visible(c, known, chosen)}
    for name in sorted(shown):
        if known[name].required and not answers.get(name):
            raise RefusedError("missing_answer", f"'{name}' is required and empty")
    origins = {str(r.get("from_name")): str(r.get("origin") or "manual") for r in results}
    base = Review(
        clip_id=clip.id, task="clip", reviewer=reviewer, round=round, verdict="reject", origin=origin,
        guideline=str(data.get("guideline", "")), remote=remote, seconds=annotation.get("lead_time"),
        drafted_from=_origin(origins.values()),
        reviewed_at=str(annotation.get("updated_at") or annotation.get("created_at") or ""), id="-",
    )  # fmt: skip
    return Sheet(clip, data, {n: a for n, a in answers.items() if n in shown}, origins, base)


def _origin(origins: Iterable[str]) -> str:
    found = set(origins)
    return next((o for o in ("prediction-changed", "prediction") if o in found), "manual")


def _answer(control: Control, result: Json, clip: Clip) -> Any:
    value = result.get("value")
    if control.tag == "Number":
        frame = value.get("number") if isinstance(value, dict) else None
        if not isinstance(frame, (int, float)) or not 1 <= frame <= clip.frames or frame % 1:
            raise RefusedError("outside_clip", f"'{control.name}' is {frame}; the clip has frames 1-{clip.frames}")
        return [frame]
    key = {"Choices": "choices", "TextArea": "text", "TimelineLabels": "timelinelabels"}.get(control.tag, "")
    given = value.get(key) if isinstance(value, dict) else None
    given = [given] if isinstance(given, str) else given
    if not isinstance(given, list) or not all(isinstance(g, str) for g in given):
        raise RefusedError("malformed", f"'{control.name}' has no {key or 'value'}")
    if control.tag == "TextArea":
        return [g.strip() for g in given if g.strip()]
    for choice in given:
        if choice not in control.choices:
            raise RefusedError("unknown_choice", f"'{control.name}' has no choice '{choice[:60]}'")
    if control.tag == "Choices" and control.single and len(given) > 1:
        raise RefusedError("unknown_choice", f"'{control.name}' takes one choice, not {len(given)}")
    if control.tag != "TimelineLabels":
        return given
    ranges = value.get("ranges") if isinstance(value, dict) else None
    if not isinstance(ranges, list) or len(ranges) != 1 or not all(isinstance(r, dict) for r in ranges):
        raise RefusedError("malformed", f"'{control.name}' must be one range of frames")
    start, end = ranges[0].get("start"), ranges[0].get("end")
    if not isinstance(start, (int, float)) or not isinstance(end, (int, float)):
        raise RefusedError("malformed", f"'{control.name}' has a range without frames")
    if not 1 <= start <= end <= clip.frames:
        raise RefusedError("outside_clip", f"'{control.name}' spans frames {start}-{end}; the clip has 1-{clip.frames}")
    return given, start, end


def _read(
    sheet: Sheet, packs: Sequence[TaskPack], drafts: Mapping[str, Draft]
) -> tuple[list[Review], list[tuple[str, str]]]:
    if problems := sheet.answers.get("clip_problem"):
        return [sheet.review("clip", "reject", faults=tuple(sorted(problems)))], []
    reviews: list[Review] = []
    refused: list[tuple[str, str]] = []
    for pack in packs:
        if f"{pack.name}_class" in sheet.answers:
            reviews.append(_read_event(sheet, pack))
        draft = drafts.get(sheet.data.get("drafts", {}).get(pack.name, ""))
        if draft is None:
            continue
        blind, bad = _read_blind(sheet, pack, draft, [p.name for p in packs])
        reviews, refused = reviews + blind, refused + bad
        for item_id, suffix, item in [(None, "", draft.value)] + [
            (i, f"_{n}", v) for n, (i, v) in enumerate(items(pack, draft.value))
        ]:
            try:
                reviews += _read_verdict(sheet, pack, draft, item_id, suffix, item)
            except RefusedError as e:
                refused.append((e.reason, e.detail))
    return reviews, refused


def _read_event(sheet: Sheet, pack: TaskPack) -> Review:
    """The rater's own value: the edit of nothing where it was asked blind, an accept where a prediction was kept."""
    said = sheet.answers[f"{pack.name}_class"][0]
    if said == "cannot_tell":
        return sheet.review(pack.name, "cannot_tell")
    value: Json = dict.fromkeys(pack.schema["properties"])
    value |= {"class": said, "ego_role": "none", "time_basis": "unknown"}
    if said != "normal":
        value["time_basis"] = TIME_BASIS.get(said, "unknown")
        value["ego_role"] = "unknown"
        for name, answer in sheet.answers.items():
            key = name.removeprefix(f"{pack.name}_")
            if key in value and key != "class":
                value[key] = answer[0]
        _, *frames = sheet.answers.get(f"{pack.name}_segment", ([], None, None))
        for n, key in enumerate(("alert", "event")):  # frames that were typed count before the segment
            (frame,) = sheet.answers.get(f"{pack.name}_{key}_frame", [frames[n]])
            frames[n], value[f"{key}_s"] = frame, frame and round((frame - 1) / sheet.clip.fps, 4)
        if None not in frames and frames[0] > frames[1]:
            raise RefusedError("outside_clip", f"the alert (frame {frames[0]}) comes after the event ({frames[1]})")
    for error in errors(pack, value):
        raise RefusedError("breaks_schema", f"{error.pointer or pack.name}: {error.message}")
    asked = (f"{pack.name}_{name}" for name in ("class", "segment", "alert_frame", "event_frame"))
    marks = [sheet.origins[n] for n in asked if n in sheet.answers]
    verdict = "accept" if set(marks) == {"prediction"} else "edit"
    return sheet.review(pack.name, verdict, value=value, drafted_from=_origin(marks))


def _read_blind(
    sheet: Sheet, pack: TaskPack, draft: Draft, tasks: Sequence[str]
) -> tuple[list[Review], list[tuple[str, str]]]:
    """What was asked before the draft was seen (blind.xml): no draft is named, values are the rater's own."""
    reviews: list[Review] = []
    refused = []
    known = dict(items(pack, draft.value))
    own: Json = {}
    for name, answer in sheet.answers.items():
        task = max((t for t in tasks if name.startswith(f"{t}_")), key=len, default="")  # a task's name may hold "_"
        rest = name.removeprefix(f"{task}_")
        what, _, n = rest.rpartition("_")
        if task != pack.name or what in ("verdict", "fault", "edit") or rest in ("verdict", "fault", "edit"):
            continue
        if what not in ("letter", "words") or not n.isdigit():
            own[rest] = answer[0]
            continue
        item_id = sheet.data[f"{task}_{'closed' if what == 'letter' else 'open'}"][int(n)]["id"]
        said = answer[0]
        if said.lower().replace(" ", "_") == "cannot_tell":
            reviews.append(sheet.review(task, "cannot_tell", item_id=item_id))
            continue
        options = known[item_id].get("options") or []
        if what == "letter":
            if LETTERS.index(said) >= len(options):
                refused.append(("not_an_option", f"'{name}': the question has no option {said}"))
                continue
            said = options[LETTERS.index(said)]
        value = {**known[item_id], "answer": said}
        reviews.append(sheet.review(task, "edit", value=value, item_id=item_id))
    if own:
        shrug = "cannot_tell" in own.values()
        reviews.append(sheet.review(pack.name, "cannot_tell" if shrug else "edit", value=None if shrug else own))
    return reviews, refused


def _read_verdict(
    sheet: Sheet, pack: TaskPack, draft: Draft, item_id: str | None, suffix: str, judged: Any
) -> list[Review]:
    """The verdict on a draft, or on one of its items; none if the form asks for none."""
    verdict = next(iter(sheet.answers.get(f"{pack.name}_verdict{suffix}", ())), None)
    if verdict is None:
        return []
    faults = tuple(sorted(sheet.answers.get(f"{pack.name}_fault{suffix}", ())))
    value = judged if verdict == "accept" else None
    if verdict == "edit":
        value = _edited(pack, draft, item_id, judged, "\n".join(sheet.answers.get(f"{pack.name}_edit{suffix}", ())))
        if plain(value) == plain(judged):
            verdict, value = "accept", judged  # opened, changed nothing
    return [sheet.review(pack.name, verdict, value=value, draft_id=draft.id, item_id=item_id, faults=faults)]


def _edited(pack: TaskPack, draft: Draft, item_id: str | None, judged: Any, text: str) -> Any:
    """What was judged, with the rater's text where task.json says. Raises RefusedError if that breaks the schema."""
    where = pack.spec["edit"]
    if where is None:
        raise RefusedError("no_edit", f"'{pack.name}' has no text that an edit replaces (task.json: edit)")
    whole = copy.deepcopy(plain(draft.value))
    part = whole if item_id is None else dict(items(pack, whole))[item_id]
    parent, _, last = where.rpartition("/")
    options = at_pointer(part, parent).get("options") or [text]
    if text not in options:
        raise RefusedError("not_an_option", f"the edit of {pack.name}{where} must be one of its options, word for word")
    at_pointer(part, parent)[last] = text
    for error in errors(pack, whole):
        raise RefusedError("breaks_schema", f"the edit of {pack.name}{error.pointer}: {error.message}")
    return part


def revise(known: Iterable[Review], fresh: Sequence[Review], tasks: set[str]) -> list[Review]:
    """What is new in `fresh`: first readings, changed ones as the next revision, and `withdrawn` for what is gone.

    `known`: stored reviews; `tasks`: the "project/task" that were looked at, so that only there absence means deletion.
    """

    def place(r: Review) -> tuple[str, str, str]:
        return r.remote, r.task, r.item_id or ""

    def content(r: Review) -> Any:
        return plain([r.verdict, r.value, r.draft_id, r.faults, r.comment, r.reviewer])

    latest: dict[tuple[str, str, str], Review] = {}
    for r in known:
        if r.remote.rpartition("/")[0] in tasks and r.revision >= latest.get(place(r), r).revision:
            latest[place(r)] = r
    out = []
    for r in fresh:
        old = latest.pop(place(r), None)
        if old is None:
            out.append(r)
        elif old.id != r.id and content(old) != content(r):
            out.append(replace(r, revision=old.revision + 1, id=""))
    for old in latest.values():
        if old.verdict != "withdrawn":
            n = old.revision + 1
            out.append(replace(old, verdict="withdrawn", value=None, faults=(), comment="", revision=n, id=""))
    return out
