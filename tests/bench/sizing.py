"""How well the rule for a pool's size keeps its promise: `python -m tests.bench.sizing [--days 14] [--seeds 1]`.

By a stock that orders one for each taken; with `--planner` by the real planner in simulated time, which takes twenty
times as long and says the same.

Asked are 99 % of launches at once. Beside the rule stand the best fixed target in hindsight, which is the smallest that
served them, and for launches at random (CV 1) an oracle that knows the rate of every moment. The rule has learned for a
week before it counts.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pools.replay.one_pool import Outcome

CREATE_SECONDS = 97.0
LEARNED_DAYS = 7
RATES = (12, 60, 240)
SERIES = Path(__file__).with_name("two_weeks_of_launches.csv")


@dataclass(frozen=True)
class Case:
    kind: str
    cv: float
    an_hour: float
    seed: int

    def __str__(self) -> str:
        return f"{self.kind:6} CV {self.cv:g} {self.an_hour:4g}/h seed {self.seed}"


def stock_for(mean: float, share: float) -> int:
    """The smallest S with P(Poisson(mean) ≤ S-1) ≥ share."""
    probability = term = math.exp(-mean)
    stock = 1
    while probability < share:
        term *= mean / stock
        probability += term
        stock += 1
    return stock


def measured(case: Case, days: float, *, by_planner: bool) -> str:
    """One line of the table."""
    from pools.replay.one_pool import Conditions, Simulation, Target
    from pools.replay.what_if import following
    from pools.sizing.arrivals import DAY_SECONDS, HOUR_SECONDS, WINDOW_SECONDS, drawn, read
    from pools.sizing.rule import ASKED_SHARE
    from pools.turn.facts import PoolFacts

    rates: Sequence[float] = read(SERIES.read_text().splitlines()).rates if case.kind == "series" else (1.0,)
    began, mean = LEARNED_DAYS * DAY_SECONDS, sum(rates) / len(rates)
    everything = drawn(case.an_hour, case.cv, LEARNED_DAYS + days, case.seed, rates)
    counted = [at - began for at in everything if at >= began]

    def run(target_ready: int, target: Target | None = None) -> Outcome:
        if not by_planner:
            return _stocked(counted, target or (lambda _now, _present: target_ready), days)
        pool = PoolFacts(
            id=1,
            name="python",
            runtime="python",
            target_ready=target_ready,
            max_ready=500,
            max_concurrent_creates=500,
            idle_timeout_seconds=10**6,
            max_warm_age_seconds=10**6,
        )
        return Simulation(pool, counted, Conditions((CREATE_SECONDS,)), days=days, target=target).run()

    def knowing(now: float, _present: int) -> int:
        windows = (int((now + began + ahead) // WINDOW_SECONDS) for ahead in (0, CREATE_SECONDS))
        rate = max(rates[window % len(rates)] for window in windows) / mean * case.an_hour / HOUR_SECONDS
        return stock_for(rate * CREATE_SECONDS, ASKED_SHARE)

    follow = following(CREATE_SECONDS, everything, least=0, most=500)
    rule = run(follow(began, 0), lambda now, present: follow(now + began, present))
    fixed = run(bisect_left(range(60), ASKED_SHARE, key=lambda target: run(target).hit_share))
    line = f"{case}  rule {100 * rule.hit_share:6.2f} %  idle {rule.idle_seconds_a_launch:6.0f} s a launch"
    line += f"  fixed {fixed.target:3} {100 * fixed.hit_share:6.2f} %  idle x{_ratio(rule, fixed):.3f}"
    if case.cv == 1:
        oracle = run(knowing(0.0, 0), knowing)
        line += f"  oracle {100 * oracle.hit_share:6.2f} %  idle x{_ratio(rule, oracle):.3f}"
    return line


def _stocked(arrivals: Sequence[float], target: Callable[[float, int], int], days: float) -> Outcome:
    """The pool as a stock: it holds, and has on order, what the target says. Beyond that one goes every 30 s."""
    from pools.replay.one_pool import Outcome

    until, shrunk, tick, last, place = days * 86400.0, -30.0, 60.0, 0.0, 0
    wanted = ready = target(0.0, 0)
    found, on_order, waiting = Outcome(wanted, days), deque[float](), 0
    while True:
        coming = arrivals[place] if place < len(arrivals) else until
        now = min(coming, on_order[0] if on_order else until, tick)
        if now >= until:
            return found
        found.idle_seconds += ready * (now - last)
        last = now
        if on_order and on_order[0] == now:
            on_order.popleft()
            waiting, ready = (waiting - 1, ready) if waiting else (0, ready + 1)
        elif coming == now:
            place += 1
            found.launches += 1
            found.hits += ready > 0
            waiting, ready = (waiting, ready - 1) if ready else (waiting + 1, 0)
        else:
            tick = now + 60
        wanted = target(now, wanted)
        on_order.extend([now + CREATE_SECONDS] * (wanted - ready - len(on_order) + waiting))
        if ready > wanted and now >= shrunk + 30:
            ready, shrunk = ready - 1, now


def _ratio(rule: Outcome, other: Outcome) -> float:
    return float(rule.idle_seconds_a_launch / other.idle_seconds_a_launch)


def cases(seeds: int) -> Iterator[Case]:
    for kind in ("flat", "series"):
        for cv in (1.0, 2.0):
            for an_hour in RATES:
                yield from (Case(kind, cv, an_hour, seed) for seed in range(1, seeds + 1))


def main() -> None:
    import django

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=float, default=14)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--planner", action="store_true")
    asked = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    for case in cases(asked.seeds):
        began = time.monotonic()
        print(f"{measured(case, asked.days, by_planner=asked.planner)}  {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
