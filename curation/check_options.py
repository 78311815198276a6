"""What the options of a question mean: which say the same, which includes another, which is about the others.

An option is read as the stems of its words, without those that carry little; words and phrases of one meaning are
rewritten as one, by the lists of `schemas/words/options.json`, until nothing is left to rewrite. In doubt two
options differ: what makes an opposite (left and right, not, before and after, who does and who undergoes, numbers)
always counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib.resources import files
from itertools import groupby, takewhile
from operator import eq
from typing import NamedTuple

from curation.tasks import TaskPack, words
from curation.types import Json

ENGLISH: Json = json.loads(files("schemas").joinpath("words/options.json").read_text(encoding="utf-8"))


def _expression(spelled: str, flags: int = 0) -> re.Pattern[str]:
    return re.compile(re.sub(r"<(\w+)>", lambda m: ENGLISH["parts"][m[1]], spelled), flags)


ARTICLES, OTHER = (frozenset(ENGLISH[k].split()) for k in ("articles", "other"))
NUMBERS = {n: str(i) for i, n in enumerate(ENGLISH["numbers"].split())}
RULES, OF_NUMBERS = ([(has, _expression(e), by) for has, e, by in ENGLISH[k]] for k in ("rules", "number_rules"))
STEMS = [(re.compile(e), by) for e, by in ENGLISH["stems"]]
ABOUT = {how: _expression("|".join(some), re.I) for how, some in ENGLISH["about_others"].items()}
ENUMERATED = re.compile(r"\b(?:or|and|two|both|either|which of)\b", re.I)
SPELLED, DIGIT = _expression(rf"\b(?:{'|'.join(NUMBERS)})\b|<A_UNIT>"), re.compile(r"\d")
RULED_TO = frozenset(w for *_, by in (*RULES, *OF_NUMBERS) for w in re.findall(r"[a-z]+", by))
TOKEN = re.compile(r"[<>]=?\d+(?:\.\d+)?~?|\d+(?:st|nd|rd|th)\b|\d+(?:[.,]\d+)?|[^\W\d_]+")
NUMBER, BOUND = re.compile(r"\d+(?:\.\d+)?"), re.compile(r"#[\d.]+:(?:[\d.]+|inf)")
FIGURE = re.compile(r"([<>]?)(=?)(\d+(?:[.,]\d+)?)(~?)")
APART = str.maketrans("_-", "  ")
Phrase = tuple[str, ...]
Wider = tuple[Phrase, frozenset[str], frozenset[str]]
Phrases = dict[str, dict[str, list[tuple[Phrase, Phrase]]]]  # by their first two words, with what they mean


@dataclass(frozen=True)
class Meaning:
    """An option's words in order, and what must be equal in options that say the same."""

    words: Phrase
    acts: dict[str, str]

    @cached_property
    def key(self) -> object:
        alone = "driver" in self.words and sum(self.acts.get(w) == "who" for w in self.words) == 1
        said = tuple(w for w in self.words if w != "driver") if alone and len(self.words) > 1 else self.words
        heads, chunks = _chunks(said)
        sets = tuple(_set(self.acts, c) for c in chunks)
        return (heads, sets) if heads else sets[0]


class Vocabulary(NamedTuple):
    """`same`: phrases that are rewritten ("*": one to three words); `whole`: those that become one word in the end;
    `wider`: by its first word a phrase, what surely and what perhaps includes it; `acts`: the words whose own order
    counts, by their kind."""

    same: Phrases
    whole: Phrases
    wider: dict[str, list[Wider]]
    acts: dict[str, str]


def _regular(word: str) -> str:
    """A word without its ending and in one spelling; only ever compared with another one."""
    for expression, by in STEMS if len(word) > 3 else ():
        word = expression.sub(by, word)
    return word


IRREGULARS = {w: _regular(group.split()[0]) for group in ENGLISH["forms"] for w in group.split()}
IRREGULARS |= {w: w for w in ENGLISH["kept"].split()}


@lru_cache(maxsize=1 << 14)
def stem(word: str) -> str:
    return IRREGULARS.get(word) or IRREGULARS.get(w := _regular(word), w)


