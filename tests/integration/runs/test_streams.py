"""Events by three doors: every line once, in order, whatever happens on the way."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import websockets
from websockets.exceptions import ConnectionClosed

from pools import journal
from runs import events
from runs.live.consumers import HEARTBEAT_SECONDS
from runs.models import EventKind, Run
from tests.fixtures.binaries import need
from tests.fixtures.waiting import until
from tests.fixtures.web import PLAIN, MakeRun, MakeWeb, Web
from tests.integration.runs.readers import read_stream, server_sent
from tests.integration.runs.writers import finish, in_background, say, written

pytestmark = pytest.mark.django_db(transaction=True)


def by_stream(web: Web, run: Run, after: int = 0) -> list[dict[str, Any]]:
    return read_stream(f"{web.url}/api/stream/{run.id}?after={after}")


def by_poll(web: Web, run: Run, after: int = 0) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = []
    while not read or read[-1]["kind"] != "end":
        page = web.get(f"/api/runs/{run.id}/events?after={after}&wait=25&limit=7").json()
        read += page["events"]
        after = page["after"]
    return read


def by_socket(web: Web, run: Run, after: int = 0) -> list[dict[str, Any]]:
    async def read() -> list[dict[str, Any]]:
        async with websockets.connect(f"{web.address}/ws/runs/{run.id}/?after={after}") as socket:
            return [message async for text in socket if (message := json.loads(text))["kind"] != "heartbeat"]

    return asyncio.run(read())


doors = pytest.mark.parametrize("door", [by_stream, by_poll, by_socket])


@doors
def test_a_reader_from_the_beginning_gets_every_line_and_the_end(web: Web, make_run: MakeRun, door: Any):
    run = make_run()

    def story() -> None:
        say(run, 120)
        finish(run)

    telling = in_background(story)
    assert door(web, run) == written(run)
    telling.join()


@doors
def test_a_late_reader_gets_the_whole_story_and_the_end(web: Web, make_run: MakeRun, door: Any):
    run = make_run()
    say(run, 250)  # more than one page
    finish(run)
    assert door(web, run) == written(run)


@doors
def test_a_reader_goes_on_after_its_cursor(web: Web, make_run: MakeRun, door: Any):
    run = make_run()
    say(run, 5)
    finish(run)
    assert [event["seq"] for event in door(web, run, after=3)] == [4, 5, 6]


def test_a_stream_says_its_headers_and_something_at_once_when_there_is_nothing_to_say(web: Web, make_run: MakeRun):
    run = make_run()
    web.get(f"/api/sandbox/{run.id}")  # a first request loads modules
    began = time.monotonic()
    with httpx.stream("GET", f"{web.url}/api/stream/{run.id}", **PLAIN) as answer:
        next(answer.iter_raw())
        took_seconds = time.monotonic() - began
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-cache, no-transform"
        assert answer.headers["x-accel-buffering"] == "no"
    assert took_seconds < 9, "a heartbeat would come after ten"


@pytest.mark.parametrize("door", ["stream", "socket"])
def test_a_silent_run_is_heard_at_least_every_15_s(impatient_web: Web, make_run: MakeRun, door: str):
    assert HEARTBEAT_SECONDS <= 15, "in the product; here it is less"
    run = make_run()
    if door == "stream":
        with httpx.stream("GET", f"{impatient_web.url}/api/stream/{run.id}", **PLAIN) as answer:
            beats = [sent for _, sent in zip(range(3), server_sent(answer.iter_lines()), strict=False)]
            assert {beat.event for beat in beats} == {"heartbeat"}
            assert {beat.id for beat in beats} == {""}, "it has no id, so that a cursor stays"
    else:

        async def first(count: int) -> list[Any]:
            async with websockets.connect(f"{impatient_web.address}/ws/runs/{run.id}/") as socket:
                return [json.loads(await socket.recv()) for _ in range(count)]

        assert {beat["kind"] for beat in asyncio.run(first(2))} == {"heartbeat"}


def test_a_reconnecting_event_source_goes_on_after_its_last_id_and_is_told_not_to_come_back(web: Web, make_run):
    run = make_run()
    say(run, 3)
    url = f"{web.url}/api/stream/{run.id}?after=0"
    assert [event["seq"] for event in read_stream(url, most=1, headers={"Last-Event-ID": "2"})] == [3]
    finish(run)
    assert web.get(f"/api/stream/{run.id}", headers={"Last-Event-ID": "4"}).status_code == 204


def test_a_reader_that_reconnects_at_every_line_misses_none_and_sees_none_twice(web: Web, make_run: MakeRun):
    run = make_run()
    telling = in_background(lambda: (say(run, 30), finish(run)))
    read: list[dict[str, Any]] = []
    while not read or read[-1]["kind"] != "end":
        last = read[-1]["seq"] if read else 0
        read += read_stream(f"{web.url}/api/stream/{run.id}", most=1, headers={"Last-Event-ID": str(last)})
    telling.join()
    assert read == written(run)


def test_a_server_that_dies_in_the_middle_costs_no_line_at_any_door(make_web: MakeWeb, make_run: MakeRun):
    web, run = make_web().start(), make_run()
    stop_writing = False
    read: dict[str, list[dict[str, Any]]] = {"stream": [], "poll": [], "socket": []}

    def story() -> None:
        number = 0
        while not stop_writing:
            number += 1
            events.emit(run.id, EventKind.LOG, f"line {number}")
            time.sleep(0.02)  # the pace of the writer, not a wait
        finish(run)

    def next_of(door: str) -> None:
        """What comes by one connection."""
        mine = read[door]
        after = mine[-1]["seq"] if mine else 0
        if door == "stream":
            with httpx.stream("GET", f"{web.url}/api/stream/{run.id}?after={after}", **PLAIN) as answer:
                mine.extend(sent.data for sent in server_sent(answer.iter_lines()) if sent.event != "heartbeat")
        elif door == "poll":
            mine.extend(web.get(f"/api/runs/{run.id}/events?after={after}&wait=25").json()["events"])
        else:
            asyncio.run(by_broken_socket(mine, after))

    async def by_broken_socket(mine: list[dict[str, Any]], after: int) -> None:
        async with websockets.connect(f"{web.address}/ws/runs/{run.id}/?after={after}") as socket:
            async for text in socket:
                mine.extend(line for line in [json.loads(text)] if line["kind"] != "heartbeat")

    def reader(door: str) -> None:
        while not read[door] or read[door][-1]["kind"] != "end":
            try:
                next_of(door)
            except (httpx.TransportError, OSError, ConnectionClosed, websockets.InvalidHandshake, ValueError):
                time.sleep(0.05)

    def all_have_read(more: int) -> None:
        before = {door: len(mine) for door, mine in read.items()}
        until(lambda: all(len(mine) >= before[door] + more for door, mine in read.items()), f"all read {more} more")

    telling = in_background(story)
    reading = [in_background(partial(reader, door)) for door in read]
    all_have_read(10)
    web.kill()
    web.start()
    all_have_read(10)
    assert web.stop() == 0, "open streams do not keep it from ending well"
    web.start()
    all_have_read(5)
    stop_writing = True
    telling.join(30)
    for thread in reading:
        thread.join(30)
    assert read == dict.fromkeys(read, written(run))


def test_curl_reads_a_run_as_the_seed_did(web: Web, make_run: MakeRun):
    run = make_run()
    say(run, 2)
    finish(run)
    url = f"{web.url}/api/stream/{run.id}"
    answer = subprocess.run([need("curl"), "-s", "-N", "-m", "20", url], capture_output=True, text=True, check=True)
    said = [sent.event for sent in server_sent(iter(answer.stdout.splitlines()))]
    assert said == ["heartbeat", "log", "log", "end"], "the first thing comes at once, whatever the run has to say"


def test_many_readers_of_many_runs_each_get_their_own(web: Web, make_run: MakeRun):
    runs = [make_run() for _ in range(5)]

    async def read(run: Run) -> list[dict[str, Any]]:
        async with websockets.connect(f"{web.address}/ws/runs/{run.id}/") as socket:
            return [json.loads(text) async for text in socket]

    async def read_all() -> list[list[dict[str, Any]]]:
        return await asyncio.gather(*(read(run) for run in runs for _ in range(8)))

    def stories() -> None:
        for number in range(1, 21):
            for run in runs:
                say(run, 1, first=number)
        for run in runs:
            finish(run)

    telling = in_background(stories)
    found = asyncio.run(read_all())
    telling.join()
    for index, read_by_one in enumerate(found):
        assert read_by_one == written(runs[index // 8])


# The whole fleet.


def test_the_fleets_log_is_read_by_all_doors_alike(web: Web):
    journal.record("create", "one")
    first = journal.record("create", "two", name="sandbox-0000beef", app_id="app-1", actor="grace")

    async def by_fleet_socket() -> Any:
        async with websockets.connect(f"{web.address}/ws/orchestrator/?after={first.seq - 1}") as socket:
            return json.loads(await socket.recv())

    streamed = read_stream(f"{web.url}/api/orchestrator/stream?after={first.seq - 1}", most=1)[0]
    polled = web.get(f"/api/orchestrator/logs?after={first.seq - 1}&wait=20").json()["events"][0]
    listed = web.get("/api/orchestrator/logs?limit=1").json()["events"][0]
    assert streamed == polled == listed == asyncio.run(by_fleet_socket())
    assert streamed["data"]["sandbox"] == "sandbox-0000beef"


def test_the_fleets_log_names_no_operator_and_no_whole_run(web: Web, make_run: MakeRun):
    """Who knows a run's id may end it."""
    run = make_run()
    journal.record("delete", f"run {run.short_id} is over", run_id=run.id, actor="grace")
    text = web.get("/api/orchestrator/logs").text
    assert str(run.id) not in text
    assert run.id.hex not in text
    assert "grace" not in text


