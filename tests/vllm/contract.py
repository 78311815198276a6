"""What we send, taken by a real server that is not ours. `make test-vllm`; too heavy for every run of the suite.

VLLM_URL=http://127.0.0.1:8000/v1 takes a server that runs already (python tests/vllm/server.py 8000), not its own.
The replies are nonsense of the right form, so this shows the form only: requests, pictures, schemas, counts, errors.
"""

from __future__ import annotations

import base64
import io
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from PIL import Image
from server import CONTEXT, model, serve

from curation import cli, tasks
from curation.authors import Subject, Todo, model_draft
from curation.dialogue import first_question
from curation.models.endpoint import load_model
from curation.models.frames import fill
from curation.models.reply import read
from curation.types import Clip, Json

pytestmark = pytest.mark.timeout(1200)
PACKS = sorted(p.parent.name for p in tasks.BUILT_IN.glob("*/prompt.md"))


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if "VLLM_URL" in os.environ:
        yield os.environ["VLLM_URL"]
        return
    root = tmp_path_factory.mktemp("vllm")
    with serve(model(root / "model"), root / "server.log") as found:
        yield found


def counted(url: str) -> dict[str, int]:
    """What the server itself counted so far: requests, tokens in and out."""
    text = urllib.request.urlopen(url.removesuffix("/v1") + "/metrics", timeout=10).read().decode()
    names = {"request_success_total": "asked", "prompt_tokens_total": "in", "generation_tokens_total": "out"}
    found = dict.fromkeys(names.values(), 0)
    for line in text.splitlines():
        name = line.partition("{")[0].removeprefix("vllm:")
        if name in names:
            found[names[name]] += round(float(line.rpartition(" ")[2]))
    return found


def send(url: str, question: Json) -> bytes:
    """A body with its frames in, answered. Frame references become pictures whose red is their time."""

    def pictures(blob: str, times: tuple[float, ...], height: int, quality: int) -> list[bytes]:
        return [picture(time) for time in times]

    raw = fill(json.dumps(question).encode(), pictures)
    request = urllib.request.Request(f"{url}/chat/completions", raw, {"Content-Type": "application/json"})
    try:
        return bytes(urllib.request.urlopen(request, timeout=300).read())
    except urllib.error.HTTPError as e:
        raise AssertionError(e.read().decode()) from None


def picture(time: float) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (112, 84), (round(time * 60) % 256, 90, 30)).save(out, "JPEG")
    return base64.b64encode(out.getvalue())


def question(url: str, name: str, **more: Any) -> Json:
    """The body that is sent for a draft of the pack `name` on a clip of four seconds."""
    given = {"endpoint": "vllm", "base_url": url, "model": "tiny", "frames": {"n": 8}, "max_tokens": 4000, **more}
    clip = Clip("source", "event", 0.0, 4.0, {}, blob="0" * 64, frames=40, fps=10.0, width=112, height=84)
    pack = tasks.load_pack(tasks.BUILT_IN / name)
    watch, subject = load_model("watch", given), Subject(clip, {}, {})
    return first_question(pack, watch, Todo(subject, model_draft(pack, watch, subject, []), {})).body


@pytest.mark.parametrize(("video", "structured"), [("frames", "json_schema"), ("video_url", "structured_outputs")])
@pytest.mark.parametrize("name", PACKS)
def test_every_pack_is_answered_in_the_form_asked_for(url: str, name: str, video: str, structured: str) -> None:
    body = question(url, name, video=video, structured=structured, params={"temperature": 1})
    schema = body["response_format"]["json_schema"]["schema"] if structured == "json_schema" else None
    validator = Draft202012Validator(schema or body["structured_outputs"]["json"])
    for _ in range(2):
        reply = read(send(url, body))
        assert reply.kind == "ok", reply
        assert not list(validator.iter_errors(tasks.parse_json(reply.text))), reply.text


def test_a_video_reaches_the_model_with_its_times(url: str) -> None:
    """The same pictures at other times are another video to the model: as many tokens, another distribution."""
    params = {"temperature": 0, "logprobs": True, "top_logprobs": 5}
    body = question(url, "event", video="video_url", structured="none", max_tokens=1, params=params)
    said = []
    for fps in (10.0, 10.0, 2.5):
        body["media_io_kwargs"]["video"]["fps"] = fps
        found = json.loads(send(url, body))
        top = found["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        said.append((found["usage"]["prompt_tokens"], [round(t["logprob"], 3) for t in top]))
    assert said[0] == said[1]
    assert said[0][0] == said[2][0] and said[0][1] != said[2][1]


@pytest.fixture
def autodrive(tmp_path: Path, url: str) -> Callable[..., tuple[int, Json, str]]:
    """Run `autodrive COMMAND` with a recipe of six rendered clips; exit code, the last report, all output."""
    lines = "sources: [{kind: demo, triplets: 2, drives: 2}]\nclip: {length_s: 4, height: 112}\nevent: {basis: source}"
    recipe = {"name": "real", "workspace": "work/real", **yaml.safe_load(lines)}

    def run(*command: str, tasks: tuple[str, ...] = ("caption", "description", "cot"), **model: Any) -> Any:
        watch = {"endpoint": "vllm", "base_url": url, "model": "tiny", "frames": {"n": 8}, "max_tokens": 3000, **model}
        path = tmp_path / "recipe.yaml"
        draft = {"author": "watch", "models": {"watch": watch}}
        path.write_text(yaml.safe_dump({**recipe, "tasks": [*tasks], "draft": draft}))
        ran = CliRunner().invoke(cli.main, [command[0], str(path), *command[1:], "--json"])
        rows = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
        return ran.exit_code, rows[-1] if rows else {}, ran.output

    return run


@pytest.mark.parametrize("video", ["frames", "video_url"])
def test_drafts_are_written_paid_once_and_billed_as_the_server_counts(url: str, autodrive: Any, video: str) -> None:
    model = {"video": video, "params": {"temperature": 1}, "in_flight": 4}
    before = counted(url)
    code, report, output = autodrive("run", "--until", "draft", **model)
    assert code == 0, output
    assert report["counts"]["written"] + report["counts"].get("refused", 0) == 18, output
    assert report["counts"]["written"] >= 12, output
    after = counted(url)
    bill = report["bill"]
    used = {"asked": sum(b["asked"] for b in bill), "in": sum(b["tokens_in"] for b in bill)}
    used["out"] = sum(b["tokens_out"] for b in bill)
    assert used == {k: after[k] - before[k] for k in after}
    code, report, output = autodrive("draft", **model)
    assert code == 0 and counted(url) == after, output
    assert report["counts"].get("written", 0) == 0, output


def test_a_wrong_model_and_a_limit_beyond_the_context_are_told_in_the_servers_words(url: str, autodrive: Any) -> None:
    code, _, output = autodrive("run", "--until", "draft", tasks=("caption",), model="other")
    assert code == 1 and "`other` does not exist" in output and "check base_url and model" in output, output
    code, report, output = autodrive("draft", tasks=("caption",), max_tokens=CONTEXT + 1)
    assert "cannot be greater than max_model_len" in output and not report["counts"].get("written"), output
