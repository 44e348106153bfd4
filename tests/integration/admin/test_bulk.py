"""Bulk work on the fleet's page: begun by a press on many, shown with its progress, paused and stopped."""

from __future__ import annotations

import pytest

from games.models import Game
from pools.bulk_rows import BulkState, BulkWork
from pools.models import Pool, Sandbox, State
from tests.integration.admin.conftest import FLEET, Person, log, on_paper, told


@pytest.fixture
def many(db: None, pool: Pool, snake: Game) -> list[str]:
    on_paper(60, pool, snake)
    return [f"sandbox:{pk}" for pk in Sandbox.objects.values_list("pk", flat=True)]


def delete(person: Person, keys: list[str]):
    return person.post(f"{FLEET}delete/", key=keys, confirmed="1", reason="too many")


def test_many_are_deleted_as_bulk_work_that_is_watched_paused_and_stopped(destroyer: Person, many: list[str]):
    answer = delete(destroyer, many)
    work = BulkWork.objects.get()
    assert (work.total, work.waiting, work.actor) == (60, many, destroyer.name)
    assert "force delete of 60 is under way" in told(answer).lower()
    assert set(Sandbox.objects.values_list("state", flat=True)) == {State.IN_USE}, "nothing is done at once"
    page = answer.content.decode()
    assert "0 of 60 gone" in page
    address = f"{FLEET}bulk/?work={work.pk}"
    assert address in page
    assert "Pause</button>" in destroyer.get(address).content.decode()
    destroyer.post(address, act="pause", reason="wait")
    assert "60 wait while it is paused" in destroyer.get(FLEET).content.decode()
    destroyer.post(address, act="stop", reason="it was a mistake")
    work.refresh_from_db()
    assert work.state == BulkState.STOPPED
    assert "stopped already" in told(destroyer.post(address, act="pause", reason="again"))
    assert [message for _, message in log("bulk")] == [
        "force delete of 60 is stopped: 0 of 60 gone, 60 left alone; an operator: it was a mistake",
        "force delete of 60 is paused: 0 of 60 gone, 60 wait while it is paused; an operator: wait",
        "force delete of 60 begins; an operator: too many",
    ]


def test_only_who_may_destroy_pauses_and_stops(operator: Person, destroyer: Person, many: list[str]):
    delete(destroyer, many)
    work = BulkWork.objects.get()
    address = f"{FLEET}bulk/?work={work.pk}"
    assert operator.post(address, act="stop", reason="no").status_code == 403
    assert "Stop</button>" not in operator.get(address).content.decode()
    assert "Pause or stop" not in operator.get(FLEET).content.decode()


def test_a_sweep_of_many_is_bulk_work_too(destroyer: Person, many: list[str]):
    destroyer.post(f"{FLEET}sweep/", typed="local", pause="on", reason="the end")
    work = BulkWork.objects.get()
    assert (work.what, work.total, work.code) == ("sweep", 60, "swept")
