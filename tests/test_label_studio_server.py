"""The contract with a real Label Studio: what is pushed is judged by people through its API, and all of it comes back.

The server runs in an environment of its own, installed once into the user's cache (minutes the first time).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("label_studio_sdk", reason="the extra 'review' is not installed")

from curation import draft, labelstudio, resolve, review
from curation.errors import DataError
from curation.forms import expand
from curation.recipe import Recipe, load_recipe
from curation.store import Workspace
from curation.types import Assignment, Clip, Event, Json, Refusal, Review, Source

pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:label_studio_sdk"),
]
CLASSES = ("collision", "near_collision", "normal")


@pytest.fixture
def place(tmp_path: Path, make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> tuple[Workspace, Recipe]:
    """Six clips of three drives, ready for triage by two raters each; the server's data lies in tmp_path."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: contract\nworkspace: work\nsources: [{kind: demo, triplets: 2, drives: 2}]\n"
        "tasks: [caption, vqa, description]\n"
        "review: {triage: {raters: 2}, text: {shares: {single: 1}}}\n"
    )
    recipe = load_recipe(path)
    ws = Workspace(recipe.workspace)
    with ws.writer(Source) as sources, ws.writer(Clip) as clips:
        for i in range(6):
            sha256 = ws.add_blob(make_video(tmp_path / f"secret-{i}.mp4", frames=20 + i))
            known = CLASSES[i % 3]
            events = (Event((known,), "striking", "car", 0.5, 1.5, None, "contact"),) if known != "normal" else ()
            source = Source("demo", f"secret-{i}", f"secret-{i}.mp4", sha256, 2.0, 10, 64, 48, f"drive{i // 2}",
                            events=events, attributes={"weather": "rain", "light": "day"})  # fmt: skip
            sources.add(source)
            clips.add(Clip(source.id, "event", 0, 2, {"v": 1}, events=events, blob=sha256, frames=20 + i, fps=10.0,
                           width=64, height=48))  # fmt: skip
    return ws, recipe


