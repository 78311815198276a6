"""The evaluation page: one HTML file, no script, nothing loaded from outside, every text escaped by the template."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from curation.types import Json
from eval.metrics import CLASSES, POSITIVE, TARGET

Row = Mapping[str, Any]
Media = Callable[[str], bytes | None]  # clip id -> PNG

GALLERY = 24  # clips shown at most
ARM_TEXT = {
    "full": "the whole clip",
    "untrained": "the whole clip, before training",
    "shuffled": "frames in another order",
    "last_frame": "the last frame only",
    "first_frame": "the first frame only",
    "blind": "no frames",
}
DRAWN = {f"f1.{TARGET}": f"{TARGET} F1", "accuracy": "accuracy"}  # beside the best constant answer
SHOWN = DRAWN | {"macro_f1": "macro F1", "average_precision": "AP"}


def number(value: float | None, digits: int = 2, signed: bool = False) -> str:
    """A figure for people; a dash where it is undefined."""
    if value is None:
        return "–"
    return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "\u2212")


def interval(m: Row, signed: bool = False) -> str:
    """`0.78 [0.66, 0.87]`; without an interval only the value."""
    value = number(m["value"], signed=signed)
    if m["low"] is None:
        return value
    return f"{value} [{number(m['low'], signed=signed)}, {number(m['high'], signed=signed)}]"


def p_value(p: float) -> str:
    """`= 0.012`, or `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def words(key: Any) -> str:
    """A key as plain words."""
    return str(key).replace("_", " ")


def label(key: Any) -> str:
    """A key as a heading: `near_collision` is "Near collision", a letter such as n stays small."""
    text = words(key)
    return text if text[1:2] in ("", " ") else text[:1].upper() + text[1:]


def cell(value: Any) -> str:
    """Any value of the context on one line."""
    if value is None or isinstance(value, float):
        return number(value, 3)
    if isinstance(value, Mapping):
        if value.keys() >= {"value", "low", "high"}:
            return interval(value)
        return ", ".join(f"{label(k)}: {cell(v)}" for k, v in value.items())
    return ", ".join(map(cell, value)) if isinstance(value, list) else str(value)


def is_table(value: Any) -> bool:
    """A list of dicts, at least one."""
    return isinstance(value, list) and bool(value) and all(isinstance(v, Mapping) for v in value)


def _wrong(predictions: Sequence[Row]) -> list[Row]:
    """What arm `full` got wrong, the gravest classes first and the surest errors first within them."""

    def order(row: Row) -> tuple[int, float, str]:
        gravest = min(CLASSES.index(row["truth"]), CLASSES.index(row["pred"]))
        return gravest, -row["scores"][row["pred"]], str(row["clip_id"])

    return sorted((r for r in predictions if r["arm"] == "full" and r["pred"] != r["truth"]), key=order)


def render(s: Json, predictions: Sequence[Row], context: Mapping[str, Any], media: Media) -> str:
    """The page. `context` holds what only the caller knows, each as text, a dict, or a list of dicts (a table):

    title, provenance, splits (how they were made), data (what was scored), agreement, probe (text-prior probe),
    test_scored (how many models were scored on this test split), simulated (bool: raters were). Further keys follow as
    sections under their names.
    """
    known = {"title", "provenance", "splits", "data", "agreement", "probe", "test_scored", "simulated", "attributes"}
    m = s["arms"]["full"]["metrics"]
    wrong = _wrong(predictions)
    page = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    page.filters |= {"number": number, "interval": interval, "words": words, "label": label, "cell": cell}
    return page.get_template("page.html").render(
        s=s,
        context=context,
        is_table=is_table,
        classes=CLASSES,
        drawn=DRAWN,
        shown=SHOWN,
        arm_text=ARM_TEXT,
        positive=POSITIVE,
        by_class=[
            {"class": words(c), "clips": n} | {k: m[f"{k}.{c}"] for k in ("precision", "recall", "f1")}
            for c, n in s["class_counts"].items()
        ],
        wrong=len(wrong),
        cards=[{**row, "png": base64.b64encode(media(str(row["clip_id"])) or b"").decode()} for row in wrong[:GALLERY]],
        more=[k for k in context if k not in known],
    )
