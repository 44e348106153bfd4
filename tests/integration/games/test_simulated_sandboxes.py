"""The simulation's sandboxes, driven by the product's own deployments: what they don't understand would be a hole."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.utils import timezone

from games import processes
from games.deploy import DeployFailed, deploy, start_again
from games.models import Game, Snapshot, SnapshotState
from pools import taken
from pools.cloud.app_spec import app_spec
from pools.cloud.errors import AgentError, AgentRefused, AgentUnavailable
from pools.cloud.records import AppSpec
from pools.cloud.sandbox_agent import SandboxAgent
from tests.fixtures.catalog import Log
from tests.fixtures.simulated import ChosenWorld
from tests.sim.account import Account
from tests.sim.containers import Container
from tests.sim.faults import AGENT

pytestmark = pytest.mark.django_db
TOKEN, RUN, OTHER_RUN = "agent-5ecret", UUID(int=1), UUID(int=2)


@pytest.fixture
def container(simulated_account: Account, chosen_world: ChosenWorld) -> Container:
    """A sandbox that has just come up."""
    spec = AppSpec("sandbox-0123abcd", "staging", "example/sandbox-python:1", "syd", "apps-s-1vcpu-1gb", TOKEN)
    simulated_account.answer("create", {"spec": app_spec(spec)})
    chosen_world.sleep(300)
    found = simulated_account.agents.visit(simulated_account.existing()[0])
    assert found is not None
    return found


@pytest.fixture
def agent(container: Container) -> SandboxAgent:
    return SandboxAgent(container.app.url, TOKEN)


@pytest.fixture
def chess(db: None) -> Game:
    game = Game.objects.create(
        slug="chess",
        title="Chess",
        runtime="python",
        run_command="python3 server.py",
        install_command="pip install",
        health_path="/health",
        snapshot_name="chess-python",
        repository_url="https://code.example.com/chess.git",
        source_digest="0" * 64,
    )
    now = timezone.now()
    fields = {"source_digest": game.source_digest, "storage_key": "chess.tar.gz", "started_at": now, "built_at": now}
    Snapshot.objects.create(game=game, state=SnapshotState.CURRENT, sha256="ab" * 32, **fields)
    return game


@pytest.fixture(autouse=True)
def everything_is_understood(simulated_account: Account):
    yield
    assert simulated_account.agents.not_understood == []


def test_a_game_is_deployed_from_its_snapshot_and_answers(agent: SandboxAgent, chess: Game, log: Log):
    done = deploy(agent, chess, use_snapshot=True, say=log, run_id=RUN)
    assert (done.deployed_from, done.port) == ("snapshot", 5000)
    assert 300 < done.restore_ms < 10_000
    assert agent.fetch(done.port, "/").status == 200
    assert taken.taken_by(agent.processes()) == RUN


def test_a_game_is_deployed_from_source(agent: SandboxAgent, chess: Game, log: Log):
    done = deploy(agent, chess, use_snapshot=False, say=log)
    assert done.deployed_from == "source"
    assert done.restore_ms > 2_000
    assert "Receiving objects: done." in log.lines
    assert agent.names(processes.GAMES_DIR) >= {"chess"}


def test_a_snapshot_that_can_t_be_restored_is_replaced_by_the_source(
    agent: SandboxAgent, chess: Game, log: Log, chosen_world: ChosenWorld
):
    chosen_world.strike("restore-fails")
    assert deploy(agent, chess, use_snapshot=True, say=log).deployed_from == "source"
    assert len(log.warnings) == 1


@pytest.mark.parametrize("fault", ["game-ends-at-once", "game-never-answers", "game-unwell"])
def test_a_game_that_does_not_come_up_fails(
    fault: str, agent: SandboxAgent, chess: Game, log: Log, chosen_world: ChosenWorld
):
    deploy(agent, chess, use_snapshot=True, say=log)
    chosen_world.strike(fault)
    with pytest.raises(DeployFailed):
        start_again(agent, chess, 5000, "chess")


def test_a_game_that_died_is_started_again_from_its_files(
    agent: SandboxAgent, chess: Game, log: Log, simulated_account: Account
):
    done = deploy(agent, chess, use_snapshot=True, say=log)
    simulated_account.befall("game-dies")
    assert agent.fetch(done.port, "/").status == 502
    assert not any(process.is_running for process in agent.processes())
    assert start_again(agent, chess, done.port, "chess") is True
    assert agent.fetch(done.port, "/").status == 200


def test_who_is_ended_no_longer_answers(agent: SandboxAgent, chess: Game, log: Log):
    done = deploy(agent, chess, use_snapshot=True, say=log)
    agent.kill(done.pid)
    assert agent.fetch(done.port, "/").status == 200, "a signal reaches one process alone"
    processes.end(agent, [done.pid])
    assert agent.fetch(done.port, "/").status == 502


def test_a_sandbox_that_is_called_ready_with_what_was_ended_in_it_is_seen(
    agent: SandboxAgent, chess: Game, log: Log, simulated_account: Account, container: Container
):
    done = deploy(agent, chess, use_snapshot=True, say=log)
    staged = {"chess": {"pid": done.pid}}
    assert simulated_account.agents.ended_again(container.app.id, staged) == ""
    processes.end_all(agent)
    assert simulated_account.agents.ended_again(container.app.id, staged) == "chess"


def test_what_died_by_itself_is_nobody_s_mistake(
    agent: SandboxAgent, chess: Game, log: Log, simulated_account: Account, container: Container
):
    done = deploy(agent, chess, use_snapshot=True, say=log)
    simulated_account.befall("game-dies")
    processes.end_all(agent)
    assert simulated_account.agents.ended_again(container.app.id, {"chess": {"pid": done.pid}}) == ""


def test_two_games_share_no_port(agent: SandboxAgent, chess: Game, log: Log):
    done = deploy(agent, chess, use_snapshot=True, say=log)
    again = deploy(agent, chess, use_snapshot=True, say=log)
    running = [process.pid for process in agent.processes() if process.is_running]
    assert running == [again.pid]
    assert again.pid != done.pid


def test_a_restarted_container_has_lost_everything(
    agent: SandboxAgent, chess: Game, log: Log, simulated_account: Account, chosen_world: ChosenWorld
):
    deploy(agent, chess, use_snapshot=True, say=log)
    simulated_account.befall("agent-restarts")
    with pytest.raises(AgentUnavailable):
        agent.health()
    chosen_world.sleep(60)
    assert agent.look() == []
    assert agent.names(processes.GAMES_DIR) == set()
    assert start_again(agent, chess, 5000, "chess") is False


def test_a_dead_container_stays_dead(agent: SandboxAgent, simulated_account: Account, chosen_world: ChosenWorld):
    simulated_account.befall("agent-dies")
    chosen_world.sleep(10_000)
    assert agent.is_healthy() is False


def test_the_wrong_token_opens_nothing(container: Container):
    with pytest.raises(AgentRefused):
        SandboxAgent(container.app.url, "wrong").look()


@pytest.mark.parametrize("fault", AGENT)
def test_trouble_with_a_request_is_trouble_with_the_agent(fault: str, agent: SandboxAgent, chosen_world: ChosenWorld):
    chosen_world.strike(fault, times=2 if fault == "agent-breaks" else 1)  # a GET that breaks is sent again
    with pytest.raises(AgentError):
        agent.look()
    assert agent.look() == []


def test_a_sandbox_that_serves_two_runs_is_a_trespass(
    agent: SandboxAgent, chess: Game, log: Log, simulated_account: Account
):
    deploy(agent, chess, use_snapshot=True, say=log, run_id=RUN)
    assert simulated_account.trespasses == []
    deploy(agent, chess, use_snapshot=True, say=log, run_id=OTHER_RUN)
    assert len(simulated_account.trespasses) == 1
