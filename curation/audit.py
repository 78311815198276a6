"""Audit of anybody's questions and texts: can the answers be picked without the video, are there copies?

Reads any table (`rows`), any way of writing options and answers (`questions`), and runs the text-prior probe (`probe`);
`audit_page` says what was found.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from curation.errors import DataError
from curation.neardup import THRESHOLD, near_duplicates, similarity
from curation.probe import probe_closed
from curation.questions import Option, UnreadableError, answer_style, parse_answer, parse_options
from curation.rows import cell, match_column, match_columns, read_rows
from curation.types import Json

MAX_SKIPPED = 0.2  # share of rows that may be unreadable; above it the columns were probably misunderstood
ALIKE = 0.9  # two options this similar are reported
REWORDED = 0.3  # Jaccard similarity of captions: unrelated ones on the same subject stay below 0.15


def audit(
    origin: str,
    *,
    question: str,
    options: str,
    answer: str,
    group: str,
    family: str | None = None,
    limit: int | None = None,
) -> Json:
    """The probe's result over a table of closed questions, with what was read, what was not, positions and copies.

    `options` names one column, or several as a comma list or a pattern; `group` is what must not straddle folds (the
    video, better the drive). All columns may be dotted paths. See `rows`, `questions` and `probe.probe_closed`.

    Raises UsageError for an unknown column or path, DataError when too much is unreadable.
    """
    single = [question, answer, group, *([family] if family else [])]
    rows = read_rows(origin, [*single, options])[:limit]
    items, skipped, notes = _items(rows, [match_column(rows, c) for c in single], match_columns(rows, options))
    if sum(s["n"] for s in skipped.values()) > MAX_SKIPPED * len(rows):
        reason, worst = max(skipped.items(), key=lambda s: s[1]["n"])
        first = worst["examples"][0]
        raise DataError(
            f"{origin}: {worst['n']} of {len(rows)} questions cannot be read: {reason} (row {first['row']}: options "
            f"{first['options']}, answer {first['answer']!r}); check that --options and --answer name the right columns"
        )
    result = probe_closed(items)
    return {
        "data": origin,
        "columns": {"question": question, "options": options, "answer": answer, "group": group, "family": family},
        "rows": len(rows),
        **result,
        "notes": [*notes, *result["notes"]],
        "position": _positions(items),
        "length_cue": _length_cue(items),
        "duplicates": _duplicates(items),
        "skipped": skipped,
    }


def _items(
    rows: Sequence[Json], columns: Sequence[str], option_columns: list[str]
) -> tuple[list[Json], Json, list[str]]:
    """(items for the probe, skipped by reason, notes on how they were read)."""
    question, answer, group, *family = columns
    parsed: list[tuple[int, Json, list[Option]]] = []
    skipped: Json = {}
    for number, row in enumerate(rows, 1):
        raw = [cell(row, c) for c in option_columns]
        try:
            parsed.append((number, row, parse_options(raw[0] if len(raw) == 1 else raw)))
        except UnreadableError as e:
            _skip(skipped, str(e), number, raw, cell(row, answer))
    style, doubt = answer_style([(options, cell(row, answer)) for _, row, options in parsed])
    items: list[Json] = []
    alone = 0
    for number, row, options in parsed:
        texts = [o.text for o in options]
        try:
            place = parse_answer(options, cell(row, answer), style)
        except UnreadableError as e:
            _skip(skipped, str(e), number, texts, cell(row, answer))
            continue
        of = cell(row, group)
        alone += of in (None, "")
        item = {"id": f"row {number}", "question": str(cell(row, question) or ""), "options": texts, "answer": place}
        item["group"] = f"(row {number})" if of in (None, "") else str(of)
        items.append(item | {"family": str(cell(row, family[0])) if family else "all"})
    notes = [f"answers read as {style}", doubt]
    if alone:
        notes.append(f"{alone} questions have no {group!r}: each is its own group, and repeats among them go unseen")
    return items, skipped, [note for note in notes if note]


def _skip(skipped: Json, reason: str, row: int, options: Any, answer: Any) -> None:
    entry = skipped.setdefault(reason, {"n": 0, "examples": []})
    entry["n"] += 1
    if len(entry["examples"]) < 3:
        entry["examples"].append({"row": row, "options": str(options)[:200], "answer": str(answer)[:80]})


def _positions(items: Sequence[Mapping[str, Any]]) -> Json:
    """How often each position is right, and a chi-square test against uniform positions (questions independent)."""
    from scipy.special import chdtrc

    most = max(len(i["options"]) for i in items)
    counts = Counter(i["answer"] for i in items)
    right = [counts[p] for p in range(most)]
    expected = [sum(1 / len(i["options"]) for i in items if len(i["options"]) > p) for p in range(most)]
    statistic = sum((r - e) ** 2 / e for r, e in zip(right, expected, strict=True))
    p_value = float(chdtrc(most - 1, statistic)) if min(expected) >= 5 else None  # what the approximation needs
    return {"right": right, "expected": [round(e, 2) for e in expected], "p_value": p_value}


def _length_cue(items: Sequence[Mapping[str, Any]]) -> Json:
    """Share of questions whose right option is the longest (the shortest), ties counted in parts."""
    cue = {"longest": 0.0, "shortest": 0.0}
    for item in items:
        lengths = [len(o) for o in item["options"]]
        for name, extreme in (("longest", max(lengths)), ("shortest", min(lengths))):
            cue[name] += (lengths[item["answer"]] == extreme) / lengths.count(extreme) / len(items)
    return cue


def _duplicates(items: Sequence[Mapping[str, Any]], top: int = 5) -> Json:
    """Questions repeated whole in other groups, and options of one question that are alike."""
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
    return {
        "repeated_questions": sum(len(same) for same in repeated),
        "repeated_examples": [[i["id"] for i in same[:top]] for same in repeated[:top]],
        "alike_options": len(alike),
        "alike_examples": alike[:top],
    }


def audit_texts(origin: str, *, text: str, group: str, limit: int | None = None) -> Json:
    """Copies and near copies among free texts (captions, descriptions) of different groups.

    `exact` counts pairs with the same words, `near` those of Jaccard similarity of at least `THRESHOLD` over three-word
    shingles, `reworded` those from `REWORDED` to it. Of a cluster of copies not every pair is listed (see `neardup`).
    """
    rows = read_rows(origin, [text, group])[:limit]
    text, group = match_column(rows, text), match_column(rows, group)
    texts = {f"row {n}": str(cell(row, text) or "") for n, row in enumerate(rows, 1)}
    groups = {f"row {n}": str(cell(row, group)) for n, row in enumerate(rows, 1)}
    found = near_duplicates(texts, REWORDED)
    across = [(a, b, s) for a, b, s in found if groups[a] != groups[b]]
    return {
        "data": origin,
        "n": len(texts),
        "groups": len(set(groups.values())),
        "empty": sum(not t.strip() for t in texts.values()),
        "exact": sum(s == 1 for *_, s in across),
        "near": sum(THRESHOLD <= s < 1 for *_, s in across),
        "reworded": sum(s < THRESHOLD for *_, s in across),
        "within_group": len(found) - len(across),
        "pairs": [
            {"ids": [a, b], "groups": [groups[a], groups[b]], "similarity": round(s, 3), "texts": [texts[a], texts[b]]}
            for a, b, s in across
        ],
    }
