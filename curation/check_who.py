"""The rules on who runs into whom: the role of the ego vehicle, and the partner of the event."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from curation.check_reading import NOBODY, NOUN, Mark, gap, read
from curation.check_text import Context, Finding

ONLY = re.compile(r"\bnot (just|merely|only|simply) (a |an )?$")
PASSIVE = re.compile(r"\b(is|was|are|were|be|been|being|gets?|got|getting)\s+(\w+\s*){0,2}$", re.I)
BEING = re.compile(r"\b(being|getting)\s+(\w+\s+)?$", re.I)


def told_who(value: Any, context: Context) -> Iterator[Finding]:
    """Who runs into whom: a text gives the ego vehicle no other role, and the event no other partner."""
    role, partner = (context.event or {}).get("ego_role"), context.known("partner")
    if context.cls in (None, "normal"):
        return
    for (s, r), loose in zip(context.prose, context.loosely, strict=True):
        wrong, right = [], False
        for m in (*loose.contact, *loose.near):
            around = [x for x in r.marks if x.line == m.line]
            others = [x for x in around if x.who and gap(x, m) <= 7]
            named = NOBODY.union(*(x.who for x in others))
            right |= partner in named
            if partner and named and partner not in named and role != "witness":
                beside = any(x.kind == "ego" for x in around if x.clause == m.clause)  # not: slides into the ditch
                plain = m.sure and len(named) == 1 and beside
                wrong += [(x, plain) for x in others if x.clause == m.clause and (beside or x.who != {"object"})]
            else:
                yield from _role_clash(_role(around, m), m, role, s.pointer)
        if wrong and not right:  # beside the right one, another may be told
            severity = "error" if wrong[0][1] else "warning"
            yield Finding("told_partner", s.pointer, f"'{wrong[0][0].text}', but the partner is {partner}", severity)
        for m in r.marks:
            if m.kind in ROLES and not ONLY.search(m.before):
                left = [x for x in r.marks if x.line == m.line and x.end <= m.start and (x.kind == "ego" or x.who)]
                ego = not left or left[-1].kind == "ego"
                told = ROLES[m.kind] if ego else "" if m.kind == "watch" else ROLES[OTHER_WAY[m.kind]]
                yield from _role_clash(told, m, role, s.pointer, sure=bool(left))


AUXILIARY = re.compile(r"\b(?:is|was|are|were|be|been|being|gets?|got)\b.* and\b", re.I)
MUTUAL = ("collid", "scrap", "brush", "graz", "touch", "meet", "contact")  # either may be said of both
ROLES = {"watch": "witness", "striking": "striking", "struck": "struck"}
OTHER_WAY = {"striking": "struck", "struck": "striking"}
GOVERNED = re.compile(  # what a preposition stands before is no subject
    r"(?<!driver )(?<!rider )\b(of|into|by|with|to|from|behind|for|at|against|towards?|past|on|near|beside|around"
    r"|along|than|between)"
    r" (the |an? |its |our |his |her |another )?((?!an? |the )[\w-]+ )?$", re.I
)  # fmt: skip
BY = re.compile(r"(?: (?:down|over|off|out))?(?: (?:from|in|on|at) (?:the |its |her |his )?\w+| \w+ly)? by ", re.I)
PRONOUN = re.compile(r"\b(it|he|she|they|which|who|what)\b", re.I)


def _role_clash(told: str | None, m: Mark, role: str | None, at: str, *, sure: bool = True) -> Iterator[Finding]:
    if told and role in ("striking", "struck", "witness") and told != role:
        note = f"'{m.line.strip(' .;')[:80]}' says {told}, but the ego vehicle is {role}"
        shared = m.text.endswith("ed") and AUXILIARY.search(m.before)  # "is thrown forward and shunted"
        doubt = not sure or not m.sure or m.text.startswith(MUTUAL) or shared
        yield Finding("told_role", at, note, "warning" if doubt else "error")


def _role(near: list[Mark], m: Mark) -> str | None:
    """striking or struck, where the line says so plainly: the subject and the object of a mark of contact."""
    noun = NOUN.match(m.text) and not m.line.startswith(" into", m.end)
    if noun or m.kind != "contact" or any(x.kind == "watch" for x in near) or m.text.startswith(("touch", "escap")):
        return None
    actors = [x for x in near if x.kind in ("ego", "someone") or x.who]
    left = [x for x in actors if x.end <= m.start and not GOVERNED.search(x.before)]
    pronoun = PRONOUN.search(m.line[left[-1].end if left and left[-1].clause == m.clause else 0 : m.start])
    if not left and not pronoun:
        return None
    if left and left[-1].clause != m.clause:  # who begins a clause goes on in the next
        left = [x for x in left if x.clause == left[-1].clause][:1]
    left = [] if pronoun else left
    right = [x for x in actors if x.start >= m.end and gap(m, x) <= 6 and x.clause == m.clause]
    does, undergoes = bool(left) and left[-1].kind == "ego", bool(right) and right[0].kind == "ego"
    by = bool(BY.match(m.line, m.end))
    before = m.before + m.text if PASSIVE.match(m.text + " ") else m.before
    if by or (PASSIVE if not m.text.endswith("ing") else BEING).search(before):
        if any(x.kind == "avoid" and x.end <= m.start for x in near):  # "saves him from being run down"
            return None
        return "struck" if does else "striking" if by and undergoes else None
    return None if does == undergoes else "striking" if does else "struck"


def partner_told(value: Any, context: Context) -> Iterator[Finding]:
    """The partner of the event is named by some text, if any road user is."""
    partner = context.known("partner")
    if not partner or context.cls in (None, "normal") or context.clip.role == "pre_event":
        return
    said = [m for s, r in context.prose if "question" not in s.owner for m in r.marks if m.names or m.kind == "someone"]
    named = {v for m in said for v in m.who}
    anybody = partner in MOTORS and any(m.kind == "someone" for m in said)
    for s, r in context.prose:  # who comes nearest is no other, either
        question = str(s.owner.get("question") or "") if s.key == "answer" else ""
        asked = read(context.lex, question) if WHO.match(question) else None
        other = [m for m in r.marks if m.who]
        if (
            asked
            and other
            and not any(partner in m.who for m in other)
            and (asked.contact or asked.near or any(m.kind in ("peak", "avoid") for m in asked.marks))
        ):
            yield Finding("told_partner", s.pointer, f"'{other[0].text}', but the partner is {partner}", "warning")
    if named and partner not in named and not anybody:
        who = next(m.text for m in said if m.who)
        yield Finding("told_partner", "", f"no text names the partner, {partner}; one names '{who}'", "warning")


WHO = re.compile(r"\W*((by|with|to|into|from) )?(who|whom|what|which)\b", re.I)
MOTORS = ("car", "van", "truck", "bus", "motorcycle")
