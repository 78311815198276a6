from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from curation import clip, media
from curation.clip import plan
from curation.errors import UsageError
from curation.groups import groups, near_duplicates
from curation.ids import sha256_file
from curation.recipe import Recipe, load_recipe, schema
from curation.store import Workspace
from curation.types import Clip, Event, Refusal, Source

CONFIG = {k: v["default"] for k, v in schema()["$defs"]["clip"]["properties"].items()}
ANY = ("collision", "near_collision", "normal")


def source(key: str = "a", duration: float = 40.0, *events: Event, **fields: Any) -> Source:
    known = {"dataset": "x", "uri": f"{key}.mp4", "sha256": f"bytes of {key}", "fps": 30.0, "width": 64, "height": 48}
    return Source(**{**known, "key": key, "duration_s": duration, "events": events, **fields})


def windows(s: Source, seed: int = 0, others: tuple[Source, ...] = (), **config: Any) -> list[Clip]:
    planned = plan([s, *others], CONFIG | config, seed)[0][s.id]
    assert all(clip.follows(c, s) for c in planned), "verify would take it for edited"
    return planned


CRASH = Event(("collision",), alert_s=18.5, time_s=20.0, end_s=21.0)
NORMAL = Event(("normal",), ego_role="none")


# -- windows -------------------------------------------------------------------------------------------------------


def test_the_event_lies_uniformly_within_its_part_of_the_window() -> None:
    places = []
    for i in range(400):
        (w,) = windows(source(str(i), 40.0, CRASH))
        assert w.role == "event" and w.end_s - w.start_s == pytest.approx(6)
        assert w.events[0].time_s == pytest.approx(20 - w.start_s) and w.events[0].event_class == "collision"
        places.append((20 - w.start_s) / 6)
    assert 0.35 <= min(places) < 0.37 and 0.83 < max(places) <= 0.85
    quarters = Counter(int((p - 0.35) / 0.125001) for p in places)
    assert all(70 <= quarters[q] <= 130 for q in range(4))  # 100 expected, sd 8.7


def test_a_place_given_backwards_is_the_same_place() -> None:
    s = source("a", 40.0, CRASH)
    assert windows(s, event_place=[0.85, 0.35]) == windows(s)


def test_seed_and_source_alone_decide() -> None:
    s = source("a", 40.0, CRASH)
    assert windows(s) == windows(s, others=(source("b", 9.0, CRASH),)) != windows(s, seed=1)


@given(st.floats(0, 40), st.floats(2, 40), st.floats(2, 12))
def test_windows_stay_in_the_video_and_show_their_event(time: float, duration: float, length: float) -> None:
    s = source("a", duration, Event(("collision",), time_s=min(time, duration)))
    for w in windows(s, length_s=length, horizons_s=[0.5, 1.5]):
        assert -1e-9 <= w.start_s < w.end_s <= duration + 1e-3
        if w.role == "event":
            assert w.end_s - w.start_s == pytest.approx(min(length, duration), abs=2e-3)
            assert w.events[0].time_s is not None


def test_a_trigger_places_every_class_alike() -> None:
    members = [
        source("a", 12.0, Event(("collision",), alert_s=5.0, time_s=6.2), attributes={"trigger_s": 6.0}),
        source("b", 12.0, Event(("near_collision",), alert_s=5.0, time_s=7.1), attributes={"trigger_s": 6.0}),
        source("c", 12.0, NORMAL, attributes={"trigger_s": 6.0}),
    ]
    planned, refused = plan(members, CONFIG, 0)
    found = [planned[m.id] for m in members]
    assert not refused and [[w.role for w in ws] for ws in found] == [["event"], ["event"], ["background"]]
    assert all(0.35 <= (6.0 - w.start_s) / 6 <= 0.85 for ws in found for w in ws)


def test_a_trigger_that_misses_the_event_is_refused() -> None:
    s = source("a", 40.0, CRASH, attributes={"trigger_s": 2.0})
    planned, refused = plan([s], CONFIG, 0)
    assert not planned[s.id] and [r.reason for r in refused] == ["trigger_misses_event"]


