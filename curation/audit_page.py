"""An audit's result as a few lines for the terminal and as one self-contained page.

Everything that comes from the data is hostile: escaped on the page, stripped of control characters on the terminal.
"""

from __future__ import annotations

from pathlib import Path

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


def worst(result: Json) -> list[tuple[str, Json]]:
    """The families, those furthest above chance first."""
    return sorted(result["by_family"].items(), key=lambda f: (f[1]["chance"] - f[1]["accuracy"], f[0]))


def clue(c: Json) -> str:
    return f"{c['text']!r} right in {c['right']} of {c['offered']} (expected {c['expected']:.0f})"


def render_text(result: Json) -> str:
    """The result for a terminal: verdict, accuracy by feature set, the worst families, what gives them away."""
    lines = [
        f"{shown(result['data'])}: {result['n']} questions in {result['groups']} groups",
        f"{SAID[result['verdict']]} ({shown(result['because'], 200)})",
    ]
    if result["accuracy"] is not None:
        lines.append(f"picked without the video {percent(result)}, chance {100 * result['chance']:.1f} %")
        lines += [f"  {name:<28} {percent(s):<24} {s['verdict']}" for name, s in result["by_features"].items()]
        lines.append(f"worst of {len(result['by_family'])} families:")
        for name, s in worst(result)[:6]:
            lines.append(f"  {shown(name, 28):<28} {percent(s):<24} {s['verdict']} (n = {s['n']})")
            lines += [f"      {shown(clue(c), 120)}" for c in result["telling"][name][:2]]
    return "\n".join([*lines, *(shown(line) for line in result["notes"])])


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
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    pages.globals |= {"percent": percent, "clue": clue, "said": SAID}
    text = pages.get_template("audit.html").render(result=result, families=worst(result))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8", errors="replace")
    except OSError as e:
        raise UsageError(f"{out}: {e.strerror}; give the name of a page to write, such as audit.html") from e
