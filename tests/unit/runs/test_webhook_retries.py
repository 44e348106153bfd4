"""When a delivery that failed is tried again, and when it is given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from runs.webhooks.retries import JITTER, LONGEST_PAUSE, OLDEST, PAUSES_SECONDS, Answer, next_attempt_at

NOW = datetime(2026, 11, 27, 10, tzinfo=UTC)
FAILED = Answer(500, "It answered 500.")


def pause(answer: Answer = FAILED, *, attempts: int = 1, age: timedelta = timedelta(), chance: float = 0.5):
    at = next_attempt_at(answer, attempts=attempts, created_at=NOW - age, chance=chance, now=NOW)
    return None if at is None else (at - NOW).total_seconds()


def test_each_pause_is_longer_and_all_together_are_about_a_day():
    pauses = [pause(attempts=attempts) for attempts in range(1, 11)]
    assert pauses == list(PAUSES_SECONDS) == sorted(PAUSES_SECONDS)
    assert pause(attempts=11) is None
    assert 23 <= sum(PAUSES_SECONDS) / 3600 <= 25


def test_receivers_that_come_back_are_not_asked_by_all_at_once():
    assert pause(attempts=3, chance=0) == pytest.approx(120 * (1 - JITTER))
    assert pause(attempts=3, chance=1) == pytest.approx(120 * (1 + JITTER))


def test_what_is_too_old_is_given_up():
    assert pause(age=OLDEST) is not None
    assert pause(age=OLDEST + timedelta(seconds=1)) is None


def test_a_receiver_that_wants_nothing_more_is_not_asked_again():
    assert pause(Answer(410)) is None


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("90", 90),
        ("1", 5),  # no sooner than we would by ourselves
        ("Fri, 27 Nov 2026 10:02:00 GMT", 120),
        ("Fri, 27 Nov 2026 09:00:00 GMT", 5),
        ("99999999999999", LONGEST_PAUSE.total_seconds()),
        ("-1", 5),
        ("soon", 5),
        ("", 5),
    ],
)
def test_a_receiver_says_when_to_come_again(status: int, said: str, seconds: float):
    assert pause(Answer(status, "", said)) == seconds


def test_others_do_not():
    assert pause(Answer(500, "", "90")) == 5
