"""The order of the stages, and the two that leave the workspace: finetune and eval read a release.

Everything is imported by name when it is its turn, so that the command line stays light.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

from curation import __version__
from curation.card import interval
from curation.errors import DataError, UsageError
from curation.ids import make_id
from curation.recipe import Recipe, lock
from curation.release import Release, latest, write_atomic
from curation.store import Workspace, dump
from curation.types import Json, Progress, Report

# name of the step → "module:function"; review and resolve come twice: first the event, then the words. redraft and
# revalidate are there if the recipe has flagged drafts written again.
STEPS: dict[str, str] = {
    "ingest": "curation.ingest:run",
    "clip": "curation.clip:run",
    "triage": "curation.review:run",
    "resolve-event": "curation.resolve:run",
    "draft": "curation.draft:run",
    "validate": "curation.validate:run",
    "redraft": "curation.draft:run",
    "revalidate": "curation.validate:run",
    "text": "curation.review:run",
    "agree": "curation.agree:run",
    "resolve": "curation.resolve:run",
    "publish": "curation.publish:run",
    "finetune": "curation.pipeline:finetune",
    "eval": "curation.pipeline:evaluate",
}
REDO = ("redraft", "revalidate")


def perform(
    name: str, ws: Workspace, recipe: Recipe, *, limit: int | None = None, progress: Progress | None = None
) -> Report:
    """Do one step. Raises DataError while another process is at the same step in this workspace."""
    module, function = STEPS[name].split(":")
    run: Callable[..., Report] = getattr(import_module(module), function)
    command = name.removesuffix("-event").removeprefix("re" if name in REDO else "")
    if name in ("triage", "text"):
        run, command = partial(run, round=name), "review"
    with ws.alone(command):
        return run(ws, recipe, limit=limit, progress=progress)


def plan(recipe: Recipe, until: str | None = None) -> list[str]:
    """The steps of a recipe in order, up to and with `until`. Raises UsageError for an unknown step."""
    names = [n for n in STEPS if not (n == "triage" and recipe["event"]["basis"] == "source")]
    names = [n for n in names if n not in REDO or recipe["validate"]["flagged"] == "redraft"]
    names = [n for n in names if n not in ("finetune", "eval") or recipe[n]["enabled"]]
    if until is None:
        return names
    if until not in names:
        raise UsageError(f"no step {until!r}; the steps of this recipe are {', '.join(names)}")
    return names[: names.index(until) + 1]


def open_workspace(recipe: Recipe) -> Workspace:
    """The recipe's workspace, with the recipe locked into it. Raises UsageError if it is another recipe's."""
    from curation.tasks import load_packs

    ws = Workspace(recipe.workspace)
    packs = load_packs(["event", *recipe["tasks"]], recipe.base)
    path = ws.root / "recipe.lock.json"
    name = json.loads(path.read_bytes())["recipe"]["name"] if path.exists() else recipe.name
    if name != recipe.name:
        raise UsageError(f"{ws.root} belongs to the recipe '{name}'; give '{recipe.name}' a `workspace:` of its own")
    text = json.dumps(lock(recipe, packs, __version__), indent=1, ensure_ascii=False) + "\n"
    write_atomic(path, text.encode())
    return ws


def released(ws: Workspace) -> Release:
    """The newest release of the workspace. Raises DataError if there is none."""
    found = latest(ws.root / "releases", ws.root / "blobs")
    if found is None:
        raise DataError(f"{ws.root}: no release yet; run `autodrive publish` first")
    return found


def model_dir(ws: Workspace, recipe: Recipe, release: Release) -> Path:
    """Where the model of this release and this configuration lies."""
    key = make_id("model", [release.id, recipe["finetune"], recipe.seed])
    return ws.root / "models" / key.removeprefix("model1_")[:16]


def finetune(ws: Workspace, recipe: Recipe, *, limit: int | None = None, progress: Progress | None = None) -> Report:
    """Train on the newest release; a model that is complete is not trained again."""
    from finetune.train import run

    release = released(ws)
    out = model_dir(ws, recipe, release)
    return run(release, {"seed": recipe.seed, **recipe["finetune"]}, out, progress)


def evaluate(ws: Workspace, recipe: Recipe, *, limit: int | None = None, progress: Progress | None = None) -> Report:
    """Score the trained and the untrained model on the release's test split and write the report page."""
    from eval.predict import run as predict
    from eval.report import evaluate as report

    release = released(ws)
    model = model_dir(ws, recipe, release)
    if not (model / "train.json").is_file():
        raise DataError(f"{model}: no trained model; run `autodrive finetune` first")
    config = {k: recipe["finetune"][k] for k in ("frames", "size", "precision", "device")} | recipe["eval"]
    config |= {"seed": recipe.seed, "revision": None}
    out = ws.root / "reports" / release.version / model.name
    named = recipe["finetune"]["model"]
    base = model / "base" if named == "tiny" else named
    tuned = predict(release, model / "model", config, out / "tuned.jsonl", progress)
    untrained = {**config, "arms": ["full"], "revision": recipe["finetune"]["revision"]}
    predict(release, base, untrained, out / "untrained.jsonl", progress)
    rows = [json.loads(line) for line in (out / "tuned.jsonl").read_bytes().splitlines()]
    rows += [{**json.loads(line), "arm": "untrained"} for line in (out / "untrained.jsonl").read_bytes().splitlines()]
    write_atomic(out / "predictions.jsonl", "".join(dump(r) + "\n" for r in rows).encode())
    context = _context(release, _count_test_scored(ws, release, model), tuned.data["calibration"])
    context["provenance"] |= json.loads((model / "train.json").read_text(encoding="utf-8"))["versions"]
    summary = report(out / "predictions.jsonl", out, context, clips=_pictures(release))
    notes = [*summary_notes(summary), "the report page:"]
    return Report("eval", tuned.counts, notes, {"report": str(out / "report.html"), "summary": summary})


