"""Who plays: launches as they come, and what becomes of them in their players' hands."""

from __future__ import annotations

import math
from dataclasses import dataclass

from django.conf import settings
from django.db import DatabaseError

from pools import clock
from runs import lifecycle
from runs.clients import Client
from runs.launching.launch import launch
from runs.limits import LaunchRefused
from runs.models import AskedMode, OnMiss, Run, RunState
from runs.reasons import RunEndCode
from tests.sim.kernel import Kernel, Process

VISITORS = 40
NETWORKS = 25
GAMES = ("snake", "snake", "memory", "tic-tac-toe")


@dataclass
class Launches:
    """What was asked for, and what came of it."""

    asked: int = 0
    began: int = 0
    refused: int = 0
    played_at_once: int = 0
    ended: int = 0
    broken: int = 0


class Players:
    """`per_hour` launches an hour, as in a Poisson process; in a burst, ten times as many."""

    def __init__(self, kernel: Kernel, web: list[Process], per_hour: float) -> None:
        self.kernel, self.web, self.per_hour = kernel, web, per_hour
        self.done = Launches()
        self.chance = kernel.rng
        self.refusals: dict[str, int] = {}
        self.are_coming = True
        self.burst_until = 0.0
        self._count = 0

    def come(self) -> None:
        """Runs for ever, in a process of its own."""
        while True:
            rate = self.per_hour / 3600
            if self.kernel.time < self.burst_until:
                rate *= 10
            elif self.chance.random() < 0.005:
                self.burst_until = self.kernel.time + self.chance.uniform(5, 90)
            self.kernel.sleep(-math.log(1 - self.chance.random()) / rate)
            if not self.are_coming:
                continue
            self._count += 1
            process = self.chance.choice([each for each in self.web if each.is_alive] or self.web)
            number = self._count
            self.kernel.spawn(process, lambda number=number: self._play(number), f"player-{number}")
            if self.chance.random() < 0.03:  # the same click twice
                other = self.chance.choice(self.web)
                self.kernel.spawn(other, lambda number=number: self._play(number), f"player-{number}-again")

    def _play(self, number: int) -> None:
        chance = self.chance
        visitor = f"{chance.randrange(VISITORS):064x}"
        client = Client(visitor, f"{chance.randrange(NETWORKS):064x}")
        key = f"launch-{number}"
        self.done.asked += 1
        mode = chance.choice((AskedMode.WARM,) * 8 + (AskedMode.COLD, AskedMode.AUTO))
        on_miss = chance.choice((None,) * 8 + (OnMiss.WAIT, OnMiss.FAIL))
        if mode == AskedMode.COLD:
            on_miss = None
        game, use_snapshot = GAMES[number % len(GAMES)], number % 10 != 0
        self.kernel.point("request")
        try:
            run = launch(
                game=game, mode=mode, use_snapshot=use_snapshot, on_miss=on_miss, client=client, idempotency_key=key
            )
        except LaunchRefused as refused:
            self.done.refused += 1
            what = getattr(refused, "limit", "") or str(refused.code)
            self.refusals[what] = self.refusals.get(what, 0) + 1
            return
        except DatabaseError as error:
            self.done.broken += 1
            self.kernel.log(f"launch broke: {error}")
            return
        self.done.began += 1
        self.done.played_at_once += run.state == RunState.RUNNING
        try:
            self._stay(run)
        except DatabaseError as error:
            self.done.broken += 1
            self.kernel.log(f"a request broke: {error}")

    def _stay(self, run: Run) -> None:
        """Play for a while; then end it, or leave it to its end."""
        chance, kernel = self.chance, self.kernel
        kernel.sleep(chance.expovariate(1 / 240))
        while chance.random() < 0.25:
            lifecycle.extend(run.pk, clock.now(), "player")
            kernel.sleep(chance.uniform(60, settings.SANDBOX_MIN_LIFETIME_MINUTES * 60))
        if chance.random() < 0.6:
            self.done.ended += lifecycle.end(run.pk, RunEndCode.ENDED_BY_PLAYER, "You ended it.", clock.now())
