"""`manage.py healthcheck`: what `python -m orchestrator_site.healthcheck` does, for people; that one starts faster."""

from __future__ import annotations

import os
from typing import Any

from django.core.management import BaseCommand, CommandParser

from orchestrator_site import healthcheck


class Command(BaseCommand):
    help = "Say whether the web server, or the worker, on this machine works; the exit code is 0 or 1."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        healthcheck.add_arguments(parser)

    def handle(self, *_args: Any, role: str | None, ready: bool, **_options: Any) -> None:
        health = healthcheck.check(role or healthcheck.role_of_container(), ready=ready)
        self.stdout.write(health.text)
        self.stdout.flush()
        os._exit(0 if health.is_well else 1)  # a question that hangs is left behind