def test_short_sources_are_taken_whole_and_the_shortest_refused() -> None:
    (w,) = windows(source("a", 5.0, replace(CRASH, alert_s=None, time_s=4.5, end_s=None)))
    assert (w.start_s, w.end_s, w.events[0].time_s) == (0.0, 5.0, 4.5)
    _, refused = plan([source("a", 1.0, NORMAL), source("b", 30.0, Event(("collision",)))], CONFIG, 0)
    assert [r.reason for r in refused] == ["too_short", "no_event_time"]
    (w,) = windows(source("c", 5.0, Event(("collision",))))
    assert w.role == "event" and w.events[0].time_s is None


def test_background_windows_lie_anywhere_and_match_the_events_in_length() -> None:
    short = tuple(source(f"e{i}", d, Event(("collision",), time_s=2.0)) for i, d in enumerate([3.0, 4.0, 30.0]))
    found = [windows(source(f"n{i}", 30.0, NORMAL), others=short) for i in range(300)]
    assert all([w.role for w in ws] == ["background"] for ws in found)
    lengths = Counter(round(ws[0].end_s - ws[0].start_s, 3) for ws in found)
    assert set(lengths) == {3.0, 4.0, 6.0} and min(lengths.values()) > 60
    starts = [ws[0].start_s / (30 - ws[0].end_s + ws[0].start_s) for ws in found]
    assert min(starts) < 0.05 and max(starts) > 0.95
    other = source("m", 30.0, NORMAL, dataset="y")
    assert [w.end_s - w.start_s for w in windows(other, others=short)] == [pytest.approx(6)]


def test_background_of_event_sources_ends_before_the_alert() -> None:
    for i in range(50):
        found = windows(source(str(i), 40.0, CRASH), background_from_events=True, background_per_source=2)
        assert [w.role for w in found] == ["event", "background", "background"]
        assert all(w.end_s <= 18.5 and w.events[0].classes == ("normal",) for w in found[1:])
    unmarked = source("u", 40.0, Event(("collision",), time_s=12.0))
    assert windows(unmarked, background_from_events=True)[1].end_s <= 7.0
    assert len(windows(source("v", 40.0, Event(("collision",), time_s=9.0)), background_from_events=True)) == 1


def test_what_is_unknown_stays_unknown() -> None:
    (w,) = windows(source("a", 40.0, Event(ANY)))
    assert w.role == "background" and w.events == (Event(ANY),)
    (w,) = windows(source("b", 40.0, Event(("collision", "near_collision"), time_s=9.0)))
    assert w.role == "event" and w.events[0].classes == ("collision", "near_collision")


def test_pre_event_windows_end_at_their_horizon() -> None:
    s = source("a", 40.0, CRASH)
    event, early, late = windows(s, horizons_s=[3.0, 0.5])
    assert (early.end_s, late.end_s) == (17.0, 19.5) and (early.visible, late.visible) == (False, True)
    assert early.start_s == 11.0 and early.events == () and event.parent_id is None
    assert {early.parent_id, late.parent_id} == {event.id} and early.role == late.role == "pre_event"
    unmarked = windows(source("c", 40.0, replace(CRASH, alert_s=None)), horizons_s=[0.5])
    assert unmarked[1].visible is None
    assert not windows(source("b", 40.0, replace(CRASH, alert_s=1.0, time_s=2.0, end_s=None)), horizons_s=[1.0])[1:]


def test_times_outside_a_window_are_none() -> None:
    long = Event(("collision",), alert_s=1.0, time_s=20.0, end_s=39.0)
    (w,) = windows(source("a", 40.0, long))
    assert w.events[0].alert_s is None and w.events[0].end_s is None and w.events[0].time_s is not None


# -- the stage -----------------------------------------------------------------------------------------------------


def recipe_of(tmp_path: Path, **sections: Any) -> Recipe:
    path = tmp_path / "recipe.yaml"
    data = {"name": "t", "workspace": "ws", "workers": 1, "sources": [{"kind": "folder", "root": "clips"}], **sections}
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return load_recipe(path)


@pytest.mark.parametrize("clip_section", [{"crf": 0}, {"fps": 0.0001}, {"fps": 1e9}, {"lenght_s": 6}])
def test_what_no_browser_would_play_is_no_recipe(tmp_path: Path, clip_section: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="clip"):
        recipe_of(tmp_path, clip=clip_section)


