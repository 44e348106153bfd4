"""`make bench`: everything that is measured, in one table, each figure beside its floor.

Parts of it: `python -m tests.bench.judge --only launch --web 1 --database postgresql --server daphne`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("ORCHESTRATOR_TEST_ROOT", tempfile.mkdtemp(prefix="orchestrator-bench-"))

from tests.bench import launching
from tests.bench.figures import Row, load, save, table, worse
from tests.bench.site import private_postgres, site


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=["launch"], default=["launch"])
    parser.add_argument("--web", nargs="+", type=int, default=[1], metavar="N", help="numbers of web processes")
    parser.add_argument("--database", nargs="+", choices=["sqlite", "postgresql"], default=["postgresql"])
    parser.add_argument("--server", choices=["daphne", "uvicorn"], default="daphne")
    parser.add_argument("--statements", action="store_true", help="print those of a launch")
    parser.add_argument("--save", type=Path, metavar="FILE")
    parser.add_argument("--baseline", type=Path, metavar="FILE")
    return parser.parse_args()


def measured(wanted: argparse.Namespace, folder: Path) -> Iterator[Row]:
    with private_postgres(folder) as postgres:
        for database in wanted.database:
            with site(database, wanted.server, folder / database, postgres) as made:
                for web in wanted.web:
                    made.restart_web(web)
                    yield from launching.launches(made, shown=wanted.statements)


def main() -> None:
    wanted = arguments()
    began, rows = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="orchestrator-bench-") as folder:
        for row in measured(wanted, Path(folder)):
            rows.append(row)
            print(f"{time.monotonic() - began:4.0f} s  {row.what}, {row.where}", flush=True)
    baseline = load(wanted.baseline) if wanted.baseline else []
    print(table(rows, baseline))
    if wanted.save:
        save(wanted.save, rows, {})
    if baseline:
        print("\n".join(worse(rows, baseline)))


if __name__ == "__main__":
    main()
