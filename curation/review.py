"""review: what people say of clips and drafts. Two rounds: `triage` (the event, blind) and `text` (the drafts).

A round deals its clips to shares, disjoint by hash: `overlap` is judged by several raters, `single` by one. Each share
is one Label Studio project (or one folder of files), each clip in it one task, known by the id of its Assignment; so
pushing again adds only what is missing, and pulling again adds only what was said since. Raters are people at a Label
Studio server, people elsewhere (`file`: tasks go out and exports come in as files), or simulated, by the same files.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curation import labelstudio, simulated
from curation.answers import read_annotations, revise
from curation.draft import current_drafts
from curation.errors import DataError
from curation.forms import compose, task_data
from curation.ids import fraction, sha256_bytes
from curation.recipe import Recipe
from curation.release import write_atomic
from curation.resolve import open_errors, standing, target_event
from curation.store import Workspace, current_clips, now
from curation.tasks import TaskPack, load_packs
from curation.types import Assignment, Clip, Draft, Json, Progress, Refusal, Report, Review

ROUNDS = ("triage", "text")


@dataclass(frozen=True)
class Round:
    """One round of one workspace: its form, its clips in the order they are served, their shares and drafts."""

    name: str
    packs: list[TaskPack]
    config: str
    clips: dict[str, Clip]
    drafts: dict[str, dict[str, Draft]]  # clip → task → draft
    planned: list[Assignment]
    raters: dict[str, int]  # project → ratings wanted for each of its clips

    def tasks(self, project: str, recipe: Recipe) -> list[Json]:
        """The Label Studio tasks of one project, all of them."""
        return [self.task(a, recipe) for a in self.planned if a.project == project]

    def task(self, a: Assignment, recipe: Recipe) -> Json:
        url = recipe["review"]["raters"]["media_url"]
        sha256 = self.clips[a.clip_id].blob
        media = url.replace("{sha256}", sha256).replace("{ab}", sha256[:2])
        data = task_data(a.id, self.clips[a.clip_id], self.drafts.get(a.clip_id, {}), self.packs, media)
        return {"data": data}


def run(
    ws: Workspace, recipe: Recipe, *, round: str = "triage", limit: int | None = None, progress: Progress | None = None
) -> Report:
    """Push what is missing, pull what is new; the report's gate says what to do while ratings are missing."""
    raters = recipe["review"]["raters"]
    if round == "triage" and recipe["event"]["basis"] == "source":
        return Report("review", notes=["event.basis is `source`: the sources decide the event, nobody is asked"])
    plan = prepare(ws, recipe, round, limit)
    report = Report("review", {"clips": len(plan.planned)})
    with labelstudio.connect(raters["url"]) if raters["kind"] == "label_studio" else nullcontext() as client:
        report.counts["pushed"] = push(ws, recipe, plan, client, progress)
        if raters["kind"] == "simulated":
            _simulate(ws, recipe, plan)
        report.counts["reviews"], report.counts["refused"] = pull(ws, recipe, plan, client, progress)
    waiting = _waiting(ws, plan)
    if waiting:
        report.counts["ratings missing"] = waiting
        report.gate = _what_next(ws, recipe, plan, waiting)
    if raters["kind"] == "simulated":
        report.notes.append("the raters are simulated: what follows is marked so and can never be pushed to a hub")
    return report


def exchange(ws: Workspace, recipe: Recipe, what: str, progress: Progress | None = None) -> Report:
    """Push (`what` "push") or pull ("pull") every round that is ready, and nothing else."""
    raters, report = recipe["review"]["raters"], Report(f"review {what}")
    with labelstudio.connect(raters["url"]) if raters["kind"] == "label_studio" else nullcontext() as client:
        for name in ROUNDS:
            if name == "triage" and recipe["event"]["basis"] == "source":
                continue
            plan = prepare(ws, recipe, name)
            if what == "push":
                report.counts[f"{name} pushed"] = push(ws, recipe, plan, client, progress)
            else:
                reviews, refused = pull(ws, recipe, plan, client, progress)
                report.counts |= {f"{name} reviews": reviews, f"{name} refused": refused}
                report.counts[f"{name} ratings missing"] = _waiting(ws, plan)
    return report


def _what_next(ws: Workspace, recipe: Recipe, plan: Round, waiting: int) -> str:
    raters = recipe["review"]["raters"]
    if raters["kind"] == "label_studio":
        where = f"open {labelstudio.address(raters['url'])}, projects {recipe.name}.{plan.name}.*"
    else:
        where = f"import {folder(ws, recipe)}/{plan.name}.*/tasks.json, put each export beside it as export.json"
    return f"review: {waiting} ratings are missing; {where}; then run the same command again"


# -- who judges what -------------------------------------------------------------------------------------------------
def assign(clips: Sequence[str], shares: dict[str, float], seed: int, round: str) -> dict[str, str]:
    """Share per clip, by the hash of the clip alone: adding clips moves none. Shares are weights."""
    total = sum(shares.values())
    out = {}
    for clip in clips:
        at = fraction(seed, "share", round, clip) * total
        for name in sorted(shares):
            at -= shares[name]
            if at < 0:
                break
        out[clip] = name
    return out


