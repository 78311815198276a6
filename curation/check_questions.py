"""The rules for questions with options: what is offered, what the question gives away."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from curation.check_answers import ASKED, AUX, NOBODY, WH, asked_of, facts_of, labelled, ranges, said_of, times_offered
from curation.check_options import ARTICLES, ENUMERATED, LEFT_OUT, about_others, hints, includes, like, meaning, stem
from curation.check_phrases import Worded, compiled
from curation.check_reading import Mark, lines_of, read
from curation.check_text import HYPOTHETICAL, Context, Finding
from curation.check_times import times
from curation.lexicon import WORD, Lexicon
from curation.tasks import TaskPack

GIVEN = Worded(r"""\b(?:the|this|that|its|their|our) (?:[\w-]+ ){0,2}?(?:collision|crash|accident|impact
|mishap|shunt|wreck|near[- ]?(?:miss|crash)|close call|narrow escape|close shave|fender[- ]bender|pile-?up|smash|damage
|wreckage|(?:damaged|crashed|wrecked|dented|injured) \w+)\b
(?! (?:barrier|helmet))""",
"collision|accident|impact|mishap|shunt|wreck(?:ed|age)?|call|escape|shave|(?:fender)?bender|pile(?:up)?|smash|damaged?"
"|(?:near)?(?:miss|crash)|crashed|dented|injured")  # fmt: skip
# What only a collision or a near-collision leaves behind.
TAKEN = Worded(r"""\b(?:damage[ds]?|dent(?:s|ed)?|crumpled|injur\w+|airbags?|wreck(?:ed|age)?|victims?|the blow
|the incident|(?:avoid|avert|evad|escap|dodg)(?:s|es|ed|e|ing)?
(?! (?:(?:the|a|an|any) )?(?:potholes?|puddles?|speed|roadworks?|parked|obstacles?|cones?|toll|traffic|delays?))
|emergency (?:brak\w+|stop\w*|swerve|manoeuvre|maneuver)|(?:run|running|crash(?:ed|ing)?|bump(?:ed|ing)?|smash(?:ed
|ing)?|slam(?:med|ming)?) into
|narrowly|barely miss\w*|saved? (?:the|him|her|it) from|disaster
|(?:this|the|an?) (?:\w+ )?(?:uneventful|normal|ordinary|routine|incident-free|unremarkable)
 (?:\w+ )?(?:drive|driving|trip|journey|clip|ride)
|the evasive (?:manoeuvre|maneuver|action)|knocked (?:off|down|over|him|her|it))\b""",
"blow|incident|emergency|into|barely|saved?|uneventful|normal|ordinary|routine|free|unremarkable|evasive"
"|knocked")  # fmt: skip
BEFORE = re.compile(r"\b(?:before|until|after|once|when)(?: \w+){1,4} $", re.I)
ALREADY = re.compile(r"(?:^|[,;:] )\W*(?:after|given that|since|because|now that|once|seeing that|as) [^,;:?]*$", re.I)
DEGREE = re.compile(r"\W*(?:(?:by|at|to|in) )?how (?!does|do|did|is|was|are|the)\w+", re.I)
OPENED = Worded(r"\bif (?:there|any\w*|one|it|at all|so|he|she|they)\b|\bor not\b", "if|not")
SHOWS = """(?:makes?|shows?|shown|proves?|sees?|seen|plain|evident|clear|obvious|suggests?|indicates?|reveals?|tells?
|confirms?|betrays?)"""
TOLD = Worded(r"\banswer (?:is|being|must be)\b|\(answer|\bhint:|\((?:yes|no)\)", r"answer\w*|hint|yes|no")
LEADING = Worded(rf"""^\W*(?:is|are|was|were|do|does|did|has|have|would|could|can|will)n['’]t\b
|\bit (?:is |not )?(?:clear|obvious|plain|evident) that\b
|\b(?:as|since|given that|seeing that|because) [^?]{{0,60}}?\b{SHOWS}\b
|\b(?:obviously|evidently|undoubtedly|of course|needless to say|as expected|no doubt|surely)\b""",
    rf"t|{SHOWS}|course|needless|expected|doubt")  # fmt: skip
TAG = compiled(rf""", (?:{AUX}(?:n['’]t)? (?:it|there|he|she|they|we|that)(?: not)?
|right|correct|yes|no)\?\W*$""", re.I)  # fmt: skip
GENERIC = Worded(r"""\b(?:conditions?|statements?|of these|of the following|true|holds?|appl(?:y|ies)|can be said
|correct|describes?|fits?|match(?:es)?|circumstances?|setting)\b""", "these|following|said")  # fmt: skip
YES_NO = re.compile(r"yes/no\W?|no\W?/yes", re.I)
ASIDE = compiled(r"""\b(?:time|part|hour|moment|period) of (?:the )?day\b|\bin the day\b
|\bof (?:the )?(?:road|weather)\b
|\b(?:stop|give[ -]way|yield|brake|turn|turning|crossing) (?:signs?|lines?|lights?|lamps?|lanes?|signals?|points?)\b
""", re.I)  # fmt: skip


# -- what is offered -------------------------------------------------------------------------------------------------
def options(value: Any, context: Context) -> Iterator[Finding]:
    """The answer is one of the options, the options differ in meaning, one alone is right, none is about the others."""
    for at, item, shape in context.nodes:
        if "options" not in shape.names:
            continue
        offered, answer = item.get("options"), item.get("answer")
        if not offered or not isinstance(answer, str) or not all(isinstance(o, str) for o in offered):
            continue
        question = str(item.get("question", ""))
        if answer not in offered:
            yield Finding("answer_not_offered", f"{at}/answer", f"'{answer}' is none of the options")
        for rule, i, why, how in _offered(context.pack, tuple(offered), answer):
            if how != "unless asked" or not ENUMERATED.search(question):
                severity = "warning" if how == "perhaps" else "error"
                yield Finding(rule, f"{at}/options/{i}", f"'{offered[i]}' {why}", severity)
        if answer in offered and len(offered) > 2:
            for i, severity in _also_right(question, offered, answer, context):
                note = f"'{offered[i]}' is as right as the answer '{answer}'"
                yield Finding("two_right", f"{at}/options/{i}", note, severity)


@lru_cache(maxsize=1 << 14)
def _offered(pack: TaskPack, offered: tuple[str, ...], answer: str) -> tuple[tuple[str, int, str, str], ...]:
    """Faults of options by their words alone: rule, which option, what it does, how surely."""
    found = []
    mean = [meaning(pack, o) for o in offered]
    right = meaning(pack, answer)
    chosen = offered.index(answer) if answer in offered else -1
    for i, m in enumerate(mean):
        mine = i != chosen and chosen >= 0 and not YES_NO.fullmatch(f"{offered[i][:3]}/{answer[:3]}")
        either = {"or", "either"} & set(m.words) and set(right.words) < set(m.words)
        if mine and (m.key == right.key or either or like(m, right)):
            found.append(("two_right", i, f"is as right as the answer '{answer}'", ""))
        elif mine and (how := includes(pack, m, right) or includes(pack, right, m).replace("perhaps", "")):
            found.append(("two_right", i, f"and the answer '{answer}': one includes the other", how))
        elif i != chosen and any(o.key == m.key or like(o, m) for j, o in enumerate(mean[:i]) if j != chosen):
            found.append(("options_alike", i, "says what another option says", ""))
        if how := about_others(offered[i]):
            found.append(("options_above", i, "is about the other options", how))
    return tuple(found)


def _also_right(question: str, offered: Sequence[str], answer: str, context: Context) -> Iterator[tuple[int, str]]:
    """The options beside the answer that the metadata or the labelled time make right; how grave that is. Of what the
    question does not ask, another truth only may be one: "what makes it hard to drive?", by rain, at night."""
    end = context.clip.duration_s
    spans = [ranges(o, end) for o in offered] if times_offered(tuple(offered)) else []
    true = facts_of(context.lex, tuple(offered), context.held)
    chosen = offered.index(answer)
    if not (spans or any(true)) or true[chosen] == frozenset() or NOBODY.match(answer):
        return  # no option says what can be held against the metadata, or the answer says what does not hold
    about = asked_of(question) or (frozenset(ASKED) if GENERIC.search(question) else frozenset())
    about |= true[chosen] or frozenset()
    about -= frozenset(ASKED) if DEGREE.match(question) else frozenset()  # "how heavy is the rain?"
    at = labelled(question, context)
    at = times(question)[0].low if at is None and len(times(question)) == 1 else at
    for i in range(len(offered)):
        mine, its = (spans[chosen][:1], spans[i]) if spans else ([], [])
        both = any(at is not None and r[0] < at < r[1] and a[0] < at < a[1] for a in mine for r in its)
        if i == chosen:
            continue
        if about & (true[i] or frozenset()) or both or any(_within(a, r) for a in mine for r in its):
            yield i, "error"
        elif about and true[i] and true[chosen]:
            yield i, "warning"


def _within(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return b[0] <= a[0] and a[1] <= b[1] and a != b and (a[1] > a[0] or b[0] < a[0] < b[1])


# -- what the question gives away ------------------------------------------------------------------------------------
def leaks(value: Any, context: Context) -> Iterator[Finding]:
    """No question holds its answer, or takes for granted what happens."""
    for at, item, _ in context.nodes:
        question, answer = item.get("question"), item.get("answer")
        if not isinstance(question, str) or not isinstance(answer, str):
            continue
        offered = tuple(map(str, item.get("options") or ()))
        if why := _tells_answer(context.lex, question, offered, answer):
            yield Finding("question_tells_answer", f"{at}/question", why)
        what, severity = _tells_class(context.lex, question, offered)
        if what:
            note = f"'{what}' takes the event for granted; ask whether, or add 'if any'"
            yield Finding("question_tells_class", f"{at}/question", note, severity)


@lru_cache(maxsize=1 << 14)
def _tells_answer(lex: Lexicon, question: str, offered: tuple[str, ...], answer: str) -> str | None:
    if m := TOLD.search(question):
        return f"'{m.group()}' tells the answer"
    closed = answer.casefold().strip(" .") in ("yes", "no")
    if closed and offered:
        if m := LEADING.search(question) or (TAG.search(question) if "," in question else None):
            return f"'{m.group().strip(' ,')[:60]}' suggests the answer"
        return _suggested(lex, question)
    low = question.casefold()
    stems = set(map(stem, WORD.findall(low)))
    may = not answer.casefold().startswith(("yes", "no,")) and " or " not in low
    if may and (_stems(answer) <= stems or all(any(map(stems.issuperset, s)) for s in hints(lex.pack, answer))):
        asked = _spelled(lex.pack, ASIDE.sub(" ", question))
        held = [o for o in {answer, *offered} if _spelled(lex.pack, o) in asked]
        if held == [answer]:
            return f"the question holds the answer '{answer}'"
    said = [(n, v) for n, vs, yes in said_of(lex, answer) for v in vs if yes and len(vs) == 1]
    clue = next((c for n, v in said if (c := _clue(lex.pack, n, v, question))), None)
    if clue and not any(_clue(lex.pack, n, v, question) for o in offered if o != answer
                        for n, vs, _ in said_of(lex, o) for v in vs):  # fmt: skip
        return f"'{clue}' tells the answer '{answer}'"
    return None


@lru_cache(maxsize=1 << 14)
def _stems(answer: str) -> frozenset[str]:
    """The stems of an answer as it is written."""
    return frozenset(map(stem, WORD.findall(answer.casefold()))) - LEFT_OUT - ARTICLES


def _suggested(lex: Lexicon, question: str) -> str | None:
    """What a question to be answered by yes or no tells beside what it asks: a clue, or the same in a statement."""
    r = read(lex, question)
    for m, yes in r.values:
        for name, vs in m.names:
            clue = next((c for v in vs if yes and (c := _clue(lex.pack, name, v, question, but=m))), None)
            if clue:
                return f"'{clue}' tells whether '{m.text}' holds"
    if not question.rstrip().endswith("?"):
        return None
    *stated, asks = lines_of(question.rstrip())
    asked = set(meaning(lex.pack, asks).words)
    for line in stated:
        if len(asked) > 1 and asked - {"ego"} <= set(meaning(lex.pack, line).words) and not line.rstrip().endswith("?"):
            return f"'{line.strip()[:60]}' answers the question"
    return None


@lru_cache(maxsize=1 << 14)
def _clue(pack: TaskPack, name: str, value: str, question: str, but: Mark | None = None) -> str | None:
    """What a question tells, beside the mark `but`, by which a value shows."""
    shown = pack.ontology.get(name, {}).get("x-clues", {}).get(value)
    if not shown:
        return None
    for m in re.finditer(rf"\b(?:{'|'.join(shown)})\b", question, re.I):
        aside = but is None or not any(c in question[min(m.start(), but.start) : max(m.end(), but.end)] for c in ",;:.")
        if not (but and aside):
            return m.group()
    return None


@lru_cache(maxsize=1 << 16)
def _spelled(pack: TaskPack, text: str) -> str:
    return f" {' '.join(meaning(pack, text).words)} ".replace("_", " ")


@lru_cache(maxsize=1 << 14)
def _tells_class(lex: Lexicon, question: str, offered: tuple[str, ...]) -> tuple[str, str]:
    """What a question takes for granted, and how grave that is; a warning where a mark only hints at it."""
    sure = read(lex, question)
    plain = WH.search(question) and not HYPOTHETICAL.search(question)
    given = GIVEN.search(question) or (plain and TAKEN.search(question)) or None
    for r, severity in ((sure, "error"), (sure.loosely, "warning")):
        happens = (*r.contact, *r.near)
        stated = [m for m in happens if "?" in question and not m.line.rstrip().endswith("?")]
        stated += [m for m in happens if ALREADY.search(m.before)]
        before = [m for m in r.maybe if BEFORE.search(m.before)]
        taken = [*happens, *sure.normal, *sure.spared, *before] if plain else stated
        if (given or taken) and not OPENED.search(question):
            if any(NOBODY.match(o) or read(lex, o).spared for o in offered):
                return "", ""
            what, degree = given.group() if given else taken[0].text, not given and DEGREE.match(question)
            return what, "warning" if degree else severity
    return "", ""
