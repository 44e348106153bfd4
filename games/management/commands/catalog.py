"""`manage.py catalog`: make the games of the catalog's folders playable."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django_q.tasks import async_task

from games.loading import load_catalog


class Command(BaseCommand):
    help = "Load the catalog's manifests; what is wrong with one is said and keeps no other from being loaded."

    def handle(self, *args: Any, **options: Any) -> None:
        loaded = load_catalog()
        if loaded.added or loaded.changed:
            async_task("games.tasks.build_missing_snapshots", task_name="snapshots", group="snapshots")
        for what, slugs in (("new", loaded.added), ("changed", loaded.changed), ("gone", loaded.gone)):
            for slug in slugs:
                self.stdout.write(f"{what}: {slug}")
        for problem in loaded.problems:
            self.stderr.write(problem)
        if not (loaded.added or loaded.changed or loaded.gone or loaded.problems):
            self.stdout.write(f"{len(loaded.unchanged)} games, nothing new")
