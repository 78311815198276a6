"""The command as people call it: exit codes, one-line errors, no tracebacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from curation.cli import _progress, main
from curation.recipe import load_recipe
from curation.store import Workspace
from curation.types import Label

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
        (RECIPE + "publish: {title: 2026-01-01}\n", "not JSON serializable"),
        (RECIPE + "clip: {length_s: .nan}\n", "not JSON compliant"),
        ("name: [\n", "not readable as YAML"),
        ("- a\n", "a recipe is a mapping"),
        ("name: t\n", "'sources' is a required property"),
        (RECIPE + "tasks: [captoin]\n", "caption"),
        (
            RECIPE + "draft: {models: {m: {endpoint: local, model: m, params: {n: 2, stream: true}}}}\n",
            "draft.models.m.params: leave out stream, n: it is set elsewhere",
        ),
        (
            RECIPE + "draft: {author: {capton: template}}\n",
            "draft.author: there is no 'capton'; did you mean 'caption'?",
        ),
        (
            RECIPE + "draft: {author: wach, models: {watch: {endpoint: local, model: m}}}\n",
            "draft.author: there is no 'wach'; did you mean 'watch'?",
        ),
        (
            RECIPE + "draft: {models: {m: {endpoint: opnai, model: m}}}\n",
            "draft.models.m.endpoint: there is no 'opnai'; did you mean 'openai'?",
        ),
        (RECIPE + "validate: {probe_model: m}\n", "validate.probe_model: there is no 'm'; known: none"),
        (RECIPE + "finetune: {tasks: {capton: 1}}\n", "finetune.tasks: there is no 'capton'; did you mean 'caption'?"),
        (RECIPE + "publish: {splits: {train: 0.9, test: 0.9}}\n", "publish.splits: adds up to 1.8"),
        (RECIPE + "review: {text: {shares: {overlap: 0.5, blind: 0.9}}}\n", "review.text.shares: adds up to 1.4"),
        (
            RECIPE.replace("footage}", "footage, values: {class: {near-collision: nearcollision}}}"),
            "sources.0.values.class: there is no 'nearcollision'; did you mean 'near_collision'?",
        ),
        (RECIPE + "clip: {fps: 5}\nclip: {fps: 6}\n", "line 6: the key 'clip' stands twice; keep one"),
        (RECIPE + "clip: {fps: 5, fps: 6}\n", "the key 'fps' stands twice; keep one"),
        ("!!python/object/apply:os.system ['true']\n", "not readable as YAML"),
    ],
)
def test_a_mistake_in_a_recipe_is_one_line_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    line = one_line(call("run", str(path), "--until", "ingest"), 2)
    assert said in line
    assert "r.yaml" in line or "no such task pack" in line


@pytest.mark.parametrize(
    "text",
    [
        "publish: {splits: {train: 8, test: 2}}\nreview: {text: {shares: {overlap: 0.34, blind: 0.34, single: .34}}}\n",
        "draft: {models: {m: &m {endpoint: local, model: m}, n: {<<: *m, model: n}, o: {<<: *m, model: o}}}\n",
        "tasks: [caption]\n",  # and not cot, which finetune would take by default
    ],
)
def test_what_is_no_mistake_loads(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE + text)
    assert call("status", str(tmp_path / "r.yaml")).exit_code == 0


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


def with_footage(folder: Path, make_video: Callable[..., Path]) -> str:
    """A recipe with two clips to cut, whose events need no review; returns its path."""
    for i in range(2):
        make_video(folder / "footage" / f"{i}.mp4", frames=30 + i)
    (folder / "footage" / "m.csv").write_text("file,label\n0.mp4,normal\n1.mp4,normal\n")
    table = "table: footage/m.csv, columns: {file: file, class: label}"
    text = f"name: t\nworkspace: .\nworkers: 1\nsources:\n  - {{kind: folder, dataset: d, root: footage, {table}}}\n"
    text += "event: {basis: source}\nreview: {raters: {kind: file}}\nclip: {height: 48}\ntasks: [caption]\n"
    (folder / "r.yaml").write_text(text)
    return str(folder / "r.yaml")


def test_a_limit_on_a_view_looks_and_writes_nothing(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    recipe = with_footage(tmp_path, make_video)
    assert call("run", recipe, "--until", "validate").exit_code == 0
    assert call("resolve", recipe).exit_code == 0
    views = {p.name: p.read_bytes() for p in (tmp_path / "views").iterdir()}
    assert b"caption" in views["labels.jsonl"]
    for stage in ("resolve", "validate"):
        assert "nothing written" in call(stage, recipe, "--limit", "1").output
    assert {p.name: p.read_bytes() for p in (tmp_path / "views").iterdir()} == views
    for stage in ("publish", "finetune", "eval"):
        assert "No such option" in call(stage, recipe, "--limit", "1").output


def test_json_is_json_line_by_line(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    recipe = with_footage(tmp_path, make_video)
    done = CliRunner().invoke(main, ["run", recipe, "--until", "publish", "--json"])
    assert done.exit_code == 0
    stages = [json.loads(line)["stage"] for line in done.stdout.splitlines()]
    assert stages == ["ingest", "clip", "resolve-event", "draft", "validate", "text"]
    assert json.loads(done.stdout.splitlines()[-1])["gate"].startswith("review:")  # people come first


STAGES = ["ingest", "clip", "draft", "validate", "agree", "resolve", "publish", "finetune", "eval"]


@pytest.mark.parametrize("stage", [*STAGES, "review push", "review pull"])
def test_a_second_run_of_a_stage_is_one_line(tmp_path: Path, make_video: Callable[..., Path], stage: str) -> None:
    recipe = with_footage(tmp_path, make_video)
    with Workspace(tmp_path).alone(stage.split()[0]):
        assert "another run" in one_line(call(*stage.split(), recipe), 1)


def test_a_workspace_belongs_to_one_recipe(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    recipe = Path(with_footage(tmp_path, make_video))
    assert call("ingest", str(recipe)).exit_code == 0
    (tmp_path / "b.yaml").write_text(recipe.read_text().replace("name: t", "name: other"))
    assert "belongs to the recipe 't'" in one_line(call("ingest", str(tmp_path / "b.yaml")), 2)
    assert json.loads((tmp_path / "recipe.lock.json").read_text())["recipe"]["name"] == "t"


def test_what_the_machine_refuses_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "r.yaml").write_text(RECIPE.replace("workspace: .", "workspace: file"))
    assert "File exists" in one_line(call("ingest", str(tmp_path / "r.yaml")), 1)
    assert "Is a directory" in one_line(call("show", "clip1_00", "-w", str(directory_for_a_file(tmp_path))), 1)


def directory_for_a_file(folder: Path) -> Path:
    (folder / "ws" / "clips.jsonl").mkdir(parents=True)
    return folder / "ws"


def test_a_full_disk_is_one_line_at_every_stage(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    recipe = with_footage(tmp_path, make_video)
    assert call("run", recipe, "--until", "validate").exit_code == 0
    code = "import resource, signal, sys\nfrom curation.cli import main\n"
    code += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (9, 9))\nmain()"
    for stage in ("ingest", "clip", "draft", "validate", "agree", "resolve"):
        done = subprocess.run([sys.executable, "-c", code, stage, recipe], capture_output=True, text=True)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert done.stderr.startswith("Error: "), done.stderr


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    command = f"{sys.executable} -c 'from curation.cli import main; main()' status {tmp_path / 'r.yaml'} | true"
    assert subprocess.run(command, shell=True, capture_output=True, text=True).stderr == ""


def test_lines_of_progress_come_seconds_apart(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with _progress() as progress:
        for i in range(1, 101):
            progress(f"what {i % 7}", i, 100)
    assert 10 < len(capsys.readouterr().err.splitlines()) <= 20  # a hundred seconds, a line in five at most


def test_on_a_terminal_progress_goes_to_stderr_alone(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    recipe = with_footage(tmp_path, make_video)
    terminal, end = os.openpty()
    command = [sys.executable, "-c", "from curation.cli import main; main()", "ingest", recipe, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=end, text=True, env={**os.environ, "TERM": "xterm"})
    os.close(end)
    assert json.loads(done.stdout)["counts"]["sources"] == 2
    assert done.stdout.count("\n") == 1
    assert "ingest: 2/2" in os.read(terminal, 1 << 16).decode()
    os.close(terminal)


def test_the_conflicts_and_the_next_command_are_told(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    recipe = with_footage(tmp_path, make_video)
    assert call("run", recipe, "--until", "clip").exit_code == 0
    Workspace(tmp_path).write_view("labels", [Label("c", "event", None, "conflict")])
    said = call("status", recipe).output
    assert "1 conflicts are left out" in said
    assert f"next: autodrive run {recipe}" in said


def test_the_workspace_lies_beside_the_recipe_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("init", str(tmp_path / "fleet"))
    monkeypatch.chdir(tmp_path)
    assert load_recipe(Path("fleet/recipe.yaml")).workspace == tmp_path / "fleet" / "work" / "my-fleet"


def test_a_decision_needs_its_reason(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    assert "neither may be empty" in one_line(
        call("yank", str(tmp_path / "r.yaml"), "x", "--reason", " ", "--who", "me"), 2
    )


def test_a_decision_about_nothing_says_where_ids_are(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    recipe, why = str(tmp_path / "r.yaml"), ("--reason", "seen", "--who", "me")
    said = one_line(call("dismiss", recipe, "time_outside", *why), 2)
    assert "no finding has an id that begins with 'time_outside'" in said
    assert f"autodrive validate {recipe}" in said and str(tmp_path / "views" / "issues.jsonl") in said
    assert "clips.jsonl" in one_line(call("yank", recipe, "clip1_00", *why), 2)


def test_what_has_nothing_to_work_on_says_what_comes_first(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    recipe = with_footage(tmp_path, make_video)
    done = call("clip", recipe)
    assert (done.exit_code, "refusals" in done.output) == (1, False)
    assert f"first: autodrive ingest {recipe}" in done.output
    for video in (tmp_path / "footage").glob("*.mp4"):
        video.unlink()
    assert f"no source is left; see {tmp_path / 'refusals.jsonl'}" in call("ingest", recipe).output
    (tmp_path / "footage" / "m.csv").write_text("file,label\n")
    assert "refusals" not in call("ingest", recipe).output


def test_a_level_is_for_a_table(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    said = one_line(call("agree", str(tmp_path / "r.yaml"), "--level", "event.class=interval"), 2)
    assert "--level is for a table" in said


def test_a_video_is_no_table(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    make_video(tmp_path / "footage" / "a.mp4", frames=30)
    (tmp_path / "r.yaml").write_text(RECIPE.replace("root: footage", "root: footage, table: footage/a.mp4"))
    said = one_line(call("ingest", str(tmp_path / "r.yaml")), 2)
    assert said.endswith("a.mp4: no text; `table` in the recipe's sources names a CSV, TSV or JSONL file")


def test_the_recipe_that_init_writes_says_how_long_to_train(tmp_path: Path) -> None:
    call("init", str(tmp_path))
    assert load_recipe(tmp_path / "recipe.yaml")["finetune"]["max_seconds"] > 0


def test_a_file_does_not_drive_the_terminal(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("item,rater,field,value\n1,a,f,3\n1,b,f,\x1b]0;owned\x07é\n")
    line = one_line(call("agree", "--table", str(table), "--level", "f=interval"), 1)
    assert "'\\x1b]0;owned\\x07é' is not a number" in line
