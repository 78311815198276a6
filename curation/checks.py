"""The rules of validate. Each rule is one documented function over a value and its context that yields findings.

Rules go by the value's shape (texts, times, steps, questions with options) and by the ontology's words, not by task.
What may be right is a warning or nothing: an error says that the record contradicts itself, its clip or its event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

from curation.check_answers import answers
from curation.check_form import form_faults
from curation.check_questions import leaks, options
from curation.check_text import (
    NOUN,
    Context,
    Finding,
    Mark,
    attribute_clash,
    class_clash,
    gap,
    read,
)
from curation.check_times import Told
from curation.store import Workspace, decisions
from curation.tasks import TaskPack
from curation.types import Json

ONLY = re.compile(r"\bnot (just|merely|only|simply) (a |an )?$")
RELATIVE = re.compile(  # a fact, then; but there is time, or room, before what may come
    r"(?<!time )(?<!room )(?<!space )(?<!seconds )\b(before|until|after|prior to|leading (up )?to) (the|a|this) $", re.I
)
FORETOLD = re.compile(r"\b(will|is going to|is about to|is bound to) (\w+ ){0,2}$", re.I)
PASSIVE = re.compile(r"\b(is|was|are|were|be|been|being|gets?|got|getting)\s+(\w+\s+){0,2}$", re.I)
BEING = re.compile(r"\b(being|getting)\s+(\w+\s+)?$", re.I)
SLACK_S, FAR_S, HOLE_S = 0.25, 1.0, 0.5  # beyond the clip's end; from the labelled time; between segments

Rule = Callable[[Any, Context], Iterator[Finding]]


def check_record(value: Any, context: Context) -> list[Finding]:
    """The findings of every rule on one value that has the right shape; one a rule and place."""
    context.take(value)
    found: dict[tuple[str, str], Finding] = {}
    for rule in RULES:
        for f in rule(value, context):
            found.setdefault((f.rule, f.pointer), f)
    return list(found.values())


def open_errors(ws: Workspace) -> dict[str, list[str]]:
    """What validate last held against drafts as errors that nobody dismissed: by draft id, "rule pointer: message"."""
    dismissed = decisions(ws, "dismiss")
    found: dict[str, list[str]] = {}
    for row in ws.read_view("issues"):
        if row["severity"] == "error" and row["id"] not in dismissed:
            found.setdefault(row["record_id"], []).append(f"{row['rule']} {row['pointer']}: {row['message']}")
    return found


# -- times and order -------------------------------------------------------------------------------------------------
def spans(value: Any, context: Context) -> Iterator[Finding]:
    """Times lie inside the clip, spans run forward; segments in one list neither overlap nor leave holes."""
    end = context.clip.duration_s
    for at, node in context.nodes:
        for key, one in node.items():
            if isinstance(one, (int, float)) and key.endswith("_s") and end and not 0 <= one <= end + SLACK_S:
                yield Finding("time_outside", f"{at}/{key}", f"{one} s, but the clip ends at {end:.2f} s")
            elif isinstance(one, list) and _listed(one) and all("start_s" in p and "end_s" in p for p in one):
                yield from _segments(f"{at}/{key}", one, end)
        start, stop = node.get("start_s"), node.get("end_s")
        if start is not None and stop is not None and stop < start:
            yield Finding("time_reversed", at, f"ends at {stop} s, before its start at {start} s")


def _listed(parts: list[Any]) -> bool:
    return bool(parts) and all(isinstance(p, dict) for p in parts)


def _segments(at: str, parts: list[Json], end: float) -> Iterator[Finding]:
    here = 0.0
    for i, part in enumerate(parts):
        start = part["start_s"] or 0.0
        if start < here - 0.1:
            yield Finding("overlap", f"{at}/{i}", f"starts at {start} s, but the one before ends at {here} s")
        elif start > here + HOLE_S:
            yield Finding("hole", f"{at}/{i}", f"nothing is told from {here} s to {start} s")
        here = max(here, float(part["end_s"] or start))
    if end and here < end - HOLE_S:
        yield Finding("hole", f"{at}/{len(parts) - 1}", f"nothing is told from {here} s to {end:.2f} s, the end")


def steps(value: Any, context: Context) -> Iterator[Finding]:
    """Steps stand in the schema's order of kinds, none missing, none before all it follows from; ids are unique."""
    for at, node in context.nodes:
        for key, parts in node.items():
            if not isinstance(parts, list) or not _listed(parts):
                continue
            seen: set[str] = set()
            for i, part in enumerate(parts):
                if part.get("id") in seen:
                    yield Finding("id_twice", f"{at}/{key}/{i}/id", f"'{part['id']}' is the id of another, too")
                seen |= {part["id"]} if "id" in part else set()
            order = kinds(context.pack)
            taken = [p["step"] for p in parts if p.get("step") in order]
            for i, (was, now) in enumerate(pairwise(taken), 1):
                if order.index(now) < order.index(was):
                    yield Finding("step_order", f"{at}/{key}/{i}", f"'{now}' comes after '{was}'")
            for kind in order if taken else ():
                if kind not in taken:
                    yield Finding("step_missing", f"{at}/{key}", f"no step '{kind}'")


