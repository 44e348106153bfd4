"""Snapshots in a bucket: a real S3 server, real presigned addresses, and what becomes of launches when it goes away."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.core.files.storage import storages

from games import builds, deploy, snapshots, tasks
from games.models import Game, Snapshot, SnapshotState
from pools.models import FleetEvent
from tests.contract.stub_server import Reply, StubServer
from tests.fixtures.catalog import Catalog, Log, MakeSandbox
from tests.fixtures.spaces import BUCKET, Relay, SpacesServer
from tests.fixtures.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def chess(spaces: SpacesServer, catalog: Catalog, settings, sandbox_programs: Path) -> Game:
    """A game with a snapshot in the bucket; it does not compress, so that its way is not too short to be cut."""
    settings.LOCALCLOUD_DIR = sandbox_programs
    game = catalog.add("chess", files={"board.hex": os.urandom(40_000).hex()})
    catalog.publish("chess")
    return game


def in_games_folder(agent) -> set[str]:
    return set(agent.run("ls -A", cwd=deploy.GAMES_DIR).stdout.split())


def test_a_sandbox_downloads_it_from_the_bucket_by_an_address_that_expires(
    spaces: SpacesServer, chess: Game, make_sandbox: MakeSandbox, log: Log, settings
):
    snapshot = chess.snapshots.get()
    assert f"snapshots/chess-python/{snapshot.sha256}.tar.gz" in spaces.stored()
    url = snapshots.download_url(snapshot)
    query = parse_qs(urlsplit(url).query)
    assert query["X-Amz-Expires"] == [str(settings.SNAPSHOT_URL_SECONDS)]
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert httpx.get(url, trust_env=False).status_code == 200
    assert httpx.get(url.split("?")[0], trust_env=False).status_code == 403, "nobody gets it without a signature"

    agent = make_sandbox()
    done = deploy.deploy(agent, chess, use_snapshot=True, say=log)
    assert (done.deployed_from, done.sha256) == ("snapshot", snapshot.sha256)
    assert not log.warnings
    assert b"<h1>Chess</h1>" in agent.fetch(done.port, "/").body


def down(spaces: SpacesServer, relay: Relay) -> None:
    spaces.stop()


def cut(spaces: SpacesServer, relay: Relay) -> None:
    relay.most_bytes = 20_000


def damaged(spaces: SpacesServer, relay: Relay) -> None:
    [key] = [key for key in spaces.stored() if "chess" in key and Snapshot.objects.get().sha256 in key]
    spaces.client().put_object(Bucket=BUCKET, Key=key, Body=b"something else")


def silent(spaces: SpacesServer, relay: Relay) -> None:
    os.kill(spaces.process.pid, signal.SIGSTOP)


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (down, "not downloaded"),
        (cut, "the download ended after"),
        (damaged, "SHA-256 is"),
        (silent, "timed out"),
    ],
)
def test_trouble_with_the_bucket_is_told_and_the_game_comes_whole_from_its_source(
    spaces: SpacesServer, chess: Game, make_sandbox: MakeSandbox, log: Log, settings, monkeypatch, trouble, told: str
):
    if trouble is silent:
        monkeypatch.setattr(deploy, "RESTORE_IDLE_SECONDS", 1)
    relay = Relay(spaces.port)
    settings.SPACES_ENDPOINT_URL = relay.url
    settings.STORAGES = dict(settings.STORAGES)  # the storage is made anew
    trouble(spaces, relay)
    agent = make_sandbox()
    try:
        done = deploy.deploy(agent, chess, use_snapshot=True, say=log)
    finally:
        if trouble is silent:
            os.kill(spaces.process.pid, signal.SIGCONT)
        relay.close()
    assert done.deployed_from == "source"
    [warning] = log.warnings
    assert told in warning
    assert warning.endswith("deploying from source.")
    assert b"<h1>Chess</h1>" in agent.fetch(done.port, "/").body
    files = set(agent.run("ls -A", cwd=f"{deploy.GAMES_DIR}/chess").stdout.split())
    assert files >= {"server.py", "index.html", "board.hex", "game.toml"}
    assert in_games_folder(agent) == {"chess", "restore.py", "port.py", ".keep"}, "nothing half is left"


def test_a_bucket_out_of_reach_damns_no_snapshot_and_one_that_lost_it_gets_it_again(
    spaces: SpacesServer, chess: Game, worker
):
    worker.left_out = ("pools.tasks.reconcile",)
    snapshot = chess.snapshots.get()
    spaces.stop()
    tasks.check_snapshot(snapshot.pk)
    assert chess.snapshots.get().state == SnapshotState.CURRENT
    assert "its storage can't be reached" in FleetEvent.objects.filter(kind="snapshot").first().message

    spaces.start()
    tasks.check_snapshot(snapshot.pk)
    worker.work()
    assert chess.snapshots.get().state == SnapshotState.CURRENT
    assert spaces.stored() == [f"snapshots/chess-python/{snapshot.sha256}.tar.gz"]


def test_a_build_that_can_not_be_stored_leaves_the_earlier_one_in_place(spaces: SpacesServer, chess: Game, catalog):
    spaces.stop()
    game = catalog.add("chess", files={"index.html": "new"})
    assert builds.build([game]) == []
    states = dict(game.snapshots.values_list("state", "error"))
    assert set(states) == {"current", "failed"}
    assert "127.0.0.1" in states["failed"]


def test_an_old_snapshot_leaves_the_bucket(spaces: SpacesServer, chess: Game, monkeypatch):
    monkeypatch.setattr(snapshots, "OLD_KEPT", 0)
    before = chess.snapshots.get()
    Snapshot.objects.update(state=SnapshotState.OLD)
    assert storages["snapshots"].exists(before.storage_key)
    assert snapshots.prune(chess) == 1
    until(lambda: not any(before.sha256 in key for key in spaces.stored()), "the file is gone")


def test_a_bucket_that_trickles_or_is_stood_in_for_damns_no_snapshot_and_holds_nobody(
    spaces: SpacesServer, chess: Game, settings, monkeypatch
):
    """Each piece came in time, for as long as it liked; a 404 of something in between was a lost snapshot."""
    monkeypatch.setattr("games.spaces.WHOLE_FILE_SECONDS", 1)
    stub = StubServer()
    settings.SPACES_ENDPOINT_URL = stub.url
    settings.STORAGES = dict(settings.STORAGES)

    def trickle() -> Iterator[bytes]:
        while not stub.over.wait(0.1):
            yield b"."

    try:
        for reply in (Reply(200, trickle()), Reply(404, b"<html>"), Reply(403, b"<Error><Code>?</Code></Error>")):
            stub.on("GET", ".*", reply)
            began = time.monotonic()
            assert snapshots.check(chess.snapshots.get())
            assert time.monotonic() - began < 15
            assert "X-Amz" not in str(list(FleetEvent.objects.values_list("message", flat=True)))
        stub.on("GET", ".*", Reply(404, b"<Error><Code>NoSuchKey</Code></Error>"))
        assert not snapshots.check(chess.snapshots.get())
    finally:
        stub.stop()
