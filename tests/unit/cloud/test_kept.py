"""Connections are kept for each address apart, until nobody uses them any more."""

from __future__ import annotations

from itertools import count

import pytest

from pools.cloud import kept
from pools.cloud.kept import KeptPools


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(kept.clock, "monotonic", lambda: now[0])
    return now


def pools(most: int = 10) -> KeptPools[int]:
    return KeptPools(count(1).__next__, idle_seconds=60, most=most)


def use(kept_pools: KeptPools[int], origin: str) -> list[int]:
    _, unused = kept_pools.take(origin)
    kept_pools.give_back(origin)
    return unused


def test_an_address_keeps_its_own(clock: list[float]) -> None:
    found = pools()
    assert [found.take(origin)[0] for origin in ("a", "b", "a")] == [1, 2, 1]


def test_what_nobody_has_used_for_a_while_is_to_be_closed(clock: list[float]) -> None:
    found = pools()
    use(found, "a")
    clock[0] = 61
    assert use(found, "b") == [1]
    assert found.take("a")[0] == 3


def test_what_is_in_use_stays_however_old(clock: list[float]) -> None:
    """A game streams for as long as it is played."""
    found = pools()
    found.take("streaming")
    use(found, "a")
    clock[0] = 100
    assert use(found, "b") == [2]
    assert found.take("streaming")[0] == 1


def test_of_too_many_the_one_that_was_not_used_for_longest_goes(clock: list[float]) -> None:
    found = pools(most=2)
    for at, origin in enumerate(("a", "b", "a")):
        clock[0] = at
        use(found, origin)
    assert use(found, "c") == [2]


def test_when_all_are_in_use_there_are_more_than_usual(clock: list[float]) -> None:
    found = pools(most=1)
    assert [found.take(origin) for origin in ("a", "b", "c")] == [(1, []), (2, []), (3, [])]
