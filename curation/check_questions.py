"""The rules for questions with options: what is offered, what the question gives away, whether the answer is right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

from curation.check_text import HYPOTHETICAL, Context, Finding, Reading, class_clash, read
from curation.check_times import times
from curation.tasks import TaskPack, words

FAR_S = 1.0
ABOVE = re.compile(
    r"\b(all|none|both|any|neither|each) (of )?(the |these |those )?(other )?(above|these|those|options|answers|others)"
    r"\b|^(all|both) of them$|\b[a-d] (and|or) [a-d]\b",
    re.I,
)
WH = re.compile(r"^\W*((in|at|by|with|to) )?(what|who|whom|whose|why|when|where|how|which|describe|explain)\b", re.I)
GIVEN = re.compile(
    r"\b(?:the|this|that|its) (?:\w+ )?(?:collision|crash|accident|impact|near[- ]?(?:miss|crash)|close call)\b", re.I
)
OPENED = re.compile(r"\bif (?:there|any|one|it|at all|so)\b|\bor not\b", re.I)
FILLER = re.compile(r"(a|an|the|it|is|are|was|there|in|on|at|of|to|by|with|some|this|that)$")
NAMED = ("weather", "light", "road", "scene", "partner", "cause", "class")


@cache
def _same(pack: TaskPack) -> dict[str, str]:
    """Single words that mean the same to the ontology, each with its value; names earlier in the ontology win."""
    found: dict[str, str] = {}
    for by in words(pack).values():
        for word, v in by.items():
            if " " not in word and v:
                found.setdefault(word, v)
    return found


@lru_cache(maxsize=1 << 16)
def meaning(pack: TaskPack, option: str) -> tuple[str, ...]:
    """An option without case, punctuation, articles and plural, synonyms by their value: equal ones are one answer."""
    low = [w for w in re.findall(r"[\w.]+", option.casefold().replace("_", " ").rstrip(". ")) if not FILLER.match(w)]
    bare = [w for w in low if w not in ("weather", "conditions", "sky")] or low
    stems = [re.sub(r"(?<=\w\w[^si])s$", "", re.sub(r"(?<=\w\w)ies$", "y", w)) for w in bare]
    return tuple(_same(pack).get(w, _same(pack).get(s, s)) for w, s in zip(bare, stems, strict=True))


@lru_cache(maxsize=1 << 16)
def _bare(text: str) -> str:
    return " " + " ".join(w for w in re.findall(r"[\w.]+", text.casefold().rstrip("?. ")) if not FILLER.match(w)) + " "


def options(value: Any, context: Context) -> Iterator[Finding]:
    """The answer is one of the options, the options differ in meaning, and none is about the others."""
    for at, item in context.nodes:
        offered, answer = item.get("options"), item.get("answer")
        if not isinstance(offered, list) or not offered or not isinstance(answer, str):
            continue
        if answer not in offered:
            yield Finding("answer_not_offered", f"{at}/answer", f"'{answer}' is none of the options")
        mean = [meaning(context.pack, o) for o in offered]
        right = meaning(context.pack, answer)
        for i, m in enumerate(mean):
            if m in mean[:i] and m != right:
                yield Finding("options_alike", f"{at}/options/{i}", f"'{offered[i]}' says what another option says")
            either = {"or", "either"} & set(m) and set(right) < set(m)
            if offered[i] != answer and answer in offered and (m == right or either):
                yield Finding("two_right", f"{at}/options/{i}", f"'{offered[i]}' is as right as the answer '{answer}'")
            if ABOVE.search(offered[i]):
                yield Finding("options_above", f"{at}/options/{i}", f"'{offered[i]}' is about the other options")


def leaks(value: Any, context: Context) -> Iterator[Finding]:
    """No question holds its answer, or takes for granted what happens."""
    for at, item in context.nodes:
        question, answer = item.get("question"), item.get("answer")
        if not isinstance(question, str) or not isinstance(answer, str):
            continue
        asked, r = _bare(question), read(context.lex, question)
        held = [o for o in {answer, *(item.get("options") or ())} if _bare(o) in asked]
        if held == [answer] and answer.casefold() not in ("yes", "no"):
            yield Finding("question_tells_answer", f"{at}/question", f"the question holds the answer '{answer}'")
        plain = WH.match(question) and not HYPOTHETICAL.search(question)
        given, taken = GIVEN.search(question), [*r.contact, *r.near] if plain else []
        denied = any(read(context.lex, str(o)).spared for o in item.get("options") or ())
        if (given or taken) and not OPENED.search(question) and not denied:
            what = given.group() if given else taken[0].text
            note = f"'{what}' takes the event for granted; ask whether, or add 'if any'"
            yield Finding("question_tells_class", f"{at}/question", note)


def answers(value: Any, context: Context) -> Iterator[Finding]:
    """A chosen answer fits the event and the metadata: by its options' name in the ontology, a yes or no, a time."""
    for at, item in context.nodes:
        question, answer, offered = item.get("question"), item.get("answer"), item.get("options") or []
        if question is None:  # one of a bank: the schema asks
            shape = context.pack.schema["properties"].get(at[1:], {})
            question, offered = shape.get("description"), shape.get("properties", {}).get("answer", {}).get("enum", [])
        if not isinstance(question, str) or answer not in offered or item.get("answerable") is False:
            continue
        why = _answer_clash(question, str(answer), offered, context)
        if why:
            yield Finding("answer_wrong", f"{at}/answer", why)


