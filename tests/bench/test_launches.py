"""From the click until the game's page has come through the proxy, on the embedded default, next to the floor."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import httpx
import pytest

from tests.fixtures.stack import Stack
from tests.fixtures.waiting import until

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]
DEPLOY_SECONDS = 2.0
# One bare commit, and one request to a sandbox and back: nothing that launches can be faster.
FLOOR = """
import time
from pools.models import Lease, Sandbox, State
from pools.cloud.account import agent_of
from django.utils import timezone
from uuid import uuid4
sandbox = Sandbox.objects.filter(state=State.READY).first()
agent = agent_of(sandbox)
agent.health()
for n in range(40):
    began = time.perf_counter()
    Lease.objects.update_or_create(name="bench", defaults={"holder": uuid4(), "expires_at": timezone.now()})
    agent.health()
    print((time.perf_counter() - began) * 1000)
Lease.objects.filter(name="bench").delete()
"""


def quantiles(values: list[float]) -> tuple[float, float]:
    """Median and 99th percentile (the maximum of few)."""
    ordered = sorted(values)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]


@pytest.fixture
def site(make_stack: Callable[..., Stack]) -> Stack:
    stack = make_stack(
        MAX_RUNS_PER_HOUR="100000", MAX_TOTAL_SANDBOXES="8", MAX_CONCURRENT_WARM="8", MAX_CONCURRENT_COLD="8",
        LOCALCLOUD_DEPLOY_SECONDS=str(DEPLOY_SECONDS), WARM_POOL_TARGET_READY="4", WARM_POOL_MAX_READY="5",
        WARM_POOL_MAX_CONCURRENT_CREATES="4",
    )  # fmt: skip
    stack.start()
    until(lambda: "Snapshot of tic-tac-toe is ready" in stack.log, "the snapshots are built", seconds=120)
    return stack


def ready(stack: Stack, count: int) -> bool:
    return stack.get("/api/pool/status").json()["pools"]["python"]["ready"] >= count


def launch(client: httpx.Client, mode: str, *, use_snapshot: bool = True, game: str = "snake") -> tuple[float, dict]:
    """Milliseconds until the page has come, and the run."""
    began = time.perf_counter()
    run = client.post(f"/api/launch/{mode}", json={"game": game, "use_snapshot": use_snapshot}).json()
    while run["status"] != "running":
        assert run["status"] not in ("failed", "ended"), run
        time.sleep(0.01)
        run = client.get(f"/api/sandbox/{run['run_id']}").json()
    page = client.get(f"/play/{run['run_id']}/")
    assert page.status_code == 200, page.text
    took = (time.perf_counter() - began) * 1000
    timings = run["timings"]
    parts = sum(timings[part] for part in ("acquire_ms", "bootstrap_ms", "restore_ms", "start_ms"))
    assert parts == timings["total_ms"], timings
    return took, run


def measure(
    stack: Stack, client: httpx.Client, mode: str, count: int, expected: tuple[str, str], **options
) -> list[float]:
    times = []
    while len(times) < count:
        if mode == "warm":
            until(lambda: ready(stack, 1), "a sandbox is ready", seconds=60)
        took, run = launch(client, mode, **options)
        if (run["served_by"], run["deployed_from"]) == expected:
            times.append(took)
        client.delete(f"/api/sandbox/{run['run_id']}")
    return times


def test_launches(site: Stack, capsys) -> None:
    rows = []
    with httpx.Client(base_url=site.url, timeout=60, trust_env=False) as client:
        launch(client, "warm")  # demand, and everything imported
        until(lambda: ready(site, 2), "the pool is warm", seconds=60)
        floor = quantiles([float(line) for line in site.python(FLOOR).split()])
        rows.append(("floor: a commit and a round trip", floor, 40))
        warm = measure(site, client, "warm", 30, ("pool", "staged"))
        rows.append(("warm, staged", quantiles(warm), len(warm)))
        site.python("from pools.models import Pool; Pool.objects.update(stage='none', recycle_before=None)")
        site.python("from pools.models import Sandbox; Sandbox.objects.filter(state='ready').update(staged={})")
        unstaged = measure(site, client, "warm", 10, ("pool", "snapshot"))
        rows.append(("warm, unstaged, from snapshot", quantiles(unstaged), len(unstaged)))
        cold = measure(site, client, "cold", 8, ("cold", "snapshot"))
        rows.append((f"cold, from snapshot (deploys take {DEPLOY_SECONDS:g} s)", quantiles(cold), len(cold)))
    with capsys.disabled():
        print("\n| launch until its page has come | p50 ms | p99 ms | times the floor | n |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for name, (p50, p99), count in rows:
            print(f"| {name} | {p50:.0f} | {p99:.0f} | {p50 / floor[0]:.1f} | {count} |")
