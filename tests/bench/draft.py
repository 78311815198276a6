"""Drafts from frames: ours against plain `AsyncOpenAI`. Run by hand: python tests/bench/draft.py [drafts] [rounds]

The endpoint is a process of its own on loopback that waits 200 ms; 8 frames of 360 lines go into each question, 256
questions are in flight, every answer is stored. Ours is the draft stage over a workspace, with its store, its checks
and its slow start; plain is the package's usual call with the frames at hand in memory, the answer parsed and appended
to a file. Cold: the frames must first be decoded, of another clip for each draft (an eighth of the drafts).
Each side runs in a process of its own, sides take turns, figures are medians; ratios are steadier than figures.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from curation import draft
from curation.authors import Subject, Todo, model_draft
from curation.dialogue import first_question
from curation.models.endpoint import load_model
from curation.models.frames import asked, cache_path, fill, pictures
from curation.recipe import load_recipe
from curation.store import Workspace
from curation.tasks import load_packs
from curation.types import Clip, Draft, Label, Source

TESTS = Path(__file__).parents[1]
IN_FLIGHT, LATENCY_S, FPS, FRAMES = 256, 0.2, 10.0, 20
SIDES = ("plain", "aiohttp", "ours", "plain cold", "ours cold")
EVENT = {"class": "collision", "alert_s": 0.5, "event_s": 1.5, "ego_role": "striking", "partner": "car"}
SEEN = {"weather": "rain"}
RECIPE = """name: bench
sources: [{{kind: folder, root: .}}]
tasks: [think]
draft:
  author: watch
  models:
    watch: {{endpoint: vllm, base_url: "{url}", model: tiny, frames: {{n: 8}}, in_flight: 256}}
