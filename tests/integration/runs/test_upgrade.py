"""What the version before this one left behind: rows whose ends and notices have no codes, tasks without attempts."""

from __future__ import annotations

import json

import pytest
from django.utils import timezone
from django_q.tasks import async_task

from pools.models import Sandbox
from runs.clients import Client
from runs.launching.launch import launch
from runs.models import Run, RunState
from tests.fixtures.databases import Database

OLD_ROWS = """
import json
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

call_command("migrate", "runs", "0001", verbosity=0)
state = MigrationExecutor(connection).loader.project_state([("runs", "0001_initial"), ("games", "0001_initial")])
Game, Run = state.apps.get_model("games", "Game"), state.apps.get_model("runs", "Run")
game = Game.objects.create(slug="snake", title="Snake", runtime="python", run_command="x", snapshot_name="s")
fields = {"game": game, "mode": "warm", "visitor": "v", "created_at": timezone.now()}
before = [Run.objects.create(state=state, end_reason=end, notice=notice, **fields).pk
          for state, end, notice in json.loads(sys.argv[1])]
call_command("migrate", "runs", verbosity=0)
from runs.models import Run
rows = {run.pk: [run.state, run.end_code, run.notice_code] for run in Run.objects.all()}
print(json.dumps([rows[pk] for pk in before]))
"""

COLD = ": this is a cold start."
ROWS = [
    (("ended", "Ended by the player.", ""), ("ended", "ended_by_player", "")),
    (("ended", "Ended through the API.", ""), ("ended", "ended_by_api", "")),
    (("ended", "An operator ended it: the player asked", ""), ("ended", "ended_by_operator", "")),
    (("ended", "Its time was up.", ""), ("ended", "time_up", "")),
    (("failed", "No place for a sandbox: the budget is spent.", ""), ("failed", "no_place", "")),
    (("failed", "The sandbox it waited for did not come, and …", ""), ("failed", "pool_gave_up", "")),
    (("failed", "No sandbox could be had: the token was refused.", ""), ("failed", "sandbox_failed", "")),
    (("failed", "The sandbox is gone: lost: it vanished.", ""), ("failed", "sandbox_lost", "")),
    (("failed", "The deployment was interrupted twice.", ""), ("failed", "deploy_interrupted", "")),
    (("failed", "Something went wrong here while the game was deployed. …", ""), ("failed", "internal_error", "")),
    (("failed", "It did not start within 15 minutes.", ""), ("failed", "start_timeout", "")),
    (("failed", "npm error: no space left", ""), ("failed", "unknown", "")),
    (("ended", "For a reason of long ago.", "Of long ago."), ("ended", "unknown", "unknown")),
    (("queued", "", ""), ("acquiring", "", "")),
    (("acquiring", "", f"There is no warm pool for Python{COLD}"), ("acquiring", "", "no_pool")),
    (("deploying", "", f"No warm sandbox was ready{COLD}"), ("deploying", "", "none_ready")),
    (("running", "", f"No warm sandbox is on its way any more{COLD}"), ("running", "", "none_coming")),
    (("running", "", f"No other warm sandbox was ready{COLD}"), ("running", "", "none_alive")),
]


def test_each_old_row_gets_its_codes_from_its_sentences_once(database: Database):
    old, new = zip(*ROWS, strict=True)
    assert [tuple(row) for row in json.loads(database.answer(OLD_ROWS, json.dumps(old)))] == list(new)


@pytest.mark.django_db(transaction=True)
def test_a_task_that_the_version_before_had_queued_still_deploys(paper_fleet, pool, game, worker):
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    run = launch(game="snake", mode="warm", client=Client("ada"))
    assert run.state == RunState.DEPLOYING
    worker.lose()
    async_task("runs.tasks.deploy", str(run.pk), task_name="deploy", group="deploy")
    worker.work()
    run.refresh_from_db()
    assert (run.state, run.deploy_attempts) == (RunState.RUNNING, 1)


@pytest.mark.django_db(transaction=True)
def test_a_task_of_an_attempt_that_was_is_dropped(paper_fleet, pool, game, worker):
    """Its row of the queue was delivered again after a second worker had begun."""
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    run = launch(game="snake", mode="warm", client=Client("ada"))
    Run.objects.update(deploy_attempts=1, deploy_lease_until=timezone.now())
    worker.work()
    run.refresh_from_db()
    assert (run.state, run.deploy_attempts) == (RunState.DEPLOYING, 1)
    assert Sandbox.objects.get(pk=run.sandbox_id).state == "in_use"
