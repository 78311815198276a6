"""What the options of a question mean: which say the same, which includes another, which is about the others.

An option is read as the stems of its words, without those that carry little, words of one meaning as one. In doubt two
options differ: what makes an opposite (left and right, not, before and after, who does and who undergoes, numbers)
always counts.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import NamedTuple

from curation.check_phrases import compiled
from curation.tasks import TaskPack, words

# Words of one meaning, those for the first; what the ontology says of its values is not repeated.
ALIKE = """stop, halt, come stop, come halt, come standstill, come rest, draw up, pull up
brake, apply brakes, hit brakes, step brakes, use brakes, press brakes
slow, slow down, decelerate, reduce speed, lose speed, drop speed, lower speed
accelerate, speed up, gain speed, pick up speed, go faster, increase speed, drive faster
reverse, back up, drive backward, go backward, move backward, drive backwards, go backwards, move backwards
u turn, turn round, turn around
straight, straight on, straight ahead, go straight, continue straight, drive straight, keep straight, proceed straight
straight, go straight on, drive straight on, keep straight on, go straight ahead, continue straight ahead
turn right, right turn
exit, leave, take exit, leave exit, take next exit, leave next exit
turn left, left turn
leftmost, left most, far left
rightmost, right most, far right
past, get past, go past
cyclist, person riding bicycle, person riding bike, bike rider, bicycle rider
cyclist, person bicycle, person bike, someone bike, someone bicycle
motorcyclist, person riding motorcycle, person riding motorbike, person motorcycle, person motorbike
left, left hand, left side, left hand side, leftward
right, right hand, right side, right hand side, rightward
wait, stand still, remain stationary, stay put, stay stationary
begin, start, commence
happen, occur, take place
overtake, pass
yield, give way
collision, run into, crash into, bump into, smash into, drive into, knock into, slam into, touch, contact
person, human being, human, individual
man, guy, gentleman
woman, lady
child, kid
police officer, policeman, policewoman, cop
car, automobile
traffic light, traffic signal, stoplight, stop light
pavement, sidewalk, footpath, footway
windscreen, windshield
petrol station, gas station, filling station
roadworks, road works, construction work, construction zone, construction site
guardrail, crash barrier, guard rail
indicator, turn signal, blinker
hard shoulder, shoulder, emergency lane
lamp post, lamppost, street lamp, streetlight, street light
level crossing, railway crossing, railroad crossing, train crossing
tram, streetcar
big, large, huge
small, little, tiny
fast, quick, rapid, swift, high speed, great speed
hard, sharply, heavily, firmly, strongly, forcefully
near, close, nearby
beside, next, alongside
ahead, front
because, due, owing, since
sudden, abrupt
almost, nearly
many, lot, numerous
empty, deserted
busy, crowded
toward, direction
until, till
middle, center
kind, type, sort
amber, yellow
nobody, no one, none
somebody, someone
clip, video, footage
lead vehicle, vehicle ahead, vehicle front, preceding vehicle
lead car, car ahead, car front, preceding car
road, street, roadway
approach, come closer, come nearer, get closer, get nearer
depart, drive off, drive away, move off, pull away, set off
slippery, slick
icy, frozen
block, obstruct
hide, conceal, obscure
honk, sound horn, beep, hoot, use horn, blow horn
stay, remain, keep
continue, carry on, go on, proceed, move on, keep going
traffic jam, congestion, gridlock, tailback
pram, stroller, pushchair, baby carriage, buggy
forest, wood, woods, woodland
cycle lane, bike lane, bicycle lane, cycle path
kmh, km h, kph, kilometers per hour, km per hour
mph, miles per hour
night, sun below horizon, after dark, after nightfall
four-wheeler, vehicle four wheels, four wheeled vehicle, four wheeled motor vehicle, motor vehicle four wheels
two-wheeler, two wheeler, vehicle two wheels, two wheeled vehicle"""
IRREGULAR = """fall fell fallen; run ran; drive drove driven; ride rode ridden; go went gone; come came; strike struck;
    stand stood; break broke broken; swing swung; take took taken; give gave given; hold held; keep kept; make made;
    lose lost; rise rose risen; shine shone; throw threw thrown; see saw seen; overtake overtook overtaken; show
    shown; man men; woman women;
    child children; person people; foot feet; begin began begun; sit sat; lie lay lying lain; meet met; slide slid;
    spin spun; blow blew blown; fly flew flown; draw drew drawn; gray grey; plow plough; kerb curb; tire tyre;
    program programme; no not never without cannot fail failed fails"""
FILLERS = """a an the this that these those its he she they is are was were be been being am do does did has have
    had there here in on at of to by with for some any which who as so also then will would make makes making take
    takes perform performs own very just complete weather condition conditions sky physical color colored
    colour coloured i e g s onto their his her"""
NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve"
# Words beside which the order of all others counts; and words whose own order counts, beside numbers and partners.
ORDER = """before after until than from behind over under above below into off follow overtake collision because if
    while when no hit but"""
ACTORS = """ego vehicle driver rider left right red green blue white black yellow gray silver brown up down first last
    user tram train tractor"""
LEFT_OUT, ORDERED, ACTS = (frozenset(said.split()) for said in (FILLERS, ORDER, ACTORS))
OTHER = frozenset(("other", "another", "else", "differ", "different", "no", "or", "and"))
BE = r"\b(?:is|are|was|were|be|been|being|gets?|got|getting) "
PASSIVE = re.compile(rf"^(.*?){BE}((?:\w+ )?\w+(?:ed|en|it|ck|un|ut|own|ught|ung)) by (.+)$")
UNDERGOES = compiled(rf"""{BE}(?=(?:\w+ly )?(?:hit|struck|passed|overtaken|followed|touched|pushed|blocked|cut
|rammed|knocked|forced|chased|avoided|missed|shunted|rear|side)\b)""")
IT_IS = re.compile(r"\bit (?:is|was)\b")
EGO = re.compile(
    r"\b(?:(?:the|our|my) )?(?:ego|camera|dashcam|recording)(?: (?:vehicle|car))?\b|\b(?:it|itself|we|us)\b"
)
LOOSE = re.compile(r"\b(?:about|around|approximately|roughly|exactly|between|from|second) +(?=\d)|[~≈]")
RANGE = re.compile(r"(?<=\d)(?: ?s(?:ec(?:ond)?s?)?)? ?(?:to|and|-|–|until|through) ?(?=\d)")
SECONDS = re.compile(r"(\d) ?s(?:ec(?:ond)?s?)?\b")
TOKEN = re.compile(r"\d+(?:st|nd|rd|th)\b|\d+(?:[.,]\d+)?|[^\W\d_]+")
DIGIT, FIGURE = re.compile(r"\d"), re.compile(r"\d+(?:[.,]\d+)?")
SPELLED = re.compile(rf"\b(?:{NUMBERS.replace(' ', '|')})\b")
DOUBLED = re.compile(r"([bdgklmnprt])\1$")


class Meaning(NamedTuple):
    """An option's words in order, and what must be equal in options that say the same."""

    words: tuple[str, ...]
    key: object