LEFT_OUT, ORDER, SLIGHT, SOFT, MODIFIERS, ADVERBS, ANY = (
    frozenset(map(stem, ENGLISH[k].split()))
    for k in ("left_out", "order", "slight", "soft", "modifiers", "adverbs", "any")
)
ALMOST = {stem(w): stem(one) for w, one in ENGLISH["almost"].items()}


# -- the words -------------------------------------------------------------------------------------------------------
def kinds(pack: TaskPack) -> dict[str, str]:
    """The words that name only a kind of a value, with the value: "taxi", a car."""
    return {k: words(pack)[n][k] for n, node in pack.ontology.items() for k in node.get("x-kinds", ())}


@cache
def _known(pack: TaskPack) -> Vocabulary:
    several = {word for node in pack.ontology.values() for word in node.get("x-means", ())}
    wider = [f"{value}: {kind}" for kind, value in kinds(pack).items() if kind not in several]
    wider += [f"{w}: {', '.join(n)}" for node in pack.ontology.values() for w, n in node.get("x-wider", {}).items()]
    return _vocabulary(json.dumps([words(pack), list(kinds(pack)), wider]))


@cache
def _vocabulary(ontology: str) -> Vocabulary:
    """The words of an ontology and of the English lists. A line of these may use what the lines before it say."""
    values, only, wider = json.loads(ontology)
    v, apart = Vocabulary({}, {}, {}, {}), {_stems(_split(p)) for p in ENGLISH["apart"]}
    for word, value in ((w, value) for by in values.values() for w, value in by.items()):
        said = _stems(_split(word))
        if said not in apart and (len(said) > 1 or not word.endswith("ing")):  # "parked" is no car park
            _add(v.same, said, ("_".join(said) if word in only else value,))
    firsts = set()
    for first, *others in (line.split(", ") for line in _lines("same")):
        firsts.add(one := _read(v, first))
        _add(v.same, one, one)
        for other in others:
            spelled = _stems(_split(other))
            said = _settled(v, spelled)
            _add(v.same, spelled, one)
            lossy = len(said) == 1 < len(spelled) and "_" not in said[0]  # "at speed" is more than "speed"
            if not lossy and said not in firsts:
                _add(v.same, said, one)
    told = [(line, False) for line in wider + _lines("wider")] + [(line, True) for line in _lines("perhaps_wider")]
    _widen(v, [(*line.split(": "), doubtful) for line, doubtful in told], [set(by.values()) for by in values.values()])
    return v


def _lines(name: str) -> list[str]:
    return [line for lines in ENGLISH[name].values() for line in lines]


def _add(phrases: Phrases, said: Phrase, one: Phrase) -> None:
    """Let a phrase be rewritten; "heavy traffic" is said by "traffic is heavy", too."""
    turns = len(said) == 2 and (said[1] in ADVERBS or (said[0] in MODIFIERS and said[1] not in MODIFIERS))
    to = tuple("*" if w == "sth" else w for w in one)
    for p in (said, said[::-1])[: 1 + turns]:
        phrase = tuple("*" if w == "sth" else w for w in p)
        if phrase != to or (len(to) > 1 and "*" not in to):
            known = phrases.setdefault(phrase[0], {}).setdefault((*phrase, "")[1], [])
            if all(p != phrase for p, _ in known):
                known.append((phrase, to))
                known.sort(key=lambda p: -len(p[0]))


