"""Django behind Daphne: a thread for each request, while there are some."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.urls import path, reverse
from django.views.decorators.csrf import csrf_exempt

from orchestrator_site import request_threads
from orchestrator_site.request_threads import InOneThread
from orchestrator_site.sign_in import pace

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE_SECONDS = 20


class Slow:
    """A view that says when it is at work, and waits to be let go on before it reads what it was sent."""

    def __init__(self) -> None:
        self.is_at_work, self.may_go_on = threading.Event(), threading.Event()
        self.bodies: list[bytes] = []

    def __call__(self, request: HttpRequest) -> HttpResponse:
        self.is_at_work.set()
        assert self.may_go_on.wait(PATIENCE_SECONDS)
        self.bodies.append(request.body)
        return HttpResponse("done")


slow = Slow()


@csrf_exempt
def slow_view(request: HttpRequest) -> HttpResponse:
    return slow(request)


@csrf_exempt
def quick_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("done")


urlpatterns = [path("slow/", slow_view), path("quick/", quick_view)]


@pytest.fixture(autouse=True)
def fresh() -> None:
    global slow  # noqa: PLW0603  the URLs are read once
    slow = Slow()


def ask(application: Any, path: str, body: bytes = b"") -> ApplicationCommunicator:
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [],
        "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    asked = ApplicationCommunicator(application, scope)
    asked.input_queue.put_nowait({"type": "http.request", "body": body})
    return asked


async def at_work() -> None:
    assert await asyncio.to_thread(slow.is_at_work.wait, PATIENCE_SECONDS)


@override_settings(ROOT_URLCONF=__name__)
async def test_a_view_can_read_its_request_after_the_client_left():
    asked = ask(InOneThread(), "/slow/", b"hello")
    await asked.receive_nothing(0)
    await at_work()
    await asked.send_input({"type": "http.disconnect"})
    await asyncio.sleep(0.1)
    slow.may_go_on.set()
    await asked.wait(PATIENCE_SECONDS)
    assert slow.bodies == [b"hello"]


@override_settings(ROOT_URLCONF=__name__)
async def test_a_health_probe_is_answered_while_every_thread_is_taken(monkeypatch):
    monkeypatch.setattr(request_threads, "THREADS", 1)
    application = InOneThread()
    asked = ask(application, "/slow/")
    await asked.receive_nothing(0)
    await at_work()
    probe = ask(application, "/health/live")
    assert (await probe.receive_output(PATIENCE_SECONDS))["status"] == 200
    slow.may_go_on.set()
    assert (await asked.receive_output(PATIENCE_SECONDS))["status"] == 200
    await asked.wait(PATIENCE_SECONDS)
    await probe.wait(PATIENCE_SECONDS)


@override_settings(ROOT_URLCONF=__name__)
async def test_who_waits_too_long_for_a_thread_is_told_to_come_again(monkeypatch):
    """All threads wait for one lock: the next would wait as long once they are done, and so on."""
    monkeypatch.setattr(request_threads, "THREADS", 1)
    monkeypatch.setattr(request_threads, "LONGEST_WAIT_SECONDS", 0.1)
    application = InOneThread()
    first = ask(application, "/slow/")
    await first.receive_nothing(0)
    await at_work()
    second = ask(application, "/slow/")
    await second.receive_nothing(0.3)
    slow.may_go_on.set()
    assert (await first.receive_output(PATIENCE_SECONDS))["status"] == 200
    answer = await second.receive_output(PATIENCE_SECONDS)
    assert answer["status"] == 503
    assert (b"Retry-After", b"5") in answer["headers"]
    await first.wait(PATIENCE_SECONDS)
    await second.wait(PATIENCE_SECONDS)
    assert len(slow.bodies) == 1


@pytest.mark.parametrize("name", ["admin:login", "admin:password_change", "admin:auth_user_add"])
def test_what_hashes_passwords_is_known_by_its_path(name: str):
    asked = RequestFactory()
    assert request_threads.may_hash(asked.post(reverse(name)))
    assert request_threads.may_hash(asked.put(reverse(name)))
    assert not request_threads.may_hash(asked.get(reverse(name)))


def test_what_hashes_no_passwords_does_not_wait_for_it():
    asked = RequestFactory()
    for page in ("/", "/games/snake/", "/admin/", "/admin/pools/fleet/turn/", "/api/launch/warm"):
        assert not request_threads.may_hash(asked.post(page))


@override_settings(ROOT_URLCONF=__name__)
async def test_who_waits_to_be_hashed_keeps_nobody_else_waiting(monkeypatch):
    monkeypatch.setattr(request_threads, "THREADS", 1)
    monkeypatch.setattr(request_threads, "HASHING", ("/slow/",))
    monkeypatch.setattr(request_threads, "MOST_WAITING_TO_HASH", 2)
    application = InOneThread()
    signing_in = [ask(application, "/slow/") for _ in range(3)]
    for asked in signing_in:
        await asked.receive_nothing(0.01)
    await at_work()
    another = ask(application, "/quick/")
    assert (await another.receive_output(PATIENCE_SECONDS))["status"] == 200
    one_too_many = ask(application, "/slow/")
    answer = await one_too_many.receive_output(PATIENCE_SECONDS)
    assert answer["status"] == 503
    assert (b"Retry-After", b"5") in answer["headers"]
    assert slow.bodies == [], "all that was before anybody was hashed"
    slow.may_go_on.set()
    for asked in signing_in:
        assert (await asked.receive_output(PATIENCE_SECONDS))["status"] == 200
    after_it = ask(application, "/slow/")
    assert (await after_it.receive_output(PATIENCE_SECONDS))["status"] == 200
    for asked in (*signing_in, another, one_too_many, after_it):
        await asked.wait(PATIENCE_SECONDS)


@override_settings(ROOT_URLCONF=__name__)
@pytest.mark.parametrize(("name", "paths"), [("SIGN_IN", "/quick/"), ("HASHING", ("/quick/",))])
async def test_who_asks_for_the_sign_in_page_without_end_is_refused_without_a_thread(monkeypatch, name, paths):
    """Forty clients that try as fast as they can kept the lobby waiting for a second, though each was refused. And who
    sent other forms that may hash, such as that for a new password, kept sign-ins from their one thread."""
    monkeypatch.setattr(request_threads, name, paths)
    monkeypatch.setattr(request_threads, "THREADS", 1)
    monkeypatch.setattr(pace, "BURST", 2)
    monkeypatch.setattr(pace, "LATE_SECONDS", 0.3)
    application = InOneThread()
    for _ in range(2):
        asked = ask(application, "/quick/")
        assert (await asked.receive_output(PATIENCE_SECONDS))["status"] == 200
        await asked.wait(PATIENCE_SECONDS)
    busy = ask(application, "/slow/")
    await busy.receive_nothing(0)
    await at_work()
    too_fast = ask(application, "/quick/")
    assert await too_fast.receive_nothing(0.1), "late"
    assert (await too_fast.receive_output(PATIENCE_SECONDS))["status"] == 429
    slow.may_go_on.set()
    await busy.wait(PATIENCE_SECONDS)
    await too_fast.wait(PATIENCE_SECONDS)


def test_a_pace_is_kept_for_each_network_and_comes_back():
    kept = pace.Pace()
    asked = [kept.allows("192.0.2.1", 0.0) for _ in range(pace.BURST + 5)]
    assert asked == [True] * pace.BURST + [False] * 5
    assert kept.allows("192.0.2.2", 0.0)
    assert kept.allows("192.0.2.1", 1.0)
    assert [kept.allows("192.0.2.1", 10_000.0) for _ in range(pace.BURST + 1)][-2:] == [True, False]


def test_a_pace_keeps_no_end_of_networks(monkeypatch):
    monkeypatch.setattr(pace, "MOST_NETWORKS", 3)
    kept = pace.Pace()
    for number in range(10):
        kept.allows(str(number), 0.0)
    assert len(kept._left) <= 3
