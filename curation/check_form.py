"""The rules for any text: refusals, echoes, placeholders, markup, language, and what no dashcam shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, reduce
from importlib.resources import files
from operator import or_
from typing import NamedTuple

from curation.check_phrases import any_of, one_of, words_of
from curation.tasks import TaskPack
from curation.types import Json

MARKUP = any_of(r"""
    ^[^\S\n]*(?:#{1,6}\s|[-*+•–]\s|>\s|```|~~~)|^[^\S\n]*(?:\d+|[a-z])[.)]\s.*\n|^[^\S\n]*(?:-{3,}|={3,}|\*{3,})\s*$
    \*\*\S|(?<!\w)__\w|~~\S|==\w|`|\]\(|\|\s*:?-{3}|\|[^|]+\|
    </?[a-z]+[ >/]|(?<!\w)\*\w[^*]*\*|(?<!\w)_\w[^_]*\w_(?!\w)|\\n|\\[a-z]+\{|&(?:[a-z]+|#\d+);
""", re.I | re.M)  # fmt: skip
NO_PLATE = (
    "(?!(?:US|SR|CR|RT|NH|SH|BR|CA|FM|HWY|ISO|BMW|MAN|SUV|VAN|CAR|BUS|DAF|GMC|KIA|AMG|GPS|FPS|KTM|AND|THE|VIA)[- ]?\\d)"
)
PLATE = any_of(rf"""
    \b(?:[Pp]lates?|[Rr]egistration|[Rr]egistered|[Rr]eg|[Tt]ag
        |[Ll]icen[cs]e)\b(?:\W+\w+){{0,5}}?\W+(?=[A-Z0-9-]*\d)[A-Z0-9]{{2,}}(?:[- ][A-Z0-9]+)*\b
    \b[Pp]lates? (?:number )?(?:reads?|says?|shows?|spells?|is|bears?|bearing|reading
        |(?:begin|start|end)\w* (?:with|in))\W+[A-Z]{{2,}}\b
    \b{NO_PLATE}[A-Z]{{2}}\d{{2}} ?[A-Z]{{3}}\b|\b{NO_PLATE}[A-Z]{{2}}[- ]?\d{{3}}[- ]?[A-Z]{{2}}\b|\b(?!19
        |20)\d{{4}}[ -]?[B-DF-HJ-NP-TV-Z]{{3}}\b
    \b[A-Z]{{2}}[ -]?\d{{1,2}}[A-Z]?[ -]?[A-Z]{{1,3}}[ -]?\d{{3,4}}\b|\b\d{{2}}[ -]?BH[ -]?\d{{4}}\b
        |\b[A-ZÄÖÜ]{{1,3}}-[A-Z]{{1,2}}[ -]?\d{{1,4}}\b
    \b\d[A-Z]{{3}}\d{{3}}\b|\b[A-Z]{{3}}\d[A-Z]\d{{2}}\b|\b{NO_PLATE}[A-Z]{{3}}(?:-\d{{3,4}}| \d{{4,5}})\b
        |\b\d{{3}}-[A-Z]{{3}}\b
        |\b{NO_PLATE}[A-Z]{{2}}(?:-\d{{4,5}}| \d{{5}})\b
    \b\d{{2}} ?(?!AM|PM|KM|MPH|KPH|FPS|CC|HP)[A-Z]{{1,3}} ?\d{{3,4}}\b|\b[A-Z]\d{{3}}[A-Z]{{2}} ?\d{{2,3}}\b
        |\b{NO_PLATE}[A-Z]{{3}} ?\d{{2,3}} ?[A-Z]\b
    \b(?!I-|US-|SR-)(?=[\d-]*[A-Z])(?=[A-Z-]*\d)(?:[A-Z]{{1,3}}|\d{{1,3}})-(?:[A-Z]{{1,3}}
        |\d{{1,4}})-(?:[A-Z]{{1,3}}|\d{{1,6}})\b
    [\u4e00-\u9fff] ?[A-Z][·• -]?[A-Z0-9]{{5,6}}\b|\d{{2,3}}[가-힣] ?\d{{4}}|[А-Я]\d{{3}}[А-Я]{{2}} ?\d{{2,3}}
        |[\u3040-\u30ff] ?\d{{2}}-\d{{2}}
""")  # fmt: skip
PERSON = any_of(r"""
    \b(?:Mr|Mrs|Ms|Miss|Dr|Officer|Sgt|Sergeant|Constable|Professor|Sir|Madam)\.? [A-Z][a-z]+
    \b(?:named|called|names? (?:is|was|of)|identified as|known as|driver|pedestrian|cyclist) (?!Ego|Side)[A-Z][a-z]+
""")  # fmt: skip
NAME = re.compile(r"[A-Z](?<=[a-z,] [A-Z])[a-z]{2,}(?: [A-Z][a-z]+)*")
NAMES_FIRST = re.compile(r"[A-Z][a-z]+ [A-Z][a-z]+\b(?!:)")
DAYS = """Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June July August
    September October November December Jersey English Ego Vehicle"""
PLAIN = set(DAYS.split())


PART = re.compile(r"<([a-z]+)>")
FORMS: Json = json.loads(files("schemas").joinpath("words/forms.json").read_text(encoding="utf-8"))


def _expression(lines: list[str]) -> re.Pattern[str]:
    whole = "|".join(lines)
    while (spelled := PART.sub(lambda m: FORMS["parts"].get(m[1], m[0]), whole)) != whole:
        whole = spelled
    return re.compile(whole, re.I)


# Rule, expression, the words of which every match has one (see forms.json), and what is wrong.
PATTERNS = [
    *((rule, _expression(node["lines"]), node["words"], node["why"]) for rule, node in FORMS["rules"].items()),
    ("plate", PLATE, "0 plate plates", "reads like a number plate"),
]
WHOLE = _expression(FORMS["whole"])
TRIGGERS: dict[str, tuple[int, ...]] = {}  # by word, the patterns that want it
for _number, _pattern in enumerate(PATTERNS):
    for _needed in _pattern[2].split():
        TRIGGERS[_needed] = (*TRIGGERS.get(_needed, ()), _number)
PERSONS = words_of("""mr mrs ms miss dr officer sgt sergeant constable professor sir madam named called name names
    identified known driver pedestrian cyclist""")  # fmt: skip
WHOLES = words_of("""test testing nil string text example caption description placeholder answer question option
    sentence value label choice distractor dummy sample summary alternative segment step clause item event scene
    reason name title word object category entry field none""")  # fmt: skip
CAPITALS = re.compile(r"\b[A-Z]{2,} [A-Z]{2,}\b")
QUOTED = re.compile(r"(?<!\w)(?:'[^']+'|\"[^\"]+\"|“[^”]+”|‘[^’]+’|«[^»]+»)(?!\w)")
ODD = re.compile(r"[{}\[\]<>$%#*+•`~|&\\_=\n]")
FIELD = re.compile(r"[a-z]\.[a-z]")
DIGIT = re.compile(r"\d")
TEN = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
COUNTS = words_of(f"0 half one two three four five six seven eight nine {TEN} {TENS} hundred thousand dozen")
COUNT = rf"{one_of(TENS)}(?:[- ]\w+)?|half an?|(?:a )?{one_of(' '.join(sorted(COUNTS - {'0', 'half'})))}"
UNITS = one_of("""km/?h kmh kph mph m/s kmph knots kilomet(?:er|re)s? miles? mi m met(?:er|re)s? ft yards? yds? cm
    mm inch(?:es)? (?:feet|(?<!one_)foot)(?!_(?:on|off|in|down|out|of)) centimet(?:er|re)s? tonnes? tons kilograms? kg
    degrees""")  # fmt: skip
