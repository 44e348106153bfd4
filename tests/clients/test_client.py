"""What the client makes of answers, and what it sends, with threads and with asyncio alike."""

from __future__ import annotations

import asyncio
import inspect
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pytest
from arcade_client import (
    Arcade,
    ArcadeError,
    AsyncArcade,
    AsyncPlan,
    AsyncPool,
    AsyncRun,
    AsyncSandbox,
    AsyncWebhook,
    Changed,
    ConnectionFailed,
    NotFound,
    NotYours,
    Plan,
    Pool,
    PoolEmpty,
    Problem,
    Run,
    RunOver,
    Sandbox,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    WaitedTooLong,
    Webhook,
    calls,
)

from tests.clients.conftest import RUN, MakeClient, Reply, Script, cut, line, problem, reply, stream


@pytest.mark.parametrize(
    ("blocking", "awaited"),
    [
        (Arcade, AsyncArcade),
        (Run, AsyncRun),
        (Pool, AsyncPool),
        (Plan, AsyncPlan),
        (Webhook, AsyncWebhook),
        (Sandbox, AsyncSandbox),
    ],
)
def test_both_clients_have_the_same_methods_with_the_same_arguments(blocking: type, awaited: type):
    def methods(kind: type) -> dict[str, list[str]]:
        found = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(each).parameters) for name, each in found if not name.startswith("_")}

    assert methods(blocking) == methods(awaited)


def test_a_run_has_the_fields_of_the_answer_and_what_is_new_in_raw(client: Any, script: Script):
    script.says(reply(RUN | {"labels": {"team": "a"}, "colour": "green"}, 201))
    run = client.launch("snake")
    assert run.created_at == datetime(2026, 11, 27, 10, tzinfo=UTC)
    assert (run.timings.total_ms, run.timings.restore_ms) == (40, None)
    assert (run.labels, run.raw["colour"]) == ({"team": "a"}, "green")


def test_a_launch_says_how_it_is_to_be_served(client: Any, script: Script):
    script.says(reply(RUN, 201))
    client.launch("snake", on_miss="fail", use_snapshot=False, labels={"team": "a"}, wait=20)
    asked = script.asked[0]
    assert (asked.method, asked.path, asked.headers["prefer"]) == ("POST", "/api/launch", "wait=20")
    assert asked.json == {
        "game": "snake", "mode": "auto", "on_miss": "fail", "use_snapshot": False, "labels": {"team": "a"},
    }  # fmt: skip


ON_THE_WAY = RUN | {"state": "acquiring"}


@pytest.mark.parametrize(("wait", "sent"), [(20, "wait=20"), (2.5, "wait=3"), (0.2, "wait=1"), (30, "wait=30")])
def test_a_launch_waits_for_whole_seconds(client: Any, script: Script, wait: float, sent: str):
    script.says(reply(RUN, 201))
    client.launch("snake", wait=wait)
    assert script.asked[0].headers["prefer"] == sent


def test_a_launch_that_waits_for_nothing_does_not_say_so(client: Any, script: Script):
    script.says(reply(ON_THE_WAY, 201))
    assert client.launch("snake", wait=0).state == "acquiring"
    assert ["prefer" in asked.headers for asked in script.asked] == [False]


def test_a_launch_waits_longer_than_the_server_does_at_once(client: Any, script: Script):
    script.says(reply(ON_THE_WAY | {"token": "run_abc"}, 201), reply(ON_THE_WAY), reply(RUN))
    run = client.launch("snake", wait=1_234_567)
    assert (run.is_running, run.token) == (True, "run_abc")
    assert script.asked[0].headers["prefer"] == "wait=30"
    assert [asked.path.partition("?")[2] for asked in script.asked[1:]] == ["wait_for=running&timeout=25"] * 2
    assert {asked.headers["authorization"] for asked in script.asked[1:]} == {"Bearer run_abc"}


