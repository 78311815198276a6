"""The command as people call it: exit codes, one-line errors, no tracebacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from curation.cli import main
from curation.recipe import load_recipe

RECIPE = "name: t\nworkspace: .\nsources:\n  - {kind: folder, dataset: d, root: footage}\n"


def call(*args: str) -> Result:
    return CliRunner().invoke(main, list(args))


def one_line(result: Result, code: int) -> str:
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    lines = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.output
    return lines[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RECIPE + "clips: {}\n", "unknown key 'clips'; did you mean 'clip'?"),
        (RECIPE + "clip: {lenght_s: 4}\n", "unknown key 'lenght_s'; did you mean 'length_s'?"),
        (RECIPE + "clip: {length_s: -4}\n", "clip.length_s"),
        (RECIPE + "seed: x\n", "seed: 'x' is not of type 'integer'"),
        ("name: [\n", "not readable as YAML"),
        ("- a\n", "a recipe is a mapping"),
        ("name: t\n", "'sources' is a required property"),
        (RECIPE + "tasks: [captoin]\n", "caption"),
        ("!!python/object/apply:os.system ['true']\n", "not readable as YAML"),
    ],
)
def test_a_mistake_in_a_recipe_is_one_line_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    line = one_line(call("run", str(path), "--until", "ingest"), 2)
    assert said in line
    assert "r.yaml" in line or "no such task pack" in line


def test_a_missing_recipe_says_how_to_get_one(tmp_path: Path) -> None:
    assert "autodrive init" in one_line(call("ingest", str(tmp_path / "none.yaml")), 2)


def test_an_unknown_step_lists_the_steps(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    assert "publish" in one_line(call("run", str(tmp_path / "r.yaml"), "--until", "pubish"), 2)


def test_init_writes_a_recipe_that_loads_and_never_overwrites(tmp_path: Path) -> None:
    assert call("init", str(tmp_path / "x")).exit_code == 0
    assert load_recipe(tmp_path / "x" / "recipe.yaml").name == "my-fleet"
    assert "already" in one_line(call("init", str(tmp_path / "x")), 2)


def test_publish_before_anything_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    assert "nothing to publish" in one_line(call("publish", str(tmp_path / "r.yaml")), 1)
    assert "no release yet" in one_line(call("finetune", str(tmp_path / "r.yaml")), 1)


def test_status_and_show_and_verify_on_an_empty_workspace(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    assert json.loads(call("status", str(tmp_path / "r.yaml"), "--json").output)["counts"]["sources"] == 0
    assert "no record" in one_line(call("show", "clip1_00", "-w", str(tmp_path)), 2)
    assert call("verify", str(tmp_path / "r.yaml")).exit_code == 0
    assert "RECIPE or --release" in one_line(call("verify"), 2)


def test_every_command_has_help_and_stands_in_the_readme() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    for name, command in main.commands.items():
        assert command.help, name
        assert f"`{name}`" in readme or f"autodrive {name}" in readme, name
        assert call(name, "--help").exit_code == 0