NUMBER = any_of(rf"""
    \b(\d+(?:[.,]\d+)?|{COUNT})(?: or so| odd)?[ -]?{UNITS}\b(?! (?:sign|limit|zone))
    \b(?:travel\w*|driv\w+|going|moving|doing|cruis\w+) at (?:about |around |some |nearly )?(\d+|{COUNT})\b
        (?! ?(?:s|sec\w*|o['’]clock|\d|:|%|[.,]\d)\b)
    \b(?:speed|velocity|rate) of (?:about |around |roughly |some |over |nearly )?(\d+|{COUNT})\b
""", re.I)  # fmt: skip
ENGLISH = words_of("""the a an is are was were has have of in on at and to with by from it its as this that no not
    there ahead into behind left right he she they his her which who one two while""")  # fmt: skip
LOANS = words_of("café cafés naïve façade façades cliché décor déjà entrée fiancé fiancée piñata résumé crêpe")
ECHOED = 7  # words in a row that stand in the prompt, too
STRONG = words_of(FORMS["foreign"]["road"])
FOREIGN = STRONG | words_of(FORMS["foreign"]["other"])

PLACE = re.compile(r"\b[A-Z]\w+(?: (?:de|la|las|los|del|du|des|da|do|dos|di|von|van|der|den|al|el|y|und))+ [A-Z]\w+")


