from __future__ import annotations

import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from curation import media, preview
from curation.errors import DataError, Refused
from curation.measure import dhash

PROFILE = {"fps": 10, "height": 360, "crf": 18}


def shown(path: Path, frame_number: Any) -> list[int]:
    with av.open(str(path)) as container:
        return [frame_number(f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]


def reason(path: Path) -> str:
    with pytest.raises(Refused) as e:
        media.probe(path)
    assert "\n" not in str(e.value) and len(str(e.value)) > 20
    return e.value.reason


# -- probe ---------------------------------------------------------------------------------------------------------


def test_probe_says_what_is_there(tmp_path: Path, make_video: Any) -> None:
    m = media.probe(make_video(tmp_path / "a.mp4", frames=25, fps=12.5, size=(64, 48), audio=True))
    assert (m.duration_s, m.fps, m.width, m.height, m.frames) == (2.0, 12.5, 64, 48, 25)


def test_probe_counts_time_from_the_first_frame(tmp_path: Path, make_video: Any) -> None:
    m = media.probe(make_video(tmp_path / "a.mkv", frames=10, times=[0.5 + i / 10 for i in range(10)]))
    assert m.duration_s == pytest.approx(1.0, abs=0.02)


def test_probe_takes_uneven_stamps(tmp_path: Path, make_video: Any) -> None:
    m = media.probe(make_video(tmp_path / "a.mp4", frames=4, times=[0.0, 0.1, 0.9, 1.0]))
    assert m.frames == 4 and 1.0 < m.duration_s < 1.95


def test_rotated_video_is_as_high_as_it_is_shown(tmp_path: Path, make_video: Any) -> None:
    m = media.probe(make_video(tmp_path / "a.mp4", rotation=90))
    assert (m.width, m.height) == (48, 64)


@pytest.mark.parametrize("faststart", [False, True])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_truncated_mp4_is_found(tmp_path: Path, make_video: Any, faststart: bool, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), dtype=np.uint8)
    options = {"movflags": "+faststart"} if faststart else {}
    whole = make_video(tmp_path / "a.mp4", frames=40, picture=lambda i: noise[i], **options)
    assert media.probe(whole).frames == 40
    cut_short = tmp_path / "b.mp4"
    cut_short.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    assert reason(cut_short) == "truncated"


def test_truncated_matroska_is_found(tmp_path: Path, make_video: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 48, 64, 3), dtype=np.uint8)
    whole = make_video(tmp_path / "a.mkv", frames=60, picture=lambda i: noise[i])
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert reason(whole) == "truncated"


def test_each_kind_of_broken_file_has_its_own_reason(tmp_path: Path, make_video: Any) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is no video\n" * 50)
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    with av.open(str(tmp_path / "sound.mp4"), "w") as out:
        sound = out.add_stream("aac", rate=8000, layout="mono")
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        tone.sample_rate = 8000
        out.mux(sound.encode(tone))
        out.mux(sound.encode(None))
    make_video(tmp_path / "none.mp4", frames=0, movflags="+empty_moov+frag_keyframe")
    reasons = {
        n: reason(tmp_path / f"{n}.mp4") for n in ("empty", "text", "folder", "sound", "none", "absent", "pipe", "loop")
    }
    assert reasons == {
        "empty": "empty",
        "text": "not_video",
        "folder": "unreadable",
        "sound": "no_video_stream",
        "none": "zero_frames",
        "absent": "missing",
        "pipe": "unreadable",
        "loop": "unreadable",
    }


