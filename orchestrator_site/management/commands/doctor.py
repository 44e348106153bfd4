"""`manage.py doctor`: everything that the orchestrator depends on, asked for real."""

from __future__ import annotations

import logging
import os
from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand

from orchestrator_site.doctor.all_checks import CHECKS
from orchestrator_site.doctor.examination import chosen, examine
from orchestrator_site.doctor.report import TROUBLE, as_json, exit_code, lines

INTERRUPTED = 130  # as shells have it


class Command(BaseCommand):
    help = (
        "Check each thing that the orchestrator depends on: a line each, with what to do where it fails. It costs "
        "nothing and creates nothing. Exits with 1 when a check fails; warnings are no failures."
    )
    requires_system_checks = []  # they would end it where it has more to say

    def add_arguments(self, parser: ArgumentParser) -> None:
        names = [check.name for check in CHECKS]
        parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, default=[], help=", ".join(names))
        parser.add_argument("--json", action="store_true", help="for programs")
        parser.add_argument("--quiet", action="store_true", help="say only what is wrong")

    def handle(self, *_args: Any, only: list[str], json: bool, quiet: bool, **_options: Any) -> None:
        logging.disable(logging.CRITICAL)  # what is wrong is said once, by its check
        try:
            found = examine(chosen(CHECKS, only))
        except KeyboardInterrupt:
            os._exit(INTERRUPTED)
        # What they needed is told where it failed.
        findings = {name: each for name, each in found.items() if not only or name in only or each.level in TROUBLE}
        told = [as_json(findings)] if json else lines(findings, quiet=quiet)
        if told:
            self.stdout.write("\n".join(told))
        self.stdout.flush()
        os._exit(exit_code(findings))  # what hangs is left behind: libraries wait for threads of theirs
