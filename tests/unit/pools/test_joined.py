"""What the log says again and again is shown as one line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pools.joined import joined
from pools.models import FleetEvent

TIMES = "\N{MULTIPLICATION SIGN}"
NOW = datetime(2026, 11, 28, 2, tzinfo=UTC)


def line(seconds_ago: float, message: str = "It answered 500.", **fields: str) -> FleetEvent:
    return FleetEvent(at=NOW - timedelta(seconds=seconds_ago), kind="listing", message=message, **fields)


def shown(*newest_first: FleetEvent) -> list[str]:
    """As it is shown, with an x for the sign."""
    return [f"{each.event.message} {each.times}".strip().replace(TIMES, "x") for each in joined(newest_first)]


def test_lines_that_are_alike_are_one_with_how_often_and_for_how_long():
    assert shown(*(line(25 * number) for number in range(12))) == ["It answered 500. x12 in 5 min"]
    assert shown(line(0), line(40)) == ["It answered 500. x2 in 40 s"]
    assert shown(line(0)) == ["It answered 500."]


def test_others_between_them_keep_their_places():
    """Two sandboxes that fail in turns filled the page."""
    lines = [
        line(10 * number, "not deleted yet", sandbox_name=name) for number, name in enumerate(["a", "b"] * 3)
    ]  # fmt: skip
    assert shown(line(0, "a turn"), *lines) == [
        "a turn",
        "not deleted yet x3 in 40 s",
        "not deleted yet x3 in 40 s",
    ]


def test_after_a_pause_it_is_said_anew():
    assert shown(line(0), line(299), line(700), line(710)) == [
        "It answered 500. x2 in 5 min",
        "It answered 500. x2 in 10 s",
    ]


def test_what_a_person_did_twice_is_two_lines():
    assert len(shown(line(0, actor="ada"), line(5, actor="ada"), line(9))) == 3


def test_another_level_or_code_is_another_line():
    assert len(shown(line(0), line(5, level="error"), line(9, code="unavailable"))) == 3
