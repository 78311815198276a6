"""Regular expressions written on several lines, and those that are tried only on texts with one of their words."""

from __future__ import annotations

import re
from functools import lru_cache, reduce
from operator import or_
from typing import ClassVar


def any_of(lines: str, flags: int = 0) -> re.Pattern[str]:
    """One expression for several, one a line; a line further in goes on with the one before."""
    whole = re.sub(r"\n {8,}", "", lines.strip("\n"))
    return re.compile("|".join(line.strip(" ") for line in whole.split("\n")), flags)


def one_of(words: str) -> str:
    """A group of expressions without spaces, a space in them written as _."""
    return f"(?:{'|'.join(words.split()).replace('_', ' ')})"


def words_of(lines: str) -> frozenset[str]:
    return frozenset(lines.split())


def compiled(lines: str, flags: int = 0) -> re.Pattern[str]:
    """One expression that is written on several lines."""
    return re.compile(lines.replace("\n", ""), flags)


class Worded:
    """An expression that is tried only on texts which have one of its words: those it matches alone, and those of
    `also`, so that every match has one. Most texts have none, and are told by one look a word for all of these."""

    every: ClassVar[list[Worded]] = []

    def __init__(self, lines: str, also: str = "(?!)") -> None:
        self.expression, self.also = compiled(lines, re.I), compiled(also, re.I)
        self.bit = 1 << len(self.every)
        self.every.append(self)
        BITS.clear()
        _heard.cache_clear()

    def search(self, text: str) -> re.Match[str] | None:
        return self.expression.search(text) if _heard(text) & self.bit else None


class _Bits(dict[str, int]):
    """By word, the bits of the expressions that are to be tried where it stands."""

    def __missing__(self, word: str) -> int:
        if len(self) >= 1 << 17:
            self.clear()
        tried = (w for w in Worded.every if w.also.fullmatch(word) or w.expression.search(word))
        self[word] = bits = sum(w.bit for w in tried)
        return bits


BITS = _Bits()
SPOKEN = re.compile(r"\w+")


@lru_cache(maxsize=1 << 16)
def _heard(text: str) -> int:
    return reduce(or_, map(BITS.__getitem__, SPOKEN.findall(text)), 0)