@cache
def kinds(pack: TaskPack) -> list[str]:
    """The kinds of steps of a pack's values, in the order of its schema; the last one decides. Empty without steps."""
    shapes = [node.get("items", {}).get("properties", {}) for node in pack.schema["properties"].values()]
    return next((shape["step"].get("enum", []) for shape in shapes if "step" in shape), [])


def told_time(value: Any, context: Context) -> Iterator[Finding]:
    """A time in a text lies inside the clip, and that of the event or the alert near the labelled one."""
    end, event = context.clip.duration_s, context.event or {}
    for s, r in context.prose:
        for t in r.times:
            if end and t.high > end + HOLE_S:
                yield Finding("time_outside", s.pointer, f"'{t.text}', but the clip ends at {end:.2f} s")
        if context.event_s is not None and s.span and r.contact and s.span[1] < context.event_s - FAR_S:
            note = f"'{r.contact[0].text}' in seconds that end at {s.span[1]}, but the event is at {context.event_s} s"
            yield Finding("told_time", s.pointer, note)
        if not r.times:
            continue
        basis = event.get("time_basis") != "onset"
        happens = [*r.contact, *r.near, *(m for m in r.marks if m.kind == "peak")] if basis else []
        anchors = [(m, event.get("event_s"), "event") for m in happens]
        anchors += [(m, event.get("alert_s"), "alert") for m in r.marks if m.kind == "alert"]
        for m, at, what in anchors:
            near = [(_apart(t, m), t) for t in r.times if t.line == m.line]
            if at is None or not near:
                continue
            far, t = min(near)
            if far > 70 or any(o.line == m.line and _apart(t, o) < far for o, _, _ in anchors if o is not m):
                continue
            if not t.low - FAR_S <= at <= t.high + FAR_S:
                said = f"'{m.text}' at {t.text}"
                yield Finding("told_time", s.pointer, f"{said}, but the {what} is labelled at {at} s")


def _apart(t: Told, m: Mark) -> int:
    return max(t.start - m.end, m.start - t.end, 0)


# -- what is told against what is known --------------------------------------------------------------------------------
def told_class(value: Any, context: Context) -> Iterator[Finding]:
    """No text says another class than the resolved one, and none says a class where none is resolved."""
    if context.clip.role == "pre_event":
        return
    for s, r in context.prose:
        kind = s.owner.get("step", "")
        if "predict" in kind:
            continue
        before = context.event_s is not None and s.span is not None and s.span[1] <= context.event_s + 0.3
        early = before or kind in kinds(context.pack)[:-1]
        clash = class_clash(r, context.cls, early=early)
        if clash:
            rule = "told_class" if context.cls else "class_unresolved"
            yield Finding(rule, s.pointer, f"'{clash[0].text}' says {clash[1]}, but the event is {context.cls}")


def fields(value: Any, context: Context) -> Iterator[Finding]:
    """A field that the event has, too (a conclusion is a class), holds what the event holds; so does the last step."""
    for at, node in context.nodes:
        for key, said in node.items():
            name = "class" if key == "conclusion" else key
            if name not in ("class", "ego_role", "partner") or said not in context.pack.ontology[name]["enum"]:
                continue
            holds = (context.event or {}).get(name)
            if holds is None and name == "class":
                yield Finding("class_unresolved", f"{at}/{key}", f"says {said}, but no class is resolved")
            elif said is not None and holds not in (None, "unknown", said):
                yield Finding("field", f"{at}/{key}", f"says {said}, but the event is {holds}")
            texts = [s.text for s in context.said if s.pointer.startswith(at)] if key == "conclusion" else []
            text = " ".join(re.split(r"(?<=[.!?])\s+", texts[-1])[-2:]) if texts else ""
            clash = class_clash(read(context.lex, text), said)
            if clash:
                note = f"the last step says {clash[1]} ('{clash[0].text}'), the conclusion {said}"
                yield Finding("conclusion", f"{at}/{key}", note)


def told_who(value: Any, context: Context) -> Iterator[Finding]:
    """Who runs into whom: a text gives the ego vehicle no other role, and the event no other partner."""
    event, partner = context.event or {}, context.known("partner")
    role = event.get("ego_role")
    if context.cls in (None, "normal"):
        return
    for s, r in context.prose:
        wrong, right = "", False
        for m in (*r.contact, *r.near):
            around = [x for x in r.marks if x.line == m.line]
            others = [(x, v) for x in around for n, v in x.names if n == "partner" and gap(x, m) <= 7]
            named = set().union(*(v for _, v in others))
            if partner and named and partner not in named and role != "witness":
                wrong = wrong or others[0][0].text
                continue
            right |= partner in named
            told = _role(around, m)
            if told and role in ("striking", "struck", "witness") and told != role:
                line = m.line.strip(" .;")[:80]
                note = f"'{line}' says {told}, but the ego vehicle is {role}"
                yield Finding("told_role", s.pointer, note, "warning" if m.text.startswith("collid") else "error")
        if wrong and not right:  # beside the right one, another may be told
            yield Finding("told_partner", s.pointer, f"'{wrong}', but the partner is {partner}")
        watch = [m for m in r.marks if m.kind == "watch" and not ONLY.search(m.before)]
        if watch and role in ("striking", "struck"):
            yield Finding("told_role", s.pointer, f"'{watch[0].text}', but the ego vehicle is {role}")


