"""The embedded local cloud, on its own: `manage.py localcloud`."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from pools.cloud.connection import local_token
from pools.localcloud import main
from pools.localcloud.tokens import write_token


class Command(BaseCommand):
    help = "Serve App Platform's API on this machine, with real sandboxes as processes; by default as `up` starts it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        main.add_arguments(parser, has_defaults=True)
        parser.set_defaults(
            dir=settings.LOCALCLOUD_DIR,
            port=settings.LOCALCLOUD_PORT,
            deploy_seconds=settings.LOCALCLOUD_DEPLOY_SECONDS,
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["token"]:
            write_token(options["dir"], local_token())
        main.run(Namespace(**options))