def _regular(word: str) -> str:
    """A word without its ending and in one spelling; only ever compared with another one."""
    if len(word) < 4:
        return word
    w = re.sub(r"ie[sd]$", "y", word)
    if w.endswith("s") and w[-2] not in "siu":
        w = w[:-1]
    for end in ("ing", "ed", "ly", "ward"):
        if w.endswith(end) and len(w) > len(end) + 2 and re.search("[aeiouy]", w[: -len(end)]):
            w = w[: -len(end)]
            break
    w = DOUBLED.sub(r"\1", w.removesuffix("e")).replace("oeu", "eu").replace("our", "or")
    return re.sub(r"is$", "iz", re.sub(r"tr$", "ter", w))


IRREGULARS = {w: _regular(group.split()[0]) for group in IRREGULAR.split(";") for w in group.split()}


@lru_cache(maxsize=1 << 14)
def stem(word: str) -> str:
    return IRREGULARS.get(word) or IRREGULARS.get(w := _regular(word), w)


def kinds(pack: TaskPack) -> dict[str, str]:
    """The words that name only a kind of a value, with the value: "taxi", a car."""
    return {k: words(pack)[n][k] for n, node in pack.ontology.items() for k in node.get("x-kinds", ())}


@cache
def _wider(pack: TaskPack) -> dict[str, frozenset[str]]:
    """By word, the words that include it: "taxi" is a car, a car is a vehicle."""
    found: dict[str, set[str]] = {}
    for kind, value in kinds(pack).items():
        found.setdefault(meaning(pack, kind).words[-1], set()).add(value)
    for node in pack.ontology.values():
        for wide, narrow in node.get("x-wider", {}).items():
            for v in narrow:
                found.setdefault(v, set()).add(meaning(pack, wide).words[-1])
    for more in list(found.values()):
        more |= {w for m in more for w in found.get(m, ())}
    return {w: frozenset(more) for w, more in found.items()}


