"""Operators: they act at any time as the admin lets them, and look after what waits for them."""

from __future__ import annotations

import random
from collections.abc import Callable

from django.db import DatabaseError
from django_q.tasks import async_task

from games.models import Snapshot
from pools import clock
from pools.console import operations
from pools.console.force_delete import force_delete
from pools.console.operations import Refused
from pools.leases import LeaseLost
from pools.models import Fleet, Mode, Pool, Sandbox
from pools.ownership import anothers
from pools.turn.preview import explain
from runs import lifecycle
from runs.models import Run
from runs.reasons import RunEndCode
from tests.sim.account import Account
from tests.sim.kernel import Kernel

ACTS_SECONDS = 900.0  # on average between two acts
LOOKS_SECONDS = 240.0
ACTOR = {"actor": "operator", "reason": "simulated"}


class Operators:
    def __init__(self, kernel: Kernel, account: Account) -> None:
        self.kernel, self.account = kernel, account
        self.chance = random.Random(f"{kernel.seed} operators")
        self.done: dict[str, int] = {}

    def act(self) -> None:
        """Runs for ever: now and then one of them does something. What they change, they change back some time."""
        acts: list[Callable[[], object]] = [
            self._resize, self._resize, self._pause, self._drain, self._recycle, self._warm_up, self._close_breaker,
            self._retire, self._force_delete, self._sweep, self._maintenance, self._look, self._turn, self._end_run,
            self._publish,
        ]  # fmt: skip
        while True:
            self.kernel.sleep(self.chance.expovariate(1 / ACTS_SECONDS))
            self._do(self.chance.choice(acts))

    def look_after(self) -> None:
        """Runs for ever: they see to what waits for an operator, and put back in use what somebody has left off."""
        while True:
            self.kernel.sleep(LOOKS_SECONDS)
            fleet = Fleet.get()
            if fleet.stopped_at is not None:
                self._do(self._go)
            if anothers():
                self._do(self._adopt)
            if fleet.maintenance:
                self._do(lambda: operations.set_maintenance(on=False, message="", **ACTOR), "_maintenance_off")
            for pool in Pool.objects.exclude(mode=Mode.ACTIVE):
                self._do(lambda pool=pool: operations.set_mode(pool, Mode.ACTIVE, **ACTOR), "_resume")

    def _do(self, act: Callable[[], object], name: str = "") -> None:
        name = name or act.__name__
        try:
            act()
        except Refused as refused:
            self.kernel.log(f"operator {name}: refused: {refused}")
        except (DatabaseError, LeaseLost) as error:
            self.kernel.log(f"operator {name}: {error}")
        else:
            self.kernel.log(f"operator {name}")
            self.done[name] = self.done.get(name, 0) + 1

    def _pool(self) -> Pool:
        return self.chance.choice(list(Pool.objects.all()))

    def _resize(self) -> None:
        pool, most = self._pool(), self.chance.randint(1, 6)
        target = self.chance.randint(0, most)
        changes = {"target_ready": target, "max_ready": most, "max_concurrent_creates": self.chance.randint(1, 3)}
        before = {name: (getattr(pool, name), value) for name, value in changes.items()}
        for name, value in changes.items():
            setattr(pool, name, value)
        operations.edit_pool(pool, before, **ACTOR)

    def _pause(self) -> None:
        operations.set_mode(self._pool(), Mode.PAUSED, **ACTOR)

    def _drain(self) -> None:
        operations.set_mode(self._pool(), Mode.DRAINING, **ACTOR)

    def _recycle(self) -> None:
        operations.recycle(self._pool(), **ACTOR)

    def _warm_up(self) -> None:
        operations.warm_up(self._pool(), **ACTOR)

    def _close_breaker(self) -> None:
        operations.close_breaker(self._pool(), **ACTOR)

    def _retire(self) -> None:
        if some := list(Sandbox.objects.live().order_by("id")):
            operations.retire(self.chance.choice(some), **ACTOR)

    def _force_delete(self) -> None:
        some = list(Sandbox.objects.existing().order_by("id"))
        keys = [f"sandbox:{each.pk}" for each in self.chance.sample(some, min(len(some), self.chance.randint(1, 3)))]
        if keys:
            force_delete(keys, **ACTOR)

    def _sweep(self) -> None:
        """Pause everything, delete everything of ours, and let it begin again."""
        if self.chance.random() < 0.7:
            return
        operations.pause_all(**ACTOR)
        some = list(Sandbox.objects.existing().order_by("id"))
        operations.note_sweep(len(some), **ACTOR)
        force_delete([f"sandbox:{each.pk}" for each in some], **ACTOR)

    def _maintenance(self) -> None:
        operations.set_maintenance(on=True, message="Back soon.", **ACTOR)

    def _look(self) -> None:
        operations.look(20.0, **ACTOR)

    def _turn(self) -> None:
        operations.ask_for_turn(**ACTOR)

    def _end_run(self) -> None:
        run = Run.objects.active().order_by("id").first()
        if run is not None:
            lifecycle.end(run.pk, RunEndCode.ENDED_BY_OPERATOR, "An operator ended it.", clock.now(), by="operator")

    def _publish(self) -> None:
        """A game has a new snapshot: warm sandboxes are brought up to date."""
        snapshot = self.chance.choice(list(Snapshot.objects.filter(state="current").order_by("id")))
        Snapshot.objects.filter(pk=snapshot.pk).update(sha256=f"{self.chance.getrandbits(256):064x}")
        async_task("games.tasks.restage", task_name="restage", group="stage")

    def _go(self) -> None:
        operations.let_go(explain(clock.now()).digest, **ACTOR)

    def _adopt(self) -> None:
        ids = [app.app_id for app in anothers()]
        self.account.allowed |= set(ids)
        operations.adopt(ids, **ACTOR)
