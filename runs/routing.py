"""Addresses that Channels serves: sockets, streams, waiting requests, games. Django serves all others (`urls.py`)."""

from __future__ import annotations

from typing import Any

from django.urls import path, re_path

from pools.problems import Problem
from runs import waiting_requests
from runs.live.consumers import EventSocket, EventStream, LongPoll, RefusedSocket
from runs.live.feed_consumer import FeedPoll, FeedStream
from runs.live.hub import FLEET
from runs.pages.lobby_socket import LobbySocket
from runs.play import for_programs
from runs.play.proxy import play


def with_or_without_slash(address: str, application: Any, topic: dict[str, Any] | None = None) -> list[Any]:
    return [path(address + end, application, topic) for end in ("", "/")]


fleet = {"topic": FLEET}
# Any: Django's types know of views only.
game: Any = play
game_for_programs: Any = for_programs.answer
nothing_here: Any = RefusedSocket.as_asgi(problem=Problem(404, "There is nothing at this address."))

websocket_urlpatterns = [
    *with_or_without_slash("ws/runs/<uuid:topic>", EventSocket.as_asgi()),
    *with_or_without_slash("ws/orchestrator", EventSocket.as_asgi(), fleet),
    *with_or_without_slash("ws/lobby", LobbySocket.as_asgi()),
    re_path(r"", nothing_here),
]

http_urlpatterns = [
    # Their paths are matched by the proxy itself, as the client wrote them.
    re_path(r"^play/", game),
    re_path(r"^api/game/", game_for_programs),
    *with_or_without_slash("api/stream/<uuid:topic>", EventStream.as_asgi()),
    *with_or_without_slash("api/events/stream", FeedStream.as_asgi()),
    *with_or_without_slash("api/events", FeedPoll.as_asgi()),
    *with_or_without_slash("api/orchestrator/stream", EventStream.as_asgi(), fleet),
    *with_or_without_slash("api/runs/<uuid:topic>/events", LongPoll.as_asgi()),
    *with_or_without_slash("api/orchestrator/logs", LongPoll.as_asgi(), fleet),
]


def waiting_urlpatterns(django: Any) -> list[Any]:
    """Those whose answers Django makes, once what they wait for has come."""
    launch: Any = waiting_requests.launch(django)
    run: Any = waiting_requests.look_at_run(django)
    prime: Any = waiting_requests.prime(django)
    return [
        *with_or_without_slash("api/launch", launch),
        *with_or_without_slash("api/launch/<str:mode>", launch),
        *with_or_without_slash("api/runs/<uuid:run_id>", run),
        *with_or_without_slash("api/pools/<slug:name>/prime", prime),
    ]
