"""What a question must be, and an answer to it: the half of the test server that knows JSON Schema and nothing of HTTP.

An answer is a random instance of the schema that was asked for, the same for the same question.
"""

from __future__ import annotations

import base64
import io
import json
import math
import random
import re
from collections.abc import Collection, Iterator
from typing import Any

from jsonschema import Draft202012Validator

Json = dict[str, Any]

WORDS = (
    "the a grey van car cyclist slows ahead near far left right lane road then while light rain traffic is in of and"
)
GERMAN = "das graue Auto bremst vor dem Radfahrer und die Straße ist nass während es auf der linken Spur langsam fährt"
CHINESE = "前方 的 灰色 汽车 突然 刹车 行人 正在 过 马路 天空 下雨 道路 很 湿"
ROLES = ("system", "developer", "user", "assistant", "tool")
PARAMETERS = {
    "model", "messages", "response_format", "temperature", "top_p", "max_tokens", "max_completion_tokens",
    "seed", "stop", "n", "stream", "user", "metadata", "frequency_penalty", "presence_penalty", "logprobs",
    "top_logprobs", "logit_bias", "reasoning_effort", "service_tier", "store", "verbosity", "prompt_cache_key",
    "safety_identifier", "structured_outputs", "top_k", "min_p", "repetition_penalty", "chat_template_kwargs",
    "mm_processor_kwargs", "media_io_kwargs",
}  # fmt: skip
# What strict mode takes (platform.openai.com/docs/guides/structured-outputs#supported-schemas). Lengths of strings are
# not on that list; some models turn them away: a test says so by `server.refuses = {"minLength", "maxLength"}`.
STRICT = {
    "type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "description",
    "title", "$ref", "$defs", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "multipleOf", "minItems", "maxItems", "minLength", "maxLength",
}  # fmt: skip
CONDITIONS = ("allOf", "if", "not", "contains", "uniqueItems", "oneOf")  # met by drawing until they hold


# -- answers ---------------------------------------------------------------------------------------------------------
def instance(schema: Json, rng: random.Random, words: str = WORDS) -> Any:
    """A random value that `schema` takes (no $ref but to its own $defs). Raises ValueError if none is found."""
    return _draw(schema, rng, words.split(), schema)


def _draw(node: Json, rng: random.Random, words: list[str], root: Json) -> Any:
    if "$ref" in node:
        node = root["$defs"][node["$ref"].removeprefix("#/$defs/")]
    if not any(k in node for k in CONDITIONS):
        return _draw_plain(node, rng, words, root)
    validator = Draft202012Validator(node)
    for _ in range(2000):
        value = _draw_plain(node, rng, words, root)
        if validator.is_valid(value):
            return value
    raise ValueError(f"no instance found of {json.dumps(node):.200}")


def _draw_plain(node: Json, rng: random.Random, words: list[str], root: Json) -> Any:
    if "const" in node:
        return node["const"]
    if "enum" in node:
        return rng.choice(node["enum"])
    if "anyOf" in node:
        return _draw(rng.choice(node["anyOf"]), rng, words, root)
    kind = node.get("type", "object" if "properties" in node else "string")
    kind = rng.choice(kind) if isinstance(kind, list) else kind
    if kind == "object":
        value = {k: _draw(v, rng, words, root) for k, v in node.get("properties", {}).items()}
        if {"start_s", "end_s"} <= value.keys():
            value["start_s"], value["end_s"] = sorted((value["start_s"], value["end_s"]))
        return value
    if kind == "array":
        least = node.get("minItems", 0)
        n = rng.randint(least, min(node.get("maxItems", least + 4), least + 4))
        return [_draw(node["items"], rng, words, root) for _ in range(n)]
    if kind in ("number", "integer"):
        return _number(node, rng, kind == "integer")
    return {"null": None, "boolean": rng.random() < 0.5}[kind] if kind != "string" else _string(node, rng, words)


