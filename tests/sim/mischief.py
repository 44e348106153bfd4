"""The faults of machines: processes are killed or stand still, clocks are set, an older database is put back."""

from __future__ import annotations

import random

from pools import clock
from pools.models import Fleet
from tests.sim.cluster import Cluster
from tests.sim.database import store
from tests.sim.invariants import Invariants
from tests.sim.kernel import Kernel, Process
from tests.sim.plan import Plan

# How many of each in a storm, about.
IN_A_STORM = {
    "worker-killed": 4.0,
    "cluster-killed": 0.5,
    "web-killed": 1.0,
    "worker-frozen": 4.0,
    "cluster-frozen": 0.5,
    "clock-set": 0.4,
    "machine-clock-off": 0.5,
    "database-restored": 0.15,
}
POINTS = 60  # within which a doomed process ends: at any step of what it does
BACK_SECONDS = (1.0, 60.0)
FROZEN_SECONDS = (3.0, 240.0)
SET_SECONDS = 900.0  # as far as clocks may differ


class Mischief:
    """Carries out what the plan has at its moments."""

    def __init__(
        self, kernel: Kernel, plan: Plan, clusters: list[Cluster], web: list[Process], watch: Invariants
    ) -> None:
        self.kernel, self.plan, self.clusters, self.web, self.watch = kernel, plan, clusters, web, watch
        self.backups: list[tuple[float, object]] = []
        moments = [(at, name) for kind, mean in IN_A_STORM.items() for name, at in plan.moments(kind, mean)]
        self.moments = sorted(moments)

    def happen(self) -> None:
        """Runs for ever, in a process of its own."""
        for at, name in self.moments:
            self.kernel.sleep(at - self.kernel.time)
            self.plan.note(name)
            kind = name.partition(".")[0]
            chance = random.Random(f"{self.kernel.seed} {name} how")
            self.kernel.log(f"fault {name}")
            getattr(self, f"_{kind.replace('-', '_')}")(chance)

    def _worker_killed(self, chance: random.Random) -> None:
        process = chance.choice(chance.choice(self.clusters).processes)
        cluster = next(each for each in self.clusters if process in each.processes)
        if process is cluster.leader:
            self._end(cluster, chance)
        else:
            process.doomed_in = chance.randint(1, POINTS)

    def _cluster_killed(self, chance: random.Random) -> None:
        self._end(chance.choice(self.clusters), chance)

    def _end(self, cluster: Cluster, chance: random.Random) -> None:
        if cluster.leader is None or not cluster.leader.is_alive:
            return
        cluster.kill()
        self.kernel.after(chance.uniform(*BACK_SECONDS), cluster.begin)

    def _web_killed(self, chance: random.Random) -> None:
        """Its requests end in the middle; a supervisor starts it again at once, as the same process here."""
        process = chance.choice(self.web)
        for thread in list(process.threads):
            self.kernel.end_thread(thread)

    def _worker_frozen(self, chance: random.Random) -> None:
        self.kernel.freeze(chance.choice(chance.choice(self.clusters).processes), chance.uniform(*FROZEN_SECONDS))

    def _cluster_frozen(self, chance: random.Random) -> None:
        seconds = chance.uniform(*FROZEN_SECONDS)
        for process in chance.choice(self.clusters).processes:
            self.kernel.freeze(process, seconds)

    def _clock_set(self, chance: random.Random) -> None:
        """The database machine's: what all go by. It is right again when the storm is over."""
        self._set(chance.choice((-1, 1)) * chance.uniform(1, SET_SECONDS))
        storm = self.plan.storm_at(self.kernel.time)
        if storm is not None:
            self.kernel.after(storm.ends - self.kernel.time, self._set_right)

    def _set_right(self) -> None:
        self._set(0.0)

    def _set(self, ahead_seconds: float) -> None:
        self.kernel.database_ahead_seconds = ahead_seconds
        self.watch.clock_set_at = self.kernel.time

    def _machine_clock_off(self, chance: random.Random) -> None:
        chance.choice(self.clusters).machine.ahead_seconds = chance.uniform(-SET_SECONDS, SET_SECONDS)

    def keep_backups(self) -> None:
        """Runs for ever: one is there to be put back, some minutes old."""
        while True:
            self.backups = [*self.backups[-2:], (self.kernel.time, store.copied())]
            self.kernel.sleep(300.0)

    def _database_restored(self, chance: random.Random) -> None:
        """Everything is stopped, an older database is put back, and everything is started."""
        at, backup = chance.choice(self.backups)
        self.kernel.log(f"the database is as it was {self.kernel.time - at:.0f} s ago")
        for cluster in self.clusters:
            cluster.kill()
        for process in self.web:
            for thread in list(process.threads):
                self.kernel.end_thread(thread)
        self.kernel.after(0.0, lambda: self._put_back(backup))

    def _put_back(self, backup: object) -> None:
        store.copy_from(backup)  # type: ignore[arg-type]
        self.watch.forget()
        Fleet.note_pause(clock.now(), is_alone=True)
        for cluster in self.clusters:
            cluster.begin()
