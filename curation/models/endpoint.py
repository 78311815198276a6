"""A model as a recipe names it: the endpoint's capabilities, and the body of a request in the endpoint's own terms.

Differences between endpoints are data (presets.yaml, overridden by the recipe); nothing asks which endpoint it is.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from curation.errors import UsageError
from curation.models.frames import FrameSpec
from curation.types import Json


@dataclass(frozen=True)
class Model:
    """One entry of the recipe's `draft.models`, with its preset filled in. Prices are USD per million tokens."""

    name: str
    model: str
    base_url: str
    key_env: str = ""
    structured: str = "json_schema"
    video: str = "frames"
    reasoning: bool = False
    limit_field: str = "max_tokens"
    batch: bool = False
    image_tokens: int = 400
    frames: FrameSpec | None = None
    event: bool = True  # is the author told the resolved event
    metadata: bool | tuple[str, ...] = True  # which attributes it is told
    params: Json = field(default_factory=dict)
    max_tokens: int = 4096
    sample: int = 0
    price: Json | None = None
    in_flight: int = 64
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout_s: float = 120.0
    attempts: int = 6

    @property
    def third_party(self) -> bool:
        """Is the endpoint anywhere but on this machine?"""
        host = urlsplit(self.base_url).hostname or ""
        try:
            return not ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host != "localhost" and not host.endswith(".localhost")

    def key(self) -> str:
        """The API key, from the environment only. Raises UsageError if it is named and not set."""
        if not self.key_env:
            return "none"
        if not os.environ.get(self.key_env):
            raise UsageError(
                f"draft.models.{self.name}: set {self.key_env} in the environment; keys stand nowhere else"
            )
        return os.environ[self.key_env]


@cache
def table(name: str) -> Json:
    """`presets` (the endpoints we know) or `prices` (USD per million tokens by model), from the file of that name."""
    import yaml

    found: Json = yaml.safe_load(files("curation.models").joinpath(f"{name}.yaml").read_text("utf-8"))
    return found


def load_model(name: str, given: Json) -> Model:
    """The model `name` of a recipe. Raises UsageError for what its endpoint does not have."""
    own = dict(given)
    endpoint = own.pop("endpoint")
    preset = table("presets")[endpoint]
    if own.get("batch") and not preset.get("batch") and "base_url" not in own:
        raise UsageError(f"draft.models.{name}.batch: {endpoint} has no Batch API; leave it out")
    tell = own.pop("tell", {})
    allowed = tell.get("metadata", tell.get("event", True))
    if allowed is True and tell.get("event") is False:
        raise UsageError(
            f"draft.models.{name}.tell: some attributes tell the event; name those that do not: metadata: […]"
        )
    shown = own.pop("frames", None)
    if shown and shown.get("n") and shown.get("fps"):
        raise UsageError(f"draft.models.{name}.frames: give n (so many) or fps (so many a second), not both")
    model = Model(
        name=name,
        **{"price": table("prices").get(own["model"]), **preset, "batch": False, **own},
        frames=FrameSpec(**shown) if shown else None,
        event=tell.get("event", True),
        metadata=tuple(allowed) if isinstance(allowed, list) else allowed,
    )
    if not _address(model.base_url):
        raise UsageError(f"draft.models.{name}.base_url: give http(s)://host/v1, without a name, password or key in it")
    return model


def _address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:  # no port, or no IPv6 address
        return False
    beside = parts.username or parts.password or parts.query or parts.fragment
    return parts.scheme in ("http", "https") and bool(host) and not beside


STRUCTURED: dict[str, Callable[[str, Json], Json]] = {
    "json_schema": lambda name, schema: {
        "response_format": {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}
    },
    "structured_outputs": lambda name, schema: {"structured_outputs": {"json": schema}},
    "json_object": lambda name, schema: {"response_format": {"type": "json_object"}},
    "none": lambda name, schema: {},
}


def body(model: Model, messages: list[Json], name: str, schema: Json) -> Json:
    """The body of a chat completion; `schema` is what the reply should follow, `name` what it is called."""
    fixed = {"model": model.model, "messages": messages, model.limit_field: model.max_tokens}
    return {**model.params, **STRUCTURED[model.structured](name, schema), **fixed}


def user_message(model: Model, text: str, blob: str, frames: int, fps: float) -> tuple[Json, Json]:
    """The user's turn: the clip as the endpoint takes it, then the text; and what the body needs beside it.

    `blob`, `frames`, `fps` are the clip's; frames stand as references that are filled when the request is sent.
    """
    if model.frames is None:
        return {"role": "user", "content": text}, {}
    moments = model.frames.moments(frames, fps)
    words = {"type": "text", "text": text}
    if model.video == "frames":
        shown: list[Any] = []
        for time in moments:
            shown.append({"type": "text", "text": f"t = {time:.2f} s"})
            shown.append({"type": "image_url", "image_url": {"url": model.frames.ref("frame", blob, (time,))}})
        return {"role": "user", "content": [*shown, words]}, {}
    told = {"type": "text", "text": "The frames' times: " + ", ".join(f"{t:.2f} s" for t in moments)}
    video = {"type": "video_url", "video_url": {"url": model.frames.ref("video", blob, moments)}}
    places = [round(t * fps) for t in moments]
    about = {"fps": fps, "frames_indices": places, "total_num_frames": frames, "duration": round(frames / fps, 3)}
    beside = {"media_io_kwargs": {"video": {**about, "do_sample_frames": False}}}
    return {"role": "user", "content": [video, told, words]}, beside
