"""What the embedded default costs while nobody plays: memory and processor of all that `manage.py up` starts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench import processor
from tests.bench.figures import Row
from tests.fixtures.stack import GAMES, Stack, snapshots
from tests.fixtures.waiting import until

SETTLE_SECONDS, MEASURE_SECONDS = 15, 20


def idle(folder: Path) -> Iterator[Row]:
    stack = Stack(folder / "var")
    stack.var.mkdir(parents=True)
    try:
        stack.start()
        until(lambda: snapshots(stack.var) == GAMES, "the snapshots are built", seconds=120, every=0.5)
        time.sleep(SETTLE_SECONDS)
        before, began = processor.seconds(stack.processes()), time.monotonic()
        time.sleep(MEASURE_SECONDS)
        there = stack.processes()
        share = (processor.seconds(there) - before) / (time.monotonic() - began)
        figures = {"PSS MiB": processor.pss_mib(there), "percent of a processor": 100 * share, "processes": len(there)}
        yield Row("idle", "manage.py up, embedded default", figures, {}, "≤ 400 MiB, ≤ 1 percent")
        stack.stop()
    finally:
        stack.close()