def test_a_launch_whose_time_is_over_tells_how_the_run_stands(client: Any, script: Script):
    script.says(reply(ON_THE_WAY, 201))
    started = client.site.clock()
    assert client.launch("snake", wait=0.3).state == "acquiring"
    assert client.site.clock() - started < 15  # of 30
    script.says(reply(ON_THE_WAY, 201), reply(RUN | {"state": "failed"}))
    assert client.launch("snake", wait=40).state == "failed"


@pytest.mark.parametrize("failure", [cut(), problem(503, retryable=True), problem(404, "no_such_run")])
def test_a_launch_is_told_though_nothing_is_heard_of_it_later(client_of: MakeClient, script: Script, failure: Reply):
    script.says(reply(ON_THE_WAY | {"token": "run_abc"}, 201), failure)
    assert client_of(script.url, timeout=1.0, chance=1.0).launch("snake", wait=2).token == "run_abc"
    assert len(script.asked) >= 2


@pytest.mark.parametrize("wait", [-1, float("inf"), float("nan")])
def test_a_launch_can_not_wait_for_ever(client: Any, script: Script, wait: float):
    script.says(reply(RUN, 201))
    with pytest.raises(ValueError, match="wait"):
        client.launch("snake", wait=wait)
    assert not script.asked


def test_a_run_is_acted_on_with_its_token_and_with_the_key_where_there_is_one(client_of: Any, script: Script):
    script.says(reply(RUN | {"token": "run_abc"}, 201), reply(RUN))
    client_of(script.url).launch("snake").extend().end()
    script.says(reply(RUN | {"token": "run_abc"}, 201), reply(RUN))
    client_of(script.url, key="key_1").launch("snake").end("It hangs.")
    sent = [asked.headers.get("authorization") for asked in script.asked]
    assert sent == [None, "Bearer run_abc", "Bearer run_abc", "Bearer key_1", "Bearer key_1"]
    assert script.asked[-1].json == {"reason": "It hangs."}


def test_no_secret_is_shown_with_what_it_belongs_to(client_of: Any, script: Script):
    script.says(reply(RUN | {"token": "run_abc"}, 201))
    client = client_of(script.url, key="key_secret")
    assert "run_abc" not in repr(client.launch("snake"))
    assert "key_secret" not in repr(client.site)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "key_expired", Unauthorized),
        (403, "not_yours", NotYours),
        (404, "no_such_run", NotFound),
        (412, "changed", Changed),
        (429, "pool_empty", PoolEmpty),
        (418, "teapot", Problem),
    ],
)
def test_a_refusal_has_a_type_and_all_that_was_said(
    client: Any, script: Script, status: int, code: str, kind: type[Problem]
):
    script.says(problem(status, code, retryable=False))
    with pytest.raises(kind) as told:
        client.games()
    found = told.value
    assert (found.status, found.code, found.retryable) == (status, code, False)
    assert (found.detail, found.remedy, found.request_id) == ("It can't be done.", "Do something else.", "order-7")
    assert type(found) is kind


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'"no"', b"", b"\xff"])
def test_a_refusal_that_is_not_the_arcades_own_is_told_by_its_status(client: Any, script: Script, body: bytes):
    script.says(Reply(404, body))
    with pytest.raises(NotFound) as told:
        client.games()
    assert (told.value.code, told.value.retryable) == ("http_404", None)


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'[{"title": "Snake"}]', b'[{"slug": 7, "title": "x"}]', b"[7]"])
def test_an_answer_that_makes_no_sense_is_told_as_such(client: Any, script: Script, body: bytes):
    script.says(Reply(200, body))
    with pytest.raises(UnexpectedAnswer):
        client.games()


def test_an_answer_that_can_not_be_unpacked_is_told_as_such(client: Any, script: Script):
    script.says(Reply(200, b"not packed", {"Content-Encoding": "gzip"}))
    with pytest.raises(UnexpectedAnswer):
        client.games()
    script.says(reply(RUN, 201), Reply(200, b"not packed", {"Content-Encoding": "gzip"}))
    with pytest.raises(UnexpectedAnswer):
        list(client.launch("snake").follow())


