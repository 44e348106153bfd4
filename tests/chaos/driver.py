"""A seeded storm: random demand, ends, faults, clock jumps, restarts and pool edits against a cloud on paper.

The invariants of docs/invariants.md are checked after every step, and once more when the storm is over.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta

from django.utils import timezone

from pools import claims
from pools.models import BEING_CREATED, SUPPLY, CloudApp, Fleet, Mode, Origin, Pool, Sandbox, State
from tests.fixtures.fleet import FleetUnderTest, approve_all

FAULTS = (
    {"operation": "create", "status": 500},
    {"operation": "create", "status": 500, "after": True},
    {"operation": "create", "status": 429, "retry_after": 3},
    {"operation": "create", "body": "html", "status": 502, "after": True},
    {"operation": "create", "error": "failed to pull image"},
    {"operation": "create", "stuck": "DEPLOYING"},
    {"operation": "create", "agent": {"silent": True}},
    {"operation": "create", "quota": 1},
    {"operation": "delete", "status": 500},
    {"operation": "delete", "status": 500, "after": True},
    {"operation": "delete", "linger_seconds": 2},
    {"operation": "get", "status": 503},
    {"operation": "list", "status": 500},
    {"operation": "list", "empty": True},
    {"operation": "list", "body": "truncated"},
    {"operation": "list", "body": "html"},
    {"operation": "list", "stale_seconds": 3600},
    {"operation": "list", "stale_seconds": 3600, "times": 40},
    {"operation": "list", "stale_seconds": 2},
    {"operation": "list", "status": 429},
    {"operation": "propose", "status": 500},
    {"operation": "list", "omit": "[0-7]$"},
    {"operation": "list", "total": 3},
    {"operation": "*", "reset": True},
    {"operation": "*", "status": 524, "body": "html"},
    {"operation": "*", "status": 524, "body": "html", "after": True},
    {"operation": "*", "status": 403, "body": "html"},
    {"operation": "get", "status": 404, "body": "html"},
    {"operation": "propose", "status": 400, "body": "html"},
    {"operation": "delete", "status": 403, "message": "You are not permitted to delete this app", "times": 20},
    {"operation": "delete", "name_taken_seconds": 3},
    {"operation": "list", "shift": 1},
    {"operation": "list", "shift": -1},
    {"operation": "list", "stale_seconds": 86400, "times": 200},
    {"operation": "*", "skew_seconds": 86400, "times": 50},
    {"operation": "*", "skew_seconds": -86400, "times": 50},
    {"operation": "*", "status": 401},
    {"operation": "list", "marks": "encrypted", "times": 20},
    {"operation": "*", "marks": "encrypted", "times": 40},
    {"operation": "*", "marks": "absent", "times": 40},
    {"operation": "list", "shown_name": "company-website", "times": 10},
)
STEPS = 60


class Storm:
    def __init__(self, fleet: FleetUnderTest, seed: int) -> None:
        self.fleet = fleet
        self.random = random.Random(seed)
        self.served: set[str] = set()
        self.foreign = {fleet.cloud.control.make_app("web")["id"]}
        self.foreign.update(fleet.cloud.control.make_apps(220, prefix="shop-"))  # so that the list has two pages
        self.foreign.add(fleet.cloud.control.make_app("sandbox-0badcafe", owner="production")["id"])
        self.orphans: set[str] = set()
        self.said: list[str] = []
        self.acts: list[tuple[int, Callable[[], str]]] = [
            (30, self.turn),
            (15, self.acquire),
            (8, self.release),
            (10, self.trouble),
            (6, self.calm),
            (10, self.jump),
            (4, self.delete_behind_our_back),
            (4, self.kill_agent),
            (3, self.orphan),
            (4, self.edit_pool),
            (2, self.restart_cloud),
            (2, self.operator_lets_deletions_go),
        ]

    def blow(self, steps: int = STEPS) -> None:
        weights = [weight for weight, _ in self.acts]
        for _ in range(steps):
            act = self.random.choices(self.acts, weights)[0][1]
            self.said.append(act())
            self.check()
        self.said.append("calm at the end")
        self.calm()
        Pool.objects.update(mode=Mode.ACTIVE)
        self.settle()
        self.check_at_rest()

    # What can happen.

    def turn(self) -> str:
        decisions = self.fleet.turn().decisions
        return "turn: " + ", ".join(f"{decision.kind} {decision.name}" for decision in decisions)

    def acquire(self) -> str:
        sandbox = self.fleet.acquire(Pool.objects.get(), minutes=self.random.choice([1, 5, 10]))
        if sandbox is None:
            return "acquire: none ready"
        assert sandbox.name not in self.served, f"invariant 3: {sandbox.name} was handed out twice"
        self.served.add(sandbox.name)
        return f"acquire: {sandbox.name}"

    def release(self) -> str:
        in_use = list(Sandbox.objects.filter(state=State.IN_USE).order_by("name"))
        if not in_use:
            return "release: none in use"
        sandbox = self.random.choice(in_use)
        claims.retire(sandbox.id, "run_over", "the player ended it", timezone.now())
        return f"release: {sandbox.name}"

    def trouble(self) -> str:
        foreign = {"app": {"id": self.random.choice(sorted(self.foreign))}}
        of_another = {"operation": "create", "after": True, "json": foreign}
        fault = {"times": self.random.choice([1, 1, 2, 5]), **self.random.choice([*FAULTS, of_another])}
        self.fleet.cloud.fault(**fault)
        return f"fault: {fault}"

    def calm(self) -> str:
        self.fleet.cloud.control.clear()
        return "no faults"

    def jump(self) -> str:
        seconds = self.random.choice([1, 5, 20, 20, 60, 130, 700])
        self.fleet.clock.advance(seconds)
        return f"{seconds} s pass"

    def delete_behind_our_back(self) -> str:
        ours = sorted(app["id"] for app in self.fleet.cloud.apps() if app["id"] not in self.foreign)
        if not ours:
            return "nothing to delete behind our back"
        app_id = self.random.choice(ours)
        self.fleet.cloud.control.delete_app(app_id)
        return f"deleted behind our back: {app_id}"

    def kill_agent(self) -> str:
        ours = sorted(app["id"] for app in self.fleet.cloud.apps() if app["id"] not in self.foreign)
        if ours:
            self.fleet.cloud.control.kill_agent(self.random.choice(ours))
        return "an agent died"

    def orphan(self) -> str:
        name = f"sandbox-{self.random.getrandbits(32):08x}"
        self.orphans.add(self.fleet.cloud.control.make_app(name, owner="local")["id"])
        return f"orphan: {name}"

    def edit_pool(self) -> str:
        most = self.random.randint(0, 4)
        target = self.random.randint(0, most)
        mode = self.random.choice([Mode.ACTIVE, Mode.ACTIVE, Mode.PAUSED, Mode.DRAINING])
        Pool.objects.update(
            max_ready=most, target_ready=target, min_ready=min(target, self.random.randint(0, 1)), mode=mode,
            max_concurrent_creates=self.random.randint(1, 3),
        )  # fmt: skip
        return f"pool: target {target}, max {most}, {mode}"

    def restart_cloud(self) -> str:
        self.fleet.cloud.kill()
        self.fleet.cloud.start()
        return "the cloud was killed and came back"

    def operator_lets_deletions_go(self) -> str:
        approve_all(timezone.now())
        return "an operator lets deletions go"

    # What must hold.

    def check(self) -> None:
        rows = list(Sandbox.objects.exclude(state=State.DELETED))
        pool = Pool.objects.get()
        assert len(rows) <= 10, "invariant 2: the fleet's cap"
        creating = [row for row in rows if row.origin == Origin.POOL and row.state in BEING_CREATED]
        supply = [row for row in rows if row.origin == Origin.POOL and row.state in SUPPLY]
        grown = Sandbox.objects.filter(requested_at__gte=timezone.now() - timedelta(seconds=0.5))
        if grown.exists():
            assert len(supply) <= max(pool.max_ready, 4), "invariant 2: the pool's maximum"
            assert len(creating) <= 4, "invariant 2: creates in flight"
        for row in rows:
            assert row.state == State.IN_USE or row.state == State.DELETING or row.expires_at is None, "invariant 5"
        alive = {app["id"]: app["name"] for app in self.fleet.cloud.apps()}
        assert self.foreign <= alive.keys(), "invariant 6: a foreign app was touched"
        ours = {name for app_id, name in alive.items() if app_id not in self.foreign | self.orphans}
        assert ours <= {row.name for row in rows}, "invariant 1: a place was given away while its app exists"

    def settle(self) -> None:
        for _ in range(120):
            self.operator_lets_deletions_go()
            Fleet.objects.update(request_budget={})
            self.turn()
            self.fleet.clock.advance(7)

    def check_at_rest(self) -> None:
        apps = {app["name"] for app in self.fleet.cloud.apps() if app["id"] not in self.foreign}
        rows = dict(Sandbox.objects.exclude(state=State.DELETED).values_list("name", "state"))
        assert apps == set(rows), f"invariant 1: apps {apps}, rows {rows}"
        assert set(rows.values()) <= {"ready"}, f"not at rest: {rows}"
        pool = Pool.objects.get()
        wanted = pool.target_ready if pool.wanted(timezone.now()) else pool.min_ready
        assert len(rows) == wanted, f"invariant 4: {len(rows)} ready, {wanted} wanted"
        assert set(CloudApp.objects.values_list("app_id", flat=True)) == {app["id"] for app in self.fleet.cloud.apps()}
        assert not Sandbox.objects.filter(end_reason="", state__in=[State.DELETING, State.DELETED]).exists()
