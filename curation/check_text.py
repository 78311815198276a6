"""What a text says: which classes, of whom, of what conditions; for the rules of `curation.checks`.

One pass over the words finds the marks (see `curation.lexicon`). What a mark means is decided in its clause. Nothing
here is a parser: in doubt a mark says "maybe", which no rule takes for an assertion.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from operator import add
from typing import Any, NamedTuple

from curation.check_form import NO_SIGNS, signs
from curation.check_times import Told, times
from curation.lexicon import TOKEN, WORD, Lexicon, lexicon, named
from curation.tasks import TaskPack, canonical
from curation.types import Clip, Json

EARLY = re.compile(
    r"\b(so far|yet|at first|initial\w*|until|up to (here|now|this)|still|begin\w*|starts?|before|early on|first)\b"
)
NOUN = re.compile(r"(collision|contact|crash$|crashes$|impact|accident|wreck|pile|fender|side-?swipe$)")
MANAGED = re.compile(r"\b(manag\w+|able|in time|succeed\w*|just enough) to $")
ASIDE = re.compile(  # what was before, what is beside, what lies on the ground
    r"\b(?:after|following|since|near|beside|beneath|towards?|next to|entrance (?:of|to)|exit (?:of|from)|view of)"
    r"(?: [\w-]+){0,3} $|\b(?:covered|packed|patched|lined) (?:with|in|by) (?:\w+ )?$",
    re.I,
)
COVERED = re.compile(r"[ -](?:covered|packed|patched|dusted|lined)\b", re.I)
LINES = re.compile(r"(?<=[.!?;])[^\S\n]+|(?<=\n)\s*")  # a line feed stays with its line
WEIGHS = re.compile(r"\b(?:or|versus|from)\b")
CLASS = r"(?:near[-_ ]?(?:collision|miss|crash|accident)|collision|normal(?: driving)?|(?<!near )(?<!near-)crash)"
OTHER = re.compile(rf"\W+(?:or|versus|from) (?:an? |merely |only )*{CLASS}", re.I)
ONE = re.compile(rf"{CLASS}\W+(?:or|versus|from) (?:an? |merely |only )*$", re.I)
THIRD = re.compile(r"\w+s$")  # "hits" is not what "does not" before it turns
HYPOTHETICAL = re.compile(r"\b(would|could|had|might|reaction|reacted|without|hypothetical\w*)\b", re.I)


class Mark(NamedTuple):
    """A word that matters: its kind, where in its line (a sentence, or half of one) it stands, and what it names."""

    kind: str
    text: str
    start: int
    end: int
    clause: int
    line: str
    names: tuple[tuple[str, frozenset[str]], ...] = ()

    @property
    def before(self) -> str:
        return self.line[: self.start]


class Reading(NamedTuple):
    """What a text says, as marks. contact, near, normal: it happens; spared: there is no contact; quiet: no evasive act
    is needed; trouble: conflict or danger, asserted; maybe: contact that could be; values: (mark, asserted or denied);
    times: those it names; patterns, faults, foreign: see Signs."""

    marks: tuple[Mark, ...] = ()
    contact: tuple[Mark, ...] = ()
    near: tuple[Mark, ...] = ()
    spared: tuple[Mark, ...] = ()
    normal: tuple[Mark, ...] = ()
    quiet: tuple[Mark, ...] = ()
    trouble: tuple[Mark, ...] = ()
    maybe: tuple[Mark, ...] = ()
    values: tuple[tuple[Mark, bool], ...] = ()
    times: tuple[Told, ...] = ()
    patterns: tuple[int, ...] = ()
    faults: tuple[tuple[str, str, str, str], ...] = ()
    foreign: tuple[str, ...] = ()


NOTHING = Reading()
SILENT: dict[str, Any] = dict.fromkeys(
    ("contact", "near", "spared", "normal", "quiet", "trouble", "maybe", "values"), ()
)


def marks(lex: Lexicon, line: str, low: str, words: list[str], last: bool) -> tuple[Mark, ...]:
    """The marks of a line in order; where it is not the `last` of its text, the text goes on."""
    begins, found, clause, end = lex.begins, [], 0, 0
    if not any(map(begins.__getitem__, words)):
        return ()
    low += "" if last else " x"
    for token in TOKEN.finditer(low):
        at, word = token.start(), token.group()
        kind = ""
        if at >= end:
            for kind_, pattern in begins[word]:
                m = pattern.match(low, at)
                if m:
                    kind, end = kind_, m.end()
                    break
        if kind == "stop" or word in ".!?;\n,:—–":
            clause += 1
        elif kind == "value":
            known, names = named(lex, m.group())
            if known not in lex.weak or _framed(low, m, *lex.weak[known]):
                found.append(Mark(kind, m.group(), at, end, clause, line, names))
        elif kind:
            found.append(Mark(kind, m.group(), at, end, clause, line))
    return tuple(found)


def _framed(low: str, m: re.Match[str], before: frozenset[str], after: frozenset[str]) -> bool:
    """Do words beside `m` make it say what it may say?"""
    left = WORD.findall(low[max(0, m.start() - 40) : m.start()])[-2:]
    left = [] if left[-1:] in (["a"], ["an"], ["the"]) else left  # of a thing: "is a dark car"
    return not (before.isdisjoint(left) and after.isdisjoint(WORD.findall(low[m.end() : m.end() + 40])[:2]))


def gap(a: Mark, b: Mark) -> int:
    """How many words stand between two marks of a line."""
    left, right = (a, b) if a.start <= b.start else (b, a)
    return len(a.line[left.end : right.start].split())


def turned(found: tuple[Mark, ...], i: int) -> str:
    """yes, no, near or maybe: what the words around mark `i` make of it."""
    m = found[i]
    noun, third = bool(NOUN.match(m.text)), bool(THIRD.match(m.text.split()[0]))
    governed = noun or m.text.split()[0].endswith("ing") or m.before.casefold().endswith(("being ", "getting "))
    if any(x.kind == "if" for x in found) or _weighed(m):
        return "maybe"
    if m.kind == "value" and (ASIDE.search(m.before) or COVERED.match(m.line, m.end)):
        return "maybe"
    left = [x for x in found[:i] if x.clause == m.clause]
    right = [x for x in found[i + 1 :] if x.clause == m.clause]
    for x in reversed(left):
        far = gap(x, m)
        if x.kind == "avoid" and far <= 5 and governed:
            return _avoided([y for y in left if y.end <= x.start], x)
        if x.kind == "almost" and far <= 3:
            return "near"
        if x.kind in ("hyp", "danger") and far <= 7:
            return "maybe"
        other = third and not noun and x.text.endswith(("not", "n't", "n’t"))  # "does not brake, hits"
        if x.kind == "neg" and far <= 6 and not other:
            return "no"
    for x in right:
        far = gap(m, x)
        if x.kind == "avoid" and noun and far <= (16 if x.text.endswith("ed") else 3):
            return "near"
        if x.kind in ("hyp", "danger") and far <= (4 if noun else 0):
            return "maybe"
        if x.kind == "neg" and ((noun and far <= 2) or (far == 0 and x.text.startswith("no") and x.text != "not")):
            return "no"
    return "yes"


def _weighed(m: Mark) -> bool:
    """Is `m` one of two classes that a line weighs: "a collision or a near miss"?"""
    if m.kind not in ("contact", "near", "normal") or not WEIGHS.search(m.line):
        return False
    return bool(OTHER.match(m.line, m.end) or ONE.search(m.before))


def _avoided(left: list[Mark], x: Mark) -> str:
    """What a word of avoiding makes of a contact: near, yes when it fails, maybe when it is only meant."""
    failed = [y for y in left if y.kind == "neg"]
    if failed and failed[-1].text.startswith(("no", "never")):  # "nobody brakes to avoid a collision"
        return "maybe" if failed[-1].text != "not" else "yes"
    if failed and gap(failed[-1], x) <= 3:
        return "yes"
    close = any(y.kind == "almost" and gap(y, x) <= 2 for y in left)
    meant = x.text in ("avoid", "prevent", "escape") and not close and not MANAGED.search(x.before.casefold())
    return "maybe" if meant or any(y.kind == "hyp" for y in left) else "near"


@lru_cache(maxsize=1 << 16)
def read(lex: Lexicon, text: str) -> Reading:
    """What `text` says: what its lines say, which come again more often than it does. One that asks says nothing,
    unless it is the last, as a question is."""
    *lines, end = LINES.split(text.rstrip())
    whole = read_line(lex, end, True)
    for line in reversed(lines):
        r = read_line(lex, line, False)
        if r is not NOTHING:
            r = r._replace(**SILENT) if line.rstrip().endswith("?") else r
            whole = Reading._make(map(add, r, whole)) if whole is not NOTHING else r
    return whole


@lru_cache(maxsize=1 << 16)
def read_line(lex: Lexicon, line: str, last: bool) -> Reading:
    low = line.lower()
    low = low if len(low) == len(line) else line  # places must be those of the line
    words = WORD.findall(low)
    found, told, shown = marks(lex, line, low, words, last), times(line), signs(lex.pack, line, low, words)
    if not found and not told and shown is NO_SIGNS:
        return NOTHING
    if not found:
        return Reading(times=told, **shown._asdict())
    out: dict[str, list[Any]] = {k: [] for k in SILENT}
    for i, m in enumerate(found):
        if m.kind == "contact":
            say = turned(found, i)
            out[{"yes": "contact", "no": "spared", "near": "near", "maybe": "maybe"}[say]].append(m)
        elif m.kind in ("near", "normal", "evasive", "conflict", "danger", "value"):
            say = turned(found, i)
            if m.kind in ("near", "normal") and say in ("yes", "near"):
                out[m.kind].append(m)
            elif m.kind == "evasive" and say == "no":
                out["quiet"].append(m)
            elif m.kind in ("conflict", "danger"):
                near = any(x.kind == "neg" and x.end <= m.start and gap(x, m) <= 3 for x in found[:i])
                out["trouble" if say != "no" else "normal" if near else "maybe"].append(m)
            elif m.kind == "value" and say in ("yes", "no", "near"):
                out["values"].append((m, say != "no"))
        elif m.kind == "avoid":
            say = turned(found, i)
            if say == "near" or (say == "yes" and m.text in ("misses", "missed")):
                out["near"].append(m)
    return Reading(found, **{k: tuple(v) for k, v in out.items()}, times=told, **shown._asdict())


# -- the texts of a value --------------------------------------------------------------------------------------------
class Said(NamedTuple):
    """A text in a value: its pointer, the object it stands in, and the seconds that object speaks of."""

    pointer: str
    text: str
    key: str
    owner: Json
    span: tuple[float, float] | None


FIXED = frozenset(("enum", "pattern", "const"))  # a string whose schema has one of these is no free text


def walk(schema: Json, value: Any) -> tuple[list[Said], list[tuple[str, Json]]]:
    """The free texts of a value, and its objects with their pointers, the whole first."""
    said: list[Said] = []
    nodes: list[tuple[str, Json]] = []

    def go(schema: Json, value: Any, at: str, key: str, owner: Json, span: tuple[float, float] | None) -> None:
        if isinstance(value, list):
            inner = schema.get("items", {})
            free = FIXED.isdisjoint(inner)
            for i, child in enumerate(value):
                if not isinstance(child, str):
                    go(inner, child, f"{at}/{i}", key, owner, span)
                elif free:
                    said.append(Said(f"{at}/{i}", child, key, owner, span))
        elif isinstance(value, dict):
            nodes.append((at, value))
            where = value.get("evidence") or value
            if isinstance(where, dict) and None not in (where.get("start_s"), where.get("end_s")):
                span = (where["start_s"], where["end_s"])
            fields = schema.get("properties", {})
            for name, child in value.items():
                if isinstance(child, str):
                    if FIXED.isdisjoint(fields.get(name, {})):
                        said.append(Said(f"{at}/{name}", child, name, value, span))
                elif isinstance(child, (list, dict)):
                    go(fields.get(name, {}), child, f"{at}/{name}", name, value, span)

    go(schema, value, "", "", {}, None)
    return said, nodes


# -- what a rule sees, and says -----------------------------------------------------------------------------------
@dataclass
class Context:
    """What a rule may hold a value against: its pack, its clip, the resolved event (None if none) and the metadata of
    the source. Of the value, see `take`: `said`, its texts; `told`, those that say something, with what they say;
    `prose`, of these the ones that tell of the clip; `nodes`, its objects."""

    pack: TaskPack
    clip: Clip
    event: Json | None
    attributes: Json
    said: list[Said] = field(default_factory=list, init=False, repr=False)
    told: list[tuple[Said, Reading]] = field(default_factory=list, init=False, repr=False)
    prose: list[tuple[Said, Reading]] = field(default_factory=list, init=False, repr=False)
    nodes: list[tuple[str, Json]] = field(default_factory=list, init=False, repr=False)
    facts: dict[str, str | None] = field(default_factory=dict, init=False, repr=False)  # what `known` said

    def take(self, value: Any) -> None:
        """Read a value, for the rules that come."""
        self.said, self.nodes = walk(self.pack.schema, value)
        lex = self.lex
        self.told = [(s, r) for s in self.said if (r := read(lex, s.text)) is not NOTHING]
        self.prose = [  # no question, no option, no answer chosen among options
            (s, r) for s, r in self.told
            if "question" not in s.owner or (s.key == "answer" and not s.owner.get("options"))
        ]  # fmt: skip

    @property
    def cls(self) -> str | None:
        return (self.event or {}).get("class")

    @property
    def event_s(self) -> float | None:
        return (self.event or {}).get("event_s")

    @cached_property
    def lex(self) -> Lexicon:
        return lexicon(self.pack)

    def known(self, name: str) -> str | None:
        """What the metadata or the event hold of a name of the ontology; a kind of road may stand under scene."""
        if name not in self.facts:
            held = self.event[name] if self.event and name in self.event else self.attributes.get(name)
            found = canonical(self.pack, name, held) if held else None
            if found is None and name == "road" and self.attributes.get("scene"):
                found = canonical(self.pack, "road", self.attributes["scene"])
            self.facts[name] = found
        return self.facts[name]


class Finding(NamedTuple):
    """One contradiction: which rule, where in the value (JSON pointer), what contradicts what, and how grave it is."""

    rule: str
    pointer: str
    message: str
    severity: str = "error"  # or warning


def class_clash(r: Reading, cls: str | None, *, early: bool = False) -> tuple[Mark, str] | None:
    """The mark that says another class than `cls`, and what it says; `early`: the text is not about the whole clip."""
    whole = [m for m in (*r.spared, *r.normal) if not early and not EARLY.search(m.line.casefold())]
    calm = [m for m in whole if m in r.normal]
    wrong: dict[Any, list[tuple[str, Sequence[Mark]]]] = {
        "collision": [("a near-collision", () if early else r.near), ("that there is no contact", whole)],
        "near_collision": [("a collision", r.contact), ("normal driving", () if r.near or r.spared else calm)],
        "normal": [("a collision", r.contact), ("a near-collision", r.near)],
        None: [("a collision", r.contact), ("a near-collision", r.near), ("normal driving", calm)],
    }
    wrong["near_collision"].append(("that nobody had to evade", () if early or r.near else r.quiet))
    clashes = [(said[0], what) for what, said in wrong.get(cls, ()) if said]
    return clashes[0] if clashes and not (cls == "collision" and r.contact) else None


def attribute_clash(r: Reading, context: Context) -> tuple[Mark, str, str] | None:
    """The first mark of a value that the metadata excludes (or that denies theirs), its name, and what they say."""
    for m, yes in r.values:
        for name, meant in m.names:
            holds = context.known(name) if name != "partner" else None
            if holds is not None and _fits(context, name, meant, holds, loose=yes) != yes:
                also = {canonical(context.pack, name, v) for v in context.attributes.values() if isinstance(v, str)}
                if not (yes and also & meant):
                    return m, name, holds
    return None


def _fits(context: Context, name: str, meant: frozenset[str], holds: str, *, loose: bool) -> bool:
    """Do the values `meant` name `holds`, or (loosely) one that may be said of the same clip?"""
    return bool(meant & {holds, *(context.lex.together[name].get(holds, ()) if loose and len(meant) == 1 else ())})
