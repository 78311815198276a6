"""The records. Facts are append-only and content-addressed; views are recomputed whole from facts.

Times are seconds. `*_s` in a Source are seconds of the source file, in a Clip seconds of the clip.
Ids are derived in `__post_init__` when left empty, so a record cannot carry another record's id by accident.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from curation.ids import make_id

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """What happened. `classes` is the set that is still admissible; the class is known when one is left."""

    classes: tuple[str, ...]
    ego_role: str = "unknown"  # striking, struck, witness, none, unknown
    partner: str | None = None
    alert_s: float | None = None
    time_s: float | None = None
    end_s: float | None = None
    time_basis: str = "unknown"  # contact, closest_approach, onset, unknown

    @property
    def event_class(self) -> str | None:
        return self.classes[0] if len(self.classes) == 1 else None


class Record:
    """What all records share: an `id` that is the hash of the fields that `hashed` names, tagged with `kind`."""

    __slots__ = ()
    kind: ClassVar[str]
    hashed: ClassVar[tuple[str, ...]]
    id: str

    def identity(self) -> list[Any]:
        return [getattr(self, name) for name in self.hashed]

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", make_id(self.kind, self.identity()))


@dataclass(frozen=True, slots=True)
class Source(Record):
    kind: ClassVar[str] = "source"
    hashed = (
        "kind", "dataset", "key", "sha256", "duration_s", "fps", "width", "height", "drive", "upload", "events",
        "attributes", "licence_video", "licence_annotation", "redistribute", "third_party_endpoint", "commercial",
    )  # fmt: skip
    dataset: str
    key: str
    uri: str  # relative to the root of its recipe entry
    sha256: str
    duration_s: float
    fps: float
    width: int
    height: int
    drive: str | None = None
    upload: str | None = None
    events: tuple[Event, ...] = ()
    attributes: Json = field(default_factory=dict)
    licence_video: str = "unknown"
    licence_annotation: str = "unknown"
    redistribute: bool = False
    third_party_endpoint: bool = False
    commercial: bool = False
    root: str = ""  # where the file was read; a fact of this machine, not hashed
    id: str = ""


@dataclass(frozen=True, slots=True)
class Clip(Record):
    kind: ClassVar[str] = "clip"
    hashed = ("source_id", "start_s", "end_s", "profile", "parent_id", "horizon_s")
    source_id: str
    role: str  # event, background, pre_event
    start_s: float
    end_s: float
    profile: Json  # how it was encoded
    parent_id: str | None = None
    horizon_s: float | None = None
    visible: bool | None = None  # pre_event only: does it end after the alert
    events: tuple[Event, ...] = ()  # the source's claims, in clip seconds
    blob: str = ""  # sha256 of the mp4
    frames: int = 0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    measures: Json = field(default_factory=dict)  # black_s, frozen_s, duplicate_frames
    phashes: tuple[str, ...] = ()
    id: str = ""

    @property
    def duration_s(self) -> float:
        return self.frames / self.fps if self.fps else 0.0


@dataclass(frozen=True, slots=True)
class Draft(Record):
    """A written value. A set-level draft (an answer plan) has an empty `clip_id` and is a parent of others."""

    kind: ClassVar[str] = "draft"
    hashed = ("clip_id", "task", "spec", "parents", "sample")
    clip_id: str
    task: str
    value: Any
    spec: Json  # the whole request spec: author, model, prompt and schema ids, parameters, frames
    author: str  # "template" or the model's name
    parents: tuple[str, ...] = ()
    sample: int = 0
    informed: bool = True  # did the author see the label
    prompt_id: str = ""
    schema_id: str = ""
    request_key: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0
    written_at: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Review(Record):
    kind: ClassVar[str] = "review"
    clip_id: str
    task: str
    reviewer: str
    round: str  # triage, blind, text, gold, adjudication
    verdict: str  # accept, edit, reject, cannot_tell, withdrawn
    value: Any = None  # what the reviewer says is right; None with reject, cannot_tell, withdrawn
    draft_id: str | None = None  # None when blind
    item_id: str | None = None
    faults: tuple[str, ...] = ()
    origin: str = "human"  # human, simulated
    guideline: str = ""
    comment: str = ""
    drafted_from: str = "manual"  # Label Studio's origin: manual, prediction, prediction-changed
    remote: str = ""  # "project/task/annotation" at the server
    revision: int = 0  # a changed annotation is the next revision
    seconds: float | None = None
    reviewed_at: str = ""
    id: str = ""

    def identity(self) -> list[Any]:
        payload = [self.verdict, self.value, self.draft_id, self.item_id, self.faults, self.comment]
        payload += [self.origin, self.guideline, self.remote, self.revision]
        return [self.clip_id, self.task, self.reviewer, self.round, make_id("payload", payload)]


@dataclass(frozen=True, slots=True)
class Decision(Record):
    kind: ClassVar[str] = "decision"
    hashed = ("target", "decision", "reason", "who")
    target: str
    decision: str  # dismiss, yank, gold, withdraw
    reason: str
    who: str
    decided_at: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Refusal(Record):
    kind: ClassVar[str] = "refusal"
    hashed = ("stage", "key", "reason", "detail")
    stage: str
    key: str
    reason: str  # a short code: truncated, not_video, outside_root, …
    detail: str = ""  # one line for a person: where, what, the fix
    refused_at: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Assignment(Record):
    kind: ClassVar[str] = "assignment"
    hashed = ("clip_id", "project", "round", "draft_ids")
    clip_id: str
    project: str  # e.g. "triage.overlap"
    round: str
    remote: str = ""  # "project/task" at the server
    draft_ids: tuple[str, ...] = ()
    gold: bool = False
    assigned_at: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Issue(Record):
    """View, by validate."""

    kind: ClassVar[str] = "issue"
    hashed = ("record_id", "rule", "pointer")
    record_id: str
    rule: str
    pointer: str  # JSON pointer into the record's value
    severity: str  # error, warning
    message: str
    task: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Label(Record):
    """View, by resolve: what is held to be true of a clip, and on what basis."""

    kind: ClassVar[str] = "label"
    hashed = ("clip_id", "task", "value", "basis")
    clip_id: str
    task: str
    value: Any
    basis: str  # source, agreed, majority, adjudicated, single, unreviewed | conflict, rejected, excluded
    draft_id: str | None = None
    review_ids: tuple[str, ...] = ()
    simulated: bool = False
    raters: int = 0  # reviewers whose verdicts count
    detail: str = ""
    id: str = ""


PUBLISHED_BASES = frozenset({"source", "agreed", "majority", "adjudicated", "single", "unreviewed"})

FACTS: dict[str, type[Record]] = {
    "sources": Source,
    "clips": Clip,
    "drafts": Draft,
    "reviews": Review,
    "decisions": Decision,
    "refusals": Refusal,
    "assignments": Assignment,
}

Progress = Callable[[str, int, int], None]  # (what, done, total); called often, must be cheap


@dataclass
class Report:
    """What a stage says when it is done. `ok` false makes the command exit 1."""

    stage: str
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # one line each, for people
    data: Json = field(default_factory=dict)  # for --json
    ok: bool = True
    gate: str = ""  # non-empty: a human gate stops the run here; says what to do next
