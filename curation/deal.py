"""Fair questions: which clip is asked what, with which options, decided over a whole set of clips.

Distractors that are merely plausible come from the answers' own skewed distribution and let a guesser win. Here
questions are dealt in blocks: k clips that have k different answers to the same question share those k answers as
options. So each answer string is right in exactly 1/k of the questions that offer it, in every set of whole blocks;
the right option's place is a permutation within the block, so places are exactly uniform, too. Frequent answers are
dealt as often as their rarer rivals allow; clips left over get no such question. A question whose answer does not
vary over the set is not asked.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from curation.ids import seeded
from curation.tasks import TaskPack
from curation.template import Scope, render
from curation.types import Json

MOST_OPTIONS = 4


@dataclass
class Pool:
    """The clips still to be asked one question, by their answer."""

    question: Json
    k: int
    clips: dict[str, list[str]] = field(default_factory=dict)

    def block(self, room: dict[str, int], r: random.Random) -> dict[str, str]:
        """k answers, each with a clip that has room left; empty when there are not k. Frequent answers come oftener."""
        for answer, waiting in list(self.clips.items()):
            while waiting and not room[waiting[-1]]:
                waiting.pop()
            if not waiting:
                del self.clips[answer]
        if len(self.clips) < self.k:
            return {}
        # k weighted draws without replacement (Efraimidis and Spirakis 2006): the largest u^(1/weight)
        keys = {answer: r.random() ** (1 / len(waiting)) for answer, waiting in sorted(self.clips.items())}
        drawn = sorted(keys, key=lambda answer: -keys[answer])[: self.k]
        return {answer: self.clips[answer].pop() for answer in drawn}


def deal(pack: TaskPack, contexts: dict[str, Json], *, seed: int, per_clip: int) -> dict[str, list[Json]]:
    """Items by clip id, from the `questions` of the pack's template. At most `per_clip` items a clip, one of them open.

    `contexts` are what the template sees of each clip. The same arguments give the same items; the order of
    `contexts` does not matter.
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
    pools = [_pool(q, scopes, seed) for q in template["questions"] if q["kind"] != "open"]
    room = {clip: per_clip - bool(open_questions) for clip in scopes}
    live = [pool for pool in pools if pool.k > 1]
    while live:
        r.shuffle(live)
        for pool in list(live):
            block = pool.block(room, r)
            if not block:
                live.remove(pool)
            places = r.sample(range(pool.k), pool.k)
            for place, (answer, clip) in zip(places, block.items(), strict=False):
                options = [a for a in block if a != answer]
                r.shuffle(options)
                options.insert(place, answer)
                items[clip].append(_item(pool.question, scopes[clip], answer, options))
                room[clip] -= 1
    for clip, scope in scopes.items():
        items[clip] += _open(open_questions, scope)
        seeded(seed, clip, pack.name, "order").shuffle(items[clip])
    return items


def _answer(question: Json, scope: Scope) -> str | None:
    said: Any = render(question["answer"], scope, f"/questions/{question['id']}/answer")
    return said or None


def _pool(question: Json, scopes: dict[str, Scope], seed: int) -> Pool:
    pool = Pool(question, 0)
    for clip, scope in scopes.items():
        if answer := _answer(question, scope):
            pool.clips.setdefault(answer, []).append(clip)
    for waiting in pool.clips.values():
        seeded(seed, question["id"], waiting).shuffle(waiting)
    pool.k = min(MOST_OPTIONS, len(pool.clips))
    return pool


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
