"""The JSON of a request, read field by field, as strictly as the images' agent reads it."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from pools.localcloud.agent.refusals import Refusal, wrong

MISSING = object()


class Body:
    """Collects what is wrong with the fields that are asked for; `check` refuses the request for it."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.problems: list[dict[str, Any]] = []

    @classmethod
    async def of(cls, request: Request, *, may_be_empty: bool = False) -> Body:
        """Raises Refusal when the body is no JSON object."""
        content = await request.body()
        if may_be_empty and content in (b"", b"null"):
            return cls({})
        try:
            data = json.loads(content)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise Refusal(422, [wrong("body", "must be a JSON object")])
        return cls(data)

    def text(self, name: str, otherwise: str | None = None) -> str:
        """A field that is text; null is none."""
        value = self.data.get(name, MISSING)
        if value is MISSING and otherwise is not None:
            return otherwise
        if isinstance(value, str):
            return value
        self._wrong(name, "must be text")
        return ""

    def text_or_null(self, name: str) -> str | None:
        return None if self.data.get(name) is None else self.text(name)

    def texts(self, name: str) -> dict[str, str]:
        """A field that maps names to texts; null is an empty one, a value that is null or a number is wrong."""
        value = self.data.get(name)
        if value is None:
            return {}
        if isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
            return value
        self._wrong(name, "must map names to texts")
        return {}

    def whole_number(self, name: str, otherwise: int) -> int:
        """A field that is a whole number, or spells one; half of one is wrong."""
        value = self.data.get(name, otherwise)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, str) and value.strip().lstrip("+-").isdecimal():
            value = int(value)
        if isinstance(value, int):
            return int(value)
        self._wrong(name, "must be a whole number")
        return otherwise

    def check(self) -> None:
        if self.problems:
            raise Refusal(422, self.problems)

    def _wrong(self, name: str, message: str) -> None:
        self.problems.append(wrong(name, message))
