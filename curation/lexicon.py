"""The words by which texts are read: the ontology's cues and values, and English words that turn them (no, almost,
would, avoids, if), as one regular expression for each first letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from curation.tasks import TaskPack, words
from curation.types import Json

TURNS = {
    "neg": r"no|not|\w+n['’]t|cannot|never|without|neither|nor|none|nobody|nothing|no one|lacks?|lack of|absence of|"
    r"free of|impossible|rather than|instead of|fail(?:s|ed|ing)?(?: to)?|unable to|too late to|far from",
    "hyp": r"would|could|might|may|should|will|possib\w*|potential\w*|likel\w*|unlikely|inevitabl\w*|unavoidabl\w*|"
    r"about to|going to|before|until|suppos\w*|fear\w*|expect\w*|earlier|previous|prior|"
    r"old|tr(?:y|ies|ying) to|bound to|suggest\w*|indicat\w*|impending|guarante\w*|probab\w*|predict\w*|chance|"
    r"to cause|to create|(?:sufficient|enough|time|room|order) to|seconds? (?:to|from)",
    "if": r"if|unless|whether|had (?:nobody|anyone|they|everybody)|in case|as though",
}
STOPS = "but|and|yet|while|then|so"
TAIL = r"(?:s|es|y|ed|ing|fall|drops?|flakes?|storms?|['’]s)?"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKEN = re.compile(r"\w+|[.!?](?=\s|$)|[;\n,:—–]")
LOOK = re.compile(r"\(\?<?[=!](?:[^()]|\([^()]*\))*\)")


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The words of a pack's ontology. `by_letter`: the expression of marks that begin with it; `values`: what a word
    names; `weak`: the words before and after which a word counts; `together`: by name, by the value that holds, the
    others that may be said of the same clip."""

    by_letter: dict[str, re.Pattern[str]]
    values: dict[str, tuple[tuple[str, frozenset[str]], ...]]
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
    cues = {**pack.ontology.get("cues", {}).get("x-cues", {}), **{k: [v] for k, v in TURNS.items()}}
    cues["value"] = [re.escape(w).replace(r"\ ", "[ -]") + TAIL for w in sorted(values, key=lambda w: (-len(w), w))]
    parts = [(k, a, heads(a)) for k, spelled in [*cues.items(), ("stop", [STOPS])] for a in _split("|".join(spelled))]
    by_letter = {}
    for letter in LETTERS:
        own: dict[str, list[str]] = {}
        for kind, part, first in parts:
            if letter in first:
                own.setdefault(kind, []).append(part)
        if own:
            by_letter[letter] = re.compile("|".join(f"(?P<{k}>{'|'.join(v)})(?!\\w)" for k, v in own.items()))
    frozen = {w: tuple((n, frozenset(v)) for n, v in by.items()) for w, by in values.items()}
    return Lexicon(by_letter, frozen, weak, {name: node["x-together"] for name, node in held.items()})


def heads(expression: str) -> str:
    """The letters that a match may begin with; all where that is not plain."""
    expression = LOOK.sub("", expression) if expression.startswith("(?") else expression
    if expression.startswith("(?:"):
        inner, rest = _group(expression)
        parts = _split(inner)
        found = "".join(heads(part) for part in parts if part)
        return found + heads(rest.lstrip("?*")) if "" in parts or rest[:1] in ("?", "*") else found
    if not expression[:1].isalpha():
        return LETTERS
    return expression[0] + (heads(expression[2:]) if expression[1:2] in ("?", "*") else "")


def _depths(expression: str) -> Iterator[tuple[str, int]]:
    depth = 0
    for c in expression:
        depth += (c in "([") - (c in ")]")
        yield c, depth


def _split(expression: str) -> list[str]:
    """The alternatives of an expression; it as it is where brackets are escaped."""
    if re.search(r"\\[()\[\]|]", expression):
        return [expression]
    parts = [""]
    for c, depth in _depths(expression):
        if c == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += c
    return parts


def _group(expression: str) -> tuple[str, str]:
    """What stands inside the group that an expression begins with, and what follows it."""
    end = next(i for i, (_, depth) in enumerate(_depths(expression)) if not depth)
    return expression[3:end], expression[end + 1 :]


def named(lex: Lexicon, word: str) -> tuple[str, tuple[tuple[str, frozenset[str]], ...]]:
    """The word of the ontology that `word` is a form of, and what it names."""
    word = word.replace("-", " ")
    for known in (word, *(word[:-n] for n in range(1, 7))):
        if known in lex.values:
            return known, lex.values[known]
    return word, ()
