"""Every test runs with a clean environment: no keys, no offline surprises, one torch thread."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).parent))  # openai_server

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "HF_TOKEN", "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def write_video(
    path: Path,
    frames: int = 20,
    fps: float = 10,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    times: list[float] | None = None,
    audio: bool = False,
    rotation: int = 0,
    gop: int = 10,
    bframes: int = 0,
    crf: int = 23,
    picture: Callable[[int], Any] | None = None,
    **options: str,
) -> Path:
    """A tiny video whose frame i says i (see `number_of`); `times` are uneven stamps, `options` go to the muxer."""
    import av
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    rate = Fraction(fps).limit_denominator(1001)
    encoder = {"g": str(gop), "bf": str(bframes)}
    encoder |= {"libx264": {"crf": str(crf)}, "libx265": {"x265-params": "log-level=none"}}.get(codec, {})
    with av.open(str(path), "w", options=options) as out:
        video: Any = out.add_stream(codec, rate=rate, options=encoder)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000) if times else 1 / rate
        if rotation:
            video.set_display_rotation(rotation)
        sound: Any = out.add_stream("aac", rate=8000, layout="mono") if audio else None
        out.start_encoding()
        for i in range(frames):
            image = numbered(i, size) if picture is None else picture(i)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            frame.pts = round(times[i] * 1000) if times else i
            frame.time_base = video.codec_context.time_base
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if sound is not None:
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            tone.sample_rate, tone.pts = 8000, 0
            out.mux(sound.encode(tone))
            out.mux(sound.encode(None))
    return path


def numbered(i: int, size: tuple[int, int] = (64, 48)) -> Any:
    """A picture of eight vertical bars, the bits of i, bright for 1."""
    import numpy as np

    width, height = size
    row = np.repeat(np.array([200 if (i >> b) & 1 else 40 for b in range(8)], np.uint8), width // 8)
    return np.repeat(np.tile(row, (height, 1))[:, :, None], 3, axis=2)


def number_of(image: Any) -> int:
    """What `numbered` wrote, read from any size of the picture."""
    width = image.shape[1] // 8
    middle = image.shape[0] // 2
    return sum(1 << b for b in range(8) if image[middle, b * width + width // 2].mean() > 120)


@pytest.fixture
def make_video() -> Callable[..., Path]:
    return write_video


@pytest.fixture
def frame_number() -> Callable[[Any], int]:
    return number_of


@pytest.fixture(scope="session")
def _listening() -> Iterator[Any]:
    from openai_server import Server

    with Server() as server:
        yield server


@pytest.fixture
def openai_server(_listening: Any) -> Any:
    """A server that speaks OpenAI's protocol, see openai_server.py, as if freshly started."""
    _listening.reset()
    return _listening


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of numbered frames at 10 a second."""
    return write_video(tmp_path_factory.mktemp("footage") / "one.mp4", frames=20, size=(96, 64))
