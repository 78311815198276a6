"""What a text says: which classes, of whom, of what conditions; for the rules of `curation.checks`.

One pass over the words finds the marks (see `curation.lexicon`). What a mark means is decided in its clause. Nothing
here is a parser: in doubt a mark says "maybe", which no rule takes for an assertion.
"""

from __future__ import annotations

import re
from bisect import bisect
from functools import lru_cache
from operator import add
from typing import Any, NamedTuple

from curation.check_form import NO_SIGNS, form_faults, signs
from curation.check_times import Told, parts, times
from curation.lexicon import BREAK, WORD, Lexicon, Names, named

NOUN = re.compile(
    r"(?:rear[ -]end |head-on |the |a )?(collision|contact|crash(es)?$|impact|accident|wreck|pile|fender|side-?swipe$)"
)
GOVERNS = re.compile(r" (?:of|from|(?:prevent|avoid|avert|stop|sav)\w*)$")  # "only a swerve prevents", a collision
MANAGED = re.compile(r"\b(manag\w+|able|in time|succeed\w*|just enough) to $")
ASIDE = re.compile(  # what was before, what is beside, what lies on the ground
    r"\b(?:after|following|since|(?<!nowhere )near|beside|beneath|towards?|next to|entrance (?:of|to)|exit (?:of|from)"
    r"|view of|left over|signs? (?:for|to)|looks? like|(?:promise|threat|smell|forecast) of|threaten(?:s|ing)|residual"
    r"|recent|overnight|(?:morning|night|yesterday|day|week)['’]s)"
    r"(?: [\w-]+){0,3} $|\b(?:patch(?:es)?|piles?|layers?|banks?|heaps?|remains|mounds?) of (?:\w+ )?$"
    r"|\b(?:accumulated|packed|melting|melted|piled|compacted|old|dirty|lying|trodden|fallen|settled) $"
    r"|\b(?:covered|packed|patched|lined) (?:with|in|by) (?:\w+ )?$",
    re.I,
)
QUOTES = "'\"‘“"
QUOTED = re.compile(r"(['\"‘“])(?<!\w.)((?:[^'\"‘“’”]|(?<=\w)['’](?=\w)){1,80})['\"’”](?!\w)")
COVERED = re.compile(
    r"[ -](?:covered|packed|patched|dusted|lined|(?:(?:is|was|lies?|lying|still) )?(?:piled|remains?|lies|lingers"
    r"|heaped)|along|beside|banks?|patches|drifts?|and ice)\b",
    re.I,
)
NEARS = re.compile(r" (?:approach|near|draw)(?:es|s|ed|ing)?\b", re.I)  # is not here yet
ENDS = re.compile(r"[.!?;][^\S\n]+|\n\s*")  # of a line: its last sign and what follows
WEIGHS = re.compile(r"\b(?:or|versus|from)\b")
BROAD = re.compile(r"(?:impact|accident)s?$")  # of a law, of long ago
OCCURS = re.compile(
    r"\b(?:occur\w*|happen\w*|there (?:is|was)|tak(?:es|ing) place|results?|follows?|ends? in|at|\d)\b", re.I
)
AUXILIARY = re.compile(r"(?:has|have|had|is|are|was|were)\b")
PERSON = ("no", "nobody", "no one", "none", "nothing", "never", "neither", "without")  # "nobody brakes", not "does not"
CLASS = r"(?:near[-_ ]?(?:collision|miss|crash|accident)|collision|normal(?: driving)?|(?<!near )(?<!near-)crash)"
OTHER = re.compile(rf"\W+(?:or|versus|from) (?:an? |merely |only )*{CLASS}", re.I)
ONE = re.compile(rf"{CLASS}\W+(?:or|versus|from) (?:an? |merely |only )*$", re.I)
LISTED = frozenset(("contact", "near", "evasive", "conflict", "danger"))
LIST = re.compile(r"(?:,|,? ?(?:or|nor|and))(?: (?:an?|any|the|hard|sudden|sharp|abrupt|or|nor|and|even)\b)* ?")
NEARBY = 200  # characters
COMPOUND = re.compile("-[a-z]")  # "misty-blue"
NAY = re.compile(r",? no[.;,!]")  # "a crash, no."
THIRD = re.compile(r"\w+s$")  # "hits" is not what "does not" before it turns


