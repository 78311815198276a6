"""The one module that opens video (PyAV). Times are seconds after the first video frame of the file.

Containers are opened from an allow-list, so that a playlist named .mp4 cannot make us read other files or the network.
What a person looks at is composed in `curation.preview`.
"""

from __future__ import annotations

import io
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray

from curation.errors import DataError, Refused
from curation.measure import measure

Image = NDArray[np.uint8]

FORMATS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,wav,mp3,aac,flac"
SCALE = int(Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT | Interpolation.FULL_CHR_H_INT)
MAX_GAP_S = 1.0  # a wanted moment farther than this from any frame is a hole in the file


class Media(NamedTuple):
    """What is in a video file. Width and height are as shown: rotated, pixels square."""

    duration_s: float
    fps: float  # mean over the frames that are there
    width: int
    height: int
    frames: int


class CutInfo(NamedTuple):
    """What `cut` wrote. `phashes` has `measure.HASHES_PER_S` entries a second, empty where a frame shows no shape."""

    frames: int
    fps: float
    width: int
    height: int
    measures: dict[str, float]
    phashes: tuple[str, ...]


@contextmanager
def _open(source: Path | bytes) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its first real video stream. Raises Refused for whatever is wrong with the file."""
    name = source.name if isinstance(source, Path) else "video"
    mp4 = _head(source)[4:] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp")
    target: Any = str(source.absolute()) if isinstance(source, Path) else io.BytesIO(source)
    try:
        with av.open(target, options={"format_whitelist": FORMATS, "protocol_whitelist": "file"}) as container:
            covers = Disposition.attached_pic | Disposition.still_image
            video = next((s for s in container.streams.video if not s.disposition & covers), None)
            kinds = sorted({s.type for s in container.streams})
            if kinds in ([], ["data"]) or (video and not video.codec_context):
                raise Refused("truncated", f"{name} is cut short inside its index, or its codec is unknown")
            if not video:
                raise Refused("no_video_stream", f"{name} holds {', '.join(kinds)} but no video stream")
            video.codec_context.thread_count = 1
            yield container, video
    except av.error.FFmpegError as e:
        said = (e.strerror or type(e).__name__).rstrip(". ")
        if mp4:
            detail = f"{name} is cut short or damaged: its index cannot be read ({said}); copy it again from the camera"
            raise Refused("truncated", detail) from e
        raise Refused("not_video", f"{name} is no video file, whatever its name says ({said})") from e


def _head(source: Path | bytes) -> bytes:
    """The first eight bytes. Only of a regular file: a named pipe would have us wait for ever."""
    if isinstance(source, bytes):
        return source[:8]
    try:
        if not stat.S_ISREG(source.stat().st_mode):
            raise Refused("unreadable", f"{source.name} is no regular file; name a video")
        with source.open("rb") as f:
            head = f.read(8)
    except FileNotFoundError as e:
        hint = "" if source.name.isascii() else " (file names must be in Unicode NFC)"
        raise Refused("missing", f"{source.name} is not there; check the path in the table{hint}") from e
    except OSError as e:
        raise Refused("unreadable", f"{source.name} cannot be read ({e.strerror})") from e
    if not head:
        raise Refused("empty", f"{source.name} has no bytes; copy it again")
    return head


def _decode(container: InputContainer, stream: VideoStream, start: float) -> Iterator[tuple[float, VideoFrame]]:
    """Frames with the file's own times; where it has none, they follow `start` at its rate."""
    step = 1 / float(stream.average_rate or 25)
    last = start - step
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            continue  # one bad packet is survivable; `cut` finds the hole if it is not
        for frame in frames:
            last = last + step if frame.time is None else frame.time
            yield last, frame


def _frames(container: InputContainer, stream: VideoStream, start_s: float = 0.0) -> Iterator[tuple[float, VideoFrame]]:
    """The first frame, then those from about `start_s` on, each with its seconds after the first."""
    frames = _decode(container, stream, 0.0)
    origin, first = next(frames, (0.0, None))
    if first is None:
        raise Refused("zero_frames", "the video stream holds no frame that can be decoded")
    yield 0.0, first
    if start_s > 0 and any(e.is_keyframe for e in stream.index_entries):
        for margin in (0.0, 1.0, 4.0, start_s + 1.0):  # seeking may land behind what was asked for
            stamp = int((origin + max(start_s - margin, 0.0)) / float(stream.time_base or 1))
            container.seek(stamp, stream=stream)
            frames = _decode(container, stream, origin)
            time, frame = next(frames, (0.0, None))
            if frame is not None and time - origin <= start_s:
                yield time - origin, frame
                break
    yield from ((time - origin, frame) for time, frame in frames)


