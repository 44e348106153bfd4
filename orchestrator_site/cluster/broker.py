"""Django-Q's database queue without polling: a task starts milliseconds after the commit that asked for it."""

from __future__ import annotations

import logging
import multiprocessing
import os
from typing import Any

from django.db import Error, close_old_connections
from django_q.conf import Conf
from django_q.signing import SignedPackage

from orchestrator_site.cluster import in_hand, reserve
from orchestrator_site.cluster.reserve import Reserve
from orchestrator_site.cluster.signatures import readable
from orchestrator_site.cluster.watchdog import Guard
from pools import clock, stopping
from pools.mailboxes import TASKS, Mailbox, open_mailbox, wake_on_commit
from pools.nudge import TURNS
from pools.task_rows import TaskRows

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.05
LONGEST_SLEEP_SECONDS = 1.0  # a lost wake-up costs no more than this


class LeasedRows(TaskRows):
    """Rows as in Django-Q's ORM broker, fetched for a short time that the guard prolongs."""

    def dequeue(self) -> list[tuple[Any, str]] | None:
        now = clock.now()
        # Ours may have run out while the database was away; the guard renews them.
        due = self.get_connection().filter(key=self.list_key, lock__lt=now).exclude(pk__in=in_hand.ids())
        row = due.order_by("pk").first()
        if row is None:
            return None
        lock = in_hand.lease_from(now)
        if not due.filter(pk=row.pk, lock=row.lock).update(lock=lock):
            return None  # another cluster was faster
        in_hand.note(row.pk, lock, now)
        return [(row.pk, readable(row.payload))]

    def delete(self, task_id: Any) -> None:
        """It is done; one that another cluster has taken meanwhile is that one's to delete."""
        self.get_connection()  # closes one that broke
        in_hand.rows_of(task_id).delete()


class WakingBroker(LeasedRows):
    """Who enqueues wakes the readers, and a reader sleeps until then."""

    _guard: Guard | None = None
    _renewed_at_seconds = 0.0
    _reserve = Reserve(Conf.WORKERS)  # of the one process in the cluster that fetches
    _mailbox: Mailbox | None = None
    _mailbox_pid = 0
    _is_away = False  # the database, as the one who fetches has seen it

    def enqueue(self, task: str) -> Any:
        key = super().enqueue(task)
        wake_on_commit(TASKS, using=Conf.ORM)
        return key

    def dequeue(self) -> list[tuple[Any, str]] | None:
        """The next tasks: of turns first, then others, while a worker besides the reserved one is free. None while
        the database is away, as an error would make Django-Q fetch nothing for ten seconds after it is back; when this
        cluster stops; and while as many wait for a worker as there are workers."""
        if stopping.is_announced() or len(in_hand.not_begun()) >= Conf.WORKERS:
            clock.sleep(LOOK_SECONDS)
            return None
        try:
            mailbox = self.mailbox()  # opened before looking: what is committed after the look still wakes
            tasks = LeasedRows(TURNS).dequeue() or self._dequeue_others()
        except Error as error:
            if not self._is_away:
                logger.warning("No tasks can be fetched: %s", error)
            self._is_away = True
            clock.sleep(LONGEST_SLEEP_SECONDS)
            return None
        self._is_away = False
        if not tasks:
            mailbox.wait(LONGEST_SLEEP_SECONDS)
        return tasks

    def _dequeue_others(self) -> list[tuple[Any, str]] | None:
        rows = self.get_connection().filter(pk__in=in_hand.ids() & set(self._reserve.ids))
        unfinished = set(rows.values_list("pk", flat=True)) if self._reserve.ids else set()
        sample = reserve.last_sample()
        has_room = self._reserve.has_room(unfinished, sample)
        reserve.note_full(is_full=not has_room)
        if not has_room:
            return None
        tasks = super().dequeue()
        self._reserve.add([pk for pk, _ in tasks or ()], sample)
        return tasks

    def acknowledge(self, task_id: Any) -> None:
        try:
            super().acknowledge(task_id)
            wake_on_commit(TASKS, using=Conf.ORM)  # there may be room for one that was left in the queue
        except Error as error:  # the monitor would end of it
            logger.warning("That a task is done could not be noted: %s", error)
            in_hand.note_done(task_id)

    def queue_size(self) -> int:
        """What is due and not left in the queue on purpose."""
        size: int = TaskRows(TURNS).queue_size()
        return size if reserve.is_full() else size + super().queue_size()

    def set_stat(self, _key: str, value: str, _timeout: int) -> None:
        """Called by the guard twice a second, also while the cluster stops; the cache it is meant for is one that no
        other process sees."""
        stat = SignedPackage.loads(value)
        if self._guard is None:
            self._guard = Guard()
        close_old_connections()  # one that broke would stay broken
        in_hand.forget_dead(_living())
        now_seconds = clock.monotonic()
        if now_seconds - self._renewed_at_seconds >= in_hand.RENEW_SECONDS:
            self._renewed_at_seconds = now_seconds
            in_hand.renew(clock.now())
        reserve.note_busy(_busy_workers() + max(0, stat.task_q_size))
        self._guard.look(stat, self.queue_size)

    def mailbox(self) -> Mailbox:
        """This process's own: the cluster makes the broker and then forks those who read with it."""
        if self._mailbox is None or self._mailbox_pid != os.getpid():
            self._mailbox, self._mailbox_pid = open_mailbox(TASKS, using=Conf.ORM), os.getpid()
        return self._mailbox


def _living() -> set[int]:
    """The guard's children. One that was told to end because its task takes too long, and does not even hear it, is
    ended here."""
    children = multiprocessing.active_children()
    for child in children:
        if hasattr(child, "timer") and child.timer.get_obj().value == 0:
            child.kill()
    return {child.pid for child in children if child.pid}


def _busy_workers() -> int:
    """Seen by the guard, whose children the workers are. Without the timer's lock, as the watchdog does it."""
    timers = [child.timer for child in multiprocessing.active_children() if hasattr(child, "timer")]
    return sum(timer.get_obj().value > 0 for timer in timers)
