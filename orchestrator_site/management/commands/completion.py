"""`manage.py completion bash|zsh`: `source <(sandbox-orchestrator completion bash)`."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandParser

from orchestrator_site.completion import SHELLS, script


class Command(BaseCommand):
    help = "Print what a shell is to read, so that it completes commands, options, and names of pools and games."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("shell", choices=SHELLS)

    def handle(self, *_args: Any, shell: str, **_options: Any) -> None:
        self.stdout.write(script(shell), ending="")
