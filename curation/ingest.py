"""ingest: what the recipe's sources claim, and what their files hold → Sources and Refusals.

Every file is hashed and probed on every run (a changed file must not hide behind an old time stamp); what is known by
its id is not written again. One bad row or file never stops the others. The view `sources` lists what is current: a
row that was taken out of the table, or that went back to an earlier claim, is not the newest fact of its key.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from itertools import islice
from pathlib import Path

from curation.errors import Refused, UsageError
from curation.ids import canonical_json, sha256_file
from curation.media import probe
from curation.pool import spread
from curation.recipe import Recipe
from curation.sources.table import ontology, printable
from curation.store import Workspace, current_sources
from curation.types import Json, Progress, Refusal, Report, Source

Reader = Callable[[Json, Path], Iterator[Source | Refusal]]

KINDS = {"folder": "curation.sources.folder:read", "nexar": "curation.sources.nexar:read"}

DEMO: Json = {
    "dataset": "demo",
    "columns": {
        "file": "file", "class": "label", "event_s": "event_time_s", "alert_s": "alert_s", "trigger_s": "trigger_s",
        "drive": "drive", "ego_role": "ego_role", "partner": "partner", "time_basis": "label",
    },
    "attributes": ["cause", "weather", "light", "scene", "road"],
    "values": {
        "time_basis": {"collision": "contact", "near_collision": "closest_approach", "normal": "unknown"},
    },
    "defaults": {
        "licence_video": "CC0-1.0", "licence_annotation": "CC0-1.0",
        "redistribute": True, "third_party_endpoint": True, "commercial": True,
    },
}  # fmt: skip


def reader(kind: str) -> Reader:
    """The function behind a source kind, or behind `package.module:function`. Raises UsageError if there is none."""
    module, _, function = KINDS.get(kind, kind).partition(":")
    try:
        found: Reader = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as e:
        known = ", ".join(KINDS)
        raise UsageError(f"source kind {kind!r} is none of {known}, nor a package.module:function ({e})") from e
    return found


def run(ws: Workspace, recipe: Recipe, *, limit: int | None = None, progress: Progress | None = None) -> Report:
    """Read every source of the recipe; write what is new. `limit` takes the first rows of each source."""
    found: list[Source | Refusal] = []
    for entry in recipe["sources"]:
        config = _render(entry, ws, recipe, progress) if entry["kind"] == "demo" else entry
        found += islice(reader(config["kind"])(config, recipe.base), limit)
    claimed, refused = _unique([r for r in found if isinstance(r, Source)])
    refused += (r for r in found if isinstance(r, Refusal))
    seen: list[Source] = []
    for done, (_, outcome) in enumerate(spread(examine, claimed, recipe["workers"]), 1):
        if isinstance(outcome, Source):
            seen.append(outcome)
        else:
            refused.append(outcome)
        if progress:
            progress("ingest", done, len(claimed))
    again = {f"{s.dataset}/{s.key}" for s in claimed} | {r.key for r in refused}
    unread = [s for s in current_sources(ws).values() if limit and f"{s.dataset}/{s.key}" not in again]
    good, contradicted = _consistent(seen, unread)
    refused += contradicted
    with ws.writer(Source) as out:
        new = sum(out.add(s) for s in good)
    ws.write_view("sources", [{"source_id": i} for i in sorted({s.id for s in (*good, *unread)})])
    ws.refuse(replace(r, detail=printable(r.detail), id="") for r in refused)
    reasons = dict(sorted(Counter(r.reason for r in refused).items()))
    notes = [f"refused {n}: {reason}" for reason, n in reasons.items()]
    if not good:
        notes.append("no source is left" + f"; see {ws.path(Refusal)}" * bool(refused))
    counts = {"sources": len(good), "new": new, "refused": len(refused)}
    return Report("ingest", counts, notes, {"refused": reasons}, ok=bool(good))


def _render(entry: Json, ws: Workspace, recipe: Recipe, progress: Progress | None) -> Json:
    """Render the demo footage below the workspace; returns the `folder` entry that reads it."""
    from curation.sources.demo import render

    seed = entry.get("seed", recipe.seed)
    wanted = {"triplets": entry["triplets"], "drives": entry["drives"], "seed": seed}
    manifest = render(ws.root / "footage", **wanted, progress=progress, workers=recipe["workers"])
    return {"kind": "folder", "root": str(manifest.parent), "table": str(manifest), **DEMO}


def examine(claim: Source) -> Source | Refusal:
    """The claim with the file's facts filled in, or why the file cannot be used."""
    key = f"{claim.dataset}/{claim.key}"
    try:
        root = os.path.realpath(claim.root)
        path = Path(os.path.realpath(os.path.join(root, claim.uri)))
        if not path.is_relative_to(root):
            raise Refused("outside_root", f"{claim.uri!r} leads out of {root}; move the file into the folder")
        media = probe(path)
        late = _after_end(claim, media.duration_s, media.fps)
        if late:
            raise Refused("event_after_end", f"{late}, but {claim.uri} ends at {media.duration_s:.2f} s")
        facts = {k: v for k, v in media._asdict().items() if k != "frames"}
        return replace(claim, sha256=sha256_file(path), **facts, id="")
    except Refused as e:
        return Refusal("ingest", key, e.reason, e.detail)
    except (OSError, ValueError) as e:
        return Refusal("ingest", key, "unreadable", f"{claim.uri!r} cannot be read ({e})")


