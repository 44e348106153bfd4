"""One simulated installation: its processes, its account, its players, and what is watched."""

from __future__ import annotations

import contextlib
import hashlib
import random
import sqlite3
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from django.conf import settings

from tests.sim import account as accounts
from tests.sim import template
from tests.sim.apps import NEVER
from tests.sim.cluster import Cluster
from tests.sim.coverage import Coverage, seen_in
from tests.sim.database import store
from tests.sim.faults import FAULTS
from tests.sim.invariants import CONVERGED_SECONDS, Invariants
from tests.sim.kernel import Kernel, Machine
from tests.sim.machinery import in_place
from tests.sim.mischief import Mischief
from tests.sim.operators import Operators
from tests.sim.pace import paced
from tests.sim.plan import Plan
from tests.sim.players import Players
from tests.sim.shortcuts import FleetRow, make_django_quicker, taken

QUIET_SECONDS = CONVERGED_SECONDS + 600.0  # at the end of each run
WORKERS = 4
_template: sqlite3.Connection | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """`only`: the faults that happen, by their names; None for all that the seed has."""

    seed: int
    hours: float = 10.0
    per_hour: float = 60.0
    only: Collection[str] | None = None


@dataclass
class Outcome:
    """How a run went. `failure`: what did not hold, if anything; `struck`: the faults that happened."""

    seed: int
    seconds: float
    failure: str = ""
    log: list[str] = field(default_factory=list)
    struck: tuple[str, ...] = ()
    coverage: Coverage = field(default_factory=Coverage)
    statistics: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The same whenever the log is."""
        return hashlib.sha256("\n".join(self.log).encode()).hexdigest()[:16]


def run(options: Options, tell: Callable[[str], None] | None = None) -> Outcome:
    """Simulate it, until its time is over or something does not hold. `tell` gets each line of the log."""
    global _template  # noqa: PLW0603
    if _template is None:
        make_django_quicker()
        _template = template.build()
    store.copy_from(_template)
    seconds = options.hours * 3600
    outcome = Outcome(options.seed, seconds)

    def log(line: str) -> None:
        outcome.log.append(line)
        if tell is not None:
            tell(line)

    chances = {name: fault.chance for name, fault in FAULTS.items()}
    plan = Plan(options.seed, seconds, min(QUIET_SECONDS, seconds / 2), chances, options.only)
    kernel = Kernel(options.seed, plan, log)
    with contextlib.ExitStack() as stack:
        stack.enter_context(sized(options.seed))
        mail, host = stack.enter_context(in_place(kernel))
        account = stack.enter_context(accounts.install(kernel))
        stack.enter_context(paced(kernel, lambda: next_change(account)))
        watch = Invariants(kernel, account, plan)
        _watch(kernel, account, watch)
        fleet_row = FleetRow()
        stack.enter_context(taken(fleet_row))

        def wrote(table: str) -> None:
            mail.wrote(table)
            watch.wrote(table)
            fleet_row.wrote(table)

        store.hooks.wrote = wrote
        store.hooks.rolled_back = fleet_row.forget
        web = [kernel.process(f"web-{letter}", Machine(f"web-{letter}")) for letter in "ab"]
        clusters = [Cluster(kernel, host, Machine(f"worker-{letter}"), WORKERS) for letter in "ab"]
        players, operators = Players(kernel, web, options.per_hour), Operators(kernel, account)
        mischief = Mischief(kernel, plan, clusters, web, watch)
        world = kernel.process("world", Machine("world"))
        desk = kernel.process("desk", Machine("desk"))
        kernel.spawn(world, players.come, "players")
        kernel.spawn(world, mischief.happen, "mischief")
        kernel.spawn(world, mischief.keep_backups, "backups")
        kernel.spawn(desk, operators.act, "acts")
        kernel.spawn(desk, operators.look_after, "looks-after")
        kernel.spawn(world, lambda: _each_minute(kernel, plan, watch, account, clusters, outcome.coverage), "minutes")
        kernel.run_until(seconds)
        outcome.failure, outcome.seconds = watch.broken or kernel.broken, kernel.time
        outcome.struck = tuple(sorted(plan.struck))
        outcome.coverage.note(seen_in(), plan, operators.done, watch.states)
        outcome.statistics = {
            "launches": vars(players.done),
            "refusals": dict(sorted(players.refusals.items())),
            "requests": dict(sorted(account.requests.items())),
            "points": kernel.points,
        }
    return outcome


@contextlib.contextmanager
def sized(seed: int) -> Iterator[None]:
    """The installation's limits, by the seed: wide ones, and such as are met all the time."""
    chance = random.Random(f"{seed} size")
    total = chance.choice((5, 8, 12, 16))
    wanted = {
        "MAX_TOTAL_SANDBOXES": total,
        "MAX_TOTAL_ACTIVE": max(3, total - chance.randint(0, 2)),
        "MAX_CONCURRENT_WARM": max(3, total - chance.randint(0, 4)),
        "MAX_CONCURRENT_COLD": chance.randint(2, 6),
        "MAX_RUNS_PER_HOUR": chance.choice((40, 70, 120)),
        "MAX_ACTIVE_PER_CLIENT": chance.choice((1, 2, 4)),
        "MAX_ACTIVE_PER_NETWORK": chance.choice((2, 4)),
    }
    with contextlib.ExitStack() as stack:
        for name, value in wanted.items():
            stack.enter_context(mock.patch.object(settings, name, value))
        yield


def _watch(kernel: Kernel, account: accounts.Account, watch: Invariants) -> None:
    committed, delete = store.hooks.committed, account.operations["delete"]

    def after_commit(wrapper: Any) -> None:
        watch.after_commit()
        committed(wrapper)

    def deleting(app_id: str, *args: Any, **kwargs: Any) -> Any:
        watch.deleting(app_id)
        return delete(app_id, *args, **kwargs)

    store.hooks.committed = after_commit
    account.operations["delete"] = deleting


def _each_minute(
    kernel: Kernel,
    plan: Plan,
    watch: Invariants,
    account: accounts.Account,
    clusters: list[Cluster],
    coverage: Coverage,
) -> None:
    was_stormy = False
    while True:
        kernel.sleep(60.0)
        kernel.is_stormy = plan.storm_at(kernel.time) is not None
        if was_stormy and not kernel.is_stormy:
            account.calm()
            kernel.log("calm")
        was_stormy = kernel.is_stormy
        watch.each_minute()
        for cluster in clusters:
            for error in cluster.errors:
                coverage.errors[error.strip().splitlines()[-1][:200]] += 1
            cluster.errors.clear()


def next_change(account: accounts.Account) -> float:
    """Seconds until an app of the account comes up or fails, or is gone."""
    now = account.now()
    moments = [at for app in account.apps.values() for at in _changes_of(app) if now < at < NEVER]
    return min(moments, default=now + 3600.0) - now


def _changes_of(app: Any) -> Iterator[float]:
    up = app.created_at + app.deploy_seconds
    yield from (up, up + app.url_late_seconds, up + app.agent_late_seconds, app.gone_at)
