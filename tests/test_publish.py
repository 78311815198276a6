from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from curation.errors import DataError, UsageError
from curation.publish import run
from curation.recipe import Recipe, load_recipe
from curation.records import WRITTEN_BY, verify
from curation.release import MANIFEST, Release, broken_files, next_version, write_manifest
from curation.store import Workspace
from curation.tasks import load_packs
from curation.types import FACTS, Clip, Decision, Event, Label, Review, Source

CLASSES = ("collision", "near_collision", "normal")


def value(name: str) -> dict[str, Any]:
    hit = name != "normal"
    return {"class": name, "alert_s": 2.0 if hit else None, "event_s": 3.0 if hit else None,
            "ego_role": "striking" if hit else "none", "partner": "car" if hit else None,
            "time_basis": "contact" if name == "collision" else "unknown"}  # fmt: skip


def recipe_at(folder: Path, **more: Any) -> Recipe:
    folder.mkdir(parents=True, exist_ok=True)
    data = {
        "name": "t",
        "workspace": ".",
        "sources": [{"kind": "demo", "triplets": 1, "drives": 1}],
        "tasks": [],
        **more,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(data))
    return load_recipe(folder / "recipe.yaml")


def fill(
    ws: Workspace, first: int, last: int, *, redistribute: bool = True, simulated: bool = False, basis: str = "agreed"
) -> None:
    """A workspace with clips first..last: three classes in turn, four clips a drive, and their labels and groups."""
    labels = ws.labels()
    rows = ws.read_view("groups")
    with ws.writer(Source) as sources, ws.writer(Clip) as clips:
        for i in range(first, last):
            media = ws.root / "m"
            media.write_bytes(f"media {i}".encode())
            name = CLASSES[i % 3]
            s = Source("d", str(i), f"{i}.mp4", f"{i:064}", 9.0, 10.0, 4, 4, drive=str(i // 4),
                       events=(Event((name,)),), attributes={"weather": "rain"}, redistribute=redistribute)  # fmt: skip
            c = Clip(
                s.id, "event", 0.0, 6.0, {"fps": 10}, events=s.events, blob=ws.add_blob(media), frames=60, fps=10.0,
                width=4, height=4,
            )  # fmt: skip
            sources.add(s)
            clips.add(c)
            labels.append(Label(c.id, "event", value(name), basis, simulated=simulated, raters=3))
            rows.append({"clip_id": c.id, "group": f"g{i // 4}"})
    ws.write_view("labels", labels)
    ws.write_view("groups", rows)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return recipe_at(tmp_path / "a")


def publish(recipe: Recipe) -> Release:
    report = run(Workspace(recipe.workspace), recipe)
    assert report.ok
    return Release(Path(report.data["release"]))


def test_a_release_holds_what_was_labelled(recipe: Recipe) -> None:
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 60)
    release = publish(recipe)
    assert (release.version, release.tasks, release.simulated) == ("1.0.0", ["event"], False)
    rows = release.rows("event")
    assert {r["clip_id"]: r["value"]["class"] for r in rows} == {x.clip_id: x.value["class"] for x in ws.labels()}
    assert {r["split"] for r in rows} == {"train", "validation", "test"}
    row = release.rows("event", "test")[0]
    assert row["messages"][0]["messages"][1]["content"] == f"<answer>\n{row['value']['class']}\n</answer>"
    assert row["attributes"] == [{"name": "weather", "value": "rain"}]
    assert release.video(row["clip_id"]).startswith(b"media")
    assert not broken_files(release.root)
    assert verify(recipe.workspace, None).ok


def test_groups_do_not_straddle_splits(recipe: Recipe) -> None:
    fill(Workspace(recipe.workspace), 0, 60)
    splits: dict[str, set[str]] = {}
    for row in publish(recipe).rows("event"):
        splits.setdefault(row["group"], set()).add(row["split"])
    assert len(splits) == 15
    assert all(len(s) == 1 for s in splits.values())


