"""Django-Q's rows of tasks, due whatever a clock says."""

from __future__ import annotations

from typing import Any

from django_q.brokers.orm import ORM
from django_q.conf import Conf

from pools.leases import LONG_AGO


class TaskRows(ORM):  # type: ignore[misc]  # django-q has no types
    def enqueue(self, task: str) -> Any:
        """Due at once, also when the clock is set back before somebody fetches it."""
        row = self.get_connection().create(key=self.list_key or Conf.CLUSTER_NAME, payload=task, lock=LONG_AGO)
        return row.pk
