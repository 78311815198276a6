"""Who is asked what: clips dealt to shares, the order they are served in, and the task each of them is. Pure.

A share is one project at the server, and clips go to one share each by their hash: `overlap` (several raters), `single`
(one), `blind` (several, who see no class, answer or text before they have judged). Two more come of what was judged:
`gold` (clips whose right answer an adjudicator gave: raters qualify on half of them, the others lie unmarked among
ordinary work) and `adjudication` (conflicts, with what the raters said, side by side and nameless).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from curation.forms import task_data
from curation.ids import canonical_json, fraction
from curation.tasks import TaskPack
from curation.types import Assignment, Clip, Draft, Json, Review

Order = Callable[[str], tuple[object, ...]]


@dataclass(frozen=True)
class Share:
    """One project: its form, the ratings it wants of a clip, and its clips in the order they are served."""

    project: str
    config: str
    raters: int
    planned: list[Assignment] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.project.partition(".")[2]


@dataclass(frozen=True)
class Round:
    """One round of one workspace: its clips, their drafts, and the shares they are dealt to."""

    name: str
    packs: list[TaskPack]
    clips: dict[str, Clip]
    drafts: dict[str, dict[str, Draft]]  # clip → task → draft
    events: dict[str, Json]  # resolved, filled in where a draft is judged
    said: dict[str, list[str]]  # adjudicated assignment → what each rater said
    shares: list[Share]
    whole: bool  # nothing was left out by a limit

    @property
    def ordinary(self) -> list[tuple[Share, Assignment]]:
        """What a release waits for: neither gold nor adjudication."""
        return [(s, a) for s in self.shares for a in s.planned if a.round in ("triage", "text", "blind")]

    def task(self, share: Share, a: Assignment, media_url: str) -> Json:
        """The Label Studio task; a drafted one has the resolved class and segment filled in, as a prediction."""
        clip, said = self.clips[a.clip_id], self.said.get(a.id)
        media = media_url.replace("{sha256}", clip.blob).replace("{ab}", clip.blob[:2])
        drafts = {t: d for t, d in self.drafts.get(a.clip_id, {}).items() if d.id in a.draft_ids}
        packs = self.packs if said is None or self.name == "triage" else [p for p in self.packs if p.name != "event"]
        task: Json = {"data": task_data(a.id, clip, drafts, packs, media, blind=share.name == "blind", said=said)}
        if self.name == "text" and share.name != "blind" and said is None and a.clip_id in self.events:
            task["predictions"] = [{"model_version": "draft", "result": _filled(self.events[a.clip_id], clip)}]
        return task


def _filled(event: Json, clip: Clip) -> list[Json]:
    to = {"to_name": "video"}
    out: list[Json] = [
        {"id": "class", "from_name": "event_class", "type": "choices", "value": {"choices": [event["class"]]}, **to}
    ]
    times = [event.get("alert_s"), event.get("event_s")]
    if event["class"] != "normal" and any(t is not None for t in times):
        known = [t for t in times if t is not None]
        frames = sorted(min(clip.frames, max(1, 1 + round(t * clip.fps))) for t in (known * 2)[:2])
        span = {"ranges": [{"start": frames[0], "end": frames[1]}], "timelinelabels": ["event"]}
        out.append({"id": "times", "from_name": "event_segment", "type": "timelinelabels", "value": span, **to})
    return out


def assign(clips: Sequence[str], shares: Mapping[str, float], seed: int, round: str) -> dict[str, str]:
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


def serve_first(
    clips: Iterable[str], group: Mapping[str, str], test: Collection[str], found: Collection[str],
    disputed: Collection[str], classes: Mapping[str, str], seed: int,
) -> tuple[Order, Order]:  # fmt: skip
    """Two orders of clips, groups whole: by chance, and by what teaches most. Test groups come first in both.

    `test`: groups; `found`: clips whose drafts validation found fault with; `disputed`: clips whose drafts differ by
    author; `classes`: by clip, the rarer ones go first.
    """
    often = Counter(classes.values())
    worth: dict[str, tuple[bool, bool, int]] = defaultdict(lambda: (True, True, len(classes) + 1))
    for clip in clips:
        own = group.get(clip, clip)
        one = clip not in found, clip not in disputed, often.get(classes.get(clip, ""), len(classes) + 1)
        worth[own] = min(worth[own], one)

    def chance(clip: str) -> tuple[object, ...]:
        own = group.get(clip, clip)
        return own not in test, fraction(seed, "order", own), fraction(seed, "order", clip)

    def teaches(clip: str) -> tuple[object, ...]:
        first, *rest = chance(clip)
        return first, worth[group.get(clip, clip)], *rest

    return chance, teaches


def differing(drafts: Iterable[Draft]) -> set[str]:
    """Clips of which several authors (or samples of one) wrote different values of one task."""
    written: dict[tuple[str, str], dict[tuple[str, int], Draft]] = defaultdict(dict)
    for d in drafts:
        written[d.clip_id, d.task][d.author, d.sample] = d
    several = ((clip, own.values()) for (clip, _), own in written.items() if clip and len(own) > 1)
    return {clip for clip, own in several if len({canonical_json(d.value) for d in own}) > 1}


def place_gold(planned: list[Assignment], gold: Iterable[Assignment], seed: int) -> None:
    """Put gold among the others, at places that only the seed knows."""
    for a in gold:
        planned.insert(int(fraction(seed, "place", a.id) * (len(planned) + 1)), a)


def sides(reviews: Iterable[Review], seed: int) -> list[str]:
    """What each rater said of a clip, a text a rater, named by letters in an order that tells nobody's name."""
    by_rater: dict[str, list[Review]] = defaultdict(list)
    for r in reviews:
        by_rater[r.reviewer].append(r)
    order = sorted(by_rater, key=lambda who: fraction(seed, "side", by_rater[who][0].clip_id, who))
    return [
        f"Rater {chr(ord('A') + n % 26)}: " + "; ".join(sorted(_told(r) for r in by_rater[who]))
        for n, who in enumerate(order)
    ]


def _told(r: Review) -> str:
    what = f"{r.task} {r.item_id}" if r.item_id else r.task
    parts = [r.verdict if r.draft_id or r.verdict == "cannot_tell" else "", ", ".join(r.faults)]
    if isinstance(r.value, dict) and (r.draft_id is None or r.verdict == "edit"):
        parts.append(", ".join(f"{k}: {v}" for k, v in r.value.items() if isinstance(v, (str, int, float))))
    return f"{what}: " + " · ".join(p for p in (*parts, r.comment) if p)