def test_a_new_line_of_the_fleets_log_reaches_who_waits(web: Web):
    seq = journal.record("create", "one").seq
    with httpx.stream("GET", f"{web.url}/api/orchestrator/stream?after={seq}", **PLAIN) as answer:
        sent = server_sent(answer.iter_lines())
        assert next(sent).event == "heartbeat"
        journal.record("create", "two")
        assert next(sent).data["message"] == "two"


# Readers that ask wrongly.


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "", "9" * 30])
def test_a_bad_cursor_is_refused_by_name_at_each_door(web: Web, make_run: MakeRun, after: str):
    run = make_run()
    for path in (f"/api/stream/{run.id}?", f"/api/runs/{run.id}/events?wait=1&", f"/api/runs/{run.id}/events?"):
        answer = web.get(f"{path}after={after}")
        assert answer.status_code == 422, path
        assert answer.json()["errors"][0]["field"] == "after"
    assert closed_with(f"{web.address}/ws/runs/{run.id}/?after={after}") == 4400


def test_an_unknown_run_is_not_found_at_each_door(web: Web):
    for path in (f"/api/stream/{uuid4()}", f"/api/runs/{uuid4()}/events?wait=5", f"/api/runs/{uuid4()}/events"):
        answer = web.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
    for path in (f"/ws/runs/{uuid4()}/", "/ws/runs/nonsense/", "/ws/elsewhere/"):
        assert closed_with(web.address + path) == 4404


