"""What people look at: contact sheets and timestamped previews, composed by moviepy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from curation import media


def stamp(image: media.Image, text: str) -> media.Image:
    """`image` with `text` in its lower left corner (Pillow's own font: no system font is needed)."""
    picture = Image.fromarray(image)
    font = ImageFont.load_default(max(12, image.shape[0] // 14))
    place = (4, image.shape[0] - 4)
    draw = ImageDraw.Draw(picture)
    draw.rectangle(draw.textbbox(place, text, font=font, anchor="lb"), fill="black", outline="black", width=3)
    draw.text(place, text, font=font, fill="white", anchor="lb")
    return np.asarray(picture)


def contact_sheet(
    path: Path, out_png: Path, n: int = 12, columns: int = 4, height: int = 180, times: Sequence[float] | None = None
) -> None:
    """A PNG of `n` frames, or of those at `times` (ascending, s), with their times, row by row. Raises Refused."""
    from moviepy import ImageClip, clips_array

    frames, times = media.sample_frames(path, n=n, times=times, max_height=height)
    cells = [stamp(f, f"{t:.2f} s") for f, t in zip(frames, times, strict=True)]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    clips = [ImageClip(c, duration=1) for c in cells]
    clips_array([clips[i : i + columns] for i in range(0, len(clips), columns)]).save_frame(str(out_png), t=0)


def preview(path: Path, out_mp4: Path) -> None:
    """A copy with the running time drawn in, to look at. Raises Refused."""
    from moviepy import VideoFileClip

    media.probe(path)
    with VideoFileClip(str(path), audio=False) as video:
        stamped = video.transform(lambda frame_at, t: stamp(frame_at(t), f"{t:.2f} s"))
        stamped.write_videofile(str(out_mp4), audio=False, logger=None, ffmpeg_params=["-pix_fmt", "yuv420p"])