"""


def footage(path: Path) -> bytes:
    """A clip of 360 lines whose frames, as JPEG, have about 9 kB."""
    sys.path.insert(0, str(TESTS))
    import numpy as np
    from conftest import write_video
    from PIL import Image

    def picture(i: int) -> Any:
        coarse = np.random.default_rng(i // 4).integers(60, 200, (2, 3, 3)).astype(np.uint8)
        return np.asarray(Image.fromarray(coarse).resize((640, 360), Image.Resampling.BICUBIC))

    return write_video(path, frames=FRAMES, fps=FPS, size=(640, 360), picture=picture).read_bytes()


def prepare(root: Path, url: str, n: int) -> None:
    """A workspace of `n` resolved clips, no two files alike, and the frames of all of them decoded."""
    ws, video = Workspace(root / "work"), footage(root / "clip.mp4")
    (root / "recipe.yaml").write_text(RECIPE.format(url=url))
    labels = []
    with ws.writer(Source) as sources, ws.writer(Clip) as clips:
        for i in range(n):
            (root / "clip.mp4").write_bytes(video + b"\0\0\0\x10free" + i.to_bytes(8, "big"))
            blob = ws.add_blob(root / "clip.mp4")
            source = Source(
                "bench", f"k{i}", f"{i}.mp4", f"{i:064x}", 9.0, FPS, 640, 360, attributes={"weather": "rain"}
            )
            clip = Clip(source.id, "event", 0.0, 2.0, {}, blob=blob, frames=FRAMES, fps=FPS, width=640, height=360)
            sources.add(source)
            clips.add(clip)
            labels.append(Label(clip.id, "event", {**EVENT, "time_basis": "contact"}, "agreed"))
            where = wanted(root, clip)
            if i == 0:
                lines = pictures(ws, *where)
                decoded = cache_path(ws, *where).read_bytes()
            cache_path(ws, *where).parent.mkdir(parents=True, exist_ok=True)
            cache_path(ws, *where).write_bytes(decoded)
    ws.write_view("labels", labels)
    print(f"{n} clips; the frames of a question have {sum(map(len, lines)) / 1000:.0f} kB in base64", flush=True)


def question(root: Path, clip: Clip) -> bytes:
    """What ours asks about a clip, frames as references."""
    recipe = load_recipe(root / "recipe.yaml")
    model, pack = load_model("watch", recipe["draft"]["models"]["watch"]), load_packs(["event", "think"])["think"]
    subject = Subject(clip, EVENT, SEEN)
    return first_question(pack, model, Todo(subject, model_draft(pack, model, subject, []), {})).raw


def wanted(root: Path, clip: Clip) -> tuple[str, tuple[float, ...], int, int]:
    ((blob, height, quality), times), *_ = asked(question(root, clip)).items()
    return blob, times, height, quality


def ours(root: Path, n: int, cold: bool) -> None:
    import curation.models.wire  # noqa: F401 - imports are not what is measured

    ws = Workspace(root / "work")
    for old in (*root.glob("llm.sqlite*"), ws.root / "drafts.jsonl"):
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    if cold:
        (ws.root / "frames").rename(root / "frames")
    try:
        with measured(n):
            report = draft.run(ws, load_recipe(root / "recipe.yaml"), limit=n)
    finally:
        if cold:
            shutil.rmtree(ws.root / "frames", ignore_errors=True)
            (root / "frames").rename(ws.root / "frames")
    assert report.counts["written"] == n and all(d.spec["frames"] for d in ws.read(Draft)), report


def plain(root: Path, n: int, cold: bool, aiohttp: bool) -> None:
    import openai

    from curation.media import sample_frames

    ws = Workspace(root / "work")
    clips = list(ws.read(Clip))[:n]
    _, times, height, quality = wanted(root, clips[0])
    body = json.loads(fill(question(root, clips[0]), lambda *a: pictures(ws, *a)))
    *shown, words = body["messages"][0]["content"]
    recipe = load_recipe(root / "recipe.yaml")

    def decoded(clip: Clip) -> list[Any]:
        from PIL import Image

        found = []
        for time_s, picture in zip(
            times, sample_frames(ws.blob(clip.blob), times=times, max_height=height)[0], strict=True
        ):
            out = io.BytesIO()
            Image.fromarray(picture).save(out, "JPEG", quality=quality)
            url = f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
            found += [{"type": "text", "text": f"t = {time_s:.2f} s"}, {"type": "image_url", "image_url": {"url": url}}]
        return found

    async def all_of_them() -> None:
        backend = openai.DefaultAioHttpClient() if aiohttp else None
        url = recipe["draft"]["models"]["watch"]["base_url"]
        coming = iter(clips)
        with (root / "plain.jsonl").open("w") as out:
            async with openai.AsyncOpenAI(base_url=url, api_key="none", http_client=backend) as client:

                async def work() -> None:
                    for clip in coming:
                        frames = await asyncio.to_thread(decoded, clip) if cold else shown
                        text = {"type": "text", "text": f"{words['text']}\n{clip.id}"}
                        asked = {**body, "messages": [{"role": "user", "content": [*frames, text]}]}
                        said = await client.chat.completions.create(**asked)
                        json.loads(said.choices[0].message.content or "")
                        out.write(said.model_dump_json() + "\n")

                await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))

    with measured(n):
        asyncio.run(all_of_them())


class measured:  # noqa: N801 - used as a statement
    """Prints what happens inside: requests/s, CPU seconds per 1,000, peak memory in MB."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __enter__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        peak = int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1024  # Linux
        print(json.dumps([self.n / wall, cpu / self.n * 1000, peak]), flush=True)


def main(n: int = 2000, rounds: int = 3) -> None:
    command = [sys.executable, str(TESTS / "openai_server.py"), "--fast", "--latency", str(LATENCY_S)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        try:
            prepare(Path(folder), server.stdout.readline().strip(), n)
            found: dict[str, list[list[float]]] = {side: [] for side in SIDES}
            for _ in range(rounds):
                for side in SIDES:
                    drafts = str(n // 8 if "cold" in side else n)
                    run = [sys.executable, __file__, side, folder, drafts]
                    said = subprocess.run(run, stdout=subprocess.PIPE, text=True, check=True).stdout
                    found[side].append(json.loads(said))
        finally:
            server.terminate()
    for side, figures in found.items():
        base = "plain cold" if "cold" in side else "plain"
        speed, cpu, peak = (median(column) for column in zip(*figures, strict=True))
        pairs = list(zip(figures, found[base], strict=True))
        faster, lighter = median(a[0] / b[0] for a, b in pairs), median(b[1] / a[1] for a, b in pairs)
        print(f"{side:<11}{speed:5.0f} req/s ({' '.join(f'{f[0]:.0f}' for f in figures)}), {faster:.2f} x {base};  "
              f"{cpu:5.2f} CPU s per 1000, {lighter:.2f} x lighter;  {peak:.0f} MB")  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in SIDES:
        side, folder, number = sys.argv[1:]
        if side.startswith("ours"):
            ours(Path(folder), int(number), "cold" in side)
        else:
            plain(Path(folder), int(number), "cold" in side, "aiohttp" in side)
    else:
        main(*map(int, sys.argv[1:]))
