from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import yaml

from curation import ingest
from curation.errors import AutodriveError, UsageError
from curation.recipe import Recipe, load_recipe
from curation.store import Workspace, current_sources
from curation.types import Refusal, Report, Source

COLUMNS = {"file": "file", "class": "label", "event_s": "event_time_s", "drive": "group", "licence_video": "licence"}
VALUES = {"class": {"near-collision": "near_collision", "not-driving": None}}


def folder(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    entry = {"kind": "folder", "dataset": "x", "root": "clips", "table": "manifest.csv"}
    return entry | {"columns": COLUMNS, "values": VALUES} | changes


def recipe_of(tmp_path: Path, *sources: dict[str, Any], **sections: Any) -> Recipe:
    path = tmp_path / "recipe.yaml"
    data = {"name": "t", "workspace": "ws", "workers": 1, "sources": list(sources), **sections}
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return load_recipe(path)


def write_table(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as f:
        names = list(dict.fromkeys(k for row in rows for k in row))
        writer = csv.DictWriter(f, names, restval="")
        writer.writeheader()
        writer.writerows(rows)


def run(recipe: Recipe) -> tuple[Report, dict[str, Source], dict[str, Refusal]]:
    ws = Workspace(recipe.workspace)
    report = ingest.run(ws, recipe)
    sources = {s.key: s for s in current_sources(ws).values()}
    return report, sources, {r.key: r for r in ws.read(Refusal)}


@pytest.fixture
def broken(tmp_path: Path, make_video: Any) -> Path:
    """A folder with every kind of broken input beside two good ones."""
    clips = tmp_path / "clips"
    make_video(clips / "good.mp4", frames=30, audio=True)
    make_video(clips / "hevc.mp4", frames=30, codec="libx265")
    make_video(clips / "late.mp4", frames=31)
    make_video(clips / "early.mp4", frames=32)
    make_video(clips / "odd.mp4", frames=33)
    make_video(clips / "twice.mp4", frames=34)
    make_video(clips / "film.mp4", frames=36)
    make_video(clips / "cafe.mp4", frames=37)
    make_video(tmp_path / "outside.mp4", frames=38)
    (clips / "link.mp4").symlink_to(tmp_path / "outside.mp4")
    make_video(clips / "same1.mp4", frames=35)
    shutil.copy(clips / "same1.mp4", clips / "same2.mp4")
    (clips / "empty.mp4").touch()
    (clips / "text.mp4").write_text("no video\n" * 99)
    whole = make_video(tmp_path / "whole.mp4", frames=60).read_bytes()
    (clips / "torn.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    make_video(clips / "frameless.mp4", frames=0, movflags="+empty_moov+frag_keyframe")
    with av.open(str(clips / "sound.mp4"), "w") as out:
        sound = out.add_stream("aac", rate=8000, layout="mono")
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        tone.sample_rate = 8000
        out.mux(sound.encode(tone))
        out.mux(sound.encode(None))
    normal = [
        "good",
        "hevc",
        "empty",
        "text",
        "torn",
        "frameless",
        "sound",
        "absent",
        "link",
        "twice",
        "twice",
        "same1",
    ]
    rows = [{"file": f"{n}.mp4", "label": "normal"} for n in normal]
    rows += [
        {"file": "../outside.mp4", "label": "normal"},
        {"file": "same2.mp4", "label": "collision", "event_time_s": "1"},
        {"file": "late.mp4", "label": "collision", "event_time_s": "9.5"},
        {"file": "early.mp4", "label": "collision", "event_time_s": "-1"},
        {"file": "odd.mp4", "label": "colision"},
        {"file": "film.mp4", "label": "not-driving"},
        {"file": "cafe.mp4", "label": "normal", "group": "caf@"},
        {
            "file": "good2.mp4",
            "label": "near-collision",
            "event_time_s": "1.5",
            "group": "d1",
            "licence": "none (no file)",
        },
    ]
    make_video(clips / "good2.mp4", frames=39)
    write_table(tmp_path / "manifest.csv", rows)
    table = tmp_path / "manifest.csv"
    table.write_bytes(table.read_bytes().replace(b"caf@", b"caf\xe9"))
    return tmp_path


def test_every_broken_input_has_its_reason_and_the_good_ones_go_through(broken: Path) -> None:
    report, sources, refusals = run(recipe_of(broken, folder(broken)))
    assert set(sources) == {"good.mp4", "hevc.mp4", "twice.mp4", "good2.mp4"}
    assert report.ok and report.counts == {"sources": 4, "new": 4, "refused": 16}
    assert {k.removeprefix("x/").removesuffix(".mp4"): r.reason for k, r in refusals.items()} == {
        "empty": "empty",
        "text": "not_video",
        "torn": "truncated",
        "frameless": "zero_frames",
        "sound": "no_video_stream",
        "absent": "missing",
        "link": "outside_root",
        "../outside": "outside_root",
        "twice": "duplicate_id",
        "same1": "same_bytes_other_label",
        "same2": "same_bytes_other_label",
        "late": "event_after_end",
        "early": "negative_time",
        "odd": "unknown_class",
        "film": "excluded",
        "manifest.csv:20": "not_utf8",
    }
    details = [r.detail for r in refusals.values()]
    assert len(set(details)) == len(details) and all(d and "\n" not in d for d in details)
    assert "values: {class: {colision: collision}}" in refusals["x/odd.mp4"].detail
    assert "WINDOWS-1252" in refusals["x/manifest.csv:20"].detail


def test_what_a_row_claims_arrives(broken: Path) -> None:
    _, sources, _ = run(recipe_of(broken, folder(broken, defaults={"redistribute": True, "licence_video": "CC0"})))
    event = sources["good2.mp4"].events[0]
    assert (event.classes, event.time_s, event.alert_s) == (("near_collision",), 1.5, None)
    good, near = sources["good.mp4"], sources["good2.mp4"]
    assert (good.duration_s, good.fps, good.width, good.height) == (3.0, 10.0, 64, 48)
    assert (good.events[0].ego_role, near.drive, good.drive) == ("none", "d1", None)
    assert good.redistribute and good.licence_video == "CC0"
    assert not near.redistribute and near.licence_video.startswith("none")


def test_a_second_run_writes_nothing(broken: Path) -> None:
    recipe = recipe_of(broken, folder(broken))
    run(recipe)
    before = {p.name: p.read_bytes() for p in recipe.workspace.glob("*.jsonl")}
    report, _, _ = run(recipe)
    assert report.counts["new"] == 0
    assert {p.name: p.read_bytes() for p in recipe.workspace.glob("*.jsonl")} == before


def test_changed_bytes_and_changed_claims_make_a_new_source(tmp_path: Path, make_video: Any) -> None:
    make_video(tmp_path / "clips" / "a.mp4", frames=30)
    write_table(tmp_path / "manifest.csv", [{"file": "a.mp4", "label": "normal"}])
    recipe = recipe_of(tmp_path, folder(tmp_path, columns={"file": "file", "class": "label"}))
    _, first, _ = run(recipe)
    make_video(tmp_path / "clips" / "a.mp4", frames=31)
    _, second, _ = run(recipe)
    write_table(tmp_path / "manifest.csv", [{"file": "a.mp4", "label": "collision"}])
    _, third, _ = run(recipe)
    assert len({s["a.mp4"].id for s in (first, second, third)}) == 3
    assert second["a.mp4"].duration_s == 3.1 and third["a.mp4"].events[0].classes == ("collision",)


def test_the_view_names_what_is_current(tmp_path: Path, make_video: Any) -> None:
    for name, frames in (("a", 30), ("b", 31)):
        make_video(tmp_path / "clips" / f"{name}.mp4", frames=frames)
    entry = folder(tmp_path, columns={"file": "file", "class": "label"})

    def current(rows: dict[str, str]) -> dict[str, str | None]:
        write_table(tmp_path / "manifest.csv", [{"file": f"{k}.mp4", "label": v} for k, v in rows.items()])
        recipe = recipe_of(tmp_path, entry)
        ws = Workspace(recipe.workspace)
        ingest.run(ws, recipe)
        ids = {row["source_id"] for row in ws.read_view("sources")}
        return {s.key[0]: s.events[0].event_class for s in ws.read(Source) if s.id in ids}

    assert current({"a": "normal", "b": "collision"}) == {"a": "normal", "b": "collision"}
    assert current({"a": "near-collision", "b": "not-driving"}) == {"a": "near_collision"}
    assert current({"a": "normal", "b": "collision"}) == {"a": "normal", "b": "collision"}


def test_a_renamed_and_relabelled_file_is_taken(tmp_path: Path, make_video: Any) -> None:
    clips = tmp_path / "clips"
    make_video(clips / "a.mp4")
    write_table(tmp_path / "manifest.csv", [{"file": "a.mp4", "label": "normal"}])
    recipe = recipe_of(tmp_path, folder(tmp_path, columns={"file": "file", "class": "label"}))
    run(recipe)
    (clips / "a.mp4").rename(clips / "b.mp4")
    write_table(tmp_path / "manifest.csv", [{"file": "b.mp4", "label": "collision"}])
    report, sources, _ = run(recipe)
    assert report.counts["new"] == 1 and sources["b.mp4"].events[0].classes == ("collision",)


def test_workers_change_nothing(broken: Path) -> None:
    _, one, _ = run(recipe_of(broken, folder(broken)))
    two = Workspace(broken / "ws2")
    ingest.run(two, recipe_of(broken, folder(broken), workers=2))
    assert list(two.read(Source)) == list(one.values())


def test_without_a_table_nothing_is_claimed(tmp_path: Path, make_video: Any) -> None:
    make_video(tmp_path / "clips" / "deep" / "a.MP4".lower())
    (tmp_path / "clips" / "notes.txt").write_text("not a video")
    _, sources, refusals = run(recipe_of(tmp_path, {"kind": "folder", "root": "clips"}))
    assert list(sources) == ["deep/a.mp4"] and not refusals
    source = sources["deep/a.mp4"]
    assert source.dataset == "clips" and source.events[0].classes == ("collision", "near_collision", "normal")


def test_keys_with_differing_rows_are_all_refused(tmp_path: Path, make_video: Any) -> None:
    for name in "abc":
        make_video(tmp_path / "clips" / f"{name}.mp4", frames=20 + ord(name) % 7)
    rows = [{"id": "1", "file": "a.mp4"}, {"id": "1", "file": "b.mp4"}, {"id": "2", "file": "c.mp4"}]
    write_table(tmp_path / "manifest.csv", rows)
    _, sources, refusals = run(recipe_of(tmp_path, folder(tmp_path, columns={"key": "id", "file": "file"})))
    assert set(sources) == {"2"} and refusals["x/1"].reason == "duplicate_id"


def test_jsonl_rows_are_read_and_refused_one_by_one(tmp_path: Path, make_video: Any) -> None:
    make_video(tmp_path / "clips" / "a.mp4")
    rows = [json.dumps({"file": "a.mp4", "label": "normal", "w": "rain"}), "{broken", '["list"]', '{"label": "normal"}']
    (tmp_path / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    entry = folder(tmp_path, table="rows.jsonl", columns={"class": "label"}, attributes={"weather": "w"})
    _, sources, refusals = run(recipe_of(tmp_path, entry))
    assert sources["a.mp4"].attributes == {"weather": "rain"}
    assert [r.reason for r in refusals.values()] == ["malformed_row", "malformed_row", "no_file"]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("event_s", "soon", "bad_time"),
        ("event_s", "nan", "bad_time"),
        ("alert_s", "1.9", "times_out_of_order"),
        ("ego_role", "hero", "unknown_value"),
        ("redistribute", "perhaps", "unknown_value"),
        ("trigger_s", "99", "event_after_end"),
        ("event_s", "1:02.5", "bad_time"),
        ("event_s", "1_0", "bad_time"),
        ("event_s", 10**400, "bad_time"),
        ("event_s", True, "bad_time"),
        ("event_s", 1e300, "event_after_end"),
        ("class", ["x"], "unknown_class"),
        ("drive", {"a": 1}, "unknown_value"),
        ("file", ["a.mp4"], "no_file"),
        ("file", "a\0b.mp4", "unreadable"),
        ("file", "\ud800.mp4", "not_utf8"),
        ("file", "nai\u0308f.mp4", "missing"),
    ],
)
def test_odd_values_are_refused(tmp_path: Path, make_video: Any, column: str, value: Any, reason: str) -> None:
    make_video(tmp_path / "clips" / "a.mp4")
    row = {"file": "a.mp4", "class": "collision", "event_s": "1.5"} | {column: value}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row), encoding="utf-8")
    entry = folder(tmp_path, table="rows.jsonl", columns={c: c for c in row})
    report, sources, refusals = run(recipe_of(tmp_path, entry))
    assert not sources and [r.reason for r in refusals.values()] == [reason] and not report.ok


