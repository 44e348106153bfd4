"""A launch from the click to its end, turn by turn and task by task, against a cloud on paper."""

from __future__ import annotations

from datetime import timedelta
from threading import Barrier, Thread

import pytest
from django.db import connection, transaction
from django.utils import timezone
from django_q.models import OrmQ

from games import tasks
from games.models import Game
from pools import claims
from pools.cloud.sandbox_agent import Fetched, SandboxAgent
from pools.models import Fleet, Pool, Sandbox, State
from runs import lifecycle, upkeep
from runs.clients import Client
from runs.launching import deployment
from runs.launching.acquire import PoolEmpty, take_ready
from runs.launching.handover import replace_dead
from runs.launching.launch import KeyReused, Maintenance, UnknownGame, launch
from runs.models import Run, RunState, ServedBy
from runs.reasons import RunEndCode, RunNoticeCode

pytestmark = pytest.mark.django_db(transaction=True)


def start(mode: str = "warm", visitor: str = "ada", **options) -> Run:
    return launch(**{"game": "snake", "mode": mode, "client": Client(visitor), "use_snapshot": True} | options)


def until_running(fleet, worker, run: Run, turns: int = 30) -> Run:
    for _ in range(turns):
        fleet.turns(1)
        worker.work()
        run.refresh_from_db()
        if run.state not in (RunState.ACQUIRING, RunState.DEPLOYING):
            return run
    raise AssertionError(f"still {run.state}: {fleet.log()[:5]}")


# Warm.


def test_a_staged_warm_launch_is_running_in_the_answer(staged):
    run = start()
    assert run.state == RunState.RUNNING
    assert (run.served_by, run.sandbox, run.port) == (ServedBy.POOL, staged, 5000)
    assert run.acquire_ms + run.bootstrap_ms + run.restore_ms + run.start_ms == run.total_ms


def test_a_launch_that_wants_no_snapshot_is_not_played_from_one(staged):
    run = start(use_snapshot=False)
    assert (run.state, run.sandbox, run.deployed_from) == (RunState.DEPLOYING, staged, "")


@pytest.mark.parametrize("others", [{}, {"memory": {"sha256": "b" * 64, "port": 5001, "pid": 2}}])
def test_the_sandbox_remembers_who_took_it_and_its_other_games_end_by_one_request(
    staged, others, monkeypatch, django_assert_max_num_queries
):
    """A mark of its own was a second request after each launch."""
    Sandbox.objects.update(staged=staged.staged | others)
    run = start()
    assert run.state == RunState.RUNNING
    (task,) = [row.task for row in OrmQ.objects.all() if row.task["func"] == "games.tasks.end_other_games"]
    started: list[str] = []
    monkeypatch.setattr(SandboxAgent, "start", lambda _agent, command: started.append(command))
    monkeypatch.setattr(SandboxAgent, "run", None)
    with django_assert_max_num_queries(3):
        tasks.end_other_games(*task["args"])
    (command,) = started
    assert command.startswith(f": taken by run {run.pk.hex}; ")
    assert ("for pid in 2;" in command) == bool(others)


def test_a_game_that_is_deployed_meets_no_other_one_on_its_port(staged, game):
    assert deployment.free_port(staged, game) == game.port == 5000, "its own start makes room"
    staged.staged = {"memory": {"sha256": "b" * 64, "port": 5000, "pid": 2}}
    assert deployment.free_port(staged, game) == 5001
    staged.staged = {"memory": {"sha256": "b" * 64, "port": 5000, "pid": None}}
    assert deployment.free_port(staged, game) == 5000, "only its files are there"


def test_a_pool_that_is_draining_gives_nothing_to_a_new_launch(paper_fleet, staged):
    Pool.objects.update(mode="draining")
    assert start().served_by == ServedBy.COLD_FALLBACK
    staged.refresh_from_db()
    assert staged.state == State.READY


