"""The evaluation page: one HTML file, no script, nothing loaded from outside, every text escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from eval.charts import Media, block, cell, forest, grid, interval, is_table, label, matrix, number, p_value, picture

Json = dict[str, Any]
Row = Mapping[str, Any]

GALLERY = 24  # clips shown at most
ARM_TEXT = {
    "full": "the whole clip",
    "untrained": "the whole clip, before training",
    "shuffled": "frames in another order",
    "last_frame": "the last frame only",
    "first_frame": "the first frame only",
    "blind": "no frames",
}
POLICY = "default-src 'none'; img-src data:; media-src 'self' file:; style-src 'unsafe-inline'"


def gallery(predictions: Sequence[Row], classes: Sequence[str], media: Media) -> str:
    """The clips that arm `full` got wrong, the gravest classes first and the surest errors first within them."""
    wrong = [r for r in predictions if r["arm"] == "full" and r["pred"] != r["truth"]]
    rank = {c: i for i, c in enumerate(classes)}

    def order(row: Row) -> tuple[int, float, str]:
        said = rank.get(str(row["pred"]), len(rank))
        sure = (row.get("scores") or {}).get(row["pred"], 0.0)
        return min(rank[row["truth"]], said), -sure, str(row["clip_id"])

    if not wrong:
        return "<p>No clip was answered wrongly.</p>"
    cards = ""
    for row in sorted(wrong, key=order)[:GALLERY]:
        said = label(str(row["pred"])) if row["pred"] in rank else "no valid answer"
        sure = (row.get("scores") or {}).get(row["pred"])
        chance = f" (probability {number(sure)})" if sure is not None else ""
        extra = f", {cell(row['slice'])}" if row.get("slice") else ""
        text = f"<b>{label(row['truth'])}</b> answered as <b>{said}</b>{chance}<br>"
        text += f"{cell(row['group'])}{extra}<br><code>{cell(row['clip_id'])}</code>"
        clip = str(row["clip_id"])
        cards += f"<figure>{picture(clip, media(clip))}<figcaption>{text}</figcaption></figure>"
    more = f"<p class='soft'>{GALLERY} of {len(wrong)} shown, gravest first.</p>" if len(wrong) > GALLERY else ""
    return f'{more}<div class="gallery">{cards}</div>'


def _part(heading: str, body: str, ident: str) -> str:
    return f'<section id="{ident}"><h2>{escape(heading)}</h2>{body}</section>'


def _given(sections: Mapping[str, Any], key: str, why: str) -> str:
    value = sections.get(key)
    return block(value) if value not in (None, "", [], {}) else f"<p>Not shown: {escape(why)}.</p>"


def _said(s: Json) -> str:
    return f"{s['setting']['target'].replace('_', ' ')} F1"


def _hero(s: Json) -> str:
    m, level = s["arms"]["full"]["metrics"], f"{s['setting']['level']:.0%}"
    tiles = ""
    for name, text in ((f"f1.{s['setting']['target']}", _said(s)), ("accuracy", "accuracy")):
        x, best = m[name], s["constant"][name]
        span = f"{level} interval {number(x['low'])} to {number(x['high'])}"
        span = span if x["low"] is not None else f"no interval: {x['note']}"
        against = f"always “{best['answer'].replace('_', ' ')}” has {number(best['value'])}"
        small = f"<span>{escape(span)}</span><span>{escape(against)}</span>"
        tiles += f'<div class="tile"><b>{number(x["value"])}</b>{escape(text)}{small}</div>'
    per = ", ".join(f"{n} {c.replace('_', ' ')}" for c, n in s["class_counts"].items())
    small = f"<span>in {s['groups']} groups</span><span>{escape(per)}</span>"
    tiles += f'<div class="tile"><b>{s["clips"]}</b>test clips{small}</div>'
    return f'<div class="hero"><div class="tiles">{tiles}</div>{_verdicts(s["verdicts"])}</div>'


def _verdicts(verdicts: Sequence[Row]) -> str:
    items = ""
    for v in verdicts:
        tone = v["answer"] if v["answer"] in ("yes", "no") else "open"
        text = f'{escape(v["question"])} <span class="soft">{escape(v["text"])}</span>'
        items += f'<li><span class="chip {tone}">{label(v["answer"])}</span><span>{text}</span></li>'
    return f'<ul class="verdicts">{items}</ul>'


def _size(s: Json) -> str:
    full, power = s["arms"]["full"], s["power"]
    said = "The design effect is undefined."
    if full["design_effect"]:
        said = f"For accuracy the design effect is {number(full['design_effect'])}: "
        said += f"they count as {full['effective_n']:.0f} independent clips."
    text = f"{s['clips']} clips in {s['groups']} groups. {said} "
    if power["minimum_detectable"] is None:
        text += f"The smallest difference this can show is undefined: {power['note']}."
    else:
        need = " and ".join(f"{n} clips for one of {e}" for e, n in power["clips_for"].items())
        text += f"A {_said(s)} {number(power['minimum_detectable'])} away from the best constant answer would be found "
        text += f"with 80 % power; it takes about {need}."
    counts = [
        {"class": c.replace("_", " "), "clips": n, "share": f"{n / s['clips']:.0%}"}
        for c, n in s["class_counts"].items()
    ]
    return f"<p>{escape(text)}</p>{grid(counts)}"


def _arms(s: Json) -> str:
    target = f"f1.{s['setting']['target']}"
    charts = ""
    for name, text in ((target, _said(s)), ("accuracy", "accuracy")):
        rows = [(arm, a["metrics"][name]) for arm, a in s["arms"].items()]
        rule = ("best constant", s["constant"][name]["value"])
        charts += forest(rows, f"{text[:1].upper()}{text[1:]} by arm", rule)
    table = []
    for arm, a in s["arms"].items():
        m = a["metrics"]
        row: Json = {"arm": arm.replace("_", " "), "n": a["n"], "groups": a["groups"], _said(s): interval(m[target])}
        row |= {"accuracy": interval(m["accuracy"]), "macro F1": interval(m["macro_f1"])}
        table.append(row | {"AP": interval(m["average_precision"]), "no answer": a["no_answer"]})
    best: Json = {"arm": "best constant", "n": s["clips"], "groups": s["groups"]}
    best |= {_said(s): interval(s["constant"][target]), "accuracy": interval(s["constant"]["accuracy"])}
    shown = "; ".join(f"{arm.replace('_', ' ')}: {ARM_TEXT[arm]}" for arm in s["arms"] if arm in ARM_TEXT)
    return f'<div class="charts">{charts}</div>{grid([*table, best])}<p class="soft">{escape(shown)}.</p>'


def _differences(s: Json) -> str:
    target = f"f1.{s['setting']['target']}"
    named = [(("best constant" if k == "constant" else k.replace("_", " ")), d) for k, d in s["differences"].items()]
    caption = f"{label(_said(s))}: arm full minus the other"
    chart = forest([(k, d[target]) for k, d in named], caption, ("equal", 0.0), signed=True)
    table = []
    for name, d in named:
        row: Json = {"full minus": name, "n": d[target]["n"]}
        for score, text in ((target, _said(s)), ("accuracy", "accuracy")):
            p = d[score].get("p_adjusted")
            row |= {text: interval(d[score], signed=True), f"p ({text})": None if p is None else p_value(p, bare=True)}
        exact = d.get("mcnemar")
        table.append(row | {"McNemar p": None if exact is None else p_value(exact["p"], bare=True)})
    note = "p is two-sided and clustered by group; those of the arms are adjusted by Holm. "
    note += "McNemar’s exact p takes clips as independent."
    return f'<div class="charts">{chart}</div>{grid(table)}<p class="soft">{note}</p>'


def _looks(sections: Mapping[str, Any]) -> str:
    times = sections.get("test_scored")
    if times is None:
        return "<p>Not shown: how often the test split was scored was not given.</p>"
    if times == 1:
        return "<p>No: the test split was scored once.</p>"
    told = "What was chosen between the looks makes these figures too high; fresh clips are needed for a clean one."
    return f"<p><b>The test split was scored {cell(times)} times.</b> {told}</p>"


def _scores(s: Json) -> str:
    full, classes = s["arms"]["full"], s["setting"]["classes"]
    m = full["metrics"]
    per = [
        {"class": c.replace("_", " ")} | {k: interval(m[f"{k}.{c}"]) for k in ("precision", "recall", "f1")}
        for c in classes
    ]
    positive = " or ".join(c.replace("_", " ") for c in s["setting"]["positive"])
    names = {
        "balanced_accuracy": "balanced accuracy",
        "macro_f1": "macro F1",
        "average_precision": f"average precision of {positive}",
        "brier": "Brier score (0 to 2, lower is better)",
        "ece": "expected calibration error",
    }
    rest = [{"score": text, "value": interval(m[k]), "note": m[k]["note"]} for k, text in names.items()]
    shown = matrix(full["confusion"], classes, "Arm full: rows are the truth, columns the answer")
    others = [
        matrix(a["confusion"], classes, f"Arm {k.replace('_', ' ')}") for k, a in s["arms"].items() if k != "full"
    ]
    more = f'<details><summary>The other arms</summary><div class="charts">{"".join(others)}</div></details>'
    return f"{shown}{more if others else ''}<h3>By class</h3>{grid(per)}<h3>Other scores</h3>{grid(rest)}"


def _slices(s: Json) -> str:
    out = ""
    for name, rows in s["slices"].items():
        key = name.replace("_", " ")
        if name == "group":
            table = [{key: r["value"], "n": r["n"], "accuracy": number(r["accuracy"]["value"])} for r in rows]
            text = f"By group ({len(rows)}; a single group has no interval)"
            out += f"<details><summary>{text}</summary>{grid(table)}</details>"
            continue
        table = [{key: r["value"], "n": r["n"], "groups": r["groups"]} for r in rows]
        for cells, r in zip(table, rows, strict=True):
            cells |= {"accuracy": interval(r["accuracy"]), _said(s): interval(r["f1"])}
        out += f"<h3>By {escape(key)}</h3>{grid(table)}"
    return out or "<p>Not shown: no attribute has two values here.</p>"


def _seen(s: Json) -> str:
    about = [v for v in s["verdicts"] if v["id"] in ("blind", "guessing", "first_frame", "last_frame", "shuffled")]
    return f"<p>By arms that see less of the clip:</p>{_verdicts(about)}<h3>Text-prior probe</h3>"


BANNER = (
    '<div class="banner"><b>Simulated raters.</b> No person judged these clips. Labels and agreement come from '
    "simulated raters: they show that the machinery works, not that the labels are right.</div>"
)
METHOD = (
    "Whole groups (drives) are resampled {replicates} times with seed {seed} (Field & Welsh 2007). The interval of a "
    "score is Wilson’s (1927) at the effective size which that spread gives, with t for few groups (Korn & Graubard "
    "1998); of a difference, the t interval. All right or all wrong is bounded as if each group were one clip. F1 of "
    "a class with neither truth nor answer, precision without an answer and recall without truth are undefined, shown "
    "as –. An answer "
    "that is no class counts as wrong. “Not shown” is not “no difference”: the clips do not settle it. Slices are "
    "not adjusted for their number: they show where to look, not what is so."
)
KNOWN = ("splits", "data", "agreement", "probe", "test_scored", "simulated")


def render(
    s: Json,
    predictions: Sequence[Row],
    media: Media,
    title: str,
    provenance: Mapping[str, Any],
    sections: Mapping[str, Any],
) -> str:
    """The page. `sections` holds what only the caller knows, each as text, a dict, or a list of dicts (a table):

    splits (how they were made), data (what was scored), agreement (rows with field, measure, value, low, high, n),
    probe (text-prior probe), test_scored (int), simulated (bool: raters were). Further keys follow under their names.
    """
    judged = sections.get("agreement")
    simulated = sections.get("simulated") or (is_table(judged) and any(r.get("simulated") for r in judged or ()))
    splits = _given(sections, "splits", "no account of the splits was given")
    size = _size(s) + (block(sections["data"]) if sections.get("data") else "")
    agreement = _given(sections, "agreement", "no agreement figures were given")
    probe = _given(sections, "probe", "the text-prior probe was not run")
    body = [
        _part("How were the splits made?", splits, "splits"),
        _part("How large is the test set?", size, "size"),
        _part("Is it significant?", f"{_arms(s)}<h3>Against the whole clip</h3>{_differences(s)}", "significance"),
        _part("Do humans agree with the supervision?", agreement, "agreement"),
        _part("Is the gain seen, or guessed from the text?", _seen(s) + probe, "seen"),
        _part("Was the test set looked at more than once?", _looks(sections), "looks"),
        _part("Where does it fail?", _scores(s), "scores"),
        _part("Slices", _slices(s), "slices"),
        _part("The clips it got wrong", gallery(predictions, s["setting"]["classes"], media), "errors"),
    ]
    for i, key in enumerate(k for k in sections if k not in KNOWN):
        body.append(_part(key.replace("_", " ").capitalize(), block(sections[key]), f"more-{i}"))
    method = f"<p>{escape(METHOD.format(**s['setting']))}</p>{block(provenance)}"
    body.append(_part("Method and provenance", method, "method"))
    css = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{css}</style></head><body><main><h1>{escape(title)}</h1>"
        f"{BANNER if simulated else ''}{_hero(s)}{''.join(body)}</main></body></html>\n"
    )
