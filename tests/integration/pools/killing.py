"""Kills a worker between any two steps, restarts it, and says what is left.

    python -m tests.integration.pools.killing <cloud url> <token> pool|launch <every Nth step>

A step is a commit, a write outside of a transaction, or a request to the cloud, before and after it took effect. Every
life is a process of its own, ended by SIGKILL from inside at its Nth step: the first time that each place in the
code takes a step, or with `--all` every time. Prints one JSON object a life.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import django

django.setup()

from django.apps import apps as installed  # noqa: E402
from django.conf import settings  # noqa: E402
from django.db import connection, connections, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from games.models import Game  # noqa: E402
from pools import claims  # noqa: E402
from pools.cloud.app_platform import DigitalOcean  # noqa: E402
from pools.demand import note_demand  # noqa: E402
from pools.models import LIVE, Fleet, Pool, Sandbox, State  # noqa: E402
from pools.turn.reconciler import turn  # noqa: E402
from runs import lifecycle  # noqa: E402
from runs.clients import Client  # noqa: E402
from runs.launching.launch import launch  # noqa: E402
from runs.models import OVER, STARTING, Run  # noqa: E402
from runs.reasons import RunEndCode  # noqa: E402
from tests.fixtures.local_cloud_control import LocalCloudControl  # noqa: E402
from tests.fixtures.worker import Worker  # noqa: E402

WRITES = ("INSERT", "UPDATE", "DELETE")


class Clock:
    """The product's time, which a life lets pass."""

    ahead = timedelta()
    real_now = timezone.now

    def now(self) -> datetime:
        return Clock.real_now() + self.ahead

    def advance(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


clock = Clock()
timezone.now = clock.now


def place() -> str:
    """Where in the project's code this step is taken."""
    frame = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if any(f"/{app}/" in path for app in ("pools", "games", "runs")) and "/tests/" not in path:
            return f"{os.path.basename(path)}:{frame.f_lineno}"
        frame = frame.f_back
    return "the test"


class Steps:
    """Counts the steps of this process and kills it at one of them (0: at none)."""

    def __init__(self, kill_at: int) -> None:
        self.kill_at = kill_at
        self.places: list[str] = []

    def step(self, when: str) -> None:
        self.places.append(f"{when} {place()}")
        if len(self.places) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        leave = transaction.Atomic.__exit__

        def leave_and_count(atomic: Any, *error: Any) -> None:
            outermost = len(connection.atomic_blocks) == 1
            if outermost:
                self.step("before")
            leave(atomic, *error)
            if outermost:
                self.step("after")

        def write_and_count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            result = execute(sql, params, many, context)
            if not connection.in_atomic_block and sql.lstrip().startswith(WRITES):
                self.step("after")
            return result

        transaction.Atomic.__exit__ = leave_and_count
        connection.execute_wrappers.append(write_and_count)
        for name in ("apps", "get", "create", "delete"):
            setattr(DigitalOcean, name, self.counted(getattr(DigitalOcean, name)))

    def counted(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        def asked(*arguments: Any) -> Any:
            self.step("before")
            answer = ask(*arguments)
            self.step("after")
            return answer

        return asked


def settle(most_turns: int = 80) -> None:
    for _ in range(most_turns):
        due_in_seconds = turn().due_in_seconds
        Worker().work()
        is_quiet = due_in_seconds is None or due_in_seconds > 10  # looks at what is played never end
        if is_quiet and not Run.objects.filter(state__in=STARTING).exists():
            return
        clock.advance(2)


def a_worker_s_life() -> None:
    """Demand warms the pool, a sandbox is acquired and replaced, its lifetime ends, the pool goes idle."""
    pool = Pool.objects.get()
    for _ in range(2):
        now = timezone.now()
        with transaction.atomic():
            note_demand(pool, "run 3fa9", now)
            claims.claim(pool, by="run 3fa9", expires_at=now + timedelta(minutes=1), now=now)
        settle()
    clock.advance(61)
    settle()


def a_launch_s_life() -> None:
    """A launch starts cold and warms the pool; the next one is warm; one is ended, the other expires."""
    first = launch(game="snake", mode="warm", client=Client("ada"))
    settle()
    launch(game="snake", mode="warm", client=Client("ada"))
    settle()
    lifecycle.end(first.id, RunEndCode.ENDED_BY_PLAYER, "Ended by the player.", timezone.now())
    settle()
    clock.advance(601)
    settle()


def after_the_restart() -> None:
    settle()
    clock.advance(700)  # what listings, grace and lifetimes may take
    settle()


def live(life: Callable[[], None], kill_at: int) -> tuple[bool, list[str]]:
    """Run one life in a process of its own: whether it was killed, and which steps it took when not."""
    connections.close_all()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        steps = Steps(kill_at)
        steps.install()
        status = 0
        try:
            life()
        except BaseException:
            traceback.print_exc()
            status = 1
        with os.fdopen(writing, "w") as pipe:
            json.dump(steps.places, pipe)
        os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        places = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True, []
    if status:
        sys.exit("the life ended with an error")
    return False, list(json.loads(places))


def interesting(places: list[str]) -> list[int]:
    """The numbers of the steps to kill at."""
    numbered = list(enumerate(places, start=1))
    if "--all" in sys.argv:
        return [number for number, _ in numbered]
    first = {place: number for number, place in reversed(numbered)}
    return sorted(first.values())[:: int(sys.argv[4])]


def begin() -> None:
    """An empty account, an empty database, one pool."""
    control.reset()
    for model in reversed(list(installed.get_models())):
        if model._meta.app_label in ("pools", "runs", "django_q"):
            model._default_manager.all().delete()
    Fleet.get()
    Pool.objects.create(
        name="python", runtime="python", image="bikramkgupta/sandbox-python-service:latest", region="syd",
        size="apps-s-1vcpu-1gb", stage="files", max_warm_age_seconds=100_000, idle_timeout_seconds=100_000,
    )  # fmt: skip
    Game.objects.get_or_create(
        slug="snake",
        defaults={
            "title": "Snake",
            "runtime": "python",
            "run_command": "x",
            "snapshot_name": "snake",
            "repository_url": "x",
        },
    )


def report(kill_at: int) -> dict[str, Any]:
    state = control.state()
    rows = {row.name: row.state for row in Sandbox.objects.existing()}
    return {
        "kill_at": kill_at,
        "apps": sorted(app["name"] for app in state["apps"]),
        "rows": rows,
        "creates": state["creates"],
        "most_apps": state["most_apps"],
        "acquired": Sandbox.objects.filter(acquired_at__isnull=False).count(),
        "active_runs": Run.objects.active().count(),
        "runs_with_live_sandbox": Run.objects.filter(state__in=OVER, sandbox__state__in=LIVE).count(),
        "expired_ready": Sandbox.objects.filter(state=State.READY, expires_at__isnull=False).count(),
    }


if __name__ == "__main__":
    url, token, life = sys.argv[1:4]
    lives = {"pool": a_worker_s_life, "launch": a_launch_s_life}
    control = LocalCloudControl(url, token)
    settings.DIGITALOCEAN_TOKEN, settings.DIGITALOCEAN_API_URL, settings.CLOUD_IS_EMBEDDED = token, url, False
    settings.CLOUD_REQUESTS_PER_MINUTE = 5000
    begin()
    _, places = live(lives[life], 0)
    print(json.dumps({"steps": len(places), "killed_at": len(interesting(places))}), flush=True)
    for kill_at in interesting(places):
        begin()
        was_killed, _ = live(lives[life], kill_at)
        live(after_the_restart, 0)
        print(json.dumps(report(kill_at) | {"was_killed": was_killed}), flush=True)
