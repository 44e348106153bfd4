"""A turn that is frozen between what it writes and what it asks the cloud for, and thaws when another takes turns."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from tests.fixtures.databases import Database
from tests.fixtures.local_cloud import LocalCloudProcess

PRELUDE = """
from django.utils import timezone
from pools import demand, leases
from pools.models import Fleet, Pool, Sandbox, State
from pools.turn import reconciler

reconciler.LEASE_SECONDS = 1.0
"""
WANTED = """
Fleet.get()
pool = Pool.objects.create(name="python", runtime="python", image="bikramkgupta/sandbox-python-service:latest",
    region="syd", size="apps-s-1vcpu-1gb", stage="none", target_ready=1, max_ready=1)
demand.note_demand(pool, "a test", timezone.now())
"""
UNWANTED = """
while Sandbox.objects.filter(state=State.READY).count() < 1:
    reconciler.turn()
Pool.objects.update(mode="draining")
"""
TURNS = """
import os, signal
from pools.cloud.app_platform import DigitalOcean

ask = getattr(DigitalOcean, sys.argv[1])

def frozen_before(self, it):
    print("frozen", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    return ask(self, it)

setattr(DigitalOcean, sys.argv[1], frozen_before)
try:
    while True:
        reconciler.turn()
except leases.LeaseLost:
    print("stopped", flush=True)
"""
TAKES_OVER = """
import time
for _ in range(600):
    try:
        leases.take("turn", 60)
        print("taken")
        break
    except leases.LeaseHeld:
        time.sleep(0.1)
"""


@pytest.fixture
def fleet_database(database: Database, paper_cloud: LocalCloudProcess) -> Database:
    cloud = {"DIGITALOCEAN_TOKEN": paper_cloud.token, "DIGITALOCEAN_API_URL": paper_cloud.url}
    settings = {"ORCHESTRATOR_ID": "tests", "MAX_TOTAL_SANDBOXES": "3", "LOG_LEVEL": "ERROR"}
    return replace(database, environment=database.environment | cloud | settings)


def thawed_too_late(database: Database, rows: str, asks_for: str) -> None:
    """A turn freezes when it is about to ask for that, and thaws when somebody else takes turns."""
    frozen = database.script(PRELUDE + rows + TURNS, asks_for)
    try:
        assert frozen.stdout is not None
        assert frozen.stdout.readline() == "frozen\n", frozen.communicate(timeout=60)
        assert database.answer(PRELUDE + TAKES_OVER) == "taken"
    except BaseException:
        frozen.kill()
        raise
    finally:
        frozen.send_signal(signal.SIGCONT)
    out, err = frozen.communicate(timeout=60)
    assert (out, frozen.returncode) == ("stopped\n", 0), err


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_turn_that_thaws_beside_its_successor_creates_nothing(fleet_database, paper_cloud):
    """What it created for a row that its successor had given up was an orphan."""
    thawed_too_late(fleet_database, WANTED, "create")
    assert paper_cloud.state()["creates"] == 0


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_turn_that_thaws_beside_its_successor_deletes_nothing(fleet_database, paper_cloud):
    thawed_too_late(fleet_database, WANTED + UNWANTED, "delete")
    assert paper_cloud.state()["deletes"] == 0
