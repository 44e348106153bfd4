"""Pages of other sites: what stands in front of the application for them, and for them alone."""

import inspect
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from orchestrator_site import environment as env
from orchestrator_site.cross_origin import CrossOrigin

ORIGIN = "https://demo.example.com"


async def test_streams_still_see_the_connection_behind_send(settings: Any):
    """Else nothing would keep a stream from writing faster than its client reads (`runs.live.backpressure`)."""
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]
    given: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        given.append(send)

    async def send(message: Any) -> None: ...

    headers = [(b"host", b"127.0.0.1"), (b"origin", ORIGIN.encode()), (b"cookie", b"a=b")]
    scope = {"type": "http", "method": "GET", "path": "/api/stream/1", "headers": headers}
    await CrossOrigin(application)(scope, None, send)
    assert inspect.unwrap(given[0]) is send is not given[0]


@pytest.mark.parametrize("path", ["/", "/play/1/", "/admin/", "/ws/orchestrator/"])
async def test_it_is_in_front_of_nothing_else(settings: Any, path: str):
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]
    given: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        given.append(scope)

    scope = {"type": "http", "method": "GET", "path": path, "headers": [(b"cookie", b"a=b")]}
    await CrossOrigin(application)(scope, None, None)
    assert given[0] is scope


def test_origins_are_read_as_browsers_write_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CORS_ALLOWED_ORIGINS", "https://Demo.example.com:443/, http://127.0.0.1:3000")
    assert env.origins("CORS_ALLOWED_ORIGINS") == [ORIGIN, "http://127.0.0.1:3000"]


@pytest.mark.parametrize("value", ["*", "demo.example.com", "https://*.example.com", "null", "https://a.example/b"])
def test_all_the_world_is_no_origin(monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("CORS_ALLOWED_ORIGINS", f"{ORIGIN},{value}")
    with pytest.raises(ImproperlyConfigured, match=r"CORS_ALLOWED_ORIGINS is .*; it must be a list of addresses"):
        env.origins("CORS_ALLOWED_ORIGINS")
