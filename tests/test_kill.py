"""`kill -9` at twenty moments spread over every stage, then left alone: the same release, nothing twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from curation import pipeline
from curation.release import Release, versions
from curation.store import Workspace
from curation.types import FACTS

RECIPE = {
    "name": "kill",
    "workspace": ".",
    "sources": [{"kind": "demo", "triplets": 8, "drives": 8}],
    "clip": {"length_s": 6, "fps": 10, "height": 56},
    "review": {"raters": {"kind": "simulated", "count": 3}},
    "finetune": {"model": "tiny", "tasks": {"event": 1}, "frames": 4, "max_steps": 2, "batch_size": 4},
    "eval": {"arms": ["full"]},
}
KILLS = 20
STEPS = [step for step in pipeline.STEPS if step not in pipeline.REDO]


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from curation.cli import main; main()", "run", str(folder / "recipe.yaml")]
    log = (folder / "log").open("ab")
    return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def recipe_in(folder: Path) -> Path:
    folder.mkdir()
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return folder


def done(log: Path, begin: int) -> list[str]:
    """The steps a run has finished, by the lines it wrote after `begin`; notes are indented ("text prior, …")."""
    lines = log.read_bytes()[begin:].decode(errors="replace").splitlines()
    words = [line.split(" ", 1)[0] for line in lines]
    return [word for word in words if word in STEPS]


def timed(folder: Path) -> dict[str, float]:
    """Run undisturbed; seconds of each step, the first with the start of the program."""
    child, last, took = start(folder), time.monotonic(), {}
    while len(took) < len(STEPS):
        running = child.poll() is None
        for name in done(folder / "log", 0)[len(took) :]:
            took[name], last = time.monotonic() - last, time.monotonic()
        if not running:
            break
        time.sleep(0.02)
    assert child.wait() == 0, (folder / "log").read_text()[-3000:]
    return took


def killed_in(folder: Path, step: str, delay: float) -> str | None:
    """Start a run, kill it `delay` seconds after the step before `step` was done; the step it was in, None if over."""
    log = folder / "log"
    begin = log.stat().st_size if log.exists() else 0
    child = start(folder)
    while child.poll() is None and len(done(log, begin)) < STEPS.index(step):
        time.sleep(0.01)
    time.sleep(delay)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    over = done(log, begin)
    return next((s for s in STEPS if s not in over), None)


def only_release(folder: Path) -> Release:
    found = versions(folder / "releases")
    assert len(found) == 1, (folder / "log").read_text()[-3000:]
    return Release(found[0])


@pytest.mark.timeout(900)
def test_killed_twenty_times_it_makes_the_same_release(tmp_path: Path) -> None:
    calm = recipe_in(tmp_path / "calm")
    took = timed(calm)
    assert list(took) == STEPS
    wanted = only_release(calm)

    stormy = recipe_in(tmp_path / "stormy")
    chance = random.Random(int(os.environ.get("KILL_SEED", "7")))
    hit: Counter[str | None] = Counter()
    aimed = [*STEPS, *chance.choices(STEPS, k=KILLS - len(STEPS))]
    for target in aimed:  # each step in turn is hit at a random moment of its work, then any of them
        hit[killed_in(stormy, target, chance.uniform(0.0, 0.8 * took[target]))] += 1
    for target in [s for s in STEPS if took[s] > 0.3 and not hit[s]]:  # a slow signal may come too late
        hit[killed_in(stormy, target, 0.0)] += 1
    assert hit.total() >= KILLS
    assert {s for s in STEPS if took[s] > 0.3} <= set(hit), (hit, took)
    assert start(stormy).wait() == 0, (stormy / "log").read_text()[-3000:]

    got = only_release(stormy)
    assert got.id == wanted.id
    assert (got.root / "MANIFEST.sha256").read_text() == (wanted.root / "MANIFEST.sha256").read_text()
    ws, other = Workspace(stormy), Workspace(calm)
    for kind in FACTS.values():
        ids = [row["id"] for row in ws.rows(kind)]
        assert len(ids) == len(set(ids)), kind
        assert sorted(ids) == sorted(row["id"] for row in other.rows(kind)), kind
    blobs = {p.name for p in (stormy / "blobs").rglob("*") if p.is_file() and p.suffix != ".part"}
    assert blobs == {p.name for p in (calm / "blobs").rglob("*") if p.is_file()}
    assert list((stormy / "reports").rglob("report.html"))
    assert json.loads(next((stormy / "reports").rglob("summary.json")).read_text())["clips"] > 0
