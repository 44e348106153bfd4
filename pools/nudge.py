"""Ask for a turn at once. However many ask before it begins, one is queued."""

from __future__ import annotations

from django_q.tasks import async_task

from pools.models import Fleet


def nudge() -> None:
    """Queue a turn, unless one is queued that has not begun. Inside a transaction it is queued by its commit."""
    if Fleet.objects.filter(pk=1, nudged=False).update(nudged=True):
        async_task("pools.tasks.reconcile", task_name="reconcile", group="reconcile")
