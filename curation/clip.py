"""clip: Sources → Clips, short windows of constant rate that browsers play, and the view `groups`.

Where a window lies must not tell what happens in it. A source with a trigger (`attributes.trigger_s`) is cut around it
whatever its class; else an event is placed at random within a stated part of its window, and a background window lies
anywhere. Background windows take their lengths from the event windows of their own corpus. A source that is no longer
than a window is taken whole.

`pre_event` windows end a stated horizon before the event, and belong to the event's clip.
"""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from curation.errors import Refused
from curation.groups import groups
from curation.ids import fraction, seeded, sha256_file
from curation.media import cut
from curation.pool import spread
from curation.recipe import Recipe
from curation.sources.table import printable
from curation.store import Workspace, current_sources
from curation.types import Clip, Event, Json, Progress, Refusal, Report, Source

NORMAL = Event(("normal",), ego_role="none")  # what normal footage of an event source is said to show
UNMARKED_LEAD_S = 5.0  # how long before an event without an alert the road may already look dangerous (Nexar: 4.5)


def run(ws: Workspace, recipe: Recipe, *, limit: int | None = None, progress: Progress | None = None) -> Report:
    """Cut every window that has no clip yet. `limit` takes the first sources by id."""
    config: Json = recipe["clip"]
    sources = current_sources(ws)
    chosen = [sources[s] for s in sorted(sources)][:limit]
    planned, refused = plan(chosen, config, recipe.seed)
    counts: Counter[str] = Counter()
    with ws.writer(Clip) as out:
        folder = ws.root / ".cut"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        jobs = [(s, c, folder / f"{c.id}.mp4") for s in chosen for c in planned[s.id] if c.id not in out]
        for done, ((_, _, path), made) in enumerate(spread(cut_one, jobs, recipe["workers"]), 1):
            if isinstance(made, Refusal):
                refused.append(made)
            else:
                counts["new"] += out.add(replace(made, blob=ws.add_blob(path)))
                path.unlink()
            if progress:
                progress("clip", done, len(jobs))
        shutil.rmtree(folder)
    ws.refuse(refused)
    there = [c for c in ws.read(Clip) if c.source_id in sources]
    wanted = {c.id for clips in planned.values() for c in clips}
    kept = [c for c in there if c.id in wanted or c.source_id not in planned]
    current = {c.id for c in kept}
    found = groups(there, sources)
    ws.write_view("groups", ({"clip_id": i, "group": g, "current": i in current} for i, g in found.items()))
    counts.update(c.role for c in kept)
    confined = confined_classes(kept, sources)
    notes = [f"refused {n}: {reason}" for reason, n in sorted(Counter(r.reason for r in refused).items())]
    if not sources:
        notes.append(f"no source to cut from; first: autodrive ingest {recipe.path}")
    elif not kept:
        notes.append("no clip was cut" + f"; see {ws.path(Refusal)}" * bool(refused))
    notes += confined
    if len(kept) < len(there):
        notes.append(f"{len(there) - len(kept)} clips that this recipe would not cut are kept, not current")
    ok = bool(kept) and (not confined or config["confined_classes"] == "allow")
    return Report("clip", {"clips": len(kept), **dict(sorted(counts.items())), "refused": len(refused)}, notes, ok=ok)


# -- where to cut ----------------------------------------------------------------------------------------------------


