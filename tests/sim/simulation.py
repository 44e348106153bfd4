"""One simulated installation: its processes, its account, its players, and what is watched."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from tests.sim import account as accounts
from tests.sim import template
from tests.sim.cluster import Cluster
from tests.sim.database import store
from tests.sim.kernel import Kernel, Machine
from tests.sim.machinery import in_place
from tests.sim.pace import paced
from tests.sim.plan import Plan
from tests.sim.players import Players

QUIET_SECONDS = 1800.0
_template: sqlite3.Connection | None = None


@dataclass
class Options:
    seed: int
    hours: float = 4.0
    per_hour: float = 60.0
    only: Collection[str] | None = None


@dataclass
class Outcome:
    seed: int
    seconds: float
    failure: str = ""
    log: list[str] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    statistics: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.log).encode()).hexdigest()[:16]


def run(options: Options, tell: Callable[[str], None] | None = None) -> Outcome:
    """Simulate it."""
    global _template  # noqa: PLW0603
    if _template is None:
        _template = template.build()
    store.copy_from(_template)
    seconds = options.hours * 3600
    outcome = Outcome(options.seed, seconds)

    def log(line: str) -> None:
        outcome.log.append(line)
        if tell is not None:
            tell(line)

    plan = Plan(options.seed, seconds, min(QUIET_SECONDS, seconds / 2), options.only)
    kernel = Kernel(options.seed, plan, log)
    with contextlib.ExitStack() as stack:
        mail, host = stack.enter_context(in_place(kernel))
        account = stack.enter_context(accounts.install(kernel))
        stack.enter_context(paced(kernel, lambda: next_change(account)))
        web = [kernel.process(f"web-{letter}", Machine(f"web-{letter}")) for letter in "ab"]
        clusters = [Cluster(kernel, host, Machine(f"worker-{letter}"), 4) for letter in "ab"]
        players = Players(kernel, web, options.per_hour)
        world = kernel.process("world", Machine("world"))
        kernel.spawn(world, players.come, "players")
        kernel.run_until(seconds)
        outcome.statistics = {
            "launches": players.done,
            "refusals": players.refusals,
            "requests": account.requests,
            "points": kernel.points,
            "errors": [error for cluster in clusters for error in cluster.errors],
        }
        outcome.struck = sorted(plan.struck)
    return outcome


def next_change(account: accounts.Account) -> float:
    """Seconds until an app of the account comes up or fails, or is gone."""
    now = account.now()
    moments = []
    for app in account.apps.values():
        up = app.created_at + app.deploy_seconds
        for at in (up, up + app.url_late_seconds, up + max(app.url_late_seconds, app.agent_late_seconds), app.gone_at):
            if at > now:
                moments.append(at)
                break
    return min(moments, default=now + 3600.0) - now
