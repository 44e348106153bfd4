"""`manage.py sweep`: delete every app with our mark, until none is left. Interrupted, it is simply run again."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from pools import claims, clock, journal
from pools.ages import ago
from pools.cloud.errors import CloudError, RateLimited
from pools.cloud.records import App
from pools.console import operations
from pools.leases import LeaseHeld, LeaseLost
from pools.management.shell import actor
from pools.models import LIVE, Level, Sandbox
from pools.ownership import ours
from pools.reasons import EndCode, LogKind
from pools.shared_budget import counted
from pools.turn.asking import ask_all
from pools.turn.reconciler import turn

REASON = "swept by an operator"
PAUSE_SECONDS = 2.0
LOOKS_WITHOUT_PROGRESS = 60
AT_ONCE = 8


class Command(BaseCommand):
    help = "Delete every app that carries our mark, with the runs in them. Lists them first and asks."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument("--dry-run", action="store_true", help="only list")
        parser.add_argument("--keep-pools", action="store_true", help="do not pause the pools: they may fill again")

    def handle(self, *args: Any, yes: bool, dry_run: bool, keep_pools: bool, **options: Any) -> None:
        apps = self.listed()
        waiting = Sandbox.objects.existing().exclude(app_id__in=[app.id for app in apps]).count()
        now = clock.now()
        for app in apps:
            self.stdout.write(f"{app.name}  {app.id}  {app.phase}  {ago(app.created_at, now)} old")
        more = f", and {waiting} sandboxes of ours without one" if waiting else ""
        self.stdout.write(f"{len(apps)} apps carry the mark {settings.ORCHESTRATOR_ID}{more}.")
        if dry_run or not (apps or waiting):
            return
        if not yes and not self.confirmed():
            raise CommandError("Nothing was deleted.")
        who, reason = actor(), "sweep"
        if not keep_pools:
            for done in operations.pause_all(actor=who, reason=reason):
                self.stdout.write(f"{done}. Resume it with: manage.py pool resume.")
        journal.record(LogKind.SWEEP, f"sweep of {len(apps)} apps", actor=who, level=Level.WARNING)
        try:
            self.retire_all(apps, who)
            self.delete(apps)
            self.close_rows()
        except KeyboardInterrupt:
            raise CommandError("Interrupted. Run it again, and it goes on.", returncode=130) from None

    def confirmed(self) -> bool:
        """Whether somebody types the mark."""
        try:
            return input(f"Type {settings.ORCHESTRATOR_ID} to delete them all: ") == settings.ORCHESTRATOR_ID
        except EOFError:
            return False

    def listed(self) -> list[App]:
        """The apps with our mark, from a complete listing. Raises CommandError."""
        try:
            with counted() as cloud:
                return ours(cloud.apps())
        except CloudError as error:
            raise CommandError(str(error)) from error

    def retire_all(self, apps: Sequence[App], who: str) -> None:
        """First in our own records, so that runs end with a reason and nothing is handed out any more. Apps that no
        sandbox of ours is are noted, too."""
        for sandbox in Sandbox.objects.live():
            claims.retire(sandbox.pk, EndCode.SWEPT, REASON, clock.now(), frm=LIVE, actor=who)
        tracked = set(Sandbox.objects.existing().values_list("name", flat=True))
        for app in apps:
            if app.name not in tracked:
                name, app_id = app.name, app.id
                journal.record(
                    LogKind.DELETE, REASON, code=EndCode.SWEPT, level=Level.WARNING, name=name, app_id=app_id, actor=who
                )

    def delete(self, apps: Sequence[App]) -> None:
        """Ask for each until a listing shows none. Raises CommandError when it goes on without progress."""
        total, fewest, looks = len(apps), len(apps), 0
        while apps:
            self.ask_for(apps)
            try:
                with counted() as cloud:
                    apps = ours(cloud.apps())
            except CloudError as error:
                self.say(f"The cloud can't be listed now: {error}")
            else:
                total = max(total, len(apps))
                self.say(f"{total - len(apps)} of {total} are gone.")
            looks = 0 if len(apps) < fewest else looks + 1
            fewest = min(fewest, len(apps))
            if looks > LOOKS_WITHOUT_PROGRESS:
                raise CommandError(f"{len(apps)} apps do not go away. Run it again later.")
            if apps:
                clock.sleep(PAUSE_SECONDS)

    def ask_for(self, apps: Sequence[App]) -> None:
        """Ask for the deletion of each, as far as the cloud lets us: it may want to be left alone for a while."""
        for start in range(0, len(apps), AT_ONCE):
            with counted() as cloud:
                answers = ask_all(lambda app: cloud.delete(app.id), apps[start : start + AT_ONCE])
            for app, answer in answers:
                if isinstance(answer, RateLimited):
                    self.say(str(answer))
                    return
                self.say(f"{app.name}: {answer if isinstance(answer, Exception) else 'deleted' if answer else 'gone'}")

    def say(self, message: str) -> None:
        """At once, into a pipe or a file, too."""
        self.stdout.write(message)
        self.stdout.flush()

    def close_rows(self) -> None:
        """A turn sees that they are gone; where a cluster runs, its next one does."""
        try:
            turn()
            turn()
        except (LeaseHeld, LeaseLost):
            self.stdout.write("A turn of the cluster closes the records.")
        left = Sandbox.objects.existing().count()
        self.stdout.write(f"Swept. {left} records are still to be closed by the next turns." if left else "Swept.")
