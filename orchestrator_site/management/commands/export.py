"""`manage.py export [FILE]`: what people made, in a file for any version and database of the orchestrator."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from orchestrator_site.exports.file import written
from orchestrator_site.exports.writing import export
from pools import clock


class Command(BaseCommand):
    help = "Write what people made to a file: pools, keys, webhooks, accounts, games, statistics. It holds secrets."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", default="", metavar="FILE", help=".gz compresses; - is the output")
        parser.add_argument("--with-history", action="store_true", help="also the log, and runs that are over")

    def handle(self, *_args: Any, file: str, with_history: bool, **_options: Any) -> None:
        if not file and sys.stdout.isatty():
            raise CommandError("An export holds secrets: name a file, or - to print it all the same.")
        try:
            with nullcontext(self.stdout) if file in ("", "-") else written(Path(file)) as output:
                for line in export(clock.now(), with_history=with_history):
                    output.write(f"{line}\n")
        except OSError as error:
            raise CommandError(f"{file or '-'} can't be written ({error.strerror or error}).") from None
        except DatabaseError as error:
            raise CommandError(f"The database can't be read: {str(error).strip().splitlines()[0]}") from error
        if output is self.stdout:
            return
        self.stderr.write(f"{file} holds secrets: whoever reads it can pass for a webhook and guess at passwords.")
