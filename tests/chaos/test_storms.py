"""Random storms against the invariants: a few in `make test`, many in `make chaos`."""

from __future__ import annotations

import os
import time

import pytest

from tests.chaos.driver import Storm
from tests.fixtures.fleet import FleetUnderTest

pytestmark = [pytest.mark.django_db(transaction=True)]
SEEDS = [int(seed) for seed in os.environ.get("CHAOS_SEEDS", "1,2,3").split(",")]


def storm(fleet: FleetUnderTest, seed: int) -> None:
    storm = Storm(fleet, seed)
    try:
        storm.blow()
    except AssertionError as error:
        story = "\n".join(storm.said[-40:])
        raise AssertionError(f"{error}\n{story}\n\nReplay: CHAOS_SEEDS={seed} make test TESTS=tests/chaos") from error


@pytest.mark.parametrize("seed", SEEDS)
def test_the_invariants_hold_through_a_storm(paper_fleet, pool, seed) -> None:
    storm(paper_fleet, seed)


@pytest.mark.chaos
@pytest.mark.timeout(4000)
def test_the_invariants_hold_through_many_storms(paper_fleet, pool) -> None:
    from pools.models import Pool, Sandbox

    until = time.monotonic() + float(os.environ.get("CHAOS_MINUTES", "10")) * 60
    seed = int(os.environ.get("CHAOS_FIRST_SEED", "1000"))
    while time.monotonic() < until:
        paper_fleet.cloud.control.reset()
        Sandbox.objects.all().delete()
        Pool.objects.update(last_acquired_at=None, target_ready=1, max_ready=2, min_ready=0, mode="active")
        storm(paper_fleet, seed)
        seed += 1
