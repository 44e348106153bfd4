"""The task that takes turns: one goes on while something is in flight, whoever finds it."""

from __future__ import annotations

from threading import Thread

from django.db import connection
from django.utils import timezone

from pools import claims
from pools.models import Fleet, Lease, Pool, Sandbox, State
from pools.tasks import reconcile
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
