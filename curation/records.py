"""Looking at a workspace: status, show (a record with its ancestry), verify (re-hash everything), decide."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from curation.errors import DataError, UsageError
from curation.ids import plain, sha256_file
from curation.recipe import Recipe
from curation.release import broken_files, versions
from curation.store import Workspace, load, now
from curation.tasks import at_pointer
from curation.types import FACTS, Clip, Decision, Issue, Json, Label, Record, Refusal, Report, Source


def status(recipe: Recipe) -> Report:
    """Counts of all facts and views, refusals by reason, releases, and the next command."""
    root = recipe.workspace
    if not root.is_dir():
        return Report("status", notes=[f"no workspace yet at {root}; next: autodrive run {recipe.path}"])
    ws = Workspace(root)
    counts = {name: sum(1 for _ in ws.rows(kind)) for name, kind in FACTS.items()}
    refusals = Counter(f"{r.stage}: {r.reason}" for r in ws.read(Refusal))
    labels = Counter(f"{x.task} {x.basis}" for x in ws.labels())
    found = [p.name for p in versions(ws.root / "releases")]
    notes = [f"refused, {reason}: {n}" for reason, n in sorted(refusals.items())]
    notes += [f"labels, {what}: {n}" for what, n in sorted(labels.items())]
    notes += [f"release {name}: {ws.root / 'releases' / name}" for name in found]
    if conflicts := sum(n for what, n in labels.items() if what.endswith(" conflict")):
        notes.append(f"{conflicts} conflicts are left out of releases until somebody decides them")
    notes.append(f"next: autodrive run {recipe.path}" + "; it makes a release if anything changed" * bool(found))
    return Report("status", counts, notes, {"refusals": dict(refusals), "labels": dict(labels), "releases": found})


def workspaces(given: Path | None) -> list[Workspace]:
    """The named workspace, or those in this folder, in `work/`, and in the `work/` of a recipe's folder below."""
    places = ("", "*/", "work/*/", "*/work/*/")
    found = {p.parent for place in places for p in Path().glob(f"{place}recipe.lock.json")}
    return [Workspace(p) for p in ([given] if given else sorted(found))]


def find(prefix: str, given: Path | None) -> tuple[Workspace, Record]:
    """The one record whose id starts with `prefix`. Raises UsageError for none or several."""
    hits = {row["id"]: (ws, kind, row) for ws in workspaces(given) for kind, row in rows(ws, [prefix])}
    if not hits:
        raise UsageError(f"no record {prefix!r}; `autodrive status RECIPE` counts what there is (-w names a workspace)")
    if len(hits) > 1:
        such = ", ".join(sorted(hits)[:3])
        raise UsageError(f"{prefix!r} is the start of {len(hits)} ids, such as {such}; give more of it")
    ws, kind, row = next(iter(hits.values()))
    return ws, load(kind, row)


def rows(ws: Workspace, starts: Iterable[str]) -> Iterator[tuple[type[Record], Json]]:
    """Facts, labels and findings whose ids begin with one of `starts`. An id names its kind: only its file is read."""
    starts = tuple(starts)
    kinds: tuple[type[Record], ...] = (*FACTS.values(), Label, Issue)
    for kind in kinds:
        if any(f"{kind.kind}1_".startswith(s) or s.startswith(f"{kind.kind}1_") for s in starts):
            stored = ws.rows(kind) if kind in FACTS.values() else ws.read_view(f"{kind.kind}s")
            yield from ((kind, row) for row in stored if str(row.get("id", "")).startswith(starts))


def show(prefix: str, given: Path | None, sheet: Path | None = None) -> str:
    """A record, then its ancestors, each indented below what it made; its clip as a contact sheet or .mp4 preview.

    Of a finding, only the text it points to.
    """
    if sheet is not None and sheet.suffix not in (".png", ".jpg", ".mp4"):
        raise UsageError(f"--sheet {sheet}: name a picture (.png) or a preview (.mp4)")
    if prefix.startswith("request"):
        return _request(prefix, given)
    ws, record = find(prefix, given)
    if isinstance(record, Issue):
        return _finding(ws, record)
    known: dict[str, Record] = {}
    found = [record]
    while found:
        known |= {r.id: r for r in found}
        parents = {p for r in found for p in _parents(r)} - known.keys()
        found = [load(kind, row) for kind, row in rows(ws, sorted(parents))]
    lines: list[str] = []

    def write(r: Record, depth: int) -> None:
        pad = "  " * depth
        lines.append(f"{pad}{r.kind} {r.id}")
        for key, value in plain(r).items():
            if key != "id" and value not in (None, "", [], {}):
                text = json.dumps(value, ensure_ascii=False)
                lines.append(f"{pad}  {key}: {text if depth == 0 or len(text) < CUT else text[:CUT] + '…'}")
        for parent in _parents(r):
            if parent in known:
                write(known[parent], depth + 1)

    write(record, 0)
    clip = known.get(getattr(record, "clip_id", ""), record)
    if sheet is not None and isinstance(clip, Clip):
        from curation.authors import frame_times
        from curation.preview import contact_sheet, preview

        if sheet.suffix == ".mp4":
            preview(ws.blob(clip.blob), sheet)
        else:  # of a model's draft: the frames it was written from
            contact_sheet(ws.blob(clip.blob), sheet, times=frame_times(getattr(record, "spec", {}), clip) or None)
        lines.append(f"written: {sheet}")
    return "\n".join(lines)