@pytest.mark.parametrize("line", ['{"file": "a.mp4", "w": NaN}', '{"file": "a.mp4", "w": [1e999]}', "[" * 100_000])
def test_what_is_no_json_is_refused(tmp_path: Path, make_video: Any, line: str) -> None:
    make_video(tmp_path / "clips" / "a.mp4")
    make_video(tmp_path / "clips" / "b.mp4", frames=21)
    (tmp_path / "rows.jsonl").write_text(f'{{"file": "b.mp4", "w": 1}}\n{line}\n', encoding="utf-8")
    entry = folder(tmp_path, table="rows.jsonl", columns={}, attributes=["w"])
    _, sources, refusals = run(recipe_of(tmp_path, entry))
    assert list(sources) == ["b.mp4"] and [r.reason for r in refusals.values()] == ["malformed_row"]


@pytest.mark.parametrize("text", ["\ufefffile;label\na.mp4;normal\n", "\n\nfile\tlabel\r\na.mp4\tnormal\r\n,\n"])
def test_tables_as_spreadsheets_write_them(tmp_path: Path, make_video: Any, text: str) -> None:
    make_video(tmp_path / "clips" / "a.mp4")
    (tmp_path / "manifest.csv").write_text(text, encoding="utf-8", newline="")
    _, sources, _ = run(recipe_of(tmp_path, folder(tmp_path, columns={"class": "label"})))
    assert sources["a.mp4"].events[0].classes == ("normal",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"file,label,label\na.mp4,normal,collision\n", "2 columns are named 'label'"),
        (b"file,label\na.mp4," + b"x" * 200_000 + b"\n", "is a quote not closed"),
        ("file,label\na.mp4,normal\n".encode("utf-16"), "UTF-16"),
        (b"file,lable\n", "no column 'label'; did you mean 'lable'"),
        (b"", "no header line"),
    ],
)
def test_a_table_that_cannot_be_taken_apart_is_one_line(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "manifest.csv").write_bytes(text)
    with pytest.raises(AutodriveError, match=message) as e:
        run(recipe_of(tmp_path, folder(tmp_path, columns={"class": "label"})))
    assert "\n" not in str(e.value)


