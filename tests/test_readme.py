"""The README's commands run as they stand, in the order they stand, on footage put where the recipe looks.

`make demo` runs as its small form and `make test` not at all: it is this suite.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from curation.sources.demo import render

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README, re.S)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [
        line
        for line in lines
        if line and line.split("#")[0].strip() != "make test" and not line.startswith("make test")
    ]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's recipes, with footage in a foreign table as the recipe `folder.yaml` describes it."""
    top = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "recipes", top / "recipes")
    shutil.copy(ROOT / "Makefile", top)
    manifest = render(top / "footage", triplets=2, drives=2, seed=3)
    shutil.move(top / "footage" / "clips", top / "recipes" / "footage")
    with manifest.open(newline="") as f:
        rows = list(csv.DictReader(f))
    with (top / "recipes" / "footage" / "manifest.csv").open("w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["file", "label", "event_time_s", "group", "licence"])
        for r in rows:
            label = r["label"].replace("_", "-")
            out.writerow([Path(r["file"]).name, label, r["event_time_s"], r["drive"], "none"])
    return top


def test_the_two_commands_stand_on_top() -> None:
    assert commands()[0] == "make demo"
    assert README.index("make test") < README.index("## ")


@pytest.mark.timeout(400)
def test_every_command_of_the_readme_runs(checkout: Path) -> None:
    bin_ = Path(sys.executable).parent
    ran = 0
    for line in commands():
        line = line.replace("make demo", ".venv/bin/autodrive demo --small").replace(".venv/bin/", f"{bin_}/")
        environment = {**os.environ, "OMP_NUM_THREADS": "2"}
        done = subprocess.run(line, shell=True, cwd=checkout, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        if "demo" in line:
            page = done.stdout.strip().splitlines()[-1]
            assert Path(page).read_text().startswith("<!doctype html>")
        ran += 1
    assert ran >= 5


def test_paths_the_readme_names_exist() -> None:
    tree = README[README.index("## What is where") : README.index("## How to add")]
    for name in re.findall(r"^  ((?:\w+\.py ?)+)", tree, re.M):
        for file in name.split():
            assert (ROOT / "curation" / file).is_file(), file
    have = {p.name for p in (ROOT / "curation").glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"\w+\.py", tree)) == have
    for folder in re.findall(r"^(\w+)/", tree, re.M):
        assert (ROOT / folder).is_dir(), folder
