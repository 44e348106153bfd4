"""`manage.py move_database DATABASE_URL`: the whole installation from SQLite to PostgreSQL, while it runs."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from orchestrator_site.moving.move import Closed, move
from orchestrator_site.moving.rows import Refused
from pools import clock


class Command(BaseCommand):
    help = "Move everything from the SQLite file to an empty PostgreSQL database. The file takes no writes afterwards."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", metavar="DATABASE_URL", help="postgres://user:password@host:5432/name")
        parser.add_argument("--dry-run", action="store_true", help="say what would be moved, and change nothing")

    def handle(self, *_args: Any, target: str, dry_run: bool, **_options: Any) -> None:
        try:
            move(target, clock.now(), self.say, dry_run=dry_run)
        except Refused as error:
            raise CommandError(f"{error} Nothing was moved.") from error.__cause__
        except Closed as error:
            raise CommandError(str(error)) from error.__cause__
        except KeyboardInterrupt:
            raise CommandError("Interrupted. Nothing was moved.", returncode=130) from None
        if dry_run:
            self.say("Nothing was moved: this was a dry run.")
        else:
            self.say("Moved. Set DATABASE_URL for every process, and start them again.")

    def say(self, line: str) -> None:
        """At once, into a pipe or a file, too."""
        self.stdout.write(line)
        self.stdout.flush()
