"""Claims, capacity and leases under eight real processes at once, on both databases."""

from __future__ import annotations

from tests.fixtures.databases import Database

PROCESSES = 8
FLEET = """
from django.utils import timezone
from pools.models import *
pool = Pool.objects.create(name="python", runtime="python", image="a/b:c", region="syd", size="s", max_ready=100)
now = timezone.now()
for n in range(60):
    Sandbox.objects.create(name=f"sandbox-{n:08x}", pool=pool, runtime="python", state="ready", origin="pool",
                           create_reason="test", requested_at=now, ready_at=now, app_id=str(n))
"""
CLAIM_ALL = """
from datetime import timedelta
from django.db import transaction
from django.utils import timezone
from pools import claims
from pools.models import Pool
pool = Pool.objects.get()
misses = 0
while misses < 3:
    now = timezone.now()
    with transaction.atomic():
        sandbox = claims.claim(pool, by="test", expires_at=now + timedelta(minutes=5), now=now)
    if sandbox is None:
        misses += 1
    else:
        print(sandbox.name, flush=True)
"""
RESERVE_ALL = """
from django.utils import timezone
from pools.capacity import NoCapacity, reserve
while True:
    try:
        print(reserve(runtime="python", origin="cold", reason="test", now=timezone.now()).name, flush=True)
    except NoCapacity:
        break
"""
TAKE_TURNS = """
import time
from pools import leases
taken = 0
while taken < 5:
    try:
        with leases.hold("turn", 30):
            print("in", time.time_ns(), flush=True)
            time.sleep(0.01)
            print("out", time.time_ns(), flush=True)
            taken += 1
    except leases.LeaseHeld:
        time.sleep(0.002)
"""


def in_parallel(database: Database, source: str, **environment: str) -> list[str]:
    """What eight processes print, started together."""
    database = Database(database.environment | environment)
    processes = [database.script(source) for _ in range(PROCESSES)]
    lines: list[str] = []
    for process in processes:
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
        lines += out.splitlines()
    return lines


def test_invariant_3_no_sandbox_is_claimed_twice(database: Database) -> None:
    database.answer(FLEET)
    claimed = in_parallel(database, CLAIM_ALL)
    assert len(claimed) == len(set(claimed)) == 60


def test_invariant_2_the_cap_holds_when_all_reserve_at_once(database: Database) -> None:
    assert len(in_parallel(database, RESERVE_ALL, MAX_TOTAL_SANDBOXES="5")) == 5


def test_turns_never_overlap(database: Database) -> None:
    marks = sorted((line.split() for line in in_parallel(database, TAKE_TURNS)), key=lambda mark: int(mark[1]))
    assert [mark[0] for mark in marks] == ["in", "out"] * (5 * PROCESSES)


def test_a_lease_of_a_process_that_was_killed_is_free_at_once(database: Database) -> None:
    hold = "from pools import leases\nimport time\nleases.take('turn', 600)\nprint('held', flush=True)\ntime.sleep(60)"
    process = database.script(hold)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.kill()
    process.communicate()
    assert database.answer("from pools import leases\nprint(leases.take('turn', 600).name)") == "turn"