def test_a_dead_warm_sandbox_is_found_at_hand_over_and_the_next_one_taken(paper_fleet, staged, worker, pool):
    Pool.objects.update(target_ready=2, max_ready=2)
    paper_fleet.settle()
    Sandbox.objects.update(staged=staged.staged)
    paper_fleet.cloud.control.kill_agent(staged.app_id)
    run = start()
    assert run.state == RunState.RUNNING
    assert run.sandbox != staged
    staged.refresh_from_db()
    assert staged.state == State.READY, "what can't be reached from here may be well"
    paper_fleet.turns(5, seconds_apart=4)
    staged.refresh_from_db()
    assert staged.end_code == "unwell"


def test_a_sandbox_that_was_found_dead_twice_does_not_cost_the_one_after_it(paper_fleet, staged, pool):
    """A slow hand-over and the task that a turn queued meanwhile both find it dead: the second to say so must not
    retire what the first got instead."""
    Pool.objects.update(target_ready=2, max_ready=2)
    paper_fleet.settle()
    now = timezone.now()
    fields = {"game": Game.objects.get(), "mode": "warm", "visitor": "ada", "created_at": now, "acquired_at": now}
    dead = claims.claim(pool, by="a test", expires_at=now, now=now)
    run = Run.objects.create(sandbox=dead, state=RunState.DEPLOYING, **fields)
    first, second = (Run.objects.select_related("game", "sandbox").get(pk=run.pk) for _ in range(2))
    replaced = replace_dead(first, "no answer")
    assert replace_dead(second, "no answer") is None
    run.refresh_from_db()
    assert (run.sandbox, run.sandbox.state) == (replaced.sandbox, State.IN_USE)


def test_an_unstaged_warm_launch_is_deployed_by_a_task(paper_fleet, pool, game, worker):
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    run = start()
    assert run.state == RunState.DEPLOYING
    assert "runs.tasks.deploy" in worker.work()


def test_the_first_warm_launch_starts_cold_and_warms_the_pool(paper_fleet, pool, game, worker):
    run = start()
    assert run.served_by == ServedBy.COLD_FALLBACK
    assert run.notice_code == RunNoticeCode.NONE_READY
    for _ in range(20):
        paper_fleet.turns(1)
        worker.work()
    states = dict(Sandbox.objects.existing().values_list("origin", "state"))
    assert states["pool"] == State.READY


def test_a_launch_while_one_is_on_its_way_waits_for_it(paper_fleet, pool, game, worker):
    start(visitor="first")
    paper_fleet.turn()
    Run.objects.update(state=RunState.ENDED, end_code="time_up", end_reason="done")
    run = start()
    assert (run.state, run.served_by, run.sandbox) == (RunState.ACQUIRING, ServedBy.POOL, None)
    for _ in range(10):
        paper_fleet.turns(1)
    run.refresh_from_db()
    assert run.sandbox is not None
    assert run.sandbox.origin == "pool"


def test_waiting_launches_are_served_first_come_first(paper_fleet, pool, game):
    Pool.objects.update(target_ready=2, max_ready=3, max_concurrent_creates=2)
    paper_fleet.acquire(pool)
    paper_fleet.cloud.fault(operation="create", deploy_seconds=2)
    paper_fleet.turn()
    first, second = start(visitor="a"), start(visitor="b")
    for _ in range(60):
        paper_fleet.turns(1)
        first.refresh_from_db()
        second.refresh_from_db()
        assert not (second.sandbox and not first.sandbox), "the second was served before the first"
        if first.sandbox and second.sandbox:
            return
    raise AssertionError("not served")


def test_a_pool_that_fails_when_empty_refuses_and_fills(paper_fleet, pool, game):
    Pool.objects.update(on_empty="fail")
    with pytest.raises(PoolEmpty):
        start()
    assert not Run.objects.exists()
    paper_fleet.settle()
    assert paper_fleet.states() == ["ready"]


def test_a_runtime_without_a_pool_starts_cold_and_says_so(paper_fleet, game):
    run = start()
    assert run.served_by == ServedBy.COLD_FALLBACK
    assert (run.notice_code, run.notice) == (
        RunNoticeCode.NO_POOL,
        "There is no warm pool for Python: this is a cold start.",
    )


# Cold.


def test_a_cold_launch_never_touches_the_pool(paper_fleet, pool, game, worker):
    start(mode="cold")
    for _ in range(10):
        paper_fleet.turns(1)
    assert list(Sandbox.objects.values_list("origin", "state")) == [("cold", "in_use")]


