"""The direction of dependencies, and that the command line stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
GROUND = {"types", "ids", "errors"}
STAGES = {"ingest", "clip", "draft", "validate", "review", "agree", "resolve", "publish"}
TOP = {"cli", "pipeline", "demo", "records"}
HEAVY = ("torch", "transformers", "datasets", "openai", "moviepy", "av", "sklearn", "numpy", "pyarrow",
         "label_studio_sdk", "jsonschema", "yaml", "rich", "krippendorff", "huggingface_hub", "PIL")  # fmt: skip


def imports(path: Path) -> set[str]:
    """Every module of ours that `path` imports, at any depth of the code."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
    return {m for m in found if m.split(".")[0] in ("curation", "schemas", "finetune", "eval")}


def ours(modules: set[str]) -> set[str]:
    return {m.split(".")[1] for m in modules if m.startswith("curation.")}


def test_the_ground_imports_nothing_above_it() -> None:
    for name in GROUND:
        assert ours(imports(ROOT / "curation" / f"{name}.py")) <= GROUND, name


def test_the_middle_does_not_know_the_stages() -> None:
    for path in (ROOT / "curation").rglob("*.py"):
        if path.stem not in STAGES | TOP:
            assert not ours(imports(path)) & STAGES, path


def test_nothing_below_the_top_knows_the_commands() -> None:
    for path in (ROOT / "curation").rglob("*.py"):
        if path.stem not in TOP:
            assert not ours(imports(path)) & TOP, path


def test_only_the_pipeline_reaches_training_and_scoring() -> None:
    for path in (ROOT / "curation").rglob("*.py"):
        reached = {m for m in imports(path) if m.split(".")[0] in ("finetune", "eval")}
        assert not reached or path.stem in ("pipeline", "cli"), path


def test_training_and_scoring_read_a_release_never_a_workspace() -> None:
    allowed = {"types", "ids", "errors", "release", "media", "measure", "models", "agreement", "agreement_sums"}
    for folder in ("finetune", "eval"):
        for path in (ROOT / folder).rglob("*.py"):
            assert ours(imports(path)) <= allowed, path


def test_help_imports_nothing_heavy() -> None:
    code = "import sys\nfrom click.testing import CliRunner\nfrom curation.cli import main\n"
    code += "assert CliRunner().invoke(main, ['--help']).exit_code == 0\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {m for m in loaded if m.split(".")[0] in HEAVY}
