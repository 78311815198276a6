"""The review forms as raters use them: a real Label Studio in a real browser, by keyboard and by mouse.

What the pull brings is what was clicked, to the frame. Needs Chromium (`apt-get install chromium`); skipped without it.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("label_studio_sdk", reason="the extra 'review' is not installed")
pytest.importorskip("playwright", reason="Playwright is not installed")

from accounts import sign_up

from curation import clip, draft, ingest, labelstudio, resolve, review
from curation.recipe import load_recipe
from curation.store import Workspace, current_clips
from curation.types import Clip, Draft, Json, Refusal, Review

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here"),
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:label_studio_sdk"),
]
RATER, PASSWORD = "rater@example.org", "pw-1234-browser"
RECIPE = """
name: seen
workspace: work
sources: [{kind: demo, triplets: 1, drives: 1}]
review: {triage: {shares: {single: 1}}, text: {shares: {single: 1}}}
tasks: [caption, description, vqa, cot]
"""
ACCEPT_KEYS = """() => [...document.querySelectorAll('.rv input[name=accept]')]
  .map(e => e.closest('label').innerText.match(/\\[(.)\\]/)[1])"""
SHOWN = """() => {  // the frame that the player shows, small and grey
  const v = document.querySelector('video'), c = document.createElement('canvas');
  [c.width, c.height] = [50, 28];
  const g = c.getContext('2d');
  g.drawImage(v, 0, 0, 50, 28);
  return [...g.getImageData(0, 0, 50, 28).data].filter((_, i) => i % 4 == 1);
}"""


@pytest.fixture
def page() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, "--disable-component-update"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def log_in(page: Any, url: str) -> None:
    page.goto(f"{url}/user/login/")
    page.fill("input[name=email]", RATER)
    page.fill("input[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda there: "/login" not in there)


def ready(page: Any) -> None:
    page.wait_for_selector("[aria-label=Play]")
    page.wait_for_function("() => document.querySelector('video')?.readyState >= 3")


def keys(page: Any, *presses: str) -> None:
    for key in presses:
        page.keyboard.press(key)


def at(page: Any) -> int:
    """The frame that the player says it is at."""
    return int(page.locator("[class*=frames-control]").first.inner_text().split()[0])


def step_to(page: Any, frame: int) -> None:
    """Press until the player is at `frame`. After a stop it may move once by itself, which can undo a press."""
    from playwright.sync_api import TimeoutError as Late

    for _ in range(100):
        if (now := at(page)) == frame:
            return
        keys(page, "ArrowRight" if now < frame else "ArrowLeft")
        with contextlib.suppress(Late):
            page.wait_for_function(
                "was => parseInt(document.querySelector('[class*=frames-control]').innerText) != was",
                arg=now,
                timeout=2000,
            )
    raise AssertionError(f"frame {frame} is not reached by keyboard, from {now}")


def playing(page: Any, ws: Workspace) -> Clip:
    """The clip that the form is about, by the name of its file."""
    source = page.evaluate("document.querySelector('video').currentSrc || document.querySelector('video source').src")
    (found,) = [c for c in current_clips(ws).values() if c.blob in source]
    return found


def shown(page: Any, ws: Workspace) -> int:
    """The frame that is really seen, by comparing the picture with all of the file."""
    import av
    import numpy as np

    one = playing(page, ws)
    time.sleep(0.3)
    seen = np.array(page.evaluate(SHOWN), dtype=float).reshape(28, 50)
    with av.open(str(ws.blob(one.blob))) as video:
        frames = [f.reformat(50, 28, "rgb24").to_ndarray()[..., 1] for f in video.decode(video=0)]
    return 1 + int(np.argmin([np.abs(seen - frame).mean() for frame in frames]))


def submit(page: Any, button: str = "Submit") -> None:
    """Ctrl+Enter; returns when the server has taken it."""
    with page.expect_response(lambda r: "/annotations" in r.url and r.request.method in ("POST", "PATCH")) as taken:
        keys(page, "Control+Enter")
    assert taken.value.ok, button


def drag(page: Any, first: int, last: int) -> None:
    """Draw the segment on the timeline: 16 pixels a frame, right of 150 for the names."""
    box = page.locator(".lsf-timeline-frames").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 150 + (first - 1) * 16 + 8, y)
    page.mouse.down()
    page.mouse.move(box["x"] + 150 + (last - 1) * 16 + 8, y, steps=8)
    page.mouse.up()


def project(client: Any, prefix: str) -> int:
    (number,) = labelstudio.projects(client, prefix).values()
    return number


def triage(page: Any, url: str, number: int, ws: Workspace) -> dict[str, Json]:
    """Three clips in the label stream: one by keyboard alone, one with the mouse, one normal. Clip → what was said."""
    page.goto(f"{url}/projects/{number}/data?labeling=1")
    ready(page)
    page.locator("[aria-label=Settings]").last.click()  # once for ever: a step is one frame
    page.get_by_role("tab", name="Video").click()
    page.locator(".ant-modal input[type=number]").fill("1")
    keys(page, "Escape")
    page.locator(".ant-modal").wait_for(state="hidden")
    page.reload()
    ready(page)

    first = playing(page, ws)
    keys(page, "F2")  # play, and stop somewhere
    page.wait_for_function("() => document.querySelector('video').currentTime > 0.6")
    keys(page, "F2")
    page.wait_for_function("() => (v => v.paused && !v.seeking)(document.querySelector('video'))")
    for frame in (9, 12):
        step_to(page, frame)
        assert shown(page, ws) == frame
    keys(page, "Control+Enter")
    page.get_by_text("Pick the event class, or cannot_tell").wait_for()  # nothing is filled in, and nothing goes unsaid
    keys(page, "Enter")
    page.locator(".ant-modal-wrap").wait_for(state="hidden")
    page.locator(".rv-focus button").first.focus()
    keys(page, "q", "s", "3", "Tab", "9", "Tab", "1", "2", "Tab")
    submit(page)

    ready(page)
    second = playing(page, ws)
    keys(page, "w", "a", "1")
    drag(page, 15, 31)
    submit(page)
    ready(page)
    third = playing(page, ws)
    keys(page, "e")
    submit(page)
    struck: Json = {"class": "collision", "alert_s": 0.8, "event_s": 1.1, "ego_role": "struck", "partner": "van"}
    near: Json = {"class": "near_collision", "alert_s": 1.4, "event_s": 3.0, "ego_role": "striking", "partner": None}
    nothing: Json = {"class": "normal", "alert_s": None, "event_s": None, "ego_role": "none", "partner": None}
    basis = ("contact", "closest_approach", "unknown")
    said: dict[str, Json] = {}
    for one, value, why in zip((first, second, third), (struck, near, nothing), basis, strict=True):
        said[one.id] = value | {"time_basis": why}
    return said


def card(page: Any, name: str, n: int = 0) -> Any:
    """The nth card of a pack's panel; the panel itself where it has none."""
    panel = page.locator(".ant-collapse-item", has=page.get_by_text(name, exact=True)).last
    return panel.locator(".rv-card").nth(n) if panel.locator(".rv-card").count() else panel


