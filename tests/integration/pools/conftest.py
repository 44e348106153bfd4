"""The reconciler against a real local cloud over HTTP, one turn at a time, with a clock that a test can move."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from pools.models import Fleet, FleetEvent, Pool, Sandbox, State
from pools.turn.reconciler import Turn, turn
from tests.fixtures.local_cloud import LocalCloudProcess


class Clock:
    """The product's time: real, plus what a test has let pass."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self._now = timezone.now

    def now(self) -> datetime:
        return self._now() + self.ahead

    def advance(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timezone, "now", clock.now)
    return clock


class FleetUnderTest:
    """The database beside the cloud: take turns, ask what is there and what was said."""

    def __init__(self, cloud: LocalCloudProcess, clock: Clock) -> None:
        self.cloud, self.clock = cloud, clock

    def turn(self) -> Turn:
        return turn()

    def turns(self, count: int, seconds_apart: float = 1.0) -> None:
        """So many turns, with that much time between them."""
        for _ in range(count):
            turn()
            self.clock.advance(seconds_apart)

    def settle(self, most_turns: int = 60, seconds_apart: float = 2.0) -> None:
        """Turns until a turn finds nothing more to do soon."""
        for _ in range(most_turns):
            if turn().due_in_seconds is None:
                return
            self.clock.advance(seconds_apart)
        raise AssertionError(f"not settled after {most_turns} turns: {self.log()[:10]}")

    def states(self) -> list[str]:
        return sorted(Sandbox.objects.exclude(state=State.DELETED).values_list("state", flat=True))

    def log(self, kind: str = "") -> list[str]:
        """What the orchestrator log says, newest first."""
        events = FleetEvent.objects.filter(kind=kind) if kind else FleetEvent.objects.all()
        return list(events.values_list("message", flat=True))

    def acquire(self, pool: Pool, minutes: float = 5) -> Sandbox | None:
        """Demand, as a launch makes it."""
        from django.db import transaction

        from pools import claims
        from pools.demand import note_demand

        now = timezone.now()
        with transaction.atomic():
            note_demand(pool, "run 3fa9", now)
            return claims.claim(pool, by="run 3fa9", expires_at=now + timedelta(minutes=minutes), now=now)


@pytest.fixture
def paper_fleet(transactional_db, settings, paper_cloud: LocalCloudProcess, clock: Clock) -> Iterator[FleetUnderTest]:
    """A fleet on paper: apps that are active at once, without processes."""
    yield from _fleet(settings, paper_cloud, clock)


@pytest.fixture
def real_fleet(transactional_db, settings, local_cloud: LocalCloudProcess, clock: Clock) -> Iterator[FleetUnderTest]:
    """A fleet with real sandboxes."""
    yield from _fleet(settings, local_cloud, clock)


def _fleet(settings, cloud: LocalCloudProcess, clock: Clock) -> Iterator[FleetUnderTest]:
    settings.CLOUD_IS_EMBEDDED = False
    settings.DIGITALOCEAN_TOKEN = cloud.token
    settings.DIGITALOCEAN_API_URL = cloud.url
    settings.MAX_TOTAL_SANDBOXES = 10
    settings.CLOUD_REQUESTS_PER_MINUTE = 5000
    Fleet.get()
    yield FleetUnderTest(cloud, clock)


@pytest.fixture
def pool(transactional_db) -> Pool:
    """A Python pool of one, nobody has asked yet."""
    return Pool.objects.create(
        name="python",
        runtime="python",
        image="bikramkgupta/sandbox-python-service:latest",
        region="syd",
        size="apps-s-1vcpu-1gb",
        stage="none",
    )
