"""Edits are logged with the old value beside the new, and undone unless somebody has set the field again since."""

from __future__ import annotations

from typing import Any

import pytest

from pools.console import operations
from pools.models import Fleet, FleetEvent, Mode, Pool
from tests.integration.admin.conftest import Person, history, log, told

LOG = "/admin/pools/fleetevent/"
WHY = {"actor": "otto", "reason": "the fair opens"}


def edit(pool: Pool, **fields: Any) -> FleetEvent:
    """An operator's edit; its line."""
    pool.refresh_from_db()
    changes = {name: (getattr(pool, name), value) for name, value in fields.items()}
    for name, value in fields.items():
        setattr(pool, name, value)
    operations.edit_pool(pool, changes, **WHY)
    return newest()


def newest() -> FleetEvent:
    return FleetEvent.objects.order_by("-seq")[0]


def undo(person: Person, event: FleetEvent, reason: str = "too many") -> str:
    return told(person.post(f"{LOG}{event.pk}/undo/", reason=reason))


def test_the_line_of_an_edit_has_the_old_value_beside_the_new_for_people_and_programs(client, pool):
    event = edit(pool, target_ready=2, max_ready=5, autopilot=True)
    assert "target_ready: 1 → 2, max_ready: 2 → 5, autopilot: off → on; an operator: the fair opens" in event.message
    [line] = client.get("/api/orchestrator/logs").json()["events"]
    assert line["data"]["changes"]["max_ready"] == {"old": 2, "new": 5}


def test_a_mode_and_maintenance_are_edits_too(pool):
    operations.set_mode(pool, Mode.PAUSED, **WHY)
    assert newest().data["changes"] == {"mode": {"old": "active", "new": "paused"}}
    Fleet.get()
    operations.set_maintenance(on=True, message="Back at noon.", **WHY)
    assert newest().data["changes"]["maintenance"] == {"old": False, "new": True}


def test_an_undo_shows_what_it_will_set_and_sets_it(operator, pool):
    event = edit(pool, target_ready=2, max_ready=5)
    assert f"{LOG}{event.pk}/undo/" in operator.get(f"{LOG}{event.pk}/change/").content.decode()
    page = " ".join(operator.get(f"{LOG}{event.pk}/undo/").content.decode().split())
    assert '<th scope="row">max_ready</th> <td>5</td> <td>2</td>' in page
    assert f"target_ready: 2 → 1, max_ready: 5 → 2, which undoes line {event.seq}" in undo(operator, event)
    pool.refresh_from_db()
    assert (pool.target_ready, pool.max_ready) == (1, 2)
    assert (newest().data["undoes"], newest().actor) == (event.seq, "otto")
    assert history()[0][1].endswith(f"which undoes line {event.seq}: too many")


def test_an_undo_is_undone(operator, pool):
    undo(operator, edit(pool, target_ready=2))
    undo(operator, newest())
    pool.refresh_from_db()
    assert pool.target_ready == 2


def test_an_undo_is_refused_when_somebody_has_set_the_field_since(operator, pool):
    event = edit(pool, target_ready=2)
    edit(pool, target_ready=0)
    lines = len(log())
    assert "It was changed since: target_ready: 2 → 0" in undo(operator, event)
    pool.refresh_from_db()
    assert (pool.target_ready, len(log())) == (0, lines)


def test_an_undo_is_refused_the_second_time(operator, pool):
    event = edit(pool, target_ready=2)
    undo(operator, event)
    assert "It was changed since" in undo(operator, event)


def test_an_undo_is_refused_when_it_would_not_fit_what_was_set_since(operator, pool):
    event = edit(pool, target_ready=0)
    Pool.objects.update(max_ready=0)
    assert "is more than max ready (0)" in undo(operator, event)
    pool.refresh_from_db()
    assert pool.target_ready == 0


def test_an_undo_is_refused_when_the_pool_is_gone(operator, pool):
    event = edit(pool, target_ready=2)
    Pool.objects.all().delete()
    assert "There is no pool python any more." in undo(operator, event)


def test_a_pause_and_a_maintenance_are_undone(operator, pool):
    operations.set_mode(pool, Mode.PAUSED, **WHY)
    undo(operator, newest())
    pool.refresh_from_db()
    assert pool.mode == Mode.ACTIVE
    Fleet.get()
    operations.set_maintenance(on=True, message="Back at noon.", **WHY)
    undo(operator, newest())
    assert not Fleet.get().maintenance
    assert Fleet.get().maintenance_message == ""


def test_an_undo_says_why_and_takes_the_right_to_act(viewer, operator, pool):
    event = edit(pool, target_ready=2)
    assert viewer.post(f"{LOG}{event.pk}/undo/", reason="too many").status_code == 403
    assert "Undo…" not in viewer.get(f"{LOG}{event.pk}/change/").content.decode()
    assert "This field is required" in operator.post(f"{LOG}{event.pk}/undo/", reason="").content.decode()
    pool.refresh_from_db()
    assert pool.target_ready == 2


@pytest.mark.parametrize("actor", ["", "otto"])
def test_what_is_no_edit_or_the_machines_is_not_undone(actor, operator, pool):
    event = edit(pool, target_ready=2)
    FleetEvent.objects.filter(pk=event.pk).update(actor=actor, data={} if actor else event.data)
    assert "no edit that can be undone" in undo(operator, event)