@pytest.fixture
def footage(tmp_path: Path, make_video: Any) -> tuple[Workspace, list[Source]]:
    """A workspace with an event video (8 s) and a normal one (5 s) that are ingested."""
    ws = Workspace(tmp_path / "ws")
    made = []
    for name, seconds, event in (("e", 8, Event(("collision",), alert_s=3.0, time_s=4.0)), ("n", 5, NORMAL)):
        path = make_video(tmp_path / "clips" / f"{name}.mp4", frames=seconds * 20, fps=20)
        fields = {"sha256": sha256_file(path), "root": str(path.parent)}
        made.append(source(name, float(seconds), event, **fields))
    with ws.writer(Source) as out:
        for s in made:
            out.add(s)
    return ws, made


def test_clips_are_cut_measured_and_grouped(tmp_path: Path, footage: Any, frame_number: Any) -> None:
    ws, (event, normal) = footage
    report = clip.run(ws, recipe_of(tmp_path, clip={"length_s": 3, "horizons_s": [1.0]}))
    assert report.ok and report.counts["clips"] == 3 and report.counts["event"] == 1
    clips = {c.role: c for c in ws.read(Clip)}
    assert {r: c.source_id for r, c in clips.items()} == {
        "event": event.id,
        "pre_event": event.id,
        "background": normal.id,
    }
    for c in clips.values():
        assert sha256_file(ws.blob(c.blob)) == c.blob and c.fps == 10 and len(c.phashes) == round(c.duration_s * 2)
        images, _ = media.sample_frames(ws.blob(c.blob), times=[0.0])
        assert abs(frame_number(images[0]) - c.start_s * 20) <= 1
    assert clips["event"].frames == 30 and clips["pre_event"].end_s == 3.0 and clips["pre_event"].visible is False
    rows = {r["clip_id"]: r for r in ws.read_view("groups")}
    assert rows[clips["event"].id]["group"] == rows[clips["pre_event"].id]["group"]
    assert rows[clips["event"].id]["group"] != rows[clips["background"].id]["group"]
    assert all(r["current"] for r in rows.values())
    assert not (ws.root / ".cut").exists()


def test_a_second_run_cuts_nothing_and_a_killed_one_is_finished(tmp_path: Path, footage: Any) -> None:
    ws, _ = footage
    recipe = recipe_of(tmp_path)
    clip.run(ws, recipe)
    whole = (ws.root / "clips.jsonl").read_bytes()
    assert clip.run(ws, recipe).counts.get("new", 0) == 0 and (ws.root / "clips.jsonl").read_bytes() == whole
    (ws.root / "clips.jsonl").write_bytes(whole[: whole.index(b"\n") + 9])  # killed within the second line
    (ws.root / ".cut").mkdir()
    clip.run(ws, recipe)
    assert (ws.root / "clips.jsonl").read_bytes() == whole


def test_workers_change_nothing(tmp_path: Path, footage: Any) -> None:
    ws, sources = footage
    clip.run(ws, recipe_of(tmp_path))
    other = Workspace(tmp_path / "other")
    with other.writer(Source) as out:
        for s in sources:
            out.add(s)
    clip.run(other, recipe_of(tmp_path, workers=2))
    assert (other.root / "clips.jsonl").read_bytes() == (ws.root / "clips.jsonl").read_bytes()


def test_a_source_that_changed_or_went_is_refused(tmp_path: Path, footage: Any, make_video: Any) -> None:
    ws, _ = footage
    make_video(tmp_path / "clips" / "e.mp4", frames=30)
    (tmp_path / "clips" / "n.mp4").unlink()
    report = clip.run(ws, recipe_of(tmp_path))
    assert not report.ok and {r.reason for r in ws.read(Refusal)} == {"changed", "missing"}


def test_clips_of_another_profile_are_kept_but_not_current(tmp_path: Path, footage: Any) -> None:
    ws, _ = footage
    clip.run(ws, recipe_of(tmp_path))
    report = clip.run(ws, recipe_of(tmp_path, clip={"fps": 5}))
    assert report.counts["clips"] == 2 and report.counts["new"] == 2
    fps = {c.id: c.fps for c in ws.read(Clip)}
    assert {r["current"]: fps[r["clip_id"]] for r in ws.read_view("groups")} == {True: 5, False: 10}


