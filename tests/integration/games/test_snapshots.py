"""Snapshots from the build in a sandbox to the signed address, and what becomes of old, failed and damaged ones."""

from __future__ import annotations

import hashlib
import io
import tarfile
from datetime import timedelta
from threading import Thread
from urllib.parse import urlsplit

import httpx
import pytest
from django.core.files.storage import FileSystemStorage, storages
from django.core.management import CommandError, call_command
from django.core.signing import TimestampSigner
from django.db import connection
from django.utils import timezone

from games import builds, downloads, snapshots, tasks
from games.build_sandbox import NoWorkbench
from games.models import Game, Snapshot, SnapshotState
from games.snapshots import OLD_KEPT, SnapshotUnavailable
from pools import leases
from pools.models import FleetEvent, Lease, Sandbox, State
from pools.tenure import LEASE_SECONDS
from tests.fixtures.catalog import Catalog
from tests.fixtures.waiting import until
from tests.integration.games.conftest import BuildSnapshot

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("downloads")]


def bytes_of(snapshot: Snapshot) -> bytes:
    with storages["snapshots"].open(snapshot.storage_key) as file:
        return file.read()


def stored(game: Game) -> list[str]:
    return sorted(storages["snapshots"].listdir(game.snapshot_name)[1])


def said() -> list[str]:
    return list(FleetEvent.objects.filter(kind="snapshot").order_by("seq").values_list("message", flat=True))


# Built.


def test_the_command_builds_and_shows_what_it_built(catalog: Catalog, capsys: pytest.CaptureFixture[str]):
    game = catalog.add("chess")
    catalog.add("go")
    call_command("snapshots", "build", "chess")
    snapshot = Snapshot.objects.get()
    assert (snapshot.game, snapshot.state, snapshot.source_digest) == (game, "current", game.source_digest)
    data = bytes_of(snapshot)
    assert snapshot.sha256 == hashlib.sha256(data).hexdigest()
    assert snapshot.storage_key == f"chess-python/{snapshot.sha256}.tar.gz"
    assert snapshot.size_bytes == len(data)
    assert f"chess: {snapshot.sha256}" in capsys.readouterr().out
    call_command("snapshots", "list")
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith(f"chess current {snapshot.sha256[:12]}")
    assert shown[1] == "go none"


def test_it_is_built_in_a_sandbox_and_holds_the_dependencies(catalog: Catalog, build: BuildSnapshot):
    """The install command sees the sandbox's home, not ours, and what it installs is in the archive."""
    install = "mkdir .deps && pwd > .deps/place.txt && echo 'VERSION = 2' > .deps/rules.py"
    main = "import sys\nsys.path.insert(0, '.deps')\nimport rules, server\n"
    snapshot = build(catalog.add("chess", install=install, run="python3 main.py", files={"main.py": main}))
    with tarfile.open(fileobj=io.BytesIO(bytes_of(snapshot))) as archive:
        assert {".deps/place.txt", ".deps/rules.py", "server.py"} < set(archive.getnames())
        place = archive.extractfile(".deps/place.txt").read().decode()
    assert "/workbenches/" in place


SHUFFLE = """
import compileall, pathlib, random
for number in random.sample(range(20), 20):
    pathlib.Path(f"m{number}.py").write_text("x = 1")
compileall.compile_dir(".", quiet=1)
"""


def test_two_builds_of_the_same_input_give_the_same_bytes(catalog: Catalog, build: BuildSnapshot):
    """Also when an installation makes its files in another order, at another time, and with bytecode that says when."""
    game = catalog.add("chess", install="python3 install.py", files={"install.py": SHUFFLE})
    first = build(game)
    second = build(game)
    assert first.sha256 == second.sha256
    assert stored(game) == [f"{first.sha256}.tar.gz"]
    assert Snapshot.objects.count() == 1
    assert said()[-1] == f"Snapshot of chess is unchanged: {second.size_bytes / 1024:.0f} KiB, {second.sha256[:12]}"


def test_a_game_that_has_changed_since_has_none(catalog: Catalog):
    """It would be played as it was."""
    game = catalog.add("chess")
    snapshot = Snapshot.objects.create(game=game, source_digest=game.source_digest, started_at=timezone.now())
    snapshots.publish(snapshot, io.BytesIO(b"as it was"), timezone.now())
    assert snapshots.current_snapshot(game).pk == snapshot.pk
    game.source_digest = "1" * 64
    with pytest.raises(SnapshotUnavailable, match="has changed"):
        snapshots.current_snapshot(game)


def test_old_ones_go_with_their_files(catalog: Catalog):
    game = catalog.add("chess")
    hashes = []
    for edition in range(OLD_KEPT + 3):
        now = timezone.now()
        snapshot = Snapshot.objects.create(game=game, source_digest=game.source_digest, started_at=now)
        snapshots.publish(snapshot, io.BytesIO(b"edition %d" % edition), now)
        hashes.append(hashlib.sha256(b"edition %d" % edition).hexdigest())
    call_command("snapshots", "prune")
    assert Snapshot.objects.get(state=SnapshotState.CURRENT).sha256 == hashes[-1]
    assert Snapshot.objects.filter(state=SnapshotState.OLD).count() == OLD_KEPT
    assert stored(game) == sorted(f"{sha256}.tar.gz" for sha256 in hashes[-1 - OLD_KEPT :])


