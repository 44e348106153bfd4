"""`manage.py snapshots build [game…]`, `list`, `prune`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django_q.tasks import async_task

from games import builds, snapshots
from games.models import Game, Snapshot
from pools.management.shell import unknown


class Command(BaseCommand):
    help = "Build, list or prune the games' snapshots."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["build", "list", "prune"])
        parser.add_argument("games", nargs="*", help="slugs; none means all")
        parser.add_argument("--missing", action="store_true", help="build only those whose current source has none")

    def handle(self, *args: Any, action: str, games: list[str], missing: bool, **options: Any) -> None:
        chosen = list(Game.objects.playable().filter(slug__in=games) if games else Game.objects.playable())
        if strange := sorted(set(games) - {game.slug for game in chosen}):
            raise unknown("game", strange[0], Game.objects.playable().values_list("slug", flat=True))
        if action == "build":
            self.build([game for game in chosen if not missing or game in builds.missing()])
        elif action == "list":
            self.show(chosen)
        else:
            self.stdout.write(f"{sum(snapshots.prune(game) for game in chosen)} old snapshots deleted")

    def show(self, games: list[Game]) -> None:
        for game in games:
            rows = Snapshot.objects.filter(game=game)
            for row in rows:
                at = row.built_at or row.started_at
                size = f"{row.size_bytes / 1024:.0f} KiB" if row.size_bytes else ""
                words = [game.slug, row.state, row.sha256[:12], f"{at:%F %T}", size, row.error]
                self.stdout.write(" ".join(word for word in words if word))
            if not rows:
                self.stdout.write(f"{game.slug} none")

    def build(self, games: list[Game]) -> None:
        failed = []
        for number, game in enumerate(games, start=1):
            self.stdout.write(f"{number} of {len(games)}: {game.slug}")
            try:
                built = builds.build([game], actor="snapshots", first=number, of=len(games))
            except builds.Busy as error:
                raise CommandError(str(error)) from error
            for snapshot in built:
                self.stdout.write(f"{game.slug}: {snapshot.sha256} ({snapshot.size_bytes / 1024:.0f} KiB)")
            if not built:
                latest = game.snapshots.order_by("-started_at").first()
                self.stderr.write(f"{game.slug}: {latest.error if latest else 'not built'}")
                failed.append(game.slug)
        async_task("games.tasks.restage", task_name="restage", group="stage")
        if failed:
            raise CommandError(f"Not built: {', '.join(failed)}")
