"""The pieces of the evaluation page: figures as text, tables, interval plots, confusion matrices, pictures of clips."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from curation.errors import DataError

Row = Mapping[str, Any]
Media = Callable[[str], bytes | str | None]  # clip id -> image bytes, path relative to the page, or None

IMAGES = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}


def number(value: float | None, digits: int = 2, signed: bool = False) -> str:
    """A figure for people; a dash where it is undefined."""
    if value is None:
        return "–"
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    return text.replace("-", "\u2212")


def interval(m: Mapping[str, Any], signed: bool = False) -> str:
    """`0.78 [0.66, 0.87]`; without an interval only the value."""
    value = number(m["value"], signed=signed)
    if m.get("low") is None or m["value"] is None:
        return value
    return f"{value} [{number(m['low'], signed=signed)}, {number(m['high'], signed=signed)}]"


def p_value(p: float, *, bare: bool = False) -> str:
    """`= 0.012` or `< 0.001`; `bare` leaves out the equals sign."""
    return "< 0.001" if p < 0.001 else f"{'' if bare else '= '}{p:.3f}"


def label(key: str) -> str:
    """A key as a heading, escaped: `near_collision` is "Near collision", a letter such as n stays small."""
    text = str(key).replace("_", " ")
    return escape(text if text[1:2] in ("", " ") else text[:1].upper() + text[1:])


def cell(value: Any) -> str:
    """Any plain value as escaped HTML."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value, 3)
    if isinstance(value, Mapping):
        return (
            escape(interval(value))
            if "value" in value
            else ", ".join(f"{label(k)}: {cell(v)}" for k, v in value.items())
        )
    if isinstance(value, (list, tuple)):
        return ", ".join(cell(v) for v in value)
    return escape(str(value))


def grid(rows: Sequence[Row], caption: str = "") -> str:
    """A table of dicts. `value`, `low` and `high` of a row are shown as one column."""
    shown = [
        {k: (interval(r) if k == "value" and "low" in r else v) for k, v in r.items() if k not in ("low", "high")}
        for r in rows
    ]
    keys = list(dict.fromkeys(k for r in shown for k in r))
    numeric = {k for k in keys if all(r.get(k) is None or re.match(r"^[\d\u2212+<=–.-]", str(r[k])) for r in shown)}
    head = "".join(f'<th scope="col"{_num(k in numeric)}>{label(k)}</th>' for k in keys)
    body = ""
    for row in shown:
        first, *rest = keys
        cells = "".join(f"<td{_num(k in numeric)}>{cell(row.get(k))}</td>" for k in rest)
        body += f'<tr><th scope="row"{_num(first in numeric)}>{cell(row.get(first))}</th>{cells}</tr>'
    cap = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{cap}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _num(yes: bool) -> str:
    return ' class="num"' if yes else ""


def block(value: Any) -> str:
    """Data of the caller as HTML: text as a paragraph, a list of dicts as a table, a dict as a list of terms."""
    if isinstance(value, Mapping):
        plain = {k: v for k, v in value.items() if not is_table(v)}
        text = f"<p>{cell(plain.pop('text'))}</p>" if "text" in plain else ""
        terms = "".join(f"<dt>{label(k)}</dt><dd>{cell(v)}</dd>" for k, v in plain.items())
        tables = "".join(grid(v, "" if k == "table" else k.replace("_", " ")) for k, v in value.items() if is_table(v))
        return text + (f"<dl>{terms}</dl>" if terms else "") + tables
    return grid(value) if is_table(value) else f"<p>{cell(value)}</p>"


def is_table(value: Any) -> bool:
    """A list of dicts, at least one."""
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(v, Mapping) for v in value)


