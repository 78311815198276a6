"""review: what people say of clips and drafts. Two rounds: `triage` (the event, blind) and `text` (the drafts).

A round deals its clips to shares (`curation.shares`), and tasks go out and answers come in (`curation.exchange`).
Raters are people at a Label Studio server, people elsewhere (`file`: tasks go out and exports come in as files), or
simulated, by the same files; simulated ones adjudicate nothing.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from curation import labelstudio, simulated
from curation.annotators import EVERYBODY, counted, family, gold_key, recalibrate, standing
from curation.checks import open_errors
from curation.draft import current_drafts
from curation.errors import UsageError
from curation.exchange import as_json, folder, lacking, pull, push, where
from curation.forms import blind_xml, calibration, compose
from curation.ids import fraction
from curation.recipe import Recipe
from curation.release import write_atomic
from curation.resolve import disputed, event_label, on_event, refused, target_event
from curation.shares import Order, Round, Share, assign, differing, place_gold, serve_first, sides
from curation.store import Workspace, current_clips, decisions, now
from curation.tasks import load_packs
from curation.types import Assignment, Clip, Decision, Draft, Json, Progress, Refusal, Report, Review

ROUNDS = ("triage", "text")


def rounds(recipe: Recipe) -> list[str]:
    """The rounds that this recipe asks people for."""
    return [r for r in ROUNDS if not (r == "triage" and recipe["event"]["basis"] == "source")]


def _connected(recipe: Recipe) -> Any:
    raters = recipe["review"]["raters"]
    return labelstudio.connect(raters["url"]) if raters["kind"] == "label_studio" else nullcontext()


def run(
    ws: Workspace, recipe: Recipe, *, round: str = "triage", limit: int | None = None, progress: Progress | None = None
) -> Report:
    """Push what is missing, pull what is new; the report's gate says what to do while ratings are missing."""
    raters = recipe["review"]["raters"]
    if round not in rounds(recipe):
        return Report("review", notes=["event.basis is `source`: the sources decide the event, nobody is asked"])
    plan = prepare(ws, recipe, round, limit)
    report = Report("review", {"clips": len(plan.ordinary)})
    before = {a.id for a in ws.read(Assignment)}
    with _connected(recipe) as client:
        report.counts["pushed"] = push(ws, recipe, plan, client, progress)
        if raters["kind"] == "simulated":
            _simulate(ws, recipe, plan)
        report.counts["reviews"], report.counts["refused"] = pull(ws, recipe, plan, client, progress)
        if raters["kind"] == "file" and report.counts["reviews"]:  # the files hold what is open now, conflicts too
            plan = prepare(ws, recipe, round, limit)
            report.counts["pushed"] += push(ws, recipe, plan, client, progress)
    report.notes += _handed_out(ws, recipe, plan, before)
    waiting = _waiting(ws, recipe, plan)
    if waiting:
        report.counts["ratings missing"] = waiting
        report.gate = (
            f"review: {waiting} ratings are missing; {where(ws, recipe, f'{plan.name}.*')}; "
            "then run the same command again"
        )
    if waiting or report.counts["refused"]:
        report.notes += _turned_away(ws)
    if raters["kind"] == "simulated":
        report.notes.append("the raters are simulated: what follows is marked so and can never be pushed to a hub")
    return report


def exchange(ws: Workspace, recipe: Recipe, what: str, progress: Progress | None = None) -> Report:
    """Push (`what` "push") or pull ("pull") every round that is ready, and nothing else."""
    report = Report(f"review {what}")
    before = {a.id for a in ws.read(Assignment)}
    with _connected(recipe) as client:
        for name in rounds(recipe):
            plan = prepare(ws, recipe, name)
            if what == "push":
                report.counts[f"{name} pushed"] = push(ws, recipe, plan, client, progress)
                report.notes += _handed_out(ws, recipe, plan, before)
                for share in plan.shares[len(recipe["review"][name]["shares"]) :]:
                    report.counts[f"{share.project} clips"] = len(share.planned)
            else:
                reviews, refused = pull(ws, recipe, plan, client, progress)
                report.counts |= {f"{name} reviews": reviews, f"{name} refused": refused}
                report.counts[f"{name} ratings missing"] = _waiting(ws, recipe, plan)
        report.notes += _turned_away(ws) if what == "pull" else []
    return report