def test_the_address_must_be_one():
    for none in ("127.0.0.1:8000", "ftp://arcade.test", "http://", "http://arcade.test:port", "http://[::1"):
        with pytest.raises(ValueError, match=r"."):
            Arcade(none)


def test_the_key_must_be_one():
    with pytest.raises(ValueError, match="characters"):
        Arcade("http://arcade.test", key="key_é")


def test_all_pages_are_read_and_none_before_it_is_wanted(client: Any, script: Script):
    def page(*numbers: int, following: str | None) -> Reply:
        rows = [RUN | {"run_id": str(number)} for number in numbers]
        return reply({"runs": rows, "total": None, "has_more": following is not None, "next_cursor": following})

    script.says(page(1, 2, following="b"), page(following="c"), page(3, following=None))
    rows = client.runs(game="snake", created_after=datetime(2026, 11, 27, tzinfo=UTC))
    assert not script.asked
    assert [next(rows).run_id, next(rows).run_id] == ["1", "2"]
    assert len(script.asked) == 1
    assert [run.run_id for run in rows] == ["3"]
    paths = [asked.path for asked in script.asked]
    assert paths[0] == "/api/runs?game=snake&created_after=2026-11-27T00%3A00%3A00Z&limit=100"
    assert [path.partition("&cursor=")[2] for path in paths] == ["", "b", "c"]


def test_runs_are_found_by_their_labels(client: Any, script: Script):
    script.says(reply({"runs": [], "has_more": False, "next_cursor": None}))
    assert list(client.runs(labels={"team": "red", "ci/job": None})) == []
    assert script.asked[0].path == "/api/runs?label=team%3Ared&label=ci%2Fjob&limit=100"


def test_a_list_that_leads_to_itself_ends(client: Any, script: Script):
    script.says(reply({"runs": [RUN], "has_more": True, "next_cursor": "a"}))
    with pytest.raises(UnexpectedAnswer):
        list(client.runs())


def test_waiting_asks_until_the_run_is_that_far(client: Any, script: Script):
    script.says(reply(RUN | {"state": "acquiring"}, 201), reply(RUN | {"state": "deploying"}), reply(RUN))
    run = client.launch("snake").wait()
    assert run.is_running
    assert "wait_for=running&timeout=25" in script.asked[-1].path


def test_waiting_keeps_the_token(client: Any, script: Script):
    script.says(reply(RUN | {"state": "acquiring", "token": "run_abc"}, 201), reply(RUN))
    assert client.launch("snake").wait().token == "run_abc"


def test_a_run_is_settled_when_it_is_over(client: Any, script: Script):
    script.says(reply(RUN, 201), reply(RUN), reply(RUN | {"state": "ended"}))
    assert client.launch("snake").wait("settled").state == "ended"
    assert "wait_for=settled" in script.asked[-1].path


def test_a_run_says_what_it_waits_for(client: Any, script: Script):
    waits = {"code": "pool", "position": 2, "expected_seconds": 7, "detail": "It is the second in line."}
    script.says(reply(RUN | {"state": "acquiring", "asked_mode": "auto", "waiting_for": waits}, 201))
    run = client.launch("snake")
    assert (run.waiting_for.position, run.waiting_for.expected_seconds) == (2, 7.0)
    assert run.asked_mode == "auto"


def test_a_run_that_is_over_first_is_told(client: Any, script: Script):
    over = RUN | {"state": "failed", "end_code": "deploy_failed", "end_reason": "It did not start."}
    script.says(reply(RUN | {"state": "acquiring"}, 201), reply(over))
    run = client.launch("snake")
    with pytest.raises(RunOver, match="did not start") as told:
        run.wait()
    assert told.value.run.end_code == "deploy_failed"
    assert run.wait("settled").state == "failed"


