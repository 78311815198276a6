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
from curation.check_questions import leaks, options
from curation.check_reading import Mark, Reading, read
from curation.check_text import Context, Finding, Said, attribute_clash, class_clash, untold
from curation.check_times import Told
from curation.check_who import partner_told, told_who
from curation.lexicon import Lexicon
from curation.store import Workspace, decisions
from curation.tasks import TaskPack
from curation.types import Json

RELATIVE = re.compile(  # a fact, then; but there is time, or room, before what may come
    r"(?<!time )(?<!room )(?<!space )(?<!seconds )\b(before|until|after|prior to|leading (up )?to) (the|a|this) $"
    r"|\bends\b.* before (\w+ ){1,4}$",
    re.I,
)
FORETOLD = re.compile(r"\b(will|is going to|is about to|is bound to) (\w+ ){0,3}$", re.I)
AHEAD = re.compile(r"\b(before|preced\w+|prior to|lead\w* (up )?to|ahead of|until|towards?)\b", re.I)
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
    for at, node, shape in context.nodes:
        for key in shape.seconds:
            one = node.get(key)
            if isinstance(one, (int, float)) and end and not 0 <= one <= end + SLACK_S:
                yield Finding("time_outside", f"{at}/{key}", f"{one} s, but the clip ends at {end:.2f} s")
        for key in shape.lists:
            parts = _objects(node.get(key))
            if parts and all("start_s" in p and "end_s" in p for p in parts):
                yield from _segments(f"{at}/{key}", parts, end)
        if "end_s" in shape.names:
            start, stop = node.get("start_s"), node.get("end_s")
            if isinstance(start, (int, float)) and isinstance(stop, (int, float)) and stop < start:
                yield Finding("time_reversed", at, f"ends at {stop} s, before its start at {start} s")


def _objects(parts: Any) -> list[Json]:
    """A list of objects, if it is one."""
    return parts if isinstance(parts, list) and all(type(p) is dict for p in parts) else []


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
    for at, node, shape in context.nodes:
        for key in shape.lists:
            parts = _objects(node.get(key))
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
    for s, t in ((s, t) for s, r in context.told if s.key != "options" for t in r.times):
        if end and t.within(end)[1] > end + HOLE_S:
            yield Finding("time_outside", s.pointer, f"'{t.text}', but the clip ends at {end:.2f} s")
        if t.back:
            yield Finding("time_reversed", s.pointer, f"'{t.text}' runs backwards")
    for (s, r), loose in zip(context.prose, context.loosely, strict=True):
        if s.span and loose.contact and context.event_s is not None and s.span[1] < context.event_s - FAR_S:
            m = loose.contact[0]
            note = f"'{m.text}' in seconds that end at {s.span[1]}, but the event is at {context.event_s} s"
            yield Finding("told_time", s.pointer, note, "error" if m.sure else "warning")
        if r.times and event.get("time_basis") != "onset":
            yield from _wrong_time(s, r, event, end)


def _wrong_time(s: Said, r: Reading, event: Json, end: float) -> Iterator[Finding]:
    """The times of a text that are neither the event's nor the alert's, though the words beside them tell of these, or
    the text cites them."""
    cited = str(s.owner.get("field", "")).partition(".")[2]
    if cited in ("event_s", "alert_s") and event.get(cited) is not None:
        if not any(_fits(t, event[cited], end) for t in r.times):
            note = f"'{r.times[0].text}' cites event.{cited}, which is {event[cited]} s"
            yield Finding("told_time", s.pointer, note)
        return
    happens = [*r.contact, *r.near, *(m for m in r.marks if m.kind == "peak")]
    hints = [] if happens else [m for _, m in r.hints] + [*r.evades, *(m for m in r.marks if m.kind == "avoid")]
    anchors = [(m, event.get("event_s"), "event") for m in (*happens, *hints)]
    anchors += [(m, event.get("alert_s"), "alert") for m in r.marks if m.kind == "alert"]
    for m, at, what in anchors:
        near = [(_apart(t, m), t) for t in r.times if t.line == m.line]
        if at is None or not near:
            continue
        far, t = min(near)
        if AHEAD.search(m.line[min(t.end, m.end) : max(t.start, m.start)]):  # "begins with what precedes the event"
            continue
        if far > 70 or any(o.line == m.line and _apart(t, o) < far for o, _, _ in anchors if o is not m):
            continue
        if not _fits(t, at, end) and not (m in hints and _fits(t, event.get("alert_s") or at, end)):
            severity = "warning" if m in hints else "error"
            said = f"'{m.text}' at {t.text}"
            yield Finding("told_time", s.pointer, f"{said}, but the {what} is labelled at {at} s", severity)


