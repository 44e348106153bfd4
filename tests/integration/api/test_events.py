"""The feed of events: who sees which, each once and in order, and where a program goes on."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.test import Client
from django.utils import timezone

from pools import api_keys, journal
from pools.models import Pool
from pools.reasons import LogKind
from runs import feed, lifecycle, lines
from runs.event_types import OF_KIND
from runs.live.hub import FLEET, lines_after
from runs.models import DeployedFrom, Run
from runs.reasons import RunEndCode
from tests.fixtures.waiting import until
from tests.fixtures.web import PLAIN, Web, new_run
from tests.integration.api.conftest import person
from tests.integration.api.test_keys import key_with
from tests.integration.runs.readers import all_sent
from tests.integration.runs.writers import in_background

pytestmark = pytest.mark.django_db(transaction=True)


def run_of(visitor: str) -> Run:
    run = new_run()
    Run.objects.filter(pk=run.pk).update(visitor=visitor)
    run.visitor = visitor
    journal.write(lines.launched(run, timezone.now()))
    return run


def end(run: Run) -> None:
    assert lifecycle.end(run.pk, RunEndCode.ENDED_BY_API, "Ended.", timezone.now())


def asked(client: Client, query: str = "") -> dict[str, Any]:
    answer = client.get(f"/api/events{query}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def types(page: dict[str, Any]) -> list[str]:
    return [event["type"] for event in page["events"]]


def test_a_key_that_may_read_gets_everything_with_whole_ids():
    run = run_of("somebody")
    end(run)
    journal.record(LogKind.POOL, "pool python paused", pool=Pool(name="python"))
    _, robot = key_with("read")
    page = asked(robot, "?after=0")
    assert types(page) == ["run.launched", "run.ended", "pool.changed"]
    assert {event["run_id"] for event in page["events"]} == {str(run.id), None}
    ended = page["events"][1]
    assert (ended["code"], ended["id"], ended["data"]["reason"]) == ("ended_by_api", f"evt_{ended['seq']}", "Ended.")
    assert page["events"][2]["pool"] == "python"
    assert not page["has_more"]


def test_everybody_else_gets_the_events_of_their_own_runs_and_nothing_else():
    key, robot = key_with("launch")
    mine = run_of(key.client)
    run_of("somebody")
    journal.record(LogKind.POOL, "pool python paused")
    for query in ("", "?after=0", "?after=0&kind=run,pool"):
        assert [event["run_id"] for event in asked(robot, query)["events"]] == [str(mine.id)]
    assert asked(Client(), "?after=0")["events"] == []


def test_a_player_gets_the_events_of_what_was_launched_in_that_browser(player, name_of):
    mine = run_of(name_of(player))
    run_of("somebody")
    assert [event["run_id"] for event in asked(player, "?after=0")["events"]] == [str(mine.id)]


def test_an_operator_gets_everything():
    run_of("somebody")
    journal.record(LogKind.POOL, "pool python paused")
    assert types(asked(person("view_fleet", "view_run"), "?after=0")) == ["run.launched", "pool.changed"]


def test_who_signed_in_is_told_to_no_program():
    journal.record(LogKind.SIGN_IN, "ada signed in")
    _, robot = key_with("admin")
    assert asked(robot, "?after=0")["events"] == []
    assert asked(robot)["events"] == []


def test_of_what_is_written_beside_a_line_programs_get_what_is_meant_for_them():
    """An error's own words, which may name what is not for everybody, are kept there for operators."""
    for kind in LogKind:
        journal.record(kind, "x", data={"why": "secret", "key": "secret", "actor": "ada", "game": "snake"})
    _, robot = key_with("read")
    events = asked(robot, "?after=0&limit=500")["events"]
    assert {event["type"] for event in events} == set(OF_KIND.values())
    assert [event["data"] for event in events] == [{"game": "snake"}] * len(events)
    assert [json.loads(line.told.line.json)["data"] for line in lines_after(FLEET, 0, 500)] == [
        {"game": "snake"}
    ] * len(events)