def test_waiting_ends_in_time(client: Any, script: Script):
    script.says(reply(RUN | {"state": "acquiring"}, 201))
    run = client.launch("snake")
    with pytest.raises(WaitedTooLong) as told:
        run.wait(timeout=0.2)
    assert told.value.run.state == "acquiring"


HEARTBEAT = 'event: heartbeat\ndata: {"kind":"heartbeat"}\n'
DEMO = 'event: log\ndata: {"type":"log","message":"for the first demo"}\n'


def test_following_goes_on_where_it_was_cut_and_gives_each_line_once(client: Any, script: Script):
    half = line(3)[:30]
    script.says(
        reply(RUN, 201),
        stream("retry: 2000\n", HEARTBEAT, DEMO, line(1), line(2), half, is_cut=True),
        cut(),
        problem(503, "unavailable", retryable=True),
        stream(line(2), line(3)),
        stream(line(4, "end", state="ended"), line(5)),
    )
    events = list(client.launch("snake").follow())
    assert [(event.seq, event.kind) for event in events] == [(1, "log"), (2, "log"), (3, "log"), (4, "end")]
    assert [asked.headers.get("last-event-id") for asked in script.asked[1:]] == [None, "2", "2", "2", "3"]


def test_following_may_begin_further_on_and_stop_any_time(client: Any, script: Script):
    script.says(reply(RUN, 201), stream(line(8), line(9)))
    events = client.launch("snake").follow(after=7)
    assert [event.seq for event in islice(events, 2)] == [8, 9]
    events.close()
    assert script.asked[1].headers["last-event-id"] == "7"


@pytest.mark.parametrize(("failure", "kind"), [(problem(404, "no_such_run", retryable=False), NotFound)])
def test_following_what_is_not_there_is_told_at_once(client: Any, script: Script, failure: Reply, kind: type):
    script.says(reply(RUN, 201), failure)
    with pytest.raises(kind):
        list(client.launch("snake").follow())
    assert len(script.asked) == 2


def test_a_stream_that_says_nothing_again_and_again_is_given_up(client_of: Any, script: Script):
    script.says(reply(RUN, 201), stream())
    run = client_of(script.url, timeout=0.4, chance=1.0).launch("snake")
    with pytest.raises(ConnectionFailed):
        list(run.follow())


def test_a_stream_that_falls_silent_is_opened_anew(client: Any, script: Script, monkeypatch: pytest.MonkeyPatch):
    """A connection may be dead without anybody having closed it."""
    monkeypatch.setattr(calls, "SILENCE_SECONDS", 0.3)
    silent = replace(stream(line(1), is_cut=True), held_seconds=30)
    script.says(reply(RUN, 201), silent, stream(line(2, "end", state="ended")))
    assert [event.seq for event in client.launch("snake").follow()] == [1, 2]


def test_following_goes_on_however_long_the_caller_took_with_a_line(client_of: MakeClient, script: Script):
    script.says(reply(RUN, 201), stream(line(1), is_cut=True), cut(), stream(line(2, "end", state="ended")))
    events = client_of(script.url, timeout=2.0).launch("snake").follow()
    assert next(events).seq == 1
    time.sleep(2.2)  # the caller's work
    assert [event.seq for event in events] == [2]


