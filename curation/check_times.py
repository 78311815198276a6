"""The points in time that a text names, for the rules of `curation.checks`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

NUMBERS = "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
_N = rf"(?:\d+(?:\.\d+)?|(?:{NUMBERS}))"
TIME = re.compile(
    rf"(?<![\w.])(?:(?:second|t\s*[=≈~])\s*(?P<a>{_N})\b|(?P<b>{_N})(?:\s*(?:-|–|to|and)\s*(?P<c>{_N}))?"
    rf"(?P<unit>\s?s\b|[ -]secs?\b|[ -]seconds?\b)|(?P<min>\d{{1,2}}):(?P<sec>[0-5]\d(?:\.\d+)?)\b)"
    rf"(?P<tail>\W{{0,2}}\w+)?",
    re.I,
)
LENGTH = re.compile(r"\b(for|within|last(s|ing)?|of|than|in|over|takes|another|every|first)\W?$", re.I)
DECADE = re.compile(r"\b(his|her|their|the|mid|early|late|to|mid-)\W?$", re.I)
AFTER = re.compile(r"(later|before|after|long|of|ahead|earlier|to|prior|apart|gap|duration|clip|[ap]m?)$", re.I)
DIGIT = re.compile(r"\d|sec")


class Told(NamedTuple):
    """A time, or a range of times, in seconds, that a line names, and where in it."""

    low: float
    high: float
    start: int
    end: int
    line: str

    @property
    def text(self) -> str:
        return self.line[self.start : self.end].strip()


@lru_cache(maxsize=1 << 16)
def times(text: str) -> tuple[Told, ...]:
    """The points in time that a text names; lengths ("for 3 s", "2 seconds later") are none."""
    return tuple(_times(text)) if DIGIT.search(text) else ()


def _times(text: str) -> Iterator[Told]:
    for m in TIME.finditer(text):
        tail, lead = (m["tail"] or "").strip(" -,.)("), text[max(0, m.start() - 12) : m.start()]
        if m["a"]:
            yield Told(_number(m["a"]), _number(m["a"]), m.start(), m.end("a"), text)
        elif AFTER.match(tail) or LENGTH.search(lead) or (m["unit"] == "s" and DECADE.search(lead)):
            continue  # how long, a man in his 40s, at 1:27 pm
        elif m["min"]:
            at = int(m["min"]) * 60 + float(m["sec"])
            yield Told(at, at, m.start(), m.end("sec"), text)
        else:
            low = _number(m["b"])
            yield Told(low, _number(m["c"]) if m["c"] else low, m.start("b"), m.end("unit"), text)


def _number(word: str) -> float:
    return float(NUMBERS.split("|").index(word.casefold())) if word[0].isalpha() else float(word)