def judge_texts(page: Any, url: str, number: int, ws: Workspace) -> tuple[Clip, tuple[int, str], str]:
    """One clip: all accepted by key, then an answer edited and a step rejected for two faults."""
    page.goto(f"{url}/projects/{number}/data?labeling=1")
    ready(page)
    one = playing(page, ws)
    (drafted,) = [d for d in ws.read(Draft) if (d.clip_id, d.task) == (one.id, "vqa")]
    n, item = next((n, i) for n, i in enumerate(drafted.value["items"]) if i["options"])
    wrong = next(o for o in item["options"] if o != item["answer"])
    if page.locator("input[name=striking]").is_visible():
        keys(page, "a")
    keys(page, *page.evaluate(ACCEPT_KEYS))
    question, step = card(page, "Questions and answers", n), card(page, "Chain of thought", 2)
    question.locator("input[name=edit]").check()
    assert question.locator("textarea").input_value() == item["answer"], "edit opens with what the draft says"
    question.locator("textarea").fill(wrong)
    step.locator("input[name=reject]").check()
    step.locator("input[name=bad_logic]").check()
    step.locator("input[name=wrong_time]").check()
    page.locator("textarea[name=comment]").fill("a <b>remark</b>")
    page.locator(".rv-focus button").first.focus()
    submit(page)
    ready(page)
    keys(page, "Shift+4")  # something is wrong with the next clip: nothing else is asked
    submit(page)
    return one, (n, item["answer"]), wrong