def test_a_class_that_one_corpus_only_has_is_an_error(tmp_path: Path, footage: Any, make_video: Any) -> None:
    ws, _ = footage
    path = make_video(tmp_path / "clips" / "o.mp4", frames=60)
    with ws.writer(Source) as out:
        out.add(source("o", 6.0, NORMAL, dataset="other", sha256=sha256_file(path), root=str(path.parent)))
    report = clip.run(ws, recipe_of(tmp_path))
    assert not report.ok and [n for n in report.notes if "class collision comes from x only" in n]
    assert not [n for n in report.notes if "class normal" in n]
    assert clip.run(ws, recipe_of(tmp_path, clip={"confined_classes": "allow"})).ok


# -- groups and near-duplicates ------------------------------------------------------------------------------------


def walk(seed: int, frames: int, flips: int = 4) -> list[int]:
    """Hashes of a moving scene: each differs from the last by up to `flips` bits."""
    r = random.Random(seed)
    value = r.getrandbits(64)
    out = []
    for _ in range(frames):
        for _ in range(flips):
            value ^= 1 << r.randrange(64)
        out.append(value)
    return out


def text(values: list[int], noise: int = 0, seed: int = 0) -> tuple[str, ...]:
    r = random.Random(seed)
    return tuple(f"{v ^ sum({1 << r.randrange(64) for _ in range(noise)}):016x}" for v in values)


def test_copies_are_found_through_noise_and_shifts_and_nothing_else() -> None:
    scenes = {f"s{i}": walk(i, 24) for i in range(300)}
    clips = {k: text(v[:12]) for k, v in scenes.items()}
    clips["noisy"] = text(scenes["s7"][:12], noise=4, seed=1)
    clips["later"] = text(scenes["s9"][5:17], noise=2, seed=2)
    found = near_duplicates(clips.items())
    assert found == [("later", "s9"), ("noisy", "s7")]


def test_static_and_shapeless_scenes_do_not_match_each_other() -> None:
    parked = walk(3, 1)[0]
    near = [parked ^ 0b111 << 8 * i for i in range(4)]
    clips = {f"p{i}": text([v] * 12) for i, v in enumerate(near)} | {f"dark{i}": ("",) * 12 for i in range(9)}
    assert near_duplicates(clips.items()) == []
    assert near_duplicates({"a": text([parked] * 12), "b": text([parked] * 12)}.items()) == [("a", "b")]
    half_dark = ("",) * 8 + text(walk(5, 4))
    assert near_duplicates({"a": half_dark, "b": half_dark}.items()) == []


def test_a_short_likeness_links_nothing() -> None:
    common = walk(1, 4)
    clips = {f"c{i:03}": text(walk(100 + i, 8) + common) for i in range(200)}
    assert near_duplicates(clips.items()) == []
    ends, begins = text(walk(5, 8) + common), text(common + walk(6, 8))
    assert near_duplicates({"a": ends, "b": begins}.items()) == []
    assert len(near_duplicates({"a": text(common), "b": text(common)}.items())) == 1  # all there is of short clips


def test_many_copies_hang_together() -> None:
    scene = walk(1, 12)
    found = near_duplicates((f"c{i:03}", text(scene, noise=1, seed=i)) for i in range(100))
    linked = {x for pair in found for x in pair}
    assert len(linked) == 100 and len(found) < 100 * 99 / 2


def test_groups_hold_drives_bytes_and_copies_together() -> None:
    sources = [
        source("a", drive="d1"),
        source("b", drive="d1"),
        source("c", drive="d1", dataset="y"),
        source("d", upload="u"),
        source("e"),
        source("f", sha256="bytes of e"),
        source("g"),
    ]
    same = text(walk(1, 12))
    hashes = {"d": same, "g": same}
    clips = {
        s.key: Clip(s.id, "event", 0, 6, {}, phashes=hashes.get(s.key, text(walk(ord(s.key), 12)))) for s in sources
    }
    found = groups(clips.values(), {s.id: s for s in sources})
    group = {k: found[c.id] for k, c in clips.items()}
    assert group["a"] == group["b"] and group["e"] == group["f"] and group["d"] == group["g"]
    assert len(set(group.values())) == 4 and all(g.startswith("group1_") for g in group.values())
