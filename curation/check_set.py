"""The rules of validate over all drafts: copies across clips, and what gives answers away by their distribution."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from curation.check_text import walk
from curation.neardup import near_duplicates
from curation.tasks import TaskPack, items
from curation.types import Draft, Issue, Json

MIN_N, MARGIN, Z = 60, 0.1, 4.0  # fewer items tell nothing; an excess below the margin, or within Z errors, is luck


def check_set(drafts: Sequence[Draft], packs: Mapping[str, TaskPack], classes: Mapping[str, str]) -> Iterator[Issue]:
    """Findings over all drafts: near copies of texts among clips, biases of each family of questions.

    `classes`: the resolved class by clip. Templates share their wording by design, so their texts are not compared.
    """
    written = [d for d in drafts if d.author != "template"]
    for task in sorted({d.task for d in written}):
        told = {d.id: _prose(packs[task], d) for d in written if d.task == task}
        clip = {d.id: d.clip_id for d in written}
        for a, b, alike in near_duplicates({i: t for i, t in told.items() if len(t.split()) >= 8}):
            if clip[a] != clip[b]:
                yield Issue(b, "copy", "", "warning", f"{alike:.0%} alike to {a}, of another clip", task)
    families: defaultdict[tuple[str, str], list[tuple[Json, str]]] = defaultdict(list)
    for d in drafts:
        for _, item in items(packs[d.task], d.value):
            if isinstance(item.get("question"), str):
                families[d.task, str(item.get("family", ""))].append((item, classes.get(d.clip_id, "")))
    base = Counter(classes.values())
    for (task, family), asked in sorted(families.items()):
        for rule, message in _biases(asked, base):
            yield Issue(f"set:{task}:{family}", rule, "", "warning", message, task)


def _prose(pack: TaskPack, draft: Draft) -> str:
    said = walk(pack, draft.value)[0]
    free = (s for s in said if "question" not in s.owner or (s.key == "answer" and not s.owner.get("options")))
    return " ".join(s.text for s in free)


def _biases(asked: list[tuple[Json, str]], base: Counter[str]) -> Iterator[tuple[str, str]]:
    """(rule, message) for one family."""
    if len(asked) < MIN_N:
        return
    yield from biases([i for i, _ in asked if len(i.get("options") or ()) > 1 and i["answer"] in i["options"]])
    questions = Counter(i["question"] for i, _ in asked)
    if len(questions) < 3:
        yield "question_diversity", f"{len(asked)} questions in {len(questions)} wordings"
    yield from _classes(asked, base, questions)


def biases(closed: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """(rule, message) for questions with `options` and the `answer` among them: places, answers and lengths that are
    right more often than chance has it, in standard errors."""
    places = Counter((len(i["options"]), i["options"].index(i["answer"])) for i in closed)
    sizes = Counter(len(i["options"]) for i in closed)
    for (k, place), n in sorted(places.items()):
        if _off(n, sizes[k], 1 / k):
            yield "option_position", f"of {sizes[k]} with {k} options, {n} have the right one in place {place + 1}"
    offered: defaultdict[str, list[float]] = defaultdict(list)
    right = Counter(i["answer"] for i in closed)
    for i in closed:
        for option in i["options"]:
            offered[option].append(1 / len(i["options"]))
    for option, chances in sorted(offered.items(), key=lambda o: (-len(o[1]), o[0])):
        n, p = len(chances), sum(chances) / len(chances)
        if _off(right[option], n, p):
            yield "answer_frequency", f"'{option}' is right in {right[option]} of {n} that offer it; fair is {p:.0%}"
            break
    told = [i for i in closed if len({len(o) for o in i["options"]}) == len(i["options"])]
    for word, pick in (("longest", max), ("shortest", min)):
        n = sum(pick(i["options"], key=len) == i["answer"] for i in told)
        if told and _off(n, len(told), sum(1 / len(i["options"]) for i in told) / len(told), MIN_N):
            yield f"option_{word}", f"the {word} option is right in {n} of {len(told)}"


def _classes(asked: list[tuple[Json, str]], base: Counter[str], questions: Counter[str]) -> Iterator[tuple[str, str]]:
    total = sum(base.values())
    by_class = Counter(c for _, c in asked if c)
    worded = Counter((i["question"], c) for i, c in asked if c)
    for cls in sorted(base):
        share, n = base[cls] / total, sum(by_class.values())
        here = by_class[cls] / n if n else share
        if (here < share / 3 or 1 - here < (1 - share) / 3) and _off(by_class[cls], n, share):
            yield "family_class", f"{by_class[cls]} of {n} are asked of {cls}, which has {share:.0%} of the clips"
            return
    for question, n in questions.most_common():
        for cls in sorted(by_class):
            usual = by_class[cls] / sum(by_class.values())
            if _off(worded[question, cls], n, usual, 30, 0.25):
                told = f"{cls} in {worded[question, cls]} of {n}; the family: {usual:.0%}"
                yield "question_class", f"'{question}' is asked of {told}"
                return


def _off(n: int, total: int, p: float, least: int = 30, margin: float = MARGIN) -> bool:
    """Is `n` of `total` further from the share `p` than the margin and than Z standard errors?"""
    if total < least or not 0 < p < 1:
        return False
    gap: Any = abs(n / total - p)
    return bool(gap > margin and gap > Z * (p * (1 - p) / total) ** 0.5)