def test_same_facts_same_bytes_in_another_place(tmp_path: Path) -> None:
    roots = []
    for name in ("a", "b"):
        recipe = recipe_at(tmp_path / name)
        fill(Workspace(recipe.workspace), 0, 30)
        roots.append(publish(recipe).root)
    assert subprocess.run(["diff", "-r", *map(str, roots)], capture_output=True).returncode == 0


def test_unchanged_means_no_release_and_a_change_the_next_version(recipe: Recipe) -> None:
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 30)
    first = publish(recipe)
    assert run(ws, recipe).counts == {"unchanged": 1}
    fill(ws, 30, 45)
    second = publish(recipe)
    assert second.version == "1.1.0"
    assert second.info["parent"] == {"version": "1.0.0", "id": first.id}
    before = {r["clip_id"]: r["split"] for r in first.rows("event")}
    after = {r["clip_id"]: r["split"] for r in second.rows("event")}
    assert {c: after[c] for c in before} == before
    for split in ("train", "validation", "test"):  # the parent's rows first, in its order
        old = [r["clip_id"] for r in first.rows("event", split)]
        assert [r["clip_id"] for r in second.rows("event", split)][: len(old)] == old
    labels = ws.labels()
    ws.write_view(
        "labels", [*labels[:-1], Label(labels[-1].clip_id, "event", value("collision"), "adjudicated", raters=3)]
    )
    assert publish(recipe).version == "1.1.1"


def test_yanked_sources_leave_and_never_come_back_into_another_split(recipe: Recipe) -> None:
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 30)
    first = publish(recipe)
    gone = next(ws.read(Source))
    with ws.writer(Decision) as out:
        out.add(Decision(gone.id, "yank", "wrong", "me"))
    second = publish(recipe)
    assert len(second.rows("event")) == len(first.rows("event")) - 1
    assert (second.root / "splits.jsonl").read_text().count("\n") == 30


def test_media_that_may_not_be_redistributed_stays_home(recipe: Recipe) -> None:
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 12, redistribute=False)
    release = publish(recipe)
    clip = release.rows("event")[0]["clip_id"]
    with pytest.raises(DataError, match="may not be redistributed"):
        release.video(clip)
    assert b"media" not in b"".join(p.read_bytes() for p in (release.root / "media").iterdir()).replace(b"/media", b"")
    mine = Release(release.root, ws.root / "blobs")
    assert mine.video(clip).startswith(b"media")
    assert mine.clips[clip]["source_sha256"]


def test_other_bytes_than_the_released_are_refused(recipe: Recipe) -> None:
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 12, redistribute=False)
    release = Release(publish(recipe).root, ws.root / "blobs")
    clip = release.rows("event")[0]["clip_id"]
    ws.blob(release.clips[clip]["blob"]).write_bytes(b"other")
    with pytest.raises(DataError, match="hash differs"):
        release.video(clip)
    assert not verify(recipe.workspace, None).ok


@pytest.mark.filterwarnings("ignore")
def test_datasets_loads_it_as_it_says(recipe: Recipe, tmp_path: Path) -> None:
    from datasets import Video, load_dataset

    fill(Workspace(recipe.workspace), 0, 60)
    release = publish(recipe)
    loaded = load_dataset(str(release.root), cache_dir=str(tmp_path / "cache"))
    assert {s: loaded[s].num_rows for s in loaded} == {
        s: len(release.rows("event", s)) for s in ("train", "validation", "test")
    }
    assert loaded["test"][0]["value"] == release.rows("event", "test")[0]["value"]
    media = load_dataset(str(release.root), "media", cache_dir=str(tmp_path / "cache"))["clips"]
    rows = media.cast_column("video", Video(decode=False))
    assert rows[0]["video"]["bytes"] == release.video(rows[0]["clip_id"])


def test_simulated_and_weak_test_labels_are_said(recipe: Recipe) -> None:
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 60, simulated=True)
    release = publish(recipe)
    card = (release.root / "README.md").read_text()
    assert release.simulated
    assert "Simulated raters" in card
    assert "fewer than two raters" not in card


def test_what_nobody_has_reviewed_is_said(recipe: Recipe) -> None:
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 12)
    assert not [n for n in run(ws, recipe).notes if n.startswith("nobody")]
    fill(ws, 12, 15, basis="unreviewed")
    assert "nobody has reviewed event 3 of 15" in run(ws, recipe).notes


