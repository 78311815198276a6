"""publish: labels → a release. Same facts and same pinned libraries give the same bytes, so the same id.

The release is built in a folder beside its place, its manifest is written last, and the folder is renamed. A run that
finds nothing changed since the parent, neither data nor what the card tells, makes no release.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation import __version__
from curation.card import write_card
from curation.errors import DataError
from curation.ids import make_id, sha256_bytes
from curation.recipe import Recipe, lock
from curation.release import MANIFEST, Release, data_id, latest, next_version, write_manifest
from curation.splits import ORDER, SplitPlan, assign
from curation.store import Workspace, current_clips, current_sources, dump
from curation.tasks import TaskPack, conversations, features, load_packs
from curation.types import PUBLISHED_BASES, Clip, Draft, Json, Label, Progress, Report, Source

ROW_GROUP_ROWS = 1000
PACK_FILES = (
    "schema.json", "task.json", "template.json", "prompt.md", "review.xml", "blind.xml", "guidelines.md",
    "examples.jsonl",
)  # fmt: skip
MEDIA_FILE_BYTES = 256 << 20
# Rows that stay keep their bytes: a hub stores what a release adds, no more.
IN_CHUNKS = {"use_content_defined_chunking": {"min_chunk_size": 256 << 10, "max_chunk_size": 1 << 20}}


@dataclass(frozen=True)
class Facts:
    """What a release is made from, by id."""

    clips: dict[str, Clip]
    sources: dict[str, Source]
    drafts: dict[str, Draft]
    labels: list[Label]
    groups: dict[str, str]
    packs: dict[str, TaskPack]


def gather(ws: Workspace, recipe: Recipe) -> Facts:
    """Read the workspace. Raises DataError when there is nothing to publish."""
    packs = {n: p for n, p in load_packs(["event", *recipe["tasks"]], recipe.base).items() if not p.spec["judges"]}
    labels = [x for x in ws.labels() if x.basis in PUBLISHED_BASES and x.value is not None and x.task in packs]
    if not any(x.task == "event" for x in labels):
        raise DataError(f"{ws.root}: no resolved event, so nothing to publish; review the events, then resolve")
    sources = current_sources(ws)
    wanted = {x.clip_id for x in labels}
    clips = {i: c for i, c in current_clips(ws).items() if i in wanted}
    labels = [x for x in labels if x.clip_id in clips]
    drafts = {x.draft_id for x in labels}
    groups = {row["clip_id"]: row["group"] for row in ws.read_view("groups") if row["clip_id"] in clips}
    if clips.keys() - groups.keys():
        raise DataError(f"{ws.root}: clips without a group; run `autodrive clip` to its end first")
    return Facts(clips, sources, {d.id: d for d in ws.read(Draft) if d.id in drafts}, labels, groups, packs)


def run(ws: Workspace, recipe: Recipe, *, limit: int | None = None, progress: Progress | None = None) -> Report:
    """Write the next local release under `releases/`, or say that nothing changed."""
    facts = gather(ws, recipe)
    if recipe["gate"]["enforce"] and (closed := _closed_gates(ws, recipe)):
        return Report("publish", notes=closed, ok=False)
    releases = ws.root / "releases"
    parent = latest(releases)
    ledger = _ledger(parent)
    classes = {x.clip_id: x.value["class"] for x in facts.labels if x.task == "event"}
    plan = assign(facts.groups, classes, recipe["publish"]["splits"], _inherited(ledger, facts), recipe.seed)
    place = {clip: i for i, clip in enumerate(ledger)}
    split = {c: plan.split[c] for c in sorted(plan.split, key=lambda c: (place.get(c, len(place)), c))}
    part = releases / ".part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    counts = _write_data(part, facts, split, progress)
    _write_media(part, facts, split, ws)
    _copy_packs(part / "schemas", facts.packs)
    rows = {c: {"clip_id": c, **_places(facts, c), "split": name} for c, name in split.items()}
    lines = [dump(row) + "\n" for row in (ledger | rows).values()]
    (part / "splits.jsonl").write_text("".join(lines), encoding="utf-8")
    info = json.loads(json.dumps(_info(ws, recipe, facts, plan, counts), ensure_ascii=False))
    info["id"] = data_id(part)
    if parent is not None and {**parent.info, **info, "lock": 0} == {**parent.info, "lock": 0}:
        shutil.rmtree(part)
        said = [f"nothing changed since {parent.version}"]
        return Report("publish", {"unchanged": 1}, said, {"release": str(parent.root)})
    info["version"] = next_version(parent, _change(parent, facts, plan, counts))
    info["parent"] = {"version": parent.version, "id": parent.id} if parent else None
    (part / "release.json").write_text(json.dumps(info, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_card(part, info)
    write_manifest(part)
    target = releases / info["version"]
    if target.exists() and not (target / MANIFEST).exists():
        shutil.rmtree(target)
    part.rename(target)
    notes = [f"release {info['version']} in {target}"]
    unpublished = Counter(x.task for x in ws.labels() if x.task not in facts.packs)
    notes += [f"{n} labels of '{task}' stay here: no task pack of that name" for task, n in unpublished.items()]
    empty = sorted(name for name in recipe["tasks"] if name in facts.packs and not counts.get(name))
    notes += [f"nothing of '{name}' is in it: `autodrive status` tells what became of its drafts" for name in empty]
    unseen = Counter(x.task for x in facts.labels if x.basis == "unreviewed")
    if unseen:
        told = ", ".join(f"{task} {n} of {counts[task]}" for task, n in sorted(unseen.items()) if task in counts)
        notes.append(f"nobody has reviewed {told}")
    if info["simulated"]:
        notes.append("made with simulated raters: it can never be pushed to a Hub")
    return Report("publish", {"clips": len(plan.split), **counts}, notes, {"release": str(target), "id": info["id"]})


def _closed_gates(ws: Workspace, recipe: Recipe) -> list[str]:
    """Why the recipe's gate does not let a release pass."""
    if recipe["event"]["basis"] != "review":
        return ["not published: gate.enforce has nothing to judge, for event.basis is 'source'; leave one of them out"]
    gates = ws.read_view("gate")
    if not gates:
        return ["gate: agreement was not measured; run `autodrive agree` first"]
    closed = [g["message"] for g in gates if g["status"] != "passed"]
    return ["not published: the gate of the recipe (gate.enforce) is closed", *closed] if closed else []


