"""`manage.py adopt`: take over the apps that another installation made under our mark."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from pools import clock
from pools.ages import ago
from pools.console import operations
from pools.management.shell import actor
from pools.models import CloudApp, Fleet
from pools.ownership import anothers, our_mark

LOOK_SECONDS = 30.0


class Command(BaseCommand):
    help = (
        "Take over the apps that carry our mark and are another installation's: after this database was emptied or "
        "restored from a backup. They become orphans, and are deleted after the grace. Lists them first and asks."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument("--dry-run", action="store_true", help="only list")
        parser.add_argument("--why", default="adopted from the command line", help="written to the log")

    def handle(self, *args: Any, yes: bool, dry_run: bool, why: str, **options: Any) -> None:
        try:
            operations.look(LOOK_SECONDS, actor=actor(), reason="adopt")
        except operations.Refused as error:
            raise CommandError(str(error)) from error
        apps = anothers()
        self.show(apps)
        if dry_run or not apps:
            return
        if not yes and not self.confirmed():
            raise CommandError("Nothing was adopted.")
        try:
            self.stdout.write(f"{operations.adopt([app.app_id for app in apps], actor=actor(), reason=why)}.")
        except operations.Refused as error:
            raise CommandError(str(error)) from error

    def show(self, apps: list[CloudApp]) -> None:
        """Say what there is, whose it is, and what will become of it."""
        now, mark = clock.now(), our_mark(Fleet.get())
        for app in apps:
            whose = f"installation {app.installation}"
            if app.installation == mark.installation:
                whose = "made by a copy of this database"
            age = ago(app.app_created_at, now)
            self.stdout.write(f"{app.name}  {app.app_id}  {app.phase}  {age} old  {whose}")
        self.stdout.write(
            f"{len(apps)} apps carry the mark {settings.ORCHESTRATOR_ID} and are not of this database, "
            f"installation {mark.installation}."
        )
        if apps:
            self.stdout.write(
                "Adopted, they become orphans of ours: they and the games in them are deleted after "
                f"{settings.ORPHAN_GRACE_SECONDS} s. If another orchestrator still uses them, stop it first, or give "
                "it an ORCHESTRATOR_ID of its own instead."
            )

    def confirmed(self) -> bool:
        """Whether somebody types the mark."""
        try:
            return input(f"Type {settings.ORCHESTRATOR_ID} to adopt them all: ") == settings.ORCHESTRATOR_ID
        except EOFError:
            return False
