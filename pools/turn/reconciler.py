"""One turn: lease, observe, plan, act; and when the next one is due."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from pools import fleet_log, journal, leases, minutes
from pools.cloud.fitting import fitted
from pools.key_change import settle as settle_key
from pools.models import CloudApp, Fleet, Level, Sandbox
from pools.reasons import LogKind, StepCode
from pools.shared_budget import counted
from pools.signals import turn_begins
from pools.tenure import kept
from pools.turn.act import Effects
from pools.turn.decisions import Decision
from pools.turn.due import due_in_seconds
from pools.turn.observe import observe
from pools.turn.plan import plan_fleet

LEASE_SECONDS = 60.0
DEATH_CHARACTERS = 500
PAGE_SIZE = 200
LONGEST_PAUSE_SECONDS = 60.0  # the schedule's turns come as often


logger = logging.getLogger("pools")


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn's decisions, and in how many seconds the next is due (None: not before the schedule)."""

    decisions: Sequence[Decision]
    due_in_seconds: float | None


def turn() -> Turn:
    """Take one turn. Raises LeaseHeld when another is being taken, LeaseLost when this one took too long; whatever else
    it raises is in the orchestrator log."""
    # However long the cloud takes: renewed until it ends, or this process stands still.
    with leases.hold("turn", LEASE_SECONDS) as lease, kept(lease.is_renewed), lease.fencing():
        Fleet.get()
        Fleet.objects.filter(pk=1).update(nudged=False, due_at=None)
        # Robust: a run that can't be put right must not keep the fleet from being looked after. Django logs it.
        turn_begins.send_robust(sender=Fleet, now=timezone.now())
        try:
            settle_key(timezone.now())
            with counted() as cloud:
                facts, now = observe(cloud)
                decisions = plan_fleet(facts, now)
                Effects(cloud, facts).act(decisions)
        except leases.LeaseLost:
            raise
        except Exception as error:
            note_death(error)
            raise
        minutes.note(timezone.now())
        due, due_at = due_in_seconds(facts, decisions, now), None
        if due is not None:
            pages = CloudApp.objects.count() // PAGE_SIZE + 1
            due = max(due, min(pages * cloud.budget.pace_seconds(), LONGEST_PAUSE_SECONDS))
            due_at = timezone.now() + timedelta(seconds=due)
        existing = Sandbox.objects.existing().count()
        Fleet.objects.filter(pk=1).update(turned_at=timezone.now(), due_at=due_at, existing=existing)
        return Turn(decisions, due)


def note_death(error: Exception) -> None:
    """Say what a turn died of, once until another ends well or dies of something else. The error's own words may name
    what is not for everybody who reads the log: they are kept beside the line, for operators."""
    why = fitted(f"{type(error).__name__}: {error}", DEATH_CHARACTERS)
    try:
        said = fleet_log.turn_death(Fleet.get())
        if said is None or said.data.get("why") != why:
            message = f"the turn died of {type(error).__name__}"
            journal.record(LogKind.TROUBLE, message, code=StepCode.TURN_DIED, level=Level.ERROR, data={"why": why})
    except Exception:  # the database may be what it died of; the cluster logs the error itself
        logger.exception("That the turn died could not be noted.")


def rehearse() -> list[Decision]:
    """Return what a turn would decide now, without doing any of it."""
    with counted() as cloud:
        facts, now = observe(cloud)
    return plan_fleet(facts, now)
