"""What a text says: which classes, of whom, of what conditions; for the rules of `curation.checks`.

One pass over the words finds the marks (see `curation.lexicon`). What a mark means is decided in its clause. Nothing
here is a parser: in doubt a mark says "maybe", which no rule takes for an assertion.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from curation.check_times import Told
from curation.lexicon import TOKEN, Lexicon, lexicon, named
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
PARTS = re.compile(r"(?:[.!?](?=\s)|[;\n])\s*")
WEIGHS = re.compile(r"\b(?:or|versus|from)\b")
CLASS = r"(?:near[-_ ]?(?:collision|miss|crash|accident)|collision|normal(?: driving)?|(?<!near )(?<!near-)crash)"
OTHER = re.compile(rf"\W+(?:or|versus|from) (?:an? |merely |only )*{CLASS}", re.I)
ONE = re.compile(rf"{CLASS}\W+(?:or|versus|from) (?:an? |merely |only )*$", re.I)
THIRD = re.compile(r"\w+s$")  # "hits" is not what "does not" before it turns
HYPOTHETICAL = re.compile(r"\b(would|could|had|might|reaction|reacted|without|hypothetical\w*)\b", re.I)


class Mark(NamedTuple):
    """A word that matters: its kind, where it stands, its sentence and clause, and the values it names."""

    kind: str
    text: str
    start: int
    end: int
    sentence: int
    clause: int
    names: tuple[tuple[str, frozenset[str]], ...] = ()


class Reading(NamedTuple):
    """What a text says, as marks. contact, near, normal: it happens; spared: there is no contact; quiet: no evasive act
    is needed; conflict, danger: asserted ones; maybe: contact that could be; values: (mark, asserted or denied)."""

    marks: tuple[Mark, ...]
    contact: tuple[Mark, ...]
    near: tuple[Mark, ...]
    spared: tuple[Mark, ...]
    normal: tuple[Mark, ...]
    quiet: tuple[Mark, ...]
    trouble: tuple[Mark, ...]
    maybe: tuple[Mark, ...]
    values: tuple[tuple[Mark, bool], ...]


def marks(lex: Lexicon, text: str) -> tuple[Mark, ...]:
    """The marks of a text in order."""
    low, found, sentence, clause, end = text.lower(), [], 0, 0, 0
    low = low if len(low) == len(text) else text  # places must be those of the text
    for token in TOKEN.finditer(low):
        at = token.start()
        pattern = lex.by_letter.get(low[at])
        m = pattern.match(low, at) if pattern and at >= end else None
        kind, word = (str(m.lastgroup), m.group()) if m else ("", token.group())
        if kind == "stop" or word[0] in ".!?;\n,:—–":
            clause += 1
            sentence += word in ".!?;\n"
        elif m and kind == "value":
            known, names = named(lex, word)
            if known not in lex.weak or _framed(low, m, *lex.weak[known]):
                found.append(Mark(kind, word, at, m.end(), sentence, clause, names))
        elif m:
            found.append(Mark(kind, word, at, m.end(), sentence, clause))
        end = m.end() if m else end
    return tuple(found)


def _framed(low: str, m: re.Match[str], before: frozenset[str], after: frozenset[str]) -> bool:
    """Do words beside `m` make it say what it may say?"""
    left = re.findall(r"\w+", low[max(0, m.start() - 40) : m.start()])[-2:]
    left = [] if left[-1:] in (["a"], ["an"], ["the"]) else left  # of a thing: "is a dark car"
    return not (before.isdisjoint(left) and after.isdisjoint(re.findall(r"\w+", low[m.end() : m.end() + 40])[:2]))


def gap(text: str, a: Mark, b: Mark) -> int:
    """How many words stand between two marks."""
    left, right = (a, b) if a.start <= b.start else (b, a)
    return len(text[left.end : right.start].split())


def turned(text: str, found: tuple[Mark, ...], i: int) -> str:
    """yes, no, near or maybe: what the words around mark `i` make of it."""
    m = found[i]
    noun, third = bool(NOUN.match(m.text)), bool(THIRD.match(m.text.split()[0]))
    governed = noun or m.text.split()[0].endswith("ing") or text[: m.start].casefold().endswith(("being ", "getting "))
    if any(x.kind == "if" and x.sentence == m.sentence for x in found) or _weighed(text, m):
        return "maybe"
    if m.kind == "value" and (ASIDE.search(text[: m.start]) or COVERED.match(text, m.end)):
        return "maybe"
    left = [x for x in found[:i] if x.clause == m.clause]
    right = [x for x in found[i + 1 :] if x.clause == m.clause]
    for x in reversed(left):
        far = gap(text, x, m)
        if x.kind == "avoid" and far <= 5 and governed:
            return _avoided(text, [y for y in left if y.end <= x.start], x)
        if x.kind == "almost" and far <= 3:
            return "near"
        if x.kind in ("hyp", "danger") and far <= 7:
            return "maybe"
        other = third and not noun and x.text.endswith(("not", "n't", "n’t"))  # "does not brake, hits"
        if x.kind == "neg" and far <= 6 and not other:
            return "no"
    for x in right:
        far = gap(text, m, x)
        if x.kind == "avoid" and noun and far <= (16 if x.text.endswith("ed") else 3):
            return "near"
        if x.kind in ("hyp", "danger") and far <= (4 if noun else 0):
            return "maybe"
        if x.kind == "neg" and ((noun and far <= 2) or (far == 0 and x.text.startswith("no") and x.text != "not")):
            return "no"
    return "yes"


def _weighed(text: str, m: Mark) -> bool:
    """Is `m` one of two classes that a text weighs: "a collision or a near miss"?"""
    if m.kind not in ("contact", "near", "normal") or not WEIGHS.search(text):
        return False
    return bool(OTHER.match(text, m.end) or ONE.search(text[: m.start]))


def _avoided(text: str, left: list[Mark], x: Mark) -> str:
    """What a word of avoiding makes of a contact: near, yes when it fails, maybe when it is only meant."""
    failed = [y for y in left if y.kind == "neg"]
    if failed and failed[-1].text.startswith(("no", "never")):  # "nobody brakes to avoid a collision"
        return "maybe" if failed[-1].text != "not" else "yes"
    if failed and gap(text, failed[-1], x) <= 3:
        return "yes"
    close = any(y.kind == "almost" and gap(text, y, x) <= 2 for y in left)
    meant = x.text in ("avoid", "prevent", "escape") and not close and not MANAGED.search(text[: x.start].casefold())
    return "maybe" if meant or any(y.kind == "hyp" for y in left) else "near"


@lru_cache(maxsize=1 << 16)
def read(lex: Lexicon, text: str) -> Reading:
    """What `text` says: what its sentences say, which come again more often than it does. One that asks says nothing,
    unless it is the last, as a question is."""
    ends = [m.end() for m in PARTS.finditer(text.rstrip())]
    if not ends:
        return _read(lex, text)
    out: dict[str, list[Any]] = {k: [] for k in Reading._fields}
    for n, (at, end) in enumerate(pairwise([0, *ends, len(text)])):
        last = end == len(text)
        own = _read(lex, text[at:end] if last else text[at:end] + "x")  # "normal" ends a text, not a sentence
        asks = not last and text[at:end].rstrip().endswith("?")
        for name, found in own._asdict().items():
            if name == "values":
                out[name] += [(_moved(m, at, n), yes) for m, yes in found if not asks]
            elif name == "marks" or not asks:
                out[name] += [_moved(m, at, n) for m in found]
    return Reading(**{k: tuple(v) for k, v in out.items()})


def _moved(m: Mark, by: int, n: int) -> Mark:
    return Mark(m.kind, m.text, m.start + by, m.end + by, n, m.clause + 1000 * n, m.names)


@lru_cache(maxsize=1 << 16)
def _read(lex: Lexicon, text: str) -> Reading:
    found = marks(lex, text)
    out: dict[str, list[Any]] = {k: [] for k in Reading._fields[1:]}
    for i, m in enumerate(found):
        if m.kind == "contact":
            say = turned(text, found, i)
            out[{"yes": "contact", "no": "spared", "near": "near", "maybe": "maybe"}[say]].append(m)
        elif m.kind in ("near", "normal", "evasive", "conflict", "danger", "value"):
            say = turned(text, found, i)
            if m.kind in ("near", "normal") and say in ("yes", "near"):
                out[m.kind].append(m)
            elif m.kind == "evasive" and say == "no":
                out["quiet"].append(m)
            elif m.kind in ("conflict", "danger"):
                near = any(x.kind == "neg" and x.end <= m.start and gap(text, x, m) <= 3 for x in found[:i])
                out["trouble" if say != "no" else "normal" if near else "maybe"].append(m)
            elif m.kind == "value" and say in ("yes", "no", "near"):
                out["values"].append((m, say != "no"))
        elif m.kind == "avoid":
            say = turned(text, found, i)
            if say == "near" or (say == "yes" and m.text in ("misses", "missed")):
                out["near"].append(m)
    return Reading(found, **{k: tuple(v) for k, v in out.items()})


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
                if isinstance(child, (list, dict)):
                    go(fields.get(name, {}), child, f"{at}/{name}", name, value, span)
                elif isinstance(child, str) and FIXED.isdisjoint(fields.get(name, {})):
                    said.append(Said(f"{at}/{name}", child, name, value, span))

    go(schema, value, "", "", {}, None)
    return said, nodes


# -- what a rule sees, and says -----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Context:
    """What a rule may hold a value against: its pack, its clip, the resolved event (None if none) and the metadata of
    the source. `said` and `nodes`: the value's texts and its objects, see `walk`."""

    pack: TaskPack
    clip: Clip
    event: Json | None
    attributes: Json
    said: Sequence[Said] = field(default=(), repr=False)
    nodes: Sequence[tuple[str, Json]] = field(default=(), repr=False)
    facts: dict[str, str | None] = field(default_factory=dict, init=False, repr=False)  # what `known` said

    @property
    def cls(self) -> str | None:
        return (self.event or {}).get("class")

    @property
    def event_s(self) -> float | None:
        return (self.event or {}).get("event_s")

    @cached_property
    def lex(self) -> Lexicon:
        return lexicon(self.pack)

    @cached_property
    def prose(self) -> list[Said]:
        """The texts that tell of the clip: no question, no option, no answer chosen among options."""
        return [s for s in self.said if not ("question" in s.owner and (s.key != "answer" or s.owner.get("options")))]

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


def sentence(text: str, m: Mark | Told) -> str:
    """The sentence, or half of it up to a semicolon, around a mark or a time."""
    left = max(text.rfind(". ", 0, m.start), text.rfind("; ", 0, m.start), text.rfind("\n", 0, m.start)) + 1
    ends = [e for e in (text.find(". ", m.end), text.find("; ", m.end)) if e >= 0]
    return text[left : min(ends, default=len(text))]


def class_clash(r: Reading, text: str, cls: str | None, *, early: bool = False) -> tuple[Mark, str] | None:
    """The mark that says another class than `cls`, and what it says; `early`: the text is not about the whole clip."""
    whole = [m for m in (*r.spared, *r.normal) if not early and not EARLY.search(sentence(text, m).casefold())]
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