def test_a_cold_launch_tells_how_far_it_is_and_what_each_part_took_as_it_goes(paper_fleet, game, worker):
    run = until_running(paper_fleet, worker, start(mode="cold"))
    told = [event.data for event in run.events.filter(kind="progress")]
    assert [entry["phase"] for entry in told if entry["phase"] != "acquire"] == ["bootstrap", "restore", "start"]
    assert told[0] == {"phase": "acquire", "share": 0.0, "left_seconds": told[0]["left_seconds"]}
    shares = [entry["share"] for entry in told]
    assert shares == sorted(shares)
    assert shares[-1] < 1
    assert run.acquire_ms + run.bootstrap_ms + run.restore_ms + run.start_ms == run.total_ms


def test_the_time_left_is_what_launches_like_it_took(paper_fleet, game, worker):
    until_running(paper_fleet, worker, start(mode="cold"))
    Run.objects.update(acquire_ms=40_000, bootstrap_ms=0, restore_ms=3_000, start_ms=1_000)
    assert start(mode="cold").events.get(kind="progress").data["left_seconds"] == 44.0


def test_a_launch_does_not_wait_for_a_deletion_of_the_same_turn(paper_fleet, staged):
    """Deletions went first, and took as long as the cloud took for them."""
    assert lifecycle.end(start().id, RunEndCode.ENDED_BY_PLAYER, "Ended by the player.", timezone.now())
    run = start(mode="cold", visitor="bob")
    paper_fleet.turn()
    done = [(entry["what"], entry["name"]) for entry in paper_fleet.cloud.state()["journal"]]
    assert done.index(("create", run.sandbox.name)) < done.index(("delete", staged.name))


def test_players_outrank_the_pool(paper_fleet, pool, game, worker, settings):
    """Idle warm sandboxes fill the cap, a launch needs another runtime: one of them makes room, and refill waits."""
    settings.MAX_TOTAL_SANDBOXES = 2
    Pool.objects.update(target_ready=2, max_ready=2)
    paper_fleet.acquire(pool)
    paper_fleet.turns(10)
    assert paper_fleet.states() == ["ready", "ready"]
    Game.objects.create(slug="ttt", title="T", runtime="node", run_command="x", snapshot_name="ttt-node")
    run = start(game="ttt", mode="cold")
    assert (run.state, run.sandbox) == (RunState.ACQUIRING, None)
    for _ in range(10):
        paper_fleet.turns(1)
        assert len(paper_fleet.states()) <= 2
    run.refresh_from_db()
    assert run.sandbox is not None
    assert paper_fleet.states() == ["in_use", "ready"]


def test_a_deletion_that_never_ends_does_not_keep_a_launch_from_its_place(paper_fleet, pool, game, settings):
    """It was waited for until the launch was given up, beside an idle sandbox that could have made room."""
    settings.MAX_TOTAL_SANDBOXES = 2
    Pool.objects.update(target_ready=2, max_ready=2)
    paper_fleet.acquire(pool)
    paper_fleet.turns(10)
    stuck = Sandbox.objects.filter(state=State.READY).first()
    paper_fleet.cloud.fault(operation="delete", name=stuck.name, status=500)
    claims.retire(stuck.id, "retired", "retired by an operator", timezone.now())
    Game.objects.create(slug="ttt", title="T", runtime="node", run_command="x", snapshot_name="ttt-node")
    run = start(game="ttt", mode="cold")
    paper_fleet.turns(20, seconds_apart=5)
    run.refresh_from_db()
    assert run.sandbox is not None
    assert len(paper_fleet.states()) == 2


def test_a_launch_that_waits_while_its_pool_is_drained_gets_the_one_on_its_way(paper_fleet, pool, game):
    paper_fleet.cloud.control.settings(deploy_seconds=1)
    Pool.objects.update(last_acquired_at=timezone.now())
    paper_fleet.turn()
    run = start()
    assert run.served_by == "pool"
    Pool.objects.update(mode="draining")
    for _ in range(100):
        paper_fleet.turn()
        run.refresh_from_db()
        if run.sandbox is not None:
            break
    assert run.sandbox is not None
    assert run.sandbox.origin == "pool"
    paper_fleet.cloud.control.settings(deploy_seconds=0)


