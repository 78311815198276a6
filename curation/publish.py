"""publish: labels → a release. Same facts and same pinned libraries give the same bytes, so the same id.

The release is built in a folder beside its place, its manifest is written last, and the folder is renamed. A run that
finds nothing changed since the parent makes no release.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation import __version__
from curation.card import write_card
from curation.errors import DataError
from curation.ids import make_id
from curation.recipe import Recipe, lock
from curation.release import MANIFEST, Release, files, latest, next_version, write_manifest
from curation.splits import SplitPlan, assign
from curation.store import Workspace, current_clips, current_sources, dump, write_atomic
from curation.tasks import TaskPack, conversations, features, load_packs
from curation.types import PUBLISHED_BASES, Clip, Draft, Json, Label, Progress, Report, Source

ROW_GROUP_ROWS = 1000
MEDIA_GROUP_BYTES = 64 << 20
MEDIA_FILE_BYTES = 480 << 20


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
    packs = load_packs(["event", *recipe["tasks"]], recipe.base)
    labels = [x for x in ws.labels() if x.basis in PUBLISHED_BASES and x.value is not None and x.task in packs]
    if not any(x.task == "event" for x in labels):
        raise DataError(f"{ws.root}: no resolved event, so nothing to publish; review the events, then resolve")
    sources = current_sources(ws)
    wanted = {x.clip_id for x in labels}
    clips = {i: c for i, c in current_clips(ws).items() if i in wanted}
    labels = [x for x in labels if x.clip_id in clips]
    drafts = {x.draft_id for x in labels}
    groups = {row["clip_id"]: row["group"] for row in ws.read_view("groups") if row["clip_id"] in clips}
    return Facts(clips, sources, {d.id: d for d in ws.read(Draft) if d.id in drafts}, labels, groups, packs)


def run(ws: Workspace, recipe: Recipe, *, limit: int | None = None, progress: Progress | None = None) -> Report:
    """Write the next local release under `releases/`, or say that nothing changed."""
    facts = gather(ws, recipe)
    gates = [g for g in ws.read_view("gate") if g["status"] != "passed"]
    if recipe["gate"]["enforce"] and gates:
        return Report("publish", notes=[g["message"] for g in gates], ok=False)
    releases = ws.root / "releases"
    parent = latest(releases)
    ledger = _ledger(parent)
    classes = {x.clip_id: x.value["class"] for x in facts.labels if x.task == "event"}
    plan = assign(facts.groups, classes, recipe["publish"]["splits"], ledger, recipe.seed)
    part = releases / ".part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    counts = _write_data(part, facts, plan, ws, ledger, progress)
    _copy_packs(part / "schemas", facts.packs)
    write_atomic(
        part / "splits.jsonl",
        "".join(
            dump({"clip_id": c, "split": s}) + "\n" for c, s in _ordered({**ledger, **plan.split}, ledger)
        ).encode(),
    )
    content = make_id("release", files(part))
    if parent is not None and parent.id == content:
        shutil.rmtree(part)
        return Report(
            "publish", {"unchanged": 1}, [f"nothing changed since {parent.version}"], {"release": str(parent.root)}
        )
    change = _change(parent, facts, counts)
    info = _info(ws, recipe, facts, plan, counts, parent, content, next_version(parent, change))
    (part / "release.json").write_text(json.dumps(info, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_card(part, info)
    write_manifest(part)
    target = releases / info["version"]
    if target.exists() and not (target / MANIFEST).exists():
        shutil.rmtree(target)
    part.rename(target)
    notes = [f"release {info['version']} in {target}"]
    if info["simulated"]:
        notes.append("made with simulated raters: it can never be pushed to a Hub")
    return Report(
        "publish",
        {"clips": len(facts.clips) - len(plan.withdrawn), **counts},
        notes,
        {"release": str(target), "id": content},
    )


def _copy_packs(target: Path, packs: dict[str, TaskPack]) -> None:
    """The task packs as they were, each schema with its references resolved, so that it stands alone."""
    for name, pack in packs.items():
        shutil.copytree(pack.path, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        (target / name / "schema.json").write_text(
            json.dumps(pack.schema, indent=1, ensure_ascii=False) + "\n", "utf-8"
        )


def _ledger(parent: Release | None) -> dict[str, str]:
    if parent is None:
        return {}
    lines = (parent.root / "splits.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["clip_id"]: row["split"] for row in map(json.loads, lines)}


def _ordered(mapping: dict[str, str], ledger: dict[str, str]) -> list[tuple[str, str]]:
    """The parent's order, then the new ones by id."""
    place = {clip: i for i, clip in enumerate(ledger)}
    return sorted(mapping.items(), key=lambda kv: (place.get(kv[0], len(place)), kv[0]))


