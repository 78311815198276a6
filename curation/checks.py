"""The rules of validate. Each rule is one documented function over a value and its context that yields findings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from curation.tasks import TaskPack
from curation.types import Clip, Draft, Issue, Json


@dataclass(frozen=True)
class Context:
    """What a rule may hold a value against: its pack, its clip, the resolved event (None if none), the metadata of
    the source, and the values of the drafts it was written from, by draft id."""

    pack: TaskPack
    clip: Clip
    event: Json | None
    attributes: Json
    parents: dict[str, Any]


class Finding(NamedTuple):
    """One contradiction: which rule, where in the value (JSON pointer), how grave, and what contradicts what."""

    rule: str
    pointer: str
    severity: str  # error, warning
    message: str


def check_record(value: Any, context: Context) -> list[Finding]:
    """The findings of every rule on one value that has the right shape."""
    return []


def check_set(drafts: Sequence[Draft], packs: dict[str, TaskPack], groups: dict[str, str]) -> Iterable[Issue]:
    """The findings over all drafts: copies across clips, biases of options and answers."""
    return []