def _number(node: Json, rng: random.Random, whole: bool) -> float:
    step = 1 if whole else 0.01
    lows = [node["minimum"]] if "minimum" in node else []
    lows += [node["exclusiveMinimum"] + step] if "exclusiveMinimum" in node else []
    highs = [node["maximum"]] if "maximum" in node else []
    highs += [node["exclusiveMaximum"] - step] if "exclusiveMaximum" in node else []
    low = max(lows) if lows else min([0, *(high - 5 for high in highs)])
    high = min([*highs, low + 5])
    return (
        rng.randint(math.ceil(low), math.floor(high))
        if whole
        else min(max(round(rng.uniform(low, high), 2), low), high)
    )


def _string(node: Json, rng: random.Random, words: list[str]) -> str:
    if "pattern" in node:
        return "".join(_matching(re._parser.parse(node["pattern"]), rng))  # type: ignore[attr-defined]
    least, most = node.get("minLength", 1), node.get("maxLength", 200)
    text = ""
    while len(text) < max(least, min(most, rng.randint(20, 80))):
        text += rng.choice(words) + " "
    text = text[:most].strip()
    return text.ljust(least, ".")


def _matching(parsed: Any, rng: random.Random) -> Iterator[str]:
    """Strings that make up a match of a parsed regular expression without look-arounds or references."""
    for op, arg in parsed:
        name = str(op)
        if name == "LITERAL":
            yield chr(arg)
        elif name == "IN":
            yield chr(
                rng.choice([c for kind, a in arg for c in (range(a[0], a[1] + 1) if str(kind) == "RANGE" else [a])])
            )
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            for _ in range(rng.randint(arg[0], min(arg[1], arg[0] + 8))):
                yield from _matching(arg[2], rng)
        elif name == "SUBPATTERN":
            yield from _matching(arg[3], rng)
        elif name == "BRANCH":
            yield from _matching(rng.choice(arg[1]), rng)
        elif name != "AT":
            raise ValueError(f"pattern with {name}")


def not_strict(node: Any, refuses: Collection[str], path: tuple[str, ...] = ()) -> str | None:
    """How a schema breaks the rules of strict structured output; None if it does not."""
    if not path and (node.get("type") != "object" or "anyOf" in node):
        return "schema must be a JSON Schema of 'type: \"object\"'"
    where = f"In context={path}, "
    if unknown := sorted(k for k in node if k not in STRICT or k in refuses):
        return f"{where}'{unknown[0]}' is not permitted."
    inner: dict[tuple[str, ...], Json] = {("properties", k): v for k, v in node.get("properties", {}).items()}
    inner |= {("anyOf", str(i)): v for i, v in enumerate(node.get("anyOf", ()))}
    inner |= {("items",): node["items"]} if "items" in node else {}
    inner |= {("$defs", k): v for k, v in node.get("$defs", {}).items()}
    if "properties" in node:
        if node.get("additionalProperties") is not False:
            return f"{where}'additionalProperties' is required to be supplied and to be false."
        if set(node.get("required", ())) != set(node["properties"]):
            return f"{where}'required' is required to be an array including every key in properties."
    elif not inner and not node.keys() & {"type", "enum", "const", "$ref"}:
        return f"{where}schema must have a 'type' key."
    if len(path) > 30:
        return f"{where}nested too deeply."
    return next((why for at, child in inner.items() if (why := not_strict(child, refuses, path + at))), None)


def schema_in(body: Json) -> Json | None:
    """The schema that an answer should follow: of the response format, else the first one in the prompt's text."""
    asked = body.get("response_format") or {}
    if found := asked.get("json_schema", {}).get("schema") or (body.get("structured_outputs") or {}).get("json"):
        return found  # type: ignore[no-any-return]
    for text in texts(body):
        for m in re.finditer(r"\{", text):
            try:
                value, _ = json.JSONDecoder().raw_decode(text, m.start())
            except ValueError:
                continue
            if isinstance(value, dict) and value.get("type") == "object" and "properties" in value:
                return value
    return None


