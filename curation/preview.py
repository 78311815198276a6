"""What people look at: contact sheets and timestamped previews, composed by moviepy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from curation import media


def stamp(image: media.Image, text: str) -> media.Image:
    """`image` with `text` in its lower left corner (Pillow's own font: no system font is needed)."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(12, image.shape[0] // 14))
    place = (4, image.shape[0] - 4)
    box = draw.textbbox(place, text, font=font, anchor="lb")
    draw.rectangle((box[0] - 3, box[1] - 2, box[2] + 3, box[3] + 2), fill=(0, 0, 0))
    draw.text(place, text, font=font, fill=(255, 255, 255), anchor="lb")
    return np.asarray(picture)


def contact_sheet(path: Path, out_png: Path, n: int = 12, columns: int = 4, height: int = 180) -> None:
    """A PNG of `n` frames with their times, row by row. Raises MediaError."""
    from moviepy import ImageClip, clips_array

    frames, times = media.sample_frames(path, n=n, max_height=height)
    cells = [stamp(f, f"{t:.2f} s") for f, t in zip(frames, times, strict=True)]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    clips = [ImageClip(c, duration=1) for c in cells]
    clips_array([clips[i : i + columns] for i in range(0, len(clips), columns)]).save_frame(str(out_png), t=0)


def preview(path: Path, out_mp4: Path, height: int = 360) -> None:
    """A copy with the running time drawn in, to look at. Raises MediaError."""
    from moviepy import VideoFileClip

    media.probe(path)
    with VideoFileClip(str(path), audio=False) as video:
        small = video.resized(height=height // 2 * 2) if video.h > height else video
        stamped = small.transform(lambda frame_at, t: stamp(frame_at(t), f"{t:.2f} s"))
        stamped.write_videofile(
            str(out_mp4), codec="libx264", audio=False, logger=None, ffmpeg_params=["-pix_fmt", "yuv420p"]
        )
