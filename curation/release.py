"""A release on disk: what finetune and eval read, and how it proves itself.

releases/<version>/
  README.md               the dataset card
  release.json            version, id, parent, counts, agreement, text-prior probe, resolved recipe, tool versions
  splits.jsonl            the ledger: every clip ever published, the file and drive it came from, and its split
  data/<task>/<split>-00000.parquet
  media/part-00000.parquet
  schemas/<task>/…        the task packs it was made with
  MANIFEST.sha256         every other file's hash; written last, so its presence means complete
"""

from __future__ import annotations

import json
import os
import threading
from functools import cached_property
from pathlib import Path

from curation.errors import DataError
from curation.ids import make_id, sha256_bytes, sha256_file
from curation.types import Json

MANIFEST = "MANIFEST.sha256"


class Release:
    """One version of a dataset; `info` is its release.json, `media` where clips that may not be redistributed are found
    (a workspace's blobs)."""

    def __init__(self, root: Path, media: Path | None = None) -> None:
        if not (root / MANIFEST).is_file():
            raise DataError(f"{root}: not a complete release ({MANIFEST} is missing); publish again or pick another")
        self.root, self._media = root, media
        self.info: Json = json.loads((root / "release.json").read_text(encoding="utf-8"))
        self.version: str = self.info["version"]
        self.id: str = self.info["id"]
        self.simulated: bool = self.info["simulated"]
        self.tasks: list[str] = self.info["tasks"]

    def rows(self, task: str, split: str | None = None) -> list[Json]:
        """The rows of a task, one per clip, each with its `split`. Raises DataError for an unknown task."""
        import pyarrow.parquet as pq

        if task not in self.tasks:
            raise DataError(f"{self.root}: no task {task!r}; it has {', '.join(self.tasks)}")
        out: list[Json] = []
        for path in sorted((self.root / "data" / task).glob("*.parquet")):
            name = path.name.rsplit("-", 1)[0]
            if split in (None, name):
                out += [{**row, "split": name} for row in pq.read_table(path).to_pylist()]
        return out

    @cached_property
    def clips(self) -> dict[str, Json]:
        """Clip facts by clip id (times, sizes, hashes), without the media bytes."""
        return {row["clip_id"]: row for row in self._media_rows([*_CLIP_COLUMNS])}

    def video(self, clip_id: str) -> bytes:
        """The mp4 of a clip, checked against its hash. Raises DataError if it is not here or not the same bytes."""
        clip = self.clips.get(clip_id)
        if clip is None:
            raise DataError(f"{self.root}: no clip {clip_id}")
        data = self._embedded.get(clip_id)
        if data is None and self._media is not None:
            path = self._media / clip["blob"][:2] / f"{clip['blob']}.mp4"
            data = path.read_bytes() if path.is_file() else None
        if data is None:
            fix = "cut it from your own copy of the source"
            raise DataError(f"clip {clip_id}: its media may not be redistributed; {fix}")
        if sha256_bytes(data) != clip["blob"]:
            raise DataError(f"clip {clip_id}: the media is not what was released (hash differs)")
        return data

    @cached_property
    def _embedded(self) -> dict[str, bytes]:
        rows = self._media_rows(["clip_id", "video"])
        return {r["clip_id"]: r["video"]["bytes"] for r in rows if r["video"] and r["video"]["bytes"]}

    def _media_rows(self, columns: list[str]) -> list[Json]:
        import pyarrow.parquet as pq

        paths = sorted((self.root / "media").glob("*.parquet"))
        return [row for path in paths for row in pq.read_table(path, columns=columns).to_pylist()]


_CLIP_COLUMNS = ("clip_id", "blob", "source_sha256", "start_s", "end_s", "frames", "fps", "width", "height", "role")


def write_atomic(path: Path, data: bytes) -> None:
    """Write beside, then rename: a reader sees the old file or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with beside.open("wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def files(root: Path) -> dict[str, str]:
    """SHA-256 of every file of a release but the manifest, by path from its root."""
    paths = sorted(p for p in root.rglob("*") if p.is_file() and p.name != MANIFEST)
    return {p.relative_to(root).as_posix(): sha256_file(p) for p in paths}


def data_id(root: Path) -> str:
    """The id of a release: of all its files but those that tell of them."""
    return make_id("release", {k: v for k, v in files(root).items() if k not in ("release.json", "README.md")})


def write_manifest(root: Path) -> None:
    """The last file of a release."""
    text = "".join(f"{digest}  {name}\n" for name, digest in files(root).items())
    (root / MANIFEST).write_text(text, encoding="utf-8")


def broken_files(root: Path) -> list[str]:
    """What a release's manifest and its files disagree about, one line each; empty when all is well."""
    manifest = root / MANIFEST
    if not manifest.is_file():
        return [f"{root}: {MANIFEST} is missing"]
    lines = manifest.read_text(encoding="utf-8").splitlines()
    said, found = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}, files(root)
    wrong = {n: "changed" for n in said if found.get(n) != said[n]} | dict.fromkeys(said.keys() - found, "missing")
    wrong |= dict.fromkeys(found.keys() - said, "not in the manifest")
    out = [f"{root / name}: {fault}" for name, fault in sorted(wrong.items())]
    return out or ([] if Release(root).id == data_id(root) else [f"{root / 'release.json'}: the id is of other files"])


def versions(releases: Path, *, broken: bool = False) -> list[Path]:
    """The complete releases of a workspace, oldest first; also those whose manifest is lost if `broken`."""
    found = [p for p in releases.glob("*") if _version(p.name) and (broken or (p / MANIFEST).is_file())]
    return sorted(found, key=lambda p: _version(p.name))


def _version(name: str) -> tuple[int, ...]:
    parts = name.split(".")
    return tuple(int(p) for p in parts) if len(parts) == 3 and all(p.isdecimal() for p in parts) else ()


def latest(releases: Path, media: Path | None = None) -> Release | None:
    """The newest complete release, if there is one."""
    found = versions(releases)
    return Release(found[-1], media) if found else None


def next_version(parent: Release | None, change: str) -> str:
    """The version after `parent` for a `change`: "major" (schemas), "minor" (clips or tasks), "patch" (corrections)."""
    if parent is None:
        return "1.0.0"
    major, minor, patch = _version(parent.version)
    if change == "major":
        return f"{major + 1}.0.0"
    return f"{major}.{minor + 1}.0" if change == "minor" else f"{major}.{minor}.{patch + 1}"
