"""Warm sandboxes with the games in them: staged, launched at once, and brought up to date without a gap."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.test import Client

from games import processes, staging, tasks
from games.models import Game
from pools import leases
from pools.claims import staging_lease
from pools.models import Lease, Pool, Sandbox, State
from pools.tenure import LEASE_SECONDS
from pools.turn.waits import STAGE_AGAIN_SECONDS
from tests.fixtures.catalog import SERVER, Catalog
from tests.fixtures.waiting import free_port, until
from tests.integration.games.conftest import Site

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("downloads")]
PARTS = ("acquire_ms", "bootstrap_ms", "restore_ms", "start_ms")


@pytest.fixture
def games(catalog: Catalog) -> Catalog:
    """Chess and Go with snapshots."""
    catalog.write("chess", position=1)
    catalog.add("go", position=2)
    catalog.publish("chess")
    catalog.publish("go")
    return catalog


def stage(pool: Pool, how: str) -> None:
    Pool.objects.filter(pk=pool.pk).update(stage=how)


def running(sandbox: Sandbox) -> list[int]:
    return [process.pid for process in sandbox.agent().processes() if process.is_running]


def titles(sandbox: Sandbox) -> dict[str, bool]:
    """Whether each staged game answers on its port with its page."""
    agent = sandbox.agent()
    return {
        slug: f"<h1>{slug.title()}</h1>".encode() in agent.fetch(entry["port"], "/").body
        for slug, entry in sandbox.staged.items()
    }


# What is staged.


def test_a_pool_that_stages_nothing_has_empty_sandboxes_which_deploy_from_the_snapshot(site: Site, games, pool):
    [sandbox] = site.warm(pool)
    assert sandbox.staged == {}
    assert running(sandbox) == []
    run = site.play("chess")
    assert (run.served_by, run.deployed_from, run.sandbox) == ("pool", "snapshot", sandbox)
    assert sum(getattr(run, part) for part in PARTS) == run.total_ms
    assert "<h1>Chess</h1>" in site.page(run)


def test_a_pool_that_stages_files_starts_them_when_they_are_wanted_without_a_download(site: Site, games, pool):
    stage(pool, "files")
    [sandbox] = site.warm(pool)
    assert set(sandbox.staged) == {"chess", "go"}
    assert running(sandbox) == []
    names = set(sandbox.agent().run("ls -A", cwd="/workspace/games/chess").stdout.split())
    assert {"server.py", "index.html"} <= names
    run = site.play("chess")
    assert (run.deployed_from, run.sandbox) == ("snapshot", sandbox)
    assert any("which is in the sandbox already" in line for line in site.log(run))
    assert "<h1>Chess</h1>" in site.page(run)


def test_a_staged_launch_is_running_in_the_answer_and_the_other_games_make_room(site: Site, games, pool):
    stage(pool, "started")
    [sandbox] = site.warm(pool)
    assert titles(sandbox) == {"chess": True, "go": True}
    assert {entry["started"] for entry in sandbox.staged.values()} == {True}
    assert len({entry["port"] for entry in sandbox.staged.values()}) == 2

    answer = Client().post("/api/launch/warm", data={"game": "go"}, content_type="application/json")
    run = answer.json()
    assert (answer.status_code, run["status"]) == (201, "running")
    assert (run["served_by"], run["deployed_from"], run["notice"]) == ("pool", "staged", "")
    assert sum(run["timings"][part] for part in PARTS) == run["timings"]["total_ms"]
    assert run["ingress_url"] == run["play_url"]

    site.worker.work()
    until(lambda: running(sandbox) == [sandbox.staged["go"]["pid"]], "what nobody plays here is ended")


def test_every_runs_parts_add_up_to_its_total(site: Site, games, pool):
    stage(pool, "started")
    site.warm(pool)
    runs = [site.play("chess"), site.play("go", "cold"), site.play("go", "cold", use_snapshot=False)]
    assert [run.deployed_from for run in runs] == ["staged", "snapshot", "source"]
    for run in runs:
        assert sum(getattr(run, part) for part in PARTS) == run.total_ms
        assert run.total_ms == round((run.ready_at - run.created_at).total_seconds() * 1000)


def test_a_game_that_does_not_start_is_told_and_keeps_no_other_from_being_staged(site: Site, games, pool):
    games.add("broken", run="python3 -c 'import nothing_of_the_kind'", position=0)
    games.publish("broken")
    stage(pool, "started")
    [sandbox] = site.warm(pool)
    assert {slug: entry["started"] for slug, entry in sandbox.staged.items()} == {
        "broken": False, "chess": True, "go": True,
    }  # fmt: skip
    assert any("broken is staged and does not start" in line for line in site.fleet.log("stage"))
    assert site.launch("chess").state == "running"


SLOW_AT_FIRST = """
import http.server, os, time
asked = []

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/":
            asked.append(1)
            time.sleep(1 if len(asked) == 1 else 0)
        body = str(len(asked)).encode()
        self.send_response(500 if os.path.exists("broken") else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
PAGE_OF_500 = SLOW_AT_FIRST.replace('os.path.exists("broken")', 'self.path == "/"')


def test_the_first_page_which_takes_longest_is_no_players(site: Site, games, pool):
    games.add("slow", files={"server.py": SLOW_AT_FIRST}, health="/api/health", position=0)
    games.publish("slow")
    stage(pool, "started")
    [sandbox] = site.warm(pool)
    asked = sandbox.agent().fetch(sandbox.staged["slow"]["port"], "/").body
    assert asked == b"3", "once from inside, once on the way of a player, and now"


def test_a_game_whose_page_does_not_come_is_not_offered_as_started(site: Site, games, pool):
    games.add("broken", files={"server.py": PAGE_OF_500}, health="/api/health", position=0)
    games.publish("broken")
    stage(pool, "started")
    [sandbox] = site.warm(pool)
    assert {slug: entry["started"] for slug, entry in sandbox.staged.items()} == {
        "broken": False, "chess": True, "go": True,
    }  # fmt: skip
    assert any("Broken runs, but its page answers 500" in line for line in site.fleet.log("stage"))


LEAVE = """
import subprocess, sys
subprocess.Popen([sys.executable, "server.py"], start_new_session=True, stdout=subprocess.DEVNULL)
"""


def test_a_game_that_goes_into_the_background_is_not_offered_as_started(site: Site, games, pool):
    """Looks at an idle sandbox go by the process that was started: it would seem to have been restarted."""
    games.add("daemon", run="python3 leave.py", files={"leave.py": LEAVE}, position=0)
    games.publish("daemon")
    stage(pool, "started")
    [sandbox] = site.warm(pool)
    assert {slug: entry["started"] for slug, entry in sandbox.staged.items()} == {
        "daemon": False, "chess": True, "go": True,
    }  # fmt: skip


def test_a_staged_game_that_died_is_not_handed_out(site: Site, games, pool):
    stage(pool, "started")
    first, second = site.warm(pool, 2)
    processes.end(first.agent(), [first.staged["chess"]["pid"]])
    until(lambda: first.agent().fetch(first.staged["chess"]["port"], "/").status == 502, "the game is gone")
    run = site.launch("chess")
    assert (run.state, run.sandbox) == ("running", second)
    first.refresh_from_db()
    assert first.end_reason.startswith("dead at hand-over")


def test_games_that_insist_on_one_port_are_not_started_side_by_side_and_are_launched_all_the_same(
    site: Site, catalog: Catalog, pool, monkeypatch
):
    monkeypatch.setattr(processes, "START_SECONDS", 4)
    port = free_port()
    stubborn = SERVER.replace('int(os.environ["PORT"])', str(port))
    for position, slug in enumerate(("chess", "go")):
        catalog.add(slug, files={"server.py": stubborn}, port=port, position=position)
        catalog.publish(slug)
    stage(pool, "started")
    [sandbox] = site.warm(pool)
    assert {slug: entry.get("pid") for slug, entry in sandbox.staged.items()} == {"chess": None, "go": None}
    assert running(sandbox) == []
    monkeypatch.setattr(processes, "START_SECONDS", 30)
    run = site.play("go")
    assert (run.port, "<h1>Go</h1>" in site.page(run)) == (port, True)


# Workers that die or are held up.


def being_staged(site: Site, pool: Pool) -> Sandbox:
    """A sandbox whose staging was asked for; the task is lost."""
    stage(pool, "started")
    site.fleet.acquire(pool)
    staging_ones = Sandbox.objects.filter(state=State.STAGING)
    until(lambda: site.fleet.turn() and staging_ones.exists(), "it is to be staged")
    site.worker.lose()
    return staging_ones.get()


def test_a_staging_whose_machine_died_is_done_again_within_seconds(site: Site, games, pool):
    sandbox = being_staged(site, pool)
    leases.take(staging_lease(sandbox.id), LEASE_SECONDS)
    Lease.objects.filter(name=staging_lease(sandbox.id)).update(process="another-host|pid:[4026531836]|4711")
    site.fleet.clock.advance(max(LEASE_SECONDS, STAGE_AGAIN_SECONDS) + 1)
    site.turn()
    sandbox.refresh_from_db()
    assert (sandbox.state, set(sandbox.staged)) == (State.READY, {"chess", "go"})


def test_a_staging_that_goes_on_is_not_begun_by_another(site: Site, games, pool):
    sandbox = being_staged(site, pool)
    leases.take(staging_lease(sandbox.id), 600)
    site.fleet.clock.advance(STAGE_AGAIN_SECONDS + 1)
    assert "games.tasks.stage" not in site.turn()


def test_a_worker_that_was_overtaken_finishes_no_staging(site: Site, games, pool, monkeypatch):
    """What it staged may have been ended by the one that took over."""
    sandbox = being_staged(site, pool)
    staged = staging._stage_games

    def overtaken(*arguments, **options):
        found = staged(*arguments, **options)
        Lease.objects.filter(name=staging_lease(sandbox.id)).update(holder=uuid4())
        return found

    monkeypatch.setattr(staging, "_stage_games", overtaken)
    staging.stage(sandbox.id)
    sandbox.refresh_from_db()
    assert (sandbox.state, sandbox.staged) == (State.STAGING, {})
    assert any("came too late" in line for line in site.fleet.log("stage"))


# Brought up to date.


def test_a_new_snapshot_comes_into_warm_sandboxes_one_at_a_time_and_the_pool_never_has_fewer(
    site: Site, games: Catalog, pool, monkeypatch
):
    stage(pool, "started")
    before = site.warm(pool, 2)
    games.add("chess", files={"index.html": "<h1>Chess</h1> second edition"}, position=1)
    snapshot = games.publish("chess")

    told = staging._tell
    seen = []

    def tell(sandbox, hold, staged, message):
        """At the moment of each change: both are there, and serve what their rows say."""
        ready = list(Sandbox.objects.filter(state=State.READY))
        seen.append([s.staged["chess"]["sha256"] == snapshot.sha256 for s in ready])
        assert [titles(s) for s in ready] == [{"chess": True, "go": True}] * 2
        return told(sandbox, hold, staged, message)

    monkeypatch.setattr(staging, "_tell", tell)
    tasks.restage()
    assert sorted(map(sum, seen)) == [0, 1], "one after the other"

    after = list(Sandbox.objects.filter(state=State.READY))
    assert {s.id for s in after} == {s.id for s in before}
    for old in before:
        new = next(s for s in after if s.id == old.id)
        assert new.staged["chess"]["sha256"] == snapshot.sha256
        assert new.staged["go"] == old.staged["go"], "what did not change goes on as it was"
        pids = sorted(entry["pid"] for entry in new.staged.values())
        until(lambda new=new, pids=pids: sorted(running(new)) == pids, "the old ones have ended")
    run = site.launch("chess")
    assert (run.state, run.deployed_from) == ("running", "staged")
    assert "second edition" in site.page(run)


def test_a_sandbox_that_is_taken_while_it_is_brought_up_to_date_is_not_disturbed(
    site: Site, games: Catalog, pool, monkeypatch
):
    stage(pool, "started")
    [sandbox] = site.warm(pool)
    games.add("chess", files={"index.html": "second edition"}, position=1)
    games.publish("chess")
    runs = []
    staged = staging._stage_games

    def stage_while_somebody_comes(*arguments, **options):
        fresh = staged(*arguments, **options)
        runs.append(site.launch("go"))
        return fresh

    monkeypatch.setattr(staging, "_stage_games", stage_while_somebody_comes)
    tasks.restage()
    [run] = runs
    assert (run.state, run.sandbox, run.port) == ("running", sandbox, sandbox.staged["go"]["port"])
    site.worker.work()
    run.refresh_from_db()
    assert run.state == "running"
    assert "<h1>Go</h1>" in site.page(run)
    until(lambda: running(sandbox) == [sandbox.staged["go"]["pid"]], "what was made beside it has gone again")


def test_a_changed_game_is_never_served_as_it_was(site: Site, games: Catalog, pool):
    """Between the change and its snapshot the warm sandbox deploys it from source."""
    stage(pool, "started")
    [sandbox] = site.warm(pool)
    games.add("chess", files={"index.html": "<h1>Chess</h1> second edition"}, position=1)
    run = site.play("chess")
    assert (run.sandbox, run.deployed_from) == (sandbox, "source")
    assert "second edition" in site.page(run)
    assert any("the game has changed since it was built; deploying from source." in line for line in site.log(run))


def test_a_sandbox_can_be_brought_up_to_date_while_it_is_being_staged(site: Site, games: Catalog, pool, monkeypatch):
    """A snapshot that comes out at that moment is not missed."""
    stage(pool, "started")
    finished = staging.claims.finish_staging

    def publish_first(*arguments):
        if Game.objects.get(slug="chess").snapshots.count() == 1:
            games.add("chess", files={"server.py": SERVER + "# second edition"}, position=1)
            games.publish("chess")
        return finished(*arguments)

    monkeypatch.setattr(staging.claims, "finish_staging", publish_first)
    [sandbox] = site.warm(pool)
    site.worker.work()
    sandbox.refresh_from_db()
    assert not staging.outdated(sandbox)
    assert titles(sandbox) == {"chess": True, "go": True}
