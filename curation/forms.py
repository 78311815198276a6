"""Review forms: compose them from task packs, fill them with clips and drafts. Pure.

A form is one Label Studio config: a frame (video, clip problems, comment) round each pack's review.xml. The server
validates nothing, so the form itself, parsed, is the contract for reading: which controls a task has, their choices,
which are required, and under which answers they show. Control names: `<task>_verdict`, `<task>_edit`, `<task>_fault`
for drafts, with `_<index>` for items; `<task>_<property>` for what is asked without a draft, `<task>_segment` for its
times. A pack's blind.xml asks before the draft is seen; `<Include/>` in it is where review.xml goes. Its Repeaters may
run over `$<task>_closed` and `$<task>_open`: the questions with and without options, their answers left out.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from curation.errors import DataError, UsageError
from curation.ids import canonical_json, sha256_bytes
from curation.tasks import TaskPack, form_data, items
from curation.types import Clip, Draft, Json

PROBLEMS = ("unwatchable", "cut_or_replay", "answer_drawn", "privacy", "duplicate", "not_driving", "distressing")
LETTERS = "ABCDEFGH"
NO_PROBLEM = {"visibleWhen": "choice-unselected", "whenTagName": "clip_problem"}
HINT = "The sliders at the bottom list all keys (Hotkeys). Set the step to one frame there, once: Video, hop size 1."
_STYLE = """
.lsf-sidepanels__wrapper { display: none !important; }
.lsf-sidepanels { padding: 0 !important; }
.rv { display: flex; gap: 16px; align-items: flex-start; }
.rv-left { flex: 1 1 0; min-width: 0; overflow: hidden auto; position: sticky; top: 0;
           max-height: calc(100vh - 110px); }
