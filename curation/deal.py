"""Fair questions: which clip is asked what, with which options, decided over a whole set of clips.

Distractors that are merely plausible come from the answers' own skewed distribution and let a guesser win. Here the
options are drawn first, then which of them is to be right, evenly, and only then a clip for which it is. So each answer
string is right in 1/k of the questions that offer it, up to the luck of the draw, and nothing can be learnt from
other questions. (Exact counts would be worse: what was right too seldom elsewhere would be the better guess here.) An
answer is offered as often as its clips allow, so frequent ones oftener. The class (the template's `alike`) is drawn
evenly too, as far as the answer leaves a choice, so that being asked tells little of it. A question whose answer
does not vary over the set is not asked.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from math import isqrt
from typing import Any

from curation.ids import seeded
from curation.tasks import TaskPack
from curation.template import Scope, lookup, render
from curation.types import Json

MOST_OPTIONS = 4


@dataclass
class Pool:
    """The clips that can be asked one question, by answer and class."""

    question: Json
    cells: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def k(self) -> int:
        always = self.question.get("always")
        missing = always is not None and always not in self.cells
        return 0 if missing else min(self.question.get("most", MOST_OPTIONS), len(self.cells))

    def size(self) -> int:
        """About how many items there can be: k for each clip of the k-th most frequent answer."""
        counts = sorted((sum(map(len, by.values())) for by in self.cells.values()), reverse=True)
        return self.k() * counts[self.k() - 1]

    def draw(self, room: Counter[str], n: int, r: random.Random) -> list[tuple[str, list[str]]]:
        """Up to `n` clips with room, each once, each with its options, the right one in a random place."""
        cells = {a: {c: [x for x in clips if room[x] > 0] for c, clips in by.items()} for a, by in self.cells.items()}
        cells = {a: {c: clips for c, clips in by.items() if clips} for a, by in sorted(cells.items())}
        k, always = self.k(), self.question.get("always")
        offers = {a: _offers(sum(map(len, by.values())), k) for a, by in cells.items()}
        shares = _shares(_rows(offers, k, always), cells)
        drawn: list[tuple[str, list[str]]] = []
        while len(drawn) < n:
            left = {a: left for a, left in offers.items() if left > 0 and any(cells[a].values())}
            if len(left) < k or (always is not None and always not in left):
                break
            # k weighted draws without replacement (Efraimidis and Spirakis 2006): the largest u^(1/weight)
            keys = {a: r.random() ** (1 / weight) + (a == always) for a, weight in left.items()}
            options = sorted(keys, key=lambda a: -keys[a])[:k]
            r.shuffle(options)
            answer = r.choice(options)
            classes = [c for c, clips in cells[answer].items() if clips]
            weights = [shares[answer].get(c, 0) + 1e-9 for c in classes]
            waiting = cells[answer][r.choices(classes, weights)[0]]
            clip = max(waiting, key=lambda x: (room[x], r.random()))
            waiting.remove(clip)
            for option in options:
                offers[option] -= 1
            drawn.append((clip, [answer, *options]))
        return drawn


def _offers(clips: int, k: int) -> int:
    """How often an answer with so many clips may be offered: it is right once in k, and should not run out by luck."""
    return k * max(1, clips - isqrt(clips))


def _rows(offers: dict[str, int], k: int, always: str | None) -> dict[str, float]:
    """In which proportions the answers will be right: by their offers, but none in more than 1/k."""
    rows = {a: float(sum(offers.values()) if a == always else n) for a, n in offers.items()}
    for _ in range(50):
        most = sum(rows.values()) / k
        rows = {a: min(n, most) for a, n in rows.items()}
    return rows


def _shares(rows: dict[str, float], cells: dict[str, dict[str, list[str]]]) -> dict[str, dict[str, float]]:
    """By answer and class: even classes, as far as the answers' shares allow (proportional fitting, Deming and
    Stephan 1940)."""
    classes = sorted({c for by in cells.values() for c in by})
    w = {a: {c: float(len(clips)) for c, clips in by.items()} for a, by in cells.items()}
    for _ in range(50):
        for c in classes:
            total = sum(by.get(c, 0) for by in w.values())
            for by in w.values():
                by.update({c: by[c] / total} if c in by else {})
        for a, by in w.items():
            total = sum(by.values())
            w[a] = {c: x * rows[a] / total for c, x in by.items()}
    return w


def deal(
    pack: TaskPack, contexts: dict[str, Json], *, seed: int, per_clip: int, per_family: int | None = None
) -> dict[str, list[Json]]:
    """Items by clip id, from the `questions` of the pack's template. At most `per_clip` items a clip, one of them open,
    and at most `per_family` of one family.

    `contexts` are what the template sees of each clip, its parents' values included if the questions ask for them.
    The same arguments give the same items; the order of `contexts` does not matter.
    """
    template: Json = pack.template or {}
    defs = template.get("defs", {})
    scopes = {
        clip: Scope(context, (seed, clip, pack.name), defs, f"{pack.name}/template.json")
        for clip, context in sorted(contexts.items())
    }
    r = seeded(seed, pack.name, "plan", list(scopes))
    items: dict[str, list[Json]] = {clip: [] for clip in scopes}
    open_questions = [q for q in template["questions"] if q["kind"] == "open"]
    closed = [q for q in template["questions"] if q["kind"] != "open"]
    room = Counter({clip: per_clip - bool(open_questions) for clip in scopes})
    alike = template.get("alike")
    strata = {clip: str(lookup(alike, scope, "/alike")) if alike else "" for clip, scope in scopes.items()}
    for early in (False, True):  # clips without a class are asked by themselves
        part = {clip: scope for clip, scope in scopes.items() if (strata[clip] == "None") == early}
        _deal(closed, part, strata, room, items, r, per_family)
    for clip, scope in scopes.items():
        items[clip] += _open([q for q in open_questions if not _full(items[clip], q, per_family)], scope)
        seeded(seed, clip, pack.name, "order").shuffle(items[clip])
    return items


def _deal(
    questions: list[Json],
    scopes: dict[str, Scope],
    strata: dict[str, str],
    room: Counter[str],
    items: dict[str, list[Json]],
    r: random.Random,
    per_family: int | None,
) -> None:
    """Add the closed items: scarce questions first, each with an even part of the room that the rarest class has."""
    pools = [pool for pool in (_pool(q, scopes, strata) for q in questions) if pool.k() > 1]
    pools.sort(key=Pool.size)
    clips = Counter(strata[clip] for clip in scopes)
    classes = [c for c, n in clips.items() if n * 4 * len(clips) >= len(scopes)]  # a class of a few clips stops nothing
    for done, pool in enumerate(pools):
        free = Counter({clip: 0 if _full(items[clip], pool.question, per_family) else room[clip] for clip in scopes})
        left: Counter[str] = Counter()
        for clip in scopes:
            left[strata[clip]] += free[clip]
        part = min(left[c] for c in classes) * len(clips) // (len(pools) - done)
        for clip, (answer, *options) in pool.draw(free, part, r):
            items[clip].append(_item(pool.question, scopes[clip], answer, options))
            room[clip] -= 1


def _full(items: list[Json], question: Json, per_family: int | None) -> bool:
    return per_family is not None and sum(i["family"] == question["family"] for i in items) >= per_family


def _answer(question: Json, scope: Scope) -> str | None:
    said: Any = render(question["answer"], scope, f"/questions/{question['id']}/answer")
    return said or None


def _pool(question: Json, scopes: dict[str, Scope], strata: dict[str, str]) -> Pool:
    cells: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for clip, scope in scopes.items():
        if answer := _answer(question, scope):
            cells[answer][strata[clip]].append(clip)
    return Pool(question, {answer: dict(by) for answer, by in cells.items()})


def _item(question: Json, scope: Scope, answer: str, options: list[str]) -> Json:
    at = f"/questions/{question['id']}"
    return {
        "id": question["id"],
        "family": question["family"],
        "kind": question["kind"],
        "question": render(question["ask"], scope, f"{at}/ask"),
        "options": options,
        "answer": answer,
        "answerable": True,
        "evidence": render(question["evidence"], scope, f"{at}/evidence"),
    }


def _open(questions: list[Json], scope: Scope) -> list[Json]:
    """One open question that the clip can answer, or none."""
    answers = {q["id"]: _answer(q, scope) for q in questions}
    can = [q for q in questions if answers[q["id"]]]
    if not can:
        return []
    one = seeded(*scope.seed, "open").choice(can)
    return [_item(one, scope, str(answers[one["id"]]), [])]
