"""Simulated raters: they answer a form with known error rates and leave what a Label Studio export would hold.

For demos and tests. Every task they leave is marked, and so is every review read from it. What a rater says depends
on the seed, the task and the rater only. For a draft, what is right to say (accept, edit, reject) is drawn once for all
raters, then each strays from it by the error rate: real raters agree about bad drafts, too.
"""

from __future__ import annotations

import random
from typing import Any

from curation.forms import LETTERS, Control, expand
from curation.ids import seeded, sha256_bytes
from curation.types import Event, Json

NEIGHBOURS = {
    "collision": ("near_collision",),
    "near_collision": ("collision", "normal"),
    "normal": ("near_collision",),
}


def true_class(event: Event | None) -> str:
    """The class a perfect rater would see; a source that leaves several open counts as the first."""
    return event.classes[0] if event and event.classes else "normal"


def answer(
    tasks: list[Json], config: str, truth: dict[str, Event | None], wrong: set[str], values: dict[str, Any], *,
    count: int, wanted: int, error: dict[str, float], seed: int,
) -> list[Json]:  # fmt: skip
    """`tasks` as an export with `wanted` annotations each, by as many of `count` raters.

    `truth`: the event per clip, in clip seconds; `wrong`: clips whose drafts were written from a wrong class, which
    attentive raters reject; `values`: of drafts by id, what blind raters should come to. `error`: rates of `class`,
    `role`, `edit`, `reject`, `verdict` and `cannot_tell`, and `time_s`, the standard deviation of times in seconds.
    """
    out = []
    for task in tasks:
        data = task["data"]
        key = data["assignment"]
        who = sorted(range(1, count + 1), key=lambda r: seeded(seed, key, r).random())[:wanted]
        annotations = []
        for rater in sorted(who):
            rng = seeded(seed, key, rater, "answers")
            known = expand(config, data)
            results = _event(known, data, truth.get(data["clip_id"]), error, rng) if "event_class" in known else []
            results += _texts(known, data, data["clip_id"] in wrong, error, seed, rng)
            results += _blind(known, data, values, error, rng)
            number = _number(key, rater)
            annotations.append(
                {"id": number, "completed_by": rater, "result": results, "was_cancelled": False,
                 "lead_time": round(rng.lognormvariate(4.3 if data["drafts"] else 3.0, 0.35), 1)}
            )  # fmt: skip
        out.append({**task, "id": _number(key), "annotations": annotations, "meta": {"simulated": True}})
    return out


def _number(*parts: Any) -> int:
    """An id as a server would give, but independent of order."""
    return int(sha256_bytes(repr(parts).encode())[:12], 16)


def _result(control: Control, value: Json) -> Json:
    kind = {"Choices": "choices", "TextArea": "textarea", "TimelineLabels": "timelinelabels"}[control.tag]
    return {"from_name": control.name, "to_name": "video", "type": kind, "origin": "manual", "value": value}


def _event(
    known: dict[str, Control], data: Json, event: Event | None, error: dict[str, float], rng: random.Random
) -> list[Json]:
    said = true_class(event)
    if rng.random() < error["class"]:
        said = rng.choice(NEIGHBOURS[said])
    if rng.random() < error["cannot_tell"]:
        said = "cannot_tell"
    results = [_result(known["event_class"], {"choices": [said]})]
    if said in ("normal", "cannot_tell"):
        return results
    fps, last = float(data["fps"]), int(data["frames"])
    time = event.time_s if event and event.time_s is not None else rng.uniform(0.4, 0.9) * (last - 1) / fps
    alert = event.alert_s if event and event.alert_s is not None else time - rng.uniform(0.5, 2.0)
    frames = sorted(min(last, max(1, 1 + round((t + rng.gauss(0.0, error["time_s"])) * fps))) for t in (alert, time))
    span = {"ranges": [{"start": frames[0], "end": frames[1]}], "timelinelabels": ["event"]}
    results.append(_result(known["event_segment"], span))
    role = event.ego_role if event and event.ego_role in known["event_ego_role"].choices else "unknown"
    if rng.random() < error["role"]:
        role = rng.choice(sorted(known["event_ego_role"].choices))
    results.append(_result(known["event_ego_role"], {"choices": [role]}))
    if event and event.partner in known["event_partner"].choices and rng.random() >= error["role"]:
        results.append(_result(known["event_partner"], {"choices": [event.partner]}))
    return results


def _texts(
    known: dict[str, Control], data: Json, wrong: bool, error: dict[str, float], seed: int, rng: random.Random
) -> list[Json]:
    results = []
    for name, control in known.items():
        task, _, rest = name.partition("_verdict")
        if "_verdict" not in name or task not in data["drafts"]:
            continue
        shown = data[task][int(rest[1:])] if rest else data
        text = str(shown.get("text") or shown.get("answer") or shown.get(f"{task}_text") or "")
        right = seeded(seed, data["drafts"][task], rest, "right").choices(
            ("reject", "edit", "accept"), (error["reject"], error["edit"], 1 - error["reject"] - error["edit"])
        )[0]
        if wrong and rng.random() < 0.8:
            right = "reject"
        said = right if rng.random() >= error["verdict"] else rng.choice(("accept", "reject"))
        if said == "edit" and (not text or shown.get("options")):
            said = "accept"  # another option would be a wrong answer
        if rng.random() < error["cannot_tell"]:
            said = "cannot_tell"
        results.append(_result(control, {"choices": [said]}))
        if said == "edit":
            edited = text.rstrip(". ") + ", as the clip shows."
            results.append(_result(known[f"{task}_edit{rest}"], {"text": [edited]}))
        if said in ("edit", "reject"):
            fault = "wrong_fact" if said == "reject" else "not_visible"
            results.append(_result(known[f"{task}_fault{rest}"], {"choices": [fault]}))
    return results


def _blind(
    known: dict[str, Control], data: Json, values: dict[str, Any], error: dict[str, float], rng: random.Random
) -> list[Json]:
    """Answers of who must not see the drafts: the draft's own, but for the error rate of classes."""
    results = []
    for name, control in known.items():
        task, _, rest = name.partition("_")
        what, _, n = rest.rpartition("_")
        if what in ("letter", "words") and n.isdigit():
            asked = data[f"{task}_{'closed' if what == 'letter' else 'open'}"][int(n)]
            item = next(i for part in values[data["drafts"][task]].values() if isinstance(part, list) for i in part
                        if isinstance(i, dict) and i.get("id") == asked["id"])  # fmt: skip
            if what == "words":
                results.append(_result(control, {"text": [item["answer"]]}))
                continue
            right = item["options"].index(item["answer"])
            n_options = len(item["options"])
            said = rng.randrange(n_options) if rng.random() < error["class"] else right
            results.append(_result(control, {"choices": [LETTERS[said]]}))
        elif rest == "cause":
            draw = rng if rng.random() < error["class"] else seeded(data["assignment"], "cause")
            results.append(_result(control, {"choices": [draw.choice(sorted(control.choices))]}))
    return results
