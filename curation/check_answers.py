"""The rule that a chosen answer is right: against the metadata, the event, the labelled times.

What options say of the metadata, and which seconds they name, are told by `facts_of` and `ranges`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Any

from curation.check_options import kinds, meaning, stem
from curation.check_phrases import Worded, compiled
from curation.check_reading import Reading, read
from curation.check_text import HYPOTHETICAL, Context, Finding, Held, attribute_clash, class_clash
from curation.check_times import NUMBERS, times
from curation.lexicon import Lexicon
from curation.tasks import TaskPack, words

FAR_S = 1.0
AUX = "(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would)"
WH = Worded(rf"""(?:^|^(?!\W*{AUX}\b).*[,;:.—–] )\W{{0,3}}
(?:(?:in|at|by|with|to|on|from|of|for|into|under|through|until|after|before) )?
(?:what|who|whom|whose|why|when|where|how|which|describe|explain|name|sum up)\b""",
    "what|who|whom|whose|why|when|where|how|which|describe|explain|name|sum")  # fmt: skip
NAMED = ("weather", "light", "road", "scene", "partner", "cause", "class")
ASKED = {  # the names that a question is about
    "weather": Worded(r"\b(?:weather|sky|falls?|falling|precipitation|visibility)\b"),
    "light": Worded(r"\b(?:light|lighting|time of day|part of (?:the )?day|when)\b", "day"),
    "road": Worded(r"\b(?:road|street|where|place|location|surroundings|environment)\b"),
    "scene": Worded(r"\b(?:place|layout|where|location|part of the road)\b", "road"),
}
PARTNER = Worded(r"""\b(?:partner|conflict|closest|nearest|hits?|struck|strikes?|touch\w*|collid\w*|collision|contact
|involved|crash\w*|accident|danger\w*|runs? into|other party|threat\w*|avoid\w*|comes? (?:too )?(?:close|near))
\b""", "into|party|close|near")  # fmt: skip
PEAK = Worded(r"""\b(?:closest|nearest|smallest|tightest|touch\w*|contact|meets?|collision|collid\w*|crash\w*|impact
|conflict|risky|risk|danger\w*|hazard\w*|threat\w*|trouble|critical|decisive|peak|worst|events?|happens?|something
|anything|sign|hits?|near miss|evasive|bump\w*|str(?:ikes?|uck)|problem)\b""", "miss")  # fmt: skip
DENIED = re.compile(r"\b(?:nothing|nobody|no one|none|neither|never|not)\b|n['’]t\b", re.I)
GRAVEST = Worded(r"\b(?:most|critical|closest|nearest|worst|smallest|least)\b")
FIRST = Worded(r"\b(?:first|begin\w*|start\w*|earliest|become\w*|notice\w*|sign)\b")
NOBODY = compiled(r"""^\W*(?:nothing|none|nobody|no one|neither|no (?:such )?\w+)
(?: (?:does|is|at all|falls|is visible))?\W*$""", re.I)  # fmt: skip
BESIDE = """film record shoot shot clip happen scene no ego road street surface outside air place stretch drive
    late early around about deep broad full dim heavy thick dense light strong steady bright"""
ANYBODY = "collision near_collision normal no nothing nobody happen drive"
BARELY = frozenset(map(stem, f"{ANYBODY} {BESIDE}".split())) | frozenset(ANYBODY.split())  # beside a class
SLIGHT = frozenset(map(stem, BESIDE.split()))  # what an option may say beside a value


def answers(value: Any, context: Context) -> Iterator[Finding]:
    """A chosen answer fits the event and the metadata: by its options' name in the ontology, a yes or no, a time."""
    for at, item, shape in context.nodes:
        if "answer" not in shape.names:
            continue
        question, answer, offered = item.get("question"), item.get("answer"), item.get("options") or []
        if question is None:  # one of a bank: the schema asks
            shape = context.pack.schema["properties"].get(at[1:], {})
            question, offered = shape.get("description"), shape.get("properties", {}).get("answer", {}).get("enum", [])
        if not isinstance(question, str) or not isinstance(answer, str) or item.get("answerable") is False:
            continue
        if answer not in offered:
            why = None if offered else _far_time(question, answer, context)
        else:
            why = _answer_clash(question, answer, offered, context)
        if why:
            yield Finding("answer_wrong", f"{at}/answer", why)
        elif offered and item.get("question"):
            if answer in ("yes", "no") and (asked := _unresolved(question, context)):
                note = f"'{answer}' to '{asked}', but no class is resolved"
                yield Finding("class_unresolved", f"{at}/answer", note, "warning")
            elif clash := _hinted(question, answer, context):
                note = f"'{answer}' says {clash}, but the event is {context.cls}"
                yield Finding("answer_wrong", f"{at}/answer", note, "warning")


