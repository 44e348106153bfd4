"""Ask for a turn at once. However many ask before it begins, one is queued."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django_q.tasks import async_task

from pools.mailboxes import TASKS, wake_on_commit
from pools.task_rows import TaskRows

TURNS = "turns"  # the queue of tasks that no install keeps waiting: one worker of each cluster is for it alone


def nudge(*, is_urgent: bool = True) -> None:
    """Queue a turn, unless one is queued that has not begun. Inside a transaction it is queued by its commit.

    One that is not urgent wakes nobody, begins within a second, and waits for nobody who has the fleet's row.
    """
    if _is_first(waits=is_urgent):
        how: dict[str, Any] = {"cluster": TURNS} if is_urgent else {"broker": TaskRows(TURNS)}
        async_task("pools.tasks.reconcile", task_name="reconcile", group="reconcile", **how)
    elif is_urgent:
        wake_on_commit(TASKS)  # the one that is queued may not have been urgent


def _is_first(*, waits: bool) -> bool:
    can_skip = not waits and connection.features.has_select_for_update_skip_locked
    skips = "FOR NO KEY UPDATE SKIP LOCKED" if can_skip else ""
    with connection.cursor() as cursor:  # a launch waits for it
        cursor.execute(
            "UPDATE pools_fleet SET nudged = %s "  # noqa: S608
            f"WHERE id = (SELECT id FROM pools_fleet WHERE id = 1 AND nudged = %s {skips})",
            [True, False],
        )
        return bool(cursor.rowcount)
