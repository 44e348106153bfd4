from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models.signals import post_migrate


def ensure_schedules(using: str = DEFAULT_DB_ALIAS, **_: Any) -> None:
    """Whoever migrates gets the schedules, whatever starts the cluster later."""
    from django_q.models import Schedule

    from orchestrator_site.schedules import ensure

    if Schedule._meta.db_table in connections[using].introspection.table_names():
        ensure()


class SiteConfig(AppConfig):
    name = "orchestrator_site"
    verbose_name = "Site"

    def ready(self) -> None:
        from django_q.signals import post_execute, post_execute_in_worker, pre_execute

        from orchestrator_site.watchdog import note_movement

        for moved in (pre_execute, post_execute_in_worker, post_execute):
            moved.connect(note_movement)
        post_migrate.connect(ensure_schedules, sender=self)