def prepare(ws: Workspace, recipe: Recipe, round: str, limit: int | None = None) -> Round:
    """What the round consists of now. Test groups come first, then whole groups in hashed order."""
    packs = load_packs(["event", *recipe["tasks"]], recipe.base)
    own = [packs["event"]] if round == "triage" else [p for n, p in packs.items() if n != "event"]
    clips = current_clips(ws)
    drafts: dict[str, dict[str, Draft]] = defaultdict(dict)
    if round == "triage":
        asked = [c for c in clips.values() if c.role != "pre_event"]  # its outcome is inherited, not asked
    else:
        errors = open_errors(ws, recipe)
        for (clip_id, task), draft in current_drafts(ws, recipe, ws.labels()).items():
            if draft.id not in errors and clip_id in clips:
                drafts[clip_id][task] = draft
        asked = [clips[c] for c in drafts]
    order = _order(ws, recipe)
    asked = sorted(asked, key=lambda c: order(c.id))[:limit]
    section = recipe["review"][round]
    share = assign([c.id for c in asked], section["shares"], recipe.seed, round)
    planned = [
        Assignment(c.id, f"{round}.{share[c.id]}", round, draft_ids=tuple(sorted(d.id for d in drafts[c.id].values())))
        for c in asked
    ]
    raters = {f"{round}.{s}": 1 if s == "single" else section["raters"] for s in section["shares"]}
    return Round(round, own, compose(own), clips, dict(drafts), planned, raters)


def _order(ws: Workspace, recipe: Recipe) -> Callable[[str], tuple[bool, float, float]]:
    group = {row["clip_id"]: row["group"] for row in ws.read_view("groups")}
    from curation.release import latest

    parent = latest(ws.root / "releases")
    ledger = parent.root / "splits.jsonl" if parent else Path()
    rows = [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines()] if parent else []
    test = {group.get(row["clip_id"], row["clip_id"]) for row in rows if row["split"] == "test"}

    def key(clip_id: str) -> tuple[bool, float, float]:
        own = group.get(clip_id, clip_id)
        return own not in test, fraction(recipe.seed, "order", own), fraction(recipe.seed, "order", clip_id)

    return key


# -- push ------------------------------------------------------------------------------------------------------------
def folder(ws: Workspace, recipe: Recipe) -> Path:
    """Where tasks go out and exports come in. Simulated ones have a place of their own."""
    raters = recipe["review"]["raters"]
    return ws.root / ("simulated" if raters["kind"] == "simulated" else raters["folder"])


def push(ws: Workspace, recipe: Recipe, plan: Round, client: Any, progress: Progress | None = None) -> int:
    """Bring the tasks to the raters; returns how many clips were new. Killed anywhere, the next push completes it."""
    with ws.writer(Assignment) as out:
        before = sum(a.id in out for a in plan.planned)
        if client is not None:
            known = {a.id: a for a in ws.read(Assignment)}
            for project in plan.raters:
                for a in _push_share(ws, recipe, plan, project, known, client, progress):
                    out.add(a)
        else:
            for project in plan.raters:
                tasks = plan.tasks(project, recipe)
                write_atomic(folder(ws, recipe) / project / "config.xml", plan.config.encode())
                write_atomic(folder(ws, recipe) / project / "tasks.json", _json(tasks))
            for a in plan.planned:
                out.add(replace(a, assigned_at=now()))
    return len(plan.planned) - before


def _push_share(
    ws: Workspace, recipe: Recipe, plan: Round, project: str, known: dict[str, Assignment], client: Any,
    progress: Progress | None,
) -> Iterator[Assignment]:  # fmt: skip
    """Assignments as their tasks reach the server. What it holds already (a killed push) is found, not sent again."""
    planned = [a for a in plan.planned if a.project == project]
    if not planned:
        return
    live = {str(n) for n in labelstudio.projects(client, f"{recipe.name}.{project}.").values()}
    wanted = [a for a in planned if a.id not in known or known[a.id].remote.split("/")[0] not in live]
    if not wanted:
        return
    title = f"{recipe.name}.{project}.{sha256_bytes(plan.config.encode())[:6]}"
    local = recipe["review"]["raters"]["media_url"].startswith("/data/local-files/")
    media = labelstudio.instance_dir(ws.root) / "media" if local else None
    about = "Triage: what happens in the clip?" if plan.name == "triage" else "Text: are the drafts right?"
    number = labelstudio.ensure_project(
        client, title, plan.config, raters=plan.raters[project], about=about, media=media
    )
    there = labelstudio.known_tasks(client, number, "assignment")
    missing = [a for a in wanted if a.id not in there]
    yield from (replace(a, remote=f"{number}/{there[a.id]}", assigned_at=now()) for a in wanted if a.id in there)
    for start in range(0, len(missing), labelstudio.BATCH):
        batch = missing[start : start + labelstudio.BATCH]
        ids = labelstudio.import_tasks(client, number, [plan.task(a, recipe) for a in batch])
        yield from (replace(a, remote=f"{number}/{n}", assigned_at=now()) for a, n in zip(batch, ids, strict=True))
        if progress:
            progress(f"push {project}", min(start + labelstudio.BATCH, len(missing)), len(missing))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def serve(ws: Workspace, recipe: Recipe, *, host: str, port: int, say: Callable[[str], None]) -> None:
    """Run the workspace's own Label Studio with every round that is ready pushed to it, until it is interrupted.

    `say` gets the lines with the address, the admin's password and token and the raters' link: they are said once.
    """
    where = labelstudio.instance_dir(ws.root)
    with labelstudio.serve(where, ws.root / "blobs", host=host, port=port) as server:
        with labelstudio.connect(server.url, server.token) as client:
            for name in ROUNDS:
                if not (name == "triage" and recipe["event"]["basis"] == "source"):
                    plan = prepare(ws, recipe, name)
                    say(f"{name}: {len(plan.planned)} clips, {push(ws, recipe, plan, client)} of them new")
            invite = labelstudio.invite_url(client, server.url)
        say(f"Label Studio:   {server.url}   (its data: {where}; stop it with Ctrl-C)")
        say(f"admin:          {labelstudio.ADMIN}   password: {server.password}")
        say(f"raters sign up: {invite}")
        say(f"export LABEL_STUDIO_URL={server.url} LABEL_STUDIO_API_KEY={server.token}")
        server.process.wait()


