"""Tasks out, answers in: a round's plan against a Label Studio server, or against folders of files.

Pushing again adds only what is missing, and pulling again only what was said since, also after a kill anywhere. A
changed form is another project: what nobody has judged moves there, what somebody has is finished where it began.
"""

from __future__ import annotations

import gc
import json
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from curation import labelstudio
from curation.annotators import EVERYBODY, counted, standing
from curation.answers import read_annotations, revise
from curation.errors import DataError
from curation.ids import make_id, sha256_bytes
from curation.recipe import Recipe
from curation.release import write_atomic
from curation.shares import Round, Share
from curation.store import Workspace, now
from curation.types import Assignment, Clip, Draft, Json, Progress, Refusal, Review

T = TypeVar("T")
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


def where(ws: Workspace, recipe: Recipe, project: str, *, new: bool = True) -> str:
    """Where people find the tasks of a project (if not `new`, they did), and where their answers are looked for."""
    raters = recipe["review"]["raters"]
    if raters["kind"] == "label_studio":
        return f"open {labelstudio.address(raters['url']) or 'Label Studio'}, projects {recipe.name}.{project}"
    tasks = folder(ws, recipe) / project / "tasks.json"
    return f"{'import' if new else 'as before in'} {tasks}, put the export beside it as export.json"


def lacking(ws: Workspace, recipe: Recipe, plan: Round) -> dict[str, int]:
    """The ratings that each planned clip still lacks, by assignment; unmarked gold wants as many as its neighbours."""
    judged: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    keep, aside = counted(ws, recipe)
    gold = standing(ws.read(Review)) if "gold" in aside.values() else ()
    for r in (*keep, *(r for r in gold if aside.get(r.id) == "gold")):
        if r.draft_id or r.task == "clip" or r.round != "text":  # an event confirmed beside a draft says no more of it
            judged[r.clip_id, r.round, r.draft_id or ""].add(r.reviewer)
    out = {}
    for share in plan.shares:
        for a in share.planned:
            seen = set().union(*(judged[a.clip_id, a.round, d] for d in (*a.draft_ids, "")))
            out[a.id] = max(0, share.raters - len(seen))
    return out


def push(ws: Workspace, recipe: Recipe, plan: Round, client: Any, progress: Progress | None = None) -> int:
    """Bring the tasks to the raters; returns how many clips were new. Killed anywhere, the next push completes it."""
    planned = [a for s in plan.shares for a in s.planned]
    with ws.writer(Assignment) as out:
        before = sum(a.id in out for a in planned)
        if client is None:
            open_ = {i for i, n in lacking(ws, recipe, plan).items() if n}
            for share in plan.shares:
                _write_share(ws, recipe, plan, share, open_)
            earlier = {a.project for a in ws.read(Assignment) if a.project.startswith(f"{plan.name}.")}
            for project in earlier - {s.project for s in plan.shares} if plan.whole else ():
                path = folder(ws, recipe) / project / "tasks.json"
                if path.is_file():
                    write_atomic(path, as_json([]))  # nothing of it is asked any more
            for a in planned:
                out.add(replace(a, assigned_at=now()))
            return len(planned) - before
        labelstudio.backup(labelstudio.instance_dir(ws.root))
        held: dict[str, dict[str, int]] = defaultdict(dict)  # share → title → project; also of shares that are no more
        for title, number in labelstudio.projects(client, f"{recipe.name}.{plan.name}.").items():
            held[title.rpartition(".")[0].removeprefix(f"{recipe.name}.")][title] = number
        gone = sorted(held.keys() - {s.project for s in plan.shares}) if plan.whole else []
        for share in [*plan.shares, *(Share(name, "", 1) for name in gone)]:
            for a in _push_share(ws, recipe, plan, share, held[share.project], client, progress):
                out.add(a)
    return len(planned) - before


def _write_share(ws: Workspace, recipe: Recipe, plan: Round, share: Share, open_: set[str]) -> None:
    """Config and open tasks as files. If the form changed, what was exported from the earlier one is kept beside."""
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
    left = [a for a in share.planned if a.id not in judged and (a.id in open_ or a.round == "adjudication")]
    tasks = [plan.task(share, a, url) for a in left]
    write_atomic(kept, share.config.encode())
    write_atomic(place / "tasks.json", as_json(tasks))


