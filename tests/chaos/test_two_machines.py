"""Two machines with the same host name and clocks that differ, under launches, one of them frozen at random.

At the end everything is counted: docs/invariants.md.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.fixtures.databases import Database
from tests.fixtures.machines import Account, Machine, MakeMachine
from tests.fixtures.waiting import until

GAMES = ("memory", "snake", "tic-tac-toe")
MOST_SANDBOXES = 6
SETTINGS = {
    "ANYONE_MAY_END_RUNS": "true",  # also one whose token was lost with a machine
    "MAX_TOTAL_SANDBOXES": str(MOST_SANDBOXES),
    "MAX_CONCURRENT_COLD": "100",
    "MAX_CONCURRENT_WARM": "100",
    "MAX_TOTAL_ACTIVE": "100",
    "MAX_RUNS_PER_HOUR": "100000",
    "WARM_POOL_TARGET_READY": "2",
    "CLOUD_REQUESTS_PER_MINUTE": "5000",
    "ORCHESTRATOR_ID": "two-machines",
}
COUNTS = """
import json
from collections import Counter
from django.db.models import Count
from pools.models import Fleet, Sandbox
from runs.models import OVER, Run
runs = Run.objects.values_list("state", "end_code")
print(json.dumps({
    "rows": sorted(Sandbox.objects.exclude(state="deleted").values_list("name", flat=True)),
    "states": Counter(Sandbox.objects.values_list("state", flat=True)),
    "runs": Counter(f"{state} {code}".strip() for state, code in runs),
    "shared": Sandbox.objects.annotate(n=Count("run")).filter(n__gt=1).count(),
    "unexplained": Run.objects.filter(state__in=["ended", "failed"], end_reason="").count(),
    "active": [str(id) for id in Run.objects.exclude(state__in=OVER).values_list("id", flat=True)],
    "stopped": Fleet.get().stopped_at is not None,
}))
"""


class Players:
    """Launch through any machine, play for a moment, end the run through any machine."""

    def __init__(self, machines: list[Machine], seed: int) -> None:
        self.machines, self.random = machines, random.Random(seed)
        self.answers: Counter[str] = Counter()
        self.over = threading.Event()

    def play(self) -> None:
        while not self.over.wait(self.random.uniform(0.1, 0.5)):
            try:
                self._one()
            except httpx.HTTPError as error:  # a frozen machine does not answer
                self.answers[type(error).__name__] += 1

    def _one(self) -> None:
        mode = self.random.choice(["warm", "warm", "cold"])
        launched = self._ask("POST", f"/api/launch/{mode}", json={"game": self.random.choice(GAMES)})
        self.answers[f"launch {launched.status_code}"] += 1
        if launched.status_code != 201:
            return
        run = launched.json()["run_id"]
        self.over.wait(self.random.uniform(0.5, 3))
        ended = self._ask("DELETE", f"/api/sandbox/{run}")
        self.answers[f"end {ended.status_code}"] += 1

    def _ask(self, method: str, path: str, **options: object) -> httpx.Response:
        url = self.random.choice(self.machines).url + path
        return httpx.request(method, url, timeout=10, trust_env=False, **options)  # type: ignore[arg-type]


def storm(machines: list[Machine], players: Players, seconds: float, seed: int) -> list[str]:
    """Freeze one machine after another, for seconds that no lock and no lease outlasts; what was done."""
    chance, told = random.Random(seed), []
    deadline = time.monotonic() + seconds
    threads = [threading.Thread(target=players.play) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        while time.monotonic() < deadline:
            time.sleep(chance.uniform(2, 5))
            victim, frozen_seconds = chance.choice(machines), chance.uniform(3, 20)
            told.append(f"machine {machines.index(victim)} frozen for {frozen_seconds:.0f} s")
            victim.freeze()
            time.sleep(frozen_seconds)
            victim.thaw()
    finally:
        players.over.set()
        for thread in threads:
            thread.join(60)
    return told


def counted(database: Database) -> dict[str, Any]:
    return json.loads(database.answer(COUNTS))


def names(account: Account) -> list[str]:
    return sorted(app["name"] for app in account.apps())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [int(seed) for seed in os.environ.get("CHAOS_SEEDS", "1").split(",")])
def test_nothing_is_lost_or_doubled_between_two_machines_of_which_one_freezes(
    seed: int, make_machine: MakeMachine, shared_account: Account, shared_database: Database
) -> None:
    ahead, behind = make_machine(61, **SETTINGS), make_machine(-30, **SETTINGS)
    ahead.start()
    behind.start()
    players = Players([ahead, behind], seed)
    told = storm([ahead, behind], players, float(os.environ.get("CHAOS_SECONDS", "30")), seed)

    def at_rest() -> bool:
        """No run goes on, and the account holds what the rows say."""
        found = counted(shared_database)
        story.append(found)
        for run in found["active"]:  # its player met a frozen machine, and left without its id
            httpx.delete(f"{ahead.url}/api/sandbox/{run}", timeout=20, trust_env=False)
        is_same = found["rows"] == names(shared_account)
        return is_same and not found["active"] and set(found["states"]) <= {"ready", "deleted"}

    story: list[dict[str, Any]] = []
    try:
        until(at_rest, "all is at rest", seconds=120, every=1)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{told}\n{players.answers}\n{story[-1]}\n{names(shared_account)}") from None
    found = story[-1]
    print(players.answers, found)
    assert found["shared"] == 0, "a sandbox served two runs"
    assert shared_account.state()["most_apps"] <= MOST_SANDBOXES
    assert found["unexplained"] == 0
    assert not found["stopped"]
    assert players.answers["launch 201"] >= 10, players.answers
    assert not [answer for answer in players.answers if answer.split()[-1] == "500"], players.answers
    assert set(found["runs"]) <= {"ended ended_by_api"}, (found["runs"], told)
