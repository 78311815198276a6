"""The dataset card: what a consumer must know before trusting the data, printed from release.json."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from curation.types import Json

MEANING = {
    "source": "taken from a source the recipe trusts",
    "agreed": "all raters alike",
    "majority": "more than half of the raters",
    "adjudicated": "decided in adjudication",
    "single": "one rater",
    "unreviewed": "no human looked at it",
}
TAGS = ("driving", "dashcam", "collision", "near-collision", "vlm")


def write_card(root: Path, info: Json) -> None:
    """Write README.md beside the data of a release."""
    parts = [_front(root, info), f"# {_md(info['title'])} {info['version']}\n", _intro(info), _splits(info)]
    parts += [_labels(info), _agreement(info), _probe(info), _limits(info), _use(info)]
    (root / "README.md").write_text("\n".join(parts), encoding="utf-8")


def _md(value: Any) -> str:
    """Foreign text inside Markdown: one line, no markup that could run or break a table."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(str(value).split()))


def _front(root: Path, info: Json) -> str:
    import yaml

    configs: list[Json] = []
    for task in info["tasks"]:
        found = {p.name.rsplit("-", 1)[0] for p in (root / "data" / task).glob("*.parquet")}
        splits = [{"split": s, "path": f"data/{task}/{s}-*.parquet"} for s in info["splits"] if s in found]
        configs.append({"config_name": task, "data_files": splits, **({"default": True} if task == "event" else {})})
    configs.append({"config_name": "media", "data_files": [{"split": "clips", "path": "media/*.parquet"}]})
    front = {
        "pretty_name": info["title"],
        "license": info["licence"],
        "task_categories": ["video-text-to-text", "video-classification"],
        "tags": [*TAGS, "simulated-raters" if info["simulated"] else "reviewed"],
        "configs": configs,
    }
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n"


def _intro(info: Json) -> str:
    lines = [f"Release `{info['version']}` (`{info['id']}`), made with {_md(info['lock']['tool'])}."]
    if info["simulated"]:
        lines.append("\n> **Simulated raters.** The reviews behind this were made by a program that imitates raters")
        lines.append("> with known error rates. They say nothing about human agreement; never push this to a Hub.")
    if info["parent"]:
        lines.append(f"\nParent: `{info['parent']['version']}` (`{info['parent']['id']}`).")
    return "\n".join(lines) + "\n"


def _table(head: list[str], rows: list[list[Any]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_md(c) for c in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _splits(info: Json) -> str:
    rows = [
        [name, s["clips"], s["groups"], ", ".join(f"{c} {n}" for c, n in s["classes"].items())]
        for name, s in info["splits"].items()
    ]
    text = (
        "## Splits\n\nWhole groups (drive, else upload, else source, joined by near-duplicate links) are assigned "
        f"once and keep their split in every later release.\n\n{_table(['split', 'clips', 'groups', 'classes'], rows)}"
    )
    if info["unknown_drives"]:
        text += (
            f"\nOf {info['sources']} sources {info['unknown_drives']} have no known drive or upload: "
            "each is a group of its own, which may hide a link.\n"
        )
    if info["withdrawn"]:
        text += f"\nWithdrawn because a near-duplicate sits in another split: {len(info['withdrawn'])} clips.\n"
    return text


def _labels(info: Json) -> str:
    rows = [
        [task, n, ", ".join(f"{b} {k}" for b, k in info["bases"][task].items())] for task, n in info["rows"].items()
    ]
    bases = sorted({b for counts in info["bases"].values() for b in counts})
    legend = "; ".join(f"*{b}*: {MEANING[b]}" for b in bases if b in MEANING)
    text = f"## Labels and their basis\n\n{_table(['task', 'rows', 'basis'], rows)}\n{legend}.\n"
    test = info["test_labels"]
    if test["below_two_raters"]:
        weak = f"{test['below_two_raters']} of {test['n']}"
        text += f"\n**Test labels**: {weak} rest on fewer than two raters and are not adjudicated.\n"
    return text


def interval(score: Json | None) -> str:
    """A score with its interval, or "not shown"."""
    if not score or score["value"] is None:
        return "not shown"
    return f"{score['value']:.3f}" + (f" [{score['low']:.3f}, {score['high']:.3f}]" if score["low"] is not None else "")


def _agreement(info: Json) -> str:
    if not info["agreement"]:
        return "## Agreement\n\nNot shown: no clip was judged blind by two raters.\n"
    head = ["field", "raters", "clips rated twice", "raw agreement", "alpha", "AC1"]
    rows = [
        [r["field"], r["n_raters"], r["n_units"], interval(r["raw"]), interval(r["alpha"]), interval(r["ac1"])]
        for r in info["agreement"]
    ]
    who = "simulated" if info["simulated"] else "human"
    how = "Krippendorff's alpha; 95 % intervals from a bootstrap clustered by group."
    text = f"## Agreement ({who} raters)\n\n{how}\n\n{_table(head, rows)}"
    for gate in info["gate"]:
        text += f"\nGate on {_md(gate['field'])}: **{_md(gate['status'])}**. {_md(gate['message'])}\n"
    return text


def _probe(info: Json) -> str:
    head = ["task", "family", "questions", "accuracy without the video", "chance", "verdict"]
    rows = [
        [r["task"], r["family"], r["n"], interval(r["accuracy"]), interval(r["chance"]), r["verdict"]]
        for r in info["probe"]
    ]
    if not rows:
        return "## Text-prior probe\n\nNot shown: no closed questions in this release.\n"
    how = "How well a classifier that never sees the video picks the answer (folds by group)."
    return f"## Text-prior probe\n\n{how}\n\n{_table(head, rows)}"


def _limits(info: Json) -> str:
    lines = ["## Limits\n"]
    if info["not_redistributed"]:
        n = info["not_redistributed"]
        lines.append(f"- Media of {n} clips may not be redistributed: source hash and times are given.")
    if info["issues"]:
        lines.append("- Findings of validation: " + ", ".join(f"{_md(k)} {n}" for k, n in info["issues"].items()) + ".")
    lines.append("- Class definitions: `schemas/event/guidelines.md`.")
    return "\n".join(lines) + "\n"


def _use(info: Json) -> str:
    return (
        "## Use\n\n```python\nfrom datasets import load_dataset\n\n"
        'events = load_dataset("path/or/repo", "event")        # one row a clip, splits train / validation / test\n'
        'media = load_dataset("path/or/repo", "media")         # joined on clip_id\n```\n\n'
        "`messages` holds the training conversations; `<video>` stands for the clip. "
        "`MANIFEST.sha256` proves every file: `sha256sum -c MANIFEST.sha256`.\n"
    )
