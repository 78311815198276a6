"""The command `autodrive`. Exit codes: 0 fine, 1 the data has problems, 2 called wrongly.

Only light modules are imported here; each command imports its worker when it is called (a test holds this).
"""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from curation import __version__, pipeline, records
from curation.errors import AutodriveError, UsageError
from curation.recipe import Recipe, demo_recipe, load_recipe, write_starter
from curation.store import Workspace
from curation.types import Progress, Report

LIMIT = click.option("--limit", type=click.IntRange(min=1), help="Take at most N items.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
PATH = click.Path(path_type=Path)
THERE = click.Path(path_type=Path, exists=True)
RECIPE = click.argument("recipe", type=PATH)
CLEAR = "\033[K"  # the rest of a terminal's line


class _Group(click.Group):
    """Turns our errors and the machine's into one line and an exit code; anything else keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AutodriveError as e:
            click.echo(f"Error: {_plain(str(e))}", err=True)
            ctx.exit(e.exit_code)
        except OSError as e:
            if e.errno in (None, errno.EPIPE):  # who reads our output has seen enough: click knows what to do
                raise
            where = e.filename or ctx.invoked_subcommand
            click.echo(f"Error: {_plain(str(where))}: {e.strerror}; mend that, then run it again", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("Stopped. Run the same command again to go on.", err=True)
            ctx.exit(130)


def _plain(text: str) -> str:
    """What a terminal obeys, written out: files, endpoints and raters have a say in our messages."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="autodrive")
def main() -> None:
    """From dashcam footage and metadata to a reviewed, versioned dataset and an honestly scored model.

    Start with `autodrive demo`, or `autodrive init DIR` for a recipe of your own.
    """


@contextmanager
def _progress() -> Iterator[Progress]:
    """A progress callback that tells rate and time left: one line rewritten on a terminal, a line in 5 s elsewhere."""
    from time import monotonic

    terminal = sys.stderr.isatty()
    start: dict[str, tuple[float, int]] = {}
    last = monotonic()

    def show(what: str, done: int, total: int) -> None:
        nonlocal last
        began, first = start.setdefault(what, (t := monotonic(), done))
        if t - last < (0.1 if terminal else 5) and not (terminal and done == total):
            return
        last = t
        rate = (done - first) / (t - began) if t > began else 0
        left = f", {rate:.1f}/s, {(total - done) / rate:.0f} s left" if rate > 0 else ""
        text = f"{what}: {done}/{total}{left}"
        click.echo(f"\r{text}{CLEAR}" if terminal else f"  {text}", err=True, nl=not terminal)

    try:
        yield show
    finally:
        if terminal:
            click.echo(f"\r{CLEAR}", err=True, nl=False)


def _show(report: Report, as_json: bool) -> None:
    if as_json:
        data = {"stage": report.stage, "ok": report.ok, "counts": report.counts, "notes": report.notes}
        click.echo(json.dumps(data | {"gate": report.gate} | report.data, ensure_ascii=False))
        return
    counts = ", ".join(f"{k} {v}" for k, v in report.counts.items())
    click.echo(f"{report.stage:<14} {counts}".rstrip())
    for note in report.notes:
        click.echo(_plain(f"               {note}"))
    if report.gate:
        click.echo(_plain(report.gate))
    if "report" in report.data:
        click.echo(report.data["report"])


def _open(path: Path) -> tuple[Recipe, Workspace]:
    """The recipe and its workspace."""
    recipe = load_recipe(path)
    return recipe, pipeline.open_workspace(recipe)


def _perform(name: str, ws: Workspace, recipe: Recipe, limit: int | None, as_json: bool) -> Report:
    """Do one step and show its report; before models are asked, what that will cost."""
    if name in ("draft", "redraft") and recipe["draft"]["models"] and not as_json:
        from curation.forecast import forecast

        _show(forecast(ws, recipe, limit=limit), as_json)
    with _progress() as progress:
        report = pipeline.perform(name, ws, recipe, limit=limit, progress=progress)
    report.stage = name
    _show(report, as_json)
    return report


def _stage(name: str, path: Path, limit: int | None, as_json: bool, fail_on: str | None = None) -> None:
    recipe, ws = _open(path)
    if fail_on:
        recipe["validate"]["fail_on"] = fail_on
    if not _perform(name, ws, recipe, limit, as_json).ok:
        sys.exit(1)


HELP = {
    "ingest": "Read the sources: probe, hash, refuse what is broken.",
    "clip": "Cut clips around the events, and background clips to match.",
    "validate": "Check the drafts: schema, rules, and the text-prior probe.",
    "resolve": "Turn reviews into labels.",
    "publish": "Write the next local release.",
    "finetune": "Train the recipe's model on the newest release.",
    "eval": "Score the model on the test split; write the report page.",
}


def _add_stage(name: str, text: str) -> None:
    @main.command(name, help=text)
    @RECIPE
    @JSON
    def command(recipe: Path, as_json: bool, limit: int | None = None, fail_on: str | None = None) -> None:
        _stage(name, recipe, limit, as_json, fail_on)

    if name == "validate":
        grave = click.Choice(["error", "warning", "never"])
        click.option("--fail-on", type=grave, help="Exit with 1 for what; else as the recipe says.")(command)
    if name not in ("publish", "finetune", "eval"):  # these make one whole thing
        LIMIT(command)


for _name, _text in HELP.items():
    _add_stage(_name, _text)


@main.command()
@RECIPE
@click.option("--dry-run", is_flag=True, help="Send nothing: show the first prompts and frames, and the cost.")
@LIMIT
@JSON
def draft(recipe: Path, dry_run: bool, limit: int | None, as_json: bool) -> None:
    """Write the texts of every clip whose event is resolved, by template or by model."""
    if not dry_run:
        _stage("draft", recipe, limit, as_json)
        return
    from curation.forecast import forecast

    loaded, ws = _open(recipe)
    _show(forecast(ws, loaded, limit=limit, shown=ws.root / "views" / "dry-run"), as_json)


@main.command()
@RECIPE
@click.option("--until", metavar="STEP", help="Stop after this step.")
@LIMIT
@JSON
def run(recipe: Path, until: str | None, limit: int | None, as_json: bool) -> None:
    """Every stage in order; stops where people are needed and says what to do.

    --limit holds for ingest and clip. With --json every step prints one line, a JSON object of its own.
    """
    sys.exit(run_recipe(load_recipe(recipe), until, limit, as_json))


def run_recipe(recipe: Recipe, until: str | None = None, limit: int | None = None, as_json: bool = False) -> int:
    """Run the steps of a recipe; returns the exit code."""
    names = pipeline.plan(recipe, until)
    ws = pipeline.open_workspace(recipe)
    for name in names:
        report = _perform(name, ws, recipe, limit if name in ("ingest", "clip") else None, as_json)
        if not report.ok and not (name == "validate" and "redraft" in names):  # revalidate has the last word
            click.echo(f"Stopped at {name}: mend what it says and run the same command again.", err=True)
            return 1
        if report.gate:
            return 0
    return 0


@main.command()
@click.option("--out", type=PATH, default=Path("work"), show_default=True, help="Where the workspace goes.")
@click.option("--small", is_flag=True, help="A short run through every stage; its scores mean nothing.")
@click.option("--seed", type=int, default=0, show_default=True)
def demo(out: Path, small: bool, seed: int) -> None:
    """The main job end to end, offline, on rendered footage: from video files to a scored model."""
    sys.exit(run_recipe(demo_recipe(out, small=small, seed=seed)))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def init(folder: Path) -> None:
    """Write a recipe to start from into FOLDER."""
    click.echo(f"wrote {write_starter(folder)}; edit it, then: autodrive run {folder / 'recipe.yaml'}")


@main.command()
@RECIPE
@JSON
def status(recipe: Path, as_json: bool) -> None:
    """What the workspace holds and what comes next."""
    _show(records.status(load_recipe(recipe)), as_json)


@main.command()
@click.argument("record_id")
@click.option("--workspace", "-w", type=THERE, help="Default: every workspace under work/.")
@click.option(
    "--sheet", type=PATH, help="Write the clip here: a contact sheet (.png), or a preview with the running time (.mp4)."
)
def show(record_id: str, workspace: Path | None, sheet: Path | None) -> None:
    """A record with its ancestry; the start of an id is enough."""
    click.echo(records.show(record_id, workspace, sheet))


@main.command()
@click.argument("recipe", type=PATH, required=False)
@click.option("--release", type=THERE, help="Verify the files of one release folder instead.")
@JSON
def verify(recipe: Path | None, release: Path | None, as_json: bool) -> None:
    """Re-hash every record, clip and release file; list what broke."""
    if (recipe is None) == (release is None):
        raise UsageError("verify takes a RECIPE or --release FOLDER")
    report = records.verify(load_recipe(recipe).workspace if recipe else None, release)
    _show(report, as_json)
    if not report.ok:
        sys.exit(1)


@main.group()
def review() -> None:
    """People's part: the review projects in Label Studio, and how the raters do."""


@review.command()
@RECIPE
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; loopback unless you say so.")
@click.option("--port", type=int, default=8080, show_default=True)
def serve(recipe: Path, host: str, port: int) -> None:
    """Start a Label Studio of the workspace's own, with what is ready for review loaded."""
    import signal

    from curation.review import serve as start

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever stops us stops the server, too

    loaded, ws = _open(recipe)
    start(ws, loaded, host=host, port=port, say=click.echo)


def _add_exchange(what: str, text: str) -> None:
    @review.command(what, help=text)
    @RECIPE
    @JSON
    def command(recipe: Path, as_json: bool) -> None:
        from curation.review import exchange
        from curation.review import status as look

        loaded, ws = _open(recipe)
        if what == "status":
            _show(look(ws, loaded), as_json)
            return
        with _progress() as progress, ws.alone("review"):
            report = exchange(ws, loaded, what, progress)
        _show(report, as_json)


_add_exchange("push", "Send what is ready and not yet sent, conflicts to adjudication too.")
_add_exchange("pull", "Fetch what the raters said; fetching twice adds nothing.")
_add_exchange("status", "Both rounds as they stand in the workspace; asks no server.")


@review.command()
@RECIPE
@click.option("--out", type=PATH, help="Write the page for people here (HTML).")
@JSON
def annotators(recipe: Path, out: Path | None, as_json: bool) -> None:
    """How the raters do, by the clips that were dealt by chance: agreement, gold, edits, time."""
    from curation.annotators import annotators as look
    from curation.annotators import page, render

    loaded, ws = _open(recipe)
    rows = look(ws)
    if out is not None:
        out.write_text(page(rows, loaded.name), encoding="utf-8")
    click.echo(json.dumps(rows, ensure_ascii=False) if as_json else render(rows))


@review.command()
@RECIPE
@click.argument("clips", nargs=-1)
@click.option("--reason", required=True)
@click.option("--who", required=True, help="Who decides.")
@LIMIT
def gold(recipe: Path, clips: tuple[str, ...], reason: str, who: str, limit: int | None) -> None:
    """Make adjudicated CLIPS gold (without any named: all, or N by chance): raters are measured on them."""
    from curation.review import make_gold

    loaded, ws = _open(recipe)
    click.echo(f"gold: {make_gold(ws, loaded, clips, reason, who, limit)} clips more; `review push` sends them out")


def _decide(kind: str, text: str) -> None:
    @main.command(kind, help=text)
    @RECIPE
    @click.argument("target")
    @click.option("--reason", required=True)
    @click.option("--who", required=True, help="Who decides.")
    def command(recipe: Path, target: str, reason: str, who: str) -> None:
        click.echo(records.decide(load_recipe(recipe), kind, target, reason, who))


_decide("dismiss", "Dismiss a finding of validate, with a reason.")
_decide("yank", "Take a source or clip out of all later releases, with a reason.")


@main.command()
@click.argument("recipe", type=PATH, required=False)
@click.option("--table", type=PATH, help="Any long table: columns item, rater, field, value, optional group.")
@click.option(
    "--level",
    "levels",
    multiple=True,
    metavar="[FIELD=]LEVEL",
    help="nominal, ordinal (ordinal:low<mid<high), interval or segment; without FIELD of all others.",
)
@JSON
def agree(recipe: Path | None, table: Path | None, levels: tuple[str, ...], as_json: bool) -> None:  # fmt: skip
    """Agreement between raters: of a workspace's reviews, or of any long TABLE."""
    if recipe is not None and table is None and not levels:
        _stage("agree", recipe, None, as_json)
    elif table is not None and recipe is None:
        from curation.agreement import agree_table, render_agreement

        named = {field: level for field, _, level in (one.rpartition("=") for one in levels)}
        result = agree_table(table, level=named)
        click.echo(json.dumps(result) if as_json else render_agreement(result))
    else:
        raise UsageError("agree takes a RECIPE, or --table FILE; --level is for a table, a recipe's fields have theirs")


@main.command()
@click.argument("data")
@click.option("--question", metavar="COL")
@click.option("--options", metavar="COL", help="A column with the options, or several: o1,o2 or 'o*'.")
@click.option("--answer", metavar="COL", help="Text, letter or index of the right option.")
@click.option("--text", metavar="COL", help="Instead of questions: look for copies among these texts.")
@click.option("--group", required=True, metavar="COL", help="What repeats: the video, or better the drive.")
@click.option("--family", metavar="COL", help="Kind of question; each is scored on its own, too.")
@click.option("--out", type=PATH, help="Write the one-page report here.")
@LIMIT
@JSON
def audit(data: str, question: str | None, options: str | None, answer: str | None, text: str | None, group: str,
          family: str | None, out: Path | None, limit: int | None, as_json: bool) -> None:  # fmt: skip
    """Can the answers of DATA (a file, folder or Hub name) be picked without seeing the video?

    With --text: are captions or other texts copied between groups?
    """
    from curation.audit import audit as audit_questions
    from curation.audit import audit_texts
    from curation.audit_page import render_text, render_texts, write_page

    if text and not (question or options or answer or family or out):
        result, render = audit_texts(data, text=text, group=group, limit=limit), render_texts
    elif question and options and answer and not text:
        columns = {"question": question, "options": options, "answer": answer, "group": group}
        result, render = audit_questions(data, **columns, family=family, limit=limit), render_text
    else:
        raise UsageError("audit takes --question, --options, --answer (and --family, --out), or --text alone")
    if out is not None:
        write_page(result, out)
    click.echo(json.dumps(result) if as_json else render(result))
    if out is not None and not as_json:
        click.echo(f"report: {out}")