def test_a_refused_token_fails_the_launch_with_a_sentence_and_leaves_no_sandbox(paper_fleet, game, settings):
    settings.DIGITALOCEAN_TOKEN = "wrong"
    run = start(mode="cold")
    paper_fleet.turns(5)
    run.refresh_from_db()
    assert (run.state, run.end_code) == (RunState.FAILED, RunEndCode.SANDBOX_FAILED)
    assert "token" in run.end_reason
    settings.DIGITALOCEAN_TOKEN = paper_fleet.cloud.token
    paper_fleet.turns(3)
    assert paper_fleet.states() == []


def test_a_cloud_that_is_down_fails_the_launch_within_a_minute(paper_fleet, game):
    paper_fleet.cloud.stop()
    run = start(mode="cold")
    paper_fleet.turns(20, seconds_apart=2)
    run.refresh_from_db()
    assert (run.state, run.end_code) == (RunState.FAILED, RunEndCode.SANDBOX_FAILED)
    assert "could not be reached" in run.end_reason


# Ends.


def test_invariant_8_a_run_that_ends_takes_its_sandbox_along(paper_fleet, staged):
    run = start()
    assert lifecycle.end(run.id, RunEndCode.ENDED_BY_PLAYER, "Ended by the player.", timezone.now())
    assert not lifecycle.end(run.id, RunEndCode.ENDED_BY_PLAYER, "Again.", timezone.now())
    staged.refresh_from_db()
    assert staged.state == State.DELETING
    assert run.events.filter(kind="end").count() == 1


def test_invariant_8_a_sandbox_that_vanishes_ends_its_run_with_a_reason(paper_fleet, staged):
    run = start()
    paper_fleet.clock.advance(60)
    paper_fleet.cloud.control.make_app("other")
    paper_fleet.cloud.control.delete_app(staged.app_id)
    paper_fleet.turns(10, seconds_apart=3)
    run.refresh_from_db()
    assert (run.state, run.end_code) == (RunState.FAILED, RunEndCode.SANDBOX_LOST)
    assert "vanished" in run.end_reason


def test_a_run_ends_with_its_lifetime(paper_fleet, staged):
    run = start()
    paper_fleet.clock.advance(601)
    paper_fleet.turn()
    run.refresh_from_db()
    assert (run.state, run.end_code) == (RunState.ENDED, RunEndCode.TIME_UP)


def test_more_time_that_is_given_at_the_last_moment_counts(paper_fleet, staged, monkeypatch):
    """It was told that it has more time, and was ended by the turn that had looked just before."""
    run = start()
    paper_fleet.clock.advance(601)
    lock, later = Fleet.lock, timezone.now() + timedelta(minutes=5)

    def extended_just_before() -> Fleet:
        Run.objects.update(expires_at=later)
        Sandbox.objects.filter(state=State.IN_USE).update(expires_at=later)
        return lock()

    monkeypatch.setattr(Fleet, "lock", extended_just_before)
    upkeep.end_overdue(timezone.now())
    run.refresh_from_db()
    assert run.state == RunState.RUNNING


# What goes wrong on the way.


def test_a_sandbox_that_was_claimed_for_a_run_that_has_ended_stays_in_the_pool(staged, pool):
    started = start(mode="cold")
    late = Run.objects.select_related("game").get(pk=started.pk)
    lifecycle.end(started.id, RunEndCode.ENDED_BY_PLAYER, "Ended by the player.", timezone.now())
    with pytest.raises(lifecycle.TooLate), transaction.atomic():
        take_ready(late, pool, timezone.now())
    staged.refresh_from_db()
    assert staged.state == State.READY


