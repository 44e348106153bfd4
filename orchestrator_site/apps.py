from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.contrib import admin
from django.contrib.admin import apps as admin_apps
from django.contrib.admin import checks as admin_checks
from django.core import checks
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate, pre_migrate

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


def is_postgresql(using: str = DEFAULT_DB_ALIAS) -> bool:
    """Asked without loading its driver, which takes 9 MiB of each process."""
    return connections[using].vendor == "postgresql"


def limit_for_migrations(using: str = DEFAULT_DB_ALIAS, **_: Any) -> None:
    """Migrations of large tables take longer than any request may."""
    if is_postgresql(using):
        connections[using].limit_for_migrations()  # type: ignore[attr-defined]  # ours


def limit_as_usual(using: str = DEFAULT_DB_ALIAS, **_: Any) -> None:
    if is_postgresql(using):
        connections[using].limit_as_usual()  # type: ignore[attr-defined]  # ours


def check_pages(app_configs: Sequence[AppConfig] | None, **options: Any) -> Sequence[Any]:
    """Django's checks of the admin's classes, which are looked for by then."""
    admin.autodiscover()
    return admin_checks.check_admin_app(app_configs, **options)


class OperatorsConfig(admin_apps.SimpleAdminConfig):
    """Django's admin, whose index begins with what needs attention. Its pages are loaded with the site's addresses: a
    process that serves none of them does without."""

    default_site = "orchestrator_site.admin_site.OperatorsSite"
    default = False

    def ready(self) -> None:
        checks.register(admin_checks.check_dependencies, checks.Tags.admin)
        checks.register(check_pages, checks.Tags.admin)


class SiteConfig(AppConfig):
    default = True
    name = "orchestrator_site"
    verbose_name = "Site"

    def ready(self) -> None:
        from django.contrib.auth.signals import user_logged_in
        from django_q.signals import post_execute, post_execute_in_worker, pre_execute

        from orchestrator_site.cluster import in_hand
        from orchestrator_site.cluster.watchdog import note_recorded, note_taken
        from orchestrator_site.metrics.database import time_statements
        from orchestrator_site.sign_in.term import end_in_time

        if is_postgresql():
            install_clock()
        if settings.METRICS_PORT:
            connection_created.connect(time_statements)
        pre_execute.connect(in_hand.begin)
        pre_execute.connect(note_taken)
        post_execute_in_worker.connect(in_hand.finish)
        post_execute.connect(note_recorded)
        user_logged_in.connect(end_in_time)
        pre_migrate.connect(limit_for_migrations, sender=self)
        post_migrate.connect(limit_as_usual, sender=self)
        post_migrate.connect(ensure_schedules, sender=self)
        # After the last app: only then all the permissions exist.
        post_migrate.connect(ensure_groups, sender=apps.get_app_config("runs"))