def plan(sources: list[Source], config: Json, seed: int) -> tuple[dict[str, list[Clip]], list[Refusal]]:
    """The clips to cut of every source (by id), and refusals of those that allow none; all from the arguments."""
    planned: dict[str, list[Clip]] = {s.id: [] for s in sources}
    refused: list[Refusal] = []
    lengths: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    usable = []
    for source in sources:
        clips = list(event_clips(source, config, seed))
        if (problem := _problem(source, clips, config)) is None:
            usable.append(source)
            planned[source.id] = clips
            lengths[source.dataset] += [(source.id, c.end_s - c.start_s) for c in clips if c.role == "event"]
        else:
            refused.append(Refusal("clip", f"{source.dataset}/{source.key}", *problem))
    for source in usable:
        # as long as one event window of the corpus, chosen by hash so that a new source changes few others' choice
        others = lengths[source.dataset] or [("", config["length_s"])]
        _, length = min((fraction(seed, source.id, other), length) for other, length in others)
        clips = planned[source.id]
        clips += background_clips(source, clips, length, config, seed)
        planned[source.id] = list({c.id: c for c in clips}.values())
    return planned, refused


def _problem(source: Source, clips: list[Clip], config: Json) -> tuple[str, str] | None:
    """Reason and detail where nothing can be cut that shows what is claimed."""
    if source.duration_s < config["min_length_s"]:
        return "too_short", f"{source.duration_s:.2f} s are less than clip.min_length_s = {config['min_length_s']:g}"
    if clips or _claim(source) != "event":
        return None
    if (trigger := source.attributes.get("trigger_s")) is not None:
        return "trigger_misses_event", f"a window around trigger_s = {trigger:g} does not show the event's time"
    detail = f"an event without a time in {source.duration_s:.1f} s of video; give event_s (or trigger_s)"
    return "no_event_time", detail


def _claim(source: Source) -> str:
    """What is claimed to happen: `event` (something does), `normal` (nothing does), `unknown`."""
    if any("normal" not in e.classes for e in source.events):
        return "event"
    return "normal" if source.events and all(e.classes == ("normal",) for e in source.events) else "unknown"


def _clip(source: Source, role: str, start: float, end: float, config: Json, **more: Any) -> Clip:
    """A clip that is still to be cut, of [start, end) seconds of the source."""
    profile = {"codec": "h264", **{k: config[k] for k in ("fps", "height", "crf")}}
    return Clip(source.id, role, round(start, 3), round(end, 3), profile, **more)


def event_clips(source: Source, config: Json, seed: int) -> Iterator[Clip]:
    """Clips around what is timed: the trigger if there is one, else every event; each with its pre_event clips."""
    length = min(config["length_s"], source.duration_s)
    trigger = source.attributes.get("trigger_s")
    moments = sorted({t for e in source.events if (t := _moment(e)) is not None})
    if trigger is None and not moments and _claim(source) == "event" and source.duration_s <= config["length_s"]:
        yield _clip(source, "event", 0.0, source.duration_s, config, events=source.events)
    for number, moment in enumerate([trigger] if trigger is not None else moments):
        place = _place(moment, length, source.duration_s, config["event_place"], seed, source.id, number)
        start = round(min(max(moment - place * length, 0.0), source.duration_s - length), 3)
        inside = tuple(_within(source.events, start, round(start + length, 3)))
        shows = any("normal" not in e.classes for e in inside)
        if shows or _claim(source) != "event":
            clip = _clip(source, "event" if shows else "background", start, start + length, config, events=inside)
            yield clip
            for event in inside:
                if event.time_s is not None and "normal" not in event.classes:
                    yield from _pre_event(source, clip, event, config)


def _place(moment: float, length: float, duration: float, between: list[float], seed: int, *key: str | int) -> float:
    """The share of the window before `moment`: uniform over `between` as far as the window stays in the video."""
    between = sorted(between)
    least, most = 1 - (duration - moment) / length, moment / length
    low = max(between[0], min(least, between[1]))
    high = max(low, min(between[1], most))
    return seeded(seed, "clip", *key).uniform(low, high)


def _pre_event(source: Source, parent: Clip, event: Event, config: Json) -> Iterator[Clip]:
    """What comes before `event` of the clip `parent`, whose times are seconds of that clip."""
    for horizon in config["horizons_s"]:
        end = parent.start_s + (event.time_s or 0.0) - horizon
        start = max(0.0, end - config["length_s"])
        if end - start >= config["min_length_s"]:
            visible = None if event.alert_s is None else end > parent.start_s + event.alert_s
            more = {"parent_id": parent.id, "horizon_s": horizon, "visible": visible}
            yield _clip(source, "pre_event", start, end, config, **more)