def _handed_out(ws: Workspace, recipe: Recipe, plan: Round, before: set[str]) -> list[str]:
    """By file what each file holds, at a server where conflicts wait; what is not among `before` is new."""
    notes = []
    for share in plan.shares:
        left = [a.id for a in share.planned]
        if recipe["review"]["raters"]["kind"] == "file":
            tasks = json.loads((folder(ws, recipe) / share.project / "tasks.json").read_bytes())
            left = [task["data"]["assignment"] for task in tasks]
        elif share.name != "adjudication":
            continue
        if left:
            new = sum(i not in before for i in left)
            at = where(ws, recipe, share.project, new=new > 0)
            notes.append(f"{share.project}: {len(left)} tasks, {new} new: {at}")
    return notes


def _turned_away(ws: Workspace) -> list[str]:
    """Why answers were not taken, by reason, each with an example: what is missing may be among them."""
    found: dict[str, list[Refusal]] = {}
    for r in ws.read(Refusal):
        if r.stage == "review":
            found.setdefault(r.reason, []).append(r)
    return [f"refused so far, {reason}: {len(own)}, such as {own[-1].detail}" for reason, own in sorted(found.items())]


# -- who judges what -------------------------------------------------------------------------------------------------
def prepare(ws: Workspace, recipe: Recipe, round: str, limit: int | None = None) -> Round:
    """What the round consists of now: its clips in their shares, and what was judged so far as gold and conflicts."""
    packs = {n: p for n, p in load_packs(["event", *recipe["tasks"]], recipe.base).items() if not p.spec["judges"]}
    own = [packs["event"]] if round == "triage" else list(packs.values())
    clips, section = current_clips(ws), recipe["review"][round]
    events = {x.clip_id: x.value for x in ws.labels() if x.task == "event" and x.value}
    drafts: dict[str, dict[str, Draft]] = defaultdict(dict)
    first: set[str] = set()
    if round == "triage":
        asked = [c.id for c in clips.values() if c.role != "pre_event"]  # its outcome is inherited, not asked
    else:
        errors = refused(ws, recipe)
        doubted = open_errors(ws).keys() - errors.keys()  # the recipe has them judged first
        for (clip_id, task), draft in current_drafts(ws, recipe, ws.labels()).items():
            if draft.id not in errors and clip_id in clips and task in packs:
                drafts[clip_id][task] = draft
                first |= {clip_id} if draft.id in doubted else set()
        asked = list(drafts)
    chance, teaches = _orders(ws, recipe, asked, clips, events)
    asked = sorted(asked, key=chance)[:limit]
    dealt = assign(asked, section["shares"], recipe.seed, round)
    shares = []
    for name in section["shares"]:
        blind = name == "blind"
        share = Share(f"{round}.{name}", compose(own, blind=blind), 1 if name == "single" else section["raters"])
        shown = [p.name for p in own if not blind or blind_xml(p)]
        served = sorted((c for c in asked if dealt[c] == name), key=chance)
        if name == "single":  # the others are a random sample, and stay one however far people get
            served.sort(key=lambda c: (c not in first, teaches(c)))
        for clip in served:
            ids = tuple(sorted(d.id for task, d in drafts[clip].items() if task in shown))
            share.planned.append(Assignment(clip, share.project, name if blind else round, draft_ids=ids))
        shares.append(share)
    plan = Round(round, own, clips, dict(drafts), events, {}, shares, limit is None)
    if plan.whole and recipe["review"]["raters"]["kind"] != "simulated":
        _add_gold(ws, recipe, plan)
        _add_conflicts(ws, recipe, plan)
    return plan


