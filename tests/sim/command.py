from __future__ import annotations

import argparse
import time

from tests.sim.simulation import Options, run


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--log", action="store_true")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args(arguments)
    run(Options(0, 0.01))
    began = time.perf_counter()
    if given.profile:
        import cProfile, pstats
        p = cProfile.Profile(); p.enable()
    outcome = run(Options(given.seed, given.hours), print if given.log else None)
    if given.profile:
        p.disable(); pstats.Stats(p).sort_stats("tottime").print_stats(45)
    took = time.perf_counter() - began
    print(outcome.statistics, outcome.digest)
    print(f"{outcome.seconds:.0f} s in {took:.1f} s: {outcome.seconds / took:.0f} times")
    return 0
