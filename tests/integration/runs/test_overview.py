"""What is played and what is over, for those who may see it: however much was launched since."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from runs import overview
from runs.models import Run

pytestmark = pytest.mark.django_db
SHORT = 250


@pytest.fixture
def busy(game) -> tuple[Run, Run]:
    """A run that is played, one that was played for long and has just ended, and many short ones after both."""
    now = timezone.now()
    begun = now - timedelta(minutes=30)
    alike = {"game": game, "mode": "cold", "visitor": "ada"}
    over = {"state": "ended", "end_code": "time_up", "end_reason": "Over."}
    played = Run.objects.create(**alike, state="running", created_at=begun)
    long = Run.objects.create(**alike, **over, created_at=begun, ended_at=now)
    short = [begun + timedelta(seconds=number + 1) for number in range(SHORT)]
    Run.objects.bulk_create(Run(**alike, **over, created_at=at, ended_at=at) for at in short)
    return played, long


@pytest.mark.parametrize("visitor", [None, "ada"])
def test_a_run_is_listed_while_it_is_played_and_first_when_it_has_just_ended(busy, visitor):
    played, long = busy
    assert overview.playing(visitor) == [played]
    assert overview.over(visitor, 20)[0] == long


def test_nobodys_runs_are_those_of_others(busy):
    assert overview.playing("bob") == overview.over("bob", 20) == []