def _nearest(
    frames: Iterator[tuple[float, VideoFrame]], targets: Iterable[float]
) -> Iterator[tuple[float, VideoFrame]]:
    """Time and frame nearest to each of the ascending `targets`. Past the end it is the last frame."""
    before = now = next(frames, None)
    for target in targets:
        try:
            while now is not None and now[0] < target:
                before, now = now, next(frames, None)
        except av.error.FFmpegError as e:
            raise Refused("truncated", f"it cannot be read near {target:.2f} s ({e.strerror})") from e
        yield min((f for f in (before, now) if f is not None), key=lambda f: abs(f[0] - target))


def probe(path: Path) -> Media:
    """What is in the file, from its packets and one decoded frame, not from what its header promises.

    Raises Refused with reason `missing`, `unreadable`, `empty`, `not_video`, `no_video_stream` (audio only),
    `zero_frames` or `truncated` (the index promises data that is not in the file, or the end never comes).
    """
    with _open(path) as (container, stream):
        size = path.stat().st_size
        beyond = any(e.pos + e.size > size for s in container.streams for e in s.index_entries)
        shown: list[tuple[int, int]] = []  # stamp and duration, in ticks
        end = 0.0
        for packet in container.demux(*(s for s in container.streams if s.type in ("video", "audio"))):
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is None or not packet.size:
                continue
            end = max(end, float((stamp + (packet.duration or 0)) * packet.time_base))
            if packet.stream_index == stream.index and not packet.is_discard:
                shown.append((stamp, packet.duration or 0))
        promised = (container.duration or 0) / av.time_base
        short = {"matroska", "webm", "avi", "flv", "asf"} & set(container.format.name.split(","))
        if beyond or (short and promised - end > max(1.0, 0.05 * promised)):
            detail = f"{path.name} is cut short: about {end:.1f} s of {promised:.1f} s are in the file; copy it again"
            raise Refused("truncated", detail)
        if not shown:
            raise Refused("zero_frames", f"{path.name} has a video stream without a single frame")
        tick, usual = float(stream.time_base or 0), 1 / float(stream.average_rate or 1)
        container.seek(0)
        width, height = _shown_size(next(_frames(container, stream))[1], stream)
    shown.sort()
    gaps = sorted(b - a for (a, _), (b, _) in pairwise(shown)) or [0]
    duration = (shown[-1][0] - shown[0][0]) * tick + ((shown[-1][1] or gaps[len(gaps) // 2]) * tick or usual)
    return Media(round(duration, 6), round(len(shown) / duration, 4), width, height, len(shown))


def _shown_size(frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    aspect = stream.sample_aspect_ratio or Fraction(1)
    width, height = round(frame.width * aspect) if aspect > 0 else frame.width, frame.height
    return (height, width) if frame.rotation % 180 else (width, height)


def _picture(frame: VideoFrame, size: tuple[int, int], pixels: str) -> VideoFrame:
    """The frame as it is shown, `size` (width, height), BT.709 limited range when YUV."""
    source = frame.colorspace
    if source not in (1, 4, 5, 6, 7, 9):  # not stated: players take BT.709 from 720 lines on, else BT.601
        source = int(Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601)
    turns = round(frame.rotation / 90) % 4
    width, height = size if turns % 2 == 0 else size[::-1]
    colours: dict[str, Any] = {"interpolation": SCALE, "threads": 1}
    final = colours | {"format": pixels, "dst_colorspace": int(Colorspace.ITU709)}
    if pixels == "yuv420p":
        final["dst_color_range"] = int(ColorRange.MPEG)
    if not turns:
        return frame.reformat(width, height, src_colorspace=source, **final)
    picture = frame.reformat(width, height, "rgb24", src_colorspace=source, **colours)
    turned = VideoFrame.from_ndarray(np.ascontiguousarray(np.rot90(picture.to_ndarray(), turns)), "rgb24")
    return turned if pixels == "rgb24" else turned.reformat(**final)


def cut(src: Path, dst: Path, start_s: float, end_s: float, profile: dict[str, Any]) -> CutInfo:
    """Write [start_s, end_s) of `src` as constant-rate H.264 that browsers play, and measure it in the same pass.

    `profile`: `fps` (frames a second out), `height` (at most; never enlarged), `crf`. The frame shown at i / fps is
    the source frame nearest to start_s + i / fps. Video only, no metadata, yuv420p, first frame at 0, a keyframe each
    second, index in front, no reordering, one thread and no CPU-specific code: the same input gives the same bytes.
    Raises Refused: those of `probe`, and `truncated` where the wanted time is not in the file; DataError if `dst`
    cannot be written.
    """
    rate = Fraction(profile["fps"]).limit_denominator(1001)
    count = round((end_s - start_s) * rate)
    if count < 1:
        raise Refused("too_short", f"a cut of {end_s - start_s:.3f} s holds no frame at {float(rate):g} a second")
    with _open(src) as (container, stream):
        frames = _frames(container, stream, start_s)
        first = next(frames)
        width, height = _even_fit(_shown_size(first[1], stream), profile["height"])
        targets = [start_s + float(i / rate) for i in range(count)]
        found = _nearest(chain([first], frames), targets)
        with h264(dst, rate, width, height, profile["crf"]) as put:

            def written() -> Iterator[Image]:
                shown: tuple[float, VideoFrame] | None = None
                for i, (target, (time, frame)) in enumerate(zip(targets, found, strict=True)):
                    if abs(time - target) > MAX_GAP_S:
                        near = f"{MAX_GAP_S:g} s of {target:.2f} s (nearest {time:.2f} s)"
                        raise Refused("truncated", f"{src.name} has no frame within {near}")
                    if shown is None or shown[0] != time:
                        shown = time, _picture(frame, (width, height), "yuv420p")
                    picture = shown[1]
                    picture.pts, picture.time_base = i, 1 / rate
                    picture.pict_type = PictureType.NONE  # else the source's keyframes are forced on ours
                    put(picture)
                    yield np.asarray(picture.to_ndarray()[:height], np.uint8)

            measures = measure(written(), float(rate))
    with _open(dst) as (container, stream):
        times = [(p.pts or 0) * p.time_base for p in container.demux(stream) if p.size]
    if times != [i / rate for i in range(count)]:
        raise Refused("bad_cut", f"{dst.name}: wrote {len(times)} frames where {count} from 0 s were due")
    return CutInfo(count, float(rate), width, height, *measures)


def _even_fit(size: tuple[int, int], height: int) -> tuple[int, int]:
    scale = min(1.0, height / size[1])
    return max(2, round(size[0] * scale / 2) * 2), max(2, round(size[1] * scale / 2) * 2)


@contextmanager
def h264(
    dst: Path, rate: Fraction, width: int, height: int, crf: int, more: str = ""
) -> Iterator[Callable[[VideoFrame], None]]:
    """A function that writes the next frame of `dst`; `more` is for x264. Raises DataError if it cannot be written."""
    second = max(1, round(rate))
    options = {
        "preset": "veryfast",
        "crf": str(crf),
        "bf": "0",
        "flags": "+bitexact",
        "x264-params": f"cpu-independent=1:threads=1:keyint={second}:min-keyint={second}:scenecut=0{more}",
    }
    try:
        with av.open(str(dst), "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}) as out:
            video = out.add_stream("libx264", rate=rate, options=options)
            video.width, video.height, video.pix_fmt = width, height, "yuv420p"
            context = video.codec_context
            context.time_base, context.thread_count = 1 / rate, 1
            context.colorspace, context.color_range = int(Colorspace.ITU709), int(ColorRange.MPEG)
            context.color_primaries, context.color_trc = int(ColorPrimaries.BT709), int(ColorTrc.BT709)
            yield lambda picture: out.mux(video.encode(picture))
            out.mux(video.encode(None))
    except av.error.FFmpegError as e:
        raise DataError(f"{dst}: cannot write ({e.strerror}); free some room and run the same command again") from e


def sample_frames(
    source: Path | bytes,
    n: int = 8,
    times: Sequence[float] | None = None,
    size: tuple[int, int] | None = None,
    max_height: int | None = None,
) -> tuple[Image, list[float]]:
    """Frames as uint8 RGB (T, height, width, 3) and their true times in seconds.

    `times` ascending, or `n` moments in the middle of n equal parts; the frame nearest to each. `size` is
    (width, height) exactly; else the aspect is kept and the height limited to `max_height`. Raises Refused.
    """
    with _open(source) as (container, stream):
        if times is None:
            duration = (container.duration or 0) / av.time_base
            times = [(i + 0.5) * duration / n for i in range(n)]
        frames = _frames(container, stream)
        first = next(frames)
        shown = _shown_size(first[1], stream)
        wanted = size or _even_fit(shown, max_height or shown[1])
        found = list(_nearest(chain([first], frames), times))
        return np.stack([_picture(f, wanted, "rgb24").to_ndarray() for _, f in found]), [t for t, _ in found]
