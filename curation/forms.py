"""Review forms: compose them from task packs, fill them with clips and drafts. Pure.

A form is one Label Studio config: a frame (video, clip problems, comment) round each pack's review.xml. The server
validates nothing, so the form itself, parsed, is the contract for reading: which controls a task has, their choices,
which are required, and under which answers they show. Control names: `<task>_verdict`, `<task>_edit`, `<task>_fault`
for drafts, with `_<index>` for items; `<task>_<property>` for a blind task, `<task>_segment` for its times.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from curation.errors import DataError, UsageError
from curation.ids import plain
from curation.tasks import TaskPack, form_data
from curation.types import Clip, Draft, Json

PROBLEMS = ("unwatchable", "cut_or_replay", "answer_drawn", "privacy", "duplicate", "not_driving", "distressing")
NO_PROBLEM = {"visibleWhen": "choice-unselected", "whenTagName": "clip_problem"}
_STYLE = """
.rv { display: flex; gap: 16px; align-items: flex-start; }
.rv-left { flex: 0 0 56%; min-width: 0; overflow: hidden; position: sticky; top: 0; }
.rv-right { flex: 1 1 0; min-width: 0; }
.rv-card { border: 1px solid var(--color-neutral-border, #ddd); border-radius: 6px; padding: 8px 12px;
           margin-bottom: 10px; }
.rv-card p { margin: 0; }
.rv-named { display: flex; gap: 6px; align-items: flex-start; }
.rv-named h4, .rv-guide h4 { font-size: 14px !important; line-height: 1.4 !important; margin: 2px 0 !important; }
.rv-guide h4 { font-weight: 400 !important; }
"""


# -- compose ---------------------------------------------------------------------------------------------------------
def compose(packs: Sequence[TaskPack]) -> str:
    """The Label Studio config for reviewing `packs` together. Raises UsageError naming the pack's broken part."""
    root = ET.Element("View", className="rv")
    ET.SubElement(root, "Style").text = _STYLE
    left = ET.SubElement(root, "View", className="rv-left")
    right = ET.SubElement(root, "View", className="rv-right")
    video = {"name": "video", "value": "$video", "frameRate": "$fps", "height": "420", "timelineHeight": "70"}
    ET.SubElement(left, "Video", video | {"muted": "true", "minPlaybackSpeed": "0.25"})
    for pack in packs:
        part = _part(pack)
        _guard(part)
        own = ET.SubElement(right, "View", NO_PROBLEM)
        if _variables(pack.review_xml):  # a clip without this draft shows nothing of it, so that none of it is required
            own = ET.SubElement(own, "Repeater", on=f"$show_{pack.name}", indexFlag="{{" + pack.name + "}}")
            own = ET.SubElement(own, "Collapse", accordion="false", open="true", bordered="true")
        own.append(part)
    for pack in packs:
        if pack.guideline:
            box = ET.SubElement(right, "Collapse", accordion="false", open="false", bordered="true")
            box = ET.SubElement(box, "Panel", value=f"Guidelines {pack.guideline}")
            box = ET.SubElement(box, "View", className="rv-guide")
            for line in (pack.path / "guidelines.md").read_text(encoding="utf-8").splitlines()[1:]:
                said = re.sub(r"[*#]+", "", line).strip("|- ").replace(" | ", " — ")
                if said:
                    ET.SubElement(box, "Header", value=said.replace("$", "\uff04"), size="6")  # a plain $ is a variable
    ET.SubElement(left, "Header", value="Something wrong with the clip itself? Then nothing else is asked.", size="6")
    box = ET.SubElement(
        left, "Choices", name="clip_problem", toName="video", choice="multiple", showInline="true", allowNested="false"
    )
    for problem in PROBLEMS:
        ET.SubElement(box, "Choice", value=problem)
    ET.SubElement(
        left, "TextArea", name="comment", toName="video", placeholder="Comment (optional)", rows="2",
        maxSubmissions="1", editable="true",
    )  # fmt: skip
    ET.indent(root)
    config = ET.tostring(root, encoding="unicode")
    controls(config)
    return config


def _part(pack: TaskPack) -> ET.Element:
    """A pack's form, parsed. What comes from a file of the user's is told by its file."""
    where = pack.path / "review.xml"
    try:
        part = ET.fromstring(pack.review_xml)
    except ET.ParseError as e:
        raise UsageError(f"{where}: not well-formed XML: {e}") from None
    if part.find(".//Video") is not None:
        raise UsageError(f"{where}: the form round it brings the Video; remove it here")
    for node in part.iter():
        name = node.get("name", "")
        if node.get("toName") and not name.startswith(f"{pack.name}_"):
            raise UsageError(f"{where}: control '{name}' must be named {pack.name}_…")
    return part


def _guard(node: ET.Element) -> None:
    """Hide what containers hold while a clip problem is chosen: Panel and Repeater do not pass on that they are hidden,
    and a required control that only looks hidden would keep the annotation from being submitted."""
    for child in list(node):
        _guard(child)
    if node.tag in ("Panel", "Repeater"):
        inner = ET.Element("View", NO_PROBLEM)
        inner.extend(list(node))
        for child in list(node):
            node.remove(child)
        node.append(inner)


# -- the form as a contract ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Control:
    """One control. In a Repeater `name` holds `{}` for the index and `over` names the list in the task's data.

    `part` names the list that is empty when the clip has no draft for this part of the form.
    """

    name: str
    tag: str
    choices: frozenset[str]
    required: bool
    single: bool
    over: str
    part: str
    conditions: tuple[tuple[str, str, frozenset[str]], ...]  # (visibleWhen, control, choices), all must hold


@cache
def controls(config: str) -> tuple[Control, ...]:
    """The controls of a form. Raises DataError if two share a name or a condition names none."""
    try:
        found = tuple(_controls(ET.fromstring(config), "", "", "", ()))
    except ET.ParseError as e:
        raise DataError(f"a review form is not well-formed XML: {e}") from None
    names = [c.name for c in found]
    for c in found:
        if names.count(c.name) > 1:
            raise DataError(f"a review form has two controls called '{c.name}'")
        for _, other, _ in c.conditions:
            if other not in names:
                raise DataError(f"a review form shows '{c.name}' depending on '{other}', which it does not have")
    return found


def _controls(node: ET.Element, flag: str, over: str, part: str, conditions: tuple[Any, ...]) -> Iterator[Control]:
    def named(text: str) -> str:
        return text.replace(flag, "{}") if flag else text

    if node.tag == "Repeater":
        listed = node.get("on", "").removeprefix("$")
        if listed.startswith("show_"):
            part = listed
        else:
            flag, over = node.get("indexFlag", "{{idx}}"), listed
    if when := node.get("visibleWhen"):
        values = frozenset(v for v in node.get("whenChoiceValue", "").split(",") if v)
        conditions = (*conditions, (when, named(node.get("whenTagName", "")), values))
    if node.get("toName"):
        labels = frozenset(c.get("value", "") for c in node if c.tag in ("Choice", "Label"))
        single = node.get("choice", "single").startswith("single")
        required = node.get("required") == "true"
        yield Control(named(node.get("name", "")), node.tag, labels, required, single, over, part, conditions)
    for child in node:
        yield from _controls(child, flag, over, part, conditions)


def expand(config: str, data: Json) -> dict[str, Control]:
    """The controls of one task: Repeaters unrolled over the task's lists, parts without a draft left out."""
    out = {}
    for control in controls(config):
        if control.part and not data.get(control.part):
            continue
        for i in range(len(data.get(control.over, ()))) if control.over else (0,):
            conditions = tuple((when, other.format(i), values) for when, other, values in control.conditions)
            out[control.name.format(i)] = replace(control, name=control.name.format(i), conditions=conditions)
    return out


def visible(control: Control, known: Mapping[str, Control], answers: Mapping[str, Any]) -> bool:
    """Does the form show `control` under `answers`? A control that is hidden itself counts as not chosen."""
    for when, other, values in control.conditions:
        chosen = set(answers.get(other, ())) if visible(known[other], known, answers) else set()
        if bool(chosen & values if values else chosen) == (when == "choice-unselected"):
            return False
    return True


# -- tasks -----------------------------------------------------------------------------------------------------------
def task_data(key: str, clip: Clip, drafts: Mapping[str, Draft], packs: Sequence[TaskPack], media_url: str) -> Json:
    """The data of one Label Studio task. Nothing in it names a source: no path, file name, key or order.

    `key` is ours (an assignment's id), `drafts` by task; every variable of the form is there, also for tasks that
    have no draft. Texts go in as they are: Label Studio shows them as text.
    """
    guideline = next((p.guideline for p in packs if p.guideline), "")
    data: Json = {"assignment": key, "clip_id": clip.id, "video": media_url, "fps": clip.fps, "frames": clip.frames}
    data |= {"guideline": guideline, "drafts": {t: d.id for t, d in sorted(drafts.items())}}
    for pack in packs:
        if names := _variables(pack.review_xml):
            data |= {name: [] if name == pack.name else "" for name in names}
            data[f"show_{pack.name}"] = [{}] if pack.name in drafts else []
        if pack.name in drafts:
            data |= form_data(pack, plain(drafts[pack.name].value))
            for item in data.get(pack.name, ()):  # a form shows texts only: lists of texts get one of their own
                lists = {k: v for k, v in item.items() if isinstance(v, list) and all(isinstance(x, str) for x in v)}
                item |= {f"{k}_text": " · ".join(v) or "(none)" for k, v in lists.items()}
    return data


@cache
def _variables(xml: str) -> tuple[str, ...]:
    return tuple(sorted(set(re.findall(r"\"\$([A-Za-z_]\w*)", xml))))