def test_a_quote_that_is_not_closed_names_its_rows(tmp_path: Path, make_video: Any) -> None:
    make_video(tmp_path / "clips" / "a.mp4")
    text = 'file,label\na.mp4,normal\n"b.mp4,normal\nc.mp4,normal\n'
    (tmp_path / "manifest.csv").write_text(text, encoding="utf-8")
    _, sources, refusals = run(recipe_of(tmp_path, folder(tmp_path, columns={"class": "label"})))
    assert list(sources) == ["a.mp4"]
    assert "a quote not closed (to line 4)" in refusals["x/manifest.csv:3"].detail


def test_odd_names_links_and_what_is_no_file(tmp_path: Path, make_video: Any) -> None:
    clips = tmp_path / "clips"
    for i, name in enumerate(["a b.mp4", "new\nline.mp4", "-x.mp4", "\u2603.mp4"]):
        make_video(clips / name, frames=20 + i)
    make_video(tmp_path / "elsewhere" / "o.mp4", frames=30)
    (clips / "out").symlink_to(tmp_path / "elsewhere")
    (clips / "loop.mp4").symlink_to(clips / "loop.mp4")
    (clips / "dir\n.mp4").mkdir()
    os.mkfifo(clips / "pipe.mp4")
    (clips / "absent.mp4").symlink_to(clips / "nothing.mp4")
    Path(os.fsdecode(bytes(clips) + b"/\xff.mp4")).touch()
    _, sources, refusals = run(recipe_of(tmp_path, {"kind": "folder", "dataset": "x", "root": "clips"}))
    assert set(sources) == {"a b.mp4", "new\nline.mp4", "-x.mp4", "\u2603.mp4"}
    reasons = {"x/loop.mp4": "unreadable", "x/dir .mp4": "unreadable", "x/pipe.mp4": "unreadable"}
    reasons |= {"x/absent.mp4": "missing", "x/\\udcff.mp4": "not_utf8"}
    assert {k.replace("\n", " "): r.reason for k, r in refusals.items()} == reasons
    assert all("\n" not in r.detail and r.id == replace(r, id="").id for r in refusals.values())
    table = [{"file": f, "label": "normal"} for f in ("out/o.mp4", str(tmp_path / "elsewhere" / "o.mp4"), ".")]
    write_table(tmp_path / "manifest.csv", table)
    report, _, refusals = run(recipe_of(tmp_path, folder(tmp_path, columns={"class": "label"})))
    assert report.counts["sources"] == 0 and report.data["refused"] == {"outside_root": 2, "unreadable": 1}


