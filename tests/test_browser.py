"""The pages people open, in a real browser: nothing runs, nothing overflows, nothing is complained about.

Needs Chromium (`apt-get install chromium`); skipped where there is none.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curation.audit import audit
from curation.audit_page import write_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = "<script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        found = p.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, "--disable-component-update"])
        yield found
        found.close()


def look(browser: Any, page_file: Path, width: int, scheme: str) -> tuple[str, int, list[str]]:
    """Title, pixels of sideways overflow, and what the console says."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(page_file.as_uri())
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    title = page.title()
    page.close()
    return title, overflow, said


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_the_report_page(browser: Any, tmp_path: Path, width: int, scheme: str) -> None:
    from eval.report import evaluate

    chance, classes = random.Random(1), ("collision", "near_collision", "normal")
    rows = []
    for arm in ("full", "blind"):
        for n in range(60):
            pred = classes[n % 3] if arm == "full" and chance.random() < 0.8 else chance.choice(classes)
            scores = {c: 0.8 if c == pred else 0.1 for c in classes}
            where = {"clip_id": f"clip{n}", "group": f"g{n // 3}", "arm": arm, "slice": "event"}
            rows.append({**where, "truth": classes[n % 3], "pred": pred, "scores": scores})
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    attributes = {f"clip{n}": {"weather": HOSTILE if n % 2 else "rain"} for n in range(60)}
    context = {"title": "A report", "attributes": attributes, "splits": {"text": HOSTILE}, "test_scored": 1}
    context |= {"simulated": True, "provenance": {"tool": HOSTILE}}
    evaluate(tmp_path / "p.jsonl", tmp_path, context)
    assert look(browser, tmp_path / "report.html", width, scheme) == ("A report", 0, [])


def test_the_audit_page(browser: Any, tmp_path: Path) -> None:
    questions = Path(__file__).parent.parent / "recipes" / "examples" / "questions.jsonl"
    text = questions.read_text(encoding="utf-8").replace("What", HOSTILE.replace('"', "'"), 40)
    (tmp_path / "q.jsonl").write_text(text, encoding="utf-8")
    result = audit(str(tmp_path / "q.jsonl"), question="question", options="options", answer="answer", group="video")
    write_page(result, tmp_path / "page.html")
    title, overflow, said = look(browser, tmp_path / "page.html", 390, "light")
    assert "pwned" not in title
    assert (overflow, said) == (0, [])
