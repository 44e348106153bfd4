"""The tasks that Django-Q starts by the clock."""

from __future__ import annotations

from datetime import datetime, timedelta

from django_q.models import OrmQ, Schedule

from orchestrator_site.cluster import in_hand
from pools.nudge import TURNS

CLOCK_SLACK = timedelta(seconds=60)
IN_TURNS = repr({"q_options": {"cluster": TURNS}})

SCHEDULES: dict[str, dict[str, object]] = {
    # The level-triggered floor: what no nudge announced is still seen within a minute.
    "reconcile": {
        "func": "pools.tasks.reconcile",
        "schedule_type": Schedule.MINUTES,
        "minutes": 1,
        "kwargs": IN_TURNS,
    },
    # What could not be built at the start (no network then, say) is tried again.
    "snapshots": {"func": "games.tasks.build_missing_snapshots", "schedule_type": Schedule.MINUTES, "minutes": 10},
    # Often and little: what is too old goes in portions, and what was not done is resumed.
    "prune": {
        "func": "orchestrator_site.tasks.prune",
        "schedule_type": Schedule.MINUTES,
        "minutes": 10,
        "kwargs": IN_TURNS,
    },
}


def ensure() -> None:
    """Create what is missing and correct what differs; when a schedule runs next is left alone."""
    for name, wanted in SCHEDULES.items():
        rows = Schedule.objects.filter(name=name)
        if not rows:
            Schedule.objects.create(name=name, repeats=-1, **wanted)
        elif rows.exclude(**wanted).exists():
            rows.update(**wanted)


def mend(now: datetime) -> None:
    """Put right what was written before the clock was set back: it would wait for as long as that was far."""
    for row in Schedule.objects.exclude(repeats=0).exclude(schedule_type=Schedule.ONCE).filter(next_run__gt=now):
        if row.next_run is not None and row.next_run > row.calculate_next_run(now) + CLOCK_SLACK:
            Schedule.objects.filter(pk=row.pk, next_run=row.next_run).update(next_run=now)
    # Who is at work on a task has renewed it by the clock as it is now: this one's cluster is gone.
    OrmQ.objects.filter(lock__gt=in_hand.lease_from(now) + CLOCK_SLACK).update(lock=in_hand.lease_from(now))