def test_each_door_has_its_address_with_a_slash_at_its_end_and_without(web: Web, make_run: MakeRun):
    run = make_run()
    finish(run)
    for slash in ("", "/"):
        assert web.get(f"/api/stream/{run.id}{slash}").headers["content-type"].startswith("text/event-stream")
        assert web.get(f"/api/runs/{run.id}/events{slash}?wait=1").json()["after"] == 1
        assert closed_with(f"{web.address}/ws/runs/{run.id}{slash}") == 1000


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_stream_is_refused_to_other_methods_before_their_body_is_read(web: Web, make_run: MakeRun, method: str):
    run = make_run()
    with socket.create_connection(("127.0.0.1", web.port), timeout=30) as sock:
        sock.sendall(
            f"{method} /api/stream/{run.id} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 60000\r\n\r\nx".encode()
        )
        assert sock.recv(100).startswith(b"HTTP/1.1 405")
    assert web.get("/health/live").status_code == 200


def test_a_prefix_that_a_client_claims_changes_nothing(web: Web, make_run: MakeRun):
    """Daphne believes the header, Channels' router would fail, and Django would lead all links elsewhere."""
    run = make_run()
    finish(run)
    claim = {"Daphne-Root-Path": "/elsewhere"}
    assert [sent["kind"] for sent in read_stream(f"{web.url}/api/stream/{run.id}", headers=claim)] == ["end"]
    assert closed_with(f"{web.address}/ws/runs/{run.id}/", additional_headers=claim) == 1000
    page = web.get(f"/runs/{run.id}/", headers=claim)
    assert page.status_code == 200
    assert "/elsewhere" not in page.text


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1.evil.example", "file://"])
def test_a_socket_from_a_foreign_page_is_closed_with_a_code(web: Web, make_run: MakeRun, origin: str):
    assert closed_with(f"{web.address}/ws/runs/{make_run().id}/", origin=origin) == 4403


