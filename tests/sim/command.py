"""The command line of the simulation: many seeds, one that is replayed, a failure that is made smaller."""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from pathlib import Path

from tests.sim.coverage import Coverage
from tests.sim.shrink import shrunk
from tests.sim.simulation import Options, Outcome, run

HOURS_A_SEED = 10.0
REGRESSIONS = Path(__file__).with_name("regressions.txt")
SHRINK_RUNS = 40


def main(arguments: Sequence[str]) -> int:
    given = _parser().parse_args(arguments)
    only = None if given.faults is None else [name for name in given.faults.split(",") if name]
    if given.seed is not None:
        return replay(Options(given.seed, given.hours or HOURS_A_SEED, given.per_hour, only), given)
    seeds: Iterable[int] = itertools.count(given.first_seed)
    if given.regressions:
        seeds = regressions()
    elif given.hours:
        seeds = itertools.islice(seeds, max(1, round(given.hours / given.hours_a_seed)))
    return explore(seeds, given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description="See docs/simulation.md.")
    parser.add_argument("--seed", type=int, help="one run, whose log is printed")
    parser.add_argument("--hours", type=float, help="simulated hours, of one seed or in all")
    parser.add_argument("--hours-a-seed", type=float, default=HOURS_A_SEED)
    parser.add_argument("--seconds", type=float, help="real seconds after which no seed is begun")
    parser.add_argument("--faults", help="only these faults, by their names in the log")
    parser.add_argument("--per-hour", type=float, default=60.0, help="launches an hour")
    parser.add_argument("--first-seed", type=int, default=int(time.time()), help="by default another one each time")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--regressions", action="store_true", help="the seeds in regressions.txt")
    parser.add_argument("--shrink", action="store_true", help="with --seed: look for fewer faults that do")
    parser.add_argument("--quiet", action="store_true", help="no log")
    return parser


def regressions() -> list[int]:
    """The seeds that once failed."""
    lines = [line.partition("#")[0].strip() for line in REGRESSIONS.read_text().splitlines()]
    return [int(line) for line in lines if line]


def version() -> str:
    """What is simulated: a seed says nothing about another version."""
    describe = ["git", "describe", "--always", "--dirty"]
    try:
        described = subprocess.run(describe, capture_output=True, text=True, check=False, cwd=REGRESSIONS.parent)
    except OSError:
        return "unknown"
    return described.stdout.strip() or "unknown"


def replay(options: Options, given: argparse.Namespace) -> int:
    """One seed again, step by step; with `--shrink`, with fewer faults, too."""
    outcome = run(options, None if given.quiet else print)
    print(_summary(outcome), file=sys.stderr)
    if outcome.failure and given.shrink:
        say_shrunk(options, outcome)
    return int(bool(outcome.failure))


def say_shrunk(options: Options, outcome: Outcome) -> None:
    """Look for fewer faults with which the same does not hold, and say how to have it again."""
    kind, hours = outcome.failure.partition(":")[0], outcome.seconds / 3600 + 0.01

    def fails(faults: Sequence[str]) -> bool:
        again = run(Options(options.seed, options.hours, options.per_hour, faults))
        return again.failure.partition(":")[0] == kind

    faults = shrunk(outcome.struck, fails, SHRINK_RUNS)
    print(f"with {len(faults)} of {len(outcome.struck)} faults, within {hours:.2f} h:", file=sys.stderr)
    print(f"  {command(options, faults)}", file=sys.stderr)


def command(options: Options, faults: Sequence[str] | None = None) -> str:
    """The command that has that run again."""
    words = [f"make sim SEED={options.seed}"]
    if options.hours != HOURS_A_SEED:
        words.append(f"HOURS={options.hours:g}")
    if faults is not None:
        words.append(f"FAULTS={','.join(faults) or 'none'}")
    return " ".join([*words, f"VERSION={version()}"])


def explore(seeds: Iterable[int], given: argparse.Namespace) -> int:
    """Many seeds, in several processes; the report at the end."""
    began, total, seconds, failures, launches = time.monotonic(), Coverage(), 0.0, [], 0
    processor_seconds = 0.0
    until = began + given.seconds if given.seconds else float("inf")
    run(Options(0, 0.001))  # what it makes once is made before the processes fork
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(given.processes, mp_context=context) as pool:
        for outcome, took in _simulated(pool, seeds, given, until):
            processor_seconds += took
            seconds += outcome.seconds
            launches += outcome.statistics["launches"]["asked"]
            total.add(outcome.coverage)
            if outcome.failure:
                failures.append(outcome)
                print(f"FAILED {_summary(outcome)}", flush=True)
                print(f"  {command(Options(outcome.seed, given.hours_a_seed, given.per_hour))}", flush=True)
    for line in total.lines():
        print(line)
    took = time.monotonic() - began
    print(
        f"{seconds / 3600:.1f} simulated hours, {launches} launches, in {took:.0f} s: {seconds / took:.0f} times, "
        f"{seconds / max(processor_seconds, 0.001):.0f} times a processor's time; {len(failures)} seeds failed"
    )
    return int(bool(failures))


def _simulated(
    pool: Executor, seeds: Iterable[int], given: argparse.Namespace, until: float
) -> Iterator[tuple[Outcome, float]]:
    """One seed after the other in each process; none is begun after `until`."""
    left = iter(seeds)
    at_work: set[Future[tuple[Outcome, float]]] = set()
    while True:
        while len(at_work) < given.processes and time.monotonic() < until:
            if (seed := next(left, None)) is None:
                break
            at_work.add(pool.submit(_simulate, Options(seed, given.hours_a_seed, given.per_hour)))
        if not at_work:
            return
        done, at_work = wait(at_work, return_when=FIRST_COMPLETED)
        yield from (each.result() for each in done)


def _simulate(options: Options) -> tuple[Outcome, float]:
    began = time.process_time()
    outcome = run(options)
    outcome.log = outcome.log[-50:]
    return outcome, time.process_time() - began


def _summary(outcome: Outcome) -> str:
    return (
        f"seed {outcome.seed}: {outcome.failure or 'all holds'}, after {outcome.seconds / 3600:.2f} simulated hours; "
        f"{len(outcome.struck)} faults, log {outcome.digest}, {outcome.statistics}"
    )
