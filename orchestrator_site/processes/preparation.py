"""What must be there before the first process of a version starts."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connections
from django_q.tasks import async_task

from orchestrator_site import logs
from pools.first_pool import first_pool


def prepare_database() -> str:
    """Migrate, load the catalog, make the first pool and the operator; the operator's password if it is new."""
    call_command("migrate", interactive=False, verbosity=0)
    load_catalog()
    first_pool()
    async_task("games.tasks.build_missing_snapshots", task_name="snapshots", group="snapshots")
    password = make_operator()
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    connections.close_all()
    return password


def load_catalog() -> None:
    said = logs.Said("catalog", "INFO") if settings.LOG_FORMAT == logs.JSON else None
    call_command("catalog", verbosity=0, stdout=said)


def make_operator() -> str:
    """A superuser with a random password, which is returned; nothing, and empty, when there is a superuser."""
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists():
        return ""
    password = secrets.token_urlsafe(12)
    users.create_superuser("operator", password=password)
    return password