NOBODY: frozenset[str] = frozenset()


class Mark(NamedTuple):
    """A word that matters: its kind, where in its line (a sentence, or half of one) it stands, and what it names; of
    that, the partners (`who`) it may mean."""

    kind: str
    text: str
    start: int
    end: int
    clause: int
    line: str
    names: Names = ()
    sure: bool = True
    who: frozenset[str] = NOBODY

    @property
    def before(self) -> str:
        """What stands before it, as far as it matters: texts may be long, and marks many."""
        return self.line[max(0, self.start - NEARBY) : self.start]


class Reading(NamedTuple):
    """What a text says, as marks. contact, near, normal: it happens; spared: there is no contact; quiet: no evasive act
    is needed; trouble: conflict or danger, asserted; evades: an evasive act, asserted; maybe: contact that could be;
    hints: (one of these, a mark that often means it, but not always); values: (mark, asserted or denied);
    times: those it names; faults: those of its form; patterns, foreign: see Signs."""

    marks: tuple[Mark, ...] = ()
    contact: tuple[Mark, ...] = ()
    near: tuple[Mark, ...] = ()
    spared: tuple[Mark, ...] = ()
    normal: tuple[Mark, ...] = ()
    quiet: tuple[Mark, ...] = ()
    trouble: tuple[Mark, ...] = ()
    evades: tuple[Mark, ...] = ()
    maybe: tuple[Mark, ...] = ()
    hints: tuple[tuple[str, Mark], ...] = ()
    values: tuple[tuple[Mark, bool], ...] = ()
    times: tuple[Told, ...] = ()
    patterns: tuple[int, ...] = ()
    faults: tuple[tuple[str, str, str, str], ...] = ()
    foreign: tuple[str, ...] = ()

    @property
    def loosely(self) -> Reading:
        """The same, its hints taken for what they hint at."""
        if not self.hints:
            return self
        more = {k: tuple(m for what, m in self.hints if what == k) for k in {what for what, _ in self.hints}}
        return self._replace(**{k: getattr(self, k) + found for k, found in more.items()})


NOTHING = Reading()
SILENT: dict[str, Any] = dict.fromkeys(
    ("contact", "near", "spared", "normal", "quiet", "trouble", "evades", "maybe", "hints", "values"), ()
)


def marks(lex: Lexicon, line: str, low: str, words: list[str], last: bool) -> tuple[Mark, ...]:
    """The marks of a line in order; where it is not the `last` of its text, the text goes on."""
    begins, pairs, found, breaks, end, stops, here = lex.begins, lex.begins.pairs, [], None, 0, 0, 0
    starting = list(map(begins.__getitem__, words))
    if not any(starting):
        return ()
    low += "" if last else " x"
    ends = [here := low.index(word, here) + len(word) for word in words]
    for i, patterns in enumerate(starting):
        at = ends[i] - len(words[i])
        if not patterns or at < end:
            continue
        kind, longest = "", at
        for kind_, pattern in pairs[low[at : ends[i + 1] if i + 1 < len(ends) else None]]:
            m = pattern.match(low, at)
            if m and m.end() > longest:
                kind, longest = kind_, m.end()
        if not kind:
            continue
        end = longest
        if kind in ("stop", "void"):
            stops += kind == "stop"
            continue
        if breaks is None:
            breaks = [m.start() for m in BREAK.finditer(low)]
        clause, text, whole = stops + bisect(breaks, at), low[at:end], not COMPOUND.match(low, end)
        if kind == "value":
            known, names = named(lex, text)
            if known not in lex.weak or _framed(low, at, end, *lex.weak[known]):
                found.append(Mark(kind, text, at, end, clause, line, names, whole, _partners(names)))
        else:
            names, sure = lex.told.get(kind, ()), kind[-1] != "?"
            kind, sure = "value" if names else kind.rstrip("?"), sure and (whole or not names)
            found.append(Mark(kind, text, at, end, clause, line, names, sure, _partners(names)))
    return tuple(found)