def check_texts(reviews: list[Review], one: Clip, right: tuple[int, str], wrong: str) -> None:
    (bad,) = [r for r in reviews if r.clip_id != one.id]
    assert (bad.task, bad.verdict, bad.faults) == ("clip", "reject", ("privacy",))
    reviews = [r for r in reviews if r is not bad]
    by_task: dict[str, list[Review]] = {}
    for r in reviews:
        by_task.setdefault(r.task, []).append(r)
    assert by_task.keys() == {"event", "caption", "description", "vqa", "cot"}
    assert [by_task[t][0].verdict for t in ("caption", "description")] == ["accept", "accept"]
    vqa, cot = by_task["vqa"], by_task["cot"]
    assert [r.verdict for r in vqa] == ["edit" if n == right[0] else "accept" for n in range(len(vqa))]
    assert vqa[right[0]].value["answer"] == wrong
    assert [r.verdict for r in cot] == ["reject" if n == 2 else "accept" for n in range(len(cot))]
    assert cot[2].faults == ("bad_logic", "wrong_time")
    assert not [r for r in reviews if r.faults and r is not cot[2]]
    assert [r.comment for r in reviews if r.comment] == ["a <b>remark</b>"]


def test_what_is_clicked_is_what_is_pulled(page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "recipe.yaml")
    ws = Workspace(recipe.workspace)
    ingest.run(ws, recipe)
    clip.run(ws, recipe)
    with labelstudio.serve(labelstudio.instance_dir(ws.root), ws.root / "blobs") as server:
        monkeypatch.setenv("LABEL_STUDIO_URL", server.url)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", server.token)
        with labelstudio.connect() as admin:
            sign_up(server.url, labelstudio.invite_url(admin, server.url), RATER, PASSWORD)
            review.run(ws, recipe, round="triage")
            log_in(page, server.url)
            said = triage(page, server.url, project(admin, "seen.triage."), ws)
            report = review.run(ws, recipe, round="triage")
            assert report.counts["reviews"] == 3
            assert {r.clip_id: r.value for r in ws.read(Review)} == said

            resolve.run(ws, recipe)
            draft.run(ws, recipe)
            review.run(ws, recipe, round="text")
            number = project(admin, "seen.text.")
            one, right, wrong = judge_texts(page, server.url, number, ws)
            review.run(ws, recipe, round="text")
            first = [r for r in ws.read(Review) if r.round == "text"]
            check_texts(first, one, right, wrong)

            page.goto(f"{server.url}/projects/{number}/data?task={first[0].remote.split('/')[1]}")
            ready(page)
            asked = card(page, "Questions and answers", right[0])
            sent = asked.locator("[data-testid=textarea-regions]")
            sent.wait_for()
            assert [x.strip() for x in sent.all_inner_texts()] == [wrong], "once, as it was sent"
            assert not asked.locator("textarea").count(), "no second field beside it"
            whole = card(page, "Caption")
            whole.locator("input[name=edit]").check()
            whole.locator("textarea").fill("Nothing touches.")
            page.locator(".rv-focus button").first.focus()
            submit(page)
            review.run(ws, recipe, round="text")
            (changed,) = [r for r in ws.read(Review) if r.round == "text"][len(first) :]
            assert (changed.task, changed.revision, changed.verdict) == ("caption", 1, "edit")
            assert changed.value["text"] == "Nothing touches."
    assert not list(ws.read(Refusal))