def test_an_incomplete_release_is_none(recipe: Recipe) -> None:
    fill(Workspace(recipe.workspace), 0, 12)
    release = publish(recipe)
    (release.root / "MANIFEST.sha256").unlink()
    with pytest.raises(DataError, match="not a complete release"):
        Release(release.root)
    assert publish(recipe).version == "1.0.0"


def test_a_touched_file_is_named(recipe: Recipe) -> None:
    fill(Workspace(recipe.workspace), 0, 12)
    root = publish(recipe).root
    (root / "splits.jsonl").write_text("")
    (root / "extra").write_text("")
    assert [line.rsplit("/", 1)[1] for line in broken_files(root)] == [
        "extra: not in the manifest",
        "splits.jsonl: changed",
    ]


def test_hostile_text_cannot_leave_its_place_in_the_card(tmp_path: Path) -> None:
    recipe = recipe_at(tmp_path, publish={"title": "<script>alert(1)</script> | # x\n---\nlicense: mit"})
    fill(Workspace(recipe.workspace), 0, 12)
    card = (publish(recipe).root / "README.md").read_text()
    front, body = card.removeprefix("---\n").split("\n---\n", 1)
    assert yaml.safe_load(front)["license"] == "other"
    assert "<script>" not in body


def test_versions() -> None:
    assert next_version(None, "patch") == "1.0.0"


def recut(ws: Workspace) -> None:
    """The same sources cut anew, as after a change of the recipe's clip settings: every clip has another id."""
    media = ws.root / "m"
    labels, rows = [], []
    groups = {row["clip_id"]: row["group"] for row in ws.read_view("groups")}
    with ws.writer(Clip) as out:
        for old, label in zip(list(ws.read(Clip)), ws.labels(), strict=True):
            new = replace(old, profile={"fps": 5}, blob=ws.add_blob(media), id="")
            out.add(new)
            labels.append(replace(label, clip_id=new.id, id=""))
            rows.append({"clip_id": new.id, "group": groups[old.id]})
            rows.append({"clip_id": old.id, "group": groups[old.id], "current": False})
    ws.write_view("labels", labels)
    ws.write_view("groups", rows)


def by_drive(release: Release) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in release.rows("event"):
        found.setdefault(row["group"], set()).add(row["split"])
    return found


def test_a_drive_keeps_its_split_when_everything_is_cut_anew(recipe: Recipe, tmp_path: Path) -> None:
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 120)
    first = by_drive(publish(recipe))
    recut(ws)
    other = recipe_at(tmp_path / "a", seed=5)  # another seed deals new groups otherwise
    assert by_drive(publish(other)) == first


def test_a_split_that_the_recipe_no_longer_names_is_still_told(recipe: Recipe, tmp_path: Path) -> None:
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 60)
    publish(recipe)
    fill(ws, 60, 72)
    release = publish(recipe_at(tmp_path / "a", publish={"splits": {"train": 1, "test": 1}}))
    assert release.info["splits"]["validation"]["clips"] == len(release.rows("event", "validation")) > 0
    assert "data/event/validation-*.parquet" in (release.root / "README.md").read_text()


@pytest.mark.parametrize("splits", [{}, {"train": 0}, {"../x": 1}, {"train": 1, "val": 1}])
def test_splits_that_make_no_sense_are_no_recipe(tmp_path: Path, splits: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="publish"):
        recipe_at(tmp_path, publish={"splits": splits})


def test_a_release_without_test_clips_is_one(tmp_path: Path) -> None:
    recipe = recipe_at(tmp_path, publish={"splits": {"train": 1}})
    fill(Workspace(recipe.workspace), 0, 12)
    release = publish(recipe)
    assert release.rows("event", "test") == []
    assert release.info["test_labels"] == {"n": 0, "below_two_raters": 0}