@cache
def _known(pack: TaskPack) -> tuple[dict[str, str], dict[str, list[tuple[tuple[str, ...], str]]], frozenset[str]]:
    """Single words by what they mean; phrases by their first word, the longest first; words whose order counts."""
    only = kinds(pack)
    plain: dict[str, str] = {}
    phrases: dict[tuple[str, ...], str] = {}
    for by in words(pack).values():
        for word, value in by.items():
            said = _stems(_split(word))
            if value and word not in only and len(said) > 1:
                phrases.setdefault(said, value)
            elif value and word not in only and said:
                plain.setdefault(word, value)
                if not word.endswith("ing"):  # "parked" is no car park
                    plain.setdefault(said[0], value)
    wider = [wide for node in pack.ontology.values() for wide in node.get("x-wider", ())]
    phrases |= {said: word for word in (*wider, *only) if len(said := _stems(_split(word))) > 1}
    for line in ALIKE.split("\n"):
        first, *others = (_stems(_split(p)) for p in line.split(", "))
        one = phrases.get(first) or plain.get(first[0] if len(first) == 1 else "", " ".join(first))
        phrases |= dict.fromkeys((first, *others), one)
    by_first: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for said, one in sorted(phrases.items(), key=lambda p: -len(p[0])):
        by_first.setdefault(said[0], []).append((said, one))
    acts = ACTS | {str(v) for v in pack.ontology.get("partner", {}).get("enum", ())}
    return plain, by_first, frozenset(acts)


def _split(text: str) -> list[str]:
    """The words of a text that carry something, numbers as figures, who undergoes something behind who does it."""
    low = text.casefold().replace("n't", " not").replace("n’t", " not").replace("_", " ").replace("-", " ")
    low = SPELLED.sub(lambda m: str(NUMBERS.split().index(m.group())), low)
    if DIGIT.search(low):
        low = SECONDS.sub(r"\1", RANGE.sub(" ", LOOSE.sub("", low)))
    if m := PASSIVE.match(low):
        low = f"{m[3]} {m[2]} {m[1].strip() or 'itself'}"
    low = EGO.sub("ego", IT_IS.sub(" ", UNDERGOES.sub("undergo ", low)))
    return [w for w in TOKEN.findall(low) if w not in LEFT_OUT] or TOKEN.findall(low)


def _stems(said: list[str]) -> tuple[str, ...]:
    return tuple(f"{float(w.replace(',', '.')):g}" if FIGURE.fullmatch(w) else stem(w) for w in said)