def _hinted(question: str, answer: str, context: Context) -> str:
    """Which other class a chosen answer hints at."""
    told = read(context.lex, answer)
    if not told.hints or not context.cls or context.clip.role == "pre_event" or HYPOTHETICAL.search(question):
        return ""
    clash = class_clash(told.loosely, context.cls)
    return clash[1] if clash else ""


def _far_time(question: str, answer: str, context: Context) -> str | None:
    """Why a time that is told freely is not the labelled one that is asked for."""
    told = ranges(answer, context.clip.duration_s)
    at = labelled(question, context) if told and context.clip.role != "pre_event" and WH.search(question) else None
    if at is None or HYPOTHETICAL.search(question) or min(_far(t, at) for t in told) <= FAR_S:
        return None
    return f"'{answer}', but the label says {at} s"


def _unresolved(question: str, context: Context) -> str:
    """What a question asks of the class, where none is resolved that could tell the answer."""
    if context.cls or context.clip.role == "pre_event" or WH.search(question) or HYPOTHETICAL.search(question):
        return ""
    r = read(context.lex, question).loosely
    return next((m.text for m in (*r.contact, *r.near)), "")


def _answer_clash(question: str, answer: str, offered: list[str], context: Context) -> str | None:
    r, told = read(context.lex, question), read(context.lex, answer)
    early = context.clip.role == "pre_event"
    if answer in ("yes", "no"):
        clash = None if r.contact or r.near or r.trouble else _yes_no_clash(r, answer == "yes", context)
        if clash:
            return f"'{answer}', but the metadata says {clash}"
        return None if early else _event_clash(r.loosely, question, answer, context)
    if clash := _named_clash(question, answer, offered, context):
        return clash
    if early or context.cls is None:
        return None
    said = class_clash(told, context.cls) if told.marks and not told.spared else None
    if said and not HYPOTHETICAL.search(question) and not HYPOTHETICAL.search(answer):
        return f"'{answer}' says {said[1]}, but the event is {context.cls}"
    role, part = (context.event or {}).get("ego_role"), _part(question, answer) if context.cls == "collision" else None
    if (
        part
        and role in ("striking", "struck", "witness")
        and part != role
        and not told.maybe
        and not told.spared
        and not told.near
    ):
        return f"'{answer}' says {part}, but the ego vehicle is {role}"
    return _time_clash(question, answer, offered, context)


def _event_clash(r: Reading, question: str, answer: str, context: Context) -> str | None:
    """A yes or no to a question about contact or a near miss, and with whom, against the event."""
    cls, said = ("near_collision", r.near) if r.near else ("collision", r.contact)
    calm = [*r.normal, *(m for m in r.quiet if m.kind == "conflict")]
    witness = (context.event or {}).get("ego_role") == "witness"
    if not (said or calm) or context.cls is None or witness or WH.search(question) or HYPOTHETICAL.search(question):
        return None
    partner = context.known("partner")
    about = {(n, v) for m in r.marks for n, vs in m.names for v in vs if context.known(n) != v}
    named = {v for m in r.marks for v in m.who}
    whom = all(n == "partner" for n, _ in about)
    if said and about and whom and answer == "yes" and context.cls == cls and partner:
        return f"'yes' to '{question}', but the partner is {partner}" if partner not in named else None
    if said and whom and answer == "yes" and partner in named and context.cls != cls:
        return f"'yes' to '{said[0].text}', but the event is {context.cls}"
    if said and not about and (answer == "yes") != (context.cls == cls):
        return f"'{answer}' to '{said[0].text}', but the event is {context.cls}"
    if not said and not about and (answer == "yes") != (context.cls == "normal"):
        return f"'{answer}' to '{calm[0].text}', but the event is {context.cls}"
    return None


