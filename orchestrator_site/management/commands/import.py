"""`manage.py import FILE`: take what `manage.py export` wrote into this database, all of it or nothing."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from orchestrator_site.exports.file import Unreadable, opened
from orchestrator_site.exports.importing import import_file
from pools.management.progress import progress
from pools.management.shell import actor


class Command(BaseCommand):
    help = "Take an export into this database. What is there already stays as it is."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="what `manage.py export` wrote; - is the input")
        parser.add_argument("--replace", action="store_true", help="what is there and differs becomes as in the file")
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")

    def handle(self, *_args: Any, file: str, replace: bool, dry_run: bool, **_options: Any) -> None:
        try:
            with opened(file) as opened_file, progress("Importing"):
                counts = import_file(opened_file, replace=replace, dry_run=dry_run, actor=actor())
        except Unreadable as error:
            raise CommandError(f"{error} Nothing was imported.") from error.__cause__
        for label, count in counts.items():
            left = f", {count.left} left as they are, which differ" if count.left else ""
            left += f", {count.kept_out} not taken, because this installation has its own" if count.kept_out else ""
            self.stdout.write(f"{label}: {count.created} new, {count.updated} replaced, {count.same} the same{left}")
        if dry_run:
            self.stdout.write("Nothing was imported: this was a dry run.")
