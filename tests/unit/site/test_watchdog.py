"""When a cluster counts as stuck."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from django.db import OperationalError
from django_q.conf import Conf

from orchestrator_site.cluster import schedules
from orchestrator_site.cluster.watchdog import STUCK_SECONDS, Guard, Sample, Watchdog

QUIET = Sample(workers=4, idle_workers=4, waiting=0, due=0, results=0, taken=7, recorded=7)


def verdicts(*samples: Sample, every_seconds: float = STUCK_SECONDS / 2) -> list[str]:
    watchdog = Watchdog()
    return [watchdog.verdict(sample, number * every_seconds) for number, sample in enumerate(samples)]


def test_a_cluster_without_work_is_never_stuck():
    assert verdicts(*[QUIET] * 10) == [""] * 10


@pytest.mark.parametrize("waits", [{"waiting": 1}, {"due": 3}, {"results": 1, "idle_workers": 0}])
def test_work_that_waits_while_somebody_could_do_it_is_stuck_after_a_while(waits):
    first, second, third = verdicts(*[replace(QUIET, **waits)] * 3)
    assert (first, second) == ("", "")
    assert "nothing has moved for 10 s" in third


def test_fetched_tasks_may_wait_for_as_long_as_all_workers_are_busy():
    busy = replace(QUIET, idle_workers=0, waiting=4, due=20)
    assert verdicts(*[busy] * 10) == [""] * 10


def test_work_that_moves_is_not_stuck_however_much_waits():
    samples = [replace(QUIET, waiting=4, due=50, taken=number) for number in range(10)]
    assert verdicts(*samples) == [""] * 10


def test_the_clock_starts_anew_when_the_work_was_taken_for_a_moment():
    waits = replace(QUIET, waiting=1)
    assert verdicts(waits, waits, QUIET, waits, waits, every_seconds=STUCK_SECONDS / 2) == [""] * 5


def test_results_that_nobody_records_are_stuck_however_many_tasks_flow():
    """The process that records them was dead for minutes while workers went on: all was due to be done again."""
    samples = [replace(QUIET, results=number + 1, taken=number) for number in range(3)]
    assert "3 results wait" in verdicts(*samples)[2]


def test_results_that_are_recorded_are_not_stuck_however_many_wait():
    assert verdicts(*[replace(QUIET, results=9, recorded=number) for number in range(10)]) == [""] * 10


def test_what_was_due_before_the_database_went_away_is_no_evidence(monkeypatch):
    """A cluster ended itself for it in the moment in which it had fetched the tasks, which then were nobody's."""

    def is_away(_now):
        raise OperationalError("away")

    monkeypatch.setattr(schedules, "mend", is_away)
    guard = Guard()
    guard.due = 2
    with pytest.raises(OperationalError):
        guard.look(SimpleNamespace(status=Conf.IDLE), count_due=lambda: 2)
    assert guard.due == 0
