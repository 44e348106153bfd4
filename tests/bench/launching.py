"""Warm launches until the game's page is there: alone, many at once, and as they come."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from tests.bench.figures import P50, Row, timed
from tests.bench.site import Measured, Site
from tests.bench.statements import Statement, held_ms, shapes

ALONE, COUNTED = 60, 10
# The rows that every launch may come by: one at a time can hold each.
ROWS_OF_ALL = ("pools_fleet", "pools_eventcursor", "pools_pool", "runs_limitcount", "pools_count")
QUEUE_GROWS = 2.0  # the last third takes so many times what the first does


def floor(site: Site) -> dict[str, float]:
    """A bare commit of one row, and one request to a sandbox and back: no launch can be faster."""
    commits = site.clerk.ask(order="commits", count=50)
    trip = site.measure("pages", ports=[site.agents_port], path="/proxy/5000/", count=50)
    return {P50: statistics.median(commits) + statistics.median(trip.took_ms)}


def failed(measured: Measured) -> dict[str, float]:
    return {"failed": len(measured.refusals)}


def told(measured: Measured) -> None:
    """Why some were refused, for who looks on."""
    for refusal in sorted(set(measured.refusals))[:3]:
        print(f"  refused: {refusal}", flush=True)


def warm_up(site: Site) -> None:
    """Everything that is made at the first is made: threads, connections, templates."""
    site.stock(40)
    site.measure("burst", count=10 * len(site.ports))
    site.measure("alone", count=5 * len(site.ports))


def alone(site: Site, least: dict[str, float], count: int = ALONE) -> Row:
    site.stock(count)
    found = site.measure("alone", count=count)
    told(found)
    figures = timed(found.took_ms, found.processor_ms, **failed(found), **found.shares())
    return Row("warm launch and its page, one at a time", site.where, figures, least, "≤ 35 / 100 ms, processor ≤ 16")


def counted(site: Site, *, shown: bool = False) -> Row:
    """Statements of one launch and its page, and how long it holds what all launches need."""
    site.stock(COUNTED)
    with site.logged() as log:
        site.measure("alone", count=COUNTED)
        found = log.read()
    if shown:
        show(found)
    whole = [statement for statement in found if not statement.is_control]
    figures = {
        "statements": len(whole) / COUNTED,
        "begin and commit": (len(found) - len(whole)) / COUNTED,
        "database ms": sum(statement.ms for statement in found) / COUNTED,
    }
    figures |= {f"{name} held p99 ms": value for name, value in held(found).items()}
    return Row("statements in a warm launch and its page", site.where, figures, {}, "≤ 12; the lock ≤ 3 ms")


def held(found: list[Statement]) -> dict[str, float]:
    """The longest 1 % that each row of all launches was held, by table."""
    took = {table: held_ms(found, table) for table in ROWS_OF_ALL}
    return {table: sorted(ms)[round(0.99 * (len(ms) - 1))] for table, ms in took.items() if ms}


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


def poisson(site: Site, rate: float, seconds: float, least: dict[str, float], wanted: str = "") -> Row:
    """Is there a queue that grows? The first third of the clicks and the last are compared."""
    site.stock(round(rate * seconds * 1.2) + 20)
    found = site.measure("poisson", rate=rate, seconds=seconds)
    told(found)
    first = [ms for ms, at in zip(found.took_ms, found.came_at, strict=True) if at < seconds / 3]
    last = [ms for ms, at in zip(found.took_ms, found.came_at, strict=True) if at > 2 * seconds / 3]
    growth = statistics.median(last) / statistics.median(first) if first and last else float("nan")
    figures = timed(
        found.took_ms, found.processor_ms, last_third_is_first_times=growth, **failed(found), **found.shares()
    )
    return Row(f"{rate:g} a second for {seconds:g} s", site.where, figures, least, wanted)


def launches(site: Site, *, shown: bool = False) -> Iterator[Row]:
    """One at a time, statements, and a burst of 100."""
    least = floor(site)
    warm_up(site)
    yield alone(site, least)
    if site.postgres:
        yield counted(site, shown=shown)
    yield burst(site, 100, least, "≤ 800 / 1,600 ms")
