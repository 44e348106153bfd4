"""Examples for the API's description, put together from those that its shapes and their fields have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOMENT = "2026-11-27T10:00:00Z"
ID = "5d0e5d4c-9d2a-4f0b-8c0e-7f2b1a3c4d5e"
OF_TYPE: Mapping[str, Any] = {"integer": 1, "number": 0.5, "boolean": True, "null": None}
OF_FORMAT: Mapping[str, str] = {"date-time": MOMENT, "date": MOMENT[:10], "uuid": ID}
MISSING = "…"  # of a text that has no example

Shape = Mapping[str, Any]


def example_of(shape: Shape, shapes: Mapping[str, Shape]) -> Any:
    """A value of this JSON Schema. `shapes`: those that it refers to, by name."""
    if "$ref" in shape:
        return example_of(shapes[shape["$ref"].rpartition("/")[2]], shapes)
    if "examples" in shape:
        return shape["examples"][0]
    if "properties" in shape:
        return _object(shape, shapes)
    if "example" in shape:
        return shape["example"]
    if "enum" in shape:
        return shape["enum"][0]
    if "anyOf" in shape:
        return example_of(shape["anyOf"][0], shapes)
    if shape.get("type") == "array":
        return [example_of(shape["items"], shapes)]
    if shape.get("type") == "object":
        return {}
    if shape.get("type") == "string":
        return OF_FORMAT.get(shape.get("format", ""), MISSING)
    return OF_TYPE.get(shape.get("type", "null"))


def _object(shape: Shape, shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Its own example, which it may have from a shape that it extends, and what else it needs."""
    fields: dict[str, Any] = dict(shape.get("example", {}))
    for name in shape.get("required", ()):
        if name not in fields:
            fields[name] = example_of(shape["properties"][name], shapes)
    return fields