def test_a_socket_by_a_foreign_name_is_closed_though_its_origin_agrees(web: Web, make_run: MakeRun):
    """DNS that points a foreign name here: the browser sends it as host and as origin."""
    sock = socket.create_connection(("127.0.0.1", web.port))
    address = f"ws://evil.example/ws/runs/{make_run().id}/"
    assert closed_with(address, origin="http://evil.example", sock=sock) == 4403


def test_a_socket_from_our_own_page_is_served(web: Web, make_run: MakeRun):
    run = make_run()
    finish(run)
    assert closed_with(f"{web.address}/ws/runs/{run.id}/", origin=web.url) == 1000


def closed_with(address: str, **options: Any) -> int | None:
    async def close_code() -> int | None:
        async with websockets.connect(address, **options) as socket:
            try:
                while True:
                    await asyncio.wait_for(socket.recv(), 30)
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else None

    return asyncio.run(close_code())


def test_a_cursor_beyond_all_lines_does_not_silence_other_readers(web: Web, make_run: MakeRun):
    run = make_run()
    say(run, 2)
    ahead = httpx.Client(**PLAIN)
    with ahead.stream("GET", f"{web.url}/api/stream/{run.id}?after=1000000") as far_ahead:
        next(far_ahead.iter_raw())
        with httpx.stream("GET", f"{web.url}/api/stream/{run.id}?after=2", **PLAIN) as answer:
            sent = server_sent(answer.iter_lines())
            assert next(sent).event == "heartbeat"
            say(run, 1, first=3)
            assert next(sent).data["message"] == "line 3"


def test_a_run_whose_events_were_pruned_ends_its_stream(web: Web, make_run: MakeRun):
    run = make_run()
    say(run, 3)
    finish(run)
    run.events.all().delete()
    assert by_stream(web, run) == []


def test_a_poll_without_news_answers_when_its_time_is_over(web: Web, make_run: MakeRun):
    run = make_run()
    began = time.monotonic()
    answer = web.get(f"/api/runs/{run.id}/events?after=0&wait=1")
    assert answer.json() == {"events": [], "after": 0}
    assert time.monotonic() - began >= 1


def test_streams_hold_no_thread_and_no_connection(web: Web, make_run: MakeRun):
    """40 open streams and waiting polls: pages and the API answer as before."""
    run = make_run()
    sockets = [open_stream(web, run.id) for _ in range(40)]
    for _ in range(5):
        assert web.get(f"/api/sandbox/{run.id}").status_code == 200
    for sock in sockets:
        sock.close()


def open_stream(web: Web, run_id: UUID) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", web.port), timeout=30)
    sock.sendall(f"GET /api/stream/{run_id} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert sock.recv(100).startswith(b"HTTP/1.1 200")
    return sock
