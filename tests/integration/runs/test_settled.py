"""A launch holds no row while the disk writes, and is answered only when the disk has it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fixtures.databases import own_database
from tests.fixtures.servers import Postgres

LAUNCHES = """
import json
from django.db import connection
from django.utils import timezone
from games.models import Game, Snapshot
from pools.cloud.sandbox_agent import Fetched, SandboxAgent
from pools.models import Pool, Sandbox
from runs.clients import Client
from runs.launching import handover
from runs.launching.launch import launch
from runs.models import Tally

def asked(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]

def flushed():
    return asked("SELECT pg_current_wal_flush_lsn() - '0/0'")

with connection.cursor() as cursor:  # the server itself writes late, so that only a launch makes it write
    cursor.execute("ALTER SYSTEM SET wal_writer_delay TO '10s'")
    cursor.execute("SELECT pg_reload_conf()")
    cursor.execute("SET synchronous_commit TO on")  # the tests' server is told otherwise

now = timezone.now()
game = Game.objects.create(slug="snake", title="Snake", runtime="python", source_digest="0" * 64)
Snapshot.objects.create(game=game, state="current", sha256="a", source_digest="0" * 64, started_at=now)
Tally.objects.create(pk=1)
pool = Pool.objects.get_or_create(runtime="python", defaults={"name": "python"})[0]
Sandbox.objects.create(name="sandbox-00000001", pool=pool, runtime="python", state="ready", origin="pool",
                       create_code="demand", create_reason="test", requested_at=now, ready_at=now, app_id="1",
                       url="http://127.0.0.1:9", health_checked_at=now,
                       staged={"snake": {"sha256": "a", "port": 5000, "pid": 1}})
seen = {}
begun = asked("SELECT pg_current_wal_insert_lsn() - '0/0'")

def fetch(*_, **__):
    seen["waited before the sandbox was asked"] = flushed() > begun
    return Fetched(200, {}, b"")

settle = handover.settle

def settled():
    seen["waited with the rows in hand"] = flushed() > begun
    settle()

SandboxAgent.fetch = fetch
handover.settle = settled
run = launch(game="snake", mode="warm", client=Client("ada"))
seen["is on the disk"] = flushed() > begun
seen["state"] = str(run.state)
print(json.dumps(seen))
"""


def test_a_launch_waits_for_the_disk_once_and_holds_nothing_meanwhile(own_postgres: Postgres, tmp_path: Path) -> None:
    """With each row held until the disk has it, all launches of all machines together would be as many as it has
    writes."""
    database = own_database(own_postgres, tmp_path / "var")
    assert json.loads(database.answer(LAUNCHES)) == {
        "waited before the sandbox was asked": False,
        "waited with the rows in hand": False,
        "is on the disk": True,
        "state": "running",
    }
