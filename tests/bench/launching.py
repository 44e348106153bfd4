"""Warm launches until the game's page is there: alone, many at once, and as they come."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.bench.figures import Row, timed
from tests.bench.site import Measured, Site
from tests.bench.statements import Statement, held_ms, shapes

ALONE, COUNTED, LOCKED = 60, 10, 40
QUEUE_GROWS, QUEUE_MS = 2.0, 250  # the last third takes so many times what the first does, and that long


def failed(measured: Measured) -> dict[str, float]:
    return {"failed": len(measured.refusals)}


def told(measured: Measured) -> None:
    """Why some were refused, for who looks on."""
    for refusal in sorted(set(measured.refusals))[:3]:
        print(f"  refused: {refusal}", flush=True)


def warm_up(site: Site) -> None:
    """Everything that is made at the first is made: threads, connections, templates."""
    at_once, alone_each = 10 * len(site.ports), 5 * len(site.ports)
    site.stock(at_once + alone_each)
    site.measure("burst", count=at_once)
    site.measure("alone", count=alone_each)


def alone(site: Site, least: dict[str, float], among: str = "") -> Row:
    """`among`: what else is in the database, for the table."""
    site.stock(ALONE)
    found = site.measure("alone", count=ALONE)
    told(found)
    figures = timed(found.took_ms, found.processor_ms, **failed(found), **found.shares())
    return Row(
        f"warm launch and its page, one at a time{among}", site.where, figures, least, "≤ 35 / 100 ms, processor ≤ 16"
    )


def counted(site: Site, *, shown: bool = False) -> Iterator[Row]:
    """Statements of one launch and its page, and how long launches hold what all of them need."""
    site.stock(COUNTED + LOCKED)
    with site.logged() as log:
        site.measure("alone", count=COUNTED)
        found = log.read()
        site.measure("burst", count=LOCKED)
        crowded = log.read()
    if shown:
        show(found)
    whole = [statement for statement in found if not statement.is_control]
    figures = {
        "statements": sum(statement.count for statement in whole) / COUNTED,
        "round trips": len(found) / COUNTED,
        "database ms": sum(statement.ms for statement in found) / COUNTED,
    }
    yield Row("statements of a warm launch and its page", site.where, figures, {}, "≤ 12")
    for table in site.clerk.ask(order="small_tables"):
        took, under_load = held_ms(found, table), held_ms(crowded, table)
        if len(took) >= COUNTED and under_load:
            figures = timed(under_load, None, allows_launches_a_second=1000 * LOCKED / sum(under_load))
            figures["alone p50 ms"] = statistics.median(took)
            yield Row(f"{table}: how long a launch holds its row", site.where, figures, {}, "≤ 3 ms at p99, or none")


def show(found: list[Statement]) -> None:
    for shape, times in shapes(found).most_common():
        print(f"  {times / COUNTED:5.1f}  {shape[:300]}", flush=True)


def burst(site: Site, count: int, least: dict[str, float], wanted: str = "") -> Row:
    site.stock(count)
    found = site.measure("burst", count=count)
    told(found)
    pace = {"launches a second": len(found.took_ms) / found.seconds}
    figures = timed(found.took_ms, found.processor_ms, **pace, **failed(found), **found.shares())
    return Row(f"burst of {count}", site.where, figures, least, wanted)


@dataclass(frozen=True, slots=True)
class Pace:
    """Clicks that come as they come: so many a second, for so long."""

    rate: float
    seconds: float
    wanted: str = ""


PACES = (Pace(10, 15), Pace(20, 15), Pace(30, 15), Pace(45, 60, "p50 ≤ 92, p99 ≤ 376, none failed"))


def poisson(site: Site, pace: Pace, least: dict[str, float]) -> tuple[Row, bool]:
    """The row, and whether there was no queue that grew: the first third of the clicks and the last are compared."""
    site.stock(round(1.2 * pace.rate * pace.seconds) + 20)
    found = site.measure("poisson", rate=pace.rate, seconds=pace.seconds)
    told(found)
    came = list(zip(found.took_ms, found.came_at, strict=True))
    first = [ms for ms, at in came if at < pace.seconds / 3]
    last = [ms for ms, at in came if at > 2 * pace.seconds / 3]
    begin, finish = (statistics.median(part) if part else float("inf") for part in (first, last))
    grows = finish > max(QUEUE_GROWS * begin, QUEUE_MS)
    shown = {"p50 of the first third, ms": begin, "of the last, ms": finish} if first and last else {}
    figures = timed(found.took_ms, found.processor_ms, **shown, **failed(found), **found.shares())
    what = f"{pace.rate:g} a second for {pace.seconds:g} s" + (", the queue grew" if grows else "")
    return Row(what, site.where, figures, least, pace.wanted), not grows and not found.refusals


def paces(site: Site, least: dict[str, float], tried: Sequence[Pace] = PACES) -> Iterator[Row]:
    """Faster and faster, until a queue grows."""
    sustained = 0.0
    for pace in tried:
        row, is_sustained = poisson(site, pace, least)
        yield row
        if not is_sustained:
            break
        sustained = pace.rate
    figures = {"launches a second": sustained}
    yield Row("sustained without a growing queue", site.where, figures, {}, f"{PACES[-1].rate:g} a second")