def test_two_folders_under_one_name_do_not_hide_each_other(tmp_path: Path, make_video: Any) -> None:
    for frames, (root, name) in enumerate([("one", "a"), ("one", "b"), ("two", "b"), ("two", "c")], 20):
        make_video(tmp_path / root / f"{name}.mp4", frames=frames)
    entries = [{"kind": "folder", "dataset": "x", "root": r} for r in ("one", "two")]
    _, sources, refusals = run(recipe_of(tmp_path, *entries))
    assert set(sources) == {"a.mp4", "c.mp4"} and "they differ" in refusals["x/b.mp4"].detail


def test_a_limit_keeps_what_it_does_not_reach_and_nothing_else(tmp_path: Path, make_video: Any) -> None:
    for frames, name in enumerate("abc", 20):
        make_video(tmp_path / "clips" / f"{name}.mp4", frames=frames)

    def current(label: str, limit: int | None) -> set[str]:
        write_table(tmp_path / "manifest.csv", [{"file": f"{n}.mp4", "label": label} for n in "abc"])
        recipe = recipe_of(tmp_path, folder(tmp_path, columns={"class": "label"}))
        ws = Workspace(recipe.workspace)
        ingest.run(ws, recipe, limit=limit)
        return {s.key for s in current_sources(ws).values()}

    assert current("normal", 2) == {"a.mp4", "b.mp4"}
    assert current("normal", None) == {"a.mp4", "b.mp4", "c.mp4"}
    assert current("not-driving", 1) == {"b.mp4", "c.mp4"}