def _orders(
    ws: Workspace, recipe: Recipe, asked: list[str], clips: dict[str, Clip], events: dict[str, Json]
) -> tuple[Order, Order]:
    from curation.release import latest

    group = {row["clip_id"]: row["group"] for row in ws.read_view("groups")}
    parent = latest(ws.root / "releases")
    ledger = parent.root / "splits.jsonl" if parent else Path()
    rows = [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines()] if parent else []
    test = {group.get(row["clip_id"], row["clip_id"]) for row in rows if row["split"] == "test"}
    written = list(ws.read(Draft))
    of, dismissed = {d.id: d.clip_id for d in written}, decisions(ws, "dismiss")
    found = {of.get(row["record_id"], "") for row in ws.read_view("issues") if row["id"] not in dismissed}
    claimed = {c: simulated.true_class(target_event(clips[c].events)) for c in asked}
    classes = {c: events[c]["class"] if c in events else claimed[c] for c in asked}
    return serve_first(asked, group, test, found, differing(written), classes, recipe.seed)


def _add_gold(ws: Workspace, recipe: Recipe, plan: Round) -> None:
    """Half of the gold clips to qualify on, the other half unmarked among the ordinary ones."""
    drafts = {d.id for own in plan.drafts.values() for d in own.values()}
    key = gold_key(ws, standing(ws.read(Review)))
    places = [p for p in key if p[0] in plan.clips and (p[2] in drafts or (plan.name, p[1]) == ("triage", "event"))]
    open_ = [s for s in plan.shares if s.name != "blind"]
    if not places or not open_:
        return
    share, hidden = Share(f"{plan.name}.gold", open_[0].config, EVERYBODY), []
    for clip in sorted({p[0] for p in places}):
        ids = tuple(sorted(d.id for d in plan.drafts.get(clip, {}).values()))  # whole, as all the others are shown
        if fraction(recipe.seed, "hidden", plan.name, clip) < 0.5:
            hidden.append(Assignment(clip, open_[-1].project, "gold", draft_ids=ids, gold=True))
        else:
            share.planned.append(Assignment(clip, share.project, "gold", draft_ids=ids, gold=True))
    place_gold(open_[-1].planned, hidden, recipe.seed)
    plan.shares.append(share)


def _add_conflicts(ws: Workspace, recipe: Recipe, plan: Round) -> None:
    """What the raters could not decide, with what each of them said."""
    judged: dict[str, list[Review]] = defaultdict(list)
    for r in counted(ws, recipe)[0]:
        judged[r.clip_id].append(r)
    packs = plan.packs if plan.name == "triage" else plan.packs[1:]
    share = Share(f"{plan.name}.adjudication", compose(packs, said=True), 1)
    for clip in sorted({a.clip_id for _, a in plan.ordinary}):
        if plan.name == "triage":
            own = on_event(judged[clip])
            wrong = [""] if event_label(plan.clips[clip], own).basis == "conflict" else []
        else:
            by_draft = {d.id: [r for r in judged[clip] if r.draft_id == d.id] for d in plan.drafts[clip].values()}
            wrong = sorted(draft for draft, said in by_draft.items() if disputed(said))
            own = [r for draft in wrong for r in by_draft[draft]]
        if wrong:
            a = Assignment(clip, share.project, "adjudication", draft_ids=tuple(filter(None, wrong)))
            share.planned.append(a)
            plan.said[a.id] = sides(own, recipe.seed)
    if share.planned:
        plan.shares.append(share)


def make_gold(ws: Workspace, recipe: Recipe, clips: tuple[str, ...], reason: str, who: str, most: int | None) -> int:
    """Decide that adjudicated clips are gold: those named, else all, `most` of them in a chance order."""
    if not reason.strip() or not who.strip():
        raise UsageError("--reason and --who say why and by whom; neither may be empty")
    decided = {r.clip_id for r in standing(ws.read(Review)) if r.round == "adjudication"}
    if missing := sorted(set(clips) - decided):
        raise UsageError(f"{missing[0]} was not adjudicated; gold needs an answer that somebody stands for")
    chosen = clips or tuple(sorted(decided, key=lambda c: fraction(recipe.seed, "gold", c))[:most])
    with ws.writer(Decision) as out:
        return sum(out.add(Decision(c, "gold", reason, who, now())) for c in chosen)