def _write_data(
    part: Path, facts: Facts, plan: SplitPlan, ws: Workspace, ledger: dict[str, str], progress: Progress | None
) -> dict[str, int]:
    order = [clip for clip, _ in _ordered(plan.split, ledger)]
    by_key = {(x.clip_id, x.task): x for x in facts.labels}
    counts: dict[str, int] = {}
    for done, (task, pack) in enumerate(facts.packs.items()):
        if progress:
            progress("publish", done, len(facts.packs) + 1)
        rows: dict[str, list[Json]] = defaultdict(list)
        for clip in order:
            if (clip, task) in by_key:
                rows[plan.split[clip]].append(_row(facts, pack, by_key[clip, task], by_key))
        schema = _arrow_schema(pack)
        for split, split_rows in rows.items():
            _write_parquet(part / "data" / task / f"{split}-00000.parquet", split_rows, schema)
        counts[task] = sum(map(len, rows.values()))
    _write_media(part, [facts.clips[c] for c in order], facts.sources, ws)
    return {k: v for k, v in counts.items() if v}


def _arrow_schema(pack: TaskPack) -> Any:
    from datasets import Features, Value

    text, flag = Value("string"), Value("bool")
    turn = {"role": text, "content": text}
    columns = {"clip_id": text, "group": text, "task": text, "slice": text, "value": features(pack), "basis": text}
    columns |= {
        "simulated": flag,
        "raters": Value("int32"),
        "author": text,
        "informed": flag,
        "draft_id": text,
        "prompt_id": text,
    }
    columns |= {"schema_id": text, "attributes": [{"name": text, "value": text}]}
    columns |= {"messages": [{"style": text, "messages": [turn]}]}
    return Features(columns).arrow_schema


def _row(facts: Facts, pack: TaskPack, label: Label, labels: dict[tuple[str, str], Label]) -> Json:
    clip, draft = facts.clips[label.clip_id], facts.drafts.get(label.draft_id or "")
    source = facts.sources[clip.source_id]
    event = labels.get((clip.id, "event"))
    context = {
        "event": event.value if event else None,
        "attributes": source.attributes,
        "clip": {"duration_s": clip.duration_s},
    }
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