def forest(
    rows: Sequence[tuple[str, Row]], caption: str, rule: tuple[str, float] | None, *, signed: bool = False
) -> str:
    """An interval plot as SVG: one line per (name, {value, low, high}); `rule` is a named dashed line.

    The scale is 0 to 1; for `signed` differences what the intervals need, with the rule in sight. Of scores the
    first row is stressed, of differences none.
    """
    left, right, step, top = 92, 258, 30, 30
    start, end = 0.0, 1.0
    if signed:
        ends = [m[k] for _, m in rows for k in ("low", "high", "value") if m.get(k) is not None]
        start, end = (math.floor(min([*ends, 0]) * 4) / 4, math.ceil(max([*ends, 0.25]) * 4) / 4)
    height = top + step * len(rows) + 22

    def x(v: float) -> str:
        return f"{left + (min(max(v, start), end) - start) / (end - start) * (right - left):.1f}"

    out = [f'<svg viewBox="0 0 400 {height}" role="img" aria-label="{escape(caption)}">']
    for quarter in range(round(start * 4), round(end * 4) + 1):
        at, text = x(quarter / 4), number(quarter / 4, signed=signed and quarter != 0)
        out.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{top - 6}" y2="{height - 20}"/>')
        out.append(f'<text class="tick" x="{at}" y="{height - 6}" text-anchor="middle">{text}</text>')
    if rule is not None:
        at, text = x(rule[1]), escape(rule[0])
        out.append(f'<line class="rule" x1="{at}" x2="{at}" y1="{top - 10}" y2="{height - 20}"/>')
        out.append(f'<text class="rule-text" x="{at}" y="{top - 15}" text-anchor="middle">{text}</text>')
    for i, (name, m) in enumerate(rows):
        y = top + step * i + 14
        tone, text = "main" if i == 0 and not signed else "arm", escape(name.replace("_", " "))
        out.append(f'<g class="{tone}"><text x="0" y="{y + 4}">{text}</text>')
        if m["value"] is not None:
            if m.get("low") is not None:
                out.append(f'<line class="bar" x1="{x(m["low"])}" x2="{x(m["high"])}" y1="{y}" y2="{y}"/>')
            out.append(f'<circle class="dot" cx="{x(m["value"])}" cy="{y}" r="5"/>')
        out.append(f'<text x="400" y="{y + 4}" text-anchor="end">{escape(interval(m, signed))}</text></g>')
    return f"<figure><figcaption>{escape(caption)}</figcaption>{''.join(out)}</svg></figure>"


def matrix(counts: Sequence[Sequence[int]], classes: Sequence[str], caption: str) -> str:
    """A confusion matrix: rows are the truth, shading and percent are shares of the row."""
    answers = [*classes, "no answer"] if any(row[-1] for row in counts) else list(classes)
    head = "".join(f'<th scope="col">{label(c)}</th>' for c in answers)
    body = ""
    for name, row in zip(classes, counts, strict=True):
        total = sum(row)
        cells = ""
        for n in row[: len(answers)]:
            share = n / total if total else 0.0
            cells += f'<td style="--share:{share:.3f}">{n}<small>{share:.0%}</small></td>'
        body += f'<tr><th scope="row">{label(name)}</th>{cells}</tr>'
    table = f'<table class="matrix"><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<figure><figcaption>{escape(caption)}</figcaption><div class="scroll">{table}</div></figure>'


def picture(clip_id: str, media: bytes | str | None) -> str:
    """The media of one clip: bytes embedded, a path linked as a video.

    Raises DataError for bytes that are no PNG or JPEG, or a path that leaves the page's folder.
    """
    if media is None:
        return ""
    if isinstance(media, bytes):
        kind = next((k for magic, k in IMAGES.items() if media.startswith(magic)), None)
        if kind is None:
            raise DataError(f"report: the picture of clip {clip_id} is neither PNG nor JPEG; give one of these")
        return (
            f'<img alt="frames of the clip in order" src="data:image/{kind};base64,{base64.b64encode(media).decode()}">'
        )
    parts = media.replace("\\", "/").split("/")
    if ".." in parts or parts[0] == "" or ":" in parts[0]:
        raise DataError(
            f"report: the video of clip {clip_id} lies outside the page's folder: {media!r}; give a path below it"
        )
    return f'<video controls preload="metadata" src="{escape(quote(media))}"></video>'