def test_a_game_that_can_not_be_built_is_told_and_keeps_no_other_from_it(catalog: Catalog, capsys):
    catalog.write("broken", install="echo 'ERROR: no such package' >&2; exit 1", position=1)
    catalog.write("silent", run="python3 -c 'import nothing_of_the_kind'", position=2)
    catalog.add("chess", position=3)
    with pytest.raises(CommandError, match="Not built: broken, silent"):
        call_command("snapshots", "build")
    assert dict(Snapshot.objects.values_list("game__slug", "state")) == {
        "broken": "failed",
        "silent": "failed",
        "chess": "current",
    }
    error = Snapshot.objects.get(game__slug="broken").error
    assert error == "Broken could not be installed: ERROR: no such package"
    assert f"Snapshot of broken could not be built: {error}" in said()
    assert "No module named" in Snapshot.objects.get(game__slug="silent").error
    assert "broken: Broken could not be installed" in capsys.readouterr().err


def test_an_unknown_game_is_named(catalog: Catalog):
    with pytest.raises(CommandError, match="no game 'checkers'"):
        call_command("snapshots", "build", "checkers")


def test_only_one_builds_at_a_time(catalog: Catalog):
    catalog.add("chess")
    with leases.hold("snapshots", 60), pytest.raises(CommandError, match="being built already"):
        call_command("snapshots", "build")
    assert not Snapshot.objects.exists()


def test_nobody_else_begins_while_a_long_row_of_games_is_built(catalog: Catalog, clock, monkeypatch):
    """The lease was for one game's build, and was taken once for all of them."""
    monkeypatch.setattr("pools.tenure.RENEW_SECONDS", 0.05)
    games = [catalog.add("chess"), catalog.add("go")]
    others: list[bool] = []

    def build_for_long(game: Game, *_: object) -> Snapshot:
        clock.advance(900)
        until(lambda: Lease.objects.get().expires_at > timezone.now(), "the lease is renewed")
        try:
            leases.take("snapshots", LEASE_SECONDS)
        except leases.LeaseHeld:
            others.append(False)
        else:
            others.append(True)
        raise builds.BuildFailed("it is only a test")

    monkeypatch.setattr(builds, "_build_one", build_for_long)
    builds.build(games)
    assert others == [False, False]


def test_a_storage_that_does_not_delete_what_is_old_keeps_no_game_from_being_built(catalog: Catalog, monkeypatch):
    game = catalog.add("chess")
    for number in range(OLD_KEPT + 1):
        Snapshot.objects.create(
            game=game, state=SnapshotState.OLD, source_digest="0", storage_key=f"old-{number}", built_at=timezone.now(),
            started_at=timezone.now(),
        )  # fmt: skip

    def refuse(storage: object, name: str) -> None:
        raise OSError("the storage is down")

    monkeypatch.setattr(FileSystemStorage, "delete", refuse)
    assert snapshots.prune(game) == 0
    assert game.snapshots.filter(state=SnapshotState.OLD).count() == OLD_KEPT + 1, "it is tried again"
    assert said() == ["Old snapshots of chess can't be deleted now: the storage is down"]


def test_what_a_builder_that_died_left_is_not_in_the_way(catalog: Catalog, build: BuildSnapshot):
    game = catalog.add("chess")
    Snapshot.objects.create(game=game, source_digest=game.source_digest, started_at=timezone.now())
    assert build(game).state == SnapshotState.CURRENT
    assert Snapshot.objects.count() == 1


def test_with_a_real_account_it_is_built_in_a_sandbox_that_goes_when_it_is_done(catalog: Catalog, real_fleet):
    game = catalog.add("chess")
    assert not builds.may_build_by_itself(), "in an account that somebody pays for, only who asks makes a sandbox"
    built: list[Snapshot] = []

    def build() -> None:
        built.extend(builds.build([game]))
        connection.close()

    builder = Thread(target=build)
    builder.start()
    until(lambda: (real_fleet.turn(), not builder.is_alive())[1], "it is built", seconds=60)
    assert [snapshot.state for snapshot in built] == [SnapshotState.CURRENT]
    sandbox = Sandbox.objects.get()
    assert (sandbox.origin, sandbox.create_reason) == ("cold", "build the snapshot of chess")
    until(lambda: (real_fleet.turns(1), not real_fleet.cloud.apps())[1], "its app is gone")
    sandbox.refresh_from_db()
    assert sandbox.state in (State.DELETING, State.DELETED)
    assert sandbox.end_reason == "done: build the snapshot of chess"


# Built in the background.