@lru_cache(maxsize=1 << 16)
def meaning(pack: TaskPack, option: str) -> Meaning:
    """What an option says, as far as words tell."""
    plain, phrases, acts = _known(pack)
    said = _split(option)
    stems = _stems(said)
    found: list[str] = []
    at = 0
    while at < len(stems):
        same = next((p for p in phrases.get(stems[at], ()) if stems[at : at + len(p[0])] == p[0]), None)
        found.append(same[1] if same else plain.get(said[at]) or plain.get(stems[at], stems[at]))
        at += len(same[0]) if same else 1
    if found[:1] == ["ego"]:
        found = found[1:] or found
    return Meaning(tuple(found), _key(found, acts))


def _key(found: list[str], acts: frozenset[str]) -> object:
    """The words as a set, for each that "and" joins; but where order counts, in order."""
    if not ORDERED.isdisjoint(found):
        return tuple(w for w in found if w != "and")
    parts: list[list[str]] = [[]]
    for w in found:
        if w == "and":
            parts.append([])
        else:
            parts[-1].append(w)
    return frozenset((frozenset(p), tuple(w for w in p if w in acts or w[0].isdigit())) for p in parts)


def like(a: Meaning, b: Meaning) -> bool:
    """Do two options differ by a slip of the pen, or one by a word of little weight among many?"""
    only_a, only_b = [w for w in a.words if w not in b.words], [w for w in b.words if w not in a.words]
    if len(a.words) != len(b.words) or len(only_a) != 1 or len(only_b) != 1:
        return False
    x, y = only_a[0], only_b[0]
    if min(len(x), len(y)) < 6 or x[0] != y[0]:
        return False
    longest = max(len(x), len(y))
    head = next((i for i, (c, d) in enumerate(zip(x, y, strict=False)) if c != d), min(len(x), len(y)))
    tail = next((i for i, (c, d) in enumerate(zip(x[::-1], y[::-1], strict=False)) if c != d), min(len(x), len(y)))
    return head + tail >= longest - 1 or (sorted(x) == sorted(y) and head + tail >= longest - 2)


def includes(pack: TaskPack, wide: Meaning, narrow: Meaning) -> str:
    """How one option says in wider words what another says: "surely" ("a vehicle", "a red car"), "perhaps", where it
    only says less ("a car", "a red car"), or not at all."""
    more, less = set(narrow.words) - set(wide.words), set(wide.words) - set(narrow.words)
    if not more or not ORDERED.isdisjoint(less) or not OTHER.isdisjoint(wide.words):
        return ""
    if not less:
        plain = isinstance(wide.key, frozenset) and isinstance(narrow.key, frozenset) and OTHER.isdisjoint(more)
        return "perhaps" if plain and len(more) < 3 and not any(w[0].isdigit() for w in more) else ""
    by = _wider(pack)
    return "surely" if all(any(w in by.get(m, ()) for m in more) for w in less) else ""


