"""Ask for a turn at once. However many ask before it begins, one is queued."""

from __future__ import annotations

from django_q.tasks import async_task

from pools.mailboxes import TASKS, wake_on_commit
from pools.models import Fleet
from pools.task_rows import TaskRows


def nudge(*, is_urgent: bool = True) -> None:
    """Queue a turn, unless one is queued that has not begun. Inside a transaction it is queued by its commit.

    One that is not urgent wakes nobody and begins within a second.
    """
    if Fleet.objects.filter(pk=1, nudged=False).update(nudged=True):
        async_task(
            "pools.tasks.reconcile", task_name="reconcile", group="reconcile", broker=None if is_urgent else TaskRows()
        )
    elif is_urgent:
        wake_on_commit(TASKS)  # the one that is queued may not have been urgent