def _write_parquet(path: Path, rows: list[Json], schema: Any) -> None:
    """Bytes depend on the rows, the schema and the pyarrow version only: one chunk, fixed row groups, zstd."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=schema).combine_chunks()
    pq.write_table(
        table,
        path,
        compression="zstd",
        row_group_size=ROW_GROUP_ROWS,
        write_page_index=True,
        use_content_defined_chunking={"min_chunk_size": 256 << 10, "max_chunk_size": 1 << 20},
    )


def _write_media(part: Path, clips: Sequence[Clip], sources: dict[str, Source], ws: Workspace) -> None:
    """Append-only shards; a clip that may not be redistributed is named by source hash and times instead of bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Features, Value, Video

    text, number, whole = Value("string"), Value("float64"), Value("int32")
    columns = {"clip_id": text, "video": Video(decode=False), "blob": text, "source_sha256": text, "start_s": number}
    columns |= {"end_s": number, "frames": whole, "fps": number, "width": whole, "height": whole, "role": text}
    columns |= {"profile": text, "licence_video": text, "licence_annotation": text, "commercial": Value("bool")}
    schema = Features(columns).arrow_schema
    (part / "media").mkdir()
    writer, batch, held, total, shard = None, [], 0, 0, 0
    for i, clip in enumerate(clips):
        source = sources[clip.source_id]
        data = ws.blob(clip.blob).read_bytes() if source.redistribute else None
        batch.append(_media_row(clip, source, data))
        held += len(data or b"")
        if held >= MEDIA_GROUP_BYTES or len(batch) >= ROW_GROUP_ROWS or i + 1 == len(clips):
            if writer is None:
                writer = pq.ParquetWriter(part / "media" / f"part-{shard:05d}.parquet", schema, compression="none")
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            total, batch, held = total + held, [], 0
            if total >= MEDIA_FILE_BYTES:
                writer.close()
                writer, total, shard = None, 0, shard + 1
    if writer is not None:
        writer.close()


def _media_row(clip: Clip, source: Source, data: bytes | None) -> Json:
    return {
        "clip_id": clip.id,
        "video": {"bytes": data, "path": f"{clip.id}.mp4"} if data is not None else None,
        "blob": clip.blob,
        "source_sha256": source.sha256,
        "start_s": clip.start_s,
        "end_s": clip.end_s,
        "frames": clip.frames,
        "fps": clip.fps,
        "width": clip.width,
        "height": clip.height,
        "role": clip.role,
        "profile": dump(clip.profile),
        "licence_video": source.licence_video,
        "licence_annotation": source.licence_annotation,
        "commercial": source.commercial,
    }


def _change(parent: Release | None, facts: Facts, counts: dict[str, int]) -> str:
    """What the diff to the parent amounts to."""
    if parent is None:
        return "minor"
    if {n: p.schema_id for n, p in facts.packs.items() if n in parent.info["schema_ids"]} != parent.info["schema_ids"]:
        return "major"
    before = set(parent.clips)
    return "minor" if {x.clip_id for x in facts.labels} - before or counts.keys() - set(parent.tasks) else "patch"


def _info(
    ws: Workspace,
    recipe: Recipe,
    facts: Facts,
    plan: SplitPlan,
    counts: dict[str, int],
    parent: Release | None,
    content: str,
    version: str,
) -> Json:
    labels = [x for x in facts.labels if x.clip_id in plan.split]
    splits: dict[str, Any] = {}
    for name in recipe["publish"]["splits"]:
        inside = [x for x in labels if x.task == "event" and plan.split[x.clip_id] == name]
        splits[name] = {
            "clips": len(inside),
            "groups": len({facts.groups[x.clip_id] for x in inside}),
            "classes": dict(sorted(Counter(x.value["class"] for x in inside).items())),
        }
    test = [x for x in labels if x.task == "event" and plan.split[x.clip_id] == "test"]
    weak = sum(x.basis != "adjudicated" and x.raters < 2 for x in test)
    used = {facts.clips[x.clip_id].source_id for x in labels}
    return {
        "name": recipe.name,
        "title": recipe["publish"]["title"] or recipe.name,
        "licence": recipe["publish"]["licence"],
        "version": version,
        "id": content,
        "parent": {"version": parent.version, "id": parent.id} if parent else None,
        "simulated": any(x.simulated for x in labels),
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
        "agreement": ws.read_view("agreement"),
        "gate": ws.read_view("gate"),
        "probe": ws.read_view("probe"),
        "issues": dict(sorted(Counter(f"{r['severity']}.{r['rule']}" for r in ws.read_view("issues")).items())),
        "lock": lock(
            recipe,
            {
                n: {"schema": p.schema_id, "prompt": p.prompt_id, "template": p.template_id}
                for n, p in facts.packs.items()
            },
            __version__,
        ),
    }