def _partners(names: Names) -> frozenset[str]:
    return next((v for name, v in names if name == "partner"), NOBODY)


def _framed(low: str, start: int, end: int, before: frozenset[str], after: frozenset[str]) -> bool:
    """Do words beside a mark make it say what it may say?"""
    left = WORD.findall(low[max(0, start - 40) : start])[-2:]
    left = [] if left[-1:] in (["a"], ["an"], ["the"]) else left  # of a thing: "is a dark car"
    return not (before.isdisjoint(left) and after.isdisjoint(WORD.findall(low[end : end + 40])[:2]))


def gap(a: Mark, b: Mark) -> int:
    """How many words stand between two marks of a line."""
    left, right = (a, b) if a.start <= b.start else (b, a)
    if right.start - left.end > NEARBY:
        return NEARBY
    return len(a.line[left.end : right.start].split())


def turned(found: tuple[Mark, ...], i: int) -> str:
    """yes, no, near or maybe: what the words around mark `i` make of it."""
    m = found[i]
    noun, third = bool(NOUN.match(m.text)), bool(THIRD.match(m.text.split()[0]))
    governed = noun or m.text.split()[0].endswith("ing") or m.before.casefold().endswith(("being ", "getting "))
    if any(x.kind == "if" for x in found) or _weighed(m):
        return "maybe"
    if i and m.kind in LISTED and found[i - 1].kind in LISTED and LIST.fullmatch(m.line, found[i - 1].end, m.start):
        first = turned(found, i - 1)  # "without a collision, near-collision or evasive action"
        if first == "no":
            return first
    if m.kind == "value" and (ASIDE.search(m.before) or COVERED.match(m.line, m.end) or NEARS.match(m.line, m.end)):
        return "maybe"
    left = [x for x in found[:i] if x.clause == m.clause]
    right = [x for x in found[i + 1 :] if x.clause == m.clause]
    for x in reversed(left):
        far = gap(x, m)
        if x.kind == "avoid" and far <= 5 and governed:
            return _avoided([y for y in left if y.end <= x.start], x)
        if (x.kind == "almost" or (x.kind == "near" and GOVERNS.search(x.text))) and far <= 3:
            return "near"
        if x.kind == "hair" and far <= 6:
            return "near"
        if x.kind == "gone" and far == 0 and m.text.endswith("ing"):  # "it has stopped raining"
            return "no"
        if x.kind in ("hyp", "danger") and far <= 7:
            return "maybe"
        other = third and not noun and x.text.endswith(("not", "n't", "n’t"))  # "does not brake, hits"
        able = m.kind == "value" and x.text.startswith(("unable", "fail", "too late", "cannot", "impossible"))
        if x.kind == "neg" and far <= 6 and not other and not able:
            return "no"
    if NAY.match(m.line, m.end):
        return "no"
    for x in right:
        far = gap(m, x)
        if x.kind == "hair" and m.kind == "avoid" and far <= 6:
            return "near"
        if (
            x.kind == "gone"
            and any(n == "weather" for n, _ in m.names)
            and far <= (3 if AUXILIARY.match(x.text) else 1)
        ):
            return "no"
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


def lines_of(text: str) -> list[str]:
    """A text's sentences, and halves of them; a line feed stays with its line."""
    found, at = [], 0
    for m in ENDS.finditer(text):
        end, after = m.span()
        found.append(text[at : end + 1])
        at = after
    found.append(text[at:])
    return found


@lru_cache(maxsize=1 << 16)
def read(lex: Lexicon, text: str) -> Reading:
    """What `text` says: what its lines say, which come again more often than it does. One that asks says nothing,
    unless it is the last, as a question is."""
    *lines, end = lines_of(text.rstrip())
    whole = read_line(lex, end, True)
    for line in reversed(lines):
        r = read_line(lex, line, False)
        if r is not NOTHING:
            r = r._replace(**SILENT) if line.rstrip().endswith("?") else r
            whole = Reading._make(map(add, r, whole)) if whole is not NOTHING else r
    if whole.patterns or whole.foreign:
        return whole._replace(faults=(*form_faults(text, whole.patterns, whole.foreign), *whole.faults))
    return whole