def test_what_only_the_card_tells_makes_a_patch_and_the_same_data_keep_their_id(recipe: Recipe, tmp_path: Path) -> None:
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 12)
    first = publish(recipe)
    assert publish(recipe_at(tmp_path / "a", finetune={"max_steps": 9})).version == "1.0.0"
    second = publish(recipe_at(tmp_path / "a", publish={"licence": "cc-by-4.0"}))
    assert (second.version, second.id) == ("1.0.1", first.id)
    assert "license: cc-by-4.0" in (second.root / "README.md").read_text()


def test_a_clip_without_media_or_with_other_media_is_one_error(recipe: Recipe) -> None:
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 3)
    blob = ws.blob(next(ws.read(Clip)).blob)
    blob.write_bytes(b"other")
    with pytest.raises(DataError, match="not what its name says"):
        publish(recipe)
    blob.unlink()
    with pytest.raises(DataError, match=r"is missing; restore it, or yank"):
        publish(recipe)


def test_a_clip_without_a_group_is_not_dropped_in_silence(recipe: Recipe) -> None:
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 12)
    ws.write_view("groups", ws.read_view("groups")[1:])
    with pytest.raises(DataError, match="without a group"):
        publish(recipe)


def test_an_enforced_gate_that_was_never_measured_is_closed(tmp_path: Path) -> None:
    recipe = recipe_at(tmp_path, gate={"enforce": True})
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 12)
    report = run(ws, recipe)
    assert not report.ok
    assert "autodrive agree" in report.notes[0]


def test_a_gate_without_anybody_to_judge_is_no_gate(tmp_path: Path) -> None:
    recipe = recipe_at(tmp_path, gate={"enforce": True}, event={"basis": "source"})
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 12, basis="source")
    report = run(ws, recipe)
    assert not report.ok and "nothing to judge" in report.notes[0]


def test_simulated_agreement_marks_a_release_of_trusted_labels(recipe: Recipe) -> None:
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 12, basis="source")
    score = {"value": None, "reason": "x"}
    row = {
        "field": "event.class",
        "level": "nominal",
        "n_raters": 3,
        "n_units": 9,
        "raw": score,
        "alpha": score,
        "ac1": score,
    }
    ws.write_view("agreement", [{**row, "simulated": True}])
    release = publish(recipe)
    assert release.simulated
    assert "simulated raters" in (release.root / "README.md").read_text()


def test_only_the_files_of_a_pack_go_out(tmp_path: Path) -> None:
    pack = tmp_path / "packs" / "caption"
    shutil.copytree(Path(__file__).parent.parent / "schemas" / "caption", pack)
    (pack / ".env").write_text("KEY=secret")
    (pack / "notes").mkdir()
    recipe = recipe_at(tmp_path, tasks=["packs/caption"])
    fill(Workspace(recipe.workspace), 0, 3)
    found = {p.name for p in (publish(recipe).root / "schemas" / "caption").iterdir()}
    assert found == {"schema.json", "task.json", "template.json", "prompt.md", "review.xml", "examples.jsonl"}


def test_what_a_killed_run_left_is_swept_and_never_taken_for_a_release(recipe: Recipe) -> None:
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 12)
    first = publish(recipe)
    shutil.copytree(first.root, ws.root / "releases" / ".part")
    (ws.root / "releases" / ".part" / "README.md").write_text("half")
    assert verify(recipe.workspace, None).ok
    assert run(ws, recipe).counts == {"unchanged": 1}
    assert [p.name for p in (ws.root / "releases").iterdir()] == ["1.0.0"]


def test_a_release_without_its_manifest_is_broken(recipe: Recipe) -> None:
    fill(Workspace(recipe.workspace), 0, 12)
    root = publish(recipe).root
    (root / MANIFEST).unlink()
    assert verify(recipe.workspace, None).notes == [f"{root}: {MANIFEST} is missing"]


def test_an_id_of_other_files_is_broken(recipe: Recipe) -> None:
    fill(Workspace(recipe.workspace), 0, 12)
    root = publish(recipe).root
    info = json.loads((root / "release.json").read_text())
    (root / "release.json").write_text(json.dumps({**info, "id": "release1_0"}))
    write_manifest(root)
    assert broken_files(root) == [f"{root / 'release.json'}: the id is of other files"]


