"""Audit of anybody's questions and texts: can the answers be picked without the video, are there copies?

Reads any table (`rows`), any way of writing options and answers (`questions`), and runs the text-prior probe (`probe`);
`audit_page` says what was found.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from curation.check_set import biases
from curation.errors import DataError
from curation.neardup import THRESHOLD, near_duplicates
from curation.probe import probe_closed
from curation.questions import UnreadableError, answer_style, parse_answer, parse_options
from curation.rows import cell, match_column, match_columns, read_rows, unfold
from curation.types import Json

REWORDED = 0.3  # Jaccard similarity of captions: unrelated ones on the same subject stay below 0.15
MANY_SKIPPED = 0.2  # of the rows; above, the columns were probably misunderstood


def audit(
    origin: str, *, question: str, options: str, answer: str, group: str, family: str | None = None,
    limit: int | None = None,
) -> Json:  # fmt: skip
    """The probe's result over a table of closed questions, with what was read, what was not, biases and copies.

    `options` names one column, or several as a comma list or a pattern; `group` is what must not straddle folds (the
    video, better the drive). All columns may be dotted paths, through lists of questions, too. See `rows`, `questions`
    and `probe.probe_closed`.

    Raises UsageError for an unknown column or path, DataError when no question can be read.
    """
    rows = read_rows(origin)
    asked = match_column(rows, question)
    rows = [one for row in rows for one in unfold(row, asked)][:limit]
    columns = {"question": asked, "answer": match_column(rows, answer), "group": match_column(rows, group)}
    columns |= {"family": match_column(rows, family)} if family else {}
    items, skipped, notes = _items(rows, columns, match_columns(rows, options))
    if not items:
        reason, worst = max(skipped.items(), key=lambda s: s[1]["n"])
        raise DataError(
            f"{origin}: {worst['n']} of {len(rows)} questions cannot be read: {reason} ({_where(worst)}); check that "
            "--options and --answer name the right columns"
        )
    result = probe_closed(items)
    whole: defaultdict[tuple[str, ...], list[Json]] = defaultdict(list)
    for item in items:
        whole[item["question"], item["options"][item["answer"]], *sorted(item["options"])].append(item)
    repeated = [i["id"] for same in whole.values() if len({i["group"] for i in same}) > 1 for i in same]
    notes += [message for _, message in biases([{**i, "answer": i["options"][i["answer"]]} for i in items])]
    if repeated:
        notes.append(f"{len(repeated)} questions occur alike in several groups, such as {', '.join(repeated[:3])}")
    notes += [f"skipped {s['n']}: {reason} ({_where(s)})" for reason, s in skipped.items()]
    if len(rows) - len(items) > MANY_SKIPPED * len(rows):
        notes.insert(0, f"only {len(items)} of {len(rows)} questions could be read: do the columns mean what they say?")
    told = {"data": origin, "columns": {**columns, "options": options}, "rows": len(rows)}
    return {**told, **result, "notes": [*notes, *result["notes"]], "repeated": repeated, "skipped": skipped}


def _items(rows: list[Json], columns: dict[str, str], option_columns: list[str]) -> tuple[list[Json], Json, list[str]]:
    """(items for the probe, skipped by reason, notes on how they were read)."""
    skipped: Json = {}
    parsed = []
    for number, row in enumerate(rows, 1):
        raw = [cell(row, c) for c in option_columns]
        try:
            parsed.append((number, row, parse_options(raw[0] if len(raw) == 1 else raw)))
        except UnreadableError as e:
            _skip(skipped, e, number, raw[0] if len(raw) == 1 else raw, cell(row, columns["answer"]))
    style, doubt = answer_style([(options, cell(row, columns["answer"])) for _, row, options in parsed])
    items: list[Json] = []
    alone = 0
    for number, row, options in parsed:
        said, texts = {name: cell(row, column) for name, column in columns.items()}, [o.text for o in options]
        try:
            place = parse_answer(options, said["answer"], style)
        except UnreadableError as e:
            _skip(skipped, e, number, texts, said["answer"])
            continue
        alone += said["group"] in (None, "")
        item = {"id": f"row {number}", "question": str(said["question"] or ""), "options": texts, "answer": place}
        item["group"] = _group(said["group"], number)
        items.append(item | {"family": str(said.get("family", "all") or "")})
    notes = [f"answers read as {style}", doubt]
    if alone:
        notes.append(f"{alone} questions have no group: each is its own, and repeats among them go unseen")
    return items, skipped, [note for note in notes if note]


def _skip(skipped: Json, reason: UnreadableError, number: int, options: Any, answer: Any) -> None:
    first = {"n": 0, "row": number, "options": str(options)[:200], "answer": str(answer)[:80]}
    skipped.setdefault(str(reason), first)["n"] += 1


def _where(skipped: Json) -> str:
    return f"row {skipped['row']}: options {skipped['options']}, answer {skipped['answer']!r}"


def _group(value: Any, number: int) -> str:
    """A row's group; one without is its own."""
    return f"(row {number})" if value in (None, "") else str(value)


def audit_texts(origin: str, *, text: str, group: str, limit: int | None = None) -> Json:
    """Copies and near copies among free texts (captions, descriptions) of different groups.

    `exact` counts pairs with the same words, `near` those of Jaccard similarity of at least `THRESHOLD` over three-word
    shingles, `reworded` those from `REWORDED` to it. Of a cluster of copies not every pair is listed (see `neardup`).
    A row without a group is its own.
    """
    rows = read_rows(origin)
    text = match_column(rows, text)
    rows = [one for row in rows for one in unfold(row, text)][:limit]
    group = match_column(rows, group)
    texts = {f"row {n}": str(cell(row, text) or "") for n, row in enumerate(rows, 1)}
    groups = {f"row {n}": _group(cell(row, group), n) for n, row in enumerate(rows, 1)}
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