def _fits(t: Told, at: float, end: float) -> bool:
    low, high = t.within(end)
    return low - FAR_S <= at <= high + FAR_S


def _apart(t: Told, m: Mark) -> int:
    return max(t.start - m.end, m.start - t.end, 0)


# -- what is told against what is known --------------------------------------------------------------------------------
def told_class(value: Any, context: Context) -> Iterator[Finding]:
    """No text says another class than the resolved one, and none says a class where none is resolved."""
    if context.clip.role == "pre_event":
        return
    witness = (context.event or {}).get("ego_role") == "witness"
    order = kinds(context.pack)
    for (s, r), loose in zip(context.prose, context.loosely, strict=True):
        kind = s.owner.get("step", "")
        guess = "predict" in kind  # may be wrong; but "they never meet" is none
        before = context.event_s is not None and s.span is not None and s.span[1] <= context.event_s + 0.3
        early = before or kind in order[:-1]
        clash = None if guess else class_clash(r, context.cls, early=early)
        step = kind in order[1:-1]  # tells what was seen so far, if not always with care
        doubt = not clash and not witness and (r.hints or (early and step)) and not guess
        hint = class_clash(loose, context.cls, early=early and not step) if doubt else None
        if guess and context.cls == "collision" and not witness:
            hint = class_clash(r, context.cls)
        for mark, what in filter(None, (clash, hint)):
            rule = "told_class" if context.cls else "class_unresolved"
            severity = "error" if clash and not _also_told(r, context.cls) else "warning"
            yield Finding(rule, s.pointer, f"'{mark.text}' says {what}, but the event is {context.cls}", severity)
        if r.evades and context.cls == "normal":
            note = f"'{r.evades[0].text}' is an evasive act, but the event is normal"
            yield Finding("told_class", s.pointer, note, "warning")


def _also_told(r: Reading, cls: str | None) -> bool:
    """Does a text that says another class say this one, too? Then it may only weigh them."""
    return cls == "near_collision" and bool(r.near) and bool(r.contact)


def class_told(value: Any, context: Context) -> Iterator[Finding]:
    """The texts as a whole tell the class: of a collision somebody says that there is contact, and so on."""
    told = [r for s, r in context.prose if "question" not in s.owner]
    silent = context.clip.role == "pre_event" or "cues" not in context.pack.ontology
    missing = None if silent else untold(told, context.cls)
    if missing:
        yield Finding("class_untold", "", f"no text says {missing}, but the event is {context.cls}", "warning")


TOLD_FIELDS = frozenset(("class", "ego_role", "partner", "conclusion"))


def fields(value: Any, context: Context) -> Iterator[Finding]:
    """A field that the event has, too (a conclusion is a class), holds what the event holds; so does the last step."""
    for at, node, shape in context.nodes:
        for key in shape.names & TOLD_FIELDS:
            name, said = "class" if key == "conclusion" else key, node.get(key)
            if said not in context.pack.ontology.get(name, {}).get("enum", ()):
                continue
            holds = (context.event or {}).get(name)
            if holds is None and name == "class":
                yield Finding("class_unresolved", f"{at}/{key}", f"says {said}, but no class is resolved")
            elif said is not None and holds not in (None, "unknown", said):
                yield Finding("field", f"{at}/{key}", f"says {said}, but the event is {holds}")
            texts = [s.text for s in context.said if s.pointer.startswith(at)] if key == "conclusion" else []
            text = " ".join(re.split(r"(?<=[.!?])\s+", texts[-1])[-2:]) if texts else ""
            last = read(context.lex, text)
            if clash := class_clash(last, said):
                note = f"the last step says {clash[1]} ('{clash[0].text}'), the conclusion {said}"
                yield Finding("conclusion", f"{at}/{key}", note, "warning" if _also_told(last, said) else "error")


def told_attribute(value: Any, context: Context) -> Iterator[Finding]:
    """No text says other weather, light, road or place than the metadata, nor denies theirs ("no rain", "dry")."""
    for s, r in context.prose:
        clash = attribute_clash(r, context) if r.values else None
        if clash:
            m, name, holds = clash
            severity = "error" if m.sure and name != "scene" else "warning"
            yield Finding("told_attribute", s.pointer, f"'{m.text}', but the metadata says {name}: {holds}", severity)


