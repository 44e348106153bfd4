"""The tasks that a cluster has in hand: kept while it lives, due again soon when it does not."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ

from orchestrator_site.cluster import in_hand
from orchestrator_site.cluster.broker import LeasedRows, WakingBroker
from pools.task_rows import TaskRows
from pools.turn import reconciler

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the one cluster."""
    as_another_cluster(monkeypatch)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> datetime:
    now = timezone.now()
    at(now, monkeypatch)
    return now


def at(moment: datetime, monkeypatch: pytest.MonkeyPatch) -> datetime:
    monkeypatch.setattr(timezone, "now", lambda: moment)
    return moment


def as_another_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_hand, "_slots", (in_hand._Slot * in_hand.SLOTS)())


def unreachable(*_: object) -> None:
    raise OperationalError("the server closed the connection")


def fetched() -> int:
    TaskRows("orchestrator").enqueue("payload")
    (row_id,) = fetched_by_it()
    return row_id


def fetched_by_it() -> list[int]:
    return [pk for pk, _ in LeasedRows("orchestrator").dequeue() or ()]


def test_what_a_cluster_had_that_died_is_due_again_within_ten_seconds(now, monkeypatch):
    """It was due again after ten minutes."""
    row_id = fetched()
    in_hand.renew(at(now + timedelta(seconds=300), monkeypatch))  # its last sign of life
    as_another_cluster(monkeypatch)
    at(now + timedelta(seconds=300 + in_hand.LEASE_SECONDS - 0.1), monkeypatch)
    assert not fetched_by_it(), "not before"
    at(now + timedelta(seconds=309), monkeypatch)
    assert fetched_by_it() == [row_id]


def test_one_that_was_frozen_takes_nothing_back_from_its_successor(now, monkeypatch):
    row_id = fetched()
    frozen = in_hand._slots
    as_another_cluster(monkeypatch)
    taken_at = at(now + timedelta(seconds=8), monkeypatch)
    assert fetched_by_it() == [row_id]
    monkeypatch.setattr(in_hand, "_slots", frozen)
    LeasedRows("orchestrator").acknowledge(row_id)  # it has done it, but its successor is at it
    in_hand.renew(at(now + timedelta(seconds=9), monkeypatch))
    assert OrmQ.objects.get().lock == in_hand.lease_from(taken_at), "the successor's"
    assert not in_hand.ids()


@pytest.mark.parametrize("seconds", [2, 8])
def test_a_worker_begins_nothing_that_another_cluster_has_or_may_take(now, monkeypatch, seconds):
    """A cluster was frozen, and its workers went on before its guard had looked: both clusters did the task."""
    row_id = fetched()
    in_hand.begin({"ack_id": row_id})
    at(now + timedelta(seconds=seconds), monkeypatch)
    if seconds < in_hand.LEASE_SECONDS:
        OrmQ.objects.update(lock=in_hand.lease_from(now + timedelta(seconds=1)))
    with pytest.raises(SystemExit):
        in_hand.begin({"ack_id": row_id})


def test_a_worker_begins_nothing_that_its_guard_has_given_up(now, monkeypatch):
    row_id = fetched()
    as_another_cluster(monkeypatch)
    with pytest.raises(SystemExit):
        in_hand.begin({"ack_id": row_id})


def test_a_task_that_no_cluster_fetched_is_begun(now):
    in_hand.begin({})


def test_what_ran_out_while_the_database_was_away_is_kept_when_nobody_else_took_it(now, monkeypatch):
    row_id = fetched()
    at(now + timedelta(seconds=60), monkeypatch)
    assert not fetched_by_it(), "its own cluster is still at it"
    in_hand.renew(timezone.now())
    as_another_cluster(monkeypatch)
    assert not fetched_by_it()
    assert OrmQ.objects.get().pk == row_id


def test_what_is_done_while_the_database_is_away_is_not_done_again(now, monkeypatch):
    """The process that notes results ended of it, and the task was done again ten minutes later."""
    row_id = fetched()
    with monkeypatch.context() as away:
        away.setattr(LeasedRows, "delete", unreachable)
        WakingBroker("orchestrator").acknowledge(row_id)
    assert OrmQ.objects.exists()
    in_hand.renew(now)
    assert not OrmQ.objects.exists()
    assert not in_hand.ids()


def test_what_is_done_is_in_nobodys_hand(now):
    row_id = fetched()
    LeasedRows("orchestrator").acknowledge(row_id)
    assert not OrmQ.objects.exists()
    in_hand.renew(now)
    assert not in_hand.ids()


@pytest.mark.parametrize("is_written", [True, False])
def test_a_renewal_whose_answer_was_lost_loses_no_row(now, is_written):
    """The database went in the middle of it: the row holds the former lock, or the new one."""
    row_id = fetched()
    former, lock = in_hand.lease_from(now), in_hand.lease_from(now + timedelta(seconds=2))
    (slot,) = [slot for slot in in_hand._slots if slot.id == row_id]
    slot.next_lock_us = in_hand._as_microseconds(lock)
    OrmQ.objects.update(lock=lock if is_written else former)
    in_hand.renew(now + timedelta(seconds=4))
    assert in_hand.ids() == {row_id}
    LeasedRows("orchestrator").acknowledge(row_id)
    assert not OrmQ.objects.exists()


def test_a_task_whose_worker_was_killed_is_not_kept_for_ever(now, monkeypatch):
    fetched()
    in_hand.renew(at(now + timedelta(seconds=Conf.RETRY + 1), monkeypatch))
    assert not in_hand.ids()


def test_the_leases_of_turns_have_run_out_when_their_task_is_due_again():
    """Else who fetches it finds them held, and takes one turn only."""
    assert in_hand.LEASE_SECONDS - in_hand.RENEW_SECONDS > reconciler.LEASE_SECONDS