def _copy_packs(target: Path, packs: dict[str, TaskPack]) -> None:
    """The files that make a task pack, each schema with its references resolved, so that it stands alone."""
    for name, pack in packs.items():
        (target / name).mkdir(parents=True)
        for file in PACK_FILES:
            if (pack.path / file).is_file():
                shutil.copyfile(pack.path / file, target / name / file)
        schema = json.dumps(pack.schema, indent=1, ensure_ascii=False) + "\n"
        (target / name / "schema.json").write_text(schema, encoding="utf-8")


def _ledger(parent: Release | None) -> dict[str, Json]:
    """Every clip ever published: its row in splits.jsonl, by clip id."""
    if parent is None:
        return {}
    lines = (parent.root / "splits.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["clip_id"]: row for row in map(json.loads, lines)}


def _places(facts: Facts, clip_id: str) -> dict[str, str]:
    """Where a clip comes from, whatever it was cut by: its file's bytes; its drive, else upload, else key (opaque)."""
    source = facts.sources[facts.clips[clip_id].source_id]
    held = source.drive or source.upload or source.key
    return {"source_sha256": source.sha256, "unit": make_id("unit", [source.dataset, held])}


def _inherited(ledger: dict[str, Json], facts: Facts) -> dict[str, str]:
    """Split by clip id, of clips that were published and of those cut from a file or drive that was."""
    known: dict[str, str] = {}
    for row in sorted(ledger.values(), key=lambda row: -ORDER.index(row["split"])):  # the gravest split wins
        known |= dict.fromkeys((row["source_sha256"], row["unit"]), row["split"])
    known |= {clip: row["split"] for clip, row in ledger.items()}
    places = {clip: (clip, *_places(facts, clip).values()) for clip in facts.clips}
    return {
        clip: next(known[p] for p in of if p in known) for clip, of in places.items() if not known.keys().isdisjoint(of)
    }


def _write_data(part: Path, facts: Facts, split: dict[str, str], progress: Progress | None) -> dict[str, int]:
    """One table a task and split, its rows in the order of `split`; returns the rows of each task that has any."""
    by_key = {(x.clip_id, x.task): x for x in facts.labels}
    counts: dict[str, int] = {}
    for done, (task, pack) in enumerate(facts.packs.items()):
        if progress:
            progress("publish", done, len(facts.packs) + 1)
        rows: dict[str, list[Json]] = defaultdict(list)
        for clip, name in split.items():
            if (clip, task) in by_key:
                rows[name].append(_row(facts, pack, by_key[clip, task], by_key))
                counts[task] = counts.get(task, 0) + 1
        schema = _arrow_schema(pack)
        for name, split_rows in rows.items():
            path = part / "data" / task / f"{name}-00000.parquet"
            _write_parquet(path, split_rows, schema, compression="zstd", write_page_index=True, **IN_CHUNKS)
    return counts


def _arrow_schema(pack: TaskPack) -> Any:
    from datasets import Features, Value

    text, flag = Value("string"), Value("bool")
    columns = dict.fromkeys(("clip_id", "group", "task", "slice"), text) | {"value": features(pack), "basis": text}
    columns |= {"simulated": flag, "raters": Value("int32"), "author": text, "informed": flag, "draft_id": text}
    columns |= {"prompt_id": text, "schema_id": text, "attributes": [{"name": text, "value": text}]}
    columns |= {"messages": [{"style": text, "messages": [{"role": text, "content": text}]}]}
    return Features(columns).arrow_schema


def _row(facts: Facts, pack: TaskPack, label: Label, labels: dict[tuple[str, str], Label]) -> Json:
    clip, draft = facts.clips[label.clip_id], facts.drafts.get(label.draft_id or "")
    source = facts.sources[clip.source_id]
    event = labels.get((clip.id, "event"))
    context = {"event": event.value if event else None, "attributes": source.attributes}
    context["clip"] = {"duration_s": clip.duration_s}
    witnessed = event is not None and event.value["ego_role"] == "witness"
    return {
        "clip_id": clip.id,
        "group": facts.groups[clip.id],
        "task": label.task,
        "slice": "witness" if witnessed else clip.role,
        "value": label.value,
        "basis": label.basis,
        "simulated": label.simulated,
        "raters": label.raters,
        "author": draft.author if draft else "",
        "informed": draft.informed if draft else None,
        "draft_id": label.draft_id,
        "prompt_id": draft.prompt_id if draft else "",
        "schema_id": pack.schema_id,
        "attributes": [{"name": k, "value": str(v)} for k, v in sorted(source.attributes.items()) if v is not None],
        "messages": conversations(pack, label.value, context),
    }


def _write_parquet(path: Path, rows: list[Json], schema: Any, **options: Any) -> None:
    """Bytes depend on the rows, the schema, the options and the pyarrow version only: one chunk, fixed row groups."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=schema).combine_chunks()
    pq.write_table(table, path, row_group_size=ROW_GROUP_ROWS, **options)


def _write_media(part: Path, facts: Facts, split: dict[str, str], ws: Workspace) -> None:
    """Files of about MEDIA_FILE_BYTES; a clip that may not be redistributed is named by source hash and times instead.

    The parent's clips come first, so that its full files are the same bytes again. One file is held in memory.
    """
    from datasets import Features, Value, Video

    text, number, whole = Value("string"), Value("float64"), Value("int32")
    columns = {"clip_id": text, "video": Video(decode=False), "blob": text, "source_sha256": text, "start_s": number}
    columns |= {"end_s": number, "frames": whole, "fps": number, "width": whole, "height": whole, "role": text}
    columns |= {"profile": text, "licence_video": text, "licence_annotation": text, "commercial": Value("bool")}
    schema = Features(columns).arrow_schema
    batch: list[Json] = []
    held = files = 0
    for i, clip in enumerate((facts.clips[c] for c in split), 1):
        source = facts.sources[clip.source_id]
        data = _media(ws, clip) if source.redistribute else None
        batch.append(_media_row(clip, source, data))
        held += len(data or b"")
        if held >= MEDIA_FILE_BYTES or i == len(split):
            _write_parquet(part / "media" / f"part-{files:05d}.parquet", batch, schema, compression="none")
            batch, held, files = [], 0, files + 1


def _media_row(clip: Clip, source: Source, data: bytes | None) -> Json:
    row = {k: getattr(clip, k) for k in ("blob", "start_s", "end_s", "frames", "fps", "width", "height", "role")}
    row |= {k: getattr(source, k) for k in ("licence_video", "licence_annotation", "commercial")}
    video = {"bytes": data, "path": f"{clip.id}.mp4"} if data is not None else None
    return {**row, "clip_id": clip.id, "video": video, "source_sha256": source.sha256, "profile": dump(clip.profile)}


def _media(ws: Workspace, clip: Clip) -> bytes:
    path = ws.blob(clip.blob)
    data = path.read_bytes() if path.is_file() else b""
    if sha256_bytes(data) != clip.blob:
        fault = "is not what its name says" if data else "is missing"
        raise DataError(f"{path}: the media of {clip.id} {fault}; restore it, or yank the source and publish again")
    return data


def _change(parent: Release | None, facts: Facts, plan: SplitPlan, counts: dict[str, int]) -> str:
    """What the diff to the parent amounts to."""
    if parent is None:
        return "minor"
    if {n: p.schema_id for n, p in facts.packs.items() if n in parent.info["schema_ids"]} != parent.info["schema_ids"]:
        return "major"
    return "minor" if plan.split.keys() - parent.clips.keys() or counts.keys() - set(parent.tasks) else "patch"


def _info(ws: Workspace, recipe: Recipe, facts: Facts, plan: SplitPlan, counts: dict[str, int]) -> Json:
    """What the release tells of itself, but for its version, id and parent."""
    labels = [x for x in facts.labels if x.clip_id in plan.split]
    splits: dict[str, Any] = {}
    for name in sorted({*recipe["publish"]["splits"], *plan.split.values()}, key=ORDER.index, reverse=True):
        inside = [clip for clip, split in plan.split.items() if split == name]
        classes = (x.value["class"] for x in labels if x.task == "event" and plan.split[x.clip_id] == name)
        splits[name] = {
            "clips": len(inside),
            "groups": len({facts.groups[clip] for clip in inside}),
            "classes": dict(sorted(Counter(classes).items())),
        }
    test = [x for x in labels if x.task == "event" and plan.split[x.clip_id] == "test"]
    weak = sum(x.basis != "adjudicated" and x.raters < 2 for x in test)
    agreement = ws.read_view("agreement")
    used = {facts.clips[x.clip_id].source_id for x in labels}
    return {
        "name": recipe.name,
        "title": recipe["publish"]["title"] or recipe.name,
        "licence": recipe["publish"]["licence"],
        "simulated": any(x.simulated for x in labels) or any(r.get("simulated") for r in agreement),
        "tasks": list(counts),
        "rows": counts,
        "schema_ids": {n: p.schema_id for n, p in facts.packs.items()},
        "splits": splits,
        "bases": {t: dict(sorted(Counter(x.basis for x in labels if x.task == t).items())) for t in counts},
        "test_labels": {"n": len(test), "below_two_raters": weak},
        "withdrawn": plan.withdrawn,
        "unknown_drives": sum(not (facts.sources[s].drive or facts.sources[s].upload) for s in used),
        "sources": len(used),
        "not_redistributed": sum(not facts.sources[facts.clips[c].source_id].redistribute for c in plan.split),
        "agreement": agreement,
        "gate": ws.read_view("gate"),
        "probe": ws.read_view("probe"),
        "issues": dict(sorted(Counter(f"{r['severity']}.{r['rule']}" for r in ws.read_view("issues")).items())),
        "lock": lock(recipe, facts.packs, __version__),
    }