def _widen(v: Vocabulary, told: list[tuple[str, str, bool]], values: list[set[str]]) -> None:
    """Fill `wider` from (wider, narrower ones, doubtful), with what includes a phrase by way of others, and `acts`. No
    value of the ontology includes another one that may be offered beside it."""
    for said in [_read(v, wide) for wide, *_ in told]:
        if len(said) > 1:
            _add(v.whole, said, ("_".join(said),))
    found: dict[Phrase, dict[str, bool]] = {}
    for wide, narrow, doubtful in told:
        more = _read(v, wide)[0]
        for said in [_read(v, one) for one in narrow.split(", ")]:
            if not any({more, *said} <= rivals for rivals in values):
                found.setdefault(said, {}).setdefault(more, doubtful)
    for _ in range(5):
        for above in found.values():
            for word, doubtful in list(above.items()):
                for more, d in found.get((word,), {}).items():
                    above[more] = above.get(more, True) and (doubtful or d)
    for kind, acting in ENGLISH["acts"].items():
        v.acts.update(dict.fromkeys((w for one in acting.split(", ") for w in _read(v, one)), kind))
    acting = {w for w, kind in v.acts.items() if kind == "who"}
    for said, above in found.items():
        surely = frozenset(w for w, doubtful in above.items() if not doubtful)
        v.wider.setdefault(said[0], []).append((said, surely, frozenset(above) - surely))
        if len(said) == 1 and not acting.isdisjoint(surely):
            v.acts[said[0]] = "who"


# -- reading ---------------------------------------------------------------------------------------------------------
def _split(text: str) -> list[str]:
    """The words of a text but for articles, numbers as figures, who undergoes something behind who does it."""
    low = SPELLED.sub(lambda m: NUMBERS.get(m[0], "1"), text.casefold().translate(APART))
    for has, expression, by in (*(OF_NUMBERS if DIGIT.search(low) else ()), *RULES):
        if has in low:
            low = expression.sub(by, low)
    return [w for w in TOKEN.findall(low) if w not in ARTICLES] or TOKEN.findall(low) or [*filter(None, [low.strip()])]


def _stems(said: Iterable[str]) -> Phrase:
    """Stems, and numbers in one spelling: "#2:inf" is more than one of what is counted, or at least two."""
    found = []
    for w in said:
        if m := FIGURE.fullmatch(w):
            n = float(m[3].replace(",", "."))
            step = 0 if m[2] or not m[1] else 0.001 if m[4] or n % 1 else 1
            w = f"#{n + step:.12g}:inf" if m[1] == ">" else f"#0:{max(n - step, 0):.12g}" if m[1] else f"{n:.12g}"
        found.append(w if m else stem(w))
    return tuple(found)


def _read(v: Vocabulary, text: str) -> Phrase:
    return _settled(v, _stems(_split(text)))


def _settled(v: Vocabulary, found: Phrase) -> Phrase:
    """Words, those of one meaning rewritten as one: phrases before their words, as they are written and without the
    words that carry little."""
    found = _rewritten(v.same, _rewritten(v.same, found))
    found = tuple(w for w in found if w not in LEFT_OUT) or found
    for _ in range(4):
        found, before = _rewritten(v.same, found), found
        if found == before:
            break
    return _rewritten(v.whole, found)


def _rewritten(phrases: Phrases, found: Phrase) -> Phrase:
    out: list[str] = []
    at = 0
    while at < len(found):
        w = found[at]
        by, second = phrases.get(w), found[at + 1] if at + 1 < len(found) else ""
        if by and (second in by or "" in by or "*" in by):
            said, one = _phrase(by, second, found, at)
            out.extend(one)
            at += said
        else:
            out.append(w)
            at += 1
    return tuple(out)


def _phrase(by: dict[str, list[tuple[Phrase, Phrase]]], second: str, found: Phrase, at: int) -> tuple[int, Phrase]:
    """How many words at a place are a phrase, the longest, and what it means."""
    for phrase, one in (p for some in ("*", second, "") for p in by.get(some, ())):
        if found[at : at + len(phrase)] == phrase:
            return len(phrase), one
        if "*" in phrase and (gap := _gap(phrase, found, at)):
            return len(phrase) - 1 + len(gap), tuple(w for o in one for w in (gap if o == "*" else (o,)))
    return 1, found[at : at + 1]


def _gap(phrase: Phrase, found: Phrase, at: int) -> Phrase:
    """The words that stand for the "*" of a phrase that begins at a place; none if it does not begin there."""
    star = phrase.index("*")
    start, tail = at + star, phrase[star + 1 :]
    if found[at:start] == phrase[:star]:
        for end in range(start + 1, min(start + 4, len(found) - len(tail) + 1)):
            if found[end : end + len(tail)] == tail:
                return found[start:end]
    return ()