def test_yaml_keys_that_are_numbers_or_booleans_map_text(tmp_path: Path, make_video: Any) -> None:
    make_video(tmp_path / "clips" / "a.mp4")
    make_video(tmp_path / "clips" / "b.mp4", frames=21)
    write_table(tmp_path / "manifest.csv", [{"file": "a.mp4", "label": "1"}, {"file": "b.mp4", "label": "0"}])
    values = {"class": {1: ["collision", "near_collision"], 0: "normal"}}
    _, sources, _ = run(recipe_of(tmp_path, folder(tmp_path, columns={"class": "label"}, values=values)))
    assert [sources[f"{n}.mp4"].events[0].classes for n in "ab"] == [("collision", "near_collision"), ("normal",)]


def test_a_wrong_recipe_is_said_before_any_work(tmp_path: Path, make_video: Any) -> None:
    make_video(tmp_path / "clips" / "a.mp4")
    write_table(tmp_path / "manifest.csv", [{"file": "a.mp4", "label": "normal"}])
    with pytest.raises(UsageError, match="no column 'lable'; did you mean 'label'"):
        run(recipe_of(tmp_path, folder(tmp_path, columns={"class": "lable"})))
    with pytest.raises(UsageError, match="no field 'klass'; did you mean 'class'"):
        run(recipe_of(tmp_path, folder(tmp_path, values={"klass": {"a": "b"}})))
    with pytest.raises(UsageError, match="no field 'licence'; did you mean 'licence_video'"):
        run(recipe_of(tmp_path, folder(tmp_path, defaults={"licence": "CC0"})))
    with pytest.raises(UsageError, match="trigger_s is no attribute"):
        run(recipe_of(tmp_path, folder(tmp_path, attributes=["trigger_s"])))
    with pytest.raises(UsageError, match="no such table"):
        run(recipe_of(tmp_path, folder(tmp_path, table="none.csv")))
    with pytest.raises(UsageError, match="no such folder"):
        run(recipe_of(tmp_path, {"kind": "folder", "root": "nowhere"}))
    with pytest.raises(UsageError, match="source kind 'foldr'"):
        run(recipe_of(tmp_path, {"kind": "foldr"}))
    with pytest.raises(UsageError, match="'tabel'; did you mean 'table'"):
        recipe_of(tmp_path, {"kind": "folder", "root": "clips", "tabel": "x"})