def test_verify_lists_all_that_broke_and_goes_on(recipe: Recipe) -> None:
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 3)
    lines = ws.path(Source).read_bytes().splitlines(keepends=True)
    ws.path(Source).write_bytes(lines[0] * 2 + b"broken\n" + lines[1])
    ws.blob(next(ws.read(Clip)).blob).unlink()
    report = verify(recipe.workspace, None)
    assert not report.ok
    for word in ("2 times", ":3: not JSON", "is missing"):
        assert any(word in note for note in report.notes), word


def test_verify_sees_events_that_are_not_those_of_the_source(recipe: Recipe) -> None:
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 3)
    lines = ws.path(Clip).read_bytes()
    for edited in (b'"near_collision"', b'"normal"'):
        ws.path(Clip).write_bytes(lines.replace(b'"collision"', edited))
        (told,) = verify(recipe.workspace, None).notes
        assert told.startswith(f"{ws.path(Clip)}:1: its events are not those of source1_")
    ws.path(Clip).write_bytes(lines)
    assert verify(recipe.workspace, None).ok


def test_verify_names_a_torn_last_line_until_it_is_written_again(recipe: Recipe) -> None:
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 3)
    review = Review("c", "event", "user-1", "triage", "reject")
    with ws.writer(Review) as out:
        out.add(review)
    whole = ws.path(Review).read_bytes()
    ws.path(Review).write_bytes(whole[:-20])
    (told,) = verify(recipe.workspace, None).notes
    assert told.startswith(f"{ws.path(Review)}: its last line is torn") and "`autodrive review pull`" in told
    with ws.writer(Review) as out:
        assert out.add(review)
    assert ws.path(Review).read_bytes() == whole and verify(recipe.workspace, None).ok
    assert WRITTEN_BY.keys() == FACTS.keys()


def test_clips_before_an_event_are_told_as_what_they_are(tmp_path: Path) -> None:
    """They have texts, but no class; their outcome has no task pack and stays in the workspace."""
    recipe = recipe_at(tmp_path / "a", tasks=["caption"])
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 60)
    parent = next(ws.read(Clip))
    early = replace(parent, role="pre_event", end_s=2.0, parent_id=parent.id, horizon_s=1.0, visible=True, id="")
    with ws.writer(Clip) as out:
        out.add(early)
    group = next(row["group"] for row in ws.read_view("groups") if row["clip_id"] == parent.id)
    ws.write_view("groups", [*ws.read_view("groups"), {"clip_id": early.id, "group": group}])
    text = Label(early.id, "caption", load_packs(["caption"])["caption"].examples[0]["value"], "single", raters=1)
    outcome = Label(
        early.id, "outcome", {"outcome": "collision", "horizon_s": 1.0, "visible": True}, "agreed", raters=3
    )
    ws.write_view("labels", [*ws.labels(), text, outcome])
    report = run(ws, recipe)
    assert "1 labels of 'outcome' stay here: no task pack of that name" in report.notes
    release = Release(Path(report.data["release"]))
    assert release.tasks == ["event", "caption"]
    assert [row["slice"] for row in release.rows("caption")] == ["pre_event"]
    assert early.id not in {row["clip_id"] for row in release.rows("event")}
    told = release.info["splits"].values()
    assert sum(s["clips"] for s in told) == 61
    assert sum(n for s in told for n in s["classes"].values()) == 60
    assert len({row["split"] for t in release.tasks for row in release.rows(t) if row["group"] == group}) == 1


def test_a_task_less_is_a_major_change_and_a_task_more_a_minor_one(recipe: Recipe, tmp_path: Path) -> None:
    ws = Workspace(recipe.workspace)
    fill(ws, 0, 12)
    publish(recipe)
    clip = next(ws.read(Clip))
    text = Label(clip.id, "caption", load_packs(["caption"])["caption"].examples[0]["value"], "single", raters=1)
    ws.write_view("labels", [*ws.labels(), text])
    more = publish(recipe_at(tmp_path / "a", tasks=["caption"]))
    assert (more.version, more.tasks) == ("1.1.0", ["event", "caption"])
    less = publish(recipe_at(tmp_path / "a"))
    assert (less.version, less.tasks) == ("2.0.0", ["event"])
