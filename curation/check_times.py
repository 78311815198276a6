"""The points in time that a text names, for the rules of `curation.checks`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

NUMBERS = (
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    "|eighteen|nineteen|twenty"
)
SHARES = {"half": 1 / 2, "third": 1 / 3, "quarter": 1 / 4, "three quarters": 3 / 4}
_SHARE = r"(?:half|third|quarter|three[ -]quarters)"
_N = (
    rf"(?:\d+(?:\.\d+)?|(?:{NUMBERS})\b(?:[ -]and[ -](?:a[ -])?{_SHARE})?|{_SHARE} (?:of )?an?"
    rf"|an?(?= second (?:in|into|mark)\b))"
)
_UNIT = r"(?:\s?s\b|[ -]secs?\b|[ -]seconds?\b)"
TIME = re.compile(
    rf"(?<![\w.])(?:(?:second|t\s*[=≈~])\s*(?P<a>{_N})\b"
    rf"|(?P<b>{_N})(?:{_UNIT}?\s*(?P<to>-|–|to|until|till|and)\s*(?P<c>{_N}))?(?P<unit>{_UNIT})"
    rf"|(?P<min>\d{{1,2}}):(?P<sec>[0-5]\d(?:\.\d+)?)\b(?!\W{{0,2}}[ap]\.?m\b))(?P<tail>\W{{0,2}}\w+)?"
    rf"|\bafter (?P<d>{_N}) \w+ seconds\b",
    re.I,
)
LENGTH = re.compile(
    r"\b(for|within|last(s|ing)?|of|than|in|over|takes|another|every|first|next|final|closing|opening|clock)\W?$", re.I
)
DECADE = re.compile(r"\b(his|her|their|the|mid|early|late|to|mid-)\W?$", re.I)
AFTER = re.compile(r"(later|before|after|long|of|ahead|earlier|to|prior|apart|gap|duration|clip|from)$", re.I)
DIGIT = re.compile(r"\d|sec")
CLIP = r"(?:of|in) (?:the|this) (?:clip|video|footage|recording|sequence|film|scene)"
PART = re.compile(
    rf"\b(?P<edge>first|opening|last|final|closing) (?:(?P<n>{_N}|few|couple of) )?"
    rf"(?P<what>seconds?|moments?|frames?|half|third|quarter)\b"
    rf"(?P<of> {CLIP})?|\b(?P<at>start|beginning|outset|opening|middle|end|close|very end) {CLIP}"
    rf"|\b(?P<way>half-?way|mid-?way|(?:a third|a quarter|three[ -]quarters|two thirds) of the way)"
    rf" (?:through|into)\b|\b(?:clip|video|footage|recording) (?P<does>begins|starts|opens|ends|closes|stops)\b",
    re.I,
)
SINCE = re.compile(r"(?:\ds?|\bs|secs?|seconds?) (?:after|before|from|past|since)(?: the| this)? $", re.I)
BEGUN = re.compile(
    rf" (?:after|from|past) (?:the |this )?(?:(?:start|beginning) {CLIP}"
    r"|(?:clip|video|footage|recording) (?:start|begin|open)s)\b",
    re.I,
)
WHOLE = frozenset(
    ("clip", "video", "footage", "recording", "sequence", "film", "scene", "through", "into", "second", "seconds")
)
WAYS = {"half": 1 / 2, "mid": 1 / 2, "a third": 1 / 3, "a quarter": 1 / 4, "three": 3 / 4, "two": 2 / 3}


class Told(NamedTuple):
    """A time, or a range of times, that a line names, and where in it: in seconds, from the clip's end if negative, or
    (`share`) in shares of the clip; `back`: the range runs from a later time to an earlier."""

    low: float
    high: float
    start: int
    end: int
    line: str
    share: bool = False
    back: bool = False

    @property
    def text(self) -> str:
        return self.line[self.start : self.end].strip()

    def within(self, length: float) -> tuple[float, float]:
        """The range in seconds of a clip of that length."""
        if self.share:
            return self.low * length, self.high * length
        return (self.low + length, self.high + length) if self.low < 0 else (self.low, self.high)


@lru_cache(maxsize=1 << 16)
def times(text: str) -> tuple[Told, ...]:
    """The points in time that a text names in seconds; lengths ("for 3 s", "2 seconds later") are none."""
    return tuple(_times(text)) if DIGIT.search(text) else ()


def parts(text: str, words: Iterable[str]) -> tuple[Told, ...]:
    """The parts of the clip that a text of these words names: its first second, the end of it, halfway through."""
    return () if WHOLE.isdisjoint(words) else tuple(t for m in PART.finditer(text) if (t := _part(m)))


def _times(text: str) -> Iterator[Told]:
    for m in TIME.finditer(text):
        tail, lead = (m["tail"] or "").strip(" -,.)("), text[max(0, m.start() - 12) : m.start()]
        begun = BEGUN.match(text, m.end("unit")) if m["unit"] else None
        if m["a"] or m["d"]:
            name = "a" if m["a"] else "d"
            at = _number(m[name])
            yield Told(at, at, m.start(), m.end(name), text)
        elif (AFTER.match(tail) and not begun) or LENGTH.search(lead) or (m["unit"] == "s" and DECADE.search(lead)):
            continue  # how long, a man in his 40s
        elif m["min"]:
            at = int(m["min"]) * 60 + float(m["sec"])
            yield Told(at, at, m.start(), m.end("sec"), text)
        else:
            low = _number(m["b"])
            high = _number(m["c"]) if m["c"] else low
            back = high < low and bool(re.search(r"\b(from|between)\W?$", lead, re.I))
            if back or high >= low:
                yield Told(min(low, high), max(low, high), m.start("b"), m.end("unit"), text, back=back)


def _part(m: re.Match[str]) -> Told | None:
    if SINCE.search(m.string[max(0, m.start() - 40) : m.start()]):  # "3.5 s after the clip begins"
        return None
    first = (m["edge"] or "").casefold() in ("first", "opening")
    at = m.start(), m.end(), m.string
    if m["edge"]:
        what = m["what"].casefold()
        if what in SHARES:
            n = SHARES[what]
            return Told(0 if first else 1 - n, n if first else 1, *at, share=True) if m["of"] else None
        if not m["of"] and what[:6] != "second":
            return None
        n = _number(m["n"]) if m["n"] and m["n"].casefold() not in ("few", "couple of") else 2 if m["n"] else 1
        return Told(0, n, *at) if first else Told(-n, -0.001, *at)
    if m["way"]:
        n = next(v for k, v in WAYS.items() if m["way"].casefold().startswith(k))
        return Told(n - 0.1, n + 0.1, *at, share=True)
    word = (m["at"] or m["does"]).casefold()
    low, high = (
        (1 / 3, 2 / 3)
        if word == "middle"
        else (0.8, 1)
        if word[-3:] in ("end", "nds", "ose", "ses", "ops")
        else (0, 0.2)
    )
    return Told(low, high, *at, share=True)


def _number(word: str) -> float:
    """The number that digits or words say: "3.5", "three and a half", "half a"."""
    if not word[0].isalpha():
        return float(word)
    said = word.casefold().replace("-", " ")
    share = next(
        (SHARES[s] for s in ("three quarters", "half", "third", "quarter") if re.search(rf"\b{s}\b", said)), 0.0
    )
    first = said.split()[0]
    if first in NUMBERS.split("|") and not said.startswith("three quarters"):
        return NUMBERS.split("|").index(first) + share
    return share or 1.0  # "half a", "a"
