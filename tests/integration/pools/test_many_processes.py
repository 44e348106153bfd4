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
                           create_code="demand", create_reason="test", requested_at=now, ready_at=now, app_id=str(n))
"""
# Each reserves while there is room, claims while there is something to claim, and takes five turns.
AT_ONCE = """
import os, time
from datetime import timedelta
from django.db import transaction
from django.utils import timezone
from pools import claims, leases
from pools.capacity import NoCapacity, reserve
from pools.models import Pool

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # at once, so that lines stay whole

while True:
    try:
        say("reserved", reserve(runtime="python", origin="cold", code="cold", reason="test", now=timezone.now()).name)
    except NoCapacity:
        break
pool = Pool.objects.get()
misses = 0
while misses < 3:
    now = timezone.now()
    with transaction.atomic():
        sandbox = claims.claim(pool, by="test", expires_at=now + timedelta(minutes=5), now=now)
    if sandbox is None:
        misses += 1
    else:
        say("claimed", sandbox.name)
turns = 0
while turns < 5:
    try:
        with leases.hold("turn", 30):
            say("in", time.time_ns())
            time.sleep(0.01)
            say("out", time.time_ns())
            turns += 1
    except leases.LeaseHeld:
        time.sleep(0.002)
"""
# Forked once all is imported and nothing is connected.
AS_MANY = """
import os, sys, traceback
children = []
for _ in range(int(sys.argv[1])):
    if not (child := os.fork()):
        try:
            exec(sys.argv[2])
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    children.append(child)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""


def in_parallel(database: Database, source: str, **environment: str) -> list[tuple[str, str]]:
    """What eight processes print, started together: pairs of words."""
    lines = Database(database.environment | environment).answer(AS_MANY, str(PROCESSES), source).splitlines()
    return [(first, second) for first, second in map(str.split, lines)]


def test_invariants_2_and_3_the_cap_holds_and_no_sandbox_is_claimed_twice_by_eight_at_once(database: Database) -> None:
    database.answer(FLEET)
    said = in_parallel(database, AT_ONCE, MAX_TOTAL_SANDBOXES="65")  # 60 are there
    claimed = [name for what, name in said if what == "claimed"]
    assert len(claimed) == len(set(claimed)) == 60
    assert len([name for what, name in said if what == "reserved"]) == 5
    turns = sorted((mark for mark in said if mark[0] in ("in", "out")), key=lambda mark: int(mark[1]))
    assert [what for what, _ in turns] == ["in", "out"] * (5 * PROCESSES), "turns overlap"


def test_a_lease_of_a_process_that_was_killed_is_free_at_once(database: Database) -> None:
    hold = "from pools import leases\nimport time\nleases.take('turn', 600)\nprint('held', flush=True)\ntime.sleep(60)"
    process = database.script(hold)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.kill()
    process.communicate()
    assert database.answer("from pools import leases\nprint(leases.take('turn', 600).name)") == "turn"
