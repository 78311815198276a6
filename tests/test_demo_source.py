"""The demo footage: true times, equal up to the alert, and nothing but what happens tells the classes apart."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path

import av
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from curation.sources.demo import name_of, render
from curation.sources.demo_draw import frames, paint
from curation.sources.demo_scene import CAUSES, CLASSES, FPS, GENTLE, LENGTH_S, Scene, T, simulate

SIZE = (64, 42)
TOUCH = 0.02  # metres; less is contact
HARD = 4.5  # m/s²: an evasive braking reaches it
TRIPLETS, DRIVES = 32, 8
SCENES = {(n, c): simulate(5, n, c, drives=DRIVES) for n in range(120) for c in CLASSES}


def decode(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def table(manifest: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(manifest.read_text())))


def tree(out: Path) -> dict[str, str]:
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in out.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(
        tmp_path_factory.mktemp("demo"), triplets=TRIPLETS, drives=DRIVES, seed=5, size=SIZE, workers=1
    ).parent


# What happens


def test_bodies_touch_in_collisions_only_and_first_at_the_event() -> None:
    for (_, label), s in SCENES.items():
        gap = s.clearance()
        if label == "collision":
            assert s.event_s is not None
            assert np.flatnonzero(gap < TOUCH)[0] == round(s.event_s * FPS)
            assert gap[-1] > 1, "bodies separate again"
        elif label == "near_collision":
            assert s.event_s is not None
            assert 0.8 < gap.min() < 2.3
            assert gap[round(s.event_s * FPS)] < gap.min() + 0.11
        else:
            assert s.event_s is None
            assert gap[round(s.alert_s * FPS) :].min() > 1.0


def braking(s: Scene) -> float:
    """The hardest slowing of the ego car from the alert to just before the event (or the end), m/s²."""
    end = s.event_s if s.event_s is not None else LENGTH_S
    during = (s.alert_s <= T) & (end >= T)
    return float(-np.min(np.diff(s.speed[during]))) * FPS


def test_evasion_is_hard_in_near_collisions_and_absent_in_normal() -> None:
    near = [braking(s) for (_, c), s in SCENES.items() if c == "near_collision"]
    normal = [braking(s) for (_, c), s in SCENES.items() if c == "normal"]
    assert min(near) > HARD
    assert max(normal) < GENTLE
    sideways = [np.abs(np.diff(s.x)).max() * FPS for (_, c), s in SCENES.items() if c == "normal"]
    assert max(sideways) < 1.0


def test_any_window_of_six_seconds_shows_alert_event_and_aftermath() -> None:
    for s in SCENES.values():
        assert LENGTH_S - 6 <= s.alert_s < s.trigger_s
        assert s.event_s is None or s.alert_s < s.event_s <= 6.0
        assert abs(s.trigger_s - s.alert_s) < 2


def state(s: Scene) -> np.ndarray:
    own = [s.x, s.z, s.speed, s.yaw, s.pitch, s.roll]
    return np.array([*own, *(v for a in s.actors for v in (a.x, a.z, a.heading, a.brake))], dtype=float)


def test_scenes_of_a_triplet_are_equal_up_to_the_alert_and_differ_soon_after() -> None:
    for n in range(120):
        states = [state(SCENES[n, c]) for c in CLASSES]
        at = round(SCENES[n, "normal"].alert_s * 10)
        for other in states[1:]:
            assert np.array_equal(states[0][:, :at], other[:, :at])
            assert not np.allclose(states[0][:, : at + 8], other[:, : at + 8])
        assert len({SCENES[n, c].trigger_s for c in CLASSES}) == 1


def test_causes_and_drives_are_balanced() -> None:
    seen: dict[str, set[str]] = {}
    for (n, _), s in SCENES.items():
        seen.setdefault(s.drive.key, set()).add(s.cause)
        assert s.drive == SCENES[n % DRIVES, "normal"].drive
    assert len(seen) == DRIVES
    assert all(causes == set(CAUSES) for causes in seen.values())
    assert {SCENES[n, "collision"].role for n in range(120)} == {"striking", "struck"}


def test_drawn_frames_are_equal_up_to_the_alert_and_not_afterwards() -> None:
    for n in (0, 1):
        drawn = [list(frames(SCENES[n, c], SIZE)) for c in CLASSES]
        at = round(SCENES[n, "normal"].alert_s * 10)
        for other in drawn[1:]:
            assert np.array_equal(drawn[0][:at], other[:at])
            assert not np.array_equal(drawn[0][at + 8 :], other[at + 8 :])


def test_a_jolt_leaves_no_black_corner() -> None:
    s = SCENES[0, "collision"]
    s_roll = simulate(5, 0, "collision", drives=DRIVES)
    s_roll.roll = s.roll + 0.12
    for f in (10, 45):
        image = np.asarray(paint(s_roll, f, SIZE)).astype(int)
        assert min(image[0, 0].sum(), image[0, -1].sum()) > 60


# The files


def test_files_are_playable_h264_with_exact_frames(footage: Path) -> None:
    rows = table(footage / "manifest.csv")
    assert len(rows) == 3 * TRIPLETS
    for row in rows[:12]:
        with av.open(str(footage / row["file"])) as container:
            stream = container.streams.video[0]
            got = list(container.decode(video=0))
            assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 10)
            assert stream.frames == len(got) == LENGTH_S * 10
            assert got[0].pts == 0 and got[-1].time == pytest.approx(8.9)
            assert [i for i, f in enumerate(got) if f.key_frame] == list(range(0, 90, 10))
            assert "creation_time" not in container.metadata
            assert len(container.streams) == 1


def test_the_manifest_says_what_was_simulated(footage: Path) -> None:
    rows = {row["file"]: row for row in table(footage / "manifest.csv")}
    for n in range(TRIPLETS):
        for label in CLASSES:
            s = SCENES[n, label]
            row = rows[f"clips/{name_of(5, n, DRIVES, SIZE, label=label)}"]
            assert (row["label"], row["drive"], row["cause"]) == (label, s.drive.key, s.cause)
            assert float(row["trigger_s"]) == s.trigger_s
            if label == "normal":
                assert (row["alert_s"], row["event_time_s"], row["ego_role"]) == ("", "", "none")
            else:
                assert (float(row["alert_s"]), float(row["event_time_s"])) == (s.alert_s, s.event_s)


def test_decoded_frames_are_equal_before_the_alert(footage: Path) -> None:
    """The encoder must not look ahead: what comes later may not show in the frames before."""
    for n in range(4):
        films = [decode(footage / "clips" / name_of(5, n, DRIVES, SIZE, label=c)) for c in CLASSES]
        at = round(SCENES[n, "normal"].alert_s * 10)
        pixels = [np.stack([f.to_ndarray() for f in film]) for film in films]
        for other in pixels[1:]:
            assert np.array_equal(pixels[0][:at], other[:at])
            assert not np.array_equal(pixels[0][at:], other[at:])


def test_same_arguments_same_bytes_and_more_triplets_change_nothing(footage: Path, tmp_path: Path) -> None:
    small = tree(render(tmp_path, triplets=4, drives=DRIVES, seed=5, size=SIZE, workers=2).parent)
    large = tree(footage)
    assert len(small) == 13
    assert all(large[name] == digest for name, digest in small.items() if name != "manifest.csv")
    other = render(tmp_path / "other", triplets=2, drives=DRIVES, seed=6, size=SIZE, workers=1).parent
    assert not set(tree(other).values()) & set(small.values())


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    def once() -> dict[str, str]:
        return tree(render(tmp_path, triplets=2, drives=2, seed=1, size=SIZE, workers=1).parent)

    whole = once()
    kept, lost = sorted(tmp_path.glob("clips/*.mp4"))[:2]
    before = kept.stat().st_mtime_ns
    lost.unlink()
    (tmp_path / "manifest.csv").unlink()
    assert once() == whole
    assert kept.stat().st_mtime_ns == before
    calls: list[tuple[str, int, int]] = []
    render(tmp_path, triplets=3, drives=2, seed=1, size=SIZE, workers=1, progress=lambda *a: calls.append(a))
    assert calls == [("render", 3, 3)]


# What must not tell the class


@pytest.fixture(scope="module")
def measured(footage: Path) -> dict[str, np.ndarray]:
    """Per file, triplets in turn and classes in CLASSES order: everything a lazy classifier might use."""
    rows = {row["file"]: row for row in table(footage / "manifest.csv")}
    order = {file: k for k, file in enumerate(sorted(rows))}
    out: dict[str, list[list[float]]] = {}
    for n in range(TRIPLETS):
        for label in CLASSES:
            file = f"clips/{name_of(5, n, DRIVES, SIZE, label=label)}"
            film = decode(footage / file)
            grey = np.stack([f.to_ndarray()[: SIZE[1]] for f in film[::3]])
            facts = {
                "duration": [float(film[-1].time or 0), len(film)],
                "name": [int(file[6 + k : 8 + k], 16) for k in (0, 2, 4, 6)],
                "order": [order[file]],
                "bytes": [(footage / file).stat().st_size],
                "first frame": list(grey[0, ::6, ::6].ravel() / 255),
                "brightness": [grey.mean()],
                "trigger": [float(rows[file]["trigger_s"])],
            }
            for name, value in facts.items():
                out.setdefault(name, []).append(value)
    return {name: np.array(values, dtype=float) for name, values in out.items()}


MEASURES = ["duration", "name", "order", "bytes", "first frame", "brightness", "trigger"]


def above_chance(hits: np.ndarray, drive: np.ndarray, chance: float) -> bool:
    """Is the lower end of a 99 % interval, resampled by drive, above chance? (Seven measures are tried.)"""
    r = np.random.default_rng(0)
    groups = [hits[drive == d] for d in np.unique(drive)]
    draws = [np.concatenate([groups[i] for i in r.integers(len(groups), size=len(groups))]).mean() for _ in range(1000)]
    return bool(np.quantile(draws, 0.005) > chance)


@pytest.mark.parametrize("name", MEASURES)
def test_no_class_without_watching(measured: dict[str, np.ndarray], name: str) -> None:
    x, y = measured[name], np.tile(np.arange(3), TRIPLETS)
    drive = np.repeat(np.arange(TRIPLETS) % DRIVES, 3)
    models = [
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
        RandomForestClassifier(40, max_depth=4, random_state=0),
    ]
    for model in models:
        guess = cross_val_predict(model, x, y, groups=drive, cv=GroupKFold(5))
        assert not above_chance((guess == y).astype(float), drive, 1 / 3), name


@pytest.mark.parametrize("name", MEASURES)
def test_no_class_within_a_triplet(measured: dict[str, np.ndarray], name: str) -> None:
    """Knowing the other two does not help: no value is regularly the largest or smallest of its triplet."""
    x = measured[name].reshape(TRIPLETS, 3, -1)
    drive = np.arange(TRIPLETS) % DRIVES
    spread = x - x.mean(1, keepdims=True)
    if not np.any(spread):
        return  # equal within every triplet
    y = np.tile(np.arange(3), TRIPLETS)
    guess = cross_val_predict(
        RandomForestClassifier(40, max_depth=3, random_state=0),
        spread.reshape(3 * TRIPLETS, -1), y, groups=np.repeat(drive, 3), cv=GroupKFold(5),
    )  # fmt: skip
    assert not above_chance((guess == y).astype(float), np.repeat(drive, 3), 1 / 3), name


def test_the_measures_would_find_a_leak(measured: dict[str, np.ndarray]) -> None:
    """The test above has teeth: a brightness that leans with the class is found."""
    y = np.tile(np.arange(3), TRIPLETS)
    drive = np.arange(TRIPLETS) % DRIVES
    x = (measured["brightness"][:, 0] + 8 * y).reshape(TRIPLETS, 3)
    spread = (x - x.mean(1, keepdims=True)).reshape(-1, 1)
    guess = cross_val_predict(
        RandomForestClassifier(40, max_depth=3, random_state=0), spread, y, groups=np.repeat(drive, 3), cv=GroupKFold(5)
    )
    assert above_chance((guess == y).astype(float), np.repeat(drive, 3), 1 / 3)
