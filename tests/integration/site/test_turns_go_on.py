"""Installs that hang keep no turn waiting, and the clean-up neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.stack import MakeStack, Stack
from tests.fixtures.waiting import until

NO_GAMES = {"CATALOG_DIR": str(Path(__file__).parent)}
HANGING = 8  # more than there are workers

HANG = """
from django_q.tasks import async_task
for _ in range({count}):
    async_task("subprocess.call", "echo began >> {started}; sleep 200; exit 0", shell=True)
"""
TURN = """
from pools.models import Fleet
from pools.nudge import nudge
nudge()
print(Fleet.get().turned_at.timestamp())
"""
OLD_SESSION = """
from datetime import timedelta
from django.contrib.sessions.models import Session
from django.utils import timezone
from django_q.models import Schedule
Session.objects.create(session_key="old", session_data="", expire_date=timezone.now() - timedelta(days=1))
Schedule.objects.filter(name="prune").update(next_run=timezone.now())
"""


@pytest.fixture
def hung(make_stack: MakeStack, tmp_path: Path) -> Stack:
    """A product in which every task that takes long hangs, and more of them wait."""
    stack = make_stack(**NO_GAMES).start()
    started = tmp_path / "started"
    stack.python(HANG.format(count=HANGING, started=started))
    until(lambda: started.exists() and started.read_text().count("began") >= 3, "all workers but one hang", seconds=60)
    return stack


def turned_at(stack: Stack) -> float:
    return float(stack.python("from pools.models import Fleet; print(Fleet.get().turned_at.timestamp())"))


def test_turns_and_the_clean_up_go_on_while_all_installs_hang(hung: Stack):
    for _ in range(2):
        last = float(hung.python(TURN))
        until(lambda last=last: turned_at(hung) > last, "a turn is taken", seconds=30)
    hung.python(OLD_SESSION)
    count = "from django.contrib.sessions.models import Session; print(Session.objects.count())"
    until(lambda: hung.python(count) == "0", "the clean-up has run", seconds=90, every=1)
    assert "stuck" not in hung.log
    assert hung.checks()["cluster"] == "ok"


def test_a_worker_that_is_killed_makes_room_for_the_next_task(hung: Stack, tmp_path: Path):
    """Its row waits for ten minutes until it is due again; that must not keep the others waiting."""
    started = tmp_path / "started"
    sleeping = [process for process in hung.processes() if process.name() == "sh"]
    assert len(sleeping) == 3
    sleeping[0].parent().kill()
    until(lambda: started.read_text().count("began") == 4, "another task began", seconds=60)
