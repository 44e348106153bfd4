"""`make bench`: everything that is measured, in one table, each figure beside its floor.

Parts of it: `python -m tests.bench.judge --only launch statements --web 1 --database postgresql --server daphne`.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

os.environ.setdefault("ORCHESTRATOR_TEST_ROOT", tempfile.mkdtemp(prefix="orchestrator-bench-"))

from tests.bench import floors, plan
from tests.bench.figures import Row, load, save, table, worse
from tests.bench.idle import idle
from tests.bench.refill import refill
from tests.bench.site import private_postgres, site
from tests.bench.turns import turns


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=plan.PARTS, default=plan.PARTS)
    parser.add_argument("--web", nargs="+", type=int, default=[1, 2, 4], metavar="N", help="numbers of web processes")
    parser.add_argument("--database", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    parser.add_argument("--server", nargs="+", choices=["daphne", "uvicorn"], default=["daphne", "uvicorn"])
    parser.add_argument("--live", type=int, default=plan.Crowd().live, metavar="N", help="runs beside pages")
    parser.add_argument(
        "--ended", type=int, default=plan.Crowd().ended, metavar="N", help="the same, a million at most"
    )
    parser.add_argument("--statements", action="store_true", help="print those of a launch")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the results, as JSON")
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="compare with the results of an earlier run")
    return parser.parse_args()


def stages(wanted: argparse.Namespace) -> list[plan.Stage]:
    """Those of the plan that were asked for, each with the parts that were asked for."""
    found = []
    for stage in plan.STAGES:
        parts = tuple(part for part in stage.parts if part in wanted.only)
        is_meant = stage.web in wanted.web and stage.database in wanted.database and stage.server in wanted.server
        if parts and is_meant:
            found.append(replace(stage, parts=parts))
    return found


def measured(wanted: argparse.Namespace, folder: Path) -> Iterator[Row]:
    crowd = plan.Crowd(wanted.live, wanted.ended)
    for database, group in groupby(stages(wanted), key=lambda stage: stage.database):
        server = private_postgres(folder) if database == "postgresql" else nullcontext()
        with server as postgres, site(database, folder / database, postgres) as made:
            least: dict[str, floors.Floors] = {}
            for stage in group:
                if stage.is_crowded:
                    crowd.fill(made)
                made.restart_web(stage.web, stage.server)
                if stage.server not in least:
                    least[stage.server], rows = floors.measured(made)
                    yield from rows
                yield from plan.rows(made, stage, crowd, least[stage.server], shown=wanted.statements)
    if "turns" in wanted.only:
        yield from turns()
    if "refill" in wanted.only:
        yield from refill()
    if "idle" in wanted.only:
        yield from idle(folder / "idle")


def about() -> dict[str, object]:
    """When and where it was measured."""
    return {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "processors": len(os.sched_getaffinity(0)),
        "load before": os.getloadavg()[0],
        "machine": platform.machine(),
        "python": platform.python_version(),
    }


def report(rows: list[Row], told: dict[str, object], wanted: argparse.Namespace) -> None:
    """Print and keep what was found, and what got worse."""
    baseline = load(wanted.baseline) if wanted.baseline else []
    print("\n" + ", ".join(f"{name}: {value}" for name, value in told.items()) + "\n")
    print(table(rows, baseline))
    if wanted.save:
        save(wanted.save, rows, told)
    if baseline:
        found = worse(rows, baseline)
        print(
            "\nWorse by more than 15 %:\n" + "\n".join(f"- {line}" for line in found) if found else "\nNothing worse."
        )


def main() -> None:
    wanted, told = arguments(), about()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    began, rows = time.monotonic(), []
    folder = Path(tempfile.mkdtemp(prefix="orchestrator-bench-"))
    try:
        for row in measured(wanted, folder):
            rows.append(row)
            print(f"{time.monotonic() - began:4.0f} s  {row.what}, {row.where}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(os.environ["ORCHESTRATOR_TEST_ROOT"], ignore_errors=True)
        told["seconds"] = round(time.monotonic() - began)
        report(rows, told, wanted)


if __name__ == "__main__":
    main()
