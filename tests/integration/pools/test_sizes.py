"""The recommended size follows from the pool's own launches and creates, and says so in a sentence."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from pools import sizes
from pools.models import Pool, Sandbox
from pools.signals import launches_asked
from pools.sizing.arrivals import drawn

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 8, 12, 30, tzinfo=timezone.get_default_timezone())


class Launches:
    """Launches that were, without runs: as those above tell of them."""

    def __init__(self) -> None:
        self.moments: list[datetime] = []

    def __call__(self, since: datetime, **_: object) -> list[datetime]:
        return [moment for moment in self.moments if moment > since]


@pytest.fixture
def launched():
    launches = Launches()
    launches_asked.connect(launches)
    yield launches
    launches_asked.disconnect(launches)


def a_week(an_hour: float) -> list[datetime]:
    return [NOON - timedelta(days=7) + timedelta(seconds=at) for at in drawn(an_hour, 1, 7, seed=1)]


def made(pool: Pool, seconds: float, at: datetime) -> None:
    Sandbox.objects.create(
        name=f"sandbox-{Sandbox.objects.count():08x}", pool=pool, runtime="python", state="deleted", origin="pool",
        create_code="demand", create_reason="a test", end_code="idle", end_reason="a test",
        requested_at=at, ready_at=at + timedelta(seconds=seconds),
    )  # fmt: skip


def test_nobody_came_so_none_is_needed(pool, launched):
    found = sizes.recommend(pool, NOON)
    assert (found.target_ready, found.reason) == (0, "nobody wanted one in the last 7 days")


def test_the_sentence_tells_of_the_same_hour_of_other_days(pool, launched):
    made(pool, 97, NOON - timedelta(hours=3))
    pool.max_ready, pool.idle_timeout_seconds = 10, 3600
    launched.moments = a_week(60)
    found = sizes.recommend(pool, NOON)
    assert found.target_ready in (5, 6, 7)
    needed = f"needed at most {found.target_ready} within 97 s"
    assert re.fullmatch(rf"[0-9.]+ % of the last (six|seven) afternoons between 12 and 13 h {needed}", found.reason)


def test_more_than_the_pool_may_hold_is_said(pool, launched):
    launched.moments = a_week(240)
    found = sizes.recommend(pool, NOON)
    assert found.target_ready > pool.max_ready
    assert f"max ready raised from {pool.max_ready}" in found.reason


def test_a_surge_is_told_as_one(pool, launched):
    launched.moments = a_week(12)
    sizes.recommend(pool, NOON)
    launched.moments += [NOON + timedelta(seconds=second) for second in range(10)]
    found = sizes.recommend(pool, NOON + timedelta(seconds=10))
    assert found.target_ready > 10
    assert "launches within the last 60 s, more than usual" in found.reason


def test_what_the_idle_timeout_costs_is_said(pool, launched):
    """At twelve an hour one of seven comes more than ten minutes after the one before."""
    launched.moments = a_week(12)
    assert "later than its idle timeout of 600 s" in sizes.recommend(pool, NOON).reason
    pool.min_ready = 4
    assert "idle timeout" not in sizes.recommend(pool, NOON).reason


def test_before_the_first_create_a_usual_time_is_taken_and_named(pool, launched):
    launched.moments = [NOON - timedelta(minutes=5)]
    assert "should take 60 s to make" in sizes.recommend(pool, NOON).reason
    made(pool, 30, NOON - timedelta(minutes=3))
    assert "takes 30 s to make" in sizes.recommend(pool, NOON).reason


def test_what_is_learned_launch_by_launch_is_what_is_learned_at_once(pool, launched):
    """Two processes, of which one was started just now, say the same."""
    launched.moments = []
    for moment in a_week(30):
        launched.moments.append(moment)
        if moment > NOON - timedelta(minutes=20):
            step_by_step = sizes.recommend(pool, NOON)
    sizes.KNOWN.clear()
    assert sizes.recommend(pool, NOON) == step_by_step