def _push_share(
    ws: Workspace, recipe: Recipe, plan: Round, share: Share, held: Mapping[str, int], client: Any,
    progress: Progress | None,
) -> Iterator[Assignment]:  # fmt: skip
    """Make the projects of a share (`held`: there already) hold what is planned, and nothing else that is open;
    yields what is there now.

    The view `pushed` remembers what was complete, so that nothing is listed if nothing changed. What the server holds
    already (a killed push) is found, not sent again; a task of a superseded draft or form goes if nobody judged it,
    and is closed if somebody did.
    """
    title = f"{recipe.name}.{share.project}.{sha256_bytes(share.config.encode())[:6]}"
    want = {a.id: (a, EVERYBODY if a.gold else share.raters + n) for a, n in _unqualified(ws, recipe, share)}
    state = {"share": share.project, "digest": make_id("pushed", [title, [(i, n) for i, (_, n) in want.items()]])}
    rows = {row["share"]: row for row in ws.read_view("pushed")}
    if rows.get(share.project) == state | {"tasks": _tasks(client, held)} or not (want or held):
        return
    projects, number = dict(held), 0
    if want:
        local = recipe["review"]["raters"]["media_url"].startswith("/data/local-files/")
        projects[title] = number = labelstudio.ensure_project(
            client, title, share.config, held.get(title), raters=share.raters,
            about=ABOUT.get(share.name, ABOUT[plan.name]),
            media=labelstudio.instance_dir(ws.root) / "media" if local else None,
        )  # fmt: skip
    ours = {a.id for a in ws.read(Assignment)} if plan.whole else set()
    there = _reconcile(client, number, projects.values(), {i: n for i, (_, n) in want.items()}, ours)
    yield from (replace(want[i][0], remote=at, assigned_at=now()) for i, at in there.items())
    missing = [a for i, (a, _) in want.items() if i not in there]
    url = recipe["review"]["raters"]["media_url"]
    batches = [missing[i : i + labelstudio.BATCH] for i in range(0, len(missing), labelstudio.BATCH)]
    bodies = _ahead(json.dumps([plan.task(share, a, url) for a in batch]).encode() for batch in batches)
    for done, (batch, body) in enumerate(zip(batches, bodies, strict=True), 1):
        ids = labelstudio.import_tasks(client, number, body, len(batch))
        for a, n in zip(batch, ids, strict=True):
            if want[a.id][1] != share.raters:
                labelstudio.set_overlap(client, n, want[a.id][1])
            yield replace(a, remote=f"{number}/{n}", assigned_at=now())
        if progress:
            progress(f"push {share.project}", done, len(batches))
    rows[share.project] = state | {"tasks": _tasks(client, projects)}
    ws.write_view("pushed", [rows[name] for name in sorted(rows)])


def _tasks(client: Any, projects: Mapping[str, int]) -> dict[str, int]:
    return {title: labelstudio.held(client, n)[0] for title, n in sorted(projects.items())}


def _unqualified(ws: Workspace, recipe: Recipe, share: Share) -> list[tuple[Assignment, int]]:
    """The planned assignments with the number of raters whose ratings do not count, so that others are asked too."""
    aside = counted(ws, recipe)[1] if recipe["review"]["qualify"]["items"] else {}
    who: dict[tuple[str, str], set[str]] = defaultdict(set)
    for r in ws.read(Review) if aside else ():
        if aside.get(r.id) == "not qualified":
            who[r.clip_id, r.round].add(r.reviewer)
    return [(a, len(who[a.clip_id, a.round])) for a in share.planned]


def _reconcile(
    client: Any, number: int, projects: Iterable[int], want: dict[str, int], ours: set[str]
) -> dict[str, str]:
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
    seen: dict[str, Json] = {}
    exports = _files(ws, recipe, plan) if client is None else _exports(ws, recipe, plan, client, seen)
    parts = _ahead(exports)
    if (first := next(parts, None)) is None:
        return 0, 0
    clips, drafts = plan.clips, {d.id: d for own in plan.drafts.values() for d in own.values()}
    if not all(a.clip_id in clips and drafts.keys() >= set(a.draft_ids) for a in assigned.values()):  # of earlier ones
        clips = {c.id: c for c in ws.read(Clip)}
        drafts = {d.id: d for d in ws.read(Draft)} if plan.name == "text" else {}
    asked = {"clip", *(p.name for p in plan.packs)}  # a task that the recipe dropped withdraws nothing
    stored: dict[tuple[str, str, str], list[Review]] = defaultdict(list)  # by task at a server (there may be several)
    for r in ws.read(Review):
        if r.task in asked:
            stored[r.remote.rpartition("/")[0], r.clip_id, r.round].append(r)
    added, refused = 0, 0
    looked_at: set[tuple[str, str]] = set()
    strange: set[str] = set()  # projects with tasks of others; they may be ours by the next pull, which reads all
    raters: dict[str, set[str]] = defaultdict(set)  # a task that was imported twice is one: of a rater one counts
    with _uncollected(), ws.writer(Review) as out, ws.writer(Refusal) as aside:
        for project, config, tasks in chain([first], parts):
            for task in sorted(tasks, key=lambda t: int(t["id"])):
                at, key = f"{task.get('project') or project}/{task['id']}", str(task["data"].get("assignment"))
                if (at, key) in looked_at:
                    continue
                looked_at.add((at, key))
                if key in assigned:
                    a = assigned[key]
                    own, bad = read_annotations(
                        task, config, plan.packs, clips[a.clip_id], drafts, round=a.round, project=project,
                        seen=raters[key],
                    )  # fmt: skip
                    added += sum(out.add(r) for r in revise(stored[at, a.clip_id, a.round], own))
                else:
                    bad = [_unknown(project, task)]
                    strange.add(project)
                refused += sum(aside.add(replace(r, refused_at=now())) for r in bad)
            if progress:
                progress(f"pull {plan.name}", len(looked_at), max(len(looked_at), len(assigned)))
    if client is not None:
        rows = {row["project"]: row for row in ws.read_view("pulled")}
        rows |= {title: row | {"reviews": _length(ws)} for title, row in seen.items()}
        ws.write_view("pulled", [rows[title] for title in sorted(rows.keys() - strange)])
    return added, refused


