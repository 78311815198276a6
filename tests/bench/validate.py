"""Schema and every rule over 100,000 drafts, against `jsonschema` alone: `python tests/bench/validate.py [drafts]`.

The drafts are the templates': documents of six questions or so, on which `jsonschema` has work to do, then the four
tasks alike, of which the other three have little schema and many sentences. Each first as they are (sentences come
again, what they say is remembered), then every text made its own by a tail of rare words, as if no two were alike. One
in 101 breaks its schema. `jsonschema` gets every 21st draft, before and after, and its errors must be the same. Ours
has the two worker processes of a recipe, their start counted; "one core" is processor time without them, beside that of
`jsonschema`.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Collection
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from curation.check_reading import read, read_line
from curation.check_text import Context, walk
from curation.deal import deal
from curation.draft import Subject, context, write
from curation.recipe import Recipe
from curation.schema import pointer
from curation.tasks import TaskPack, at_pointer, load_packs
from curation.types import Clip, Draft, Json
from curation.validate import Known, check_records, record_issues

PACKS = load_packs(["event", "caption", "description", "vqa", "cot"])
EVENT = list(PACKS.pop("event").schema["properties"])
TASKS = tuple(PACKS)
CLIPS, EVERY, WORKERS = 1000, 21, 2  # odd: of every task
SYLLABLES = ("ka", "lo", "mi", "ru", "te", "so", "na", "vi")


def subjects() -> list[Subject]:
    found = []
    for i in range(CLIPS):
        r = random.Random(i)
        cls = ("collision", "near_collision", "normal")[i % 3]
        quiet, alert = cls == "normal", round(r.uniform(0.5, 3), 2)
        event = {"class": cls, "alert_s": None if quiet else alert, "event_s": None if quiet else alert + 1}
        event |= {"ego_role": "none" if quiet else r.choice(("striking", "struck")), "time_basis": "unknown"}
        event |= {"partner": None if quiet else r.choice(("car", "van", "truck", "pedestrian"))}
        given = {"weather": r.choice(("clear", "rain", "fog")), "light": r.choice(("day", "night")), "road": "urban"}
        found.append(Subject(Clip(f"source1_{i}", "event", 0, 6, {}, frames=60, fps=10.0), event, given))
    return found


def own(pack: TaskPack, value: Json, n: int, alone: bool) -> Json:
    """A copy of `value`; with `alone` its free texts, but for options and chosen answers, occur nowhere else."""
    value = _copy(value)
    r = random.Random(n)
    for said in walk(pack, value)[0] if alone else ():
        if said.key in ("options", "answer"):
            continue
        *path, last = said.pointer.split("/")
        tail = " ".join("".join(r.choices(SYLLABLES, k=3)) for _ in range(3))
        at_pointer(value, "/".join(path))[last] = f"{said.text} Beside it {tail} is seen."
    if n % 101 == 0:
        value.pop(sorted(value)[0])
    return value


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value


def drafts(total: int, alone: bool, tasks: Collection[str] = TASKS) -> list[Known]:
    found = subjects()
    seen = {s.clip.id: context(PACKS["vqa"], s, EVENT) for s in found}
    dealt = deal(PACKS["vqa"], seen, seed=0, per_clip=8)
    base = []
    for s in found:
        values: Json = {}
        for name, pack in PACKS.items():
            values[name] = write(pack, seen[s.clip.id], 0, s.clip.id, values, dealt[s.clip.id])
            base += [(pack, s, values[name])] * (name in tasks)
    records = []
    for n in range(total):
        pack, s, value = base[n % len(base)]
        draft = Draft(s.clip.id, pack.name, own(pack, value, n, alone), {"n": n}, "model", id=f"draft1_{n}")
        records.append((draft, s.clip, s.event, s.attributes))
    return records


def theirs(records: list[Known]) -> tuple[Any, dict[str, list[tuple[str, str]]]]:
    """Seconds (clock, processor) that `jsonschema` takes for all, by a part of them; the errors of these by draft."""
    some, told = records[::EVERY], {}
    start = clocks()
    for draft, *_ in some:
        told[draft.id] = [(pointer(e.absolute_path), str(e.validator)) for e in
                          PACKS[draft.task].validator.iter_errors(draft.value)]  # fmt: skip
    return (clocks() - start) * len(records) / len(some), told


def clocks() -> Any:
    """Now, by the clock and by this process's processor time."""
    return np.array([time.perf_counter(), time.process_time()])


def measure(total: int, alone: bool, tasks: Collection[str]) -> None:
    records = drafts(total, alone, tasks)
    recipe = Recipe(Path("recipe.yaml"), {"tasks": list(PACKS), "workers": WORKERS})
    for n in (total // 10, total):
        before, told = theirs(records[:n])
        start = time.perf_counter()
        found = [issue for issues in check_records(records[:n], recipe, PACKS) for issue in issues]
        ours = time.perf_counter() - start
        whole, core = (before + theirs(records[:n])[0]) / 2
        ours_told: dict[str, list[tuple[str, str]]] = {i: [] for i in told}
        for i in found:
            if i.rule == "schema" and i.record_id in told:
                ours_told[i.record_id].append((i.pointer, i.message.split(":")[0]))
        assert {i: sorted(e) for i, e in ours_told.items()} == {i: sorted(e) for i, e in told.items()}
        for remembered in (read, read_line):
            remembered.cache_clear()
        start = time.process_time()
        for draft, *known in records[:n]:
            record_issues(draft, Context(PACKS[draft.task], *known))
        one = time.process_time() - start
        print(f"{n:>8}{ours:>9.1f}{n / ours:>10.0f}{whole:>11.1f}{ours / whole:>8.2f}{one:>11.1f}{one / core:>8.2f}")
    print(f"{len(found)} findings; jsonschema on {len(told)} drafts, its errors the same")


def main() -> None:
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    for tasks, alone in product((("vqa",), TASKS), (False, True)):
        print(f"{', '.join(tasks)}: {'every text its own' if alone else 'as the templates write'}")
        print(f"{'drafts':>8}{'ours, s':>9}{'a second':>10}{'theirs, s':>11}{'ratio':>8}{'one core':>11}{'ratio':>8}")
        measure(total, alone, tasks)


if __name__ == "__main__":
    main()
