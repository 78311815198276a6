"""How much work a clip is: keys and pointing in the real forms, and the keystroke-level model's seconds.

    python tests/bench/keystrokes.py recipe.yaml [clips]

Needs a Label Studio with the recipe's projects pushed (`autodrive review serve`), LABEL_STUDIO_URL, _API_KEY and
_PASSWORD (the admin's), and Chromium. It submits answers: use a workspace that may be thrown away. Triage says what the
source says of the clip; in texts one verdict in 12 is an edit (four words), one in 25 a rejection with a fault.

Card, Moran and Newell (1980), The keystroke-level model for user performance time with interactive systems, CACM 23(7),
396-410: K .28 s (average typist) or .20 (skilled), P 1.1, H .4, M 1.35; a click is P and K, a held key a K of its own.
M once a decision. Watching and reading are not in it; the keys that play the video are counted apart.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from curation import labelstudio
from curation.recipe import load_recipe
from curation.resolve import event_value, target_event
from curation.store import Workspace, current_clips
from curation.types import Json

SECONDS = {"key": 0.28, "point": 1.1, "home": 0.4, "mental": 1.35}
CLASSES = {"collision": "q", "near_collision": "w", "normal": "e", None: "r"}
ROLES = {"striking": "a", "struck": "s", "witness": "d"}


class Hand:
    """Does and counts."""

    def __init__(self, page: Any) -> None:
        self.page, self.count, self.at_mouse = page, Counter[str](), False

    def _home(self, mouse: bool) -> None:
        self.count["home"] += self.at_mouse != mouse
        self.at_mouse = mouse

    def decide(self, times: int = 1) -> None:
        self.count["mental"] += times

    def press(self, *keys: str, kind: str = "key") -> None:
        self._home(False)
        for key in keys:
            self.count[kind] += key.count("+") + 1
            self.page.keyboard.press(key)

    def click(self, target: Any) -> None:
        self._home(True)
        self.count.update(point=1, key=1)
        target.click()

    def submit(self) -> None:
        """F4, or the button where a text field has the focus: it hears no such key."""
        with self.page.expect_response(lambda r: "/annotations" in r.url and r.request.method == "POST") as taken:
            if self.page.evaluate("document.activeElement.tagName") in ("TEXTAREA", "INPUT"):
                self.click(self.page.get_by_label("Submit current annotation"))
            else:
                self.press("F4")
        if not taken.value.ok:
            raise SystemExit(taken.value.text())


def frame(page: Any) -> int:
    return int(page.locator("[class*=frames-control]").first.inner_text().split()[0])


def stop_at(hand: Hand, wanted: int) -> None:
    """Play, stop when it is seen (a quarter of a second later), go back frame by frame."""
    hand.press("F2", kind="video key")
    while frame(hand.page) < wanted:
        time.sleep(0.02)
    time.sleep(0.25)
    hand.press("F2", kind="video key")
    time.sleep(0.3)
    for _ in range(100):
        if (now := frame(hand.page)) == wanted:
            return
        hand.press("ArrowLeft" if now > wanted else "ArrowRight", kind="video key")
        time.sleep(0.15)
    raise SystemExit(f"frame {wanted} is not reached; is the hop size 1?")


def triage(hand: Hand, event: Json | None, fps: float) -> None:
    said = event["class"] if event else "normal"
    if said not in ("collision", "near_collision") or event is None or event["event_s"] is None:
        hand.press("F2", kind="video key")
        hand.decide()
        hand.press(CLASSES[said])
        return
    marks = [1 + round(max(0.0, s) * fps) for s in (event["alert_s"] or event["event_s"] - 1.2, event["event_s"])]
    for mark in marks:
        stop_at(hand, mark)
    hand.decide(4)  # class, role, alert, event
    hand.press(CLASSES[said], ROLES.get(event["ego_role"], "f"), "Tab", *str(marks[0]), "Tab", *str(marks[1]), "Tab")


def texts(hand: Hand, chance: random.Random) -> None:
    page = hand.page
    hand.press("F2", kind="video key")
    if page.locator("input[name=striking]").is_visible() and not page.locator("input[name=striking]").is_checked():
        hand.decide()
        hand.press("f")
    todo = []
    for accept in page.locator(".rv-right input[name=accept]").all():
        hand.decide()
        key = accept.evaluate("e => e.closest('label').innerText.match(/\\[(.)\\]/)?.[1]")
        if (draw := chance.random()) < 0.12:
            todo.append((accept, "edit" if draw < 0.08 else "reject"))
        elif key:
            hand.press(key)
        else:
            hand.click(accept)
    for accept, verdict in todo:
        box = accept.locator(
            "xpath=ancestor::div[contains(@class,'rv-card') or contains(@class,'ant-collapse-item')][1]"
        )
        hand.click(box.locator(f"input[name={verdict}]").first)
        hand.decide()
        if verdict == "reject":
            hand.click(box.locator("input[name=wrong_fact]").first)
            continue
        hand.click(box.locator("textarea").first)
        options = box.get_by_text(" · ").first
        if options.count():  # an answer with options is changed to another option
            said = box.locator("textarea").first.input_value()
            hand.press("Control+a", *next(o for o in options.inner_text().split(" · ") if o != said))
        else:
            hand.press("End", *" as far as seen")


def main() -> None:
    from playwright.sync_api import sync_playwright

    recipe, most = load_recipe(Path(sys.argv[1])), int(sys.argv[2]) if len(sys.argv) > 2 else 10
    clips = {c.blob: c for c in current_clips(Workspace(recipe.workspace)).values()}
    url, chance = os.environ["LABEL_STUDIO_URL"], random.Random(recipe.seed)
    with labelstudio.connect() as client, sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.add_init_script("localStorage['labelStudio:settings'] ||= '{\"videoHopSize\": 1}'")
        page.goto(f"{url}/user/login/")
        page.fill("input[name=email]", labelstudio.ADMIN)
        page.fill("input[name=password]", os.environ["LABEL_STUDIO_PASSWORD"])
        page.keyboard.press("Enter")
        page.wait_for_url(lambda there: "/login" not in there)
        for name in ("triage", "text"):
            rows: list[Counter[str]] = []
            for number in labelstudio.projects(client, f"{recipe.name}.{name}.").values():
                page.goto(f"{url}/projects/{number}/data?labeling=1")
                while len(rows) < most and (client.projects.get(id=number).finished_task_number or 0) < (
                    client.projects.get(id=number).task_number or 0
                ):
                    page.wait_for_function("() => document.querySelector('video')?.readyState >= 3")
                    page.wait_for_selector("[aria-label=Play]")
                    source = page.evaluate("document.querySelector('video').currentSrc")
                    clip = next(c for blob, c in clips.items() if blob in source)
                    event, hand = target_event(clip.events), Hand(page)
                    if name == "triage":
                        triage(hand, event_value(event) if event else None, clip.fps)
                    else:
                        texts(hand, chance)
                    hand.submit()
                    rows.append(hand.count)
                    time.sleep(0.5)
            show(name, rows)


def show(name: str, rows: list[Counter[str]]) -> None:
    for row in rows:
        row["klm_ms"] = round_ms = int(1000 * sum(SECONDS[k] * row[k] for k in SECONDS))
        row["klm_skilled_ms"] = round_ms - int(80 * row["key"])
        print(json.dumps({"round": name, **row}))
    n = len(rows)
    if n:
        print(name, "mean of", n, {k: sum(r[k] for r in rows) / n for k in sorted({k for r in rows for k in r})})


if __name__ == "__main__":
    main()
