"""Who writes a draft, what a model is told for it, and the draft that comes of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from curation.errors import Refused, UsageError
from curation.ids import make_id
from curation.models.endpoint import Model, load_model
from curation.models.frames import FrameSpec
from curation.recipe import Recipe
from curation.store import now
from curation.tasks import TaskPack
from curation.types import Clip, Draft, Json, Refusal, Source


@dataclass(frozen=True)
class Subject:
    """A clip to write about: its resolved event (None in a pre_event clip) and its source's attributes."""

    clip: Clip
    event: Json | None
    attributes: Json
    source: Source | None = None


@dataclass(frozen=True)
class Todo:
    """One draft that is due: `draft` has no value yet; `parents` are its parents' values, by task, as far as
    its author is told them; `earlier` is the text that a re-draft is to mend."""

    subject: Subject
    draft: Draft
    parents: Json
    earlier: str = ""


def load_authors(recipe: Recipe, packs: dict[str, TaskPack]) -> dict[str, Model | None]:
    """Who writes each task: a model of the recipe, or None, the template. Raises UsageError."""
    given = recipe["draft"]
    said = given["author"] if isinstance(given["author"], dict) else dict.fromkeys(packs, given["author"])
    models = {name: load_model(name, one) for name, one in given["models"].items()}
    authors: dict[str, Model | None] = {}
    for name, pack in packs.items():
        author = said.get(name, "template")
        if pack.dealt and not isinstance(given["author"], dict):
            author = "template"  # options are dealt whoever wrote the answers
        model = models.get(author)
        if model is None and pack.template is None:
            raise UsageError(
                f"{pack.path}: no template.json, so the template author cannot write '{name}'; name a model"
            )
        if model and (pack.dealt or not pack.prompt):
            why = "its questions are dealt over all clips" if pack.dealt else "it has no prompt.md"
            raise UsageError(f"draft.author.{name}: a model cannot write '{name}': {why}; see schemas/README.md")
        if model:
            check_price(model, recipe)
        authors[name] = model if model is None or pack.spec["frames"] else replace(model, frames=None)
    return authors


def check_price(model: Model, recipe: Recipe) -> None:
    """Raises UsageError for a model without a price under a budget."""
    if model.price is None and recipe["draft"]["budget_usd"] is not None:
        raise UsageError(
            f"draft.models.{model.name}: a budget needs a price; say price: {{in: …, out: …}} (USD per million)"
        )


def check_metadata(authors: Iterable[Model | None], subjects: list[Subject]) -> None:
    """Raises UsageError for an attribute that a model is to be told and that no clip has."""
    have = {name for subject in subjects for name in subject.attributes}
    for model in filter(None, authors) if subjects else ():
        listed = model.metadata if isinstance(model.metadata, tuple) else ()
        if missing := [name for name in listed if name not in have]:
            why = f"no clip has '{missing[0]}'; there: {', '.join(sorted(have)) or 'none'}"
            raise UsageError(f"draft.models.{model.name}.tell.metadata: {why}")


def model_draft(pack: TaskPack, model: Model, subject: Subject, parents: list[Draft]) -> Draft:
    """The draft that is due from a model, without its value. Not told the event, it is not told what tells it, either:
    texts by an author who knew it; so `informed` says whether the label reached it in any way."""
    shown = [p for p in parents if model.event or not p.informed]
    spec: Json = {
        "author": "model",
        "model": model.model,
        "prompt": pack.prompt_id,
        "schema": pack.schema_id,
        "frames": model.frames and {**model.frames.__dict__, "as": model.video},
        "params": model.params,
        "max_tokens": model.max_tokens,
        "structured": model.structured,
        "reasoning": model.reasoning and pack.spec["reasoning"],
        "event": make_id("event", subject.event) if model.event else None,
        "metadata": make_id("metadata", metadata(model, subject)),
    }
    above = tuple(p.id for p in shown)
    return Draft(subject.clip.id, pack.name, None, spec, model.model, above, model.sample, model.event, pack.prompt_id,
                 pack.schema_id)  # fmt: skip


def metadata(model: Model, subject: Subject) -> Json:
    """The attributes that the recipe lets a model see: short values, and none that names the source."""
    if not model.metadata:
        return {}
    source = subject.source
    names = {source.key, Path(source.uri).stem, Path(source.uri).name, source.drive, source.upload} if source else set()
    exactly = {str(n).casefold().lstrip("0") for n in names if n}
    secret = {str(n).casefold() for n in names if n and len(str(n)) > 3}
    told = {}
    for name, value in sorted(subject.attributes.items()):
        plain = isinstance(value, (int, float, bool)) or (isinstance(value, str) and len(value) <= 80)
        named = isinstance(model.metadata, bool) or name in model.metadata
        said = str(value).casefold()
        tells = said.lstrip("0").removesuffix(".0") in exactly or any(s in said for s in secret)
        if plain and named and value != "" and not tells and name != "trigger_s":  # that is seconds of the source
            told[name] = value
    return told


def frame_times(spec: Json, clip: Clip) -> tuple[float, ...]:
    """When the frames were that the author of a draft with this spec saw, seconds of the clip; none if it saw none."""
    shown = spec.get("frames")
    return FrameSpec(**{k: v for k, v in shown.items() if k != "as"}).moments(clip.frames, clip.fps) if shown else ()


def refused(todo: Todo, reason: str, detail: str) -> Refusal:
    clip, task = todo.draft.clip_id, todo.draft.task
    return Refusal("draft", f"{clip}/{task}", reason, f"{clip}: {task}: {detail}", now())


def forbid(model: Model, todo: Todo) -> None:
    """Raises Refused if the clip's frames may not go to the model's endpoint."""
    source = todo.subject.source
    if model.frames and model.third_party and not (source and source.third_party_endpoint):
        why = "is a third party, and its source's third_party_endpoint is no; set it to true if you may"
        raise Refused("third_party", f"{model.base_url} {why}")