class Signs(NamedTuple):
    """What a line shows by its form: as what its text is to be tried as a whole; faults as (rule, severity, message,
    number); words of other languages."""

    patterns: tuple[int, ...] = ()
    faults: tuple[tuple[str, str, str, str], ...] = ()
    foreign: tuple[str, ...] = ()


NO_SIGNS = Signs()
ODDLY, NAMING = 0, 1
TRIES, WHOLLY, PERSONAL, COUNTING, STRANGE = 1, 2, 4, 8, 16
PLAINLY = re.compile(r"[A-Za-z](?:[a-z ,;:'’()]|-(?=[a-z]))*[.?!]?")  # no digits, names or odd signs in it


class _Shown(dict[str, int]):
    """By word, which of the lists above it stands in."""

    def __missing__(self, word: str) -> int:
        if len(self) >= 1 << 17:
            self.clear()
        self[word] = bits = (
            TRIES * (word in TRIGGERS) + WHOLLY * (word.rstrip("s") in WHOLES) + PERSONAL * (word in PERSONS)
            + COUNTING * (word in COUNTS) + STRANGE * (word in FOREIGN)
        )  # fmt: skip
        return bits


SHOWN = _Shown()


def signs(pack: TaskPack, line: str, low: str, words: list[str]) -> Signs:
    """The signs of a line; `low`: it in small letters, `words`: its words in small letters."""
    shown = reduce(or_, map(SHOWN.__getitem__, words), 0)
    plain = PLAINLY.fullmatch(line) is not None and "xx" not in low
    found = [] if plain and not shown & TRIES else _tried(pack, line, low, words, plain)
    if len(words) >= ECHOED and (echo := _echoed(pack, words)):
        found.append(("prompt_echo", "error", f"'{echo}' stands in the prompt word for word", ""))
    if (shown & COUNTING or not plain) and (m := NUMBER.search(line)):
        said = (m[1] or m[2] or m[3]).casefold()
        found.append(("number", "error", f"'{m.group()}' cannot be read off a dashcam's picture", said))
    strange = [w for w in words if w in FOREIGN] if shown & STRANGE else []
    if not line.isascii():
        strange += [w for w in words if not w.isascii()]
    odd = (not plain and _odd(line, low, words)) or (len(words) < 6 and shown & WHOLLY)
    whole = ((ODDLY,) if odd else ()) + ((NAMING,) if shown & PERSONAL else ())
    if not (whole or found or strange):
        return NO_SIGNS
    return Signs(whole, tuple(found), tuple(strange))


def _odd(line: str, low: str, words: list[str]) -> bool:
    return bool(
        ODD.search(line) or ("." in line[:-1] and FIELD.search(line)) or "xx" in low or "???" in line or "...." in line
        or "…" in line or not words
        or line[:1] in "-–"
    )  # fmt: skip


def _tried(pack: TaskPack, line: str, low: str, words: list[str], plain: bool) -> list[tuple[str, str, str, str]]:
    """The faults that expressions find, and names."""
    tried = {n for w in words for n in TRIGGERS.get(w, ())}
    if not plain and _odd(line, low, words):
        tried.update(TRIGGERS["#"])
    if not plain and DIGIT.search(line):
        tried.update(TRIGGERS["0"])
    found = []
    for n in sorted(tried):
        rule, expression, _, why = PATTERNS[n]
        m = expression.search(line)
        if m and rule in ("refusal", "prompt_echo"):
            m = _meant(line, expression, m)
        if m:
            found.append((rule, "error", f"'{m.group().strip()[:50]}': {why}", ""))
    m = NAMES_FIRST.match(line) or NAME.search(line) if not plain and line[1:] != low[1:] else None
    if m and PLAIN.isdisjoint(m.group().split()) and not _domain(pack).issuperset(m.group().casefold().split()):
        found.append(("name", "warning", f"'{m.group()[:50]}': reads like the name of a person, make or place", ""))
    return found


