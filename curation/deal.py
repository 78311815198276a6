"""Fair questions: which clip is asked what, with which options, decided over a whole set of clips.

Distractors that are merely plausible come from the answers' own skewed distribution and let a guesser win. Here the
options are drawn first, then which of them is to be right, evenly, and only then a clip for which it is. So each answer
string is right in 1/k of the questions that offer it, up to the luck of the draw, and nothing can be learnt from
other questions. (Exact counts would be worse: what was right too seldom elsewhere would be the better guess here.) An
answer is offered as often as its clips allow, so frequent ones oftener. Of the classes (the template's `alike`) that
the answer allows, the one asked least so far is taken, so that being asked tells little of it. A question whose answer
does not vary over the set is not asked.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from math import isqrt
from typing import Any

from curation.ids import seeded
from curation.tasks import TaskPack
from curation.template import Scope, lookup, render
from curation.types import Json

MOST_OPTIONS = 4


Cells = dict[str, dict[str, list[str]]]  # the clips that can be asked a question, by answer and class


def _options(question: Json, cells: Cells) -> int:
    always = question.get("always")
    missing = always is not None and always not in cells
    return 0 if missing else min(question.get("most", MOST_OPTIONS), len(cells))


def _size(question: Json, cells: Cells) -> int:
    """About how many items there can be: k for each clip of the k-th most frequent answer."""
    k = _options(question, cells)
    return k * sorted((sum(map(len, by.values())) for by in cells.values()), reverse=True)[k - 1]


def _draw(
    question: Json, pool: Cells, room: Counter[str], n: int, r: random.Random
) -> Iterator[tuple[str, str, list[str]]]:
    """Up to `n` clips with room, each once, each with the answer and its options, the right one in a random place."""
    k, always = _options(question, pool), question.get("always")
    cells = {a: {c: [x for x in clips if room[x] > 0] for c, clips in by.items()} for a, by in sorted(pool.items())}
    cells = {a: {c: clips for c, clips in by.items() if clips} for a, by in cells.items()}
    counts = {a: sum(map(len, by.values())) for a, by in cells.items()}
    offers = {a: k * max(1, clips - isqrt(clips)) for a, clips in counts.items()}  # so that none runs out by luck
    asked: Counter[str] = Counter()  # by class
    for _ in range(n):
        left = {a: left for a, left in offers.items() if left > 0 and any(cells[a].values())}
        if len(left) < k or (always is not None and always not in left):
            return
        # k weighted draws without replacement (Efraimidis and Spirakis 2006): the largest u^(1/weight)
        keys = {a: r.random() ** (1 / weight) + (a == always) for a, weight in left.items()}
        options = sorted(keys, key=lambda a: -keys[a])[:k]
        r.shuffle(options)
        answer = r.choice(options)
        of = min((c for c, clips in cells[answer].items() if clips), key=lambda c: (asked[c], r.random()))
        asked[of] += 1
        waiting = cells[answer][of]
        clip = max(waiting, key=lambda x: (room[x], r.random()))
        waiting.remove(clip)
        for option in options:
            offers[option] -= 1
        yield clip, answer, options


def deal(
    pack: TaskPack, contexts: dict[str, Json], *, seed: int, per_clip: int, per_family: int | None = None
) -> dict[str, list[Json]]:
    """Items by clip id, from the `questions` of the pack's template. At most `per_clip` items a clip, one of them open,
    and at most `per_family` of one family.

    `contexts` are what the template sees of each clip, its parents' values included if the questions ask for them.
    The same arguments give the same items; the order of `contexts` does not matter.
    """
    template: Json = pack.template or {}
    defs, alike = template.get("defs", {}), template.get("alike")
    scopes = {
        clip: Scope(context, (seed, clip, pack.name), defs, f"{pack.name}/template.json")
        for clip, context in sorted(contexts.items())
    }
    r = seeded(seed, pack.name, "plan", list(scopes))
    items: dict[str, list[Json]] = {clip: [] for clip in scopes}
    open_questions = [q for q in template["questions"] if q["kind"] == "open"]
    closed = [q for q in template["questions"] if q["kind"] != "open"]
    room = Counter({clip: per_clip - bool(open_questions) for clip in scopes})
    strata = {clip: str(lookup(alike, scope, "/alike")) if alike else "" for clip, scope in scopes.items()}

    def full(clip: str, question: Json) -> bool:
        of = sum(item["family"] == question["family"] for item in items[clip])
        return per_family is not None and of >= per_family

    def deal_closed(part: list[str]) -> None:
        """Scarce questions first, each with an even part of the room that the rarest class has."""
        pools = [(q, _pool(q, {clip: scopes[clip] for clip in part}, strata)) for q in closed]
        pools = sorted(((q, cells) for q, cells in pools if _options(q, cells) > 1), key=lambda pool: _size(*pool))
        clips = Counter(strata[clip] for clip in part)
        classes = [c for c, n in clips.items() if n * 4 * len(clips) >= len(part)]  # a class of a few stops nothing
        for done, (question, cells) in enumerate(pools):
            free = Counter({clip: 0 if full(clip, question) else room[clip] for clip in part})
            left = Counter[str]()
            for clip in part:
                left[strata[clip]] += free[clip]
            share = min(left[c] for c in classes) * len(clips) // (len(pools) - done)
            for clip, answer, options in _draw(question, cells, free, share, r):
                items[clip].append(_item(question, scopes[clip], answer, options))
                room[clip] -= 1

    for early in (False, True):  # clips without a class are asked by themselves
        deal_closed([clip for clip in scopes if (strata[clip] == "None") == early])
    for clip, scope in scopes.items():
        can = [(q, a) for q in open_questions if not full(clip, q) and (a := _answer(q, scope))]
        if can:
            question, answer = seeded(*scope.seed, "open").choice(can)
            items[clip].append(_item(question, scope, answer, []))
        seeded(seed, clip, pack.name, "order").shuffle(items[clip])
    return items


def _answer(question: Json, scope: Scope) -> str | None:
    said: Any = render(question["answer"], scope, f"/questions/{question['id']}/answer")
    return said or None


def _pool(question: Json, scopes: dict[str, Scope], strata: dict[str, str]) -> Cells:
    cells: Cells = {}
    for clip, scope in scopes.items():
        if answer := _answer(question, scope):
            cells.setdefault(answer, {}).setdefault(strata[clip], []).append(clip)
    return cells


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