def _answer_clash(question: str, answer: str, offered: list[str], context: Context) -> str | None:
    r, told = read(context.lex, question), read(context.lex, answer)
    early = context.clip.role == "pre_event"
    if answer in ("yes", "no"):
        clash = None if r.contact or r.near or r.trouble else _yes_no_clash(r, answer == "yes", context)
        if clash:
            return f"'{answer}', but the metadata says {clash}"
        about = {(n, v) for m in r.marks for n, vs in m.names for v in vs} - {("partner", context.known("partner"))}
        plain = not WH.match(question) and not HYPOTHETICAL.search(question) and not about
        if early or not plain or context.cls is None or (context.event or {}).get("ego_role") == "witness":
            return None
        cls, said = ("near_collision", r.near) if r.near else ("collision", r.contact)
        wrong = said and (answer == "yes") != (context.cls == cls)
        return f"'{answer}' to '{said[0].text}', but the event is {context.cls}" if wrong else None
    for name in NAMED:
        by = _spoken(context.pack, name)
        mine = by.get(answer.casefold())
        holds = context.known(name) if mine else None
        if holds is None:
            continue
        kind = name == "scene" and answer.casefold() in _spoken(context.pack, "road")  # said beside any layout
        also = context.lex.together.get(name, {}).get(holds, ())
        if not kind and mine not in (holds, *also) and sum(o.casefold() in by for o in offered) > 1:
            return f"'{answer}', but {name} is {holds}"
    if early or context.cls is None:
        return None
    if told.marks and not told.spared and not HYPOTHETICAL.search(f"{question} {answer}"):
        said2 = class_clash(told, context.cls)
        if said2:
            return f"'{answer}' says {said2[1]}, but the event is {context.cls}"
    return _time_clash(question, answer, offered, context)


def _yes_no_clash(r: Reading, yes: bool, context: Context) -> str | None:
    """A question about values ("rain or snow?") is answered yes if one of them holds; what it denies must not."""
    for name in sorted({n for m, _ in r.values for n, _ in m.names if n != "partner"}):
        asked = {v for m, said in r.values if said for n, vs in m.names if n == name for v in vs}
        holds = context.known(name)
        loosely = yes and asked & set(context.lex.together[name].get(str(holds), ()))
        if holds and asked and (holds in asked) != yes and not loosely:
            return f"{name}: {holds}"
    return None


@cache
def _spoken(pack: TaskPack, name: str) -> dict[str, str]:
    phrases = pack.ontology.get(name, {}).get("x-phrases", {})
    return words(pack).get(name, {}) | {p.casefold(): v for v, p in phrases.items()}


PART = re.compile(r"\b(first|second|third|fourth|last|final|middle) (half|third|quarter)\b", re.I)
NEVER = re.compile(r"\b(at no (time|point)|never|not at all|no such moment|does not happen)\b", re.I)


@lru_cache(maxsize=1 << 16)
def _timed(option: str) -> bool:
    return bool(PART.search(option) or NEVER.search(option) or times(option))


def _time_clash(question: str, answer: str, offered: list[str], context: Context) -> str | None:
    """A chosen time against the labelled one; the question says whether of the alert or of the event."""
    if sum(_timed(o) for o in offered) < 2:
        return None
    event, end = context.event or {}, context.clip.duration_s
    told = [(t.low, t.high) for t in times(answer)]
    for part in PART.finditer(answer):
        n = {"half": 2, "third": 3, "quarter": 4}[part[2].casefold()]
        place = part[1].casefold()
        i = {"last": n - 1, "final": n - 1, "middle": n // 2, "second": 1, "third": 2, "fourth": 3}.get(place, 0)
        told.append((end * i / n, end * (i + 1) / n))
    alert = re.search(r"\b(first|begin\w*|start\w*|earliest|become\w*|notice\w*|sign)\b", question, re.I)
    at = event.get("alert_s" if alert else "event_s")
    if context.cls == "normal" and told:
        return f"'{answer}', but nothing happens in the clip"
    if context.cls in ("collision", "near_collision") and NEVER.search(answer) and event.get("ego_role") != "witness":
        return f"'{answer}', but the event is {context.cls}"
    wide = told and at is not None and not told[0][0] - FAR_S <= at <= told[0][1] + FAR_S
    return f"'{answer}', but the label says {at} s" if wide and event.get("time_basis") != "onset" else None