def _named_clash(question: str, answer: str, offered: list[str], context: Context) -> str | None:
    """An answer that is one of several values of a name, against the value that holds."""
    named, several, nobody = _names(context.lex, tuple(offered), answer)
    for name, mine in named:
        holds = context.known(name)
        if holds is None or (name == "partner" and not _of_partner(question, context)):
            continue
        if _weak(context.pack, name, answer) and name not in asked_of(question):
            continue
        kind = name == "scene" and _value(context.pack, "road", answer)  # said beside any layout
        if not kind and mine not in (holds, *context.lex.together.get(name, {}).get(holds, ())):
            return f"'{answer}', but {name} is {holds}"
    clash = attribute_clash(read(context.lex, answer), context) if several else None
    if clash:
        return f"'{answer}', but {clash[1]} is {clash[2]}"
    if nobody:
        true = zip(offered, facts_of(context.lex, tuple(offered), context.held), strict=True)
        if said := next((o for o, names in true if names), None):
            return f"'{answer}', but the metadata says '{said}'"
    return None


@lru_cache(maxsize=1 << 14)
def _names(lex: Lexicon, offered: tuple[str, ...], answer: str) -> tuple[tuple[tuple[str, str], ...], bool, bool]:
    """(name, value) that an answer says where another option names one, too; whether it says values of the metadata as
    others do; whether it says "nothing"."""
    valued = {name: [v for o in offered if (v := _value(lex.pack, name, o))] for name in NAMED}
    mine = ((name, _value(lex.pack, name, answer)) for name in NAMED if len(valued[name]) > 1)
    names = {n for n, *_ in said_of(lex, answer)}
    several = sum(not names.isdisjoint(n for n, *_ in said_of(lex, o)) for o in offered) > 1
    return tuple((n, v) for n, v in mine if v), several, bool(NOBODY.match(answer))


@lru_cache(maxsize=1 << 14)
def _weak(pack: TaskPack, name: str, option: str) -> bool:
    return not set(re.findall(r"\w+", option.casefold())).isdisjoint(pack.ontology[name].get("x-weak", ()))


def _of_partner(question: str, context: Context) -> bool:
    at = context.event_s
    far = [t for t in times(question) if at is not None and not t.low - FAR_S <= at <= t.high + FAR_S]
    return bool(PARTNER.search(question)) and not far


@lru_cache(maxsize=1 << 16)
def _value(pack: TaskPack, name: str, option: str) -> str | None:
    """The value of a name that an option says, with an adjective at most."""
    by = _spoken(pack, name)
    if option.casefold() in by:
        return by[option.casefold()]
    known = {str(v) for v in pack.ontology.get(name, {}).get("enum", ())}
    only = {stem(k): v for k, v in kinds(pack).items() if v in known}
    said = [w for w in meaning(pack, option).words if name == "partner" or w not in SLIGHT]
    named = {only.get(w, w) for w in said} & known
    most = {"partner": 2, "cause": 0, "class": 0}.get(name, 1)
    return named.pop() if len(named) == 1 and len(said) <= most else None


def _yes_no_clash(r: Reading, yes: bool, context: Context) -> str | None:
    """A question about values ("rain or snow?") is answered yes if one of them holds; what it denies must not."""
    for name in sorted({n for m, _ in r.values for n, _ in m.names if n != "partner"}):
        asked = {v for m, said in r.values if said and m.sure for n, vs in m.names if n == name for v in vs}
        holds = context.known(name)
        alone = {v for m, said in r.values if said for n, vs in m.names if n == name and len(vs) == 1 for v in vs}
        loosely = yes and alone & set(context.lex.together[name].get(str(holds), ()))
        if holds and asked and (holds in asked) != yes and not loosely:
            return f"{name}: {holds}"
    return None