@lru_cache(maxsize=1 << 16)
def meaning(pack: TaskPack, option: str) -> Meaning:
    """What an option says, as far as words tell."""
    v = _known(pack)
    found = _read(v, option)
    if "no" not in found:
        found = tuple(w for w in found if w not in SLIGHT) or found
    if found[:1] == ("ego",) and found[1:2] not in ((), ("and",), ("or",)):
        found = found[1:]
    return Meaning(found, v.acts)


def _chunks(found: Phrase) -> tuple[Phrase, list[list[str]]]:
    """The words beside which the order of all others counts, and what stands before, between and behind them."""
    chunks: list[list[str]] = [[]]
    for w in found:
        if w in ORDER:
            chunks.append([])
        else:
            chunks[-1].append(w)
    return tuple(w for w in found if w in ORDER), chunks


def _set(acts: dict[str, str], chunk: list[str]) -> frozenset[object]:
    """The words as a set, for each that "and" joins; and once more, in order, the actors, colours, sides, numbers."""
    kind = {w: acts.get(w, "number" if w[0].isdigit() else "") for w in chunk}
    parts = [list(some) for joins, some in groupby(chunk, "and".__eq__) if not joins]
    return frozenset((frozenset(part), tuple(sorted(filter(kind.get, part), key=kind.__getitem__))) for part in parts)


def like(a: Meaning, b: Meaning) -> bool:
    """Do two options differ by a slip of the pen, or by words of little weight among others?"""
    plain, other = ([ALMOST.get(w, w) for w in m.words if w not in SOFT] for m in (a, b))
    if plain == other and len(plain) > 1:
        return True
    only_a, only_b = [w for w in a.words if w not in b.words], [w for w in b.words if w not in a.words]
    if len(a.words) != len(b.words) or len(only_a) != 1 or len(only_b) != 1:
        return False
    x, y = only_a[0], only_b[0]
    if min(len(x), len(y)) < 6 or x[0] != y[0]:
        return False
    same = sum(sum(1 for _ in takewhile(bool, map(eq, p, q))) for p, q in ((x, y), (x[::-1], y[::-1])))
    longest = max(len(x), len(y))
    return same >= longest - 1 or (sorted(x) == sorted(y) and same >= longest - 2)


# -- which includes the other ----------------------------------------------------------------------------------------
def includes(pack: TaskPack, wide: Meaning, narrow: Meaning) -> str:
    """How one option is true wherever another is: "surely" ("a vehicle", "a red car"; "turns", "turns left"),
    "perhaps", where it says less of the same ("a man", "a man with a dog"), or not at all."""
    v = _known(pack)
    w, n = wide.words, narrow.words
    if how := _counts(w, n):
        return how.strip("-")
    if "no" in w and "no" in n:
        if w == ("no",) or n == ("no",):
            return "surely" if n[0] == w[0] == "no" else ""
        w, n = (tuple(x for x in said if x != "no") for said in (n, w))
    elif "no" in w:
        less, more = [x for x in w if x not in (*n, "no")], [x for x in n if x not in w]
        alone = len(less) == len(more) == 1 and v.acts.get(less[0], "who") == v.acts.get(more[0]) != "who"
        return "surely" if alone else ""  # "not green", "red"
    whole = _wraps(v, w, n)
    if "no" in n:
        return whole if whole == "surely" and any("no" in p for p, *_ in _wider(v, n)) else ""
    (heads, chunks), (more_heads, others) = _chunks(w), _chunks(n)
    if heads == more_heads:
        hows = {_wraps(v, c, o) for c, o in zip(chunks, others, strict=True)}
        return "" if "" in hows or hows == {"same"} else "perhaps" if "perhaps" in hows else "surely"
    if whole == "surely" or heads or more_heads[0] in OTHER or not chunks[0]:
        return whole if whole == "surely" else ""
    return "perhaps" if _wraps(v, chunks[0], others[0]) else ""