def test_a_playlist_named_mp4_reads_no_other_file(tmp_path: Path, make_video: Any) -> None:
    other = make_video(tmp_path / "other.mp4")
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{other}\n#EXT-X-ENDLIST\n")
    (tmp_path / "concat.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    assert reason(tmp_path / "list.mp4") == reason(tmp_path / "concat.mp4") == "not_video"


def test_errors_cross_processes() -> None:
    e = pickle.loads(pickle.dumps(Refused("empty", "nothing in it")))
    assert (e.reason, str(e)) == ("empty", "nothing in it")


# -- cut -----------------------------------------------------------------------------------------------------------


def test_cut_shows_the_frames_nearest_in_time(tmp_path: Path, make_video: Any, frame_number: Any) -> None:
    src = make_video(tmp_path / "a.mp4", frames=90, fps=30, gop=15, bframes=2)
    info = media.cut(src, tmp_path / "b.mp4", 1.0, 2.5, PROFILE)
    assert info.frames == 15 and info.fps == 10 and (info.width, info.height) == (64, 48)
    assert shown(tmp_path / "b.mp4", frame_number) == [30 + 3 * i for i in range(15)]


def test_cut_of_slow_footage_repeats_frames(tmp_path: Path, make_video: Any, frame_number: Any) -> None:
    info = media.cut(make_video(tmp_path / "a.mp4", frames=8, fps=2), tmp_path / "b.mp4", 1.0, 3.0, PROFILE)
    assert shown(tmp_path / "b.mp4", frame_number) == [2, 2, 2, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 6, 6]
    assert info.measures["duplicate_frames"] == pytest.approx(15 / 20)


def test_cut_of_uneven_footage_follows_its_clock(tmp_path: Path, make_video: Any, frame_number: Any) -> None:
    times = [0.0, 0.04, 0.5, 0.52, 0.61, 0.9]
    src = make_video(tmp_path / "a.mp4", frames=6, times=times)
    media.cut(src, tmp_path / "b.mp4", 0.0, 1.0, PROFILE)
    nearest = [min(range(6), key=lambda k: abs(times[k] - i / 10)) for i in range(10)]
    assert shown(tmp_path / "b.mp4", frame_number) == nearest


def test_cut_counts_from_the_first_frame_where_the_container_starts_late(
    tmp_path: Path, make_video: Any, frame_number: Any
) -> None:
    src = make_video(tmp_path / "a.mkv", frames=40, times=[0.5 + i / 10 for i in range(40)], gop=5)
    media.cut(src, tmp_path / "b.mp4", 2.0, 2.5, PROFILE)
    assert shown(tmp_path / "b.mp4", frame_number) == [20, 21, 22, 23, 24]


@pytest.mark.parametrize("name", ["a.ts", "a.avi", "a.mkv", "a.webm"])
def test_cut_takes_other_containers(tmp_path: Path, make_video: Any, frame_number: Any, name: str) -> None:
    codec = {"a.avi": "mpeg4", "a.webm": "libvpx"}.get(name, "libx264")
    src = make_video(tmp_path / name, frames=60, fps=20, size=(128, 96), codec=codec)
    assert media.probe(src).frames == 60
    media.cut(src, tmp_path / "b.mp4", 1.0, 2.0, PROFILE)
    assert shown(tmp_path / "b.mp4", frame_number) == list(range(20, 40, 2))


def test_cut_is_what_browsers_play(tmp_path: Path, make_video: Any) -> None:
    if "libx265" not in av.codecs_available:
        pytest.skip("this build of FFmpeg has no HEVC encoder")
    src = make_video(tmp_path / "a.mp4", frames=60, fps=59.94, size=(160, 120), codec="libx265", audio=True)
    with av.open(str(src)) as container:
        assert container.streams.video[0].codec_context.name == "hevc"
    media.cut(src, tmp_path / "b.mp4", 0.0, 1.0, PROFILE | {"height": 60, "fps": 12})
    data = (tmp_path / "b.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(tmp_path / "b.mp4")) as out:
        assert [s.type for s in out.streams] == ["video"]
        video = out.streams.video[0]
        assert (video.codec_context.name, video.pix_fmt, video.width, video.height) == ("h264", "yuv420p", 80, 60)
        assert (video.average_rate, video.frames, video.start_time) == (12, 12, 0)
        assert "creation_time" not in out.metadata and "encoder" not in out.metadata
        keys = [p.pts for p in out.demux(video) if p.is_keyframe]
        assert len(keys) == 1


def test_cut_has_a_keyframe_each_second(tmp_path: Path, make_video: Any) -> None:
    src = make_video(tmp_path / "a.mp4", frames=50)
    media.cut(src, tmp_path / "b.mp4", 0.5, 4.5, PROFILE)
    with av.open(str(tmp_path / "b.mp4")) as out:
        keys = [float((p.pts or 0) * p.time_base) for p in out.demux(video=0) if p.is_keyframe]
    assert keys == [0, 1, 2, 3]


def test_cut_gives_the_same_bytes_again(tmp_path: Path, make_video: Any) -> None:
    src = make_video(tmp_path / "a.mp4", frames=50)
    one = media.cut(src, tmp_path / "b.mp4", 0.5, 4.5, PROFILE)
    two = media.cut(src, tmp_path / "c.mp4", 0.5, 4.5, PROFILE)
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "c.mp4").read_bytes() and one == two


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_cut_turns_the_picture_as_players_do(tmp_path: Path, make_video: Any, degrees: int) -> None:
    corner = np.zeros((48, 64, 3), np.uint8)
    corner[:16, :16] = 255  # upper left
    src = make_video(tmp_path / "a.mp4", frames=10, rotation=degrees, picture=lambda i: corner)
    media.cut(src, tmp_path / "b.mp4", 0, 1, PROFILE)
    with av.open(str(src)) as container:
        wanted = np.rot90(corner, next(container.decode(video=0)).rotation // 90)  # a player's turn, counterclockwise
    images, _ = media.sample_frames(tmp_path / "b.mp4", n=1)
    assert images[0].shape == wanted.shape
    assert np.abs(images[0].astype(int) - wanted).mean() < 12
    straight, _ = media.sample_frames(src, n=1)
    assert np.abs(straight[0].astype(int) - wanted).mean() < 12


def test_only_what_is_needed_is_decoded(tmp_path: Path, make_video: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    src = make_video(tmp_path / "a.mp4", frames=200, gop=10)
    seen: list[float] = []
    decode = media._decode

    def counted(*given: Any) -> Any:
        for time, frame in decode(*given):
            seen.append(time)
            yield time, frame

    monkeypatch.setattr(media, "_decode", counted)
    media.cut(src, tmp_path / "b.mp4", 15.5, 16.5, PROFILE)
    assert len(seen) < 25 and max(seen) < 17


def test_decoded_frames_are_given_back_at_once(tmp_path: Path, make_video: Any) -> None:
    import gc

    src = make_video(tmp_path / "a.mp4")
    gc.disable()
    try:
        gc.collect()
        media.sample_frames(src, n=4)
        assert not [one for one in gc.get_objects() if type(one) is av.VideoFrame]
    finally:
        gc.enable()


def test_what_cannot_be_written_is_not_held_against_the_footage(tmp_path: Path, make_video: Any) -> None:
    src = make_video(tmp_path / "a.mp4")
    with pytest.raises(DataError, match="cannot write") as e:
        media.cut(src, tmp_path / "nowhere" / "b.mp4", 0, 1, PROFILE)
    assert not isinstance(e.value, Refused)
    if Path("/dev/full").exists():
        with pytest.raises(DataError, match="No space left"):
            media.cut(src, Path("/dev/full"), 0, 1, PROFILE)


def test_every_cut_index_is_refused_and_none_crashes(tmp_path: Path, make_video: Any) -> None:
    whole = make_video(tmp_path / "a.mp4", frames=40, audio=True, movflags="+faststart").read_bytes()
    part = tmp_path / "b.mp4"
    for size in range(8, whole.index(b"mdat"), 37):
        part.write_bytes(whole[:size])
        assert reason(part) in ("truncated", "no_video_stream", "zero_frames"), size


def test_cut_beyond_the_end_is_refused(tmp_path: Path, make_video: Any) -> None:
    src = make_video(tmp_path / "a.mp4", frames=20)
    with pytest.raises(Refused) as e:
        media.cut(src, tmp_path / "b.mp4", 0, 5, PROFILE)
    assert e.value.reason == "truncated"
    with pytest.raises(Refused) as e:
        media.cut(src, tmp_path / "b.mp4", 0, 0.01, PROFILE)
    assert e.value.reason == "too_short"


def test_measures_tell_black_frozen_and_moving(tmp_path: Path, make_video: Any) -> None:
    wave = 120 + 60 * np.sin(np.arange(64) * np.pi / 16)[None, :, None] * np.linspace(0.2, 1, 48)[:, None, None]
    still = np.repeat(wave, 3, axis=2).astype(np.uint8)

    def picture(i: int) -> Any:
        if i < 20:
            return np.full((48, 64, 3), 4, np.uint8)
        return still if i < 35 else np.roll(still, 5 * i, axis=1)

    src = make_video(tmp_path / "a.mp4", frames=50, picture=picture, crf=1)
    info = media.cut(src, tmp_path / "b.mp4", 0, 5, PROFILE)
    assert info.measures["black_s"] == 2.0
    assert info.measures["frozen_s"] == pytest.approx(3.5, abs=0.2)
    assert info.measures["duplicate_frames"] == pytest.approx(33 / 50, abs=0.05)
    assert len(info.phashes) == 10 and info.phashes[0] == ""


# -- hashes, sampling, pictures --------------------------------------------------------------------------------------


def test_dhash_survives_size_and_brightness_but_not_content() -> None:
    x = np.linspace(0, 6, 320)
    scene = (120 + 60 * np.sin(x)[None, :] * np.cos(np.linspace(0, 5, 180))[:, None]).astype(np.uint8)
    same = (scene[::2, ::2] * 0.8).astype(np.uint8)
    assert (int(dhash(scene), 16) ^ int(dhash(same), 16)).bit_count() <= 3
    assert (int(dhash(scene), 16) ^ int(dhash(scene[:, ::-1]), 16)).bit_count() > 20
    assert dhash(np.full((180, 320), 30, np.uint8)) == ""


@pytest.mark.parametrize("gop", [1, 7, 250])
def test_samples_are_the_middle_of_equal_parts(tmp_path: Path, make_video: Any, frame_number: Any, gop: int) -> None:
    src = make_video(tmp_path / "a.mp4", frames=80, gop=gop, bframes=2)
    images, times = media.sample_frames(src, n=4, size=(32, 24))
    assert images.shape == (4, 24, 32, 3) and images.dtype == np.uint8
    assert times == pytest.approx([1.0, 3.0, 5.0, 7.0]) and [frame_number(i) for i in images] == [10, 30, 50, 70]
    by_bytes, again = media.sample_frames(src.read_bytes(), times=[1.0, 3.0, 5.0, 7.0], size=(32, 24))
    assert again == times and (by_bytes == images).all()


def test_samples_past_the_end_are_the_last_frame(tmp_path: Path, make_video: Any, frame_number: Any) -> None:
    images, times = media.sample_frames(make_video(tmp_path / "a.mp4"), times=[1.86, 7.0, 9.0], max_height=24)
    assert [frame_number(i) for i in images] == [19, 19, 19] and times == pytest.approx([1.9] * 3)
    assert images.shape[1:] == (24, 32, 3)


def test_contact_sheet_and_preview_are_written(tmp_path: Path, make_video: Any) -> None:
    src = make_video(tmp_path / "a.mp4", frames=30, size=(320, 180))
    preview.contact_sheet(src, tmp_path / "sheet.png", n=5, columns=3, height=90)
    from PIL import Image

    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (480, 180)
    preview.preview(src, tmp_path / "look.mp4")
    assert media.probe(tmp_path / "look.mp4").duration_s == pytest.approx(3.0, abs=0.11)
    plain, _ = media.sample_frames(src, times=[1.0])
    stamped, _ = media.sample_frames(tmp_path / "look.mp4", times=[1.0])
    changed = np.abs(plain[0].astype(int) - stamped[0]).max(axis=2) > 60
    assert changed[-25:, :60].any() and not changed[:-40, 100:].any()


def test_a_clip_is_measured_as_it_is_cut_not_held(tmp_path: Path, make_video: Any) -> None:
    source = make_video(tmp_path / "s.mp4", frames=20, size=(640, 360))
    peaks = []
    for fps in (10, 120):
        tracemalloc.start()
        assert media.cut(source, tmp_path / "c.mp4", 0, 2, PROFILE | {"fps": fps, "height": 360}).frames == 2 * fps
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