def _finding(ws: Workspace, issue: Issue) -> str:
    lines = [f"issue {issue.id}"]
    told = {key: value for key, value in plain(issue).items() if key != "id" and value}
    lines += [f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in told.items()]
    for _, row in rows(ws, [issue.record_id]):
        lines += [f"  draft {row['id']}", f"    clip {row['clip_id']}"]
        with suppress(DataError):  # what is missing cannot be shown
            text = json.dumps(at_pointer(row["value"], issue.pointer), ensure_ascii=False)
            lines.append(f"    {issue.pointer or 'value'}: {text[:CUT]}{'…' * (len(text) > CUT)}")
        lines.append(f"all of it: autodrive show {row['id']} -w {ws.root}")
    return "\n".join(lines)


def _request(prefix: str, given: Path | None) -> str:
    from curation.desk import show_request

    found = [told for ws in workspaces(given) if (told := show_request(ws, prefix))]
    if not found:
        raise UsageError(f"no one request {prefix!r} in the store of answers; a model's draft names its request_key")
    return found[0]


def _parents(r: Any) -> list[str]:
    names = ("record_id", "draft_id", "clip_id", "parent_id", "source_id", "target")
    found = [getattr(r, n) for n in names if getattr(r, n, None)]
    return [*found, *getattr(r, "parents", ()), *getattr(r, "review_ids", ())]


CUT = 400  # characters of an ancestor's field: an answer plan is one field for a thousand clips
WRITTEN_BY = {
    "sources": "run `autodrive ingest` again",
    "clips": "run `autodrive clip` again",
    "drafts": "run `autodrive draft` again",
    "reviews": "run `autodrive review pull` again",
    "assignments": "run `autodrive review push` again",
    "decisions": "decide again what was decided last (dismiss, yank, withdraw, review gold)",
    "refusals": "run the stage that refused it again",
}


def verify(root: Path | None, release: Path | None) -> Report:
    """Re-derive every id, blob hash and release file hash. `ok` is false when anything broke; notes list what."""
    if release is not None:
        broken = broken_files(release)
        notes = broken or [f"{release}: every file is as released"]
        return Report("verify", {"broken": len(broken)}, notes, ok=not broken)
    if root is None or not root.is_dir():
        raise UsageError(f"{root}: no such workspace; run the recipe first")
    ws = Workspace(root)
    broken, counts = _unfounded(ws), {}
    for name, kind in FACTS.items():
        ids: Counter[str] = Counter()
        try:
            for n, row in enumerate(ws.rows(kind), 1):
                broken += _broken_row(ws, kind, row, n)
                ids[str(row.get("id"))] += 1
        except DataError as e:
            broken.append(f"{e} (what follows it was not looked at)")
        broken += [f"{ws.path(kind)}: {i} stands there {n} times" for i, n in ids.items() if n > 1]
        if ws.torn(kind):
            broken.append(f"{ws.path(kind)}: its last line is torn, and what it said is not read; {WRITTEN_BY[name]}")
        counts[name] = ids.total()
    found = versions(ws.root / "releases", broken=True)
    broken += [line for path in found for line in broken_files(path)]
    counts |= {"releases": len(found), "broken": len(broken)}
    return Report("verify", counts, broken, {"broken": broken}, ok=not broken)


def _unfounded(ws: Workspace) -> list[str]:
    """Clips whose events are not their source's. Rows that cannot be read are told elsewhere."""
    from curation.clip import follows

    out = []
    with suppress(DataError):
        sources = {s.id: s for s in ws.read(Source)}
        for n, clip in enumerate(ws.read(Clip), 1):
            if clip.source_id in sources and not follows(clip, sources[clip.source_id]):
                out.append(f"{ws.path(Clip)}:{n}: its events are not those of {clip.source_id}")
    return out


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
    if not reason.strip() or not who.strip():
        raise UsageError("--reason and --who say why and by whom; neither may be empty")
    ws = Workspace(recipe.workspace)
    of = [ws.read_view("issues")] if kind == "dismiss" else [ws.rows(Source), ws.rows(Clip)]
    hits = sorted({row["id"] for stored in of for row in stored if row["id"].startswith(target)})
    what = "finding" if kind == "dismiss" else "source or clip"
    if not hits:
        lists = f"{ws.path(Source)} and {ws.path(Clip)}"
        if kind == "dismiss":
            lists = f"what `autodrive validate {recipe.path}` prints and {ws.view_path('issues')}"
        raise UsageError(f"no {what} has an id that begins with {target!r}; ids are in {lists}")
    if len(hits) > 1:
        raise UsageError(f"{target!r} begins the id of {len(hits)}, such as {hits[0]}; give more of one {what}'s id")
    decision = Decision(hits[0], kind, reason, who, now())
    with ws.writer(Decision) as out:
        new = out.add(decision)
    return f"{kind} {hits[0]}: {'recorded' if new else 'was recorded already'}; run the recipe again to apply it"
