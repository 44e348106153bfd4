"""A list that lags: apps appear in it late and vanish from it late. It must never cost an extra create."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from django.utils import timezone

from pools import claims
from pools.models import FleetEvent, Pool, Sandbox, State

pytestmark = pytest.mark.django_db(transaction=True)
YESTERDAY = {"operation": "list", "stale_seconds": 3600}


def one_ready(fleet, pool) -> Sandbox:
    fleet.acquire(pool)
    fleet.settle()
    return Sandbox.objects.get(state=State.READY)


def listing_of(cloud) -> dict[str, Any]:
    """What the cloud lists now, to be shown again later."""
    answer = httpx.get(
        f"{cloud.url}/v2/apps?page=1&per_page=200", headers={"Authorization": f"Bearer {cloud.token}"}, trust_env=False
    )
    return answer.json()


def test_a_lost_create_is_not_made_again_however_late_listings_show_it(paper_fleet, pool):
    """After half a minute it was given up and replaced, and then there were two. That its name is taken says that it
    exists."""
    paper_fleet.cloud.fault(operation="create", times=1, after=True, status=500)
    stale = paper_fleet.cloud.fault(**YESTERDAY)
    paper_fleet.acquire(pool)
    paper_fleet.turns(60, seconds_apart=5)
    assert paper_fleet.cloud.state()["creates"] == 1
    paper_fleet.cloud.control.clear(stale)
    paper_fleet.settle()
    assert paper_fleet.states() == ["ready"]
    assert paper_fleet.cloud.state()["creates"] == 1


def test_a_create_in_doubt_holds_the_next_until_the_cloud_has_said_what_became_of_it(paper_fleet, pool):
    """No answer of a create arrives, and the list is yesterday's: only its name can tell."""
    lost = paper_fleet.cloud.fault(operation="create", after=True, status=500)
    stale = paper_fleet.cloud.fault(**YESTERDAY)
    paper_fleet.acquire(pool)
    paper_fleet.turns(60, seconds_apart=5)
    assert paper_fleet.cloud.state()["most_apps"] == 1
    assert "may exist" in paper_fleet.log("hold")[0]
    paper_fleet.cloud.control.clear(lost)
    paper_fleet.cloud.control.clear(stale)
    paper_fleet.turns(15, seconds_apart=5)
    assert paper_fleet.states() == ["ready"]
    assert paper_fleet.cloud.state()["most_apps"] == 1


def test_a_create_that_never_took_effect_is_replaced_once_its_name_is_free(paper_fleet, pool):
    paper_fleet.cloud.fault(operation="create", times=3, status=500)
    paper_fleet.acquire(pool)
    paper_fleet.turns(40, seconds_apart=5)
    assert paper_fleet.states() == ["ready"]
    assert paper_fleet.cloud.state()["creates"] == 1
    assert paper_fleet.log("deleted") == ["deleted: " + Sandbox.objects.get(state=State.DELETED).end_reason]


def test_a_deletion_that_failed_is_not_confirmed_by_a_list_that_never_showed_the_app(paper_fleet, pool, settings):
    """Its place was given away, and the cloud held more than it may."""
    settings.MAX_TOTAL_SANDBOXES = 1
    sandbox = one_ready(paper_fleet, pool)
    paper_fleet.cloud.fault(**YESTERDAY)
    fault = paper_fleet.cloud.fault(operation="delete", status=500)
    claims.retire(sandbox.id, "retired", "retired by an operator", timezone.now())
    paper_fleet.turns(20, seconds_apart=5)
    assert paper_fleet.states() == ["deleting"]
    assert paper_fleet.cloud.state()["creates"] == 1
    paper_fleet.cloud.control.clear(fault)
    paper_fleet.acquire(pool)
    paper_fleet.turns(8, seconds_apart=5)
    assert paper_fleet.cloud.state()["creates"] == 2
    assert paper_fleet.cloud.state()["most_apps"] == 1


def test_a_deletion_that_takes_its_time_is_waited_for_though_the_list_does_not_show_the_app(
    paper_fleet, pool, settings
):
    settings.MAX_TOTAL_SANDBOXES = 1
    sandbox = one_ready(paper_fleet, pool)
    paper_fleet.cloud.fault(**YESTERDAY)
    paper_fleet.cloud.fault(operation="delete", linger_seconds=600)
    claims.retire(sandbox.id, "retired", "retired by an operator", timezone.now())
    paper_fleet.acquire(pool)
    paper_fleet.turns(20, seconds_apart=5)
    assert paper_fleet.states() == ["deleting"]
    assert paper_fleet.cloud.state()["creates"] == 1


def test_a_sandbox_that_no_list_shows_becomes_ready_by_the_clouds_own_word(paper_fleet, pool):
    """It was given up as stuck after ten minutes, and replaced."""
    paper_fleet.cloud.control.make_app("web")
    paper_fleet.cloud.fault(operation="list", omit="^sandbox-")
    paper_fleet.acquire(pool)
    paper_fleet.turns(25, seconds_apart=3)
    assert paper_fleet.states() == ["ready"]
    assert paper_fleet.cloud.state()["creates"] == 1


def test_an_app_that_the_list_shows_again_after_its_deletion_is_dealt_with_quietly(paper_fleet, pool):
    """The list of yesterday has it; the cloud says that it is gone. It was told in every turn, for hours."""
    Pool.objects.update(idle_timeout_seconds=100)
    one_ready(paper_fleet, pool)
    yesterday = listing_of(paper_fleet.cloud)
    paper_fleet.clock.advance(101)
    paper_fleet.settle()
    assert paper_fleet.states() == []
    lines = FleetEvent.objects.count()
    paper_fleet.cloud.fault(operation="list", json=yesterday)
    paper_fleet.turns(60, seconds_apart=10)
    assert paper_fleet.cloud.state()["creates"] == 1
    assert FleetEvent.objects.count() - lines <= 20


def test_a_quiet_day_on_yesterdays_list_creates_nothing(paper_fleet, pool):
    one_ready(paper_fleet, pool)
    paper_fleet.clock.advance(700)
    paper_fleet.settle()
    paper_fleet.cloud.fault(**YESTERDAY)
    paper_fleet.turns(100, seconds_apart=60)
    assert paper_fleet.cloud.state()["creates"] == 1
