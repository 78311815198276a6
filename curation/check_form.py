"""The rules for any text: refusals, echoes, placeholders, markup, language, and what no dashcam shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from curation.tasks import TaskPack

VERB = "(?:view|watch|access|assist|help|process|provide|analy[sz]e|describe|determine|comply|fulfil|play|open|answer)"
MEDIA = "(?:video|frames?|images?|clip|footage)"
REFUSAL = rf"""\bas an ai\b|\b(?:language|vision) model\b|\bi(?:['’]m| am) (?:sorry|unable|afraid|not able)|\bsorry,
|\bapologi[sz]e\b|\bi (?:must decline|(?:cannot|can ?not|(?:ca|wo|do)n['’]?t|(?:do|will|could) not) (?:\w+ ){{0,2}}?
(?:{VERB}|have (?:access|enough)|see (?:the|any) {MEDIA}))|\b(?:unable to|cannot|not able to
|not possible (?:for me )?to) {VERB}
|\bno {MEDIA} (?:was|were|is|are|has been|have been|could be)
 (?:provided|attached|given|available|supplied)
|\b{MEDIA} (?:could|can|did) ?not (?:be )?(?:load|open|play|process|view|access)\w*"""
ECHO = r"""^\W*(?:user|assistant|system):|\bthe following is (?:an?|the)\b|\byour (?:request|question|prompt)\b
|^\W*(?:sure|certainly|of course|okay|absolutely|great question)\b\W
|\bhere(?:['’]s| is| are) (?:the|an?|my|your)\b.{0,40}
(?::|caption|description|summary|answer|question|json)|\bas (?:requested|instructed|per (?:the|your) (?:prompt|request))
|\bthe (?:user|prompt|schema|json|system message)\b|\bjson (?:object|schema)|\byou are (?:an?|given)\b
|\byour (?:task|caption|answer|job)\b|\blet me know if|\bi hope this
|\b(?:provided|given|supplied) (?:metadata|frames|images|input)\b"""
HOLDER = r"""\b(?:todo|tbd|tba|fixme|xxx+|lorem ipsum|placeholder|n/a|nan|undefined|null)\b|\bxx+\b|\bgoes here\b
|\{[^{}]{0,40}\}
|\[[^\]\d][^\]]{0,40}\]
|<[^<>\d]{1,40}>|\$\{?\w+|%s|%\(\w|_{3,}|\?{3,}|\binsert (?:\w+ ){1,4}here\b|^\W*(?:none|string|text|example)?\W*$"""
MARKUP = r"""^\s*(?:#{1,6}\s|[-*+•]\s|>\s|```)|^\s*\d+[.)]\s.*\n|\*\*\S|(?<!\w)__\w|`|\]\(|\|\s*-{3}|</?[a-z]+[ >/]
|(?<!\w)\*\w[^*]*\*|\\n|&[a-z]+;"""
PLATE = r"""\b(?:plates?|registration|tag|licen[cs]e)\b(?:\W+\w+){0,4}?\W+(?=[A-Z0-9-]*\d)
[A-Z0-9]{2,}(?:[- ][A-Z0-9]+)*\b
|\b(?!I|US|SR|CR|RT|HWY|ISO)[A-Z]{1,3}[- ]?\d{2,4}[- ][A-Z]{1,3}\b|\b(?!US|SR|CR|RT|ISO)[A-Z]{2,3}[- ]\d{3,5}\b
|\b[A-Z]{1,2}-[A-Z]{1,2}[- ]\d{1,4}\b"""
PERSON = r"""\b(?:Mr|Mrs|Ms|Miss|Dr|Officer|Sgt|Professor)\.? [A-Z][a-z]+
|\b(?:named|called|name is|name was|identified as|known as) [A-Z][a-z]+"""
NAME = re.compile(r"[A-Z](?<=[a-z,] [A-Z])[a-z]{2,}(?: [A-Z][a-z]+)*")
NAMES_FIRST = re.compile(r"[A-Z][a-z]+ [A-Z][a-z]+\b(?!:)")
DAYS = """Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June July August
    September October November December Jersey English Ego Vehicle"""
PLAIN = set(DAYS.split())


def _compile(lines: str, flags: int = 0) -> re.Pattern[str]:
    return re.compile(lines.replace("\n", ""), flags)


# (rule, severity, words of which every match has one, expression, what is wrong). Beside the words of a text there are
# "#" for unusual signs, "0" for a digit, "" for itself: most texts are tried against next to nothing.
PATTERNS = [
    ("refusal", "error", """ai model i sorry apologize apologise unable cannot able possible video frame frames image
        images clip footage""", _compile(REFUSAL, re.I), "the author refuses"),
    ("prompt_echo", "error", """user assistant system following your sure certainly course okay absolutely great here
        requested instructed per prompt schema json message you let hope provided given supplied""",
        _compile(ECHO, re.I), "speaks to or of whoever asked"),
    ("placeholder", "error", """# todo tbd tba fixme lorem placeholder n nan undefined null goes insert none string
        text example""", _compile(HOLDER, re.I), "was never filled in"),
    ("markup", "warning", "#", _compile(MARKUP, re.I | re.M), "markup in a plain text"),
    ("plate", "error", "0", _compile(PLATE), "reads like a number plate"),
    ("person", "error", "mr mrs ms miss dr officer sgt professor named called name identified known",
        _compile(PERSON), "names somebody"),
]  # fmt: skip
TRIGGERS: dict[str, tuple[int, ...]] = {}  # by word, the patterns that want it
for _number, _pattern in enumerate(PATTERNS):
    for _needed in _pattern[2].split():
        TRIGGERS[_needed] = (*TRIGGERS.get(_needed, ()), _number)
ODD = re.compile(r"[{}\[\]<>$%#*+•`|&\\_\n]")
DIGIT = re.compile(r"\d")
TENS = r"(?:twen|thir|for|fif|six|seven|eigh|nine)ty(?:[- ]\w+)?|ten|fifteen|hundred|two|three|four|five|six|eight"
UNITS = (
    r"km/?h|kmh|kph|mph|m/s|kmph|knots|kilomet(?:er|re)s?|miles?|m|met(?:er|re)s?|ft|feet|foot|yards?|cm|inch(?:es)?"
)
COUNTS = frozenset({"0", "ten", "fifteen", "hundred", "two", "three", "four", "five", "six", "eight"})
COUNTS |= {f"{n}ty" for n in ("twen", "thir", "for", "fif", "six", "seven", "eigh", "nine")}
NUMBER = re.compile(rf"\b(\d+(?:[.,]\d+)?|{TENS})[ -]?(?:{UNITS})\b(?! (?:sign|limit|zone))", re.I)
OTHERS = """der das und ist nicht ein eine einem einer auf mit dem von wird fährt auto straße zu sich bei le les des du
    un une est dans avec sur pour qui pas et el los las una con por para que se del está il lo gli di della che non è
    nel sul om os uma não em na het een voor niet wordt på och är det som att jest się nie ve bir bu araç ile"""
OURS = "the a an is are of in on at and to with by from it its as this that no not there ahead into"
ECHOED = 8  # words in a row that stand in the prompt, too
FOREIGN, ENGLISH = set(OTHERS.split()), set(OURS.split())


class Signs(NamedTuple):
    """What a line shows by its form: which of PATTERNS its text is to be tried against; faults as (rule, severity,
    message, number); words of other languages."""

    patterns: tuple[int, ...] = ()
    faults: tuple[tuple[str, str, str, str], ...] = ()
    foreign: tuple[str, ...] = ()


def signs(pack: TaskPack, line: str, low: str, words: list[str]) -> Signs:
    """The signs of a line; `low`: it in small letters, `words`: its words in small letters."""
    tokens = set(words)
    patterns = [n for w in tokens & TRIGGERS.keys() for n in TRIGGERS[w]]
    if ODD.search(line) or "xx" in low or "???" in line or not tokens or line[:1] == "-":
        patterns += TRIGGERS["#"]
    found = []
    numbers = bool(DIGIT.search(line))
    if numbers:
        patterns += TRIGGERS["0"]
    m = NAMES_FIRST.match(line) or NAME.search(line) if line[1:] != low[1:] else None
    if m and PLAIN.isdisjoint(m.group().split()) and not _domain(pack).issuperset(m.group().casefold().split()):
        found.append(("name", "warning", f"'{m.group()[:50]}': reads like the name of a person, make or place", ""))
    if len(words) >= ECHOED:
        echo = _asked(pack).intersection(zip(*(words[i:] for i in range(ECHOED)), strict=False))
        if echo:
            found.append(("prompt_echo", "error", f"'{' '.join(min(echo))}' stands in the prompt word for word", ""))
    if (numbers or not COUNTS.isdisjoint(tokens)) and (m := NUMBER.search(line)):
        found.append(("number", "error", f"'{m.group()}' cannot be read off a dashcam's picture", m[1].casefold()))
    strange = [w for w in words if w in FOREIGN] if not FOREIGN.isdisjoint(tokens) else []
    if not line.isascii():
        strange += [w for w in words if not w.isascii()]
    if not (patterns or found or strange):
        return NO_SIGNS
    return Signs(tuple(patterns), tuple(found), tuple(strange))


NO_SIGNS = Signs()


def form_faults(text: str, patterns: Iterable[int], strange: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """(rule, severity, message, number) of a text whose lines showed these signs."""
    for n in sorted(set(patterns)):
        rule, severity, _, expression, why = PATTERNS[n]
        if m := expression.search(text):
            yield rule, severity, f"'{m.group().strip()[:50]}': {why}", ""
    if strange and (other := foreign(text)):
        yield "language", "error", other, ""


@cache
def _domain(pack: TaskPack) -> frozenset[str]:
    """The words of the prompt and the ontology: with a capital they are no names."""
    return frozenset(re.findall(r"\w+", (pack.prompt + json.dumps(pack.ontology)).casefold()))


@cache
def _asked(pack: TaskPack) -> frozenset[tuple[str, ...]]:
    said = re.findall(r"\w+", re.sub(r"\{\{.*?\}\}", " . ", pack.prompt).casefold())
    return frozenset(zip(*(said[i:] for i in range(ECHOED)), strict=False))


def foreign(text: str) -> str | None:
    """What a text is instead of English, or None: by its letters, and by function words of other languages."""
    letters = [c for c in text if c.isalpha()] if not text.isascii() else []
    if sum(ord(c) > 0x24F for c in letters) * 5 > len(letters) > 0:
        return "not in Latin letters"
    said = re.findall(r"\w+", text.casefold())
    others = sum(w in FOREIGN for w in said) + (sum(ord(c) > 0x7F for c in letters) > 1)
    if others >= 2 and others > sum(w in ENGLISH for w in said):
        return "not in English, by its function words"
    return None
