"""Raters: whose ratings count, how they do on gold, and what an operations lead should see of their work.

Nothing counts but the newest revision; where the recipe asks raters to qualify, only those who did, under the very
guideline and choices they judged by; and of an item no more ratings than were asked for, the first ones. What does not
count is stored all the same. Figures of raters come from the shares dealt by chance and served in a chance order
(overlap, blind), never from `single`, which is served by what teaches most.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from curation.recipe import Recipe
from curation.store import Workspace, decisions
from curation.types import Assignment, Clip, Json, Review

RANDOM = ("overlap", "blind")
EVERYBODY = 100  # raters of a gold item
FEW = 10  # below so many, a rater's figure is not shown
Place = tuple[str, str, str, str]  # clip, task, draft, item
Tally = dict[str, dict[str, dict[str, list[float]]]]


def standing(reviews: Iterable[Review]) -> list[Review]:
    """Each reviewer's newest judgement per clip, task, round and item. An annotation stands in its newest revision,
    unless that is withdrawn; of several by one reviewer (of another draft, or made anew) the one that came last."""
    newest: dict[tuple[str, ...], Review] = {}
    for r in reviews:
        key = (r.clip_id, r.task, r.reviewer, r.round, r.item_id or "", r.remote)
        if key not in newest or r.revision >= newest[key].revision:
            newest[key] = r
    stands = {key[:-1]: r for key, r in newest.items() if r.verdict != "withdrawn"}
    return list(stands.values())


def place(r: Review) -> Place:
    return r.clip_id, r.task, r.draft_id or "", r.item_id or ""


def answer(r: Review) -> str | None:
    """What two raters of one place can agree on: the class or answer said blind, else the verdict on the draft."""
    if r.draft_id is not None or r.verdict == "cannot_tell":
        return r.verdict
    return str(r.value.get("class", r.value.get("answer"))) if r.value and r.drafted_from == "manual" else None


# -- gold ------------------------------------------------------------------------------------------------------------
def gold_key(ws: Workspace, reviews: Iterable[Review]) -> dict[Place, str]:
    """The right answers: what the last adjudicator said of the clips that a decision made gold."""
    gold = decisions(ws, "gold")
    told = sorted((r for r in reviews if r.round == "adjudication"), key=lambda r: (r.reviewed_at, r.id))
    answers = {place(r): answer(r) for r in told if r.clip_id in gold and r.verdict != "cannot_tell"}
    return {where: said for where, said in answers.items() if said is not None}


def gold_scores(reviews: Iterable[Review], key: Mapping[Place, str]) -> dict[tuple[str, str, str], Counter[str]]:
    """By reviewer, round (triage or text) and what they were told (`Review.guideline`): `n` judged, `right` of them."""
    out: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for r in reviews:
        if r.round == "gold" and (said := answer(r)) is not None and place(r) in key:
            score = out[r.reviewer, "text" if r.draft_id else "triage", r.guideline]
            score.update(n=1, right=said == key[place(r)])
    return out


# -- who counts ------------------------------------------------------------------------------------------------------
def counted(ws: Workspace, recipe: Recipe) -> tuple[list[Review], dict[str, str]]:
    """The reviews that count, adjudications among them, and by id why the other standing ones do not."""
    reviews = standing(ws.read(Review))
    qualify = recipe["review"]["qualify"]
    scores = gold_scores(reviews, gold_key(ws, reviews)) if qualify["items"] else {}
    passed = {who for who, s in scores.items() if s["n"] >= qualify["items"] and s["right"] >= qualify["min"] * s["n"]}
    most: dict[tuple[str, str], int] = defaultdict(int)
    for a in ws.read(Assignment):
        most[a.clip_id, a.round] = max(most[a.clip_id, a.round], wanted(recipe, a))
    taken: dict[str, list[str]] = defaultdict(list)  # reviewers of a task at the server, by their annotations' order
    keep, aside = [], {}
    for r in sorted(reviews, key=_order):
        project, _, number = r.remote.rpartition("/")
        limit = most.get((r.clip_id, r.round), 0)
        if r.round == "gold":
            aside[r.id] = "gold"
        elif r.round == "adjudication":
            keep.append(r)
        elif qualify["items"] and (r.reviewer, family(r.round), r.guideline) not in passed:
            aside[r.id] = "not qualified"
        elif r.reviewer not in taken[project] and number and 0 < limit <= len(taken[project]):
            aside[r.id] = "surplus"
        else:
            taken[project] += [r.reviewer] * (r.reviewer not in taken[project])
            keep.append(r)
    return sorted(keep, key=lambda r: r.id), aside


def _order(r: Review) -> tuple[str, int, str]:
    project, _, number = r.remote.rpartition("/")
    return project, int(number) if number.isdigit() else 0, r.id


def family(round: str) -> str:
    return "text" if round == "blind" else round


def wanted(recipe: Recipe, a: Assignment) -> int:
    """How many ratings are asked for."""
    name, _, share = a.project.partition(".")
    if a.gold or share == "gold":
        return EVERYBODY
    return 1 if share in ("single", "adjudication") else int(recipe["review"][name]["raters"])


def share_of(ws: Workspace) -> dict[tuple[str, str], str]:
    """The share of each clip in each round; where one has moved, the last."""
    return {(a.clip_id, a.round): a.project.partition(".")[2] for a in ws.read(Assignment) if not a.gold}


# -- figures ---------------------------------------------------------------------------------------------------------
def annotators(ws: Workspace) -> list[Json]:
    """A row for each rater, in order of name: figures of the random shares, and gold, each with n and an interval.

    agreement: share of the others who said the same, a mean over clips; edits: verdicts that changed the draft; quick:
    clips of the text round where all was kept as offered in less time than the clip lasts. The intervals are
    Wilson's, on as many trials as there are groups of clips (drives), so a drive counts once.
    """
    reviews, shares = standing(ws.read(Review)), share_of(ws)
    groups = {row["clip_id"]: row["group"] for row in ws.read_view("groups")}
    chance = [r for r in reviews if shares.get((r.clip_id, r.round)) in RANDOM]
    tally = _tally(chance, {c.id: c.duration_s for c in ws.read(Clip)})
    scores = gold_scores(reviews, gold_key(ws, reviews))
    newest = {family(r.round): r.guideline for r in sorted(reviews, key=lambda r: (r.reviewed_at, r.id))}
    rows = []
    for who in sorted({r.reviewer for r in reviews}):
        gold: Counter[str] = Counter()
        for (reviewer, name, guideline), score in scores.items():
            if reviewer == who and newest.get(name, guideline) == guideline:
                gold.update(score)
        seconds = {name: [t for own in tally[who][name].values() for t in own] for name in ("triage", "text")}
        rows.append({
            "rater": who,
            "simulated": any(r.origin == "simulated" for r in reviews if r.reviewer == who),
            "clips": len({r.clip_id for r in chance if r.reviewer == who}),
            "clips_of_all_shares": len({r.clip_id for r in reviews if r.reviewer == who}),
            "gold": _share({str(i): [i < gold["right"]] for i in range(gold["n"])}, {}),
            **{what: _share(tally[who][what], groups) for what in ("agreement", "edits", "quick")},
            "median_s": {k: round(statistics.median(v), 1) if v else None for k, v in seconds.items()},
            "timed": {k: len(v) for k, v in seconds.items()},
        })  # fmt: skip
    return rows


def _tally(reviews: list[Review], length: Mapping[str, float]) -> Tally:
    """By rater, figure and clip: agreement, edits, quick; under triage and text the seconds of each sheet."""
    out: Tally = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    said: dict[Place, dict[str, str]] = defaultdict(dict)
    sheets: dict[tuple[str, str, str, str], list[Review]] = defaultdict(list)
    for r in reviews:
        sheets[r.reviewer, r.clip_id, r.round, r.remote].append(r)
        if (one := answer(r)) is not None:
            said[place(r)][r.reviewer] = one
        if r.draft_id and r.verdict in ("accept", "edit", "reject"):
            out[r.reviewer]["edits"][r.clip_id].append(r.verdict == "edit")
    for (clip, *_), answers in said.items():
        for who, one in answers.items() if len(answers) > 1 else ():
            same = sum(other == one for other in answers.values()) - 1
            out[who]["agreement"][clip].append(same / (len(answers) - 1))
    for (who, clip, name, _), own in sheets.items():
        if (seconds := own[0].seconds) is not None:
            out[who][family(name)][clip].append(seconds)
            if name == "text":
                kept = all(r.verdict == "accept" for r in own)
                out[who]["quick"][clip].append(kept and seconds < length.get(clip, 0))
    return out


def _share(by_clip: Mapping[str, list[float]], groups: Mapping[str, str]) -> Json:
    from curation.agreement_sums import wilson

    if not by_clip:
        return {"value": None, "low": None, "high": None, "n": 0}
    mean = statistics.mean(statistics.mean(v) for v in by_clip.values())
    trials = len({groups.get(c, c) for c in by_clip})
    low, high = wilson(mean * trials, trials)
    return {"value": round(mean, 4), "low": round(low, 4), "high": round(high, 4), "n": len(by_clip)}


def recalibrate(ws: Workspace, told: Mapping[str, str]) -> list[str]:
    """A line for each rater and round whose ratings were made under another guideline or class list than `told`."""
    reviews = standing(ws.read(Review))
    scores = gold_scores(reviews, gold_key(ws, reviews))
    lines = []
    for name, now in sorted(told.items()):
        own = [r for r in reviews if family(r.round) == name and r.guideline]
        for who in sorted({r.reviewer for r in own if r.guideline != now}):
            if (who, name, now) not in scores:
                old = max((r.reviewed_at, r.guideline) for r in own if r.reviewer == who and r.guideline != now)[1]
                lines.append(f"{who} judged {name} by {old}; it is {now} now: let them do the gold clips again")
    return lines


# -- the page --------------------------------------------------------------------------------------------------------
_HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Raters</title>
<style>
  :root { color-scheme: light dark; --ink: #1b1f24; --dim: #596270; --paper: #fff; --line: #d8dce2; }
  @media (prefers-color-scheme: dark) {
    :root { --ink: #e4e7eb; --dim: #98a2ad; --paper: #14171b; --line: #333a42; }
  }
  body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 70rem;
         margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
  h1 { font-size: 1.4rem; } .dim { color: var(--dim); } .scroll { overflow-x: auto; }
  table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
  td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); }
</style>
"""
_NOTES = (
    "In order of name, not of merit: where two intervals overlap, the figures do not tell the raters apart.",
    f"A figure that rests on fewer than {FEW} clips (gold: judgements) is not shown. Brackets: 95 % intervals.",
    "All but gold comes from the clips dealt by chance and served in a chance order, never from the priority queue.",
    "Agreement: how many of the others said the same, a mean over clips. It tells who differs, not who is right.",
    "Gold: judgements like the adjudicator's, under the newest guideline and choices.",
    "Quick: all kept as offered in less time than the clip lasts. Time: what the browser measured, breaks included.",
)


