"""The site stands at the root of its host."""

from __future__ import annotations

from typing import Any

from channels.middleware import BaseMiddleware


class AtTheRoot(BaseMiddleware):
    """Drops the prefix that Daphne reads from a client's own `Daphne-Root-Path` header: Django would put it before all
    links, and Channels' router fails where the address does not begin with it."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        at_root: Any = {**scope, "root_path": ""}
        return await super().__call__(at_root, receive, send)
