"""Looking at a workspace: status, show (a record with its ancestry), verify (re-hash everything), decide."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curation.errors import DataError, UsageError
from curation.ids import plain, sha256_file
from curation.recipe import Recipe
from curation.release import MANIFEST, broken_files, versions
from curation.store import Workspace, load, now
from curation.types import FACTS, Clip, Decision, Json, Record, Refusal, Report


def status(recipe: Recipe) -> Report:
    """Counts of all facts and views, refusals by reason, releases, and the next command."""
    root = recipe.workspace
    if not root.is_dir():
        return Report("status", notes=[f"no workspace yet at {root}; next: autodrive run {recipe.path}"])
    ws = Workspace(root)
    counts = {name: sum(1 for _ in ws.rows(kind)) for name, kind in FACTS.items()}
    refusals = Counter(f"{r.stage}: {r.reason}" for r in ws.read(Refusal))
    labels = Counter(f"{x.task} {x.basis}" for x in ws.labels())
    found = versions(ws.root / "releases")
    notes = [f"refused, {reason}: {n}" for reason, n in sorted(refusals.items())]
    notes += [f"labels, {what}: {n}" for what, n in sorted(labels.items())]
    notes += [f"release {p.name}: {p}" for p in found]
    notes.append(_next(counts, labels, [p.name for p in found], recipe))
    data = {"refusals": dict(refusals), "labels": dict(labels), "releases": [p.name for p in found]}
    return Report("status", counts, notes, data)


def _next(counts: dict[str, int], labels: Counter[str], found: list[str], recipe: Recipe) -> str:
    conflicts = sum(n for what, n in labels.items() if what.endswith("conflict"))
    if conflicts:
        return f"next: {conflicts} conflicts wait for adjudication"
    return (
        f"next: autodrive run {recipe.path}"
        if not found
        else f"{len(found)} releases; run the recipe again after a change"
    )


def workspaces(given: Path | None) -> list[Workspace]:
    """The named workspace, or every one under `work/`."""
    roots = [given] if given else sorted(p.parent for p in Path("work").glob("*/recipe.lock.json"))
    return [Workspace(p) for p in roots]


def find(prefix: str, given: Path | None) -> tuple[Workspace, Record]:
    """The one record whose id starts with `prefix`. Raises UsageError for none or several."""
    hits: dict[str, tuple[Workspace, Record]] = {}
    for ws in workspaces(given):
        for record in everything(ws):
            if record.id.startswith(prefix):
                hits[record.id] = (ws, record)
    if not hits:
        raise UsageError(f"no record {prefix!r}; `autodrive status RECIPE` counts what there is (-w names a workspace)")
    if len(hits) > 1:
        raise UsageError(
            f"{prefix!r} is the start of {len(hits)} ids, such as {', '.join(sorted(hits)[:3])}; give more of it"
        )
    return next(iter(hits.values()))


def everything(ws: Workspace) -> Iterator[Record]:
    """All facts and labels of a workspace."""
    for kind in FACTS.values():
        yield from ws.read(kind)
    yield from ws.labels()


def show(prefix: str, given: Path | None, sheet: Path | None = None) -> str:
    """A record, then its ancestors, each indented below what it made; optionally a contact sheet of its clip."""
    ws, record = find(prefix, given)
    known = {r.id: r for r in everything(ws)}
    lines: list[str] = []

    def write(r: Record, depth: int) -> None:
        pad = "  " * depth
        lines.append(f"{pad}{r.kind} {r.id}")
        for key, value in plain(r).items():
            if key != "id" and value not in (None, "", [], {}):
                lines.append(f"{pad}  {key}: {json.dumps(value, ensure_ascii=False)}")
        for parent in _parents(r):
            if parent in known:
                write(known[parent], depth + 1)

    write(record, 0)
    clip = known.get(getattr(record, "clip_id", ""), record)
    if sheet is not None and isinstance(clip, Clip):
        from curation.preview import contact_sheet

        contact_sheet(ws.blob(clip.blob), sheet)
        lines.append(f"contact sheet: {sheet}")
    return "\n".join(lines)


def _parents(r: Any) -> list[str]:
    names = ("draft_id", "clip_id", "parent_id", "source_id", "target")
    found = [getattr(r, n) for n in names if getattr(r, n, None)]
    return [*found, *getattr(r, "parents", ()), *getattr(r, "review_ids", ())]


def verify(root: Path | None, release: Path | None) -> Report:
    """Re-derive every id, blob hash and release file hash. `ok` is false when anything broke; notes list what."""
    if release is not None:
        broken = broken_files(release)
        return Report(
            "verify", {"broken": len(broken)}, broken or [f"{release}: every file is as released"], ok=not broken
        )
    if root is None or not root.is_dir():
        raise UsageError(f"{root}: no such workspace; run the recipe first")
    ws = Workspace(root)
    broken, counts = [], {}
    for name, kind in FACTS.items():
        n = 0
        for n, row in enumerate(ws.rows(kind), 1):
            broken += _broken_row(ws, kind, row, n)
        counts[name] = n
    for path in sorted((ws.root / "releases").glob(f"*/{MANIFEST}")):
        broken += broken_files(path.parent)
        counts["releases"] = counts.get("releases", 0) + 1
    return Report("verify", {**counts, "broken": len(broken)}, broken, {"broken": broken}, ok=not broken)


def _broken_row(ws: Workspace, kind: type[Record], row: Json, number: int) -> list[str]:
    where = f"{ws.path(kind)}:{number}"
    try:
        again = load(kind, {**row, "id": ""})
    except DataError as e:
        return [f"{where}: {e}"]
    out = [] if again.id == row.get("id") else [f"{where}: its content hashes to {again.id}, not to {row.get('id')}"]
    if isinstance(again, Clip):
        blob = ws.blob(again.blob)
        if not blob.is_file():
            out.append(f"{where}: the media {blob} is missing")
        elif sha256_file(blob) != again.blob:
            out.append(f"{blob}: the media is not what its name says")
    return out


def decide(recipe: Recipe, kind: str, target: str, reason: str, who: str) -> str:
    """Record a decision about a source, a clip or a finding. Raises UsageError if there is no such target."""
    if not recipe.workspace.is_dir():
        raise UsageError(f"no workspace at {recipe.workspace}; run the recipe first")
    ws = Workspace(recipe.workspace)
    targets = {row["id"] for row in ws.read_view("issues")} if kind == "dismiss" else set()
    targets |= {r.id for r in everything(ws) if r.kind in ("source", "clip")} if kind != "dismiss" else set()
    hits = [t for t in targets if t.startswith(target)]
    if len(hits) != 1:
        raise UsageError(
            f"{target!r} names {len(hits)} {'findings' if kind == 'dismiss' else 'sources or clips'}; give one whole id"
        )
    decision = Decision(hits[0], kind, reason, who, now())
    with ws.writer(Decision) as out:
        new = out.add(decision)
    return f"{kind} {hits[0]}: {'recorded' if new else 'was recorded already'}; run the recipe again to apply it"
