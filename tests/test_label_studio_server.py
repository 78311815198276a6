"""The contract with a real Label Studio: what is pushed is judged by people through its API, and all of it comes back.

The server runs in an environment of its own, installed once into the user's cache (minutes the first time).
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("label_studio_sdk", reason="the extra 'review' is not installed")

from accounts import sign_up

from curation import draft, labelstudio, resolve, review
from curation.annotators import annotators
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


def newcomer(server: labelstudio.Server, admin: Any, name: str) -> Any:
    """The API as seen by somebody who signed up through the invite link."""
    invite = labelstudio.invite_url(admin, server.url)
    return labelstudio.connect(server.url, sign_up(server.url, invite, f"{name}@example.org", "pw-1234-x"))


def offered(client: Any, project: int) -> Json | None:
    """The next task of the label stream, None when it offers nothing more."""
    answer = client._client_wrapper.httpx_client.request(f"api/projects/{project}/next", method="GET")
    return None if answer.status_code == 404 else answer.json()


def submit(client: Any, task: Json, results: list[Json], config: str) -> None:
    assert {r["from_name"] for r in results} <= expand(config, task["data"]).keys()
    whole = [{"to_name": "video", "origin": "manual", "id": r["from_name"], **r} for r in results]
    client.annotations.create(id=task["id"], result=whole, lead_time=12.5)


def work(client: Any, project: int, answer: Callable[[Json], list[Json]]) -> int:
    """A rater who takes what the label stream offers until it offers nothing; returns how many tasks that were."""
    config = client.projects.get(id=project).label_config
    for done in range(100):
        task = offered(client, project)
        if task is None:
            return done
        assert "secret" not in str(task), "a form must not name the source"
        video = client._client_wrapper.httpx_client.request(task["data"]["video"].lstrip("/"), method="GET")
        assert video.status_code == 200
        assert video.content[4:8] == b"ftyp"
        submit(client, task, answer(task["data"]), config)
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
    results = [
        chosen("event_class", "normal"),
        chosen("caption_verdict", "edit"),
        chosen("description_verdict", "accept"),
    ]
    results.append({"from_name": "caption_edit", "type": "textarea", "value": {"text": ["Two cars <b>touch</b>."]}})
    for i in range(len(data["vqa"])):
        results.append(chosen(f"vqa_verdict_{i}", "accept" if i else "reject"))
    return results


def test_the_whole_round_trip(place: tuple[Workspace, Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    ws, recipe = place
    real_import = labelstudio.import_tasks

    # The server dies, and we with it, right after it took the first batch of a push.
    with running(ws, monkeypatch) as server, monkeypatch.context() as patch:

        def dies(client: Any, project: int, tasks: bytes, n: int) -> list[int]:
            real_import(client, project, tasks, n)
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
            open_(labelstudio.connect(server.url, sign_up(server.url, invite, f"r{n}@example.org", "pw-1234-x")))
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
    assert {(r.origin, r.seconds, r.guideline[:6], r.draft_id) for r in reviews} == {("human", 12.5, "1.0.0+", None)}
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
        token = sign_up(server.url, invite, "r9@example.org", "pw-12345-x")
        person = open_(labelstudio.connect(server.url, token))
        assert work(person, project, text) == 6
        report = review.run(ws, recipe, round="text")
        assert not report.gate
        texts = [r for r in ws.read(Review) if r.round == "text"]
        captions = [r for r in texts if r.task == "caption"]
        assert [(r.verdict, r.value["text"]) for r in captions] == [("edit", "Two cars <b>touch</b>.")] * 6
        assert {r.verdict for r in texts if r.task == "description"} == {"accept"}
        assert {r.verdict for r in texts if r.task == "vqa"} == {"accept", "reject"}
        assert all(r.draft_id for r in texts if r.task != "event")

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

        # One is gone without a word of it on its task: the sums tell.
        number = int(captions[2].remote.split("/")[2])
        data = labelstudio.instance_dir(ws.root) / "data" / "label_studio.sqlite3"
        with closing(sqlite3.connect(data, timeout=60)) as db, db:
            db.execute("delete from task_completion where id = ?", (number,))
        review.run(ws, recipe, round="text")
        last = [r for r in ws.read(Review) if r.round == "text"][len(texts) + len(after) :]
        assert {(r.remote, r.verdict) for r in last} == {(captions[2].remote, "withdrawn")}
        assert review.exchange(ws, recipe, "pull").counts["text reviews"] == 0
    assert not list(ws.read(Refusal))


def test_two_hundred_drafted_clips_three_raters_all_shares(
    tmp_path: Path, make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts in are counts out, though the server is killed in the middle of a push and of a pull."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: many\nworkspace: work\nsources: [{kind: demo, triplets: 2, drives: 2}]\n"
        "tasks: [caption, description, vqa]\nevent: {basis: source}\n"
        "review: {text: {raters: 3, shares: {overlap: 0.05, blind: 0.05, single: 0.9}}}\n"
    )
    recipe = load_recipe(path)
    ws = Workspace(recipe.workspace)
    blob = ws.add_blob(make_video(tmp_path / "one.mp4"))
    with ws.writer(Source) as sources, ws.writer(Clip) as clips:
        for i in range(200):
            events = (Event((CLASSES[i % 3],), "striking", "car", 0.5, 1.5, None, "contact"),)
            source = Source("demo", f"s{i}", f"s{i}.mp4", blob, 2.0, 10, 64, 48, f"drive{i // 2}", events=events,
                            attributes={"weather": "rain", "light": "day"})  # fmt: skip
            sources.add(source)
            clips.add(Clip(source.id, "event", 0, 2, {"v": 1}, events=events, blob=blob, frames=20, fps=10.0,
                           width=64, height=48))  # fmt: skip
    resolve.run(ws, recipe)
    draft.run(ws, recipe)
    plan = review.prepare(ws, recipe, "text")
    sizes = {s.name: len(s.planned) for s in plan.shares}
    assert sum(sizes.values()) == 200
    assert min(sizes.values()) > 5
    killed(monkeypatch, ws, "import_tasks", after=2, run=lambda: review.exchange(ws, recipe, "push"))

    with running(ws, monkeypatch) as server, ExitStack() as stack:
        admin = stack.enter_context(labelstudio.connect())
        assert review.exchange(ws, recipe, "push").counts["text pushed"] <= 200
        assert len(list(ws.read(Assignment))) == 200
        projects = {t.split(".")[2]: n for t, n in labelstudio.projects(admin, "many.text.").items()}
        assert {n: admin.projects.get(id=i).task_number for n, i in projects.items()} == sizes
        people = [stack.enter_context(newcomer(server, admin, f"r{n}")) for n in range(3)]
        odd = {a.clip_id for a in next(s for s in plan.shares if s.name == "overlap").planned[:3]}
        given = crowd(people, projects, odd, most=40)
        assert given == {"overlap": 3 * sizes["overlap"], "blind": 3 * sizes["blind"], "single": 40}
        killed(monkeypatch, ws, "_request", after=2, run=lambda: review.exchange(ws, recipe, "pull"), server=server)
    taken = list(ws.read(Review))
    assert taken, "what was read before the server died is kept"

    with running(ws, monkeypatch) as server, ExitStack() as stack:
        admin = stack.enter_context(labelstudio.connect())
        report = review.exchange(ws, recipe, "pull")
        assert (report.counts["text refused"], report.counts["text ratings missing"]) == (0, sizes["single"] - 40)
        assert review.exchange(ws, recipe, "pull").counts["text reviews"] == 0
        reviews = list(ws.read(Review))
        assert reviews[: len(taken)] == taken
        assert len({(r.remote, r.task, r.item_id) for r in reviews}) == len(reviews) > len(taken), "nothing twice"
        sheets = Counter(r.round for r in {r.remote: r for r in reviews}.values())
        assert sheets == {"text": given["overlap"] + given["single"], "blind": given["blind"]}
        assert {r.draft_id for r in reviews if r.round == "blind"} == {None}
        kept = {r.verdict for r in reviews if r.task == "event" and r.round == "text"}
        assert kept == {"accept"}, "the class was filled in and kept"

        # Three said three things of three captions: an adjudicator sees that, nameless, and decides.
        review.exchange(ws, recipe, "push")
        third = labelstudio.projects(admin, "many.text.adjudication.")
        assert len(third) == 1
        (number,) = third.values()
        assert admin.projects.get(id=number).task_number == 3
        seen = []

        def decide(data: Json) -> list[Json]:
            seen.append(data["clip_id"])
            assert len(data["said"]) == 3
            assert not any("user-" in row["text"] for row in data["said"])
            return [chosen("caption_verdict", "accept")]

        assert work(admin, number, decide) == 3
        assert set(seen) == odd
        review.exchange(ws, recipe, "pull")
        resolve.run(ws, recipe)
        bases = Counter(x.basis for x in ws.labels() if x.task == "caption")
        assert bases == {"adjudicated": 3, "agreed": sizes["overlap"] - 3, "single": 40,
                         "unreviewed": sizes["blind"] + sizes["single"] - 40}  # fmt: skip

        # What was adjudicated becomes gold: half to qualify on, half unmarked; every rater gets all of it once.
        assert review.make_gold(ws, recipe, (), "clear", "me", None) == 3
        review.exchange(ws, recipe, "push")
        projects = {t.split(".")[2]: n for t, n in labelstudio.projects(admin, "many.text.").items()}
        gold = [a for a in ws.read(Assignment) if a.gold]
        assert len(gold) == 3
        people = [stack.enter_context(newcomer(server, admin, f"g{n}")) for n in range(2)]
        whole = {tuple(sorted(d.id for d in plan.drafts[a.clip_id].values())) for a in gold}
        assert {a.draft_ids for a in gold} == whole, "gold shows what every task shows"
        places = {a.project.split(".")[1] for a in gold}
        asked = crowd(people, {n: projects[n] for n in places}, set(), only={a.id for a in gold})
        assert sum(asked.values()) == 6
        review.exchange(ws, recipe, "pull")
        rows = [r for r in annotators(ws) if r["gold"]["n"]]
        assert [(r["gold"]["value"], r["gold"]["n"]) for r in rows] == [(1.0, 3)] * 2
        assert not list(ws.read(Refusal))


def crowd(
    people: list[Any], projects: dict[str, int], odd: set[str], *, most: int = 200, only: set[str] | None = None
) -> Counter[str]:
    """All take turns until the streams offer nothing, `most` of the single share; of `odd` captions they differ.

    `only`: keys that are judged; what else is offered is closed unjudged.
    """
    given: Counter[str] = Counter()
    for share, project in projects.items():
        config = people[0].projects.get(id=project).label_config
        left = dict(enumerate(people))
        while left:
            for n, person in list(left.items()):
                task = offered(person, project)
                if task is None or (share == "single" and given[share] >= most):
                    del left[n]
                    continue
                if only is not None and task["data"]["assignment"] not in only:
                    labelstudio.set_overlap(person, task["id"], 1, closed=True)
                    continue
                verdict = ("accept", "reject", "edit")[n] if task["data"]["clip_id"] in odd else "accept"
                submit(person, task, drafted(task, verdict) if share != "blind" else unseen(task), config)
                given[share] += 1
    return given


def drafted(task: Json, verdict: str) -> list[Json]:
    (prediction,) = task["predictions"]
    results = [{**r, "origin": "prediction"} for r in prediction["result"]]
    if results[0]["value"]["choices"] != ["normal"]:
        results.append(chosen("event_ego_role", "striking"))
    results += [chosen("caption_verdict", verdict), chosen("description_verdict", "accept")]
    if verdict == "edit":
        results.append({"from_name": "caption_edit", "type": "textarea", "value": {"text": ["Two cars touch."]}})
    return results + [chosen(f"vqa_verdict_{i}", "accept") for i in range(len(task["data"]["vqa"]))]


def unseen(task: Json) -> list[Json]:
    data = task["data"]
    assert not task["predictions"]
    assert not {"caption_text", "vqa"} & data.keys()
    asked = [chosen(f"vqa_letter_{i}", "A") for i in range(len(data["vqa_closed"]))]
    words = [
        {"from_name": f"vqa_words_{i}", "type": "textarea", "value": {"text": ["?"]}}
        for i in range(len(data["vqa_open"]))
    ]
    return [chosen("event_class", "normal"), *asked, *words]


def killed(
    monkeypatch: pytest.MonkeyPatch, ws: Workspace, call: str, after: int, run: Callable[[], Any],
    server: labelstudio.Server | None = None,
) -> None:  # fmt: skip
    """Do `run` with the server killed by its pid right after it answered the call `after` times."""
    real, times = getattr(labelstudio, call), iter(range(1, 100))
    with ExitStack() as stack:
        up = server or stack.enter_context(running(ws, monkeypatch))
        patch = stack.enter_context(monkeypatch.context())

        def dies(*args: Any) -> Any:
            answer = real(*args)
            if next(times) == after:
                os.kill(up.process.pid, signal.SIGKILL)
                up.process.wait()
            return answer

        patch.setattr(labelstudio, "BATCH", 60)
        patch.setattr(labelstudio, call, dies)
        with pytest.raises(DataError, match="does not answer"):
            run()


def test_other_drafts_and_another_form_ask_nothing_twice(
    place: tuple[Workspace, Recipe], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One of four is judged; then all is drafted anew, then a task is dropped: judged ones stay and are closed."""
    ws, _ = place
    path, old = tmp_path / "recipe.yaml", (tmp_path / "recipe.yaml").read_text()
    old = old.replace("review: {", "event: {basis: source}\nreview: {")

    def stage(text: str) -> Recipe:
        path.write_text(text)
        recipe = load_recipe(path)
        resolve.run(ws, recipe)
        draft.run(ws, recipe)
        return recipe

    def sizes() -> list[int]:
        return [admin.projects.get(id=n).task_number for n in labelstudio.projects(admin, "contract.text.").values()]

    with running(ws, monkeypatch) as server, ExitStack() as stack:
        admin = stack.enter_context(labelstudio.connect())
        first, second = (stack.enter_context(newcomer(server, admin, f"r{n}")) for n in range(2))
        recipe = stage(old)
        review.exchange(ws, recipe, "push")
        (project,) = labelstudio.projects(admin, "contract.text.").values()
        config = admin.projects.get(id=project).label_config
        judged = offered(first, project)
        assert judged is not None
        submit(first, judged, drafted(judged, "accept"), config)

        recipe = stage(old + "seed: 1\n")
        assert review.exchange(ws, recipe, "push").counts["text pushed"] == 4
        assert sizes() == [5], "three of the old ones are gone, the judged one is kept"
        assert review.exchange(ws, recipe, "pull").counts["text reviews"] > 0
        now = {d.id for own in review.prepare(ws, recipe, "text").drafts.values() for d in own.values()}
        task = offered(second, project)
        assert task is not None
        assert set(task["data"]["drafts"].values()) <= now
        submit(second, task, drafted(task, "accept"), config)
        review.exchange(ws, recipe, "push")
        assert sizes() == [5]

        admin.tasks.delete(id=str(offered(second, project)["id"]))  # somebody's slip at the server
        recipe = stage(old.replace("[caption, vqa, description]", "[caption, description]") + "seed: 1\n")
        review.exchange(ws, recipe, "push")
        assert sorted(sizes()) == [2, 4], "nothing unjudged is left in the earlier form"
        assert offered(second, project) is None

        (project,) = set(labelstudio.projects(admin, "contract.text.").values()) - {project}
        strange = offered(second, project)["data"] | {"assignment": "somebody's"}
        labelstudio.import_tasks(admin, project, json.dumps([{"data": strange}]).encode(), 1)
        recipe = stage(path.read_text().replace("single: 1", "overlap: 1"))
        review.exchange(ws, recipe, "push")
        assert sorted(sizes()) == [1, 2, 4], "the share that is gone holds no open task but the stranger's"
        assert len(list((labelstudio.instance_dir(ws.root) / "backups").iterdir())) == 5
        assert review.exchange(ws, recipe, "pull").counts["text reviews"] > 0
        assert not [r for r in ws.read(Review) if r.verdict == "withdrawn"]


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
    with closing(sqlite3.connect(tmp_path / "one" / "data" / "label_studio.sqlite3")) as db:
        assert db.execute("select count(*) from htx_user").fetchone() == (1,)
