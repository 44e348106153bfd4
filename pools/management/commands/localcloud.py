"""The embedded local cloud, on its own: `manage.py localcloud --dir var/localcloud --token …`."""

from __future__ import annotations

import asyncio
import contextlib
from argparse import ArgumentParser, Namespace
from typing import Any

from django.core.management.base import BaseCommand

from pools.localcloud import main


class Command(BaseCommand):
    help = "Serve App Platform's API on this machine, with real sandboxes as processes."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        main.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(main.serve(Namespace(**options)))
