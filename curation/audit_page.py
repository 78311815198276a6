"""An audit's result as a few lines for the terminal and as one self-contained page.

Everything that comes from the data is hostile: escaped on the page, stripped of control characters on the terminal.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from string import Template

from curation.errors import UsageError
from curation.rows import shown
from curation.types import Json

SAID = {
    "leaks": "LEAKS: answers can be picked without the video",
    "clean": "CLEAN: these guessers stay within the margin of chance",
    "not shown": "NOT SHOWN: neither a leak nor its absence",
}


def percent(score: Json) -> str:
    """ "96.5 % [94.9, 97.9]"."""
    low, high = score["interval"]
    return f"{100 * score['accuracy']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def _worst(result: Json) -> list[tuple[str, Json]]:
    return sorted(result["by_family"].items(), key=lambda f: (f[1]["chance"] - f[1]["accuracy"], f[0]))


def render_text(result: Json) -> str:
    """The result for a terminal: verdict, accuracy by feature set, the worst families, what gives them away."""
    lines = [
        f"{shown(result['data'])}: {result['n']} questions in {result['groups']} groups",
        f"{SAID[result['verdict']]} ({shown(result['because'], 200)})",
    ]
    if result["accuracy"] is not None:
        lines.append(f"picked without the video {percent(result)}, chance {100 * result['chance']:.1f} %")
        lines += [f"  {name:<28} {percent(s):<24} {s['verdict']}" for name, s in result["by_features"].items()]
        families = _worst(result)
        lines.append(f"worst of {len(families)} families:")
        for name, s in families[:6]:
            lines.append(f"  {shown(name, 28):<28} {percent(s):<24} {s['verdict']} (n = {s['n']})")
            lines += [f"      {shown(clue, 120)}" for clue in _clues(result, name)[:2]]
    return "\n".join([*lines, *(shown(line) for line in result["notes"])])


def _clues(result: Json, family: str) -> list[str]:
    return [
        f"{c['text']!r} right in {c['right']} of {c['offered']} (expected {c['expected']:.0f})"
        for c in result["telling"][family]
    ]


def render_texts(result: Json) -> str:
    """The result of `audit_texts` for a terminal."""
    head = f"{shown(result['data'])}: {result['n']} texts, {result['groups']} groups, {result['empty']} empty"
    found = f"{result['exact']} pairs with the same words, {result['near']} near copies, {result['reworded']} reworded"
    lines = [head, f"across groups: {found}; within groups: {result['within_group']}"]
    for pair in result["pairs"][:10]:
        lines.append(f"  {pair['similarity']:.2f} {shown(pair['groups'][0])} = {shown(pair['groups'][1])}")
        lines.append(f"       {shown(pair['texts'][0], 100)}")
    return "\n".join(lines)


def write_page(result: Json, out: Path) -> None:
    """The result of `audit` as one HTML file at `out` (folders are made). Raises UsageError."""
    columns = ", ".join(f"{k} = {v}" for k, v in result["columns"].items() if v)
    what = f"{result['data']}: {result['n']} questions in {result['groups']} groups ({columns})"
    page = Template(Path(__file__).with_name("audit.html").read_text("utf-8")).substitute(
        what=escape(what),
        verdict_class=result["verdict"].replace(" ", "-"),
        verdict=SAID[result["verdict"]],
        because=escape(result["because"]),
        notes="".join(f"<li>{escape(note)}</li>" for note in result["notes"]),
        measured=_measured(result) if result["accuracy"] is not None else "",
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page, encoding="utf-8", errors="replace")
    except OSError as e:
        raise UsageError(f"{out}: {e.strerror}; give the name of a page to write, such as audit.html") from e


def _measured(result: Json) -> str:
    head = ["", "0 to 1; line: chance", "accuracy [95 % interval]", "verdict", "n"]
    families = _worst(result)
    told = {name: "<br>".join(escape(clue) for clue in _clues(result, name)[:4]) for name, _ in families}
    worst = [name for name, _ in families[:8]]
    return "".join(
        [
            "<h2>By what the guesser may see</h2>",
            _table(head, [_row(n, s) for n, s in result["by_features"].items()]),
            f"<h2>Families, worst first ({len(families)})</h2>",
            _table([*head, "what gives it away"], [[*_row(n, s), told[n]] for n, s in families]),
            "<h2>Picked by every seed, without the video</h2>",
            *(_example(e) for e in result["examples"] if e["family"] in worst),
        ]
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    """Cells are HTML already."""
    top = "".join(f'<th scope="col">{h}</th>' for h in head)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _row(name: str, score: Json) -> list[str]:
    """A line of a table: accuracy as a bar from 0 to 1, its interval as a whisker, chance as a line."""
    low, high = score["interval"]
    label = f"accuracy {percent(score)}, chance {100 * score['chance']:.1f} %"
    bar = (
        f'<svg viewBox="0 0 100 5" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f'<rect class="bar" width="{100 * score["accuracy"]:.2f}" y="1" height="3"/>'
        f'<rect class="whisker" x="{100 * low:.2f}" width="{max(100 * (high - low), 0.4):.2f}" y="2.1" height=".8"/>'
        f'<rect class="chance" x="{100 * score["chance"]:.2f}" width=".5" height="5"/></svg>'
    )
    verdict = f'<span class="{score["verdict"].replace(" ", "-")}">{score["verdict"]}</span>'
    return [escape(name), bar, percent(score), verdict, str(score["n"])]


def _example(example: Json) -> str:
    options = "".join(
        f"<li class=right>{escape(o)} (right, and picked)</li>" if i == example["answer"] else f"<li>{escape(o)}</li>"
        for i, o in enumerate(example["options"])
    )
    where = f"<b>{escape(example['family'])}</b>, {escape(example['id'])}"
    return f"<p>{where}: {escape(example['question'])}</p><ul>{options}</ul>"