@cache
def _spoken(pack: TaskPack, name: str) -> dict[str, str]:
    phrases = pack.ontology.get(name, {}).get("x-phrases", {})
    return words(pack).get(name, {}) | {p.casefold(): v for v, p in phrases.items()}


EGO = r"(?:it|we|us|(?:the |our )?(?:ego|camera|dashcam|recording|filming)(?:[ -](?:vehicle|car|driver))?)"
MEETS = compiled(r"""\b(?:(?:r[au]ns?|crash\w*|bump\w*|drives?|drove|slam\w*|smash\w*|plou?(?:gh|w)\w*|rides?|rode)
 (?:right |straight )?into|hit|hits|strikes?|struck|touch(?:es|ed)?|rear-?end(?:s|ed)|ram(?:s|med)|collide[sd]? with
|knocks? (?:down|over)|sideswipe[sd]?)\b""", re.I)  # fmt: skip
ITS, OURS = re.compile(r"\W*it\b", re.I), re.compile(rf"\b(?!it\b){EGO}\b", re.I)
DOES, UNDERGOES = re.compile(rf"^\W*{EGO}\b", re.I), re.compile(rf"\b{EGO}\W*$", re.I)
PASSIVE = re.compile(r"\b(?:is|was|are|were|be|been|being|gets?|got|getting)\W+(?:\w+\W+)?$", re.I)


@lru_cache(maxsize=1 << 14)
def _part(question: str, answer: str) -> str | None:
    """striking or struck, by who stands before and who behind a contact in a short answer about the ego vehicle."""
    m = MEETS.search(answer)
    if not m or DENIED.search(answer) or (ITS.match(answer) and not OURS.search(question)):  # "it": who is asked of
        return None
    before, behind = answer[: m.start()], answer[m.end() :]
    does, undergoes = bool(DOES.match(before)), bool(UNDERGOES.search(behind))
    if does == undergoes or len(answer) > 80:
        return None
    return "striking" if does != bool(PASSIVE.search(before)) else "struck"


# -- what an option says ------------------------------------------------------------------------------------------
@lru_cache(maxsize=1 << 14)
def asked_of(question: str) -> frozenset[str]:
    return frozenset(n for n, said in ASKED.items() if said.search(question))


@lru_cache(maxsize=1 << 14)
def facts_of(lex: Lexicon, offered: tuple[str, ...], held: Held) -> tuple[frozenset[str] | None, ...]:
    """For each option the names of the metadata of which it says what holds, and nothing more; empty if something of it
    does not hold; None if it says other things."""
    return tuple(_facts(lex, option, held.known) for option in offered)


def _facts(lex: Lexicon, option: str, known: Mapping[str, str | None]) -> frozenset[str] | None:
    said = said_of(lex, option)
    if not _kinds(lex.pack).isdisjoint(meaning(lex.pack, option).words):
        return None  # that it is a junction makes it no T-junction
    true = set()
    for name, meant, yes in said:
        holds = known[name]
        if holds is None or (yes and len(meant) > 1 and holds in meant):
            return None
        if (holds in meant) != yes:
            return frozenset()
        true.add(name)
    if said:
        return frozenset(true)
    true |= {n for n in ASKED if _value(lex.pack, n, option) == known.get(n) is not None}
    if classes := known["class"] and class_of(lex, option):
        return frozenset(("class",) if known["class"] in classes else ())
    return frozenset(true) or None


@lru_cache(maxsize=1 << 16)
def class_of(lex: Lexicon, option: str) -> frozenset[str]:
    """The classes that an option leaves open, if it says nothing but a class, or that there is contact or none."""
    r = read(lex, option).loosely
    if not set(meaning(lex.pack, option).words) <= BARELY:
        return frozenset()
    says = [c for c, said in (("collision", r.contact), ("near_collision", r.near), ("normal", r.normal)) if said]
    return frozenset(says if len(says) == 1 and not r.spared else ("near_collision", "normal") if r.spared else ())


@cache
def _kinds(pack: TaskPack) -> frozenset[str]:
    return frozenset(meaning(pack, kind).words[-1] for kind in kinds(pack))


