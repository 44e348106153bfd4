"""`manage.py catalog`: make the games of the catalog's folders playable."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from games.loading import load_catalog


class Command(BaseCommand):
    help = "Load the catalog's manifests; what is wrong with one is said and keeps no other from being loaded."

    def handle(self, *args: Any, **options: Any) -> None:
        loaded = load_catalog()
        for what, slugs in (("new", loaded.added), ("changed", loaded.changed)):
            for slug in slugs:
                self.stdout.write(f"{what}: {slug}")
        for problem in loaded.problems:
            self.stderr.write(problem)
        if not loaded.added and not loaded.changed and not loaded.problems:
            self.stdout.write(f"{len(loaded.unchanged)} games, nothing new")