def summary_notes(summary: Json) -> list[str]:
    """The headline of a summary: collision F1 and accuracy by arm, with n and interval, beside the best constant."""
    notes = []
    for arm, told in summary["arms"].items():
        f1, accuracy = told["metrics"]["f1.collision"], told["metrics"]["accuracy"]
        notes.append(f"{arm:<12} collision F1 {interval(f1)}, accuracy {interval(accuracy)}, n {told['n']}")
    told = ", ".join(f"{k} {c['value']:.3f} (always {c['answer']})" for k, c in summary["constant"].items())
    return [*notes, f"best constant: {told}"]


def _pictures(release: Release) -> Callable[[str], bytes | None]:
    """Contact sheets of the clips that were answered wrongly, as PNG bytes; made when the page asks."""
    from curation.preview import contact_sheet

    def picture(clip_id: str) -> bytes | None:
        try:
            data = release.video(clip_id)
        except DataError:
            return None
        with tempfile.TemporaryDirectory() as folder:
            clip, sheet = Path(folder, "clip.mp4"), Path(folder, "sheet.png")
            clip.write_bytes(data)
            contact_sheet(clip, sheet, n=8, columns=8, height=90)
            return sheet.read_bytes()

    return picture


def _count_test_scored(ws: Workspace, release: Release, model: Path) -> int:
    """How many models were scored on this release's test split in this workspace, this one included."""
    path = ws.root / "reports" / "test-scored.json"
    known: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    models = sorted({*known.get(release.id, []), model.name})
    write_atomic(path, json.dumps({**known, release.id: models}, indent=1).encode())
    return len(models)


def _context(release: Release, times: int, calibration: Json) -> Json:
    """What the report says beside the scores: the answers to a referee's questions."""
    info = release.info
    splits = [{"split": name, **told} for name, told in info["splits"].items()]
    how = "Whole groups (drive, else upload, else source; joined by near-duplicates) are assigned once and stay."
    test = info["test_labels"]
    agreement = [
        {"field": r["field"], "units": r["n_units"], "raters": r["n_raters"]}
        | {"raw": None if r["level"] == "interval" else r["raw"], "alpha": r["alpha"], "AC1": r["ac1"]}
        for r in sorted(info["agreement"], key=lambda r: (not r["field"].startswith("event."), r["field"]))
    ]
    probe = [{k: r[k] for k in ("task", "family", "n", "accuracy", "chance", "verdict")} for r in info["probe"]]
    attributes = {
        row["clip_id"]: {
            "slice": row["slice"],
            **{a["name"]: a["value"] for a in row["attributes"] if a["name"] in SLICES},
        }
        for row in release.rows("event", "test")
    }
    gates = [f"Gate on {g['message']}." for g in info["gate"]]
    return {
        "title": f"{info['title']} {release.version}",
        "splits": {"text": how, "sources without a known drive": info["unknown_drives"], "table": splits},
        "data": {"test labels": test["n"], "of these with fewer than two raters": test["below_two_raters"]},
        "agreement": {"text": " ".join([*gates, JUDGED]), "table": agreement} if agreement else None,
        "probe": probe or None,
        "test_scored": times,
        "simulated": info["simulated"],
        "basis_of_the_labels": [{"task": t, **counts} for t, counts in info["bases"].items()],
        "calibration": calibration,
        "attributes": attributes,
        "provenance": {"release": release.id, "version": release.version, "tool": info["lock"]["tool"]},
    }


JUDGED = (
    "Fields of the event were judged blind. A verdict is on a draft its rater saw: how often it was taken, no more."
)
SLICES = ("cause", "weather", "light", "scene", "road")