def _after_end(claim: Source, duration: float, fps: float) -> str:
    """The first claimed time that is later than the video's end by more than a frame."""
    end = duration + 1 / max(fps, 1.0)
    times = [("trigger_s", claim.attributes.get("trigger_s"))]
    for event in claim.events:
        times += [("alert_s", event.alert_s), ("event_s", event.time_s), ("end_s", event.end_s)]
    return next((f"{name} is {t:g} s" for name, t in times if t is not None and t > end), "")


def _unique(claims: list[Source]) -> tuple[list[Source], list[Refusal]]:
    """One claim a key. A repeated row is refused; keys with differing claims are refused with all their rows."""
    by_key: defaultdict[tuple[str, str], list[Source]] = defaultdict(list)
    for claim in claims:
        by_key[claim.dataset, claim.key].append(claim)
    kept, refused = [], []
    for (dataset, key), rows in by_key.items():
        alike = len({canonical_json([r.root, r.uri, r.identity()]) for r in rows}) == 1
        if alike:
            kept.append(rows[0])
        if len(rows) > 1:
            fix = "the repeats are left out" if alike else "they differ, so none is taken: keep the right one"
            detail = f"{len(rows)} rows have the id {key!r}; {fix}"
            refused.append(Refusal("ingest", f"{dataset}/{key}", "duplicate_id", detail))
    return kept, refused


def _consistent(seen: list[Source], others: list[Source]) -> tuple[list[Source], list[Refusal]]:
    """Leave out files whose bytes occur twice with claims that no class satisfies."""
    by_bytes: defaultdict[str, list[Source]] = defaultdict(list)
    for source in [*seen, *others]:
        by_bytes[source.sha256].append(source)
    kept, refused = [], []
    for source in seen:
        same = by_bytes[source.sha256]
        if set.intersection(*(_admissible(s) for s in same)):
            kept.append(source)
            continue
        rest = ", ".join(sorted(_claim(s) for s in same if s is not source))
        detail = f"{_claim(source)} has the same bytes as {rest}; one label is wrong, correct the table"
        refused.append(Refusal("ingest", f"{source.dataset}/{source.key}", "same_bytes_other_label", detail))
    return kept, refused


def _claim(source: Source) -> str:
    return f"{source.dataset}/{source.key} ({'/'.join(sorted(_admissible(source)))})"


def _admissible(source: Source) -> set[str]:
    return {c for e in source.events for c in e.classes} or set(ontology("class"))
