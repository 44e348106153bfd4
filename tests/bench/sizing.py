"""How well the rule for a pool's size keeps its promise, by the real planner in simulated time:
`python -m tests.bench.sizing [--days 14] [--seeds 1]`.

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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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


def measured(case: Case, days: float) -> str:
    """One line of the table."""
    from pools.replay.one_pool import Conditions, Outcome, Simulation, Target
    from pools.replay.what_if import following
    from pools.sizing.arrivals import DAY_SECONDS, HOUR_SECONDS, WINDOW_SECONDS, drawn, read
    from pools.sizing.rule import ASKED_SHARE
    from pools.turn.facts import PoolFacts

    rates: Sequence[float] = read(SERIES.read_text().splitlines()).rates if case.kind == "series" else (1.0,)
    began, mean = LEARNED_DAYS * DAY_SECONDS, sum(rates) / len(rates)
    everything = drawn(case.an_hour, case.cv, LEARNED_DAYS + days, case.seed, rates)
    counted = [at - began for at in everything if at >= began]

    def run(target_ready: int, target: Target | None = None) -> Outcome:
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


def _ratio(rule: object, other: object) -> float:
    return float(rule.idle_seconds_a_launch / other.idle_seconds_a_launch)  # type: ignore[attr-defined]


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
    asked = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    for case in cases(asked.seeds):
        began = time.monotonic()
        print(f"{measured(case, asked.days)}  {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
