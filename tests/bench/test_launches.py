"""From the click until the game's page has come through the proxy, on the embedded default, next to the floor."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import httpx
import pytest

from tests.fixtures.stack import MANAGE, Stack
from tests.fixtures.waiting import until

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]
DEPLOY_SECONDS = 2.0
TARGET = 4
# One bare commit, and one request to a sandbox and back: nothing that launches can be faster. One a line that is read,
# so that each launch is seen beside what the machine could do at that moment.
FLOOR = """
import sys, time
from uuid import uuid4
from django.utils import timezone
from pools.models import Lease, Sandbox, State
Lease.objects.create(name="bench", holder=uuid4(), expires_at=timezone.now())
lease = Lease.objects.filter(name="bench")
for _ in sys.stdin:
    agent = Sandbox.objects.filter(state=State.READY).first().agent()
    agent.health()
    began = time.perf_counter()
    lease.update(expires_at=timezone.now())
    agent.health()
    print((time.perf_counter() - began) * 1000, flush=True)
lease.delete()
"""


class Floor:
    """A process beside the product's own, with its database."""

    def __init__(self, stack: Stack) -> None:
        command = [sys.executable, MANAGE, "shell", "--no-imports", "--command", FLOOR]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=stack.environment, **pipes)
        self.times: list[float] = []

    def measure(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.times.append(float(self.process.stdout.readline()))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(20)


def quantiles(values: list[float]) -> tuple[float, float]:
    """Median and 99th percentile (the maximum of few)."""
    ordered = sorted(values)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]


@pytest.fixture
def site(make_stack: Callable[..., Stack]) -> Stack:
    stack = make_stack(
        MAX_RUNS_PER_HOUR="100000", MAX_TOTAL_SANDBOXES="8", MAX_CONCURRENT_WARM="8", MAX_CONCURRENT_COLD="8",
        LOCALCLOUD_DEPLOY_SECONDS=str(DEPLOY_SECONDS), WARM_POOL_MAX_CONCURRENT_CREATES="4",
        WARM_POOL_TARGET_READY=str(TARGET), WARM_POOL_MAX_READY=str(TARGET),
    )  # fmt: skip
    stack.start()
    until(lambda: "Snapshot of tic-tac-toe is ready" in stack.log, "the snapshots are built", seconds=120)
    return stack


def is_calm(stack: Stack) -> bool:
    """The pool is full and nothing is being created or deleted: what a player meets who comes alone."""
    status = stack.get("/api/pool/status").json()
    return status["pools"]["python"]["ready"] == status["total_sandboxes"] == TARGET


def launch(client: httpx.Client, mode: str, *, use_snapshot: bool = True, game: str = "snake") -> tuple[float, dict]:
    """Milliseconds until the page has come, and the run."""
    began = time.perf_counter()
    run = client.post(f"/api/launch/{mode}", json={"game": game, "use_snapshot": use_snapshot}).json()
    while run["state"] != "running":
        assert run["state"] not in ("failed", "ended"), run
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
    stack: Stack, client: httpx.Client, mode: str, count: int, expected: tuple[str, str], floor: Floor | None = None
) -> list[float]:
    times = []
    while len(times) < count:
        until(lambda: is_calm(stack), "the fleet is calm", seconds=60, every=0.3)
        if floor is not None:
            floor.measure()
        took, run = launch(client, mode)
        assert (run["served_by"], run["deployed_from"]) == expected, run
        times.append(took)
        client.delete(f"/api/sandbox/{run['run_id']}")
    return times


def test_launches(site: Stack, capsys) -> None:
    with httpx.Client(base_url=site.url, timeout=60, trust_env=False) as client:
        _, first = launch(client, "warm")  # demand, and everything imported
        client.delete(f"/api/sandbox/{first['run_id']}")
        floor = Floor(site)
        warm = measure(site, client, "warm", 30, ("pool", "staged"), floor)
        floor.close()
        site.python("from pools.models import Pool; Pool.objects.update(stage='none', recycle_before=None)")
        site.python("from pools.models import Sandbox; Sandbox.objects.filter(state='ready').update(staged={})")
        unstaged = measure(site, client, "warm", 10, ("pool", "snapshot"))
        cold = measure(site, client, "cold", 8, ("cold", "snapshot"))
    rows = {
        "floor: a commit and a round trip": floor.times,
        "warm, staged": warm,
        "warm, unstaged, from snapshot": unstaged,
        f"cold, from snapshot (deploys take {DEPLOY_SECONDS:g} s)": cold,
    }
    least = statistics.median(floor.times)
    with capsys.disabled():
        print("\n| launch until its page has come | p50 ms | p99 ms | times the floor | n |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for name, times in rows.items():
            p50, p99 = quantiles(times)
            print(f"| {name} | {p50:.0f} | {p99:.0f} | {p50 / least:.1f} | {len(times)} |")