def test_programs_get_all_that_is_said_of_a_run():
    run, now = new_run(), timezone.now()
    told = {"state": "ended", "code": "time_up", "reason": "Its time was up.", "duration_ms": 1}
    for line in (
        lines.launched(run, now),
        lines.waiting(run, now),
        lines.ready(run, DeployedFrom.SNAPSHOT, 1, now),
        lines.stopped(run, "it stopped", now),
        lines.extended(run, now, now, "ada"),
        lines.ending_soon(run, now, now),
        lines.over(run, RunEndCode.TIME_UP, told, now, "ada"),
    ):
        assert feed.as_json(line)["data"] == line.data


def test_only_what_is_asked_for_comes():
    first, second = run_of("ada"), run_of("ada")
    end(second)
    journal.record(LogKind.POOL, "pool python paused", pool=Pool(name="python"))
    journal.record(LogKind.POOL, "pool node paused", pool=Pool(name="node"))
    _, robot = key_with("read")
    assert types(asked(robot, "?after=0&kind=run.ended")) == ["run.ended"]
    assert types(asked(robot, "?after=0&kind=run.ended,pool")) == ["run.ended", "pool.changed", "pool.changed"]
    assert types(asked(robot, f"?after=0&run={first.id}")) == ["run.launched"]
    assert types(asked(robot, "?after=0&pool=node")) == ["pool.changed"]


def test_a_type_that_does_not_exist_is_refused_by_its_name():
    for client in (Client(), key_with("read")[1]):
        answer = client.get("/api/events?kind=run.started")
        assert (answer.status_code, answer.json()["field"]) == (422, "kind")
        assert "run.started" in answer.json()["detail"]


def test_a_reader_that_goes_on_from_each_page_gets_each_event_once(monkeypatch):
    """Also where what it wants is rare: what one look reads is bounded."""
    monkeypatch.setattr(feed, "LOOKED_AT", 7)
    key, robot = key_with("launch")
    mine = []
    for number in range(40):
        run = run_of(key.client if number % 9 == 0 else "somebody")
        mine += [str(run.id)] if number % 9 == 0 else []
    read, after, pages = [], 0, 0
    while True:
        page = asked(robot, f"?after={after}&limit=2")
        read += [event["run_id"] for event in page["events"]]
        after, pages = page["after"], pages + 1
        if not page["has_more"]:
            break
    assert read == mine
    assert 5 < pages < 20
    assert asked(robot, f"?after={after}") == {"events": [], "after": after, "has_more": False}


def test_without_a_number_the_last_ones_come():
    runs = [run_of("ada") for _ in range(4)]
    _, robot = key_with("read")
    page = asked(robot, "?limit=2")
    assert [event["run_id"] for event in page["events"]] == [str(run.id) for run in runs[2:]]
    assert asked(robot, f"?after={page['after']}")["events"] == []


