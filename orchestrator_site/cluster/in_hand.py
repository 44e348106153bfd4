"""The tasks that this cluster has in hand. Their rows are leased for seconds and renewed while the cluster lives, so
what a cluster had that died, froze or was cut off is due again soon, for whichever cluster comes first.

Who fetches notes the row here, in memory that it shares with the guard, who renews it until it is gone: also while the
cluster stops and its workers finish. A row's lock is its fencing token. Whoever finds another one there than this
cluster wrote has lost the row, and leaves it alone: also one that was frozen and has done what it had, while its
successor is at it. The tasks themselves are fenced by what they work on, so it harms nobody when two go on for a while.

A cluster that stops gives back at once what none of its workers has begun. What a worker had that died is due again
when its lease has run out.
"""

from __future__ import annotations

import logging
import mmap
import os
from collections.abc import Collection
from ctypes import Structure, c_int64, sizeof
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import Error
from django.db.models import QuerySet
from django_q.conf import Conf
from django_q.models import OrmQ

from pools import clock, stopping
from pools.leases import LONG_AGO
from pools.mailboxes import TASKS, wake_on_commit

logger = logging.getLogger(__name__)

# When it runs out, the leases that the task held ("turn", "turns") have, too: they are shorter than what is left here.
LEASE_SECONDS = 7.0
RENEW_SECONDS = 1.5
LONGEST = timedelta(seconds=Conf.RETRY)  # a task whose result was lost is due again after that
SLOTS = 150  # more than a cluster's workers and their queue
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class _Slot(Structure):
    """`id` is written last by who fetches, and set to 0 by the guard alone; `begun` is the same id once a worker has
    begun it: so no lock is needed, which a process that is killed would take along."""

    _fields_ = tuple(
        (name, c_int64) for name in ("id", "lock_us", "next_lock_us", "fetched_us", "begun", "worker", "is_done")
    )


_shared = mmap.mmap(-1, SLOTS * sizeof(_Slot))  # with the processes that are forked from this one
_slots = (_Slot * SLOTS).from_buffer(_shared)


def lease_from(now: datetime) -> datetime:
    """The lock of a row that is fetched or renewed now."""
    return now + timedelta(seconds=LEASE_SECONDS)


def note(row_id: int, lock: datetime, now: datetime) -> None:
    """This cluster has fetched that row, by writing that lock."""
    for slot in _slots:
        if not slot.id:
            slot.lock_us = slot.next_lock_us = _as_microseconds(lock)
            slot.fetched_us = _as_microseconds(now)
            slot.begun = slot.worker = slot.is_done = 0
            slot.id = row_id
            return


def begin(task: dict[str, Any], **_: Any) -> None:
    """A worker is about to do a task. One of a cluster that stops ends instead: never more wait than there are workers,
    so none is left in the way of Django-Q's word that workers are to end. So does one, and is made anew, when another
    cluster may have the row by now, as after a freeze."""
    row_id = task.get("ack_id", 0)
    slot = next((slot for slot in _slots if slot.id == row_id), None)
    if slot is not None:
        slot.begun = row_id  # first, so that nobody gives it back while we look
        slot.worker = os.getpid()
    if stopping.is_announced():
        if slot is not None:
            slot.begun = 0
        raise SystemExit
    if row_id and _is_lost(slot):
        logger.warning("A task was not begun: another cluster has it.")
        raise SystemExit


def _is_lost(slot: _Slot | None) -> bool:
    """Whether others may have the row. A database that does not answer settles nothing."""
    try:
        return slot is None or not _row(slot).filter(lock__gt=clock.now()).exists()
    except Error as error:
        logger.warning("Whose a task is can't be asked: %s", error)
        return False


def finish(task: dict[str, Any], **_: Any) -> None:
    """A worker has done a task, and tells so next."""
    for slot in _slots:
        if slot.id == task.get("ack_id", 0):
            slot.worker = 0


def forget_dead(living: Collection[int]) -> None:
    """What a worker had that died in the middle of it is renewed no more. It is due again when its lease has run out;
    by then those that the task itself held have, too."""
    for slot in _slots:
        if slot.id and slot.begun == slot.id and slot.worker and slot.worker not in living:
            slot.id = 0


def not_begun() -> set[int]:
    """The rows that this cluster has and that no worker has begun."""
    return {slot.id for slot in _slots if slot.id and slot.begun != slot.id}


def give_back() -> None:
    """What no worker has begun is due at once, for other clusters."""
    for slot in _slots:
        if slot.id and slot.begun != slot.id:
            _row(slot).update(lock=LONG_AGO)
            slot.id = 0
            wake_on_commit(TASKS, using=Conf.ORM)


def ids() -> set[int]:
    """The rows that this cluster has and that no other has taken from it, as far as it knows."""
    return {slot.id for slot in _slots if slot.id}


def rows_of(row_id: int) -> QuerySet[OrmQ]:
    """That row while it is this cluster's; none when another one has it."""
    for slot in _slots:
        if slot.id == row_id:
            return _row(slot)
    nothing: QuerySet[OrmQ] = OrmQ.objects.none()
    return nothing


def note_done(row_id: int) -> None:
    """The task is done, and the database could not be told: the guard deletes its row, in place of renewing it."""
    for slot in _slots:
        if slot.id == row_id:
            slot.is_done = 1


def renew(now: datetime) -> None:
    """Keep what is still ours for another term, also what ran out while nobody else took it; forget what is not."""
    lock = lease_from(now)
    for slot in _slots:
        if not slot.id:
            continue
        if slot.is_done:
            _row(slot).delete()
            slot.id = 0
            continue
        if slot.lock_us != slot.next_lock_us:  # the last time's answer was lost
            written = _row(slot).values_list("lock", flat=True).first()
            slot.lock_us = _as_microseconds(written) if written else 0
        slot.next_lock_us = _as_microseconds(lock)
        mine = OrmQ.objects.using(Conf.ORM).filter(pk=slot.id, lock=_as_moment(slot.lock_us))
        if _is_young(slot, now) and mine.update(lock=lock):
            slot.lock_us = slot.next_lock_us
        else:
            slot.id = 0


def _row(slot: _Slot) -> QuerySet[OrmQ]:
    """Under either lock: the guard may be about to write the next."""
    locks = [_as_moment(slot.lock_us), _as_moment(slot.next_lock_us)]
    rows: QuerySet[OrmQ] = OrmQ.objects.using(Conf.ORM).filter(pk=slot.id, lock__in=locks)
    return rows


def _is_young(slot: _Slot, now: datetime) -> bool:
    """Also when the clock was set back since."""
    return _as_microseconds(now) - int(slot.fetched_us) < LONGEST // MICROSECOND


def _as_microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND


def _as_moment(microseconds: int) -> datetime:
    return EPOCH + microseconds * MICROSECOND