@lru_cache(maxsize=1 << 16)
def said_of(lex: Lexicon, option: str) -> tuple[tuple[str, frozenset[str], bool], ...]:
    """What an option says of weather, light and place, if it says nothing more: (name, values, asserted or denied)."""
    r = read(lex, option)
    found = [(n, vs, yes) for m, yes in r.values for n, vs in m.names if n != "partner"]
    if not found or len(r.values) != sum(m.kind == "value" for m in r.marks):
        return ()
    covered = {w for m, _ in r.values for w in meaning(lex.pack, m.text).words}
    return tuple(found) if set(meaning(lex.pack, option).words) <= covered | SLIGHT else ()


# -- times -----------------------------------------------------------------------------------------------------------
PART = re.compile(r"\b(first|second|third|fourth|last|final|middle) (half|third|quarter)\b", re.I)
EDGE = compiled(rf"""\b(after|past|later than|before|earlier than|until|first|last|final) (?:second )?
(\d+(?:\.\d+)?|{NUMBERS}|second\b(?! ?(?:\d|half|third|quarter)))(?= ?s\b| ?sec|\W*$)""", re.I)  # fmt: skip
ENDS = re.compile(r"\b(?:at|near|towards?|close to) the (?:very )?(start|beginning|end)\b", re.I)
NEVER = re.compile(r"\b(at no (time|point)|never|not at all|no such moment|does not happen)\b", re.I)


@lru_cache(maxsize=1 << 14)
def times_offered(offered: tuple[str, ...]) -> bool:
    return (
        sum(bool(PART.search(o) or NEVER.search(o) or times(o) or EDGE.search(o) or ENDS.search(o)) for o in offered)
        > 1
    )


@lru_cache(maxsize=1 << 16)
def ranges(option: str, end: float) -> list[tuple[float, float]]:
    """The ranges of seconds that an option names in a clip of `end` seconds."""
    told = []
    for part in PART.finditer(option):
        n = {"half": 2, "third": 3, "quarter": 4}[part[2].casefold()]
        place = part[1].casefold()
        i = {"last": n - 1, "final": n - 1, "middle": n // 2, "second": 1, "third": 2, "fourth": 3}.get(place, 0)
        told.append((end * i / n, end * (i + 1) / n))
    for m in EDGE.finditer(option):
        said = "one" if m[2].casefold() == "second" else m[2].casefold()
        s = float(NUMBERS.split("|").index(said)) if said[0].isalpha() else float(said)
        late = m[1].casefold() in ("after", "past", "later than")
        told.append(
            (s, end) if late else (max(0.0, end - s), end) if m[1].casefold() in ("last", "final") else (0.0, s)
        )
    told += [(end - 1.0, end) if m[1].casefold() == "end" else (0.0, 1.0) for m in ENDS.finditer(option)]
    return told or [(t.low, t.high) for t in times(option)]


def labelled(question: str, context: Context) -> float | None:
    """The labelled time that a question asks for, if it does."""
    event = context.event or {}
    if event.get("time_basis") == "onset" or not PEAK.search(question):
        return None
    return event.get("alert_s" if FIRST.search(question) and not GRAVEST.search(question) else "event_s")


def _time_clash(question: str, answer: str, offered: list[str], context: Context) -> str | None:
    """A chosen time against the labelled one; the question says whether of the alert or of the event."""
    if not times_offered(tuple(offered)):
        return None
    told = ranges(answer, context.clip.duration_s)
    at, asked = labelled(question, context), PEAK.search(question)
    if context.cls == "normal" and told and asked:
        return f"'{answer}', but nothing happens in the clip"
    witness = (context.event or {}).get("ego_role") == "witness"
    if context.cls in ("collision", "near_collision") and NEVER.search(answer) and not witness:
        return f"'{answer}', but the event is {context.cls}"
    if not told or at is None:
        return None
    far = _far(told[0], at)
    near = [_far(r, at) for o in offered if o != answer for r in ranges(o, context.clip.duration_s)[:1]]
    wrong = far > FAR_S or (far > FAR_S / 2 and min(near, default=far) < far / 4)
    return f"'{answer}', but the label says {at} s" if wrong else None


def _far(span: tuple[float, float], at: float) -> float:
    return max(span[0] - at, at - span[1], 0.0)