# -- options about the others ----------------------------------------------------------------------------------------
THING = "(?:options?|answers?|choices?|alternatives?|statements?|possibilit(?:y|ies)|responses?|suggestions?|claims?)"
SHOWN = "(?:listed|given|named|mentioned|stated|offered|proposed|aforementioned)"
MANY = """(?:all|none|both|any|neither|nothing|each|every(?: ?one|thing)?|either|several|some|most|two|three|four|one
|multiple|various|more than (?:one|two)|at least (?:one|two)|exactly (?:one|two)|only (?:one|some|two)
|not (?:all|any|one)|no one
|(?:a )?(?:mix|mixture|combination|blend))"""
PLACE = "(?:first|last|others?|remaining|previous|preceding|former|latter|rest)"
COUNT = "(?: (?:two|three|four|five|ones?))?"
CAUSES = "(?:reasons|causes|factors|conditions|things|actions|events)"
IS = "(?:is|are|was|were|can|could|may|might|do|does)"
BE_ALL = "(?:is|are|could be|can be|may be|might be)(?: all| both| equally)?"
TRUE = "(?:right|correct|true|possible|wrong|false|plausible|valid|likely)"
FIT = "(?:apply|applies|holds?|fits?)"
NO = "(?:no|none|not)"
LETTER = r"\(?[a-h]\)?"
JOINS = r"(?:, ?|,? (?:and|or|nor|plus|&|\+|/) ?|[&+/])"
ABOVE = compiled(rf"""\b{MANY}(?: of)?(?: the| these| those)?(?: {PLACE}| {SHOWN})?{COUNT}(?: {PLACE})? {THING}\b
|\b{MANY}(?: of)? the (?:others|rest)\W*$
|\b{MANY} of (?:the |these |those )?(?:{SHOWN} )?{CAUSES}\W*$
|\b{MANY} of (?:the )?(?:above|below|foregoing|these|those|list|{PLACE}{COUNT})
(?=\W*$| (?:{IS}|happens?|together|combined|at once|equally|above|{SHOWN}|{FIT})\b)
|\b{MANY}(?: of)?(?: the| these| those)?(?: \w+)? (?:(?:that|which) (?:is|are) )?{SHOWN}(?: here| above)?\W*$
|\b{MANY} (?:from|in|on) (?:this|the|that) list\b
|\b(?:all|both|none|any|everything|nothing|neither) above\b|\bthe above\b
|\bnot (?:listed|among (?:them|these|those|the)|(?:on|in) (?:the|this) list|one of (?:these|those)\W*$)
|\b(?:{MANY}|they)(?: of (?:them|these|those))?{COUNT} (?:{BE_ALL} {TRUE}|{FIT})\W*$
|^\W*(?:both |either |neither |only )?(?:{THING} )?{LETTER}(?:{JOINS}{LETTER})+
(?: (?:only|together|both|combined|at once|{THING}|(?:is|are|apply)\b.*))?\W*$
|\b{THING} (?:\d|{LETTER}){JOINS}(?:{THING} )?(?:\d|{LETTER})(?!\w)
|\bthe (?:first|second|third|last) (?:and|or|nor) (?:the )?(?:second|third|fourth|last)(?: ones?| {THING})?\W*$
|\b(?:same as|see|like|as) (?:the )?(?:above|first|previous one|{THING})\W*$
|\b{NO}(?: \w+)? {THING} (?:is|are|{FIT})\b
|\b{NO} (?:the |an? )?(?:{TRUE}|suitable|matching|other) {THING}|\bthe other {THING}\b""", re.I)  # fmt: skip
BARE = compiled(r"""^\W*(?:all|both|neither|either|any|each|every one|none(?= of))(?: (?:two|three|four|five))?
(?: of (?:them|it|the (?:two|three)))?\W*$
|\b(?:any|all|both|none|neither|either|each|some) of them\W*$""", re.I)  # fmt: skip
ELSE = compiled(r"""^\W*(?:(?:an)?others?|(?:some|any)(?:thing|one|body|where) (?:else|other|different)
|(?:both |only )?\(?(?:[1-5]|iv|i{1,3})\)? (?:and|or|&) \(?(?:[1-5]|iv|i{1,3})\)?(?: only)?)\W*$""", re.I)  # fmt: skip
ENUMERATED = re.compile(r"\b(?:or|and|two|both|either|which of)\b", re.I)


def about_others(option: str) -> str:
    """How an option is about the other options: plainly, or unless the question names what it means ("both"), or so
    that it may be something of its own ("something else"); nothing if it is not."""
    if ABOVE.search(option):
        return "plainly"
    return "unless asked" if BARE.match(option) else "perhaps" if ELSE.match(option) else ""


@lru_cache(maxsize=1 << 14)
def hints(pack: TaskPack, option: str) -> tuple[str, ...]:
    """How the words begin one of which a text must have to say the longest word of an option."""
    plain, phrases, _ = _known(pack)
    word = max(meaning(pack, option).words, key=len, default="")
    said = {w for w, v in (plain | IRREGULARS).items() if v == word}
    said |= {w for w, same in phrases.items() if any(one == word for _, one in same)}
    said |= set(word.replace("_", " ").split()) | {n for i, n in enumerate(NUMBERS.split()) if str(i) == word}
    return tuple({w[:3] for w in said})
