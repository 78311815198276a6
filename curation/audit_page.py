"""An audit's result as a few lines for the terminal and as one self-contained page.

Everything that comes from the data is hostile: escaped on the page, stripped of control characters on the terminal.
"""

from __future__ import annotations

import html
from pathlib import Path

from curation.types import Json

SAID = {
    "leaks": "LEAKS: answers can be picked without the video",
    "clean": "CLEAN: these guessers stay within the margin of chance",
    "not shown": "NOT SHOWN: neither a leak nor its absence",
}


def percent(score: Json | None) -> str:
    """ "96.5 % [94.9, 97.9]", or a dash where nothing was measured."""
    if not score or score.get("accuracy") is None:
        return "-"
    low, high = score["interval"]
    return f"{100 * score['accuracy']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def _plain(text: object, width: int = 80) -> str:
    """One line, printable characters only: metadata must not drive a terminal."""
    line = "".join(c if c.isprintable() else " " for c in str(text))
    return line if len(line) <= width else line[: width - 1] + "…"


def _worst(result: Json) -> list[tuple[str, Json]]:
    return sorted(result["by_family"].items(), key=lambda f: (-f[1]["excess"]["mean"], f[0]))


def _tell(clue: Json) -> str:
    return f"{clue['text']!r} right in {clue['right']} of {clue['offered']} (expected {clue['expected']:.0f})"


def render_text(result: Json) -> str:
    """The result for a terminal: verdict, accuracy by feature set, the worst families, what gives them away."""
    lines = [
        f"{_plain(result['data'])}: {result['n']} questions in {result['groups']} groups",
        f"{SAID[result['verdict']]} ({_plain(result['because'], 200)})",
    ]
    if result["accuracy"] is not None:
        lines.append(f"picked without the video {percent(result)}, chance {100 * result['chance']:.1f} %")
        for name, score in result["by_features"].items():
            lines.append(f"  {name:<20} {percent(score):<24} {score['verdict']}")
        families = _worst(result)
        lines.append(f"worst of {len(families)} families:")
        for name, score in families[:6]:
            lines.append(f"  {_plain(name, 28):<28} {percent(score):<24} {score['verdict']} (n = {score['n']})")
            lines += [f"      {_plain(_tell(c), 110)}" for c in result["telling"][name][:2]]
        lines.append(_plain(_position_line(result), 200))
    lines += [_plain(note, 300) for note in result["notes"]]
    lines += [f"skipped {s['n']}: {_plain(reason)}" for reason, s in result["skipped"].items()]
    return "\n".join(lines)


def _position_line(result: Json) -> str:
    p = result["position"]["p_value"]
    cue, copies = result["length_cue"], result["duplicates"]
    test = "too few for a test" if p is None else f"p = {p:.2g} against uniform"
    return (
        f"right positions {'/'.join(map(str, result['position']['right']))} ({test}); "
        f"the longest option is right in {100 * cue['longest']:.1f} %, the shortest in {100 * cue['shortest']:.1f} %; "
        f"{copies['repeated_questions']} questions occur alike in several groups"
    )


def render_texts(result: Json) -> str:
    """The result of `audit_texts` for a terminal."""
    head = f"{_plain(result['data'])}: {result['n']} texts, {result['groups']} groups, {result['empty']} empty"
    found = f"{result['exact']} pairs with the same words, {result['near']} near copies, {result['reworded']} reworded"
    lines = [head, f"across groups: {found}; within groups: {result['within_group']}"]
    for pair in result["pairs"][:10]:
        lines.append(f"  {pair['similarity']:.2f} {_plain(pair['groups'][0])} = {_plain(pair['groups'][1])}")
        lines.append(f"       {_plain(pair['texts'][0], 100)}")
    return "\n".join(lines)


# --- the page ---------------------------------------------------------------------------------------------------------

STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#596270;--paper:#fff;--line:#d8dce2;--bar:#4776b5}
:root{--bad:#b3261e;--ok:#1d7a3a}
@media(prefers-color-scheme:dark){:root{--ink:#e4e7eb;--dim:#98a2ad;--paper:#14171b;--line:#333a42;--bar:#7ba5dd;
--bad:#ff8a80;--ok:#7fd69b}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:60rem;margin:2rem auto}
body{padding:0 1rem;overflow-wrap:anywhere}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}
.dim{color:var(--dim)}.leaks{color:var(--bad)}.clean{color:var(--ok)}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0}
td,th{border-bottom:1px solid var(--line)}svg{width:14rem;height:1rem}.right{font-weight:600}
.scroll{overflow-x:auto}li{margin:.1rem 0}
"""


def _e(value: object) -> str:
    return html.escape(str(value), quote=True)


def _bar(score: Json) -> str:
    """Accuracy as a bar from 0 to 1, its interval as a whisker, chance as a dashed line."""
    low, high = score["interval"]
    name = _e(f"accuracy {percent(score)}, chance {100 * score['chance']:.1f} %")
    return (
        f'<svg viewBox="0 0 100 5" preserveAspectRatio="none" role="img" aria-label="{name}">'
        f'<rect width="{100 * score["accuracy"]:.2f}" y="1" height="3" fill="var(--bar)" opacity=".55"/>'
        f'<rect x="{100 * low:.2f}" width="{max(100 * (high - low), 0.4):.2f}" y="2.1" height=".8" fill="var(--ink)"/>'
        f'<rect x="{100 * score["chance"]:.2f}" width=".5" height="5" fill="var(--bad)"/></svg>'
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    """Cells are HTML already; the head is plain text."""
    top = "".join(f'<th scope="col">{_e(h)}</th>' for h in head)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _row(name: str, score: Json) -> list[str]:
    verdict = f'<span class="{_e(score["verdict"]).split()[0]}">{_e(score["verdict"])}</span>'
    return [_e(name), _bar(score), _e(percent(score)), verdict, str(score["n"])]


def _example(example: Json) -> str:
    options = "".join(
        f"<li class=right>{_e(o)} (right, and picked)</li>" if i == example["answer"] else f"<li>{_e(o)}</li>"
        for i, o in enumerate(example["options"])
    )
    where = f'<span class="dim">{_e(example["id"])}, lead {example["lead"]:.2f}</span>'
    return f"<p><b>{_e(example['family'])}</b>: {_e(example['question'])} {where}</p><ul>{options}</ul>"


def _parts(result: Json) -> list[str]:
    """The measured part of the page: features, families, what gives it away, examples."""
    head = ["", "0 to 1; line: chance", "accuracy [95 % interval]", "verdict", "n"]
    families = _worst(result)
    clues = [
        [_e(name), _e(c["kind"]), _e(c["text"]), str(c["right"]), str(c["offered"]), f"{c['expected']:.1f}"]
        for name, _ in families[:8]
        for c in result["telling"][name]
    ]
    shown = {name for name, _ in families[:8]}
    return [
        "<h2>By what the guesser may see</h2>" + _table(head, [_row(n, s) for n, s in result["by_features"].items()]),
        f"<h2>Families, worst first ({len(families)})</h2>" + _table(head, [_row(n, s) for n, s in families]),
        "<h2>What gives it away</h2>"
        + _table(["family", "what", "text", "right", "offered", "expected by chance"], clues),
        "<h2>Picked by every seed, without the video</h2>"
        + "".join(_example(e) for e in result["examples"] if e["family"] in shown),
        f"<h2>Beside it</h2><p>{_e(_position_line(result))}</p>",
    ]


def _skipped(result: Json) -> str:
    rows = []
    for reason, s in result["skipped"].items():
        examples = "<br>".join(_e(f"row {x['row']}: {x['options']} / answer {x['answer']}") for x in s["examples"])
        rows.append([_e(reason), str(s["n"]), examples])
    return "<h2>Not read</h2>" + _table(["why", "n", "examples"], rows) if rows else "<p>Every row was read.</p>"


FOOT = (
    "A linear text model is trained on some groups and picks in the others; accuracies are means over seeds, intervals "
    "resample groups. Clean means that these guessers stay within the margin of chance, not that no prior exists."
)


def write_page(result: Json, out: Path) -> Path:
    """The result of `audit` as one HTML file at `out` (parents are made); returns `out`."""
    columns = ", ".join(f"{k} = {v}" for k, v in result["columns"].items() if v)
    verdict = f'<b class="{_e(result["verdict"]).split()[0]}">{_e(SAID[result["verdict"]])}</b>'
    what = f"{result['data']}: {result['n']} questions in {result['groups']} groups ({columns})"
    body = [
        f"<h1>Can these questions be answered without the video?</h1><p>{_e(what)}</p>",
        f"<p>{verdict}: {_e(result['because'])}</p>",
        f"<ul>{''.join(f'<li>{_e(n)}</li>' for n in result['notes'])}</ul>",
        *(_parts(result) if result["accuracy"] is not None else []),
        _skipped(result),
        f'<p class="dim">{_e(FOOT)} Margin {result["margin"]}.</p>',
    ]
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Audit</title><style>{STYLE}</style><body>{''.join(body)}</body></html>"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8", errors="replace")
    return out
