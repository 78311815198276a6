"""What a model is asked for one draft, and what is made of its reply: one question, at most one repair turn.

No input or output here: `converse` yields questions and is sent answers, so live requests and batches share it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

from curation.authors import Todo, metadata, refused
from curation.check_form import foreign
from curation.errors import DataError
from curation.models import endpoint
from curation.models.answers import Answer, Question
from curation.models.endpoint import Model
from curation.models.reply import Reply, read
from curation.store import now
from curation.tasks import TaskPack, errors, parse_json, shape
from curation.types import Draft, Json, Refusal

SLOT = re.compile(r"\{\{(\w+)\}\}")
NOT_TOLD = "(not told)"
REPAIRABLE = ("ok", "empty", "truncated")  # what asking once more may mend


def prompt(pack: TaskPack, model: Model, todo: Todo, schema: str) -> str:
    """The pack's prompt filled in, in one pass: what is filled in is never looked at again."""

    def data(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False) if value else NOT_TOLD

    slots = {
        "schema": schema,
        "event": data(todo.subject.event if model.event else None),
        "metadata": data(metadata(model, todo.subject)),
        "parents": data(todo.parents),
        "duration_s": f"{todo.subject.clip.duration_s:.2f}".rstrip("0").rstrip("."),
    }
    return SLOT.sub(lambda m: slots.get(m[1], m[0]), pack.prompt)


@cache
def wanted(pack: TaskPack, apart: bool) -> tuple[Json, str]:
    """The schema of what a model is to write, as it is sent, and for the prompt. `apart`: its own reasoning fills
    what the pack says it fills, so it is not asked for that."""
    field = pack.spec["reasoning"]
    without = field.removeprefix("/") if field and apart else None
    return shape(pack, without), json.dumps(shape(pack, without, lengths=True), ensure_ascii=False)


def first_question(pack: TaskPack, model: Model, todo: Todo) -> Question:
    """The question for one draft of one clip. Nothing in it names the source."""
    schema, written = wanted(pack, model.reasoning)
    clip = todo.subject.clip
    text = prompt(pack, model, todo, written)
    turn, beside = endpoint.user_message(model, text, clip.blob, clip.frames, clip.fps)
    messages = [turn]
    if findings := todo.draft.spec.get("findings"):
        messages += _again(todo.earlier, findings)
    body = endpoint.body(model, messages, pack.name, schema) | beside
    return Question(model.base_url, body, model.sample, pack.name, pack.prompt_id)


def _again(said: str, faults: list[str]) -> list[Json]:
    listed = "\n".join(f"- {fault:.300}" for fault in faults[:8])
    ask = f"That cannot be used:\n{listed}\nAnswer again, with the whole JSON object, mended. Nothing else."
    said = f"{said[:20_000] or '(nothing)'}\n"  # with the line's end no reply can pass for a reference to a frame
    return [{"role": "assistant", "content": said}, {"role": "user", "content": ask}]


def converse(pack: TaskPack, model: Model, todo: Todo) -> Generator[Question, Answer, Draft | Refusal]:
    """Ask, read, check; once more with the faults if that may help; then the draft, or a refusal that names the stored
    reply."""
    question = first_question(pack, model, todo)
    answers = [(yield question)]
    reply = read(answers[0].reply)
    value, faults = judge(pack, model, reply)
    if faults and reply.kind in REPAIRABLE:
        said = reply.text if reply.kind == "ok" else ""
        messages = [*question.body["messages"], *_again(said, [f.detail for f in faults])]
        answers.append((yield replace(question, body={**question.body, "messages": messages}, turn=1, key="")))
        value, faults = judge(pack, model, read(answers[1].reply))
    key = answers[-1].key
    if faults:
        return refused(todo, faults[0].reason, f"by {model.model}: {faults[0].detail:.300} (reply kept as {key})")
    return replace(
        todo.draft,
        value=value,
        request_key=key,
        tokens_in=sum(a.tokens_in for a in answers),
        tokens_out=sum(a.tokens_out for a in answers),
        cost_usd=sum(a.cost_usd or 0.0 for a in answers),
        written_at=now(),
    )


class Fault(NamedTuple):
    reason: str  # refused, filtered, truncated, empty, too_large, not_json, schema, language, no_reasoning
    detail: str


def judge(pack: TaskPack, model: Model, reply: Reply) -> tuple[Any, list[Fault]]:
    """The value in a reply, or what is wrong with it. The schema is checked whatever the endpoint enforced."""
    if reply.kind != "ok":
        return None, [Fault(reply.kind, reply.detail)]
    try:
        value = parse_json(reply.text)
    except DataError as e:
        return None, [Fault("not_json", str(e))]
    apart = pack.spec["reasoning"]
    if apart and model.reasoning and isinstance(value, dict):
        if not reply.reasoning.strip():
            return None, [Fault("no_reasoning", "the model gave no reasoning apart from its answer")]
        most = pack.schema["properties"][apart[1:]].get("maxLength", len(reply.reasoning))
        value = {**value, apart[1:]: reply.reasoning.strip()[:most]}
    wrong = [Fault("schema", f"{e.pointer or 'top level'}: {e.keyword}: {e.message}") for e in errors(pack, value)]
    if wrong:
        return None, wrong
    other = foreign(" ".join(texts(value)))
    return (None, [Fault("language", f"the texts are {other}; write English")]) if other else (value, [])


def texts(value: Any) -> Generator[str, None, None]:
    """The strings of a value that are sentences, in order."""
    if isinstance(value, str):
        if " " in value or not value.isascii():  # not every language has spaces
            yield value
    elif isinstance(value, (list, dict)):
        for one in value if isinstance(value, list) else value.values():
            yield from texts(one)
