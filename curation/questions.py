"""Closed questions as people write them down: options in one cell or in several, answers as text, letter or index.

Options: a list (of texts, of `{"label", "text"}`), an object of letters, a JSON or Python list in a string, labelled
text ("A. cat, B. dog", "(A) cat (B) dog", "A)cat\\nB)dog"), or text separated by lines, |, ; or commas. Answers: the
text, the letter ("B", "(b)", "B. dog", "Answer: B"), or an index from 0 or 1. How answers are written is decided over
the whole table, by what resolves most of them; what does not resolve is told with its reason, never dropped in silence.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

STYLES = ("text", "letter", "index from 0", "index from 1")


class UnreadableError(ValueError):
    """This question cannot be read; the text is the reason, in few words, the same for the same cause."""


@dataclass(frozen=True)
class Option:
    """`label` as written ("A", "1"), None when bare; `slot` is the place in the source, counting empty options."""

    text: str
    slot: int
    label: str | None = None


def parse_options(value: Any) -> list[Option]:
    """The options of one question, empty ones left out. Raises UnreadableError."""
    if isinstance(value, str):
        value = _from_string(value)
    options = _from_list(value) if isinstance(value, (list, tuple, dict)) else None
    if options is None:
        raise UnreadableError("no options" if value is None else "options are neither a list nor text")
    options = [o for o in options if o.text]
    if len(options) < 2:
        raise UnreadableError("fewer than two options")
    return options


def _from_list(value: Any) -> list[Option]:
    if isinstance(value, dict):  # of letters, or of two lists
        texts, labels = value.get("text"), value.get("label")
        if not (isinstance(texts, (list, tuple)) and isinstance(labels, (list, tuple)) and len(texts) == len(labels)):
            labels, texts = value.keys(), value.values()
        return [Option(_text(t), i, _text(n)) for i, (t, n) in enumerate(zip(texts, labels, strict=True))]
    if value and all(isinstance(v, Option) for v in value):
        return list(value)
    if value and all(isinstance(v, dict) and "text" in v for v in value):
        return [Option(_text(v["text"]), i, _text(v.get("label")) or None) for i, v in enumerate(value)]
    if any(isinstance(v, dict) for v in value):
        raise UnreadableError("options are objects without a text")
    texts = [_text(v) for v in value]
    labelled = _labelled("\n".join(texts))
    return labelled if len(labelled) == len(texts) else [Option(t, i) for i, t in enumerate(texts)]


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(str(value).split())


def _labels(first: str, n: int) -> list[str]:
    if first.isdigit():
        return [str(int(first) + i) for i in range(n)]
    return [chr(ord(first) + i) for i in range(n)]


def _from_string(text: str) -> list[Any] | dict[str, Any]:
    """A list or object in a string, labelled options, or separated ones."""
    text = text.strip()
    text = re.sub(r"^array\((\[.*\])(, dtype=\w+)?\)$", r"\1", text, flags=re.DOTALL)  # numpy's way of writing
    if text[:1] in ("[", "{", "("):
        spaced = re.sub(r"(?<=['\"])\s+(?=['\"])", ", ", text)
        for read, source in ((json.loads, text), (ast.literal_eval, spaced)):  # reads data only; nothing is run
            with suppress(ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
                value = read(source)
                if isinstance(value, (list, tuple, dict)):
                    return value if isinstance(value, dict) else list(value)
    text = re.sub(r"^(options|choices|candidates)\s*:\s*", "", text, flags=re.IGNORECASE)
    if labelled := _labelled(text):
        return labelled
    for separator in ("\n", "|", ";", "\t", ","):
        parts = [p.strip() for p in re.split(rf"\s*{re.escape(separator)}+\s*", text) if p.strip()]
        if len(parts) > 1:
            return parts
    return [text]


def _labelled(text: str) -> list[Any]:
    """Options after the labels A, B, C …, a, b, c … or 1, 2, 3 …; [] when the text does not begin with a label.

    A label counts only in its turn and after the separator; the separator that yields most options wins (lines first,
    then commas, then blanks). "Dr. B. Smith" among comma-separated options is therefore no label. A label that occurs
    a second time makes the reading with that separator void. Raises UnreadableError when that leaves none.
    """
    if not (head := re.match(r"[(\[]?([Aa]|[01](?![.:]\S))[.):\]]", text)):
        return []
    one = r"\d{1,2}" if head[1].isdigit() else "[A-Z]" if head[1].isupper() else "[a-z]"
    close = r"(?:[.:](?=\s)|[)\]])" if head[1].isdigit() else r"[.):\]]"  # 2.5 is no label, "D.The" has one
    wanted = _labels(head[1], 26)
    best: list[Any] = []
    void = False
    for separator in (r"\s*\n\s*", r"\s*[,;|]\s*", r"\s+"):
        marks = list(re.finditer(rf"(^|{separator})[(\[]?({one}){close}\s*", text))
        taken: list[re.Match[str]] = []
        for mark in marks:
            if len(taken) < 26 and mark[2] == wanted[len(taken)]:
                taken.append(mark)
        if len({m[2] for m in marks if m not in taken} & {m[2] for m in taken}):
            void = True
        elif len(taken) > max(1, len(best)):
            ends = [m.start() for m in taken[1:]] + [len(text)]
            parts = [" ".join(text[m.end() : end].split()) for m, end in zip(taken, ends, strict=True)]
            best = [Option(part.rstrip(",;| "), i, taken[i][2]) for i, part in enumerate(parts)]
    if not best and void:
        raise UnreadableError("a label occurs twice among the options")
    return best


def resolve(options: list[Option], answer: Any, style: str) -> int:
    """The place in `options` of the right one, when answers are written in `style`. Raises UnreadableError."""
    if isinstance(answer, (list, tuple)):
        if len(answer) > 1:
            raise UnreadableError("several right answers")
        answer = answer[0] if answer else None
    text = _text(answer)
    if not text:
        raise UnreadableError("no answer")
    if style == "text":
        return _by_text(options, text)
    if style == "letter":
        return _by_letter(options, text)
    if isinstance(answer, bool) or not re.fullmatch(r"\d+", text):
        raise UnreadableError("answer is no index")
    hits = [i for i, o in enumerate(options) if o.slot == int(text) - int(style[-1])]
    return _only(hits, "index outside the options, or of an empty one")


def _only(hits: list[int], reason: str) -> int:
    if len(hits) != 1:
        raise UnreadableError(reason)
    return hits[0]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .,;\"'")


def _by_text(options: list[Option], text: str) -> int:
    for form in (str, _plain):
        if hits := [i for i, o in enumerate(options) if form(o.text) == form(text)]:
            return _only(hits, "the answer's text is that of two options")
    yes_no = {"true": "yes", "false": "no"}.get(_plain(text))
    return _only([i for i, o in enumerate(options) if _plain(o.text) == yes_no], "answer is not among the options")


def _by_letter(options: list[Option], text: str) -> int:
    text = re.sub(r"</?\w+>", "", text)  # <answer>B</answer>
    text = re.sub(r"^(the )?(correct )?(answer|option|choice)( is)?[\s:_]*", "", text, flags=re.IGNORECASE)
    bare = re.fullmatch(r"\W*([A-Za-z]|\d{1,2})\W*", text)
    full = re.match(r"[(\[]?([A-Za-z]|\d{1,2})(?:[.):\]]| [-–] )\s*(.+)", text)
    if not (found := bare or full):
        raise UnreadableError("answer is no letter")
    label = found[1].casefold()
    hits = [i for i, o in enumerate(options) if (o.label or "").casefold() == label]
    hits = hits or [i for i, o in enumerate(options) if not label.isdigit() and o.slot == ord(label) - ord("a")]
    place = _only(hits, "letter outside the options")
    if full and not bare and _plain(full[2]) != _plain(options[place].text):
        raise UnreadableError("letter and text of the answer disagree")
    return place


def _attempt(options: list[Option], answer: Any, style: str) -> int | None:
    try:
        return resolve(options, answer, style)
    except UnreadableError:
        return None


def answer_style(questions: Sequence[tuple[list[Option], Any]]) -> tuple[str, str]:
    """(style, a word on how sure that is): the style that resolves most answers; in a tie the earlier of `STYLES`."""
    places = {style: [_attempt(o, a, style) for o, a in questions] for style in STYLES}
    resolved = {style: sum(p is not None for p in found) for style, found in places.items()}
    best = max(STYLES, key=lambda s: resolved[s])
    if best == "index from 0" and resolved["index from 1"] == resolved[best]:
        return best, "nothing in the data tells an index from 0 from an index from 1: 0 is assumed"
    rivals = [s for s in STYLES[1:] if best == "text" and 2 * resolved[s] > len(questions)]
    differ = sum(
        p is not None and any(places[s][i] not in (None, p) for s in rivals) for i, p in enumerate(places[best])
    )
    return best, f"{differ} answers would mean another option if read as {' or '.join(rivals)}" if differ else ""


def parse_answer(options: list[Option], answer: Any, style: str) -> int:
    """The right place; where letters and texts are mixed the other of the two is tried. Raises UnreadableError."""
    other = {"text": "letter", "letter": "text"}.get(style)
    try:
        return resolve(options, answer, style)
    except UnreadableError:
        if other and (place := _attempt(options, answer, other)) is not None:
            return place
        raise
