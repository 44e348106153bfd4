"""A worker that is frozen while it deploys, and one whose clock is wrong, beside others on the same database."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from tests.fixtures.databases import Database
from tests.fixtures.machines import other_clock

PRELUDE = """
import time
from datetime import timedelta
from django.utils import timezone
from games.models import Game
from pools import tenure
from pools.models import Sandbox
from runs import lifecycle, upkeep
from runs.launching import deployment
from runs.lifecycle import Attempt
from runs.models import Run

tenure.LEASE_SECONDS = lifecycle.LEASE_SECONDS = 3.0
tenure.RENEW_SECONDS = 1.0
"""
ROWS = """
now = timezone.now()
game = Game.objects.create(slug="snake", title="Snake", runtime="python", run_command="x", snapshot_name="snake")
sandbox = Sandbox.objects.create(name="sandbox-00000001", runtime="python", state="in_use", origin="cold",
    create_code="cold", create_reason="a test", requested_at=now, acquired_at=now, url="http://127.0.0.1:9")
Run.objects.create(game=game, sandbox=sandbox, mode="cold", served_by="cold", state="deploying", visitor="ada",
    created_at=now, acquired_at=now)
"""
DEPLOYS = """
def deploy_game(*_, say, **__):
    print("working", flush=True)
    while True:
        time.sleep(0.5)  # it is frozen here, and not while it writes
        say("still at it")

deployment.deploy_game = deploy_game
deployment.deploy(Attempt.after(Run.objects.get()))
print("stopped", flush=True)
"""
TAKES_OVER = """
for _ in range(600):
    upkeep.redeploy_cut_off(timezone.now())
    run = Run.objects.get()
    if not run.deploy_process and lifecycle.begin_attempt(Attempt.after(run), timezone.now()):
        break
    time.sleep(0.1)
lines = Run.objects.get().events.filter(message="still at it").count()
print(Run.objects.get().deploy_attempts, lines)
"""


def test_a_frozen_worker_is_replaced_within_its_lease_and_stops_when_it_thaws(database: Database):
    database.answer(PRELUDE + ROWS)
    frozen = database.script(PRELUDE + DEPLOYS)
    assert frozen.stdout is not None
    assert frozen.stdout.readline() == "working\n", frozen.communicate(timeout=60)
    frozen.send_signal(signal.SIGSTOP)
    try:
        attempts, lines = database.answer(PRELUDE + TAKES_OVER).split()
        assert attempts == "2"
    finally:
        frozen.send_signal(signal.SIGCONT)
    out, err = frozen.communicate(timeout=60)
    assert (out, frozen.returncode) == ("stopped\n", 0), err
    looks = "run = Run.objects.get()\n"
    looks += "print(run.state, run.deploy_attempts, run.events.filter(message='still at it').count())"
    state, attempts, after = database.answer(PRELUDE + looks).split()
    assert (state, attempts) == ("deploying", "2")
    assert after == lines, "it touched nothing more"


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_lease_runs_by_the_databases_clock_whatever_the_workers_says(database: Database, hours: int):
    """With a clock an hour ahead a dead worker's deployment was redone an hour later, with one behind at once."""
    elsewhere = replace(database, environment=database.environment | other_clock(hours * 3600))
    begins = "assert lifecycle.begin_attempt(Attempt.after(Run.objects.get()), timezone.now())\n"
    elsewhere.answer(PRELUDE + ROWS + begins + "Run.objects.update(deploy_process='another-host|pid:[1]|1')\n")
    looks = "run, now = Run.objects.get(), timezone.now()\n"
    looks += "left = (run.deploy_lease_until - now).total_seconds(); print(left <= 3.0, left > -60)"
    assert database.answer(PRELUDE + looks) == "True True"
