"""What the agent answers instead: a refusal in JSON, or the bare 500 of a server that did not foresee it."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response


class Refusal(Exception):
    """The client gets this status and detail."""

    def __init__(self, status: int, detail: Any) -> None:
        super().__init__(f"{status}: {detail}")
        self.status, self.detail = status, detail

    @classmethod
    def of_field(cls, name: str, message: str, *, where: str = "body") -> Refusal:
        return cls(422, [wrong(name, message, where)])

    @staticmethod
    async def answer(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)  # noqa: S101  registered for this kind only
        return JSONResponse({"detail": error.detail}, error.status)


class Unforeseen(Exception):
    """The client gets a 500 that explains nothing."""

    @staticmethod
    async def answer(request: Request, error: Exception) -> Response:
        return PlainTextResponse("Internal Server Error", 500)


def wrong(name: str, message: str, where: str = "body") -> dict[str, Any]:
    """One entry of a 422's detail."""
    return {"type": "value_error", "loc": [where, name], "msg": message}