def _counts(wide: Phrase, narrow: Phrase) -> str:
    """The same of two options that count: "surely" or "-", where one count does not include the other; nothing if there
    is nothing to compare."""
    bounds = [list(filter(BOUND.fullmatch, said)) or list(filter(NUMBER.fullmatch, said)) for said in (wide, narrow)]
    if narrow == ("nobody",) or ("no" in narrow and len(narrow) < 3):
        bounds[1] = ["0"]
    if [len(b) for b in bounds] != [1, 1] or bounds[0][0][0] != "#":
        return ""
    (low, high), (least, most) = (tuple(map(float, (b[0].lstrip("#").split(":") * 2)[:2])) for b in bounds)
    rests = [
        {w for w in said if w not in (b[0], "no", "nobody")} for said, b in zip((wide, narrow), bounds, strict=True)
    ]
    if rests[0] != rests[1] and all(rests):
        return "-" if least > high or most < low else ""
    return "surely" if low <= least and most <= high else "-"


def _wider(v: Vocabulary, said: Phrase) -> list[Wider]:
    """What is said from which something wider follows."""
    return [one for at, w in enumerate(said) for one in v.wider.get(w, ()) if said[at : at + len(one[0])] == one[0]]


def _wraps(v: Vocabulary, wide: Iterable[str], narrow: Iterable[str]) -> str:
    """How words include others: "same", "surely", "perhaps" or not at all."""
    w, n = tuple(wide), tuple(narrow)
    less, more = {x for x in w if x not in n}, {x for x in n if x not in w}
    if not OTHER.isdisjoint(w):
        return ""
    if not less:
        if not more:
            return "same"
        kind_of = {x for p, sure, _ in _wider(v, n) if not sure.isdisjoint(w) for x in p}
        if MODIFIERS | kind_of >= more:
            return "surely"
        free = OTHER.isdisjoint(more) and not any(x[0].isdigit() for x in more)
        return "perhaps" if w and free and len(more) < 3 else ""
    if less <= ANY and more - MODIFIERS:
        return "surely"
    follows = [one for one in _wider(v, n) if not set(one[0]) <= set(w)]
    surely, maybe = ({x for one in follows for x in one[i]} for i in (1, 2))
    if not surely | maybe >= less:
        parts = [p for x in w for p in (x.split("_") if x in less else [x])]
        how = _wraps(v, parts, n) if len(parts) > len(w) else ""
        return "perhaps" if how == "same" else how
    left = more - {x for p, sure, some in follows if not (sure | some).isdisjoint(less) for x in p}
    left -= {p for x in less for p in x.split("_")}
    if not OTHER.isdisjoint(left):
        return ""
    return "surely" if surely >= less and not any(v.acts.get(x) == "who" or x[0].isdigit() for x in left) else "perhaps"


# -- options about the others ----------------------------------------------------------------------------------------


def about_others(option: str) -> str:
    """How an option is about the other options: plainly, or unless the question names what it means ("both"), or so
    that it may be something of its own ("something else"); nothing if it is not."""
    return next((how for how, expression in ABOUT.items() if expression.search(option)), "")


@lru_cache(maxsize=1 << 14)
def hints(pack: TaskPack, option: str) -> tuple[tuple[frozenset[str], ...], ...]:
    """For each word of an option the stems that a text must have, all of one set, to say that word, too."""
    said = (w for w in meaning(pack, option).words if w not in RULED_TO and not DIGIT.search(w))
    return tuple((frozenset((w,)), frozenset(w.split("_")), *_spellings(pack).get(w, ())) for w in said)


@cache
def _spellings(pack: TaskPack) -> dict[str, tuple[frozenset[str], ...]]:
    """By word the stems of the phrases that are rewritten as it, or as more than it."""
    v = _known(pack)
    found: dict[str, set[frozenset[str]]] = {}
    for said, ones in (p for by in (*v.same.values(), *v.whole.values()) for some in by.values() for p in some):
        for one in ones:
            found.setdefault(one, set()).add(frozenset(said) - {"*"})
    return {w: tuple(sorted(some, key=len)) for w, some in found.items()}
