"""The wheel holds exactly the four import packages, with the domain's data inside, and works from anywhere."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_has_our_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {n.split("/")[0] for n in names if ".dist-info/" not in n}
    assert tops == {"curation", "schemas", "finetune", "eval"}
    for needed in ("schemas/recipe.json", "schemas/event/guidelines.md", "schemas/vqa/template.json",
                   "curation/demo.yaml", "schemas/ontology/driving.json", "schemas/words/forms.json",
                   "schemas/words/options.json",
                   "eval/page.css", "eval/page.html", "curation/starter.yaml", "curation/card.md"):  # fmt: skip
        assert needed in names
    assert not [n for n in names if n.endswith((".mp4", ".pyc")) or "/tests/" in n]
    metadata = zipfile.ZipFile(wheel).read(next(n for n in names if n.endswith("METADATA"))).decode()
    assert "Private :: Do Not Upload" in metadata


def test_it_runs_unpacked_elsewhere(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = "from curation.cli import main; main()"
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); {code}",
        "init",
        "here",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here" / "recipe.yaml").is_file()
