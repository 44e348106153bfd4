"""`manage.py export [FILE]`: what people made, in a file for any version and database of the orchestrator."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from orchestrator_site.exports.file import written
from orchestrator_site.exports.writing import export


class Command(BaseCommand):
    help = "Write what people made to a file: pools, keys, webhooks, accounts, games, statistics. It holds secrets."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", default="", metavar="FILE", help=".gz compresses; - is the output")
        parser.add_argument("--with-history", action="store_true", help="also the log, and runs that are over")

    def handle(self, *_args: Any, file: str, with_history: bool, **_options: Any) -> None:
        lines = export(timezone.now(), with_history=with_history)
        if file in ("", "-"):
            if not file and sys.stdout.isatty():
                raise CommandError("An export holds secrets: name a file, or - to print it all the same.")
            for line in lines:
                self.stdout.write(line)
            return
        try:
            with written(Path(file)) as output:
                for line in lines:
                    output.write(f"{line}\n")
        except OSError as error:
            raise CommandError(f"{file} can't be written ({error.strerror or error}).") from None
        self.stderr.write(f"{file} holds secrets: whoever reads it can pass for a webhook and guess at passwords.")
