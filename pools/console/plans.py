"""Carrying out a plan as an operator saw it: a turn that does exactly that, or nothing.

The turn is taken in a thread of its own, so that who asked is answered in time, however long the cloud takes. In each
process it is one at a time: who waits has a thread that launches need.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, wait
from contextvars import copy_context
from threading import Lock, Thread

from django.db import connections

from pools import journal
from pools.leases import LeaseHeld
from pools.models import Level
from pools.reasons import LogKind
from pools.turn.decisions import Decision, Kind, digest_of
from pools.turn.reconciler import PlanChanged, Turn, turn_when_free

PATIENCE_SECONDS = 10.0  # for a turn that is being taken
LONGEST_ANSWER_SECONDS = 25.0

_applying = Lock()


class StillAtWork(Exception):
    """The turn takes longer than who asked can wait. It goes on."""


def apply_plan(digest: str, *, actor: str, reason: str) -> Turn:
    """Take a turn that does what the plan of that digest says. Raises PlanChanged, and nothing is done, when another is
    due by now; LeaseHeld when no turn can be taken now; StillAtWork while it is."""
    outcome: Future[Turn] = Future()

    def work() -> None:
        try:
            turn = carry_out(digest, actor=actor, reason=reason)
        except BaseException as error:  # whoever waits raises it
            connections.close_all()  # this thread's own
            outcome.set_exception(error)
        else:
            connections.close_all()
            outcome.set_result(turn)

    Thread(target=copy_context().run, args=(work,), name="plan", daemon=True).start()
    wait([outcome], LONGEST_ANSWER_SECONDS)
    if not outcome.done():
        raise StillAtWork
    return outcome.result()


def carry_out(digest: str, *, actor: str, reason: str) -> Turn:
    """The same in this thread, however long it takes."""

    def agree(decisions: Sequence[Decision]) -> None:
        if digest_of(decisions) != digest:
            raise PlanChanged(digest_of(decisions), decisions)
        message = f"the plan {digest} is carried out: {told(decisions)}; an operator: {reason}"
        journal.record(LogKind.TURN, message, actor=actor)

    if not _applying.acquire(blocking=False):
        raise LeaseHeld
    try:
        return turn_when_free(PATIENCE_SECONDS, agree)
    except PlanChanged as changed:
        message = f"the plan {digest} is not carried out, {changed.digest} is due by now; an operator: {reason}"
        journal.record(LogKind.TURN, message, actor=actor, level=Level.WARNING)
        raise
    finally:
        _applying.release()


def told(decisions: Sequence[Decision]) -> str:
    """The decisions as counts."""
    counts = Counter(each.kind for each in decisions if each.kind != Kind.LOOK)
    return ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in sorted(counts.items())) or "nothing to do"
