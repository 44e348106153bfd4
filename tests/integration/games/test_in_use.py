"""What is played is looked after: a game that stops is started again once; what can't be had back ends, and soon."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from games.models import Game
from pools import claims
from pools.census import census
from pools.cloud.agent_transport import AgentWire
from pools.models import Fleet, Pool, Sandbox, State
from pools.turn.waits import LOOK_AGAIN_SECONDS, LOOK_IN_USE_SECONDS, LOOK_SECONDS
from runs.launching.deployment import deploy
from runs.launching.outlook import speeds
from runs.lifecycle import Attempt
from runs.models import Run
from runs.pages.lobby import tiles
from runs.tasks import look_for_packing
from tests.fixtures.catalog import SERVER, Catalog
from tests.fixtures.waiting import until
from tests.integration.games.conftest import Site

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("downloads")]


@pytest.fixture
def chess(catalog: Catalog) -> Catalog:
    """Chess with a snapshot."""
    catalog.add("chess")
    catalog.publish("chess")
    return catalog


@pytest.fixture
def staged(site: Site, chess, pool) -> Run:
    """A game that was staged in a warm sandbox is played."""
    Pool.objects.filter(pk=pool.pk).update(stage="started")
    site.warm(pool)
    return site.play("chess")


@pytest.fixture(params=["staged", "snapshot", "source"])
def played(request: pytest.FixtureRequest, site: Site, chess) -> Run:
    """A game is played, brought up in each of the ways."""
    if request.param == "staged":
        return request.getfixturevalue("staged")
    return site.play("chess", "cold", use_snapshot=request.param == "snapshot")


def kill_game(run: Run) -> None:
    agent = run.sandbox.agent()
    for process in agent.processes():
        if process.is_running:
            agent.run(f"kill -9 -{process.pid} || kill -9 {process.pid}")
    until(lambda: agent.fetch(run.port, "/").status == 502, "the game is gone")


def look(site: Site, run: Run, seconds: float = 60, until_state: str = "") -> float:
    """Let that much time pass, turn by turn; the time after which the run was in that state."""
    passed = 0.0
    while passed < seconds:
        site.fleet.clock.advance(LOOK_AGAIN_SECONDS)
        passed += LOOK_AGAIN_SECONDS
        site.turn()
        run.refresh_from_db()
        if run.state == until_state:
            return passed
    return passed


# The game.


def test_a_game_that_stops_while_it_is_played_is_started_again_on_its_port(site: Site, played: Run):
    """It stayed "running", "in step" and dead, and could be given more time."""
    port = played.port
    kill_game(played)
    look(site, played, LOOK_IN_USE_SECONDS + 3 * LOOK_AGAIN_SECONDS)
    assert (played.state, played.port, played.restarts) == ("running", port, 1)
    assert "<h1>Chess</h1>" in site.page(played)
    assert [line for line in site.log(played) if "stopped" in line or "back" in line] == [
        "The game stopped; it is being started again.", "The game is back.",
    ]  # fmt: skip


def test_a_game_that_stops_again_ends_its_run_and_gives_back_its_place(site: Site, staged: Run):
    kill_game(staged)
    look(site, staged, LOOK_IN_USE_SECONDS + 3 * LOOK_AGAIN_SECONDS)
    kill_game(staged)
    assert look(site, staged, until_state="failed") < 60
    assert (staged.state, staged.end_code) == ("failed", "game_stopped")
    staged.sandbox.refresh_from_db()
    assert staged.sandbox.state in (State.DELETING, State.DELETED)


def test_a_game_that_can_not_be_started_again_ends_its_run(site: Site, staged: Run, monkeypatch):
    monkeypatch.setattr("games.processes.START_SECONDS", 0)
    kill_game(staged)
    look(site, staged, until_state="failed")
    assert (staged.state, staged.end_code) == ("failed", "game_stopped")
    assert "could not be started again" in staged.end_reason


def test_a_container_that_restarts_loses_its_files_and_gets_the_game_once_more(site: Site, played: Run):
    site.fleet.cloud.control.kill_agent(played.sandbox.app_id, stays_dead=False)
    until(played.sandbox.agent().is_healthy, "the container is back")
    look(site, played)
    assert (played.state, played.restarts) == ("running", 1)
    assert "<h1>Chess</h1>" in site.page(Run.objects.select_related("sandbox").get(pk=played.pk))


def test_a_sandbox_that_does_not_answer_ends_its_run_within_a_minute(site: Site, staged: Run):
    site.fleet.cloud.control.kill_agent(staged.sandbox.app_id)
    assert look(site, staged, 120, until_state="failed") <= 60
    assert (staged.state, staged.end_code) == ("failed", "sandbox_lost")
    assert "did not answer" in staged.end_reason


def test_a_game_that_is_well_costs_one_request_each_twenty_seconds(site: Site, staged: Run, monkeypatch):
    asked = []
    sent = AgentWire._sent

    def noted(wire, client, request):
        asked.append(request.url)
        return sent(wire, client, request)

    monkeypatch.setattr(AgentWire, "_sent", noted)
    Pool.objects.update(target_ready=0)
    look(site, staged, 60)
    ours = [url for url in asked if str(url).startswith(staged.sandbox.url)]
    assert 2 <= len(ours) <= 4
    assert staged.restarts == 0


def test_a_player_who_meets_a_dead_game_has_it_looked_at_at_once(site: Site, staged: Run):
    kill_game(staged)
    site.fleet.clock.advance(claims.SUSPECT_AGAIN_SECONDS + 1)
    assert claims.suspect(staged.sandbox_id, "a player's request found no game", timezone.now())
    assert Fleet.get().nudged
    assert not claims.suspect(staged.sandbox_id, "and again", timezone.now()), "one is enough"
    site.fleet.clock.advance(LOOK_AGAIN_SECONDS)
    site.turn()
    staged.refresh_from_db()
    assert (staged.state, staged.restarts) == ("running", 1)
    assert "<h1>Chess</h1>" in site.page(staged)


def test_a_late_task_does_not_start_a_game_again_that_is_well(site: Site, staged: Run):
    """A task of its launch, held up in the queue."""
    deploy(Attempt.after(staged))
    staged.refresh_from_db()
    assert (staged.state, staged.deploy_attempts) == ("running", 0)


def test_a_game_is_started_again_also_when_the_worker_that_was_at_it_dies(site: Site, staged: Run):
    kill_game(staged)
    while not Run.objects.get().restarts:
        site.fleet.clock.advance(LOOK_AGAIN_SECONDS)
        site.fleet.turn()
    site.worker.lose()
    site.fleet.clock.advance(30)
    site.turn()
    staged.refresh_from_db()
    assert (staged.state, staged.deploy_lease_until) == ("running", None)
    assert "<h1>Chess</h1>" in site.page(staged)


# What a sandbox can't pass on.


PACKS = """
    def do_GET(self):
        import gzip
        if self.path != "/style.css":
            return super().do_GET()
        body = gzip.compress(b"body {}" * 100)
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
"""


def test_a_game_that_packs_a_file_of_its_own_is_told_so_in_the_log_once(site: Site, catalog: Catalog):
    catalog.add("chess", files={"server.py": SERVER.replace("    def log_message", f"{PACKS}\n    def log_message")})
    run = site.play("chess", "cold", use_snapshot=False)
    for path in ("/index.html", "/style.css", "/style.css"):
        look_for_packing(str(run.id), path)
    [told] = [event for event in run.events.all() if event.data.get("code") == "answers_packed"]
    assert (told.level, told.data["path"]) == ("warning", "/style.css")
    assert "Accept-Encoding: identity" in told.message


# Ready.


def ready(of: str = "python") -> int:
    return Client().get("/api/pool/status").json()["pools"][of]["ready"]


def test_after_a_start_nothing_counts_as_ready_before_it_was_looked_at(site: Site, chess, pool):
    """ "1 warm and ready", said the lobby, and the launch found it dead."""
    site.warm(pool)
    assert (ready(), tiles(census())["counts"]["ready"]) == (1, 1)
    Fleet.note_start(timezone.now())
    status = Client().get("/api/pool/status").json()["pools"]["python"]
    assert (status["ready"], status["unseen"], tiles(census())["counts"]["ready"]) == (0, 1, 0)
    assert speeds(Game.objects.all(), timezone.now())["chess"].kind == "soon"
    site.turn()
    assert (ready(), tiles(census())["counts"]["ready"]) == (1, 1)


def test_a_launch_takes_a_sandbox_that_was_looked_at_before_one_that_was_not(site: Site, chess, pool):
    first, second = site.warm(pool, 2)
    Fleet.note_start(timezone.now())
    Sandbox.objects.filter(pk=second.pk).update(health_checked_at=timezone.now())
    assert list(Sandbox.objects.claimable(pool)) == [second, first]
    Sandbox.objects.filter(pk=second.pk).update(health_failures=1)
    Sandbox.objects.filter(pk=first.pk).update(health_checked_at=timezone.now())
    assert list(Sandbox.objects.claimable(pool)) == [first, second]


def test_a_pool_that_stages_files_only_notices_that_a_container_was_restarted(site: Site, chess, pool):
    Pool.objects.filter(pk=pool.pk).update(stage="files")
    [sandbox] = site.warm(pool)
    site.fleet.clock.advance(LOOK_SECONDS + 1)
    site.turn()
    sandbox.refresh_from_db()
    assert (sandbox.health_failures, sandbox.state) == (0, State.READY)
    site.fleet.cloud.control.kill_agent(sandbox.app_id, stays_dead=False)
    until(sandbox.agent().is_healthy, "the container is back")
    for _ in range(4):
        site.fleet.clock.advance(LOOK_SECONDS + 1)
        site.fleet.turn()
    sandbox.refresh_from_db()
    assert (sandbox.state, sandbox.end_code) == (State.DELETING, "emptied")
    assert "files" in sandbox.trouble