def _role(near: list[Mark], m: Mark) -> str | None:
    """striking or struck, where the line says so plainly: the subject and the object of a mark of contact."""
    noun = NOUN.match(m.text) and not m.line.startswith(" into", m.end)
    if noun or m.kind == "near" or any(x.kind == "watch" for x in near) or m.text.startswith(("touch", "escap")):
        return None
    actors = [x for x in near if x.kind == "ego" or any(n == "partner" for n, _ in x.names)]
    left = [x for x in actors if x.end <= m.start]
    right = [x for x in actors if x.start >= m.end and gap(m, x) <= 6 and x.clause == m.clause]
    does, undergoes = bool(left) and left[-1].kind == "ego", bool(right) and right[0].kind == "ego"
    if (PASSIVE if not m.text.endswith("ing") else BEING).search(m.before):
        by = m.line[m.end :].casefold().lstrip().startswith("by ")
        return "struck" if does else "striking" if by and undergoes else None
    return None if does == undergoes else "striking" if does else "struck"


def told_attribute(value: Any, context: Context) -> Iterator[Finding]:
    """No text says other weather, light, road or place than the metadata, nor denies theirs ("no rain", "dry")."""
    for s, r in context.prose:
        clash = attribute_clash(r, context) if r.values else None
        if clash:
            m, name, holds = clash
            severity = "warning" if name == "scene" else "error"
            yield Finding("told_attribute", s.pointer, f"'{m.text}', but the metadata says {name}: {holds}", severity)


def citations(value: Any, context: Context) -> Iterator[Finding]:
    """A cited field exists and holds something."""
    have = {"event": context.event or {}, "attributes": context.attributes, "clip": {"duration_s": 1, "role": 1}}
    for at, node in context.nodes:
        kind, _, name = str(node.get("field", "")).partition(".")
        if name and kind in have and have[kind].get(name) is None:
            yield Finding("citation", f"{at}/field", f"cites {kind}.{name}, which holds nothing")


def foresight(value: Any, context: Context) -> Iterator[Finding]:
    """Before the event no text mentions the outcome; before anything can be seen, none mentions a hazard."""
    if context.clip.role != "pre_event":
        return
    for s, r in context.told:
        outcome = [*r.contact, *r.near, *r.spared, *r.normal]
        ifs = {m.line for m in r.marks if m.kind == "if"}
        outcome += [
            m for m in r.maybe
            if RELATIVE.search(m.before) or (m.line not in ifs and FORETOLD.search(m.before))
        ]  # fmt: skip
        hazard = [*r.trouble, *r.maybe] + [m for m in r.marks if m.kind in ("hazard", "evasive")]
        if outcome:
            yield Finding("outcome", s.pointer, f"'{outcome[0].text}' tells the outcome of a clip that ends before it")
        elif hazard and context.clip.visible is False:
            yield Finding("unseen_hazard", s.pointer, f"'{hazard[0].text}', but the clip ends before the alert")


def media(value: Any, context: Context) -> Iterator[Finding]:
    """The clip shows something: not black, not frozen, frames not doubled, for most of its length."""
    end, seen = context.clip.duration_s, context.clip.measures
    shares = {"black": seen.get("black_s", 0) / end, "frozen": seen.get("frozen_s", 0) / end} if end else {}
    shares["duplicate frames"] = seen.get("duplicate_frames", 0)
    for what, share in shares.items():
        if share > 0.25:
            severity = "error" if share > 0.6 else "warning"
            yield Finding(f"media_{what.split()[0]}", "", f"{share:.0%} of the clip: {what}", severity)


def form(value: Any, context: Context) -> Iterator[Finding]:
    """No refusals, prompt echoes, placeholders, markup, number plates, names; English, as the prompts ask.

    Numbers with units of speed and length are errors unless the metadata has the number: a picture does not show them.
    """
    for s, r in context.told:
        if r.patterns or r.faults or r.foreign:
            had = " ".join(str(v) for v in context.attributes.values()).casefold()
            for rule, severity, message, number in (*form_faults(s.text, r.patterns, r.foreign), *r.faults):
                if not (number and number in had):
                    yield Finding(rule, s.pointer, message, severity)


RULES: tuple[Rule, ...] = (
    *(spans, steps, told_time, told_class, fields, told_who, told_attribute, citations, foresight, media),
    *(options, leaks, answers, form),
)