# -- a server of ours ------------------------------------------------------------------------------------------------
def serve(ws: Workspace, recipe: Recipe, *, host: str, port: int, say: Callable[[str], None]) -> None:
    """Run the workspace's own Label Studio with every round that is ready pushed to it, until it is interrupted.

    `say` gets the lines with the address, the admin's password and token and the raters' link: they are said once.
    """
    where = labelstudio.instance_dir(ws.root)
    with labelstudio.serve(where, ws.root / "blobs", host=host, port=port) as server:
        with labelstudio.connect(server.url, server.token) as client:
            for name in rounds(recipe):
                plan = prepare(ws, recipe, name)
                say(f"{name}: {len(plan.ordinary)} clips, {push(ws, recipe, plan, client)} of them new")
            invite = labelstudio.invite_url(client, server.url)
        say(f"Label Studio:   {server.url}   (its data: {where}; stop it with Ctrl-C)")
        say(f"admin:          {labelstudio.ADMIN}   password: {server.password}")
        say(f"raters sign up: {invite}")
        say(f"export LABEL_STUDIO_URL={server.url} LABEL_STUDIO_API_KEY={server.token}")
        server.process.wait()


# -- what is missing, and simulated raters ---------------------------------------------------------------------------
def _waiting(ws: Workspace, recipe: Recipe, plan: Round) -> int:
    """Ratings that ordinary clips still lack; of gold and conflicts nobody has to wait for any."""
    missing = lacking(ws, recipe, plan)
    return sum(missing[a.id] for _, a in plan.ordinary)


def _simulate(ws: Workspace, recipe: Recipe, plan: Round) -> None:
    """Write the exports that simulated raters would have left, beside the tasks they were given."""
    raters = recipe["review"]["raters"]
    truth = {c.id: target_event(c.events) for c in plan.clips.values()}
    wrong = {
        clip for clip, event in truth.items()
        if plan.name == "text" and clip in plan.events and plan.events[clip]["class"] != simulated.true_class(event)
    }  # fmt: skip
    values = {d.id: d.value for own in plan.drafts.values() for d in own.values()}
    for share in plan.shares:
        tasks = [plan.task(share, a, raters["media_url"]) for a in share.planned]
        done = simulated.answer(
            tasks, share.config, truth, wrong, values, count=raters["count"], wanted=share.raters,
            error=raters["error"], seed=recipe.seed,
        )  # fmt: skip
        write_atomic(folder(ws, recipe) / share.project / "export.json", as_json(done))


def status(ws: Workspace, recipe: Recipe) -> Report:
    """Both rounds as they stand in the workspace, and who has to qualify again; asks no server."""
    report = Report("review status")
    packs = load_packs(["event", *recipe["tasks"]], recipe.base)
    told = {"triage": calibration([packs["event"]]), "text": calibration(list(packs.values()))}
    standing_ = standing(ws.read(Review))
    shares = {(a.clip_id, a.round): a.project.partition(".")[0] for a in ws.read(Assignment)}
    for name in ROUNDS:
        pushed = Counter(a.project for a in ws.read(Assignment) if a.project.startswith(f"{name}."))
        reviews = [r for r in standing_ if shares.get((r.clip_id, r.round), family(r.round)) == name]
        judged = {r.clip_id for r in reviews}
        for project, n in sorted(pushed.items()):
            report.counts[f"{project} clips"] = n
        report.counts[f"{name} judged"] = len(judged)
        report.data[name] = {
            "pushed": dict(sorted(pushed.items())),
            "judged": len(judged),
            "raters": len({r.reviewer for r in reviews}),
            "verdicts": dict(sorted(Counter(r.verdict for r in reviews).items())),
        }
    report.counts["refused"] = sum(r.stage == "review" for r in ws.read(Refusal))
    aside = Counter(counted(ws, recipe)[1].values())
    report.counts |= {f"not counted, {why}": n for why, n in sorted(aside.items())}
    report.notes = recalibrate(ws, {n: told[n] for n in rounds(recipe)})
    return report
