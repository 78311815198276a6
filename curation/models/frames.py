"""The frames a model sees: which, when, and as JPEG; decoded and encoded once per clip, whatever asks for them.

In a request that is hashed, stored or shown, frames stand as references (clip hash, times, height, quality), so what is
stored stays small and the key of a question is had without decoding. `fill` puts the pictures in when it is sent. A
text cannot pass for a reference: inside JSON its quotes are escaped.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from curation.ids import make_id
from curation.release import write_atomic
from curation.store import Workspace

REF = re.compile(rb'"(frame|video):([0-9a-f]{64})@([0-9.,]+)\?h=(\d+)&q=(\d+)"')
MOST = 64

Moments = tuple[float, ...]
Pictures = Callable[[str, Moments, int, int], list[bytes]]  # (clip hash, times, height, quality) -> JPEGs in base64
Fill = Callable[[bytes], Awaitable[bytes]]  # puts the frames into a body


@dataclass(frozen=True)
class FrameSpec:
    """`n` frames (8) in the middle of n equal parts, or `fps` a second; 64 at most. `height`: at most."""

    n: int | None = None
    fps: float | None = None
    height: int = 360
    quality: int = 85

    def moments(self, frames: int, fps: float) -> Moments:
        """Their times in seconds, each that of an existing frame of a clip of `frames` at `fps`."""
        wanted = self.n or (max(1, round(frames / fps * self.fps)) if self.fps else 8)
        n = min(wanted, frames, MOST)
        return tuple(round(int((i + 0.5) * frames / n) / fps, 4) for i in range(n))

    def ref(self, kind: str, blob: str, moments: Moments) -> str:
        """A reference: kind `frame` to one picture, `video` to all `moments` as one."""
        return f"{kind}:{blob}@{','.join(f'{t:g}' for t in moments)}?h={self.height}&q={self.quality}"


def asked(raw: bytes) -> dict[tuple[str, int, int], Moments]:
    """Which frames a body refers to: times by (clip hash, height, quality)."""
    found: dict[tuple[str, int, int], set[float]] = {}
    for m in REF.finditer(raw):
        times = found.setdefault((m[2].decode(), int(m[4]), int(m[5])), set())
        times.update(float(t) for t in m[3].split(b","))
    return {at: tuple(sorted(times)) for at, times in found.items()}


def fill(raw: bytes, pictures: Pictures) -> bytes:
    """`raw`, a body as JSON, with every reference replaced by a data: URL (RFC 2397)."""
    shown: dict[tuple[str, int, int, float], bytes] = {}
    for at, times in asked(raw).items():
        shown |= {(*at, time): jpeg for time, jpeg in zip(times, pictures(at[0], times, *at[1:]), strict=True)}

    def url(m: re.Match[bytes]) -> bytes:
        jpegs = (shown[m[2].decode(), int(m[4]), int(m[5]), float(t)] for t in m[3].split(b","))
        return b'"data:%s/jpeg;base64,%s"' % (b"image" if m[1] == b"frame" else b"video", b",".join(jpegs))

    return REF.sub(url, raw)


def cache_path(ws: Workspace, blob: str, times: Moments, height: int, quality: int) -> Path:
    """Where the frames of a clip are kept: `frames/` is a cache, and may be deleted at any time."""
    return ws.root / f"frames/{blob[:2]}/{blob}.{_spec(times, height, quality)}"


@cache
def _spec(times: Moments, height: int, quality: int) -> str:
    return make_id("frames", [times, height, quality]).removeprefix("frames1_")[:12]


def kept(ws: Workspace, blob: str, times: Moments, height: int, quality: int) -> list[bytes]:
    """The frames of a clip as JPEGs in base64, from the cache. Raises OSError if they are not all there."""
    *lines, rest = cache_path(ws, blob, times, height, quality).read_bytes().split(b"\n")
    if len(lines) != len(times) or rest:
        raise FileNotFoundError(f"{blob}: torn")
    return lines


def pictures(ws: Workspace, blob: str, times: Moments, height: int, quality: int) -> list[bytes]:
    """The frames of a clip as JPEGs in base64, decoded if they are not in the cache. Raises Refused."""
    with suppress(OSError):
        return kept(ws, blob, times, height, quality)
    from PIL import Image

    from curation.media import sample_frames

    lines = []
    for picture in sample_frames(ws.blob(blob), times=times, max_height=height)[0]:
        out = io.BytesIO()
        Image.fromarray(picture).save(out, "JPEG", quality=quality)
        lines.append(base64.b64encode(out.getvalue()))
    with suppress(OSError):  # a cache that cannot be written is none
        write_atomic(cache_path(ws, blob, times, height, quality), b"".join(line + b"\n" for line in lines))
    return lines