def test_following_goes_on_after_a_silence_longer_than_the_timeout(
    client_of: MakeClient, script: Script, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(calls, "SILENCE_SECONDS", 2.2)
    silent = replace(stream(line(1), is_cut=True), held_seconds=30)
    script.says(reply(RUN, 201), silent, stream(line(2, "end", state="ended")))
    assert [event.seq for event in client_of(script.url, timeout=2.0).launch("snake").follow()] == [1, 2]


def test_reading_pages_and_events_goes_on_however_long_the_caller_took(client_of: MakeClient, script: Script):
    client = client_of(script.url, key="key_1", timeout=2.0)
    page = {"runs": [RUN], "has_more": True, "next_cursor": "b"}
    script.says(reply(page), cut(), reply(page | {"has_more": False, "next_cursor": None}))
    runs = client.runs()
    next(runs)
    time.sleep(2.2)
    assert len(list(runs)) == 1
    script.says(feed(5, after=5), cut(), feed(6, after=6))
    events = client.events(after=4)
    assert next(events).seq == 5
    time.sleep(2.2)
    assert next(events).seq == 6


def test_following_something_else_is_told(client: Any, script: Script):
    script.says(reply(RUN, 201), Reply(301, b"<html>", {"Location": "https://arcade.test/"}))
    with pytest.raises(UnexpectedAnswer, match=r"https://arcade\.test/"):
        list(client.launch("snake").follow())


EVENT = {"type": "run.ended", "code": "time_up", "at": RUN["created_at"], "run_id": RUN["run_id"], "data": {}}


def feed(*numbers: int, after: Any, has_more: bool = False) -> Reply:
    events = [EVENT | {"seq": number, "id": f"evt_{number}"} for number in numbers]
    return reply({"events": events, "after": after, "has_more": has_more})


def test_what_happens_in_the_arcade_is_read_without_gaps(client_of: MakeClient, script: Script):
    gone = problem(404, "not_found", retryable=False)
    pages = [feed(5, 6, after=6), cut(), feed(after=8), feed(after=900, has_more=True), feed(901, after=901), gone]
    script.says(*pages)
    events = client_of(script.url, key="key_1").events(after=4, kind="run")
    assert [next(events).id for _ in range(3)] == ["evt_5", "evt_6", "evt_901"]
    with pytest.raises(NotFound):
        next(events)
    assert [asked.path for asked in script.asked] == [
        f"/api/events?kind=run&after={after}&wait=25" for after in (4, 6, 6, 8, 900, 901)
    ]


@pytest.mark.parametrize("after", [6, 5, None, "6"])
def test_events_that_lead_nowhere_end(client_of: MakeClient, script: Script, after: Any):
    script.says(feed(after=6, has_more=True), feed(after=after, has_more=True))
    with pytest.raises(UnexpectedAnswer):
        next(client_of(script.url, key="key_1").events(after=4))
    assert len(script.asked) == 2


def test_who_has_no_key_asks_for_events_without_being_held(
    client: Any, script: Script, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(calls, "POLL_SECONDS", 0.05)
    script.says(feed(after=4), feed(5, after=5))
    assert next(client.events()).seq == 5
    assert [asked.path for asked in script.asked] == ["/api/events", "/api/events?after=4"]


@pytest.mark.parametrize("status", [301, 302, 304, 307])
def test_nothing_is_done_by_an_answer_that_leads_elsewhere(client: Any, script: Script, status: int):
    script.says(Reply(status, headers={"Location": "https://arcade.test/api/webhooks/w1"}))
    for call in (lambda: client.remove_webhook("w1"), client.games, lambda: client.run("a")):
        with pytest.raises(UnexpectedAnswer, match=rf"{status}.*https://arcade\.test/api/webhooks/w1"):
            call()
    assert len(script.asked) == 3


async def test_a_call_that_is_cancelled_leaves_a_client_that_works(script: Script):
    script.says(reply(RUN, 201), replace(cut(), held_seconds=30), reply(RUN))
    async with AsyncArcade(script.url) as client:
        run = await client.launch("snake")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await run.wait()
        assert (await run.wait()).is_running


def test_threads_share_a_client(script: Script):
    script.says(reply(RUN, 201))
    with Arcade(script.url) as client, ThreadPoolExecutor(8) as threads:
        runs = list(threads.map(client.launch, ["snake"] * 40))
    assert len({asked.headers["idempotency-key"] for asked in script.asked}) == len(runs) == 40


def test_all_errors_have_one_base():
    assert issubclass(ConnectionFailed, ArcadeError)
    assert issubclass(Problem, ArcadeError)
    assert issubclass(NotYours, Problem)
    assert issubclass(Unavailable, Problem)