.rv-right { flex: 0 0 42%; min-width: 0; }
.rv-wide .rv-right { flex: 0 0 320px; }
.rv-card { border: 1px solid var(--color-neutral-border, #ddd); border-radius: 6px; padding: 8px 12px;
           margin-bottom: 10px; }
.rv-card p { margin: 0; }
.rv h4 { font-size: 14px !important; line-height: 1.4 !important; margin: 4px 0 !important; }
.rv [class*=ant-collapse] { background: transparent; color: var(--color-neutral-content, #333) !important;
                            border-color: var(--color-neutral-border, #ddd); }
.rv-hint h4 { font-weight: 400 !important; color: var(--color-neutral-content-subtle, #666); }
.rv-named { display: flex; gap: 6px; align-items: flex-start; }
.rv-named h4 { min-width: 52px; line-height: 24px !important; margin: 0 !important; }
.rv-named input[type=number] { width: 60px; padding: 2px 6px; }
.rv-focus button { all: unset; font-size: 13px; color: var(--color-neutral-content-subtle, #666); }
.rv-focus button:focus-visible { text-decoration: underline; }
.rv-guide { font-size: 14px; }
.rv-guide :is(h1, h2) { font-size: 15px !important; margin: 8px 0 4px !important; }
.rv-guide :is(p, li, td, th) { font-size: 14px !important; line-height: 1.4 !important; }
.rv-guide :is(td, th) { padding: 4px 6px !important; }
.rv [style*=orphans] sup, .rv [style*=orphans] [class*=hint] { display: none; }
"""


# -- compose ---------------------------------------------------------------------------------------------------------
@cache
def blind_xml(pack: TaskPack) -> str:
    """How the pack asks those who must not see its draft: blind.xml; empty if it asks them nothing."""
    path = pack.path / "blind.xml"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _xml(pack: TaskPack, blind: bool) -> str:
    return blind_xml(pack).replace("<Include/>", pack.review_xml) if blind else pack.review_xml


def _asked(packs: Sequence[TaskPack], blind: bool) -> list[TaskPack]:
    return [p for p in packs if not blind or p.name == "event" or blind_xml(p)]


def calibration(packs: Sequence[TaskPack]) -> str:
    """What a rater was told, recorded in every Review: the guidelines' version and a hash of all choices offered."""
    return _calibration(tuple(packs))


@cache
def _calibration(packs: tuple[TaskPack, ...]) -> str:
    version = next((p.guideline for p in packs if p.guideline), "0")
    offered = [sorted(re.findall(r"<(?:Choice|Label) value=\"(.*?)\"", p.review_xml + blind_xml(p))) for p in packs]
    return f"{version}+{sha256_bytes(canonical_json(offered).encode())[:6]}"


def compose(packs: Sequence[TaskPack], *, blind: bool = False, said: bool = False) -> str:
    """The Label Studio config for reviewing `packs` together. Raises UsageError naming the pack's broken part.

    `blind`: event as ever, of the others what their blind.xml asks. `said`: for a conflict, with what the raters said.
    """
    packs = _asked(packs, blind)
    wide = len(packs) == 1 and "<TimelineLabels" in packs[0].review_xml  # for the timeline, 16 pixels a frame
    root = ET.Element("View", className="rv rv-wide" if wide else "rv")
    ET.SubElement(root, "Style").text = _STYLE
    left = ET.SubElement(root, "View", className="rv-left")
    right = ET.SubElement(root, "View", className="rv-right")
    video = {"name": "video", "value": "$video", "frameRate": "$fps", "height": "400", "timelineHeight": "64"}
    ET.SubElement(left, "Video", video | {"muted": "true", "minPlaybackSpeed": "0.25"})
    ET.SubElement(ET.SubElement(left, "View", className="rv-hint"), "Header", value=HINT, size="5")
    if said:
        box = ET.SubElement(right, "Repeater", on="$said", indexFlag="{{said}}")
        ET.SubElement(
            ET.SubElement(box, "View", className="rv-card"), "Text", name="said_{{said}}", value="$said[{{said}}].text"
        )
    for pack in packs:
        xml = _xml(pack, blind and pack.name != "event")
        part = _part(pack, xml)
        _guard(part)
        own = ET.SubElement(right, "View", NO_PROBLEM)
        if _variables(xml):  # a clip without this draft shows nothing of it, so that none of it is required
            own = ET.SubElement(own, "Repeater", on=f"$show_{pack.name}", indexFlag="{{" + pack.name + "}}")
            own = ET.SubElement(own, "Collapse", accordion="false", open="true", bordered="true")
        own.append(part)
    for pack in packs:
        if pack.guideline:
            box = ET.SubElement(right, "Collapse", accordion="false", open="false", bordered="true")
            box = ET.SubElement(box, "Panel", value=f"Guidelines {pack.guideline}")
            box = ET.SubElement(box, "View", className="rv-guide")
            text = (pack.path / "guidelines.md").read_text(encoding="utf-8").partition("\n")[2]
            text = text.replace("<", "&lt;").replace("$", "\uff04")  # no HTML; a plain $ is a variable
            text = re.sub(r"^\|[-| :]+\n", "", text, flags=re.M)  # Label Studio's Markdown has no tables
            text = re.sub(r"^\| *(.*?)[ |]*$", lambda m: "- " + m[1].replace(" | ", " — "), text, flags=re.M)
            ET.SubElement(box, "Markdown", value=text)
    ET.SubElement(left, "Header", value="Something wrong with the clip itself? Then nothing else is asked.", size="5")
    box = ET.SubElement(
        left, "Choices", name="clip_problem", toName="video", choice="multiple", showInline="true", allowNested="false"
    )
    for n, problem in enumerate(PROBLEMS, 1):
        ET.SubElement(box, "Choice", value=problem, hotkey=f"shift+{n}")
    ET.SubElement(
        left, "TextArea", name="comment", toName="video", placeholder="Comment (optional)", rows="2",
        maxSubmissions="1", editable="true",
    )  # fmt: skip
    _keys(root)
    ET.indent(root)
    config = ET.tostring(root, encoding="unicode")
    controls(config)
    return config


def _part(pack: TaskPack, xml: str) -> ET.Element:
    """A pack's form, parsed. What comes from a file of the user's is told by its file."""
    where = pack.path / ("review.xml" if xml == pack.review_xml else "blind.xml")
    try:
        part = ET.fromstring(xml)
    except ET.ParseError as e:
        raise UsageError(f"{where}: not well-formed XML: {e}") from None
    if part.find(".//Video") is not None:
        raise UsageError(f"{where}: the form round it brings the Video; remove it here")
    for node in part.iter():
        name = node.get("name", "")
        if node.get("toName") and not name.startswith(f"{pack.name}_"):
            raise UsageError(f"{where}: control '{name}' must be named {pack.name}_…")
    return part


def _guard(node: ET.Element, hidden: tuple[Mapping[str, str], ...] = (NO_PROBLEM,)) -> None:
    """Hide what containers hold while `hidden` (a clip problem, a View around) hides them: Panel and Repeater do not
    pass on that they are hidden, and a required control that only looks hidden would keep one from submitting."""
    own = {k: v for k, v in node.items() if k in ("visibleWhen", "whenTagName", "whenChoiceValue")}
    hidden = (*hidden, own) if own and "{{" not in own["whenTagName"] else hidden
    for child in list(node):
        _guard(child, hidden)
    if node.tag in ("Panel", "Repeater"):
        inside = list(node)
        for child in inside:
            node.remove(child)
        for condition in hidden:
            node = ET.SubElement(node, "View", dict(condition))
        node.extend(inside)


def _keys(root: ET.Element) -> None:
    """Whom the keys go to. Label Studio deals 1-9, 0, q, w, … to the choices that have none, in the form's order, and
    has 33: they are for every `accept`, and for all of a form without drafts. A blank is no key; `orphans` hides it."""
    drafted = any("_verdict" in box.get("name", "") for box in root.iter("Choices"))
    for box in root.iter("Choices"):
        name, optional = box.get("name", ""), box.get("required") != "true"
        keyed = 1 if "_verdict" in name else 0 if drafted and optional else 4 if "{{" in name else len(box)
        for choice in list(box)[keyed:]:
            if "hotkey" not in choice.attrib:
                choice.attrib.update(hotkey=" ", style="orphans: 2")
    for node in root.iter("Number"):
        node.set("hotkey", " ")
    for node in root.iter("TextArea"):
        node.set("showSubmitButton", "false")  # what is typed is submitted without being added


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
    conditions: tuple[
        tuple[str, str, frozenset[str]], ...
    ]  # (visibleWhen, control, choices), inner first; all must hold


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
        conditions = ((when, named(node.get("whenTagName", "")), values), *conditions)
    if node.get("toName"):
        labels = frozenset(c.get("value", "") for c in node if c.tag in ("Choice", "Label"))
        single = node.get("choice", "single").startswith("single")
        required = node.get("required") == "true"
        yield Control(named(node.get("name", "")), node.tag, labels, required, single, over, part, conditions)
    for child in node:
        yield from _controls(child, flag, over, part, conditions)


def expand(config: str, data: Json) -> dict[str, Control]:
    """The controls of one task: Repeaters unrolled over the task's lists, parts without a draft left out."""
    lists = {name for c in controls(config) for name in (c.over, c.part) if name}
    return _expand(config, tuple((name, len(data.get(name, ()))) for name in sorted(lists)))


@cache
def _expand(config: str, lengths: tuple[tuple[str, int], ...]) -> dict[str, Control]:
    n = {"": 1} | dict(lengths)
    out = {}
    for control in controls(config):
        for i in range(n[control.over] if n[control.part] else 0):
            conditions = tuple((when, other.format(i), values) for when, other, values in control.conditions)
            out[control.name.format(i)] = replace(control, name=control.name.format(i), conditions=conditions)
    return out


def visible(known: Mapping[str, Control], answers: Mapping[str, Any]) -> set[str]:
    """The controls that the form shows under `answers`. One that is hidden itself counts as not chosen."""
    seen: dict[str, bool] = {}

    def shown(name: str) -> bool:
        if name not in seen:
            seen[name] = True
            for when, other, values in known[name].conditions:
                chosen = answers[other] if other in answers and shown(other) else ()
                if (not values.isdisjoint(chosen) if values else bool(chosen)) == (when == "choice-unselected"):
                    seen[name] = False
                    break
        return seen[name]

    return {name for name in known if shown(name)}


# -- tasks -----------------------------------------------------------------------------------------------------------
def task_data(
    key: str, clip: Clip, drafts: Mapping[str, Draft], packs: Sequence[TaskPack], media_url: str, *,
    blind: bool = False, said: Sequence[str] | None = None,
) -> Json:  # fmt: skip
    """The data of one Label Studio task. Nothing in it names a source: no path, file name, key or order.

    `key` is ours (an assignment's id), `drafts` by task; every variable of the form is there, also for tasks that
    have no draft. Texts go in as they are: Label Studio shows them as text. `blind` and `said` as in `compose`.
    """
    data: Json = {"assignment": key, "clip_id": clip.id, "video": media_url, "fps": clip.fps, "frames": clip.frames}
    data |= {"guideline": calibration(packs), "drafts": {t: d.id for t, d in sorted(drafts.items())}}
    if said is not None:
        data["said"] = [{"text": text} for text in said]
    for pack in _asked(packs, blind):
        xml = _xml(pack, blind and pack.name != "event")
        if names := _variables(xml):
            data |= {name: [] if f' on="${name}"' in xml else "" for name in names}
            data[f"show_{pack.name}"] = [{}] if pack.name in drafts else []
        if pack.name in drafts and blind and "<Include/>" not in blind_xml(pack):
            data |= _questions(pack, drafts[pack.name].value)
        elif pack.name in drafts:
            data |= form_data(pack, drafts[pack.name].value)
            data |= {pack.name: [_shown(item) for item in data[pack.name]]} if pack.name in data else {}
    return data


def _shown(item: Json) -> Json:
    """An item with its lists of texts also as one text each: a form shows texts only."""
    lists = {k: v for k, v in item.items() if isinstance(v, list) and all(isinstance(x, str) for x in v)}
    return item | {f"{k}_text": " · ".join(v) or "(none)" for k, v in lists.items()}


def _questions(pack: TaskPack, value: Any) -> Json:
    """The items of a draft as blind.xml asks them: without their answers; options are called A, B, …"""
    shown: Json = {f"{pack.name}_closed": [], f"{pack.name}_open": []}
    for item_id, item in items(pack, value):
        options = item.get("options") or []
        text = " · ".join(f"{letter}: {option}" for letter, option in zip(LETTERS, options, strict=False))
        where = f"{pack.name}_closed" if options else f"{pack.name}_open"
        shown[where].append({"id": item_id, "question": item["question"], "options_text": text})
    return shown


@cache
def _variables(xml: str) -> tuple[str, ...]:
    return tuple(sorted(set(re.findall(r"\"\$([A-Za-z_]\w*)", xml))))
