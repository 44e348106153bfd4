"""A process beside the site, with its database: writes rows that a measurement needs, and measures bare commits.

It reads one order as a line of JSON and answers with one: `{"order": "stock", "count": 300, "port": 40123}`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import django

django.setup()

from django.conf import settings  # noqa: E402  the apps must be loaded
from django.contrib.auth import get_user_model  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils import timezone  # noqa: E402

from games.models import Game, Snapshot  # noqa: E402
from orchestrator_site.cookies import cookie_name  # noqa: E402
from pools.models import Fleet, Lease, Origin, Pool, Sandbox, State  # noqa: E402
from pools.staged import StagedGame  # noqa: E402
from pools.staged import write as write_staged  # noqa: E402
from runs import launch_hours, upkeep  # noqa: E402
from runs.models import Run  # noqa: E402
from tests.bench.agents import PID  # noqa: E402
from tests.bench.crowd import crowd  # noqa: E402

GAME = "snake"
SHA256 = "a" * 64
IMAGE, REGION, SIZE = "a/b:c", "syd", "apps-s-1vcpu-1gb"
BATCH = 500
FEW = 20


def found() -> None:
    """A fleet with a pool and a game that has its snapshot."""
    Fleet.get()
    now = timezone.now()
    Pool.objects.get_or_create(
        name="python",
        defaults={
            "runtime": "python", "image": IMAGE, "region": REGION, "size": SIZE, "target_ready": 1000,
            "max_ready": 1000, "max_concurrent_creates": 10,
        },
    )  # fmt: skip
    game, is_new = Game.objects.get_or_create(
        slug=GAME,
        defaults={"title": "Snake", "runtime": "python", "run_command": "x", "snapshot_name": GAME, "port": 5000},
    )
    if is_new:
        Snapshot.objects.create(game=game, state="current", sha256=SHA256, started_at=now, built_at=now)


def stock(count: int, port: int, **fields: Any) -> None:
    """So many more READY sandboxes with the game running in them, each at an address of its own."""
    now, pool = timezone.now(), Pool.objects.get()
    former = Sandbox.objects.count()
    staged = write_staged({GAME: StagedGame(SHA256, f"games/{GAME}", 5000, PID, started=True)})
    sandboxes = []
    for number in range(former, former + count):
        key = uuid4()
        host = f"127.{1 + number // 62_500 % 200}.{number // 250 % 250}.{1 + number % 250}"
        values = {
            "id": key, "name": f"{settings.SANDBOX_NAME_PREFIX}f{number:07x}", "pool": pool, "runtime": "python",
            "image": IMAGE, "region": REGION, "size": SIZE, "app_id": str(uuid4()), "url": f"http://{host}:{port}",
            "state": State.READY, "origin": Origin.POOL, "create_code": "demand", "create_reason": "bench",
            "staged": staged, "health_checked_at": now, "requested_at": now, "create_sent_at": now,
            "accepted_at": now, "healthy_at": now, "ready_at": now,
        }  # fmt: skip
        sandboxes.append(Sandbox(**values | fields))
    Sandbox.objects.bulk_create(sandboxes, batch_size=BATCH)


def live(count: int, port: int) -> None:
    """So many runs that are being played, each in its sandbox."""
    now, game = timezone.now(), Game.objects.get()
    before = set(Run.objects.exclude(sandbox=None).values_list("sandbox_id", flat=True))
    until = now + timedelta(hours=2)
    stock(count, port, state=State.IN_USE, acquired_at=now, expires_at=until)
    taken = Sandbox.objects.filter(state=State.IN_USE).exclude(pk__in=before).values_list("pk", flat=True)
    runs = [
        Run(
            game=game, sandbox_id=key, mode="warm", served_by="pool", deployed_from="staged", state="running",
            visitor=f"visitor {number % 5000}", port=5000, acquire_ms=10, bootstrap_ms=0, restore_ms=0, start_ms=10,
            total_ms=20, created_at=now, acquired_at=now, ready_at=now, expires_at=until,
        )
        for number, key in enumerate(taken)
    ]  # fmt: skip
    Run.objects.bulk_create(runs, batch_size=BATCH)


def ended(first: int, until: int) -> None:
    """Runs that are over, with all that is left of them."""
    crowd(first, until)


def settled() -> None:
    """What the product itself keeps up to date of its totals while it is left alone."""
    now = timezone.now()
    upkeep.put_right(now)
    for _ in launch_hours.settle(now):
        pass
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    else:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")


def operator(port: int) -> str:
    """The cookie of an operator who is signed in at the web process on that port."""
    user = User.objects.filter(username="bench").first() or get_user_model().objects.create_superuser("bench")
    client = Client()
    client.force_login(user)
    return f"{cookie_name('session', f'http://127.0.0.1:{port}')}={client.cookies[settings.SESSION_COOKIE_NAME].value}"


def a_run() -> str:
    """A run that is being played."""
    return str(Run.objects.filter(state="running").values_list("pk", flat=True)[0])


def commits(count: int) -> list[float]:
    """Milliseconds of a bare commit of one row."""
    lease, _ = Lease.objects.get_or_create(name="bench", defaults={"holder": uuid4(), "expires_at": timezone.now()})
    mine, took = Lease.objects.filter(pk=lease.pk), []
    for _ in range(count):
        began = time.perf_counter()
        mine.update(expires_at=timezone.now())
        took.append(1000 * (time.perf_counter() - began))
    lease.delete()
    return took


def claims(count: int, at_once: int) -> float:
    """Sandboxes that are claimed in a second, each by one statement, over so many connections; given back then."""
    skip = "FOR UPDATE SKIP LOCKED" if connection.vendor == "postgresql" else ""
    statement = (
        "UPDATE pools_sandbox SET state = 'in_use', acquired_at = ready_at WHERE state = 'ready' AND id = "
        f"(SELECT id FROM pools_sandbox WHERE state = 'ready' ORDER BY ready_at LIMIT 1 {skip}) RETURNING id"
    )
    taken: list[Any] = []

    def claimant() -> None:
        with connection.cursor() as cursor:
            for _ in range(count // at_once):
                cursor.execute(statement)
                taken.extend(cursor.fetchall())
        connection.close()

    threads = [threading.Thread(target=claimant) for _ in range(at_once)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    Sandbox.objects.filter(state=State.IN_USE, run=None).update(state=State.READY, acquired_at=None)
    return len(taken) / seconds


def small_tables() -> list[str]:
    """The tables of few rows: what every launch writes in one of them, every other launch waits for."""
    with connection.cursor() as cursor:
        found = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {FEW + 1}) AS beginning")
            if 0 < cursor.fetchone()[0] <= FEW:
                found.append(table)
        return found


def count(state: str = "ready") -> int:
    return Sandbox.objects.filter(state=state).count()


ORDERS = {
    act.__name__: act for act in (stock, live, ended, settled, operator, a_run, commits, claims, small_tables, count)
}

if __name__ == "__main__":
    found()
    print(json.dumps(None), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(ORDERS[order.pop("order")](**order)), flush=True)
