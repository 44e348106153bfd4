"""`manage.py snapshots build [game…]`, `list`, `prune`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from games import snapshots
from games.models import Game, Snapshot


class Command(BaseCommand):
    help = "Build, list or prune the games' snapshots."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["build", "list", "prune"])
        parser.add_argument("games", nargs="*", help="slugs; none means all")
        parser.add_argument("--missing", action="store_true", help="only those whose current source has none")

    def handle(self, *args: Any, action: str, games: list[str], missing: bool, **options: Any) -> None:
        chosen = Game.objects.playable()
        if games:
            chosen = chosen.filter(slug__in=games)
            if unknown := sorted(set(games) - set(chosen.values_list("slug", flat=True))):
                raise CommandError(f"There is no game {unknown[0]!r}.")
        if action == "build":
            self.build(snapshots.missing() if missing else list(chosen))
        elif action == "list":
            for snapshot in Snapshot.objects.filter(game__in=chosen).select_related("game"):
                built = snapshot.built_at or snapshot.started_at
                size = f"{snapshot.size_bytes // 1024} KiB" if snapshot.size_bytes else snapshot.error
                self.stdout.write(f"{snapshot.game.slug} {snapshot.state} {snapshot.sha256[:12]} {built:%F %T} {size}")
        else:
            self.stdout.write(f"{sum(snapshots.prune(game) for game in chosen)} old snapshots deleted")

    def build(self, games: list[Game]) -> None:
        built = {snapshot.game.slug: snapshot for snapshot in snapshots.build(games)}
        for slug, snapshot in built.items():
            self.stdout.write(f"{slug}: {snapshot.sha256} ({snapshot.size_bytes // 1024} KiB)")
        failed = [game for game in games if game.slug not in built]
        for game in failed:
            latest = game.snapshots.first()
            self.stderr.write(f"{game.slug}: {latest.error if latest else 'not built'}")
        if failed:
            raise CommandError(f"Not built: {', '.join(game.slug for game in failed)}")
