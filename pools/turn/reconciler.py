"""One turn: lease, observe, plan, act; and when the next one is due."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pools import bulk, clock, fleet_log, journal, leases, metrics, minutes
from pools.cloud.changes import only_while
from pools.cloud.fitting import fitted
from pools.key_change import settle as settle_key
from pools.models import CloudApp, Fleet, Level, Sandbox
from pools.nudge import nudge
from pools.reasons import LogKind, StepCode
from pools.shared_budget import counted
from pools.signals import turn_begins
from pools.tenure import TenureLost, kept
from pools.traces import span
from pools.turn import alarm_watch, findings
from pools.turn.act import Effects
from pools.turn.decisions import Decision
from pools.turn.due import due_in_seconds
from pools.turn.observe import observe
from pools.turn.plan import plan_fleet
from pools.turn.plan_orphans import untracked_of_ours

LEASE_SECONDS = 5.0  # of a turn, and of who takes one after the other: when its machine is gone, another goes on
DEATH_CHARACTERS = 500
PAGE_SIZE = 200
LONGEST_PAUSE_SECONDS = 60.0  # the schedule's turns come as often
LOOK_SECONDS = 0.05  # whether the turn that is being taken has ended


logger = logging.getLogger("pools")


class PlanChanged(Exception):
    """Not what was agreed to is due, but the plan of this digest: nothing was done."""

    def __init__(self, digest: str, decisions: Sequence[Decision] = ()) -> None:
        super().__init__(digest)
        self.digest = digest
        self.decisions = decisions


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn's decisions, and in how many seconds the next is due (None: not before the schedule)."""

    decisions: Sequence[Decision]
    due_in_seconds: float | None


Agree = Callable[[Sequence[Decision]], None]


def to_anything(_decisions: Sequence[Decision]) -> None:
    """Whatever is decided may be done."""


def turn_when_free(patience_seconds: float, agree: Agree = to_anything) -> Turn:
    """One turn, after the one that is being taken now. Raises LeaseHeld when that one does not end in time, and what
    `turn` raises."""
    give_up_at = clock.monotonic() + patience_seconds
    while True:
        try:
            return turn(agree)
        except leases.LeaseHeld:
            if clock.monotonic() > give_up_at:
                raise
            clock.sleep(LOOK_SECONDS)


def turn(agree: Agree = to_anything) -> Turn:
    """Take one turn. `agree` sees the decisions before any is carried out, and raises PlanChanged to have none of them
    be. Raises LeaseHeld when another turn is being taken, LeaseLost when this one took too long; whatever else it
    raises is in the orchestrator log."""
    # However long the cloud takes: renewed until it ends, or this process stands still.
    with (
        leases.hold("turn", LEASE_SECONDS) as lease,
        kept(lease.is_renewed, LEASE_SECONDS) as tenure,
        lease.fencing(),
        only_while(tenure.require),
        span("turn") as traced,
    ):
        began = clock.monotonic()
        wanted_at = Fleet.get().due_at
        Fleet.objects.filter(pk=1).update(nudged=False, due_at=None)
        # Robust: a run that can't be put right must not keep the fleet from being looked after. Django logs it.
        turn_begins.send_robust(sender=Fleet, now=clock.now())
        try:
            settle_key(clock.now())
            with counted() as cloud:
                facts, now = observe(cloud)
                decisions = plan_fleet(facts, now)
                agree(decisions)
                bulk.go_on(clock.now())  # what it begins, the next turn sends
                Effects(cloud, facts).act(decisions)
        except PlanChanged:
            Fleet.objects.filter(pk=1, due_at=None).update(due_at=wanted_at)
            raise
        except leases.LeaseLost:
            raise
        except TenureLost:
            lease.renew()  # raises LeaseLost, or what the database says
            nudge()  # nobody took over: what was left undone is decided anew
            raise leases.LeaseLost("turn") from None
        except Exception as error:
            metrics.TURN_SECONDS.note(clock.monotonic() - began, "died")
            note_death(error)
            alarm_watch.watch(None, clock.now())
            raise
        traced.note(decisions=len(decisions))
        minutes.note(clock.now())
        findings.note(facts, clock.now())
        due, due_at = due_in_seconds(facts, decisions, now), None
        if bulk.is_under_way():
            due = min(due or bulk.PAUSE_SECONDS, bulk.PAUSE_SECONDS)
        if due is not None:
            pages = CloudApp.objects.count() // PAGE_SIZE + 1
            due = max(due, min(pages * cloud.budget.pace_seconds(), LONGEST_PAUSE_SECONDS))
            due_at = clock.now() + timedelta(seconds=due)
        existing = Sandbox.objects.existing().count()
        Fleet.objects.filter(pk=1).update(turned_at=clock.now(), due_at=due_at, existing=existing)
        if facts.is_trusted:  # else the last count stands
            note_orphans(untracked_of_ours(facts))
        alarm_watch.watch(facts.pools, clock.now())
        metrics.TURN_SECONDS.note(clock.monotonic() - began, "ok")
        return Turn(decisions, due)


def note_orphans(ids: Collection[str]) -> None:
    """How many places apps of ours without a row take, as the plan counts them. One that is none any more, as it was
    adopted or lost our mark, takes none."""
    noted = CloudApp.objects.exclude(orphan_since=None)
    over = [app_id for app_id in noted.values_list("pk", flat=True) if app_id not in ids]
    for start in range(0, len(over), PAGE_SIZE):
        some = over[start : start + PAGE_SIZE]
        CloudApp.objects.filter(pk__in=some).update(orphan_since=None, orphan_listings=0)
    there = CloudApp.objects.filter(pk__in=ids).count() if ids else 0  # without those that this turn deleted
    Fleet.objects.filter(pk=1).update(orphans=there)


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
