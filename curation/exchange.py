"""Tasks out, answers in: a round's plan against a Label Studio server, or against folders of files.

Pushing again adds only what is missing, and pulling again only what was said since, also after a kill anywhere. A
changed form is another project: what nobody has judged moves there, what somebody has is finished where it began.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from curation import labelstudio
from curation.annotators import EVERYBODY, counted
from curation.answers import read_annotations, revise
from curation.errors import DataError
from curation.ids import make_id, sha256_bytes
from curation.recipe import Recipe
from curation.release import write_atomic
from curation.shares import Round, Share
from curation.store import Workspace, now
from curation.types import Assignment, Clip, Draft, Json, Progress, Refusal, Review

ABOUT = {
    "triage": "Triage: what happens in the clip?",
    "text": "Text: are the drafts right?",
    "blind": "What do you see? Answer before you read.",
    "gold": "To qualify: judge these as you judge all others.",
    "adjudication": "The raters disagree: decide.",
}


# -- push ------------------------------------------------------------------------------------------------------------
def folder(ws: Workspace, recipe: Recipe) -> Path:
    """Where tasks go out and exports come in. Simulated ones have a place of their own."""
    raters = recipe["review"]["raters"]
    return ws.root / ("simulated" if raters["kind"] == "simulated" else raters["folder"])


def push(ws: Workspace, recipe: Recipe, plan: Round, client: Any, progress: Progress | None = None) -> int:
    """Bring the tasks to the raters; returns how many clips were new. Killed anywhere, the next push completes it."""
    planned = [a for s in plan.shares for a in s.planned]
    with ws.writer(Assignment) as out:
        before = sum(a.id in out for a in planned)
        if client is not None:
            labelstudio.backup(labelstudio.instance_dir(ws.root))
        for share in plan.shares if client is None else ():
            _write_share(ws, recipe, plan, share)
        for share in _held(recipe, plan, client) if client is not None else ():
            for a in _push_share(ws, recipe, plan, share, client, progress):
                out.add(a)
        if client is None:
            for a in planned:
                out.add(replace(a, assigned_at=now()))
    return len(planned) - before


def _write_share(ws: Workspace, recipe: Recipe, plan: Round, share: Share) -> None:
    """Config and tasks as files. If the form changed, what was exported from the earlier one is kept beside."""
    place = folder(ws, recipe) / share.project
    kept = place / "config.xml"
    old = kept.read_bytes() if kept.is_file() else b""
    changed = old not in (b"", share.config.encode()) and recipe["review"]["raters"]["kind"] == "file"
    if changed and (place / "export.json").is_file():
        place.rename(place.with_name(f"{share.project}.{sha256_bytes(old)[:6]}"))
    judged = {
        str(task["data"].get("assignment"))
        for path in place.parent.glob(f"{share.project}.*/export.json")
        for task in _read_export(path)
        if task.get("annotations")
    }
    url = recipe["review"]["raters"]["media_url"]
    tasks = [plan.task(share, a, url) for a in share.planned if a.id not in judged]
    write_atomic(kept, share.config.encode())
    write_atomic(place / "tasks.json", as_json(tasks))


def _held(recipe: Recipe, plan: Round, client: Any) -> list[Share]:
    """The shares of the plan, and those that have projects but nothing planned any more."""
    titles = labelstudio.projects(client, f"{recipe.name}.{plan.name}.") if plan.whole else {}
    held = {title.rpartition(".")[0].removeprefix(f"{recipe.name}.") for title in titles}
    return [*plan.shares, *(Share(name, "", 1) for name in sorted(held - {s.project for s in plan.shares}))]


def _push_share(
    ws: Workspace, recipe: Recipe, plan: Round, share: Share, client: Any, progress: Progress | None
) -> Iterator[Assignment]:
    """Make the projects of a share hold what is planned, and nothing else that is open; yields what is there now.

    The view `pushed` remembers what was complete, so that nothing is listed if nothing changed. What the server holds
    already (a killed push) is found, not sent again; a task of a superseded draft or form goes if nobody judged it,
    and is closed if somebody did.
    """
    prefix = f"{recipe.name}.{share.project}."
    title = prefix + sha256_bytes(share.config.encode())[:6]
    want = {a.id: (a, EVERYBODY if a.gold else share.raters + n) for a, n in _unqualified(ws, recipe, share)}
    state = {"share": share.project, "digest": make_id("pushed", [title, [(i, n) for i, (_, n) in want.items()]])}
    rows = {row["share"]: row for row in ws.read_view("pushed")}
    found = labelstudio.projects(client, prefix)
    if rows.get(share.project) == state | {"tasks": labelstudio.sizes(client, found)} or not (want or found):
        return
    local = recipe["review"]["raters"]["media_url"].startswith("/data/local-files/")
    media = labelstudio.instance_dir(ws.root) / "media" if local else None
    about = ABOUT.get(share.name, ABOUT[plan.name])
    number = 0
    if want:
        number = labelstudio.ensure_project(
            client, title, share.config, raters=share.raters, about=about, media=media
        )  # fmt: skip
    ours = {a.id for a in ws.read(Assignment)} if plan.whole else set()
    projects = {*found.values(), *([number] if want else [])}
    there = _reconcile(client, number, projects, {i: n for i, (_, n) in want.items()}, ours)
    yield from (replace(want[i][0], remote=at, assigned_at=now()) for i, at in there.items())
    missing = [a for i, (a, _) in want.items() if i not in there]
    url = recipe["review"]["raters"]["media_url"]
    for start in range(0, len(missing), labelstudio.BATCH):
        batch = missing[start : start + labelstudio.BATCH]
        ids = labelstudio.import_tasks(client, number, [plan.task(share, a, url) for a in batch])
        for a, n in zip(batch, ids, strict=True):
            if want[a.id][1] != share.raters:
                labelstudio.set_overlap(client, n, want[a.id][1])
            yield replace(a, remote=f"{number}/{n}", assigned_at=now())
        if progress:
            progress(f"push {share.project}", min(start + labelstudio.BATCH, len(missing)), len(missing))
    sizes = labelstudio.sizes(client, labelstudio.projects(client, prefix))
    rows[share.project] = state | {"tasks": sizes}
    ws.write_view("pushed", [rows[name] for name in sorted(rows)])


def _unqualified(ws: Workspace, recipe: Recipe, share: Share) -> list[tuple[Assignment, int]]:
    """The planned assignments with the number of raters whose ratings do not count, so that others are asked too."""
    aside = counted(ws, recipe)[1] if recipe["review"]["qualify"]["items"] else {}
    who: dict[tuple[str, str], set[str]] = defaultdict(set)
    for r in ws.read(Review) if aside else ():
        if aside.get(r.id) == "not qualified":
            who[r.clip_id, r.round].add(r.reviewer)
    return [(a, len(who[a.clip_id, a.round])) for a in share.planned]


def _reconcile(client: Any, number: int, projects: set[int], want: dict[str, int], ours: set[str]) -> dict[str, str]:
    """Compare what the projects of a share hold with what is wanted; returns "project/task" of what may stay, by key.

    `want`: raters by key. What is not wanted is taken out if it is `ours`, else left alone: it may be somebody's.
    """
    found = [(n, task) for n in sorted(projects) for task in labelstudio.known_tasks(client, n, "assignment")]
    there: dict[str, str] = {}
    out: dict[int, list[int]] = defaultdict(list)
    for project, task in sorted(found, key=lambda f: (not f[1].annotations, f[0], f[1].id)):
        raters = want.get(task.key, 0)
        if not raters and task.key not in ours:
            continue
        if not task.annotations and (not raters or project != number or task.key in there):
            out[project].append(task.id)
            continue
        if raters:
            there.setdefault(task.key, f"{project}/{task.id}")
        goal = raters or task.annotations
        if task.overlap != goal:
            labelstudio.set_overlap(client, task.id, goal, closed=task.annotations >= goal)
    for project, tasks in out.items():
        labelstudio.take_out(client, project, tasks)
    return there


def as_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


# -- pull ------------------------------------------------------------------------------------------------------------
def pull(ws: Workspace, recipe: Recipe, plan: Round, client: Any, progress: Progress | None = None) -> tuple[int, int]:
    """Take in what the raters said; returns how many reviews and refusals were new. Reading twice adds nothing."""
    assigned = {a.id: a for a in ws.read(Assignment) if a.project.startswith(f"{plan.name}.")}
    clips = {c.id: c for c in ws.read(Clip)}
    drafts = {d.id: d for d in ws.read(Draft)} if plan.name == "text" else {}
    reviews: list[Review] = []
    refusals: list[Refusal] = []
    looked_at: set[str] = set()
    for project, config, tasks in _exports(ws, recipe, plan, client, progress):
        for key, task in _by_assignment(tasks).items():
            if key not in assigned:
                refusals.append(_unknown(project, task))
                continue
            a = assigned[key]
            own, bad = read_annotations(
                task, config, plan.packs, clips[a.clip_id], drafts, round=a.round, project=project
            )  # fmt: skip
            reviews += own
            refusals += bad
            looked_at.update(f"{task.get('project') or project}/{n}" for n in task["ids"])
    with ws.writer(Review) as out:
        asked = {"clip", *(p.name for p in plan.packs)}  # a task that the recipe dropped withdraws nothing
        known = (r for r in ws.read(Review) if r.task in asked)
        added = sum(out.add(r) for r in revise(known, reviews, looked_at))
    return added, ws.refuse(refusals)


def _exports(
    ws: Workspace, recipe: Recipe, plan: Round, client: Any, progress: Progress | None
) -> Iterator[tuple[str, str, list[Json]]]:
    """(project, config, tasks with annotations) of every share, also of those with an earlier form."""
    if client is not None:
        found = labelstudio.projects(client, f"{recipe.name}.{plan.name}.")
        for n, (title, number) in enumerate(sorted(found.items()), 1):
            yield title, client.projects.get(id=number).label_config, labelstudio.export(client, number)
            if progress:
                progress(f"pull {title}", n, len(found))
        return
    for path in sorted(folder(ws, recipe).glob(f"{plan.name}.*/export.json")):
        project = ".".join(path.parent.name.split(".")[:2])
        yield project, (path.parent / "config.xml").read_text(encoding="utf-8"), _read_export(path)


def _read_export(path: Path) -> list[Json]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise DataError(f"{path}: not JSON ({e}); export it from Label Studio in the format JSON") from None
    if not isinstance(rows, list) or not all(isinstance(r, dict) and "data" in r and "id" in r for r in rows):
        raise DataError(f"{path}: not a list of tasks; export it from Label Studio in the format JSON (not JSON-MIN)")
    return rows


def _by_assignment(tasks: list[Json]) -> dict[str, Json]:
    """Tasks by our key. A task that was imported twice is one: its annotations count together."""
    out: dict[str, Json] = {}
    for task in sorted(tasks, key=lambda t: int(t["id"])):
        key = str(task["data"].get("assignment", f"task {task['id']}"))
        annotations = [{"task": task["id"], **a} for a in task.get("annotations", ())]
        if key in out:
            out[key]["annotations"] += annotations
            out[key]["ids"].append(task["id"])
        else:
            out[key] = {**task, "annotations": annotations, "ids": [task["id"]]}
    return out


def _unknown(project: str, task: Json) -> Refusal:
    detail = "a task that was not pushed from this workspace; pull it where it was pushed"
    return Refusal("review", f"{project}/{task['id']}", "unknown_task", detail)
