"""Identity: the hash of a documented canonical form, tagged with its algorithm.

Canonical JSON: UTF-8, keys sorted by code point, separators ``,`` and ``:``, no NaN or infinity, numbers as
Python's ``json`` writes them (shortest round-trip), non-ASCII characters kept, strings in Unicode NFC.
Dataclasses are objects of their fields, tuples are arrays; lone surrogates are refused.

An id is ``<kind>1_<32 hex>``: ``1`` names the algorithm (the first 128 bits of SHA-256 over the canonical JSON of
``[kind, payload]``). A later algorithm takes the next number, so a stored id always says how to re-derive it.
"""

from __future__ import annotations

import hashlib
import json
import random
import unicodedata
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any


def plain(value: Any) -> Any:
    """`value` as JSON data: dataclasses to dicts, tuples and sets to lists, strings to NFC."""
    if isinstance(value, str):
        return value if value.isascii() else unicodedata.normalize("NFC", value)
    if value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, dict):
        return {k if isinstance(k, str) and k.isascii() else plain(str(k)): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain(v) for v in value)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    return value


def _known(value: Any) -> Any:
    """What `json` does not know, one level of it."""
    if names := _names(value.__class__):
        return {name: getattr(value, name) for name in names}
    if isinstance(value, (set, frozenset)):
        return plain(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


@cache
def _names(kind: type) -> list[str]:
    return [f.name for f in fields(kind)] if is_dataclass(kind) else []


_FORM: Any = {"separators": (",", ":"), "ensure_ascii": False, "allow_nan": False, "check_circular": False}
_LINE, _CANONICAL = (json.JSONEncoder(default=_known, sort_keys=s, **_FORM) for s in (False, True))


def as_line(value: Any, encoder: json.JSONEncoder = _LINE) -> str:
    """`plain(value)` as JSON on one line. Plain ASCII, which needs no NFC, is not copied first. Keys must be texts."""
    text = encoder.encode(value)
    return text if text.isascii() else encoder.encode(plain(value))


def canonical_json(value: Any) -> str:
    """The one text that stands for `value`. Raises ValueError for NaN, infinities and lone surrogates."""
    text = as_line(value, _CANONICAL)
    if not text.isascii():
        text.encode()
    return text


def make_id(kind: str, payload: Any) -> str:
    """The id of a record of `kind` whose identity is `payload`."""
    digest = hashlib.sha256(canonical_json([kind, payload]).encode()).hexdigest()
    return f"{kind}1_{digest[:32]}"


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of bytes, hex."""
    return hashlib.sha256(data).hexdigest()


def seeded(*parts: Any) -> random.Random:
    """A random source that depends on `parts` only (run seed, item id, stage), so adding one reshuffles none."""
    return random.Random(hashlib.sha256(canonical_json(parts).encode()).digest())


def fraction(*parts: Any) -> float:
    """A number in [0, 1) from the hash of `parts`: for shares and splits that must not move."""
    return int.from_bytes(hashlib.sha256(canonical_json(parts).encode()).digest()[:7], "big") / 2**56