def test_what_is_missing_is_built_in_the_background_and_it_is_told_how_far_it_is(catalog: Catalog, worker):
    catalog.write("chess", position=1)
    catalog.add("go", position=2)
    worker.left_out = ("pools.tasks.reconcile",)
    tasks.build_missing_snapshots()
    ran = worker.work()
    assert ran == ["games.tasks.build_missing_snapshots"] * 2
    assert not builds.missing()
    assert [line for line in said() if "building" in line] == [
        "Snapshot of chess: building, 1 of 2",
        "Snapshot of go: building, 2 of 2",
    ]
    assert [line.split(":")[0] for line in said()][1::2] == ["Snapshot of chess is ready", "Snapshot of go is ready"]


def test_a_failed_build_is_tried_again_with_growing_waits(catalog: Catalog, clock, monkeypatch):
    def nowhere(runtime: str, reason: str) -> None:
        raise NoWorkbench("The fleet is full.")

    monkeypatch.setattr(builds, "workbench", nowhere)
    game = catalog.add("chess")
    waits = []
    for _ in range(5):
        assert builds.due(timezone.now()) == [game]
        builds.build([game])
        waited = 0
        while not builds.due(timezone.now()):
            clock.advance(60)
            waited += 1
        waits.append(waited)
    assert waits == [10, 20, 40, 60, 60]
    assert {snapshot.error for snapshot in game.snapshots.all()} == {"The fleet is full."}


def test_a_changed_game_is_tried_at_once_and_its_success_clears_the_failures(catalog: Catalog):
    game = catalog.add("chess", install="exit 1")
    builds.build([game])
    assert not builds.due(timezone.now())
    game = catalog.add("chess", install="exit 0")
    assert builds.due(timezone.now()) == [game]
    assert builds.build([game])
    assert not builds.missing()


def test_a_snapshot_that_is_found_damaged_is_built_again_in_the_background(
    catalog: Catalog, build: BuildSnapshot, worker
):
    worker.left_out = ("pools.tasks.reconcile",)
    before = build(catalog.add("chess"))
    store = storages["snapshots"]
    store.delete(before.storage_key)
    store.save(before.storage_key, io.BytesIO(b"something else"))
    tasks.check_snapshot(before.pk)
    worker.work()
    after = Snapshot.objects.get()
    assert (after.state, after.sha256) == (SnapshotState.CURRENT, before.sha256)
    assert hashlib.sha256(bytes_of(after)).hexdigest() == before.sha256
    assert "Snapshot of chess can't be used any more: its file was damaged in the storage" in said()


def test_a_storage_that_can_not_be_reached_proves_no_damage(catalog: Catalog, monkeypatch):
    """An outage threw away every snapshot."""
    game = catalog.add("chess")
    snapshot = Snapshot.objects.create(game=game, source_digest=game.source_digest, started_at=timezone.now())
    snapshots.publish(snapshot, io.BytesIO(b"well"), timezone.now())
    snapshot.refresh_from_db()

    def out_of_reach(*_: object) -> None:
        raise TimeoutError("the storage does not answer")

    with monkeypatch.context() as outage:
        outage.setattr(FileSystemStorage, "open", out_of_reach)
        assert snapshots.check(snapshot)
    assert Snapshot.objects.get().state == SnapshotState.CURRENT
    storages["snapshots"].delete(snapshot.storage_key)
    assert not snapshots.check(snapshot)


# Downloaded.


def test_the_signed_address_gives_the_bytes_and_no_other_does(catalog: Catalog, build: BuildSnapshot, monkeypatch):
    first, second = build(catalog.add("chess")), build(catalog.add("go"))
    url = downloads.signed_url(first.storage_key)
    signature = urlsplit(url).query
    answer = httpx.get(url, trust_env=False)
    assert (answer.status_code, answer.content) == (200, bytes_of(first))
    assert "no-store" in answer.headers["cache-control"]

    other_key = url.replace(first.storage_key, second.storage_key)
    tampered = [
        url[:-1] + ("A" if url[-1] != "A" else "B"),
        url.split("?")[0],
        other_key,
        url.replace(first.sha256, ".."),
    ]
    gone = (
        TimestampSigner(salt=downloads.SALT).sign("chess-python/gone.tar.gz").removeprefix("chess-python/gone.tar.gz:")
    )
    unknown = url.replace(first.storage_key, "chess-python/gone.tar.gz").replace(signature, f"signature={gone}")
    with monkeypatch.context() as past:
        long_ago = timezone.now() - timedelta(seconds=601)
        past.setattr("django.core.signing.time.time", long_ago.timestamp)
        expired = downloads.signed_url(first.storage_key)
    answers = {address: httpx.get(address, trust_env=False).status_code for address in [*tampered, unknown, expired]}
    assert set(answers.values()) == {404}, answers


def test_a_builder_that_was_held_up_does_not_undo_what_its_successor_has_built(catalog: Catalog):
    """It took the file's row away from the one that was current, and wrote nothing in its place."""
    game = catalog.add("chess")
    late = Snapshot.objects.create(game=game, source_digest=game.source_digest, started_at=timezone.now())
    Snapshot.objects.all().delete()  # as who takes over does
    current = catalog.publish("chess")
    with pytest.raises(snapshots.Superseded):
        snapshots.publish(late, io.BytesIO(bytes_of(current)), timezone.now())
    current.refresh_from_db()
    assert current.state == SnapshotState.CURRENT
