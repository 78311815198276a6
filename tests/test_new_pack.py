"""A new kind of supervision is a folder: drafted by template, validated, reviewed and published without any Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from curation.cli import main
from curation.release import Release, versions
from curation.store import Workspace

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["headline", "words", "urgent"],
    "properties": {
        "headline": {"type": "string", "minLength": 1, "maxLength": 80},
        "words": {"type": "array", "items": {"type": "string"}, "maxItems": 5},
        "urgent": {"type": ["boolean", "null"]},
    },
}
TASK = {
    "title": "Headline",
    "parents": ["event"],
    "edit": "/headline",
    "fields": [{"pointer": "/headline", "level": "text"}],
    "messages": [
        {
            "style": "headline",
            "messages": [
                {"role": "user", "content": "<video>\nWrite a headline."},
                {"role": "assistant", "content": "{value.headline}"},
            ],
        }
    ],
}
TEMPLATE = {
    "value": {
        "headline": {
            "$switch": "event.class",
            "cases": {"normal": {"$choose": ["A quiet drive", "Nothing to report"]}},
            "default": {"$choose": ["Trouble on the road", "A drive gone wrong"]},
        },
        "words": ["dashcam"],
        "urgent": None,
    }
}
REVIEW = """<Panel value="Headline">
  <Text name="headline_draft" value="$headline_headline"/>
  <Choices name="headline_verdict" toName="headline_draft" choice="single-radio" required="true">
    <Choice value="accept"/><Choice value="edit"/><Choice value="reject"/><Choice value="cannot_tell"/>
  </Choices>
  <View visibleWhen="choice-selected" whenTagName="headline_verdict" whenChoiceValue="edit">
    <TextArea name="headline_edit" toName="headline_draft" value="$headline_headline" required="true"/>
  </View>
</Panel>
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    pack = tmp_path / "packs" / "headline"
    pack.mkdir(parents=True)
    for name, data in (("schema", SCHEMA), ("task", TASK), ("template", TEMPLATE)):
        (pack / f"{name}.json").write_text(json.dumps(data))
    (pack / "prompt.md").write_text("Write a headline for the event {{event}}. Answer in this schema: {{schema}}\n")
    (pack / "review.xml").write_text(REVIEW)
    good = {"value": {"headline": "Trouble", "words": [], "urgent": True}, "ok": True}
    bad = {"value": {"headline": "", "words": [], "urgent": None}, "ok": False, "reason": "minLength /headline"}
    (pack / "examples.jsonl").write_text(json.dumps(good) + "\n" + json.dumps(bad) + "\n")
    data: dict[str, Any] = {
        "name": "t",
        "workspace": "ws",
        "sources": [{"kind": "demo", "triplets": 4, "drives": 4}],
        "clip": {"height": 56},
        "review": {"raters": {"kind": "simulated"}},
        "tasks": ["packs/headline"],
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(data))
    return tmp_path / "recipe.yaml"


def test_a_folder_is_enough(recipe: Path) -> None:
    assert CliRunner().invoke(main, ["run", str(recipe), "--until", "validate"]).exit_code == 0
    assert CliRunner().invoke(main, ["resolve", str(recipe)]).exit_code == 0
    unread = [x for x in Workspace(recipe.parent / "ws").labels() if x.task == "headline"]
    assert {(x.basis, x.simulated) for x in unread} == {("unreviewed", True)}  # of events that simulated raters named
    done = CliRunner().invoke(main, ["run", str(recipe), "--until", "publish"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    release = Release(versions(recipe.parent / "ws" / "releases")[-1])
    assert release.tasks == ["event", "headline"]
    events = {r["clip_id"]: r["value"]["class"] for r in release.rows("event")}
    quiet = {"A quiet drive", "Nothing to report"}
    rows = release.rows("headline")
    drafted = [r for r in rows if r["value"]["headline"] in quiet | {"Trouble on the road", "A drive gone wrong"}]
    assert len(rows) >= 8
    assert len(drafted) >= len(rows) - 2  # a simulated rater may have edited one
    for row in drafted:
        assert (row["value"]["headline"] in quiet) == (events[row["clip_id"]] == "normal")
        assert row["messages"][0]["messages"][1] == {"role": "assistant", "content": row["value"]["headline"]}
    assert (release.root / "schemas" / "headline" / "schema.json").is_file()


def test_a_broken_pack_is_one_line(recipe: Path) -> None:
    (recipe.parent / "packs" / "headline" / "task.json").write_text("{}")
    done = CliRunner().invoke(main, ["run", str(recipe)])
    assert done.exit_code == 2
    assert "task.json" in done.output
    assert "Traceback" not in done.output


def test_a_clip_is_shown_as_a_sheet_and_as_a_preview(recipe: Path, tmp_path: Path) -> None:
    CliRunner().invoke(main, ["run", str(recipe), "--until", "clip"], catch_exceptions=False)
    clip = json.loads((tmp_path / "ws" / "clips.jsonl").read_text().splitlines()[0])["id"]
    for name, magic in (("sheet.png", b"\x89PNG"), ("preview.mp4", b"ftyp")):
        done = CliRunner().invoke(main, ["show", clip, "-w", str(tmp_path / "ws"), "--sheet", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
        assert magic in (tmp_path / name).read_bytes()[:12]
    missing = CliRunner().invoke(main, ["show", clip, "-w", str(tmp_path / "ws"), "--sheet", "/nowhere/x.png"])
    assert missing.exit_code == 1
    assert "Traceback" not in missing.output