_HEADS = (
    "rater",
    "clips by chance (of all)",
    "agreement",
    "gold",
    "edits",
    "quick",
    "s a clip, triage",
    "s a clip, text",
)


def render(rows: list[Json]) -> str:
    """The figures for a terminal, a paragraph a rater."""
    shown = [[(h, c) for h, c in zip(_HEADS, _cells(row), strict=True)] for row in rows]
    lines = ["\n".join([one[0][1], *(f"  {h:<26}{c}" for h, c in one[1:])]) for one in shown]
    return "\n".join([*lines, *_NOTES] if lines else ["nobody has judged anything yet"])


def page(rows: list[Json], title: str) -> str:
    """The figures as one page of HTML, without scripts or anything from elsewhere."""
    table = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(row)) + "</tr>\n" for row in rows
    )  # fmt: skip
    notes = "".join(f"<li>{escape(note)}</li>" for note in _NOTES)
    return (
        f"{_HEAD}<h1>Raters of {escape(title)}</h1>\n<div class=scroll><table><tr>"
        + "".join(f"<th>{escape(h)}</th>" for h in _HEADS)
        + f"</tr>\n{table}</table></div>\n<ul class=dim>{notes}</ul>\n</html>\n"
    )


def _cells(row: Json) -> list[str]:
    name = "".join(c if c.isprintable() else "?" for c in row["rater"]) + " (a program)" * row["simulated"]
    times = [_few(row["timed"][k]) or f"{row['median_s'][k]:g} (n {row['timed'][k]})" for k in ("triage", "text")]
    shares = [figure(row[k]) for k in ("agreement", "gold", "edits", "quick")]
    return [name, f"{row['clips']} ({row['clips_of_all_shares']})", *shares, *times]


def figure(s: Any) -> str:
    """A share with its interval and n, or why it is not shown."""
    return _few(s["n"]) or f"{s['value']:.0%} [{s['low']:.0%}, {s['high']:.0%}] (n {s['n']})"


def _few(n: int) -> str:
    return f"too few to tell (n {n})" if n < FEW else ""