def test_a_worker_that_finds_its_sandbox_dead_goes_on_in_the_next_one(paper_fleet, staged, worker, pool):
    """It queued another task for that one, and let go of the run until somebody took it."""
    Pool.objects.update(target_ready=2, max_ready=2)
    paper_fleet.settle()
    files_only = {"snake": staged.staged["snake"] | {"pid": None}}
    Sandbox.objects.filter(state=State.READY).exclude(pk=staged.pk).update(staged=files_only)
    now = timezone.now()
    dead = claims.claim(pool, by="a test", expires_at=now + timedelta(minutes=5), now=now)
    assert dead == staged
    fields = {"game": Game.objects.get(), "mode": "warm", "visitor": "ada", "created_at": now, "acquired_at": now}
    run = Run.objects.create(sandbox=dead, expires_at=dead.expires_at, state=RunState.DEPLOYING, **fields)
    paper_fleet.cloud.control.kill_agent(dead.app_id)
    deployment.queue(run)
    assert worker.work() == ["runs.tasks.deploy"]
    run.refresh_from_db()
    assert (run.state, run.deploy_attempts) == (RunState.RUNNING, 1)
    assert run.sandbox != dead


def test_a_game_whose_page_answers_errors_is_not_played(paper_fleet, game, worker, monkeypatch):
    """Where it tells of its health all is well."""
    Game.objects.update(health_path="/health")
    monkeypatch.setattr("runs.launching.deployment.PAGE_SECONDS", 0)

    def fetch(agent: SandboxAgent, port: int, path: str, *_: object, **__: object) -> Fetched:
        return Fetched(500 if path == "/" else 200, {}, b"")

    monkeypatch.setattr(SandboxAgent, "fetch", fetch)
    run = until_running(paper_fleet, worker, start(mode="cold"))
    assert (run.state, run.end_code) == (RunState.FAILED, RunEndCode.DEPLOY_FAILED)
    assert "its page answers 500" in run.end_reason


def test_a_deploy_task_that_was_lost_is_queued_again(paper_fleet, pool, game, worker):
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    run = start()
    worker.lose()
    paper_fleet.clock.advance(11)
    paper_fleet.turn()
    assert "runs.tasks.deploy" in worker.work()
    assert run.state == RunState.DEPLOYING


def test_a_deployment_that_waits_for_a_busy_cluster_is_not_queued_with_each_turn(paper_fleet, pool, game):
    """Each turn added one more task, and one more line to the log, until somebody had time for the first."""
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    run = start()
    paper_fleet.clock.advance(11)
    Run.objects.update(deploy_attempts=1, deploy_process="a worker", deploy_lease_until=timezone.now())
    paper_fleet.turns(5)
    assert [row.func() for row in OrmQ.objects.all()].count("runs.tasks.deploy") == 2
    assert run.events.filter(message__startswith="The deployment was interrupted").count() == 1


def test_a_deployment_that_is_cut_off_again_and_again_fails(paper_fleet, pool, game):
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    run = start()
    Run.objects.update(deploy_attempts=upkeep.DEPLOY_ATTEMPTS, deploy_lease_until=timezone.now())
    paper_fleet.clock.advance(1)
    paper_fleet.turns(2)
    run.refresh_from_db()
    assert (run.state, run.end_code) == (RunState.FAILED, RunEndCode.DEPLOY_INTERRUPTED)


# Refusals.


def test_the_same_key_gives_the_same_run_also_at_once(paper_fleet, pool, game):
    barrier = Barrier(4)
    ids = []

    def click() -> None:
        barrier.wait()
        ids.append(start(idempotency_key="click-1").id)
        connection.close()

    threads = [Thread(target=click) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 4
    assert len(set(ids)) == 1
    with pytest.raises(KeyReused):
        start(mode="cold", idempotency_key="click-1")


def test_a_key_is_its_visitors_own(paper_fleet, game):
    """It gave one visitor the run of another."""
    mine = start(mode="cold", visitor="ada", idempotency_key="once")
    theirs = start(mode="cold", visitor="bob", idempotency_key="once")
    assert (mine.visitor, theirs.visitor) == ("ada", "bob")
    assert start(mode="cold", visitor="bob", idempotency_key="once") == theirs != mine


def test_an_unknown_game_is_refused(paper_fleet):
    with pytest.raises(UnknownGame):
        start(game="chess")


def test_maintenance_refuses_with_the_operators_words(paper_fleet, game):
    Fleet.objects.update(maintenance=True, maintenance_message="Back at noon.")
    with pytest.raises(Maintenance, match="Back at noon"):
        start()