def background_clips(source: Source, taken: list[Clip], length: float, config: Json, seed: int) -> Iterator[Clip]:
    """Clips at random places of normal footage; before the alert of an event source only if the recipe asks."""
    events, end = source.events, source.duration_s
    if _claim(source) == "event":
        moments = [(e.alert_s, _moment(e)) for e in events]
        starts = [alert if alert is not None else (t or 0.0) - UNMARKED_LEAD_S for alert, t in moments]
        if not config["background_from_events"] or min(starts) < length:
            return
        events, end = (NORMAL,), min(starts)
    elif taken:
        return  # cut around its trigger already
    length = min(length, end)
    for number in range(config["background_per_source"] if length < end else 1):
        start = round(seeded(seed, "background", source.id, number).uniform(0.0, end - length), 3)
        yield _clip(source, "background", start, start + length, config, events=events)


def _moment(event: Event) -> float | None:
    return event.time_s if event.time_s is not None else event.alert_s


def _within(events: Iterable[Event], start: float, end: float) -> Iterator[Event]:
    """The events of a window in its own seconds: those whose moment is in it; other times outside it are None."""

    def shifted(time: float | None) -> float | None:
        return round(time - start, 3) if time is not None and start <= time <= end else None

    for event in events:
        alert, time, end_of_it = shifted(event.alert_s), shifted(event.time_s), shifted(event.end_s)
        if (moment := _moment(event)) is None or start <= moment <= end:
            yield replace(event, alert_s=alert, time_s=time, end_s=end_of_it)


def follows(clip: Clip, source: Source) -> bool:
    """Are the clip's events what its source says of that window? Its id covers the window, the source's the events."""
    if clip.role == "pre_event":
        return not clip.events
    if clip.role == "background" and _claim(source) == "event":
        return clip.events == (NORMAL,)
    return clip.events in (source.events, tuple(_within(source.events, clip.start_s, clip.end_s)))


# -- cutting ---------------------------------------------------------------------------------------------------------


def cut_one(job: tuple[Source, Clip, Path]) -> Clip | Refusal:
    """Cut one clip of a source into a file. The source must still be what was ingested: it is hashed for each clip."""
    source, clip, file = job
    path = Path(source.root) / source.uri
    try:
        if sha256_file(path) != source.sha256:
            raise Refused("changed", f"{source.uri} is not the file that was ingested; run ingest again")
        return replace(clip, **cut(path, file, clip.start_s, clip.end_s, clip.profile)._asdict())
    except Refused as e:
        reason, detail = e.reason, e.detail
    except OSError as e:
        reason, detail = "missing", f"{source.uri} cannot be read any more ({e.strerror}); run ingest again"
    key = f"{source.dataset}/{source.key}@{clip.start_s:g}"
    return Refusal("clip", printable(key), reason, printable(detail))


# -- what the clips are together ---------------------------------------------------------------------------------------


def confined_classes(clips: list[Clip], sources: dict[str, Source]) -> list[str]:
    """One line for each class that only one of several corpora has: there, the camera tells the class."""
    corpora: defaultdict[str, set[str]] = defaultdict(set)
    for clip in clips:
        for c in {c for event in clip.events for c in event.classes}:
            corpora[c].add(sources[clip.source_id].dataset)
    if len({sources[c.source_id].dataset for c in clips}) < 2:
        return []
    fix = "add footage of it from another, or accept it with clip.confined_classes: allow"
    alone = [(c, *d) for c, d in sorted(corpora.items()) if len(d) == 1]
    return [f"class {c} comes from {d} only, so the corpus tells it; {fix}" for c, d in alone]
