"""Django-Q's database queue without polling: a task starts milliseconds after the commit that asked for it."""

from __future__ import annotations

import os
from typing import Any

from django_q.conf import Conf
from django_q.signing import SignedPackage

from orchestrator_site.cluster.watchdog import Guard
from pools.mailboxes import TASKS, Mailbox, open_mailbox, wake_on_commit
from pools.task_rows import TaskRows

LONGEST_SLEEP_SECONDS = 1.0  # a lost wake-up costs no more than this


class WakingBroker(TaskRows):
    """Rows as in Django-Q's ORM broker; who enqueues wakes the readers, and a reader sleeps until then."""

    _guard: Guard | None = None
    _mailbox: Mailbox | None = None
    _mailbox_pid = 0

    def enqueue(self, task: str) -> Any:
        key = super().enqueue(task)
        wake_on_commit(TASKS, using=Conf.ORM)
        return key

    def dequeue(self) -> list[tuple[Any, str]] | None:
        mailbox = self.mailbox()  # opened before looking: what is committed after the look still wakes
        tasks: list[tuple[Any, str]] | None = super().dequeue()
        if not tasks:
            mailbox.wait(LONGEST_SLEEP_SECONDS)
        return tasks

    def set_stat(self, _key: str, value: str, _timeout: int) -> None:
        """Called by the guard twice a second; the cache it is meant for is one that no other process sees."""
        if self._guard is None:
            self._guard = Guard()
        self._guard.look(SignedPackage.loads(value), self.queue_size)

    def mailbox(self) -> Mailbox:
        """This process's own: the cluster makes the broker and then forks those who read with it."""
        if self._mailbox is None or self._mailbox_pid != os.getpid():
            self._mailbox, self._mailbox_pid = open_mailbox(TASKS, using=Conf.ORM), os.getpid()
        return self._mailbox