class Reader:
    """Reads the stream in the background; `events` is what came so far."""

    def __init__(self, url: str, **headers: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.heartbeats = 0
        self._socket: Any = None
        self.thread = threading.Thread(target=self._read, args=(url, headers))
        self.thread.start()

    def _read(self, url: str, headers: dict[str, str]) -> None:
        with suppress(httpx.TransportError), httpx.stream("GET", url, headers=headers, **PLAIN) as answer:
            assert answer.status_code == 200, answer.read()
            self._socket = answer.extensions["network_stream"].get_extra_info("socket")
            for sent in all_sent(answer.iter_lines()):
                if sent.event == "heartbeat":
                    self.heartbeats += 1
                elif sent.data:
                    assert (sent.event, sent.id) == (sent.data["type"], str(sent.data["seq"]))
                    self.events.append(sent.data)

    def __enter__(self) -> Reader:
        until(lambda: self.heartbeats, "the stream begins")
        return self

    def __exit__(self, *_: object) -> None:
        if self.thread.is_alive():
            self._socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()

    def has(self, *types: str) -> None:
        until(lambda: [event["type"] for event in self.events] == list(types), f"{types} have come")


@pytest.fixture
def reading(web: Web) -> Iterator[Callable[..., Reader]]:
    """`reading(key, "?kind=run")`: a reader of the shared web server's stream, which ends with the test."""
    with ExitStack() as readers:

        def begin(token: str, query: str = "", path: str = "/api/events/stream", **headers: str) -> Reader:
            return readers.enter_context(Reader(web.url + path + query, **{"X-API-Key": token} | headers))

        yield begin


def token_with(scope: str) -> tuple[api_keys.ApiKey, str]:
    return api_keys.make("robot", [scope], by="ada", now=timezone.now())


def test_a_program_waits_for_the_next_event_and_gets_it(web: Web):
    key, token = token_with("launch")
    headers = {"X-API-Key": token}
    run = run_of(key.client)
    after = web.get("/api/events", headers=headers).json()["after"]
    thread = in_background(lambda: (run_of("somebody"), end(run)))
    answer = web.get(f"/api/events?after={after}&wait=25", headers=headers)
    thread.join()
    assert types(answer.json()) == ["run.ended"], "what is somebody else's ends no wait"
    assert answer.elapsed < timedelta(seconds=20)


def test_a_wait_in_vain_ends_and_says_where_to_go_on(web: Web):
    run_of("somebody")
    _, token = token_with("launch")
    page = web.get("/api/events?after=0&wait=1", headers={"X-API-Key": token}).json()
    assert (page["events"], page["has_more"]) == ([], False)
    assert page["after"] > 0


def test_a_stream_brings_each_event_once_as_it_comes(reading):
    run = run_of("ada")
    reader = reading(token_with("read")[1], "?after=0")
    reader.has("run.launched")
    end(run)
    journal.record(LogKind.POOL, "pool python paused")
    reader.has("run.launched", "run.ended", "pool.changed")


def test_a_stream_goes_on_after_the_last_event_that_was_seen(reading):
    run = run_of("ada")
    _, token = token_with("read")
    with reading(token, "?after=0", "/api/events", accept="text/event-stream") as first:
        first.has("run.launched")
    end(run)
    reading(token, "?after=0", **{"Last-Event-ID": str(first.events[-1]["seq"])}).has("run.ended")


def test_a_stream_without_a_number_begins_now_and_brings_ones_own_alone(reading):
    key, token = token_with("launch")
    mine, other = run_of(key.client), run_of("somebody")
    reader = reading(token)
    end(other)
    journal.record(LogKind.POOL, "pool python paused")
    end(mine)
    reader.has("run.ended")
    assert reader.events[0]["run_id"] == str(mine.id)


@pytest.mark.parametrize("path", ["/api/events/stream", "/api/events"])
def test_a_stream_takes_a_key_that_is_good(web: Web, path: str):
    key, token = token_with("read")
    api_keys.revoke(key, by="ada", now=timezone.now())
    for headers, code in (({}, "sign_in"), ({"X-API-Key": token}, "key_revoked"), ({"X-API-Key": "x"}, "key_unknown")):
        answer = web.get(path, headers={"Accept": "text/event-stream"} | headers)
        assert (answer.status_code, answer.json()["code"]) == (401, code)


def test_a_key_that_is_revoked_ends_its_streams(reading, web: Web):
    key, token = token_with("read")
    reader = reading(token)
    api_keys.revoke(key, by="ada", now=timezone.now())
    until(lambda: not reader.thread.is_alive(), "the stream ends", seconds=40)


def test_a_field_that_is_not_as_it_must_be_is_named(web: Web):
    _, token = token_with("read")
    for query in ("limit=0", "limit=x", "after=-1", "run=7", "pool=a b", "wait=x"):
        wait = "" if "wait" in query else "&wait=1"
        answer = web.get(f"/api/events?{query}{wait}", headers={"X-API-Key": token})
        assert (answer.status_code, answer.json()["field"]) == (422, query.partition("=")[0])
