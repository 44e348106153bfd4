"""`manage.py reconcile [--dry-run [--out FILE] | --plan FILE]`: one turn, now and in this process."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from pools import clock
from pools.console import plans
from pools.leases import LeaseHeld, LeaseLost
from pools.management import plan_files
from pools.management.shell import actor
from pools.models import Fleet
from pools.turn.decisions import Decision
from pools.turn.preview import explain, rehearse
from pools.turn.reconciler import PlanChanged, Turn, turn_when_free

PATIENCE_SECONDS = 30.0
CHANGES = 2  # as Terraform's; an error is 1


class Command(BaseCommand):
    help = "Take one turn: list the cloud, decide, act. With --dry-run only say what would be decided, and why."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="change nothing in the cloud and decide nothing")
        parser.add_argument("--out", type=Path, metavar="FILE", help="with --dry-run: write the plan to a file")
        parser.add_argument("--plan", type=Path, metavar="FILE", help="do exactly what the file says, or nothing")
        parser.add_argument("--why", default="reconcile --plan", help="with --plan: written to the log")
        parser.add_argument(
            "--detailed-exitcode",
            action="store_true",
            help="with --dry-run: 0 when all is as it should be, 2 when something is due, held or under way, 1: error",
        )

    def handle(self, *args: Any, dry_run: bool, out: Path | None, plan: Path | None, **options: Any) -> None:
        if (out or options["detailed_exitcode"]) and not dry_run:
            raise CommandError("--out and --detailed-exitcode go with --dry-run.")
        if plan and dry_run:
            raise CommandError("--plan carries a plan out, --dry-run does not: choose one.")
        if dry_run:
            self.preview(out, options["detailed_exitcode"])
            return
        self.show(self.carry_out(plan, options["why"]) if plan else taken(lambda: turn_when_free(PATIENCE_SECONDS)))
        require_listing()
        now = clock.now()
        self.stdout.write(explain(now).totals.sentence(now))

    def preview(self, out: Path | None, detailed: bool) -> None:
        explanation, now = rehearse()
        self.show(explanation.decisions)
        for each in explanation.waiting:
            self.stdout.write(f"{'waits':<16} {each.name:<24} {each.attempt.told(now)}")
        require_listing()
        if out:
            plan_files.write(out, explanation.decisions, Fleet.get().installation, now)
        self.stdout.write(explanation.totals.sentence(now))
        if detailed and not explanation.totals.is_as_wished:
            sys.exit(CHANGES)

    def carry_out(self, path: Path, why: str) -> Sequence[Decision]:
        """Raises CommandError, and nothing is done, when something else is due by now."""
        plan = plan_files.read(path, Fleet.get().installation)
        try:
            return taken(lambda: plans.carry_out(plan["digest"], actor=actor(), reason=why))
        except PlanChanged as changed:
            for each in plan_files.difference(plan, changed.decisions):
                self.stdout.write(each)
            raise CommandError("By now a turn would do something else than this plan: nothing was done.") from None

    def show(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            self.stdout.write(line(decision))


def taken(take: Callable[[], Turn]) -> Sequence[Decision]:
    """The decisions of one turn, after one that is being taken elsewhere. Raises CommandError."""
    try:
        return take().decisions
    except LeaseHeld:
        raise CommandError("Another turn is being taken and does not end.") from None
    except LeaseLost as error:
        raise CommandError("The turn took so long that another process took over.") from error


def require_listing() -> None:
    if error := Fleet.get().listing_error:
        raise CommandError(f"The cloud could not be listed: {error}")


def line(decision: Decision) -> str:
    """A decision as one line: what, on what, why."""
    target = decision.name or decision.app_id
    return f"{decision.kind:<16} {target:<24} {decision.reason}"
