"""When a request is sent again: decided without a network, then over real sockets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from arcade_client import ArcadeError, ConnectionFailed, LimitReached, Problem, Unavailable, UnknownGame
from arcade_client.calls import ask
from arcade_client.retries import LONGEST_PAUSE_SECONDS, pause_before_retry
from arcade_client.wire import Answer, Contact, Pause, Send, Site

from tests.clients.conftest import RUN, Reply, Script, cut, problem, reply
from tests.fixtures.waiting import free_port

NOT_SENT, SENT = ConnectionFailed("refused", was_sent=False), ConnectionFailed("cut", was_sent=True)


def refusal(status: int, **fields: Any) -> Problem:
    return Problem(status, "code", "It can't be done.", **fields)


@pytest.mark.parametrize(
    ("failure", "is_repeatable", "is_sent_again"),
    [
        (NOT_SENT, False, True),
        (SENT, False, False),
        (SENT, True, True),
        (refusal(408, retryable=True), False, True),
        (refusal(429, retryable=True, retry_after_seconds=1), False, True),
        (refusal(429, retryable=True), True, False),
        (refusal(503), False, True),
        (refusal(502), True, True),
        (refusal(502), False, False),
        (refusal(504), False, False),
        (refusal(503, retryable=False), True, False),
        (refusal(429, retryable=False, retry_after_seconds=1), True, False),
        (refusal(500), True, False),
        (refusal(409), True, False),
        (ArcadeError("something else"), True, False),
    ],
)
def test_only_what_may_help_and_does_no_harm_is_sent_again(
    failure: ArcadeError, is_repeatable: bool, is_sent_again: bool
):
    pause = pause_before_retry(failure, is_repeatable=is_repeatable, attempt=1, left_seconds=10, chance=0.5)
    assert (pause is not None) is is_sent_again


def test_pauses_are_random_below_a_bound_that_doubles_and_ends():
    def bound(attempt: int) -> float | None:
        return pause_before_retry(NOT_SENT, is_repeatable=True, attempt=attempt, left_seconds=99, chance=1)

    def least(attempt: int) -> float | None:
        return pause_before_retry(NOT_SENT, is_repeatable=True, attempt=attempt, left_seconds=99, chance=0)

    assert [bound(n) for n in (1, 2, 3, 4)] == [0.25, 0.5, 1, 2]
    assert bound(10) == bound(5_000) == LONGEST_PAUSE_SECONDS
    assert least(1) == least(10) == 0


def test_a_pause_is_no_shorter_than_retry_after_and_none_is_made_beyond_the_deadline():
    busy = refusal(429, retryable=True, retry_after_seconds=7)

    def pause(left_seconds: float) -> float | None:
        return pause_before_retry(busy, is_repeatable=True, attempt=1, left_seconds=left_seconds, chance=0.9)

    assert 7 <= (pause(30) or 0) <= 7.25
    assert pause(7) is None


class Clock:
    """A clock that goes on with pauses, and by `answer_seconds` with each answer."""

    def __init__(self, answer_seconds: float = 0) -> None:
        self.now, self.answer_seconds = 0.0, answer_seconds

    def play(self, site: Site, outcomes: Sequence[Answer | ConnectionFailed]) -> tuple[list[float], Answer]:
        """Ask; the pauses that were made, and the answer. The last outcome comes again and again."""
        left, pauses = list(outcomes), []
        call = ask(site, site.request("GET", "/api/games"))
        result: Any = None
        trouble: ConnectionFailed | None = None
        while True:
            try:
                step = call.throw(trouble) if trouble else call.send(result)
            except StopIteration as done:
                return pauses, done.value
            result = trouble = None
            if isinstance(step, Pause):
                pauses.append(step.seconds)
                self.now += step.seconds
            else:
                assert isinstance(step, Send)
                assert step.timeout_seconds == pytest.approx(site.timeout_seconds - self.now)
                self.now += self.answer_seconds
                outcome = left.pop(0) if len(left) > 1 else left[0]
                result, trouble = (None, outcome) if isinstance(outcome, ConnectionFailed) else (outcome, None)


def test_a_call_ends_by_its_deadline_with_the_last_failure_however_long_it_goes_on():
    clock = Clock(answer_seconds=0.5)
    site = Site("http://arcade.test", timeout_seconds=30, clock=lambda: clock.now, chance=lambda: 1.0)
    with pytest.raises(ConnectionFailed, match="cut"):
        clock.play(site, [SENT])
    assert 15 < clock.now <= 30


def test_retry_after_may_be_a_date_by_the_clock_of_who_sent_it():
    clock = Clock()
    site = Site("http://arcade.test", clock=lambda: clock.now, chance=lambda: 0.0)
    headers = {"date": "Fri, 27 Nov 2026 10:00:00 GMT", "retry-after": "Fri, 27 Nov 2026 10:00:04 GMT"}
    pauses, answer = clock.play(site, [Answer(503, headers, b"<html>"), Answer(200, {}, b"[]")])
    assert (pauses, answer.json()) == ([4.0], [])


@pytest.mark.parametrize("header", ["soon", "-1", "", "²", "99 bottles"])
def test_a_retry_after_that_says_nothing_is_passed_over(header: str):
    assert Answer(503, {"retry-after": header}, b"").problem().retry_after_seconds is None


FAILURES = [
    cut(),
    problem(408, retryable=True),
    problem(502),
    problem(503, "unavailable", retryable=True),
    problem(504),
]


@pytest.mark.parametrize("failure", FAILURES, ids=["cut", "408", "502", "503", "504"])
def test_a_launch_that_failed_on_the_way_is_sent_again_with_the_same_key(client: Any, script: Script, failure: Reply):
    script.says(failure, failure, reply(RUN | {"token": "run_abc"}, 201))
    run = client.launch("snake", mode="warm")
    assert (run.run_id, run.token) == (RUN["run_id"], "run_abc")
    keys = [asked.headers["idempotency-key"] for asked in script.asked]
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_each_launch_has_a_key_of_its_own_unless_it_is_given(client: Any, script: Script):
    script.says(reply(RUN, 201))
    for key in (None, None, "order-7"):
        client.launch("snake", idempotency_key=key)
    keys = [asked.headers["idempotency-key"] for asked in script.asked]
    assert len(set(keys)) == 3
    assert keys[2] == "order-7"


def test_a_limit_is_waited_for_as_long_as_the_server_says(client: Any, script: Script):
    script.says(problem(429, "limit_reached", retryable=True, retry_after_seconds=1), reply(RUN, 201))
    started = client.site.clock()
    assert client.launch("snake").is_running
    assert client.site.clock() - started >= 1


def test_a_limit_that_lasts_longer_than_the_deadline_is_told_at_once(client: Any, script: Script):
    script.says(problem(429, "limit_reached", retryable=True, retry_after_seconds=240, limit="MAX_CONCURRENT_WARM"))
    with pytest.raises(LimitReached) as told:
        client.launch("snake")
    assert (told.value.limit, told.value.retry_after_seconds) == ("MAX_CONCURRENT_WARM", 240)
    assert len(script.asked) == 1


def test_what_the_server_says_is_in_vain_is_not_sent_again(client: Any, script: Script):
    script.says(problem(422, "unknown_game", retryable=False))
    with pytest.raises(UnknownGame):
        client.launch("tetris")
    assert len(script.asked) == 1


def test_more_time_is_not_asked_for_twice_when_the_answer_was_lost(client: Any, script: Script):
    script.says(reply(RUN, 201), cut(), reply(RUN))
    run = client.launch("snake")
    with pytest.raises(ConnectionFailed):
        run.extend()
    assert len(script.asked) == 2


def test_who_is_not_there_is_asked_until_the_deadline(client_of: Any):
    client = client_of(f"http://127.0.0.1:{free_port()}", timeout=0.6, chance=1.0)
    started = client.site.clock()
    with pytest.raises(ConnectionFailed, match=client.site.base_url) as told:
        client.games()
    assert not told.value.was_sent
    assert 0.25 <= client.site.clock() - started <= 15


def test_no_secret_of_the_address_is_told_with_it(client_of: Any):
    port = free_port()
    with pytest.raises(ConnectionFailed, match=f"http://127.0.0.1:{port}:") as told:
        client_of(f"http://ada:hunter2@127.0.0.1:{port}", timeout=0.1, chance=1.0).games()
    assert "hunter2" not in str(told.value)


def refused_for(contact: Contact, outcomes: Sequence[Answer | ConnectionFailed]) -> float:
    """After how many seconds a call is given up."""
    clock = Clock()
    site = Site("http://arcade.test", clock=lambda: clock.now, chance=lambda: 1.0, contact=contact)
    with pytest.raises(ConnectionFailed):
        clock.play(site, outcomes)
    return clock.now


def test_who_has_never_answered_may_be_given_up_sooner():
    assert 2 < refused_for(Contact(first_seconds=5), [NOT_SENT]) <= 5
    assert refused_for(Contact(), [NOT_SENT]) > 15
    assert refused_for(Contact(first_seconds=5), [SENT]) > 15  # something listens


def test_who_has_answered_before_is_given_all_the_time_to_come_back():
    contact = Contact(first_seconds=5)
    assert refused_for(contact, [Answer(503, {}, b""), NOT_SENT]) > 15
    assert refused_for(contact, [NOT_SENT]) > 15


def test_an_answer_that_trickles_in_takes_no_longer_than_the_deadline(client_of: Any, script: Script):
    script.says(Reply(200, b"[" + b" " * 1_000, each_seconds=0.05))
    client = client_of(script.url, timeout=0.5, chance=1.0)
    started = client.site.clock()
    with pytest.raises(ConnectionFailed, match="in time"):
        client.games()
    assert client.site.clock() - started < 20  # of 50


def test_nobody_pauses_for_less_than_nothing(client: Any, script: Script):
    script.says(reply({"code": "unavailable", "retryable": True, "retry_after_seconds": -5}, 503), reply([]))
    assert client.games() == []


def test_a_server_that_stays_unwell_is_told_of(client_of: Any, script: Script):
    script.says(problem(503, "unavailable", retryable=True))
    with pytest.raises(Unavailable):
        client_of(script.url, timeout=2.0, chance=1.0).games()
    assert len(script.asked) >= 2
