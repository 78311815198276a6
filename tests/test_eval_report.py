"""The summary and its page: what they claim, what they refuse to claim, and that nothing on the page can run."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.errors import DataError
from eval.metrics import CLASSES, table
from eval.report import difference, evaluate, scored, summarize

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 8
HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"


def predictions(groups: int = 20, seed: int = 0, **skill: float) -> list[dict[str, Any]]:
    """One clip of each class in each group, answered rightly with probability `skill`; 0 means always "collision"."""
    rng = np.random.default_rng(seed)
    rows = []
    for g in range(groups):
        for k, truth in enumerate(CLASSES):
            for arm, right in skill.items():
                said = 0 if right == 0 else k if rng.random() < right else (k + int(rng.integers(1, 3))) % 3
                scores = {c: 0.8 if i == said else 0.1 for i, c in enumerate(CLASSES)}
                row = {"clip_id": f"clip_{g:02d}_{k}", "group": f"drive{g:02d}", "arm": arm, "truth": truth}
                rows.append(row | {"pred": CLASSES[said], "scores": scores})
    return rows


def answers(summary: dict[str, Any]) -> dict[str, str]:
    return {v["id"]: v["answer"] for v in summary["verdicts"]}


def test_a_model_that_sees() -> None:
    s = summarize(predictions(30, full=0.9, untrained=0.33, blind=0.0, last_frame=0.5))
    assert (s["clips"], s["groups"], s["class_counts"]) == (90, 30, dict.fromkeys(CLASSES, 30))
    full = s["arms"]["full"]["metrics"]["f1.collision"]
    assert full["low"] > 0.5 > 0 and full["low"] < full["value"] < full["high"] and full["n"] == 90
    assert s["constant"]["f1.collision"] | {"value": 0.5, "answer": "collision"} == s["constant"]["f1.collision"]
    assert s["constant"]["accuracy"]["value"] == pytest.approx(1 / 3) and s["constant"]["accuracy"]["n"] == 90
    d = s["differences"]["blind"]
    assert d["value"] == pytest.approx(full["value"] - 0.5) and d["low"] > 0 and d["p_adjusted"] >= d["p"]
    ps = [s["differences"][k] for k in ("untrained", "blind", "last_frame")]
    first = min(ps, key=lambda d: d["p"])
    assert first["p_adjusted"] == pytest.approx(3 * first["p"])  # Holm, over three arms
    want = {"constant": "yes", "untrained": "yes", "blind": "yes", "guessing": "yes", "last_frame": "yes"}
    assert answers(s) == want | {"first_frame": "not shown", "shuffled": "not shown"}


def test_a_model_that_guesses_is_not_called_seeing() -> None:
    s = summarize(predictions(30, full=0.34, untrained=0.9, blind=0.34))
    assert answers(s)["blind"] == "not shown" and answers(s)["untrained"] == "no" and answers(s)["constant"] != "yes"
    leak = summarize(predictions(30, full=0.9, blind=0.9))
    assert answers(leak)["guessing"] == "no"


def test_everything_right_is_not_certain() -> None:
    s = summarize(predictions(20, full=1.0, blind=0.0))
    for name in ("accuracy", "f1.collision", "recall.normal"):
        m = s["arms"]["full"]["metrics"][name]
        assert m["value"] == 1.0 and 0.8 < m["low"] < 0.9 and m["high"] == 1.0 and "20 independent" in m["note"]
    d = s["differences"]["blind"]
    assert d["low"] < d["value"] == 0.5 and d["low"] > 0.3 and d["p"] < 0.001


def test_a_score_of_a_class_rests_on_its_clips() -> None:
    m = summarize(predictions(20, full=0.0))["arms"]["full"]["metrics"]
    assert (m["recall.normal"]["support"], m["precision.collision"]["support"], m["f1.normal"]["support"]) == (
        20,
        60,
        20,
    )
    assert m["precision.normal"]["value"] is None and m["precision.normal"]["note"] == "never predicted"


def test_one_group_has_no_interval_and_says_so() -> None:
    s = summarize(predictions(1, full=0.5, blind=0.0))
    m = s["arms"]["full"]["metrics"]["accuracy"]
    assert m["low"] is None and "one group" in m["note"]
    assert set(answers(s).values()) == {"not shown"}
    assert s["differences"]["blind"]["p"] is None


def test_the_order_of_the_rows_does_not_matter() -> None:
    rows = predictions(8, full=0.7, blind=0.0, shuffled=0.5)
    assert summarize(rows) == summarize(rows[::-1])


def test_arms_that_agree_on_a_few_clips_are_not_shown_equal() -> None:
    rows = predictions(2, full=0.5)
    s = summarize(rows + [r | {"arm": "untrained"} for r in rows])
    d = s["differences"]["untrained"]
    assert d["value"] == 0.0 and d["p"] == 1.0 and d["high"] == -d["low"] > 0.3
    assert answers(s)["untrained"] == "not shown"


def test_the_test_of_a_difference_is_clustered() -> None:
    """The same clips four times over in their groups say no more; in groups of their own they would."""
    rows = predictions(12, full=0.8, blind=0.5)
    copies = [r | {"clip_id": f"{r['clip_id']}_{i}"} for r in rows for i in range(4)]
    apart = [r | {"group": f"{r['group']}_{r['clip_id'][-1]}"} for r in copies]
    few, same, many = (
        difference(*(scored(table([r for r in of if r["arm"] == a])) for a in ("full", "blind")), "accuracy")
        for of in (rows, copies, apart)
    )
    assert same["low"] == pytest.approx(few["low"]) and same["p"] == pytest.approx(few["p"])
    assert many["low"] > few["low"]


def test_slices_by_attribute() -> None:
    rows = predictions(12, full=0.7)
    told = {
        r["clip_id"]: {"weather": "rain" if r["group"] < "drive04" else "clear", "light": None}
        | {"slice": "background" if r["truth"] == "normal" else "event"}
        for r in rows
    }
    s = summarize(rows, told)["slices"]
    assert [(r["value"], r["n"], r["groups"]) for r in s["weather"]] == [("clear", 24, 8), ("rain", 12, 4)]
    assert {r["value"] for r in s["slice"]} == {"event", "background"} and "light" not in s
    assert [r["recall of collision"]["note"] for r in s["slice"] if r["value"] == "background"] == ["no such clip"]


def test_a_slice_of_one_group_has_scores_without_intervals() -> None:
    rows = [r | {"pred": "normal"} for r in predictions(2, full=1.0)]
    drives = {r["clip_id"]: {"drive": r["group"]} for r in rows}
    for told in summarize(rows, drives)["slices"]["drive"]:
        recall = told["recall of collision"]
        assert recall["value"] == 0.0 and told["accuracy"]["value"] == pytest.approx(1 / 3)
        assert recall["low"] is None and "one group" in recall["note"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[1].update(truth="normal"), "'blind' has other clips, groups or truths"),
        (lambda rows: rows[1].update(clip_id="clip_00_0b"), "'blind' has other clips, groups or truths"),
        (lambda rows: rows.remove(rows[1]), "'blind' has other clips, groups or truths"),
        (lambda rows: [r.update(arm="other") for r in rows], "no arm 'full'"),
        (lambda rows: rows.append(rows[0]), "answered twice"),
    ],
)
def test_rows_that_contradict_are_refused(change: Any, message: str) -> None:
    rows = predictions(2, full=0.5, blind=0.0)
    change(rows)
    with pytest.raises(DataError, match=message):
        summarize(rows)


def test_two_thousand_replicates_are_quick() -> None:
    arms = dict.fromkeys(("full", "untrained", "shuffled", "last_frame", "first_frame", "blind"), 0.6)
    rows = predictions(40, **arms)
    start = time.perf_counter()
    summarize(rows)
    assert time.perf_counter() - start < 10  # about 0.6 s on an idle core


class Page(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "line", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "circle"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


SECTIONS: dict[str, Any] = {
    "title": "Ours",
    "provenance": {"seed": 7},
    "simulated": True,
    "splits": {"text": "By drive.", "table": [{"split": "train", "clips": 60}, {"split": HOSTILE, "clips": 30}]},
    "data": {"release": "1.0.0"},
    "agreement": [{"field": "class", "alpha": {"value": 0.81, "low": 0.74, "high": 0.88}, "n": 234}],
    "probe": {
        "text": "Without the video.",
        "table": [{"family": HOSTILE, "excess": {"value": 0.02, "low": -0.05, "high": 0.09}, "n": 480}],
    },
    "test_scored": 1,
}


def made(tmp_path: Path, rows: list[dict[str, Any]], context: dict[str, Any], png: bytes | None = None) -> Any:
    source = tmp_path / "predictions.jsonl"
    source.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
    summary = evaluate(source, tmp_path / "out", context, clips=lambda _: png)
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    return summary, text, Page(text)


def test_the_page_answers_the_referee(tmp_path: Path) -> None:
    rows = predictions(10, full=0.7, blind=0.0, untrained=0.3)
    _, text, page = made(tmp_path, rows, SECTIONS, PNG)
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert headings[:6] == [
        "How were the splits made?",
        "How large is the test set?",
        "Is it significant?",
        "Do humans agree with the supervision?",
        "Is the gain seen, or guessed from the text?",
        "Was the test set looked at more than once?",
    ]
    assert "Simulated raters." in page.words and "0.81 [0.74, 0.88]" in page.words
    assert "0.02 [−0.05, 0.09]" in page.words and "No: one model was scored" in page.words and "By drive." in page.words
    wrong = sum(r["arm"] == "full" and r["pred"] != r["truth"] for r in rows)
    assert sum(tag == "img" for tag, _ in page.tags) == wrong > 0
    assert text.count('class="bar"') == 2 * 3 and not page.open


def test_what_was_not_given_is_said_to_be_not_shown(tmp_path: Path) -> None:
    _, _, page = made(tmp_path, predictions(4, full=0.7), {"title": "T", "test_scored": 3})
    assert page.words.count("Not shown: ") >= 5 + 6  # sections, and the verdicts on arms that were not run
    assert "Simulated raters." not in page.words and "3 models were scored" in page.words


def test_nothing_on_the_page_runs_or_loads(tmp_path: Path) -> None:
    rows = predictions(4, full=0.3, blind=0.0)
    for r in rows:
        r["group"], r["clip_id"] = HOSTILE + r["group"], HOSTILE + r["clip_id"]
    rows += [r | {"arm": HOSTILE} for r in rows if r["arm"] == "blind"]
    context = SECTIONS | {
        "title": HOSTILE,
        "provenance": {HOSTILE: HOSTILE},
        "agreement": HOSTILE,
        HOSTILE: {HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]},
        "test_scored": HOSTILE,
        "attributes": {r["clip_id"]: {HOSTILE: HOSTILE + r["truth"]} for r in rows},
    }
    _, text, page = made(tmp_path, rows, context, PNG)
    assert "script" not in {t for t, _ in page.tags} and not page.open
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("src", "href", "xlink:href"):
            assert name not in attributes or tag == "img"
    assert all(str(a["src"]).startswith("data:image/png;base64,") for t, a in page.tags if t == "img")
    assert "http://" not in text and "https://" not in text and "@import" not in text and "url(" not in text


def test_evaluate_writes_the_page_and_the_summary_beside_it(tmp_path: Path) -> None:
    rows = predictions(6, full=0.8, blind=0.0)
    rows[0]["clip_id"] = "two\u2028lines"
    rows[1]["clip_id"] = "two\u2028lines"
    summary, first, _ = made(tmp_path, rows, SECTIONS)
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
    assert made(tmp_path, rows, SECTIONS)[1] == first
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["report.html", "summary.json"]