def citations(value: Any, context: Context) -> Iterator[Finding]:
    """A cited field exists and holds something, or the text says that it is not known."""
    clip = context.clip
    known = {"duration_s": 1, "role": 1, "frames": 1, "visible": clip.visible, "horizon_s": clip.horizon_s}
    have = {"event": context.event or {}, "attributes": context.attributes, "clip": known}
    for at, node, shape in context.nodes:
        kind, _, name = str(node.get("field", "")).partition(".") if "field" in shape.names else ("", "", "")
        if name and kind in have and have[kind].get(name) is None and not UNKNOWN.search(str(node.get("text", ""))):
            said = _says(read(context.lex, str(node.get("text", ""))), name, context.lex)
            note = f"cites {kind}.{name}, which holds nothing"
            yield Finding("citation", f"{at}/field", note, "error" if said else "warning")


def _says(r: Reading, name: str, lex: Lexicon) -> bool:
    """Does a text tell anything of a field of this name? Of one that nobody knows it does: there is no such field."""
    if name in ("class", "ego_role"):
        return bool(r.contact or r.near or r.spared or r.normal or r.trouble or r.evades)
    if name in lex.together:
        return any(n == name for m in r.marks for n, _ in m.names)
    return name not in TIMES or bool(r.times)


TIMES = ("alert_s", "event_s", "horizon_s", "duration_s")
UNKNOWN = re.compile(
    r"\b(unknown|unclear|unresolved|undetermined|undecided|unspecified|not (been )?(known|resolved|determined|recorded"
    r"|clear|seen|visible|stated|given|told|shown|settled|decided|identified)|no(t|body)? (\w+ )?(can|could)(not)? be "
    r"(told|seen|said|judged|identified|known)|(cannot|can['’]t|can not) be \w+|whether|out of (view|sight|frame)"
    r"|outside the (frame|view|picture)|off[- ]camera|hidden|unidentified|remains open|open question"
    r"|no \w+ is (known|given))\b",
    re.I,
)


def foresight(value: Any, context: Context) -> Iterator[Finding]:
    """Before the event no text mentions the outcome; before anything can be seen, none mentions a hazard."""
    if context.clip.role != "pre_event":
        return
    for s, r in context.told:
        outcome = [*r.contact, *r.near, *r.spared]
        ifs = {m.line for m in r.marks if m.kind == "if"}
        outcome += [
            m for m in r.maybe
            if RELATIVE.search(m.before) or (m.line not in ifs and FORETOLD.search(m.before))
        ]  # fmt: skip
        hints = [m for m in (*r.normal, *r.loosely.contact, *r.loosely.near) if not SHOWN.search(m.line)]
        told = [*(m for what, m in r.hints if what == "maybe"), *(m for m in r.marks if m.kind == "avoid")]
        hints += [m for m in told if m.line not in ifs and FORETOLD.search(m.before)]
        hints = [  # "no conflict" is what can be seen so far
            m for m in hints
            if m.kind not in ("conflict", "danger") and not m.text.startswith(("no ", "nothing", "nobody"))
        ]  # fmt: skip
        hazard = [*r.trouble, *r.maybe] + [m for m in r.marks if m.kind in ("hazard", "evasive")]
        if outcome or hints:
            m, severity = (outcome or hints)[0], "error" if outcome else "warning"
            yield Finding("outcome", s.pointer, f"'{m.text}' tells the outcome of a clip that ends before it", severity)
        elif hazard and context.clip.visible is False:
            hazard.sort(key=lambda m: not m.sure)
            note = f"'{hazard[0].text}', but the clip ends before the alert"
            yield Finding("unseen_hazard", s.pointer, note, "error" if hazard[0].sure else "warning")


SHOWN = re.compile(
    r"\b(up to (here|now|this|the end)|until|so far|as yet|till|at this point|(is|are|be) (seen|shown|visible)"
    r"|the clip ends|shows?)\b",
    re.I,
)


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
        if r.faults:
            had = " ".join(str(v) for v in context.attributes.values()).casefold()
            for rule, severity, message, number in r.faults:
                if not (number and number in had):
                    yield Finding(rule, s.pointer, message, severity)


RULES: tuple[Rule, ...] = (
    *(spans, steps, told_time, told_class, class_told, fields, told_who, partner_told, told_attribute, citations),
    *(foresight, media, options, leaks, answers, form),
)