@lru_cache(maxsize=1 << 16)
def read_loosely(lex: Lexicon, text: str) -> Reading:
    return read(lex, text).loosely


@lru_cache(maxsize=1 << 16)
def read_line(lex: Lexicon, line: str, last: bool) -> Reading:
    low = line.lower()
    low = low if len(low) == len(line) else line  # places must be those of the line
    words = WORD.findall(low)
    shown = signs(lex.pack, line, low, words)
    if any(map(line.__contains__, QUOTES)) and QUOTED.search(line):  # what others say
        line = QUOTED.sub(_unsaid, line)
        low = line.lower()
        words = WORD.findall(low)
    found, told = marks(lex, line, low, words, last), times(line) + parts(line, words)
    if not found and not told and shown is NO_SIGNS:
        return NOTHING
    if not found:
        return NOTHING._replace(times=told, patterns=shown.patterns, faults=shown.faults, foreign=shown.foreign)
    out: dict[str, list[Any]] = {k: [] for k in SILENT}
    for i, m in enumerate(found):
        what = _meant(found, i) if m.kind in MEANING else ""
        if what == "denied" and not m.sure:
            continue
        if what in ("values", "denied"):
            out["values"].append((m, what == "values"))
        elif what.endswith("?") or (what and not m.sure):
            out["hints"].append((what.rstrip("?"), m))
        elif what:
            out[what].append(m)
    return Reading._make((found, *map(tuple, out.values()), told, *shown))


CLOSE = re.compile(r"\b(?:pass|thread|squeez|slip|clear|fit|skim|scrap|get|edg|com)\w*", re.I)  # what a hair may part
MEANING = frozenset(
    ("contact", "near", "apart", "hair", "normal", "evasive", "react", "conflict", "danger", "value", "avoid")
)


def _meant(found: tuple[Mark, ...], i: int) -> str:
    """The field of Reading that mark `i` goes to, with "?" where it only hints at it; "" where to none."""
    m, say = found[i], turned(found, i)
    if m.kind == "contact":
        aside = BROAD.match(m.text) and not OCCURS.search(m.line)
        aside = aside and not any(x.clause == m.clause and (x.kind == "ego" or x.who) for x in found)
        if say == "yes" and aside:
            return "contact?"
        return {"yes": "contact", "no": "spared", "near": "near", "maybe": "maybe"}[say]
    if m.kind == "value":
        return {"no": "denied", "maybe": ""}.get(say, "values")
    if m.kind in ("near", "normal"):
        return m.kind if say in ("yes", "near") else ""
    if m.kind == "apart":
        return "spared" if say == "yes" else ""
    if m.kind == "hair":
        return "near?" if say == "yes" and (CLOSE.search(m.before) or any(x.kind == "avoid" for x in found)) else ""
    if m.kind in ("evasive", "react"):
        by = next((x.text for x in reversed(found[:i]) if x.kind == "neg"), "")
        say = "maybe" if any(x.kind == "hyp" for x in found) and say == "no" else say
        asserted = "evades" if m.kind == "evasive" and say == "yes" else ""
        return ("quiet" if by.startswith(PERSON) and by != "not" else "quiet?") if say == "no" else asserted
    if m.kind == "avoid":
        close = say == "near" or (say == "yes" and m.text in ("miss", "misses", "missed"))
        actor = any(0 <= x.start - m.end < 30 and (x.kind == "ego" or x.who) for x in found[i + 1 :])
        return "near" if close else "near?" if say == "yes" and actor else ""
    near = any(x.kind == "neg" and x.end <= m.start and gap(x, m) <= 3 for x in found[:i])
    return "trouble" if say != "no" else "normal" if near else "maybe"


def _unsaid(m: re.Match[str]) -> str:
    return m.group() if re.fullmatch(CLASS, m[2].strip(" .,"), re.I) else " " * len(m.group())
