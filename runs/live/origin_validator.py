"""Which pages may open a socket: this site's own. Scripts of other sites, and of games, do not read along."""

from __future__ import annotations

from typing import Any

from channels.security.websocket import OriginValidator
from django.conf import settings

from pools.problems import Problem
from runs.live.consumers import RefusedSocket
from runs.origins import is_allowed_host, is_own_origin

refused: Any = RefusedSocket.as_asgi(
    problem=Problem(
        403, "Sockets are opened by this site's own pages, or by programs that send no Origin.", code="foreign_page"
    )
)


class OwnPagesOriginValidator(OriginValidator):
    """Channels' validator with the rule of this site's forms (`runs.origins`).

    Channels' own lets in a page of any allowed host, keeps out programs that send no Origin, and closes before the
    handshake, where a browser sees no code.
    """

    def __init__(self, application: Any) -> None:
        super().__init__(application, settings.CSRF_TRUSTED_ORIGINS)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        origin, host = (headers.get(name, b"").decode("latin-1") for name in (b"origin", b"host"))
        is_own = is_allowed_host(host) and (not origin or is_own_origin(origin, host))
        application: Any = self.application if is_own else refused
        await application(scope, receive, send)
