"""The tasks that Django-Q starts by the clock."""

from __future__ import annotations

from django_q.models import Schedule

from pools.nudge import TURNS

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