def _echoed(pack: TaskPack, words: list[str]) -> str:
    """The first words in a row that stand in the prompt, too. Of `ECHOED` in a row, four are told by every fourth."""
    asked, some = _asked(pack)
    if some.isdisjoint(zip(*(words[i::4] for i in range(4)), strict=False)):
        return ""
    echo = asked.intersection(zip(*(words[i:] for i in range(ECHOED)), strict=False))
    return " ".join(min(echo)) if echo else ""


def _meant(line: str, expression: re.Pattern[str], m: re.Match[str]) -> re.Match[str] | None:
    """What is left of a match where a line quotes: a sign that says sorry is no refusal, nor is one all in capitals."""
    if m.group().isupper() and CAPITALS.search(line) and not line.isupper():
        return None
    quoted = QUOTED.search(line)
    if not quoted or len(quoted.group()) > len(line) - 3:
        return m
    return expression.search(QUOTED.sub("''", line))


def form_faults(text: str, patterns: Iterable[int], strange: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """(rule, severity, message, number) of a text as a whole, whose lines showed these signs."""
    if NAMING in patterns and (m := PERSON.search(text)):
        yield "person", "error", f"'{m.group()}': names somebody", ""
    if ODDLY in patterns and (m := MARKUP.search(text)):
        yield "markup", "warning", f"'{m.group().strip()[:50]}': markup in a plain text", ""
    if ODDLY in patterns and len(text) < 60 and WHOLE.fullmatch(text):
        yield "placeholder", "error", f"'{text}': was never filled in", ""
    elif ODDLY in patterns and text.strip() == "None":  # so a programme writes nothing; a person may, too
        yield "placeholder", "warning", f"'{text}': was never filled in", ""
    if strange and (other := foreign(text)):
        yield "language", "error", other, ""


@cache
def _domain(pack: TaskPack) -> frozenset[str]:
    """The words of the prompt and the ontology: with a capital they are no names."""
    return frozenset(re.findall(r"\w+", (pack.prompt + json.dumps(pack.ontology)).casefold()))


@cache
def _asked(pack: TaskPack) -> tuple[frozenset[tuple[str, ...]], frozenset[tuple[str, ...]]]:
    """Every few words in a row of the prompt and of what the schema says of its fields; and every four."""
    told = re.findall(r'"description": "([^"]+)"', json.dumps(pack.schema))
    found: set[tuple[str, ...]] = set()
    for text in (re.sub(r"\{\{.*?\}\}", " . ", pack.prompt), *told):
        said = re.findall(r"\w+", text.casefold())
        found.update(zip(*(said[i:] for i in range(ECHOED)), strict=False))
    return frozenset(found), frozenset(row[i : i + 4] for row in found for i in range(4))


def foreign(text: str) -> str | None:
    """What a text is instead of English, or None: by its letters, and by words of other languages in one sentence."""
    letters = [c for c in text if c.isalpha()] if not text.isascii() else []
    if sum(ord(c) > 0x24F for c in letters) * 5 > len(letters) > 0:
        return "not in Latin letters"
    for line in (text, *re.split(r"(?<=[.!?;])\s+", text)):
        written = re.findall(r"\w+", PLACE.sub(_kept, line))
        said = [w.casefold() for w in written]
        accents = sum(w[0].islower() and not w.isascii() and w not in FOREIGN | LOANS for w in written)
        others = sum((w in FOREIGN) + (w in STRONG) for w in said) + min(accents, 2)
        ours = sum(w in ENGLISH for w in said)
        if others > max(ours, 1) or (accents and not ours and len(said) > 2):
            return "not in English, by its words"
    return None


def _kept(m: re.Match[str]) -> str:
    """A name with small words in it ("Rue de la Paix") is no sentence; "Das Auto" begins one."""
    return m.group() if m.group().split()[0].casefold() in FOREIGN else " "
