"""`manage.py reconcile [--dry-run]`: one turn, now and in this process."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from pools.leases import LeaseHeld, LeaseLost
from pools.models import Fleet
from pools.turn.decisions import Decision
from pools.turn.reconciler import Turn, rehearse, turn_when_free

PATIENCE_SECONDS = 30.0


class Command(BaseCommand):
    help = "Take one turn: list the cloud, decide, act. With --dry-run only say what would be decided, and why."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="change nothing in the cloud and decide nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        decisions = rehearse() if dry_run else take_turn().decisions
        for decision in decisions:
            self.stdout.write(line(decision))
        if error := Fleet.get().listing_error:
            raise CommandError(f"The cloud could not be listed: {error}")
        if not decisions:
            self.stdout.write("Nothing to do: the fleet is as it should be.")


def take_turn() -> Turn:
    """One turn, after one that is being taken elsewhere. Raises CommandError."""
    try:
        return turn_when_free(PATIENCE_SECONDS)
    except LeaseHeld:
        raise CommandError("Another turn is being taken and does not end.") from None
    except LeaseLost as error:
        raise CommandError("The turn took so long that another process took over.") from error


def line(decision: Decision) -> str:
    """A decision as one line: what, on what, why."""
    target = decision.name or decision.app_id
    return f"{decision.kind:<16} {target:<24} {decision.reason}"
