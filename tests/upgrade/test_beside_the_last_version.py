"""The last version and this one on one database, under load: nobody notices which of them answers, or that one goes."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.fixtures.catalog import Catalog
from tests.fixtures.databases import Database
from tests.fixtures.last_version import MakeVersion, Version
from tests.fixtures.local_cloud import TOKEN
from tests.fixtures.machines import Account
from tests.fixtures.waiting import until

SETTINGS = {
    "SECRET_KEY": "one key for both versions " * 3,
    "DIGITALOCEAN_TOKEN": TOKEN,
    "ORCHESTRATOR_ID": "both-versions",
    "ANYONE_MAY_END_RUNS": "true",
    "MAX_TOTAL_SANDBOXES": "6",
    "WARM_POOL_TARGET_READY": "2",
    "WARM_POOL_MAX_READY": "4",
    "CLOUD_REQUESTS_PER_MINUTE": "5000",
    "MAX_CONCURRENT_COLD": "100",
    "MAX_CONCURRENT_WARM": "100",
    "MAX_TOTAL_ACTIVE": "100",
    "MAX_RUNS_PER_HOUR": "100000",
    "MAX_ACTIVE_PER_CLIENT": "100",
    "MAX_RUNS_PER_HOUR_PER_CLIENT": "100000",
    "MAX_ACTIVE_PER_NETWORK": "100",
    "MAX_RUNS_PER_HOUR_PER_NETWORK": "100000",
    "DRAIN_SECONDS": "1",
}
PREPARE = "from django.core.management import call_command; call_command('prepare')"
COUNTS = """
import json
from django.db.models import Count
from pools.models import Sandbox
from runs.models import OVER, Run
print(json.dumps({
    "runs": {str(run.pk): [run.state, run.end_code, run.end_reason] for run in Run.objects.all()},
    "shared": Sandbox.objects.annotate(n=Count("run")).filter(n__gt=1).count(),
    "existing": sorted(Sandbox.objects.exclude(state="deleted").values_list("name", flat=True)),
}))
"""
PLAYERS = 2
ENOUGH = 8  # runs played in each stage


class Players:
    """Each launches a game by one web server, follows it by another, plays, and ends it. `webs` may change at any
    time: what a load balancer does, which takes a server out before that is stopped."""

    def __init__(self, *webs: str) -> None:
        self.webs = list(webs)
        self.in_hand: Counter[str] = Counter()
        self.played: list[str] = []
        self.failures: list[str] = []
        self._turn = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._play_on) for _ in range(PLAYERS)]

    def __enter__(self) -> Players:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(120)

    def play(self, more: int) -> None:
        goal = len(self.played) + more
        until(lambda: len(self.played) >= goal or self.failures, f"{more} more games were played", seconds=120)
        assert not self.failures

    def take_out(self, web: str) -> None:
        """It gets no new requests; return when it has none in hand."""
        with self._lock:
            self.webs.remove(web)
        until(lambda: not self.in_hand[web], "what it has in hand is finished")

    def _play_on(self) -> None:
        while not self._stopping.is_set() and not self.failures:
            try:
                self._play_once()
            except (httpx.HTTPError, AssertionError, KeyError, ValueError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")

    def _play_once(self) -> None:
        run = self._ask("POST", "/api/launch", json={"game": "chess"})["run_id"]
        until(lambda: self._state(run) in ("running", "failed"), "it plays", seconds=60, every=0.2)
        assert self._state(run) == "running"
        assert "Chess" in self._text("GET", f"/play/{run}/")
        self._ask("DELETE", f"/api/sandbox/{run}")
        assert "chess" in self._text("GET", f"/api/stream/{run}"), "all of its log, whoever wrote it"
        self.played.append(run)

    def _state(self, run: str) -> str:
        return str(self._ask("GET", f"/api/runs/{run}")["state"])

    def _ask(self, method: str, path: str, **options: object) -> dict[str, object]:
        answer = self._send(method, path, **options)
        return answer.json() if answer.content else {}

    def _text(self, method: str, path: str) -> str:
        return self._send(method, path).text

    def _send(self, method: str, path: str, **options: object) -> httpx.Response:
        with self._lock:
            self._turn += 1
            web = self.webs[self._turn % len(self.webs)]
            self.in_hand[web] += 1
        try:
            answer = httpx.request(method, web + path, timeout=60, trust_env=False, follow_redirects=True, **options)
            assert answer.is_success, f"{method} {path} by {web}: {answer.status_code} {answer.text[:300]}"
            return answer
        finally:
            with self._lock:
                self.in_hand[web] -= 1


@pytest.fixture
def both(
    shared_account: Account, shared_database: Database, make_version: MakeVersion, tmp_path: Path
) -> tuple[Version, Version]:
    Catalog(tmp_path / "catalog").write("chess")
    shared_database.environment.update(
        SETTINGS, DIGITALOCEAN_API_URL=shared_account.url, CATALOG_DIR=str(tmp_path / "catalog")
    )
    shared_database.answer(PREPARE)
    return make_version("last"), make_version("this")


def test_an_upgrade_under_load_fails_no_request_and_loses_no_run(
    both: tuple[Version, Version], shared_database: Database, shared_account: Account
):
    last, this = both
    with Players(last.url, this.url) as players:
        players.play(ENOUGH)  # by both
        assert last.cluster.stop() == 0
        players.play(ENOUGH)  # its tasks are done by ours
        players.take_out(last.url)  # it does not drain by itself yet
        last.web.stop()
        players.play(ENOUGH)
    found = json.loads(shared_database.answer(COUNTS))
    assert {run: found["runs"][run][0] for run in players.played} == dict.fromkeys(players.played, "ended")
    assert all(reason for state, _, reason in found["runs"].values() if state in ("ended", "failed"))
    assert not found["shared"], "a sandbox served two"
    until(
        lambda: (
            {app["name"] for app in shared_account.apps()}
            <= set(json.loads(shared_database.answer(COUNTS))["existing"])
        ),
        "no app is an orphan",
        seconds=60,
    )