# -- pull ------------------------------------------------------------------------------------------------------------
def pull(ws: Workspace, recipe: Recipe, plan: Round, client: Any, progress: Progress | None = None) -> tuple[int, int]:
    """Take in what the raters said; returns how many reviews and refusals were new. Reading twice adds nothing."""
    assigned = {a.id: a for a in ws.read(Assignment) if a.round == plan.name}
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
            clip = clips[assigned[key].clip_id]
            own, bad = read_annotations(task, config, plan.packs, clip, drafts, round=plan.name, project=project)
            reviews += own
            refusals += bad
            looked_at.update(f"{task.get('project') or project}/{n}" for n in task["ids"])
    with ws.writer(Review) as out:
        known = [r for r in ws.read(Review) if r.round == plan.name]
        added = sum(out.add(r) for r in revise(known, reviews, looked_at))
    return added, ws.refuse(replace(r, refused_at=now()) for r in refusals)


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
    for project in plan.raters:
        path = folder(ws, recipe) / project / "export.json"
        if path.is_file():
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


# -- what is missing, and simulated raters ---------------------------------------------------------------------------
def _raters(ws: Workspace, round: str) -> dict[tuple[str, str], set[str]]:
    """Who has judged: by clip and draft (no draft for a blind judgement or a clip problem)."""
    out: dict[tuple[str, str], set[str]] = defaultdict(set)
    for r in standing(ws.read(Review)):
        if r.round == round:
            out[r.clip_id, r.draft_id or ""].add(r.reviewer)
    return out


def _waiting(ws: Workspace, plan: Round) -> int:
    judged = _raters(ws, plan.name)
    missing = 0
    for a in plan.planned:
        seen = set().union(*(judged.get((a.clip_id, d), set()) for d in (*a.draft_ids, "")))
        missing += max(0, plan.raters[a.project] - len(seen))
    return missing


def _simulate(ws: Workspace, recipe: Recipe, plan: Round) -> None:
    """Write the exports that simulated raters would have left, beside the tasks they were given."""
    raters = recipe["review"]["raters"]
    truth = {c.id: target_event(c.events) for c in plan.clips.values()}
    labels = {x.clip_id: x.value for x in ws.labels() if x.task == "event" and x.value}
    wrong = {
        clip for clip, event in truth.items()
        if plan.name == "text" and clip in labels and labels[clip]["class"] != simulated.true_class(event)
    }  # fmt: skip
    for project, wanted in plan.raters.items():
        tasks = plan.tasks(project, recipe)
        done = simulated.answer(
            tasks, plan.config, truth, wrong, count=raters["count"], wanted=wanted, error=raters["error"],
            seed=recipe.seed,
        )  # fmt: skip
        write_atomic(folder(ws, recipe) / project / "export.json", _json(done))


def status(ws: Workspace, recipe: Recipe) -> Report:
    """Both rounds as they stand in the workspace; asks no server."""
    report = Report("review status")
    for name in ROUNDS:
        pushed = Counter(a.project for a in ws.read(Assignment) if a.round == name)
        reviews = [r for r in standing(ws.read(Review)) if r.round == name]
        judged = {r.clip_id for r in reviews}
        for project, n in sorted(pushed.items()):
            report.counts[f"{project} clips"] = n
        report.counts[f"{name} judged"] = len(judged)
        report.data[name] = {
            "pushed": dict(sorted(pushed.items())),
            "judged": len(judged),
            "raters": len({r.reviewer for r in reviews}),
            "verdicts": dict(sorted(Counter(r.verdict for r in reviews).items())),
        }
    report.counts["refused"] = sum(r.stage == "review" for r in ws.read(Refusal))
    return report
