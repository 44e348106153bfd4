"""Who locks what first: on PostgreSQL two that lock the same rows in another order would end one another."""

from __future__ import annotations

import pytest

from tests.fixtures.databases import Database

# `first` locks something and goes on once `second`, in a thread of its own, waits or is done.
BOTH = """
import sys, threading, time
from datetime import timedelta
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from games import staging
from games.models import Game, Snapshot
from pools.demand import note_demand
from pools import claims, journal
from pools.capacity import NoCapacity, reserve
from pools.console import operations
from pools.demand import note_demand
from pools.models import Fleet, Pool, Sandbox
from pools.turn import look
from pools.turn.observe import Listing, keep
from pools.cloud.sandbox_agent import Fetched, SandboxAgent
from runs import lifecycle, limits
from runs.clients import Client
from runs.launching import handover
from runs.launching.launch import launch
from runs.models import Run, Tally

now = timezone.now()
Fleet.get()
journal.record("test", "the first line")
pool = Pool.objects.create(name="python", runtime="python", image="a/b:c", region="syd", size="s")
game = Game.objects.create(slug="snake", title="Snake", runtime="python", run_command="x", snapshot_name="s",
                           repository_url="file:///nowhere", source_digest="0" * 64)
sandbox = Sandbox.objects.create(name="sandbox-00000001", pool=pool, runtime="python", state="in_use", origin="pool",
                                 create_code="demand", create_reason="test", requested_at=now, acquired_at=now,
                                 app_id="1", expires_at=now + timedelta(minutes=5))
run = Run.objects.create(game=game, sandbox=sandbox, mode="warm", state="deploying", visitor="v", created_at=now)

idle = Sandbox.objects.create(name="sandbox-00000002", pool=pool, runtime="python", state="ready", origin="pool",
                              create_code="demand", create_reason="test", requested_at=now, ready_at=now, app_id="2")

def listing_fails():
    keep(Listing(None, now, "unavailable", "the cloud is down"))

def sandbox_is_lost():
    claims.retire(sandbox.id, "lost", "lost", now)

def pool_is_warmed_up():
    operations.warm_up(pool, actor="ada", reason="a test")

def sandbox_was_dead():
    handover.replace_dead(Run.objects.select_related("game", "sandbox").get(), "no answer")

def idle_one_is_brought_up_to_date():
    with staging._alone(idle.id) as hold:
        staging._tell(idle, hold, {}, "brought up to date")

def game_has_stopped():
    Run.objects.update(state="running")
    Sandbox.objects.filter(pk=sandbox.pk).update(health_failures=1)
    look.note([(Sandbox.objects.get(pk=sandbox.pk), look.GameStopped("nothing listens"))], now)
    assert Run.objects.get().restarts == 1

def player_meets_a_dead_end():
    assert claims.suspect(sandbox.pk, "no game", now)

def lock_log():
    journal.record("test", "another line")

def somebody_launches():
    Tally.objects.create(pk=1)
    Snapshot.objects.create(game=game, state="current", sha256="a", source_digest="0" * 64, started_at=now)
    SandboxAgent.fetch = lambda *_, **__: Fetched(200, {}, b"")
    staged = {"snake": {"sha256": "a", "port": 5000, "pid": 1}}
    Sandbox.objects.filter(pk=idle.pk).update(url="http://127.0.0.1:9", health_checked_at=now, staged=staged)
    assert launch(game="snake", mode="warm", client=Client("ada")).state == "running"

def want_count():
    limits.leave("warm")

def lock_fleet():
    Fleet.lock()

def lock_sandbox():
    Sandbox.objects.select_for_update(no_key=True).get(pk=sandbox.id)

def lock_fleet_and_log():
    Fleet.lock()
    journal.record("test", "another line")

def want_log():
    journal.record("test", "another line")

def want_sandbox():
    lock_sandbox()

def want_pool():
    note_demand(pool, "run", now)

def want_place_of_idle():
    claims.retire(idle.id, "made_room", "makes room", now)

def want_a_place():
    settings.MAX_TOTAL_SANDBOXES = 2
    try:
        reserve(runtime="python", origin="cold", code="cold", reason="a test", now=now, make_room=True)
    except NoCapacity:
        pass  # the idle one is being taken

def want_run():
    Run.objects.select_for_update(no_key=True).get()

lock, second, want = (globals()[name] for name in sys.argv[1:])
errors = []

def in_thread():
    try:
        second()
    except Exception as error:
        errors.append(f"second: {error!r}")
    finally:
        connection.close()

def waits():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))")
        return cursor.fetchone()[0] > 0

thread = threading.Thread(target=in_thread)
try:
    with transaction.atomic():
        lock()
        thread.start()
        deadline = time.monotonic() + 30
        while thread.is_alive() and not waits():
            assert time.monotonic() < deadline, "the second neither waits nor ends"
            time.sleep(0.02)
        want()
except Exception as error:
    errors.append(f"first: {error!r}")
thread.join(30)
print("; ".join(errors) or "both went through")
"""


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("lock", "second", "want"),
    [
        ("lock_fleet", "listing_fails", "want_log"),
        ("lock_fleet", "sandbox_is_lost", "want_sandbox"),
        ("lock_fleet", "pool_is_warmed_up", "want_pool"),
        ("lock_sandbox", "sandbox_was_dead", "want_run"),
        ("lock_fleet", "game_has_stopped", "want_sandbox"),
        ("lock_fleet_and_log", "somebody_launches", "want_a_place"),
        ("lock_fleet", "player_meets_a_dead_end", "want_sandbox"),
        ("lock_sandbox", "player_meets_a_dead_end", "lock_fleet"),
        ("lock_log", "somebody_launches", "want_count"),
        ("lock_fleet_and_log", "idle_one_is_brought_up_to_date", "want_place_of_idle"),
    ],
)
def test_two_that_need_the_same_rows_do_not_deadlock(database: Database, lock: str, second: str, want: str) -> None:
    assert database.answer(BOTH, lock, second, want) == "both went through"
