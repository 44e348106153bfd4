"""When a pool may try again after creates that failed."""

from __future__ import annotations

from pools.models import FailureKind
from pools.turn.breaker import breaker_at

from .builders import NOW, seconds


def failures(*ages: float, kind: FailureKind = FailureKind.IMAGE):
    return tuple((NOW - seconds(age), kind) for age in ages)


def test_without_failures_nothing_waits():
    assert breaker_at((), NOW).retry_at is None


def test_delays_grow():
    assert breaker_at(failures(0), NOW).retry_at == NOW + seconds(5)
    assert breaker_at(failures(9, 0), NOW).retry_at == NOW + seconds(10)


def test_the_third_failure_opens_it_and_says_what_failed():
    breaker = breaker_at(failures(30, 20, 0), NOW)
    assert breaker.is_open
    assert breaker.explanation == "breaker open until 12:01:00, 3 image failures"


def test_it_half_opens_for_one_on_trial():
    breaker = breaker_at(failures(90, 80, 61), NOW)
    assert breaker.is_probing
    assert not breaker.is_open


def test_a_failure_on_trial_opens_it_for_longer():
    assert breaker_at(failures(90, 80, 61, 0), NOW).retry_at == NOW + seconds(120)


def test_it_never_stays_open_for_longer_than_half_an_hour():
    assert breaker_at(failures(*range(40, -1, -1)), NOW).retry_at == NOW + seconds(1800)