def texts(body: Json) -> Iterator[str]:
    """Every text of the messages."""
    for message in body["messages"]:
        content = message.get("content") or ""
        yield from [content] if isinstance(content, str) else (p["text"] for p in content if p.get("type") == "text")


# -- what a request must be ------------------------------------------------------------------------------------------
class Refused(Exception):  # noqa: N818
    """An error in OpenAI's envelope."""

    def __init__(self, status: int, message: str, code: str | None = None, kind: str = "", **headers: str) -> None:
        super().__init__(message)
        self.status, self.headers = status, {k.replace("_", "-"): v for k, v in headers.items()}
        kind = kind or {429: "requests", 401: "invalid_request_error"}.get(status, "invalid_request_error")
        self.body = {"error": {"message": message, "type": kind, "param": None, "code": code}}


def pictures(url: str) -> int:
    """How many pictures a data: URL holds. Raises Refused if one of them is no whole JPEG."""
    kind, _, data = url.partition(";base64,")
    if kind not in ("data:image/jpeg", "data:video/jpeg"):
        raise Refused(400, f"Invalid image URL: '{url:.40}' is not data: of JPEG in base64.", "invalid_image_url")
    for one in data.split(",") if kind.startswith("data:video") else [data]:
        from PIL import Image

        try:
            raw = base64.b64decode(one, validate=True)
            with Image.open(io.BytesIO(raw), formats=["JPEG"]) as image:
                image.load()
        except (ValueError, OSError):
            raise Refused(400, "You uploaded an unsupported image: no whole JPEG.", "invalid_image_format") from None
    return data.count(",") + 1


def check_body(body: Any, refuses: Collection[str], models: Collection[str]) -> int:
    """Tokens of the prompt. Raises Refused as the real one would."""
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise Refused(400, "you must provide a model parameter")
    if unknown := sorted(body.keys() - PARAMETERS):
        raise Refused(400, f"Unrecognized request argument supplied: {unknown[0]}")
    if body["model"] not in models:
        raise Refused(
            404, f"The model `{body['model']}` does not exist or you do not have access to it.", "model_not_found"
        )
    if body.get("stream") or body.get("n", 1) != 1:
        raise Refused(400, "this server neither streams nor gives several choices")
    asked = body.get("response_format") or {"type": "text"}
    if asked.get("type") not in ("text", "json_object", "json_schema"):
        raise Refused(400, f"Invalid value: '{asked.get('type')}' for response_format.type.")
    if asked["type"] == "json_schema":
        wanted = asked.get("json_schema") or {}
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", str(wanted.get("name", ""))) or not isinstance(
            wanted.get("schema"), dict
        ):
            raise Refused(400, "Missing or invalid response_format.json_schema.name or .schema.")
        if wanted.get("strict") and (why := not_strict(wanted["schema"], refuses)):
            raise Refused(400, f"Invalid schema for response_format '{wanted['name']}': {why}")
    if not isinstance(body.get("messages"), list) or not body["messages"]:
        raise Refused(400, "Invalid 'messages': empty or no array.")
    if asked["type"] == "json_object" and not any("json" in t.lower() for t in texts(body)):
        raise Refused(
            400, "'messages' must contain the word 'json' in some form to use 'response_format' of 'json_object'."
        )
    return sum(_check_message(m) for m in body["messages"])


def _check_message(message: Any) -> int:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise Refused(400, f"Invalid value for a message's role; supported: {', '.join(ROLES)}.")
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, list) or not parts:
        raise Refused(400, "Invalid type for 'messages[].content': a string or an array of parts.")
    tokens = 4
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        given = part.get(kind) if kind else None
        if kind == "text" and isinstance(given, str):
            tokens += len(given) // 4
        elif kind in ("image_url", "video_url") and message["role"] == "user" and isinstance(given, dict):
            tokens += 85 * pictures(str(given.get("url")))
        else:
            raise Refused(400, f"Invalid content part of type '{kind}' for the role '{message['role']}'.")
    return tokens
