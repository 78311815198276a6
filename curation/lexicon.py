"""The words by which texts are read: the ontology's cues and values, and English words that turn them (no, almost,
would, avoids, if), as one regular expression for each kind; and which of them may begin with a given word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import regex

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
TOKEN = re.compile(r"\w+|[.!?](?=\s|$)|[;\n,:—–]")
WORD = re.compile(r"\w+")
SEPARATORS = " -,'’"  # what may stand between the words of one mark
BEHIND = re.compile(r"\(\?<=[^()]*\)")
MOST = 1 << 17  # words remembered


class Beginnings(dict[str, tuple[tuple[str, Any], ...]]):
    """By word the kinds of mark that may begin with it, with their expressions; found out when first asked."""

    def __init__(self, kinds: dict[str, str]) -> None:
        self.kinds = [(k, re.compile(rf"(?:{e})(?!\w)"), _alone(e)) for k, e in kinds.items()]

    def __missing__(self, word: str) -> tuple[tuple[str, Any], ...]:
        if len(self) >= MOST:
            self.clear()
        longer = [word + c for c in SEPARATORS]
        self[word] = found = tuple(
            (kind, pattern) for kind, pattern, alone in self.kinds
            if alone.fullmatch(word) or any(alone.fullmatch(w, partial=True) for w in longer)
        )  # fmt: skip
        return found


def _alone(expression: str) -> Any:
    """The expression for a word without those before it."""
    return regex.compile(BEHIND.sub("", expression))


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The words of a pack's ontology. `begins`: by word, the marks that may begin there; `values`: what a word names;
    `weak`: the words before and after which a word counts; `together`: by name, by the value that holds, the others
    that may be said of the same clip."""

    pack: TaskPack
    begins: Beginnings
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
    cues = {k: "|".join(spelled) for k, spelled in pack.ontology.get("cues", {}).get("x-cues", {}).items()} | TURNS
    spelled = [re.escape(w).replace(r"\ ", "[ -]") + TAIL for w in sorted(values, key=lambda w: (-len(w), w))]
    cues |= {"value": "|".join(spelled) or "(?!)", "stop": STOPS}
    frozen = {w: tuple((n, frozenset(v)) for n, v in by.items()) for w, by in values.items()}
    return Lexicon(pack, Beginnings(cues), frozen, weak, {name: node["x-together"] for name, node in held.items()})


def named(lex: Lexicon, word: str) -> tuple[str, tuple[tuple[str, frozenset[str]], ...]]:
    """The word of the ontology that `word` is a form of, and what it names."""
    word = word.replace("-", " ")
    for known in (word, *(word[:-n] for n in range(1, 7))):
        if known in lex.values:
            return known, lex.values[known]
    return word, ()
