"""The order of the stages, and the two that leave the workspace: finetune and eval read a release.

Everything is imported by name when it is its turn, so that the command line stays light.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

from curation import __version__
from curation.errors import DataError, UsageError
from curation.ids import make_id
from curation.recipe import Recipe, lock
from curation.release import Release, latest
from curation.store import Workspace, write_atomic
from curation.types import Json, Progress, Report

# name of the step → "module:function"; review, agree and resolve come twice: first the event, then the words.
STEPS: dict[str, str] = {
    "ingest": "curation.ingest:run",
    "clip": "curation.clip:run",
    "triage": "curation.review:run",
    "resolve-event": "curation.resolve:run",
    "draft": "curation.draft:run",
    "validate": "curation.validate:run",
    "text": "curation.review:run",
    "agree": "curation.agree:run",
    "resolve": "curation.resolve:run",
    "publish": "curation.publish:run",
    "finetune": "curation.pipeline:finetune",
    "eval": "curation.pipeline:evaluate",
}


def step(name: str) -> Callable[..., Report]:
    """The function behind a step."""
    module, function = STEPS[name].split(":")
    found: Callable[..., Report] = getattr(import_module(module), function)
    return partial(found, round=name) if name in ("triage", "text") else found


def plan(recipe: Recipe, until: str | None = None) -> list[str]:
    """The steps of a recipe in order, up to and with `until`. Raises UsageError for an unknown step."""
    names = [n for n in STEPS if not (n == "triage" and recipe["event"]["basis"] == "source")]
    names = [n for n in names if n not in ("finetune", "eval") or recipe[n].get("enabled", True)]
    if until is None:
        return names
    if until not in names:
        raise UsageError(f"no step {until!r}; the steps of this recipe are {', '.join(names)}")
    return names[: names.index(until) + 1]


def open_workspace(recipe: Recipe) -> Workspace:
    """The recipe's workspace, with the recipe locked into it."""
    from curation.tasks import load_packs

    ws = Workspace(recipe.workspace)
    packs = load_packs(["event", *recipe["tasks"]], recipe.base)
    hashes = {n: {"schema": p.schema_id, "prompt": p.prompt_id, "template": p.template_id} for n, p in packs.items()}
    text = json.dumps(lock(recipe, hashes, __version__), indent=1, ensure_ascii=False) + "\n"
    write_atomic(ws.root / "recipe.lock.json", text.encode())
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
    """Score the tuned and the untrained model on the release's test split and write the report page."""
    from eval.predict import run as predict
    from eval.report import evaluate as report

    release = released(ws)
    model = model_dir(ws, recipe, release)
    out = ws.root / "reports" / release.version / model.name
    config = {**recipe["finetune"], **recipe["eval"], "seed": recipe.seed}
    scored = predict(release, model, config, out / "predictions.jsonl", "test", progress)
    times = _count_test_scored(ws, release, model)
    context = _context(release, times) | {"videos": release.video, "title": f"{recipe.name} {release.version}"}
    summary = report(out / "predictions.jsonl", out, context)
    page = out / "report.html"
    return Report("eval", scored.counts, [*scored.notes, f"report: {page}"], {"report": str(page), "summary": summary})


def _count_test_scored(ws: Workspace, release: Release, model: Path) -> int:
    """How many models were scored on this release's test split in this workspace, this one included."""
    path = ws.root / "reports" / "test-scored.json"
    known: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    models = sorted({*known.get(release.id, []), model.name})
    write_atomic(path, json.dumps({**known, release.id: models}, indent=1).encode())
    return len(models)


def _context(release: Release, times: int) -> Json:
    """What the report says beside the scores: the answers to a referee's questions."""
    info = release.info
    return {
        "release": {"version": release.version, "id": release.id, "name": info["name"], "simulated": release.simulated},
        "splits": info["splits"],
        "unknown_drives": info["unknown_drives"],
        "test_labels": info["test_labels"],
        "agreement": info["agreement"],
        "gate": info["gate"],
        "probe": info["probe"],
        "test_scored": times,
        "bases": info["bases"],
    }
