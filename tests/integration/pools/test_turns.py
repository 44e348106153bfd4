"""The task that takes turns: one goes on while something is in flight, whoever finds it."""

from __future__ import annotations

import time
from datetime import datetime
from threading import Thread

import pytest
from django.db import OperationalError, connection
from django.db.models import QuerySet
from django.utils import timezone

from pools import claims, leases
from pools.cloud.app_platform import AppPlatform
from pools.cloud.budget import REQUESTS_PER_HOUR, Share
from pools.cloud.connection import connect
from pools.models import Fleet, FleetEvent, Lease, Pool, Sandbox, State
from pools.shared_budget import counted, exchange
from pools.tasks import reconcile
from pools.turn.facts import FleetFacts
from pools.turn.observe import deaths, observe
from pools.turn.reconciler import turn
from tests.fixtures.waiting import until


def in_a_thread() -> Thread:
    def work() -> None:
        try:
            reconcile()
        finally:
            connection.close()

    thread = Thread(target=work)
    thread.start()
    return thread


def test_who_waits_for_a_far_moment_goes_on_at_once_with_what_another_turn_began(paper_fleet, pool):
    """A launch that needed a place got it 44 s late: its turn sent the delete, and left the rest to the task that was
    asleep until the next lifetime ended."""
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    Pool.objects.update(mode="paused")
    sandbox = paper_fleet.acquire(pool, minutes=0.7)
    waiting = in_a_thread()
    until(lambda: Fleet.get().due_at and Lease.objects.filter(name="turns").exists(), "one waits for its end")
    claims.retire(sandbox.id, "run_over", "the run is over", timezone.now())
    reconcile()
    assert Sandbox.objects.get().state in (State.DELETING, State.DELETED)
    until(lambda: Sandbox.objects.get().state == State.DELETED, "it is gone", seconds=15)
    waiting.join()


def test_a_death_counts_once_and_not_when_an_operator_let_it_go(pool):
    """One that was given up and whose app was deleted as an orphan later counted twice."""
    names = ["sandbox-one", "sandbox-two"]
    now = timezone.now()
    for name in names:
        Sandbox.objects.create(
            name=name, pool=pool, runtime="python", image="i", region="syd", size="s", origin="pool",
            create_code="demand", create_reason="a test", requested_at=now, state=State.DELETED,
            delete_requested_at=now, end_code="lost", end_reason="a test",
        )  # fmt: skip
    FleetEvent.objects.create(
        seq=10_000, at=now, kind="delete", code="grace_over", sandbox_name=names[0], app_id="seen-again"
    )
    assert deaths(Fleet.get(), now) == set(names)
    approved = [str(Sandbox.objects.get(name=names[1]).pk)]
    assert deaths(Fleet(approved=approved), now) == {names[0]}
    assert deaths(Fleet(approved=[*approved, "seen-again"]), now) == {names[0]}


def test_it_ends_when_nothing_is_in_flight(paper_fleet):
    reconcile()
    assert Fleet.get().due_at is None
    assert Fleet.get().turned_at is not None


def test_trouble_with_a_run_keeps_no_turn_from_the_fleet(paper_fleet, monkeypatch):
    def fail(now: object) -> None:
        raise ValueError("a run that nothing is known of")

    monkeypatch.setattr("runs.upkeep.put_right", fail)
    paper_fleet.turn()
    assert Fleet.get().listed_at is not None


def test_a_turn_that_takes_longer_than_its_lease_keeps_it(paper_fleet, monkeypatch):
    """A listing of a minute cost every turn its lease: none ever ended, and nothing was created or deleted."""
    monkeypatch.setattr("pools.turn.reconciler.LEASE_SECONDS", 1.0)
    monkeypatch.setattr("pools.tenure.RENEW_SECONDS", 0.1)
    heard: list[str] = []

    def slowly(cloud: AppPlatform) -> tuple[FleetFacts, datetime]:
        time.sleep(2.5)
        try:
            leases.take("turn", 1.0)
        except leases.LeaseHeld:
            heard.append("held")
        return observe(cloud)

    monkeypatch.setattr("pools.turn.reconciler.observe", slowly)
    turn()
    assert heard == ["held"]
    assert Fleet.get().turned_at is not None


def test_requests_are_counted_by_the_databases_time(paper_fleet, monkeypatch):
    """One machine half an hour ahead heard "slow down for 5 s", and all the others sent nothing for half an hour."""
    ahead = timezone.now()
    with monkeypatch.context() as other_machine, counted() as cloud:
        other_machine.setattr("time.time", lambda: ahead.timestamp() + 1800)
        cloud.budget.obey(5)
    paper_fleet.clock.advance(6)
    with counted() as cloud:
        assert cloud.budget.remaining() > 0


def test_requests_of_a_turn_whose_exchange_failed_are_counted_later(paper_fleet, monkeypatch):
    cloud = connect()
    cloud.budget.spend(40)
    with monkeypatch.context() as full_disk:
        full_disk.setattr(QuerySet, "update", out_of_room)
        with pytest.raises(OperationalError):
            exchange(cloud)
    with counted() as cloud:
        assert cloud.budget.hour_left(Share.CREATING) == REQUESTS_PER_HOUR - 40


def out_of_room(*_: object, **__: object) -> int:
    raise OperationalError("database or disk is full")
