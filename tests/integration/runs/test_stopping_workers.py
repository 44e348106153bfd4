"""A worker that is asked to stop while a game is installed hands the deployment back: another one begins at once."""

from __future__ import annotations

from tests.fixtures.databases import Database
from tests.integration.runs.test_frozen_workers import PRELUDE, ROWS

STOPS = """
from django_q.models import OrmQ
from pools import stopping

def deploy_game(*_, say, **__):
    stopping.announce()  # in the middle of it
    stopping.require_time()  # as whatever follows a long command does

deployment.deploy_game = deploy_game
attempt = Attempt.after(Run.objects.get())
deployment.deploy(attempt)
run = Run.objects.get()
task = OrmQ.objects.get()
print(run.state, run.deploy_process == "", run.deploy_attempts, task.func(), task.task["args"][2])
"""
TAKES_OVER = """
run = Run.objects.get()
print(lifecycle.begin_attempt(Attempt.after(run), timezone.now()) is not None)
print(run.events.filter(data__code="passed_on").count())
print(lifecycle.interruptions(Run.objects.get()))
"""


def test_a_deployment_is_handed_back_and_the_next_attempt_begins_at_once(database: Database):
    database.answer(PRELUDE + ROWS)
    assert database.answer(PRELUDE + STOPS) == "deploying True 1 runs.tasks.deploy 2"
    assert database.answer(PRELUDE + TAKES_OVER).split() == ["True", "1", "1"]


STOPS_AGAIN_AND_AGAIN = """
from pools import stopping

def deploy_game(*_, **__):
    raise stopping.Stopping

deployment.deploy_game = deploy_game
for _ in range(upkeep.DEPLOY_ATTEMPTS + 2):
    deployment.deploy(Attempt.after(Run.objects.get()))
later = timezone.now() + timedelta(seconds=20)  # the last of them was lost
upkeep.redeploy_cut_off(later)
run = Run.objects.get()
print(run.state, run.deploy_attempts, lifecycle.interruptions(run))
"""


def test_however_often_workers_stop_the_deployment_is_not_given_up(database: Database):
    """A rolling restart of many workers used up the attempts that are there for crashes."""
    database.answer(PRELUDE + ROWS)
    assert database.answer(PRELUDE + STOPS_AGAIN_AND_AGAIN) == "deploying 7 0"


TURNS = """
import time
from datetime import timedelta
from django.utils import timezone
from django_q.models import OrmQ
from pools import leases, stopping, tasks
from pools.models import Fleet

def turn_when_free(seconds):
    Fleet.objects.update(due_at=timezone.now() + timedelta(seconds=30), nudged=False)
    turns.append(1)
    stopping.announce()

turns, began = [], time.monotonic()
tasks.turn_when_free = turn_when_free
tasks.reconcile()
print(len(turns), time.monotonic() - began < 20, leases.held(["turns"]), [row.func() for row in OrmQ.objects.all()])
"""


def test_the_loop_of_turns_ends_with_the_turn_in_hand_and_asks_another_cluster_to_go_on(database: Database):
    assert database.answer(TURNS) == "1 True set() ['pools.tasks.reconcile']"


FOLLOWS = """
from types import SimpleNamespace
from pools import stopping
from pools.cloud import long_command

ended = []
agent = SimpleNamespace(
    start=lambda *_, **__: SimpleNamespace(pid=1, log_file="/log"),
    run=lambda script, **_: ended.append(script),
)
stopping.announce()
try:
    list(long_command.follow(agent, "sleep 1000"))
except stopping.Stopping:
    print("kill -9 -1" in ended[-1])
"""


def test_a_long_command_ends_with_its_worker(migrated_database: Database):
    assert migrated_database.answer(FOLLOWS) == "True"
