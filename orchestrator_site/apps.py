from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps
from django.contrib.admin import apps as admin_apps
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models.signals import post_migrate, pre_migrate

from orchestrator_site.postgresql.base import DatabaseWrapper
from orchestrator_site.postgresql.clock import install as install_clock


def ensure_schedules(using: str = DEFAULT_DB_ALIAS, **_: Any) -> None:
    """Whoever migrates gets the schedules, whatever starts the cluster later."""
    from django_q.models import Schedule

    from orchestrator_site.cluster.schedules import ensure

    if Schedule._meta.db_table in connections[using].introspection.table_names():
        ensure()


def ensure_groups(**_: Any) -> None:
    """Whoever migrates gets the groups of operators, too."""
    from orchestrator_site.operator_groups import ensure

    ensure()


def limit_for_migrations(using: str = DEFAULT_DB_ALIAS, **_: Any) -> None:
    """Migrations of large tables take longer than any request may."""
    connection = connections[using]
    if isinstance(connection, DatabaseWrapper):
        connection.limit_for_migrations()


def limit_as_usual(using: str = DEFAULT_DB_ALIAS, **_: Any) -> None:
    connection = connections[using]
    if isinstance(connection, DatabaseWrapper):
        connection.limit_as_usual()


class OperatorsConfig(admin_apps.AdminConfig):
    """Django's admin, whose index begins with what needs attention."""

    default_site = "orchestrator_site.admin_site.OperatorsSite"
    default = False


class SiteConfig(AppConfig):
    default = True
    name = "orchestrator_site"
    verbose_name = "Site"

    def ready(self) -> None:
        from django.contrib.auth.signals import user_logged_in
        from django_q.signals import post_execute, pre_execute

        from orchestrator_site.cluster.watchdog import note_recorded, note_taken
        from orchestrator_site.sign_in.term import end_in_time

        if isinstance(connections[DEFAULT_DB_ALIAS], DatabaseWrapper):
            install_clock()
        pre_execute.connect(note_taken)
        post_execute.connect(note_recorded)
        user_logged_in.connect(end_in_time)
        pre_migrate.connect(limit_for_migrations, sender=self)
        post_migrate.connect(limit_as_usual, sender=self)
        post_migrate.connect(ensure_schedules, sender=self)
        # After the last app: only then all the permissions exist.
        post_migrate.connect(ensure_groups, sender=apps.get_app_config("runs"))
