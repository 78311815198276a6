"""A pack's schema.json made whole and checked: every reference followed, every object closed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curation.errors import UsageError
from curation.types import Json

ANNOTATIONS = ("title", "description", "examples", "$comment", "default")


def resolved(schema: Json, path: Path, ontologies: dict[str, Json]) -> Json:
    """schema.json with every `$ref` replaced by what it points to; offline: only ontologies can be referred to."""
    import jsonschema
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    registry: Any = Registry().with_resources((i, DRAFT202012.create_resource(d)) for i, d in ontologies.items())
    resolver = registry.resolver_with_root(DRAFT202012.create_resource(schema))
    whole: Json = _inline(schema, resolver, str(path), ())
    whole.pop("$defs", None)
    try:
        jsonschema.Draft202012Validator.check_schema(whole)
    except jsonschema.SchemaError as e:
        raise UsageError(f"{path}: {pointer(e.absolute_path)}: not JSON Schema 2020-12: {e.message}") from None
    if whole.get("type") != "object":
        raise UsageError(f'{path}: the value of a task is an object; give the schema "type": "object"')
    for at, node in _objects(whole, ""):
        if node.get("additionalProperties") is not False or set(node.get("required", ())) != set(node["properties"]):
            raise UsageError(
                f'{path}: {at or "top level"}: an object needs "additionalProperties": false and its properties in '
                '"required" (one that may be missing is nullable instead), so that Parquet gives it back as it was'
            )
    return whole


def _inline(node: Any, resolver: Any, where: str, open_refs: tuple[str, ...]) -> Any:
    from referencing.exceptions import Unresolvable

    if isinstance(node, list):
        return [_inline(child, resolver, where, open_refs) for child in node]
    if not isinstance(node, dict):
        return node
    rest = {k: _inline(v, resolver, where, open_refs) for k, v in node.items() if k != "$ref"}
    if "$ref" not in node:
        return rest
    ref = str(node["$ref"])
    beside = [k for k in rest if k not in ANNOTATIONS and not k.startswith("x-")]
    if ref in open_refs or beside:
        why = "refers to itself" if ref in open_refs else f"stands beside '{beside[0]}'; only annotations may"
        raise UsageError(f"{where}: $ref '{ref}' {why}")
    try:
        found = resolver.lookup(ref)
    except Unresolvable:
        raise UsageError(f"{where}: $ref '{ref}' leads nowhere; say #/$defs/… or <ontology $id>#/$defs/…") from None
    return {**_inline(found.contents, found.resolver, where, (*open_refs, ref)), **rest}


def _objects(node: Any, at: str) -> Iterator[tuple[str, Json]]:
    """The object schemas within a schema that shape data (conditions are not shapes), with their places."""
    if not isinstance(node, dict):
        return
    if isinstance(node.get("properties"), dict):
        yield at, node
        for key, child in node["properties"].items():
            yield from _objects(child, f"{at}/properties/{key}")
    yield from _objects(node.get("items"), f"{at}/items")
    for i, child in enumerate(node.get("anyOf", ())):
        yield from _objects(child, f"{at}/anyOf/{i}")


def pointer(parts: Any) -> str:
    """A JSON pointer (RFC 6901) from path parts."""
    return "".join("/" + str(p).replace("~", "~0").replace("/", "~1") for p in parts)