def test_nexar_as_kaggle_lays_it_out(tmp_path: Path, make_video: Any) -> None:
    make_video(tmp_path / "n" / "train" / "00003.mp4", frames=30)
    make_video(tmp_path / "n" / "train" / "01040.mp4", frames=31)
    table = "id,time_of_event,time_of_alert,target\n00003,1.9,1.2,1\n1040,,,0\n00004,20.0,19.0,1\n"
    (tmp_path / "n" / "train.csv").write_text(table, encoding="utf-8")
    _, sources, refusals = run(recipe_of(tmp_path, {"kind": "nexar", "root": "n"}))
    assert set(sources) == {"00003", "01040"} and refusals["nexar/00004"].reason == "missing"
    event = sources["00003"].events[0]
    assert (event.classes, event.time_s, event.alert_s) == (("collision", "near_collision"), 1.9, 1.2)
    assert sources["01040"].events[0].classes == ("normal",) and not sources["01040"].redistribute


def test_a_nexar_table_without_targets_is_said(tmp_path: Path) -> None:
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "train.csv").write_text("id,time_of_event,time_of_alert\n00003,1.9,1.2\n", encoding="utf-8")
    with pytest.raises(UsageError, match="no column 'target'"):
        run(recipe_of(tmp_path, {"kind": "nexar", "root": "n"}))


def test_nexar_as_hugging_face_lays_it_out(tmp_path: Path, make_video: Any) -> None:
    head = "file_name,time_of_event,time_of_alert,light_conditions,weather,scene\n"
    rows = {"positive": "pos01.mp4,1.5,1.0,Dark,Cloudy,Urban\n", "negative": "neg01.mp4,,,Normal,Odd,Rural\n"}
    for frames, (name, row) in enumerate(rows.items(), 30):
        at = tmp_path / "n" / "train" / name
        make_video(at / row.split(",")[0], frames=frames)
        (at / "metadata.csv").write_text(head + row, encoding="utf-8")
    _, sources, refusals = run(recipe_of(tmp_path, {"kind": "nexar", "root": "n"}))
    assert not refusals
    assert sources["pos01"].attributes == {"light": "night", "weather": "overcast", "road": "urban"}
    assert sources["neg01"].attributes == {"light": "day", "road": "rural"}
    assert sources["neg01"].events[0].classes == ("normal",) and sources["pos01"].events[0].time_s == 1.5


def test_demo_footage_is_read_with_its_times(tmp_path: Path) -> None:
    _, sources, refusals = run(recipe_of(tmp_path, {"kind": "demo", "triplets": 1, "drives": 1}))
    assert not refusals and len(sources) == 3
    assert {s.events[0].classes for s in sources.values()} == {("collision",), ("near_collision",), ("normal",)}
    assert (
        len({s.attributes["trigger_s"] for s in sources.values()}) == 1
        and len({s.drive for s in sources.values()}) == 1
    )
    basis = {s.events[0].classes[0]: s.events[0].time_basis for s in sources.values()}
    assert basis == {"collision": "contact", "near_collision": "closest_approach", "normal": "unknown"}
