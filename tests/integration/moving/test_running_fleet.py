"""A fleet in use moves to PostgreSQL: nobody who plays notices, and nothing in the account is made or deleted."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.fixtures.catalog import Catalog
from tests.fixtures.local_cloud import TOKEN
from tests.fixtures.machines import Account
from tests.fixtures.stack import Stack
from tests.fixtures.waiting import until
from tests.integration.moving.conftest import started_with_games

SIGNED_IN = """
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.get(username="operator"), "django.contrib.auth.backends.ModelBackend")
print(settings.SESSION_COOKIE_NAME, client.cookies[settings.SESSION_COOKIE_NAME].value)
"""
KEPT = ("auth_user", "pools_apikey", "pools_pool", "runs_run", "pools_sandbox", "django_q_schedule")


class Follower(threading.Thread):
    """A program that follows the feed of events by a stream; `seqs` are those it was told."""

    def __init__(self, stack: Stack, key: str, **headers: str) -> None:
        super().__init__(daemon=True)
        self.url, self.seqs = f"{stack.url}/api/events", list[int]()
        self.headers = {"X-API-Key": key, "Accept": "text/event-stream", **headers}
        self.start()

    def run(self) -> None:
        with (
            suppress(httpx.HTTPError),
            httpx.stream(
                "GET", self.url, params={"after": 0}, headers=self.headers, timeout=None, trust_env=False
            ) as answer,
        ):
            for line in answer.iter_lines():
                if line.startswith("id:"):
                    self.seqs.append(int(line[3:]))


@pytest.fixture
def stack(shared_account: Account, tmp_path: Path) -> Iterator[Stack]:
    """On SQLite, with an account that goes on when it stops, as App Platform does."""
    catalog = Catalog(tmp_path / "catalog")
    catalog.write("chess", position=1)
    (tmp_path / "var").mkdir()
    stack = Stack(
        tmp_path / "var", CATALOG_DIR=str(catalog.folder), MAX_TOTAL_SANDBOXES="3",
        ORCHESTRATOR_ID="moving", DIGITALOCEAN_TOKEN=TOKEN, DIGITALOCEAN_API_URL=shared_account.url,
    )  # fmt: skip
    with started_with_games(stack):
        yield stack


def launch(stack: Stack) -> dict[str, Any]:
    answer = httpx.post(f"{stack.url}/api/launch/warm", json={"game": "chess"}, timeout=60, trust_env=False)
    return answer.json() | {"http": answer.status_code}


def counts(stack: Stack, url: str) -> tuple[dict[str, int], dict[str, int]]:
    """How many rows of what is kept for good are in the file and in PostgreSQL."""
    with closing(sqlite3.connect(f"file:{stack.var}/orchestrator.sqlite3?mode=ro", uri=True)) as old:
        before = {name: old.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in KEPT}
    with psycopg.connect(url) as new:
        return before, {name: new.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in KEPT}


def test_a_fleet_in_use_goes_on_where_it_was_moved(stack: Stack, shared_account: Account, postgres_url: str) -> None:
    run = launch(stack)
    path, page = f"/api/sandbox/{run['run_id']}", f"/play/{run['run_id']}/"
    until(lambda: stack.get(path).json()["state"] == "running", "somebody plays", seconds=120)
    until(lambda: stack.get("/api/pool/status").json()["ready"] >= 1, "a warm sandbox waits", seconds=120)
    key = stack.manage("api_key", "make", "robot", "--scope", "admin").stdout.split()[-1]
    name, session = stack.python(SIGNED_IN).split()
    follower = Follower(stack, key)
    until(lambda: follower.seqs, "it is told")
    was = shared_account.state()

    moved = stack.manage("move_database", postgres_url)
    assert moved.returncode == 0, moved.stderr
    before, after = counts(stack, postgres_url)
    assert after == before

    refused = launch(stack)
    assert (refused["http"], "can't be used right now" in refused["detail"]) == (503, True), refused
    assert "Chess" in stack.get(page).text, "the old processes still let play"
    assert "This database was moved to PostgreSQL (" in stack.log
    stack.stop()
    follower.join(20)

    stack.env(DATABASE_URL=postgres_url).start().wait_until_ready()
    assert stack.get(path).json()["state"] == "running"
    assert "Chess" in stack.get(page).text
    assert stack.get("/api/pool/status", headers={"X-API-Key": key}).json()["ready"] >= 1
    assert stack.get("/admin/", cookies={name: session}).status_code == 200
    for _ in range(2):
        assert stack.manage("reconcile").returncode == 0
    now = shared_account.state()
    assert (now["creates"], now["deletes"]) == (was["creates"], was["deletes"])
    assert {app["id"] for app in now["apps"]} == {app["id"] for app in was["apps"]}

    later = Follower(stack, key, **{"Last-Event-ID": str(follower.seqs[-1])})
    warm = launch(stack)
    assert (warm["http"], warm["state"], warm["served_by"]) == (201, "running", "pool"), warm
    ended = httpx.delete(stack.url + path, headers={"Authorization": f"Bearer {run['token']}"}, trust_env=False)
    assert ended.status_code == 200
    until(lambda: len(later.seqs) > 2, "what happens is told where it was left off")
    told = [*follower.seqs, *later.seqs]
    page_of = stack.get(f"/api/events?after={told[0] - 1}&limit=500", headers={"X-API-Key": key}).json()
    assert told == [event["seq"] for event in page_of["events"]][: len(told)]
    until(lambda: shared_account.state()["deletes"] > was["deletes"], "what was played is deleted", seconds=60)
