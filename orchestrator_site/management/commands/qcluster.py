"""Django-Q's cluster, with what its workers need loaded once: the processes that are forked share it, a third of their
memory."""

from __future__ import annotations

import gc
from contextlib import suppress
from importlib import import_module
from typing import Any

from django.db import DatabaseError, connections
from django_q import cluster
from django_q.management.commands import qcluster

from orchestrator_site.cluster.polite import PoliteCluster, PoliteSentinel
from pools import clock, meters, traces
from pools.cloud import api_transport
from pools.models import Fleet

TASKS = ("pools.tasks", "games.tasks", "runs.tasks", "orchestrator_site.tasks")


class Command(qcluster.Command):  # type: ignore[misc]  # django-q has no types
    def handle(self, *args: Any, **options: Any) -> None:
        for module in TASKS:
            import_module(module)
        api_transport.preload()
        traces.preload()
        meters.begin()
        with suppress(DatabaseError):  # while it is away nobody claims either
            Fleet.note_pause(clock.now())
        connections.close_all()
        gc.collect()
        gc.freeze()  # what is collected is written to, and then no longer shared
        cluster.Sentinel, qcluster.Cluster = PoliteSentinel, PoliteCluster
        super().handle(*args, **options)
