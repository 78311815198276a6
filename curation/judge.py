"""Judges: models that score the drafts of another task. A score is shown only beside its agreement with people.

A judge's verdict on a draft is set against what most raters said of it: accept stays accept; edit and reject are both
reject, since the draft cannot stay as it is. Without enough drafts that people judged, or where verdicts do not vary,
the judge's scores are not shown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from curation.agreement import Rating, field_report
from curation.probe import resampled
from curation.types import Draft, Json, Review

LEAST = 30  # drafts judged by people, too


def judge_rows(
    judging: Mapping[str, str], drafts: Sequence[Draft], reviews: Iterable[Review], groups: Mapping[str, str]
) -> list[Json]:
    """One row per judge (task, author, prompt version) and author and prompt version of what it judged.

    `judging`: by judging task the one it judges, `drafts`: of both, `reviews`: the standing ones, `groups`: by clip.
    `scores`: mean by criterion, and `accepted`, the share of accepts, each {value, low, high} with a
    95 % bootstrap interval over groups; null unless `kappa`, over all that this judge judged, is defined and rests on
    `LEAST` drafts.
    """
    people, by_id = verdicts(reviews), {d.id: d for d in drafts}
    by_judge: dict[tuple[str, str, str], list[tuple[Draft, Draft]]] = defaultdict(list)
    for d in drafts:
        for of in (by_id[p] for p in d.parents if p in by_id):
            if judging.get(d.task) == of.task and d.clip_id in groups:
                by_judge[of.task, d.author, d.prompt_id].append((d, of))
    rows = []
    for (task, author, prompt), pairs in sorted(by_judge.items()):
        human = [
            Rating(of.id, who, "verdict", said, groups[of.clip_id])
            for d, of in pairs if of.id in people
            for who, said in (("judge", d.value["verdict"]), ("people", people[of.id]))
        ]  # fmt: skip
        report: Json = field_report(human, "nominal") if human else {"kappa": {"value": None}, "raw": None}
        n = len(human) // 2
        told = {"judge": author, "judge_prompt": prompt, "task": task, "human": n}
        told |= {"kappa": report["kappa"], "raw": report["raw"]}
        versions: dict[tuple[str, str], list[Draft]] = defaultdict(list)
        for d, of in pairs:
            versions[of.author, of.prompt_id or of.spec.get("template", "")].append(d)
        for (by, version), own in sorted(versions.items()):
            scores = _scores(own, groups) if report["kappa"]["value"] is not None and n >= LEAST else None
            rows.append({**told, "author": by, "prompt": version, "n": len(own), "scores": scores})
    return rows


def verdicts(reviews: Iterable[Review]) -> dict[str, str]:
    """What most people said of drafts, by id: accept (all items, if by items) or reject; ties are left out."""
    by_rater: dict[tuple[str, str], set[str]] = defaultdict(set)
    for r in reviews:
        if r.draft_id and r.origin == "human" and r.verdict in ("accept", "edit", "reject"):
            by_rater[r.draft_id, r.reviewer].add(r.verdict)
    votes: Counter[str] = Counter()  # accepts less rejects
    for (draft, _), said in by_rater.items():
        votes[draft] += 1 if said == {"accept"} else -1
    return {d: "accept" if n > 0 else "reject" for d, n in votes.items() if n}


def _scores(drafts: Sequence[Draft], groups: Mapping[str, str]) -> Json:
    names = [k for k, v in drafts[0].value.items() if isinstance(v, (int, float))]
    values = np.array(
        [[float(d.value["verdict"] == "accept"), *(d.value[k] for k in names)] for d in drafts], dtype=float
    )
    group = np.unique([groups[d.clip_id] for d in drafts], return_inverse=True)[1]
    draws = resampled(values, np.ones(len(drafts)), group, 1000)
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    ends = zip(["accepted", *names], values.mean(axis=0), low, high, strict=True)
    return {k: {"value": float(v), "low": float(a), "high": float(b)} for k, v, a, b in ends}


def judge_lines(rows: Iterable[Json]) -> list[str]:
    """A judge's scores as notes, or why they are not shown."""
    lines = []
    for r in rows:
        what = f"judge {r['judge']} on {r['task']} by {r['author']} {r['prompt'][:16]}"
        k = r["kappa"]
        if r["scores"] is None:
            why = f", {LEAST} are needed" if r["human"] < LEAST else f", and kappa is undefined ({k.get('reason')})"
            lines.append(f"{what}: not shown: {r['human']} human verdicts{why}")
            continue
        told = ", ".join(f"{n} {s['value']:.2f} [{s['low']:.2f}, {s['high']:.2f}]" for n, s in r["scores"].items())
        held = f"kappa with people {k['value']:.2f} [{k['low']:.2f}, {k['high']:.2f}] on {r['human']} drafts"
        lines.append(f"{what}: {held}; {told} (n {r['n']})")
    return lines
