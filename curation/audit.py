"""Audit of anybody's questions and texts: can the answers be picked without the video, are there copies?

Reads any table (`rows`), any way of writing options and answers (`questions`), runs the text-prior probe (`probe`) and
says what it found in plain words and as one page (`audit_page`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from curation.audit_page import render_text as render_text
from curation.audit_page import render_texts as render_texts
from curation.audit_page import write_page as write_page
from curation.errors import DataError
from curation.neardup import near_duplicates, similarity
from curation.questions import Option, UnreadableError, answer_style, parse_answer, parse_options
from curation.rows import Rows, cell, match_column, match_columns, read_rows
from curation.types import Json

MAX_SKIPPED = 0.2  # share of rows that may be unreadable; above it the columns were probably misunderstood
ALIKE = 0.9  # two options (or questions) this similar are reported
REWORDED, NEAR = 0.3, 0.7  # Jaccard similarity of captions: unrelated ones on the same subject stay below 0.15


def audit(
    path_or_repo: str,
    *,
    question: str,
    options: str,
    answer: str,
    group: str,
    family: str | None = None,
    split: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    limit: int | None = None,
    seeds: int = 3,
) -> Json:
    """The probe's result over a table of closed questions, with what was read, what was not, positions and copies.

    `options` names one column, or several as a comma list or a pattern; `group` is what must not straddle folds (the
    video, better the drive). All columns may be dotted paths. See `rows`, `questions` and `probe.probe_closed`.

    Raises UsageError for an unknown column or path, DataError when too much is unreadable.
    """
    wanted = [question, options, answer, group, *([family] if family else [])]
    table = read_rows(path_or_repo, wanted, split=split, config=config, revision=revision, limit=limit)
    columns = [match_column(table, c) for c in (question, answer, group, *([family] if family else []))]
    items, skipped, read = _items(table, columns, match_columns(table, options))
    n_skipped = sum(s["n"] for s in skipped.values())
    if n_skipped > MAX_SKIPPED * len(table.rows):
        reason, worst = max(skipped.items(), key=lambda s: s[1]["n"])
        raise DataError(
            f"{path_or_repo}: {n_skipped} of {len(table.rows)} questions cannot be read, {worst['n']} because: {reason}"
            f" (row {worst['examples'][0]['row']}: options {worst['examples'][0]['options']!r}, answer "
            f"{worst['examples'][0]['answer']!r}); check that --options and --answer name the right columns"
        )
    from curation.probe import probe_closed

    result = probe_closed(items, seeds=seeds)
    return {
        "data": path_or_repo,
        "columns": {"question": question, "options": options, "answer": answer, "group": group, "family": family},
        "rows": len(table.rows),
        **result,
        "notes": [*read, *result.get("notes", [])],
        "position": _positions(items),
        "length_cue": _length_cue(items),
        "duplicates": _duplicates(items),
        "skipped": skipped,
    }


# --- reading ----------------------------------------------------------------------------------------------------------


def _items(table: Rows, columns: Sequence[str], option_columns: list[str]) -> tuple[list[Json], Json, list[str]]:
    """(items for the probe, skipped by reason, notes on how they were read)."""
    question, answer, group, *family = columns
    parsed: list[tuple[int, Json, list[Option]]] = []
    skipped: Json = {}
    for number, row in enumerate(table.rows, 1):
        raw = [cell(row, c) for c in option_columns]
        try:
            parsed.append((number, row, parse_options(raw[0] if len(raw) == 1 else raw)))
        except UnreadableError as e:
            _skip(skipped, str(e), number, raw, cell(row, answer))
    style, doubt = answer_style([(options, cell(row, answer)) for _, row, options in parsed])
    items: list[Json] = []
    alone = 0
    for number, row, options in parsed:
        value = cell(row, answer)
        try:
            place = parse_answer(options, value, style)
        except UnreadableError as e:
            _skip(skipped, str(e), number, [o.text for o in options], value)
            continue
        of = cell(row, group)
        alone += of in (None, "")
        items.append(
            {
                "id": f"row {number}",
                "question": str(cell(row, question) or ""),
                "options": [o.text for o in options],
                "answer": place,
                "group": f"(row {number})" if of in (None, "") else str(of),
                "family": str(cell(row, family[0])) if family else "all",
            }
        )
    notes = [f"answers read as {style}"] + ([doubt] if doubt else [])
    if alone:
        notes.append(f"{alone} questions have no {group!r}: each is its own group, and repeats among them go unseen")
    return items, skipped, notes


def _skip(skipped: Json, reason: str, row: int, options: Any, answer: Any) -> None:
    entry = skipped.setdefault(reason, {"n": 0, "examples": []})
    entry["n"] += 1
    if len(entry["examples"]) < 3:
        entry["examples"].append({"row": row, "options": str(options)[:200], "answer": str(answer)[:80]})


# --- beside the probe -------------------------------------------------------------------------------------------------


def _positions(items: Sequence[Mapping[str, Any]]) -> Json:
    """How often each position is right, and a chi-square test against uniform positions (questions independent)."""
    from scipy.special import chdtrc

    most = max((len(i["options"]) for i in items), default=0)
    right = Counter(int(i["answer"]) for i in items)
    expected = [sum(1 / len(i["options"]) for i in items if len(i["options"]) > p) for p in range(most)]
    if most < 2 or min(expected) < 5:
        p_value = None  # the test's approximation needs at least five expected at each position
    else:
        statistic = sum((right[p] - e) ** 2 / e for p, e in enumerate(expected))
        p_value = float(chdtrc(most - 1, statistic))
    return {"right": [right[p] for p in range(most)], "expected": [round(e, 2) for e in expected], "p_value": p_value}


def _length_cue(items: Sequence[Mapping[str, Any]]) -> Json:
    """Share of questions whose right option is the longest (the shortest), ties counted in parts, against chance."""
    if not items:
        return {"longest": None, "shortest": None, "chance": None, "n": 0}
    longest = shortest = 0.0
    for item in items:
        n = [len(o) for o in item["options"]]
        mine = n[item["answer"]]
        longest += (mine == max(n)) / n.count(max(n))
        shortest += (mine == min(n)) / n.count(min(n))
    chance = sum(1 / len(i["options"]) for i in items) / len(items)
    return {"longest": longest / len(items), "shortest": shortest / len(items), "chance": chance, "n": len(items)}


def _duplicates(items: Sequence[Mapping[str, Any]], top: int = 5) -> Json:
    """Questions repeated whole in other groups, options of one question that are alike, near copies in the pools."""
    whole: defaultdict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for item in items:
        whole[item["question"], item["options"][item["answer"]], *sorted(item["options"])].append(item)
    repeated = [same for same in whole.values() if len({i["group"] for i in same}) > 1]
    alike = [
        {"id": item["id"], "options": [a, b], "similarity": round(s, 2)}
        for item in items
        for n, a in enumerate(item["options"])
        for b in item["options"][n + 1 :]
        if (s := similarity(a, b)) >= ALIKE
    ]
    strings = sorted({o for item in items for o in item["options"]})
    questions = Counter(str(item["question"]) for item in items)
    return {
        "repeated_questions": sum(len(same) for same in repeated),
        "repeated_examples": [[i["id"] for i in same][:top] for same in repeated[:top]],
        "alike_options": len(alike),
        "alike_examples": alike[:top],
        "distinct_questions": len(questions),
        "near_questions": _near(sorted(questions), top),
        "distinct_options": len(strings),
        "near_options": _near(strings, top),
    }


def _near(texts: list[str], top: int) -> Json:
    pairs = near_duplicates({t: t for t in texts}, ALIKE)
    return {"n": len(pairs), "examples": [[a, b, round(s, 2)] for a, b, s in pairs[:top]]}


def audit_texts(
    path_or_repo: str,
    *,
    text: str,
    group: str,
    threshold: float = REWORDED,
    split: str | None = None,
    config: str | None = None,
    revision: str | None = None,
    limit: int | None = None,
) -> Json:
    """Copies and near copies among free texts (captions, descriptions) of different groups.

    `exact` counts pairs with the same words, `near` those of Jaccard similarity of at least `NEAR` over three-word
    shingles, `reworded` those from `threshold` to it. Of a cluster of copies not every pair is listed (see `neardup`).
    """
    table = read_rows(path_or_repo, [text, group], split=split, config=config, revision=revision, limit=limit)
    text, group = match_column(table, text), match_column(table, group)
    texts = {f"row {n}": str(cell(row, text) or "") for n, row in enumerate(table.rows, 1)}
    groups = {f"row {n}": str(cell(row, group)) for n, row in enumerate(table.rows, 1)}
    found = near_duplicates(texts, threshold)
    across = [(a, b, s) for a, b, s in found if groups[a] != groups[b]]
    return {
        "data": path_or_repo,
        "n": len(texts),
        "groups": len(set(groups.values())),
        "empty": sum(not t.strip() for t in texts.values()),
        "exact": sum(s == 1 for *_, s in across),
        "near": sum(NEAR <= s < 1 for *_, s in across),
        "reworded": sum(s < NEAR for *_, s in across),
        "within_group": len(found) - len(across),
        "threshold": threshold,
        "pairs": [
            {"ids": [a, b], "groups": [groups[a], groups[b]], "similarity": round(s, 3), "texts": [texts[a], texts[b]]}
            for a, b, s in across
        ],
    }
