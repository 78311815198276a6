"""The words by which texts are read: the ontology's cues and values, and English words that turn them (no, almost,
would, avoids, if), as regular expressions by kind; and which of them may begin with a given word.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import regex

from curation.tasks import TaskPack, words
from curation.types import Json

TURNS = {
    "neg": ["no", "not", r"\w+n['’]t", "cannot", "never", "without", "neither", "nor", "none", "nobody", "nothing",
        "no one", "lacks?", "lack of", "absence of", "free of", "impossible", "rather than", "instead of",
        "fail(?:s|ed|ing)?(?: to)?", "rul(?:es?|ed|ing) out", "unable to", "too late to", "far from",
        "nowhere(?: near)?"],
    "hyp": ["would", "could", "might", "may", "should", "will", r"possib\w*", r"potential\w*", r"likel\w*", "unlikely",
        r"inevitabl\w*", r"unavoidabl\w*", "about to", "going to", "before", r"suppos\w*", r"fear\w*",
        r"expect\w*", "earlier", "previous", "prior", "old", "tr(?:y|ies|ying) to", "bound to", r"suggest\w*",
        r"indicat\w*", "impending", r"guarante\w*", r"probab\w*", r"predict\w*", "chance", "to cause", "to create",
        "(?:sufficient|enough|time|room|order) to", "seconds? (?:to|from)"],
    "if": ["if", "unless", "whether", "had (?:nobody|anyone|they|everybody)", "in case", "as though"],
}  # fmt: skip
STOPS = ["but", "and", "yet", "while", "then", "so"]
TAIL = r"(?:s|es|y|ed|ing|fall|drops?|flakes?|storms?|['’]s)?"
BREAK = re.compile(r"[.!?](?=\s|$)|[;\n,:—–]")  # ends a clause
WORD = re.compile(r"\w+")
SEPARATORS = " -,'’"  # what may stand between the words of one mark
LETTERS = re.compile(r"[a-z]{2}(?![?*{|])")
PART = re.compile(r"(?<!L)<(\w+)>")
BEHIND = re.compile(r"\(\?<=[^()]*\)")
MOST = 1 << 17  # words remembered
Names = tuple[tuple[str, frozenset[str]], ...]  # what a word names, by the name of the ontology


class Beginnings(dict[str, tuple[tuple[str, Any], ...]]):
    """By word the expressions that may begin with it, with the kinds of mark they make; found out when first asked,
    so that an expression costs nothing where its first word does not stand."""

    def __init__(self, kinds: dict[str, list[str]], lists: dict[str, list[str]]) -> None:
        self.all = [(kind, e) for kind, spelled in kinds.items() for e in spelled]
        self.by_letters: dict[str, list[tuple[str, str]]] = {}
        self.pairs = _Pairs(self)
        self.compiled = cache(partial(regex.compile, ignore_unused=True, **lists))

    def __missing__(self, word: str) -> tuple[tuple[str, Any], ...]:
        if len(self) >= MOST:
            self.clear()
        letters = word[:2]
        if letters not in self.by_letters:
            self.by_letters[letters] = [x for x in self.all if self._may(x[1], letters)]
        longer = [word + c for c in SEPARATORS]
        found = []
        for kind, e in self.by_letters[letters]:
            first = self._first(e)
            if first.fullmatch(word) or any(first.fullmatch(w, partial=True) for w in longer):
                found.append((kind, self.pattern(e)))
        self[word] = tuple(found)
        return self[word]

    def pattern(self, expression: str) -> Any:
        return self.compiled(rf"(?:{expression})(?!\w)")

    def _first(self, expression: str) -> Any:
        """The expression by which its first word is told."""
        return self.compiled(BEHIND.sub("", expression)) if "(?<=" in expression else self.pattern(expression)

    def _may(self, expression: str, letters: str) -> bool:
        """May `expression` begin with these letters?"""
        first = LETTERS.match(expression)
        if first:
            return bool(first.group() == letters)
        return self._first(expression).fullmatch(letters, partial=True) is not None


class _Pairs(dict[str, tuple[tuple[str, Any], ...]]):
    """The same by a word and the one behind it, as they stand in a text: next to nothing begins with most pairs."""

    def __init__(self, begins: Beginnings) -> None:
        self.begins = begins

    def __missing__(self, pair: str) -> tuple[tuple[str, Any], ...]:
        if len(self) >= MOST:
            self.clear()
        first = WORD.match(pair)
        here = self.begins[first.group()] if first else ()
        self[pair] = found = tuple(
            (kind, p) for kind, p in here if "(?<=" in p.pattern or p.match(pair, partial=True)
        )  # fmt: skip
        return found


@cache
def _beginnings(spelled: str) -> Beginnings:
    return Beginnings(*json.loads(spelled))


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The words of a pack's ontology. `begins`: by word, the marks that may begin there; `values`: what a word names;
    `told`: what the marks of a kind name;
    `weak`: the words before and after which a word counts; `together`: by name, by the value that holds, the others
    that may be said of the same clip."""

    pack: TaskPack
    begins: Beginnings
    values: dict[str, Names]
    told: dict[str, Names]
    weak: dict[str, tuple[frozenset[str], frozenset[str]]]
    together: dict[str, Json]


@cache
def lexicon(pack: TaskPack) -> Lexicon:
    """The lexicon of a pack's ontology; an ontology without `cues` and `x-together` gives one that finds little."""
    values: dict[str, dict[str, set[str]]] = {}
    weak: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
    held = {name: node for name, node in pack.ontology.items() if "x-together" in node}
    for name, node in held.items():
        finer = [o["enum"] for n, o in held.items() if n != name and len(o["enum"]) < len(node["enum"])]
        others = {v for values_ in finer for v in values_}
        said = {w: {v} for w, v in words(pack)[name].items()} | {w: set(v) for w, v in node.get("x-means", {}).items()}
        for word, meant in said.items():
            if not meant & others:
                values.setdefault(word, {}).setdefault(name, set()).update(meant)
        frame = frozenset(node.get("x-frame", ()))
        weak |= {w: (frame | set(node.get("x-lead", ())), frame) for w in node.get("x-weak", ())}
    node = pack.ontology.get("cues", {})
    parts = node.get("x-parts", {})
    cues = {k: [PART.sub(lambda m: parts[m[1]], e) for e in spelled] for k, spelled in node.get("x-cues", {}).items()}
    cues |= TURNS
    told: dict[str, Names] = {}
    for name, one in held.items():
        for meant, spelled in one.get("x-told", {}).items():
            told[f"{name} {meant}"] = ((name, frozenset(meant.strip("?").split("|"))),)
            cues[f"{name} {meant}"] = spelled
    cues["value"] = [re.escape(w).replace(r"\ ", "[ -]") + TAIL for w in sorted(values)] or ["(?!)"]
    cues["stop"] = STOPS
    frozen = {w: tuple((n, frozenset(v)) for n, v in by.items()) for w, by in values.items()}
    together = {name: node["x-together"] for name, node in held.items()}
    return Lexicon(pack, _beginnings(json.dumps([cues, node.get("x-lists", {})])), frozen, told, weak, together)


def named(lex: Lexicon, word: str) -> tuple[str, Names]:
    """The word of the ontology that `word` is a form of, and what it names."""
    word = word.replace("-", " ")
    for known in (word, *(word[:-n] for n in range(1, 7))):
        if known in lex.values:
            return known, lex.values[known]
    return word, ()