@contextmanager
def running(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[labelstudio.Server]:
    with labelstudio.serve(labelstudio.instance_dir(ws.root), ws.root / "blobs") as server:
        monkeypatch.setenv("LABEL_STUDIO_URL", server.url)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", server.token)
        yield server


def work(client: Any, project: int, answer: Callable[[Json], list[Json]]) -> int:
    """A rater who takes what the label stream offers until it offers nothing; returns how many tasks that were."""
    config = client.projects.get(id=project).label_config
    for done in range(100):
        offered = client._client_wrapper.httpx_client.request(f"api/projects/{project}/next", method="GET")
        if offered.status_code == 404:
            return done
        task = offered.json()
        data = task["data"]
        assert "secret" not in str(data), "a form must not name the source"
        video = client._client_wrapper.httpx_client.request(data["video"].lstrip("/"), method="GET")
        assert video.status_code == 200
        assert video.content[4:8] == b"ftyp"
        known = expand(config, data)
        results = [{**r, "id": r["from_name"], "to_name": "video", "origin": "manual"} for r in answer(data)]
        assert {r["from_name"] for r in results} <= known.keys()
        client.annotations.create(id=task["id"], result=results, lead_time=12.5)
    raise AssertionError("the label stream does not end")


def chosen(name: str, choice: str) -> Json:
    return {"from_name": name, "type": "choices", "value": {"choices": [choice]}}


def triage(offset: int) -> Callable[[Json], list[Json]]:
    """A rater's view of a clip: the longer ones are normal; times differ by `offset` frames between raters."""

    def answer(data: Json) -> list[Json]:
        if data["frames"] >= 24:
            return [chosen("event_class", "normal")]
        span = {"ranges": [{"start": 3 + offset, "end": 11 + offset}], "timelinelabels": ["event"]}
        return [
            chosen("event_class", "collision"),
            chosen("event_ego_role", "struck"),
            {"from_name": "event_segment", "type": "timelinelabels", "value": span},
        ]

    return answer


def text(data: Json) -> list[Json]:
    """Accepts all but the caption, which gets another text, and the first question, which is rejected."""
    results = [chosen("caption_verdict", "edit"), chosen("description_verdict", "accept")]
    results.append({"from_name": "caption_edit", "type": "textarea", "value": {"text": ["Two cars <b>touch</b>."]}})
    for i in range(len(data["vqa"])):
        results.append(chosen(f"vqa_verdict_{i}", "accept" if i else "reject"))
    return results


def test_the_whole_round_trip(place: tuple[Workspace, Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    ws, recipe = place
    real_import = labelstudio.import_tasks

    # The server dies, and we with it, right after it took the first batch of a push.
    with running(ws, monkeypatch) as server, monkeypatch.context() as patch:

        def dies(client: Any, project: int, tasks: list[Json]) -> list[int]:
            real_import(client, project, tasks)
            server.process.kill()
            server.process.wait()
            raise KeyboardInterrupt

        patch.setattr(labelstudio, "BATCH", 4)
        patch.setattr(labelstudio, "import_tasks", dies)
        with pytest.raises(KeyboardInterrupt):
            review.run(ws, recipe, round="triage")
    assert not list(ws.read(Assignment)), "nothing was recorded of what the server took"
    with pytest.raises(DataError, match="does not answer"):
        review.run(ws, recipe, round="triage")

    # The same command completes the push: four tasks are found there, two are sent.
    with running(ws, monkeypatch) as server, ExitStack() as stack:
        open_ = stack.enter_context
        report = review.run(ws, recipe, round="triage")
        assert report.counts == {"clips": 6, "pushed": 6, "reviews": 0, "refused": 0, "ratings missing": 12}
        assert server.url in report.gate
        admin = open_(labelstudio.connect())
        (project,) = labelstudio.projects(admin, "contract.triage.").values()
        assert admin.projects.get(id=project).task_number == 6
        assert review.push(ws, recipe, review.prepare(ws, recipe, "triage"), admin) == 0
        assert admin.projects.get(id=project).task_number == 6

        # Two people sign up through the invite link; each gets each clip once, and no third opinion is asked for.
        invite = labelstudio.invite_url(admin, server.url)
        people = [
            open_(
                labelstudio.connect(
                    server.url, labelstudio.sign_up(server.url, invite, f"r{n}@example.org", "pw-1234-x")
                )
            )
            for n in range(2)
        ]
        assert [work(person, project, triage(n)) for n, person in enumerate(people)] == [6, 6]
        report = review.run(ws, recipe, round="triage")
        assert report.counts == {"clips": 6, "pushed": 0, "reviews": 12, "refused": 0}
        assert not report.gate
        assert review.run(ws, recipe, round="triage").counts["reviews"] == 0, "a second pull adds nothing"

    clips = {c.id: c for c in ws.read(Clip)}
    reviews = list(ws.read(Review))
    assert len({(r.clip_id, r.reviewer) for r in reviews}) == 12
    assert {(r.origin, r.seconds, r.guideline, r.draft_id) for r in reviews} == {("human", 12.5, "1.0.0", None)}
    for r in reviews:
        if clips[r.clip_id].frames < 24:
            assert r.value["class"] == "collision"
            assert (r.value["alert_s"], r.value["event_s"]) in {(0.2, 1.0), (0.3, 1.1)}
        else:
            assert r.value["class"] == "normal"

    # The words, drafted from what they decided; one rater, then one annotation is changed and one deleted.
    resolve.run(ws, recipe)
    draft.run(ws, recipe)
    with running(ws, monkeypatch) as server, ExitStack() as stack:
        open_ = stack.enter_context
        review.run(ws, recipe, round="text")
        admin = open_(labelstudio.connect())
        (project,) = labelstudio.projects(admin, "contract.text.").values()
        invite = labelstudio.invite_url(admin, server.url)
        token = labelstudio.sign_up(server.url, invite, "r9@example.org", "pw-12345-x")
        person = open_(labelstudio.connect(server.url, token))
        assert work(person, project, text) == 6
        report = review.run(ws, recipe, round="text")
        assert not report.gate
        texts = [r for r in ws.read(Review) if r.round == "text"]
        captions = [r for r in texts if r.task == "caption"]
        assert [(r.verdict, r.value["text"]) for r in captions] == [("edit", "Two cars <b>touch</b>.")] * 6
        assert {r.verdict for r in texts if r.task == "description"} == {"accept"}
        assert {r.verdict for r in texts if r.task == "vqa"} == {"accept", "reject"}
        assert all(r.draft_id for r in texts)

        first, second = (int(r.remote.split("/")[2]) for r in captions[:2])
        stored = admin.annotations.get(id=first)
        changed = [
            r if r["from_name"] != "caption_edit" else {**r, "value": {"text": ["Nothing touches."]}}
            for r in stored.result
        ]
        admin.annotations.update(id=first, result=changed)
        admin.annotations.delete(id=second)
        review.run(ws, recipe, round="text")
        after = [r for r in ws.read(Review) if r.round == "text"][len(texts) :]
        revised = [r for r in after if r.verdict != "withdrawn"]
        assert [(r.task, r.value["text"], r.revision) for r in revised] == [("caption", "Nothing touches.", 1)]
        assert len(after) - 1 == sum(r.remote == captions[1].remote for r in texts)
    assert not list(ws.read(Refusal))


def test_serving_says_how_to_get_in_and_pushes_what_is_ready(place: tuple[Workspace, Recipe]) -> None:
    ws, recipe = place
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("export"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        review.serve(ws, recipe, host="127.0.0.1", port=0, say=say)
    assert said[0] == "triage: 6 clips, 6 of them new"
    assert any("/user/signup/?token=" in line for line in said)
    token = said[-1].split("LABEL_STUDIO_API_KEY=")[1]
    assert len(token) == 40
    kept = b"".join(p.read_bytes() for p in ws.root.rglob("*") if p.is_file())
    assert token.encode() not in kept, "no key lies in the workspace"


def test_a_running_instance_is_not_started_twice(tmp_path: Path) -> None:
    with labelstudio.serve(tmp_path / "one", tmp_path / "blobs") as server:
        assert server.url.startswith("http://127.0.0.1:")
        with (
            pytest.raises(DataError, match="runs already"),
            labelstudio.serve(tmp_path / "one", tmp_path / "blobs"),
        ):
            pass
        pid = server.process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    import sqlite3

    with closing(sqlite3.connect(tmp_path / "one" / "data" / "label_studio.sqlite3")) as db:
        assert db.execute("select count(*) from htx_user").fetchone() == (1,)