@contextmanager
def _uncollected() -> Iterator[None]:
    """Python's collector leaves alone what is there: else it walks through all of it again and again, and the server
    waits for its next request meanwhile."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _files(ws: Workspace, recipe: Recipe, plan: Round) -> Iterator[tuple[str, str, list[Json]]]:
    """(project, config, tasks with annotations) of every share that was exported to a file."""
    for path in sorted(folder(ws, recipe).glob(f"{plan.name}.*/export.json")):
        project = ".".join(path.parent.name.split(".")[:2])
        yield project, (path.parent / "config.xml").read_text(encoding="utf-8"), _read_export(path)


def _exports(
    ws: Workspace, recipe: Recipe, plan: Round, client: Any, seen: dict[str, Json]
) -> Iterator[tuple[str, str, list[Json]]]:
    """(project, config, tasks with annotations) of every share, part by part, also of those with an earlier form.

    The view `pulled` remembers until when a project was read and how many annotations each task had, so that only
    what was touched since is read. If they do not add up to what the project says it holds, all of it is read.
    """
    rows = {row["project"]: row for row in ws.read_view("pulled")}
    for title, number in sorted(labelstudio.projects(client, f"{recipe.name}.{plan.name}.").items()):
        *least, config = labelstudio.held(client, number)
        row = rows.get(title, {})
        digest = make_id("pulled", [number, config, [(p.name, p.schema, p.spec) for p in plan.packs]])
        sheets: dict[str, int] = {}
        if row.get("digest") == digest and row["reviews"] <= _length(ws):
            sheets = dict(row["sheets"])
        tasks, until = labelstudio.touched(client, number, row["until"] if sheets else "") if least[0] else ((), "")
        for part in labelstudio.export(client, number, tasks if len(tasks) <= 10 * least[0] else ()):
            sheets |= {str(t["id"]): len(t["annotations"]) for t in part}
            yield title, config, part
        found, (*most, _) = (len(sheets), sum(sheets.values())), labelstudio.held(client, number)
        if not all(a <= n <= b for a, n, b in zip(least, found, most, strict=True)):
            for part in labelstudio.export(client, number, None):
                sheets = {str(t["id"]): len(t["annotations"]) for t in part}
                yield title, config, part
        seen[title] = {"project": title, "digest": digest, "until": until, "sheets": sheets}


def _length(ws: Workspace) -> int:
    """How much of reviews there is. It never shrinks, unless somebody took some away: then all is read again."""
    path = ws.path(Review)
    return path.stat().st_size if path.exists() else 0


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items; a thread makes the next ones, from now on, while one is used."""
    pool = ThreadPoolExecutor(1)
    coming = deque(pool.submit(next, items, None) for _ in range(4))

    def made() -> Iterator[T]:
        try:
            while (item := coming.popleft().result()) is not None:
                coming.append(pool.submit(next, items, None))
                yield item
        finally:
            pool.shutdown(cancel_futures=True)

    return made()


def _read_export(path: Path) -> list[Json]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as e:
        raise DataError(f"{path}: not JSON ({e}); export it from Label Studio in the format JSON") from None
    for n, row in enumerate(rows if isinstance(rows, list) else [None], 1):
        lists = isinstance(row, dict) and isinstance(row.get("annotations", []), list)
        if not lists or not isinstance(row.get("data"), dict) or not isinstance(row.get("id"), int):
            how = "export it from Label Studio in the format JSON (not JSON-MIN)"
            raise DataError(f"{path}: task {n} has no id, data and list of annotations; {how}")
    return list(rows)


def _unknown(project: str, task: Json) -> Refusal:
    detail = "a task that was not pushed from this workspace; pull it where it was pushed"
    return Refusal("review", f"{project}/{task['id']}", "unknown_task", detail)
