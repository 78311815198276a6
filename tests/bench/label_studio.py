"""Push and pull against the bare bulk import and export of the same bytes, on a server of its own.

Run by hand: python tests/bench/label_studio.py [clips] [triage|text]. Three annotations a clip. The bare
import and export are done before the push and the pull and after them, because the database grows and the machine
has other work; their means count.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curation import draft, labelstudio, resolve, review
from curation.forms import expand
from curation.recipe import load_recipe
from curation.store import Workspace
from curation.types import Clip, Event, Json, Review, Source

RECIPE = """
name: bench
workspace: work
sources: [{kind: demo, triplets: 2, drives: 2}]
tasks: [caption, description, vqa]
event: {basis: %s}
review: {raters: {media_url: "http://127.0.0.1/{sha256}.mp4"}, text: {shares: {overlap: 1}}}
"""


def cpu(pid: int) -> float:
    """Processor seconds of the server and of this process: what a busy machine does not stretch."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def timed(what: str, into: dict[str, tuple[float, float]], pid: int) -> Iterator[None]:
    start, used = time.perf_counter(), cpu(pid)
    yield
    into[what] = time.perf_counter() - start, cpu(pid) - used
    print(f"{what:<16}{into[what][0]:8.1f} s, processors {into[what][1]:8.1f} s", flush=True)


def answers(config: str, data: Json, rng: random.Random) -> list[Json]:
    """One rater's annotation: the class and, of drafts, a verdict on everything."""
    out = []
    for name, control in expand(config, data).items():
        if name == "event_class" or "_verdict" in name:
            chosen = "normal" if name == "event_class" else rng.choice(["accept", "accept", "reject"])
            out.append({"id": name, "from_name": name, "to_name": "video", "type": "choices", "origin": "manual",
                        "value": {"choices": [chosen]}})  # fmt: skip
        assert control.name == name
    return out


def main(n: int = 10_000, round: str = "text") -> None:
    folder, took = Path(tempfile.mkdtemp(prefix="bench-")), dict[str, tuple[float, float]]()
    (folder / "recipe.yaml").write_text(RECIPE % ("review" if round == "triage" else "source"))
    recipe = load_recipe(folder / "recipe.yaml")
    ws = Workspace(recipe.workspace)
    with ws.writer(Source) as sources, ws.writer(Clip) as clips:
        for i in range(n):
            events = (Event((("collision", "near_collision")[i % 2],), "striking", "car", 2.0, 4.0, None, "contact"),)
            source = Source("d", f"k{i}", f"k{i}.mp4", f"{i:064x}", 9, 10, 64, 48, f"drive{i // 2}", events=events)
            sources.add(source)
            clips.add(Clip(source.id, "event", 0, 6, {"v": 1}, events=events, blob=f"{i:064x}", frames=60, fps=10.0,
                           width=64, height=48))  # fmt: skip
    if round == "text":
        resolve.run(ws, recipe)
        draft.run(ws, recipe)
    with (
        labelstudio.serve(folder / "instance", folder) as server,
        labelstudio.connect(server.url, server.token) as client,
    ):
        http = client._client_wrapper.httpx_client.httpx_client
        http.base_url, http.headers["Authorization"] = server.url, f"Token {server.token}"
        for name in "ab":
            client.users.create(email=f"{name}@example.org", username=name)
        people = [u.id for u in client.users.list()]
        plan = review.prepare(ws, recipe, round)
        (share,) = plan.shares
        url = recipe["review"]["raters"]["media_url"]
        tasks = [plan.task(share, a, url) for a in share.planned]
        bodies = [json.dumps(tasks[i : i + labelstudio.BATCH]).encode() for i in range(0, n, labelstudio.BATCH)]
        bare, later = (
            labelstudio.ensure_project(client, name, share.config, raters=3, about="", media=None)
            for name in ("bare", "later")
        )
        send = {"Content-Type": "application/json"}
        with timed("bare import", took, server.process.pid):
            for body in bodies:
                http.post(f"/api/projects/{bare}/import", content=body, headers=send).raise_for_status()
        with timed("plan", took, server.process.pid):
            plan = review.prepare(ws, recipe, round)
        with timed("push", took, server.process.pid):
            assert review.push(ws, recipe, plan, client) == n
        with timed("import after it", took, server.process.pid):
            for body in bodies:
                http.post(f"/api/projects/{later}/import", content=body, headers=send).raise_for_status()
        with timed("push again", took, server.process.pid):
            assert review.push(ws, recipe, review.prepare(ws, recipe, round), client) == 0

        # Annotations cannot be sent in bulk to tasks that are there: the project is made again, with them.
        ((title, project),) = labelstudio.projects(client, f"bench.{round}.").items()
        client.projects.delete(id=project)
        client.projects.delete(id=bare)
        client.projects.delete(id=later)
        project = labelstudio.ensure_project(client, title, share.config, raters=3, about="", media=None)
        for i in range(0, n, labelstudio.BATCH):
            batch = [
                {**t, "annotations": [{"result": answers(share.config, t["data"], random.Random(f"{i}.{u}")),
                                       "completed_by": u, "lead_time": 20} for u in people]}
                for t in tasks[i : i + labelstudio.BATCH]
            ]  # fmt: skip
            http.post(f"/api/projects/{project}/import", json=batch).raise_for_status()
        whole = f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=true"
        with timed("bare export", took, server.process.pid):
            size = len(http.get(whole).raise_for_status().content)
        with timed("pull", took, server.process.pid):
            added, refused = review.pull(ws, recipe, plan, client)
        with timed("export after it", took, server.process.pid):
            assert len(http.get(whole).raise_for_status().content) == size
        with timed("pull again", took, server.process.pid):
            assert review.pull(ws, recipe, plan, client)[0] == 0
    sheets = len({r.remote for r in ws.read(Review)})
    print(f"{size / 1e6:.0f} MB exported, {sheets} annotations, {added} reviews, {refused} refused")
    for i, what in enumerate(("clock", "processors")):
        push, pull = (
            took[ours][i] * 2 / (took[f"bare {bare}"][i] + took[f"{bare} after it"][i])
            for ours, bare in (("push", "import"), ("pull", "export"))
        )
        print(f"by {what}: push {push:.2f}x, pull {pull:.2f}x")


if __name__ == "__main__":
    main(*(int(a) if a.isdigit() else a for a in sys.argv[1:]))  # type: ignore[arg-type]
