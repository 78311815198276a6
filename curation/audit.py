"""Audit of anybody's questions and texts: can the answers be picked without the video, are there copies?

Reads any table (`rows`), any way of writing options and answers (`questions`), and runs the text-prior probe (`probe`);
`audit_page` says what was found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from curation.check_set import biases
from curation.errors import DataError
from curation.neardup import THRESHOLD, near_duplicates
from curation.probe import probe_closed
from curation.questions import Option, UnreadableError, answer_style, parse_answer, parse_options
from curation.rows import cell, match_column, match_columns, read_rows
from curation.types import Json

MAX_SKIPPED = 0.2  # share of rows that may be unreadable; above it the columns were probably misunderstood
REWORDED = 0.3  # Jaccard similarity of captions: unrelated ones on the same subject stay below 0.15


def audit(
    origin: str, *, question: str, options: str, answer: str, group: str, family: str | None = None,
    limit: int | None = None,
) -> Json:  # fmt: skip
    """The probe's result over a table of closed questions, with what was read, what was not, biases and copies.

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
    whole: defaultdict[tuple[str, ...], list[Json]] = defaultdict(list)
    for item in items:
        whole[item["question"], item["options"][item["answer"]], *sorted(item["options"])].append(item)
    repeated = [i["id"] for same in whole.values() if len({i["group"] for i in same}) > 1 for i in same]
    notes += [message for _, message in biases([{**i, "answer": i["options"][i["answer"]]} for i in items])]
    if repeated:
        notes.append(f"{len(repeated)} questions occur alike in several groups, such as {', '.join(repeated[:3])}")
    notes += [f"skipped {s['n']}: {reason}, as {s['examples'][0]}" for reason, s in skipped.items()]
    columns = {"question": question, "options": options, "answer": answer, "group": group, "family": family}
    told = {"data": origin, "columns": columns, "rows": len(rows)}
    return {**told, **result, "notes": [*notes, *result["notes"]], "repeated": repeated, "skipped": skipped}


def _items(
    rows: Sequence[Json], columns: Sequence[str], option_columns: list[str]
) -> tuple[list[Json], Json, list[str]]:
    """(items for the probe, skipped by reason, notes on how they were read)."""
    question, answer, group, *family = columns
    parsed: list[tuple[int, Json, list[Option]]] = []
    skipped: Json = {}

    def skip(reason: UnreadableError, number: int, options: Any) -> None:
        entry = skipped.setdefault(str(reason), {"n": 0, "examples": []})
        entry["n"] += 1
        if len(entry["examples"]) < 3:
            said = str(cell(rows[number - 1], answer))
            entry["examples"].append({"row": number, "options": str(options)[:200], "answer": said[:80]})

    for number, row in enumerate(rows, 1):
        raw = [cell(row, c) for c in option_columns]
        try:
            parsed.append((number, row, parse_options(raw[0] if len(raw) == 1 else raw)))
        except UnreadableError as e:
            skip(e, number, raw)
    style, doubt = answer_style([(options, cell(row, answer)) for _, row, options in parsed])
    items: list[Json] = []
    for number, row, options in parsed:
        texts = [o.text for o in options]
        try:
            place = parse_answer(options, cell(row, answer), style)
        except UnreadableError as e:
            skip(e, number, texts)
            continue
        item = {"id": f"row {number}", "question": str(cell(row, question) or ""), "options": texts, "answer": place}
        item["group"] = _group(row, group, number)
        items.append(item | {"family": str(cell(row, family[0])) if family else "all"})
    notes = [f"answers read as {style}", doubt]
    if alone := sum(item["group"] == f"({item['id']})" for item in items):
        notes.append(f"{alone} questions have no {group!r}: each is its own group, and repeats among them go unseen")
    return items, skipped, [note for note in notes if note]


def _group(row: Json, group: str, number: int) -> str:
    """The row's group; one without is its own."""
    of = cell(row, group)
    return f"(row {number})" if of in (None, "") else str(of)


def audit_texts(origin: str, *, text: str, group: str, limit: int | None = None) -> Json:
    """Copies and near copies among free texts (captions, descriptions) of different groups.

    `exact` counts pairs with the same words, `near` those of Jaccard similarity of at least `THRESHOLD` over three-word
    shingles, `reworded` those from `REWORDED` to it. Of a cluster of copies not every pair is listed (see `neardup`).
    A row without a group is its own.
    """
    rows = read_rows(origin, [text, group])[:limit]
    text, group = match_column(rows, text), match_column(rows, group)
    texts = {f"row {n}": str(cell(row, text) or "") for n, row in enumerate(rows, 1)}
    groups = {f"row {n}": _group(row, group, n) for n, row in enumerate(rows, 1)}
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
