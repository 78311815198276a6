"""What a rule sees: the texts of a value and what they say, beside what is known of its clip; and what it says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from typing import Any, NamedTuple

from curation.check_phrases import Worded
from curation.check_reading import NOTHING, Mark, Reading, read, read_loosely
from curation.lexicon import Lexicon, lexicon
from curation.tasks import TaskPack, canonical
from curation.types import Clip, Json

EARLY = re.compile(
    r"\b(so far|yet|at first|initial\w*|until|up to (here|now|this)|still|begin\w*|starts?|before|early on"
    r"|first(?! (?:to|frame)))\b"
)
HYPOTHETICAL = Worded(r"\b(?:would|could|had|might|reaction|reacted|without|hypothetical\w*)\b")


class Said(NamedTuple):
    """A text in a value: its pointer, the object it stands in, and the seconds that object speaks of."""

    pointer: str
    text: str
    key: str
    owner: Json
    span: tuple[float, float] | None


class Shape(NamedTuple):
    """How its schema makes an object. names: its properties; fields: of these (name, whether a string there is free
    text, the shape of objects there) where either may be; lists: where lists of objects stand; seconds: times."""

    names: frozenset[str] = frozenset()
    fields: tuple[tuple[str, bool, Shape], ...] = ()
    lists: tuple[str, ...] = ()
    seconds: tuple[str, ...] = ()


FIXED = frozenset(("enum", "pattern", "const"))  # a string whose schema has one of these is no free text
Node = tuple[str, Json, Shape]  # an object in a value: its pointer, itself, its shape


@cache
def shape_of(pack: TaskPack) -> Shape:
    return _shape(_alternatives(pack.schema))


def _shape(schemas: Iterable[Json]) -> Shape:
    """The shape of an object that may be made by one of these."""
    properties: dict[str, list[Json]] = {}
    for schema in schemas:
        for name, inner in schema.get("properties", {}).items():
            properties.setdefault(name, []).extend(_alternatives(inner))
    fields, lists = [], []
    for name, some in properties.items():
        held = _held_in(some)
        objects = [one for one in held if "properties" in one]
        free = any(FIXED.isdisjoint(one) and "string" in one.get("type", ("string",)) for one in held)
        if objects or free:
            fields.append((name, free, _shape(objects)))
        if any("items" in one for one in some) and objects:
            lists.append(name)
    seconds = tuple(n for n in properties if n.endswith("_s"))
    return Shape(frozenset(properties), tuple(fields), tuple(lists), seconds)


def _alternatives(schema: Json) -> list[Json]:
    """What a value may be, one by one, but nothing."""
    some = [one for how in ("anyOf", "oneOf", "allOf") for one in schema.get(how, ()) if one.get("type") != "null"]
    plain = [schema] if "properties" in schema or "items" in schema or not some else []
    return plain + [one for inner in some for one in _alternatives(inner)]


def _held_in(schemas: Iterable[Json]) -> list[Json]:
    """The same of what is in lists, too, and lists of lists."""
    return [
        one for schema in schemas
        for one in (_held_in(_alternatives(schema["items"])) if "items" in schema else [schema])
    ]  # fmt: skip


def walk(pack: TaskPack, value: Any) -> tuple[list[Said], list[Node]]:
    """The free texts of a value, and its objects, the whole first, in the order of the schema."""
    said: list[Said] = []
    nodes: list[Node] = []
    new = tuple.__new__

    def go(shape: Shape, value: Json, at: str, span: tuple[float, float] | None) -> None:
        nodes.append((at, value, shape))
        where = value.get("evidence") or value
        if type(where) is dict and isinstance(start := where.get("start_s"), (int, float)):
            span = (start, end) if isinstance(end := where.get("end_s"), (int, float)) else span
        for name, free, inner in shape.fields:
            child = value.get(name)
            if type(child) is str:
                if free:
                    said.append(new(Said, (f"{at}/{name}", child, name, value, span)))
            elif type(child) is list:
                listed(inner, free, child, f"{at}/{name}", name, value, span)
            elif type(child) is dict:
                go(inner, child, f"{at}/{name}", span)

    def listed(
        shape: Shape, free: bool, parts: list[Any], at: str, name: str, owner: Json, span: tuple[float, float] | None
    ) -> None:
        for i, one in enumerate(parts):
            if type(one) is dict:
                go(shape, one, f"{at}/{i}", span)
            elif free and type(one) is str:
                said.append(new(Said, (f"{at}/{i}", one, name, owner, span)))
            elif type(one) is list:
                listed(shape, free, one, f"{at}/{i}", name, owner, span)

    if isinstance(value, dict):
        go(shape_of(pack), value, "", None)
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
    nodes: list[Node] = field(default_factory=list, init=False, repr=False)
    facts: dict[str, str | None] = field(default_factory=dict, init=False, repr=False)  # what `known` said

    def take(self, value: Any) -> None:
        """Read a value, for the rules that come."""
        self.__dict__.pop("loosely", None)
        self.said, self.nodes = walk(self.pack, value)
        lex = self.lex
        self.told = [(s, r) for s in self.said if (r := read(lex, s.text)) is not NOTHING]
        self.prose = [  # no question, no option, no answer chosen among options
            (s, r) for s, r in self.told
            if "question" not in s.owner or (s.key == "answer" and not s.owner.get("options"))
        ]  # fmt: skip

    @cached_property
    def cls(self) -> str | None:
        return (self.event or {}).get("class")

    @cached_property
    def event_s(self) -> float | None:
        return (self.event or {}).get("event_s")

    @cached_property
    def loosely(self) -> list[Reading]:
        """The readings of `prose`, their hints taken for what they hint at."""
        return [read_loosely(self.lex, s.text) if r.hints else r for s, r in self.prose]

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

    @cached_property
    def held(self) -> Held:
        """What is known of weather, light, place and (unless the ego vehicle only watches) the class."""
        cls = self.cls if (self.event or {}).get("ego_role") != "witness" else None
        return _held((("class", cls), *((name, self.known(name)) for name in self.lex.together)))


@dataclass(frozen=True, eq=False)
class Held:
    """What is known, by name; one object for all clips of which the same is known, so that it is quickly looked up."""

    known: dict[str, str | None]


@lru_cache(maxsize=1 << 14)
def _held(known: tuple[tuple[str, str | None], ...]) -> Held:
    return Held(dict(known))


class Finding(NamedTuple):
    """One contradiction: which rule, where in the value (JSON pointer), what contradicts what, and how grave it is."""

    rule: str
    pointer: str
    message: str
    severity: str = "error"  # or warning


def class_clash(r: Reading, cls: str | None, *, early: bool = False) -> tuple[Mark, str] | None:
    """The mark that says another class than `cls`, and what it says; `early`: the text is not about the whole clip."""
    if not (r.contact or r.near or r.spared or r.normal or r.quiet):
        return None
    if cls == "collision" and r.contact:
        return None
    clashes: list[tuple[Sequence[Mark], str]] = []
    if cls == "collision":
        clashes = [(() if early else r.near, "a near-collision"), (_whole(r.spared, early), "that there is no contact")]
        clashes.append((_whole(r.normal, early), "that there is no contact"))
    elif cls == "near_collision":
        calm = () if r.near or r.spared else _whole(r.normal, early)
        quiet = () if early or r.near else _whole(r.quiet, False)
        clashes = [(r.contact, "a collision"), (calm, "normal driving"), (quiet, "that nobody had to evade")]
    elif cls == "normal":
        harmless = [m for m in r.spared if m.kind == "apart" and not m.sure]  # "unscathed": there was a danger
        clashes = [(r.contact, "a collision"), ((*r.near, *harmless), "a near-collision")]
    elif cls is None:
        clashes = [(r.contact, "a collision"), (r.near, "a near-collision")]
        clashes.append((_whole(r.normal, early), "normal driving"))
    return next(((said[0], what) for said, what in clashes if said), None)


def _whole(marks: Sequence[Mark], early: bool) -> Sequence[Mark]:
    """Of these marks those that are about the whole clip."""
    return [m for m in marks if not EARLY.search(m.line.casefold())] if marks and not early else ()


def untold(readings: Sequence[Reading], cls: str | None) -> str | None:
    """What a record as a whole should tell of its class, but none of its texts does, not even loosely."""
    some = [r for r in readings if r.marks]
    if cls == "collision" and some and not any(_tells(r, ("contact",)) for r in some):
        return "that there is contact"
    saved = any(_tells(r, ESCAPES) for r in some) or any(m.kind in SAVES for r in some for m in r.marks)
    if cls == "near_collision" and some and not saved:
        return "that contact is avoided"
    return None


def _tells(r: Reading, kinds: Sequence[str]) -> bool:
    """Does a text say one of these, or hint at it?"""
    return any(getattr(r, k) for k in kinds) or any(what in kinds for what, _ in r.hints)


ESCAPES = ("near", "spared", "evades", "trouble", "maybe")
SAVES = frozenset(("avoid", "almost", "hazard", "hair", "react"))


def attribute_clash(r: Reading, context: Context) -> tuple[Mark, str, str] | None:
    """The first mark of a value that the metadata excludes (or that denies theirs), its name, and what they say; one
    that may mean other things comes last."""
    for m, yes in sorted(r.values, key=lambda v: not v[0].sure):
        for name, meant in m.names:
            holds = context.known(name) if name != "partner" else None
            if holds is not None and _fits(context, name, meant, holds, loose=yes) != yes:
                also = {canonical(context.pack, name, v) for v in context.attributes.values() if isinstance(v, str)}
                if not (yes and also & meant):
                    beside = ((n, v) for x, said in r.values if said and x.line == m.line for n, v in x.names)
                    right = any(n == name and holds in v for n, v in beside)
                    return (m._replace(sure=False) if right else m), name, holds  # "a bright street at night"
    return None


def _fits(context: Context, name: str, meant: frozenset[str], holds: str, *, loose: bool) -> bool:
    """Do the values `meant` name `holds`, or (loosely) one that may be said of the same clip?"""
    if holds in meant:
        return True
    return loose and len(meant) == 1 and not meant.isdisjoint(context.lex.together[name].get(holds, ()))
