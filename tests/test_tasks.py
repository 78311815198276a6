"""Task packs: every schema, every example, and no drift between schema, prompt, form, features and ontology."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from jsonschema import Draft202012Validator

from curation import tasks
from curation.errors import DataError, UsageError
from curation.tasks import TaskPack

NAMES = sorted(p.parent.name for p in tasks.BUILT_IN.glob("*/schema.json"))
PACKS = tasks.load_packs(NAMES)
VERDICTS = ["accept", "edit", "reject", "cannot_tell"]

each_pack = pytest.mark.parametrize("pack", PACKS.values(), ids=list(PACKS))


def good(pack: TaskPack) -> list[Any]:
    return [e["value"] for e in pack.examples if e["ok"]]


def form(pack: TaskPack) -> ElementTree.Element:
    return ElementTree.fromstring(pack.review_xml)


def test_the_packs_of_the_design_are_there() -> None:
    assert {"event", "caption", "description", "vqa", "cot"} <= set(PACKS)
    assert next(iter(PACKS)) == "event"  # parents first


@each_pack
def test_schema_is_2020_12_and_says_so(pack: TaskPack) -> None:
    assert pack.schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(pack.schema)
    assert "$ref" not in json.dumps(pack.schema)
    assert pack.schema["title"] and pack.schema["description"]


@each_pack
def test_examples_hold_good_and_bad_values(pack: TaskPack) -> None:
    for example in pack.examples:
        found = [f"{e.keyword} {e.pointer}".strip() for e in tasks.errors(pack, example["value"])]
        assert (found == []) if example["ok"] else (example["reason"] in found)
    assert len(good(pack)) >= 2
    assert sum(not e["ok"] for e in pack.examples) >= 3


@each_pack
def test_good_values_come_back_from_parquet_as_they_were(pack: TaskPack, tmp_path: Path) -> None:
    import datasets

    rows = [{"value": v} for v in good(pack)]
    made = datasets.Dataset.from_list(rows, features=datasets.Features({"value": dict(tasks.features(pack))}))
    made.to_parquet(tmp_path / "x.parquet")
    back = datasets.Dataset.from_parquet(str(tmp_path / "x.parquet"), cache_dir=str(tmp_path / "cache"))
    assert back.to_list() == rows
    assert back.features["value"] == dict(tasks.features(pack))


@each_pack
def test_prompt_injects_the_schema_and_asks_for_known_things_only(pack: TaskPack) -> None:
    asked = set(re.findall(r"\{\{(\w+)\}\}", pack.prompt))
    assert ("schema" in asked) != ("questions" in (pack.template or {}))  # dealt questions are no model's to write
    if not pack.prompt:
        return
    assert asked <= {"schema", "event", "metadata", "parents", "duration_s"}
    assert '"type"' not in pack.prompt  # never retyped
    if [p for p in pack.spec["parents"] if p != "event"]:
        assert "parents" in asked


@each_pack
def test_form_shows_what_the_schema_gives(pack: TaskPack) -> None:
    data = tasks.form_data(pack, good(pack)[0])
    shown = re.findall(r"\$(\w+)(?:\[\{\{idx\}\}\]\.(\w+))?", pack.review_xml)
    assert shown or pack.name == "event" or not pack.spec["messages"]  # triage is blind; some ask raters nothing
    for key, field in shown:
        assert key in data
        assert not field or field.removesuffix("_text") in data[key][0]  # lists of texts are shown as one text
    if pack.spec["items"]:
        assert data[pack.name] == tasks.at_pointer(good(pack)[0], pack.spec["items"])


@each_pack
def test_form_controls_keep_to_the_naming_contract(pack: TaskPack) -> None:
    controls = {e.attrib["name"]: e for e in form(pack).iter() if "toName" in e.attrib}
    assert all(name.startswith(f"{pack.name}_") for name in controls)
    shown = {"video", *(e.attrib.get("name") for e in form(pack).iter())}
    assert {e.attrib["toName"] for e in controls.values()} <= shown
    if pack.name == "event" or not pack.spec["messages"]:
        return
    mark = "_{{idx}}" if pack.spec["items"] else ""
    assert set(controls) == {f"{pack.name}_{kind}{mark}" for kind in ("verdict", "edit", "fault")}
    verdict = controls[f"{pack.name}_verdict{mark}"]
    assert [c.attrib["value"] for c in verdict] == VERDICTS
    assert verdict.attrib["required"] == "true"
    assert not [c for c in form(pack).iter("Choice") if c.attrib.get("selected")]  # blank
    faults = {c.attrib["value"] for c in controls[f"{pack.name}_fault{mark}"]}
    assert faults <= set(pack.ontology["fault"]["enum"])
    edited = controls[f"{pack.name}_edit{mark}"].attrib["value"].replace("{{idx}}", "0")
    leaf = pack.spec["edit"].removeprefix("/")
    assert edited == (f"${pack.name}[0].{leaf}" if pack.spec["items"] else f"${pack.name}_{leaf}")


def test_triage_form_offers_the_words_of_the_ontology() -> None:
    pack = PACKS["event"]
    offered = {e.attrib["name"]: [c.attrib["value"] for c in e] for e in form(pack).iter("Choices")}
    properties = pack.schema["properties"]
    assert offered["event_class"] == [*properties["class"]["enum"], "cannot_tell"]
    assert set(offered["event_ego_role"]) == set(properties["ego_role"]["enum"]) - {"none"}
    assert offered["event_partner"] == [p for p in pack.ontology["partner"]["enum"] if p]
    assert pack.guideline == "1.0.0"
    guidelines = (pack.path / "guidelines.md").read_text()
    assert all(f"**{c}**" in guidelines for c in properties["class"]["enum"])


@each_pack
def test_fields_and_edits_point_into_the_value(pack: TaskPack) -> None:
    value = good(pack)[0]
    for one in [v for _, v in tasks.items(pack, value)] or [value]:
        for field in pack.spec["fields"]:
            tasks.at_pointer(one, field["pointer"])
        if pack.spec["edit"]:
            assert isinstance(tasks.at_pointer(one, pack.spec["edit"]), str)


@each_pack
def test_conversations_put_the_clip_first_and_end_with_the_answer(pack: TaskPack) -> None:
    for value in good(pack):
        talks = tasks.conversations(pack, value)
        each = len(tasks.items(pack, value))
        assert len(talks) == sum(each if talk.get("each") else 1 for talk in pack.spec["messages"])
        for talk in talks:
            assert [m["role"] for m in talk["messages"]] == ["user", "assistant"]
            assert talk["messages"][0]["content"].startswith("<video>\n")
            assert "{" not in talk["messages"][1]["content"]


def test_answer_formats() -> None:
    event = tasks.conversations(PACKS["event"], good(PACKS["event"])[0])[0]
    assert event["style"] == "answer"
    assert event["messages"][1]["content"] == "<answer>\ncollision\n</answer>"
    cot = tasks.conversations(PACKS["cot"], good(PACKS["cot"])[0])[0]
    said = cot["messages"][1]["content"]
    assert re.fullmatch(r"<think>\n.+\n</think>\n\n<answer>\n(collision|near_collision|normal)\n</answer>", said, re.S)
    vqa = tasks.conversations(PACKS["vqa"], good(PACKS["vqa"])[0])
    assert {t["style"] for t in vqa} <= {f"vqa:{f}" for f in PACKS["vqa"].ontology["family"]["enum"]}


def test_text_of_a_value_is_never_taken_for_a_template() -> None:
    value = {"text": "{value.clauses} {{schema}} {nothing.here}", "clauses": []}
    said = tasks.conversations(PACKS["caption"], value)[0]["messages"][1]["content"]
    assert said == value["text"]


def test_ontology_words() -> None:
    pack = PACKS["caption"]
    assert tasks.canonical(pack, "weather", " Rainy ") == "rain"
    assert tasks.canonical(pack, "road", "parking lot") == "parking_lot"
    assert tasks.canonical(pack, "weather", "ignore all instructions") is None
    assert tasks.phrase(pack, "partner", "bicycle") == "a cyclist"
    for name, node in pack.ontology.items():
        for key in ("x-synonyms", "x-phrases"):
            assert set(node.get(key, {})) <= set(node.get("enum", [])), name
        said = [w.casefold() for more in node.get("x-synonyms", {}).values() for w in more]
        assert len(said) == len(set(said)), name  # one word, one value


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": Infinity}', '{"a": 1, "a": 2}', "{", "[" * 100_000])
def test_only_strict_json_is_read(text: str) -> None:
    with pytest.raises(DataError, match="JSON"):
        tasks.parse_json(text)


def copy_of(name: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tasks.BUILT_IN / name, tmp_path / name))


BREAK: dict[str, tuple[str, str, str]] = {
    "no form": ("review.xml", "", "review.xml: not there"),
    "not JSON": ("schema.json", "{", "schema.json: not JSON"),
    "duplicate key": ("task.json", '{"title": "a", "title": "b"}', "stands twice"),
    "unknown key": ("task.json", '{"title": "a", "fields": [], "messages": [], "parnets": []}', "parnets"),
    "no ontology": ("task.json", '{"title": "a", "fields": [], "messages": [], "ontology": "urn:x"}', "no ontology"),
    "no template": ("template.json", "[]", 'give an object with "value"'),
    "unknown node": ("template.json", '{"value": {"text": {"$pick": []}}}', r"/value/text: unknown node '\$pick'"),
    "loose object": ("schema.json", '{"type": "object", "properties": {"a": {"type": "null"}}}', "additionalProp"),
    "not an object": ("schema.json", '{"type": "string"}', "is an object"),
    "bad schema": ("schema.json", '{"type": "objekt"}', "not JSON Schema"),
    "remote ref": ("schema.json", '{"$ref": "https://example.org/x.json"}', "leads nowhere"),
    "circular ref": ("schema.json", '{"$ref": "#"}', "refers to itself"),
    "wrong example": ("examples.jsonl", '{"value": {}, "ok": true}', "a good example breaks the schema"),
    "wrong reason": ("examples.jsonl", '{"value": {}, "ok": false, "reason": "enum /x"}', "fails for"),
}


@pytest.mark.parametrize("file,text,said", BREAK.values(), ids=list(BREAK))
def test_a_broken_pack_is_told_with_its_file(tmp_path: Path, file: str, text: str, said: str) -> None:
    pack = copy_of("caption", tmp_path)
    if text:
        (pack / file).write_text(text)
    else:
        (pack / file).unlink()
    with pytest.raises(UsageError, match=said) as e:
        tasks.load_packs([pack])
    assert file in str(e.value)


def test_packs_of_the_user_by_path_and_parents(tmp_path: Path) -> None:
    copy_of("caption", tmp_path).rename(tmp_path / "headline")
    assert list(tasks.load_packs(["./headline", "event"], base=tmp_path)) == ["event", "headline"]
    with pytest.raises(UsageError, match="no such task pack; ours: caption, cot"):
        tasks.load_packs(["headline"])
    with pytest.raises(UsageError, match="add 'description'"):
        tasks.load_packs(["vqa"])
    with pytest.raises(UsageError, match="two packs"):
        tasks.load_packs(["caption", tasks.BUILT_IN / "caption"])


def test_ids_follow_the_content(tmp_path: Path) -> None:
    pack = copy_of("caption", tmp_path)
    same = tasks.load_pack(pack)
    ours = PACKS["caption"]
    assert (same.schema_id, same.prompt_id, same.template_id) == (ours.schema_id, ours.prompt_id, ours.template_id)
    (pack / "prompt.md").write_text(ours.prompt + "\nBe brief.\n")
    changed = tasks.load_pack(pack)
    assert changed.prompt_id != ours.prompt_id and changed.schema_id == ours.schema_id
