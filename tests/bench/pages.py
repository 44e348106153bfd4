"""What people look at, with few rows and with many: each page alone, and those that all share with several readers."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.figures import Row, timed
from tests.bench.floors import Floors
from tests.bench.launching import failed, told
from tests.bench.site import Site

LOOKS, MOST_SECONDS = 20, 3.0
READERS = 8
APART_SECONDS, APART_LOOKS = 1.1, 4  # so that nothing is kept from the look before


def smallest(site: Site, floors: Floors, times: int = 200) -> Iterator[Row]:
    """The floor of our own: an answer that asks nothing, and a game's page through the proxy."""
    run = site.clerk.ask(order="a_run")
    for what, path, least, wanted in (
        ("smallest answer (/health/live)", "/health/live", floors.page, "the floor"),
        ("game's page through the proxy", f"/play/{run}/", floors.game, "the floor"),
    ):
        site.measure("pages", path=path, count=10 * len(site.ports))
        found = site.measure("pages", path=path, count=times, seconds=MOST_SECONDS)
        told(found)
        yield Row(what, site.where, timed(found.took_ms, found.processor_ms, **failed(found)), least, wanted)


def pages(site: Site, floors: Floors, among: str) -> Iterator[Row]:
    """`among`: what else is in the database, for the table."""
    run, cookie = site.clerk.ask(order="a_run"), site.clerk.ask(order="operator", port=site.ports[0])
    operator = f"Cookie: {cookie}\r\n"
    for what, path, wanted, headers in (
        ("lobby", "/", "≤ 25 processor", ""),
        ("lobby's live part", "/live/", "", ""),
        ("statistics", "/stats/", "≤ 30", ""),
        ("run page", f"/runs/{run}/", "≤ 15", ""),
        ("pool status", "/api/pool/status", "≤ 5", ""),
        ("admin login", "/admin/login/", "", ""),
        ("admin's list of runs", "/admin/runs/run/", "", operator),
        ("admin's index", "/admin/", "", operator),
        ("admin's fleet, live part", "/admin/pools/fleet/table/", "", operator),
    ):
        site.measure("pages", path=path, count=2, headers=headers)
        found = site.measure("pages", path=path, count=LOOKS, seconds=MOST_SECONDS, headers=headers)
        told(found)
        figures = timed(found.took_ms, found.processor_ms, **failed(found))
        yield Row(f"{what}, {among}", site.where, figures, floors.page, wanted)


def shared(site: Site, floors: Floors, among: str) -> Iterator[Row]:
    """The lobby and the statistics for somebody who comes a second after the last, and for several at once."""
    for what, path in (("lobby", "/"), ("statistics", "/stats/")):
        found = site.measure("pages", path=path, count=APART_LOOKS, apart=APART_SECONDS)
        figures = timed(found.took_ms, found.processor_ms, **failed(found))
        yield Row(f"{what}, a second after the last look, {among}", site.where, figures, floors.page)
        found = site.measure("pages", path=path, count=5 * READERS, at_once=READERS, seconds=MOST_SECONDS)
        pace = {"pages a second": len(found.took_ms) / found.seconds}
        figures = timed(found.took_ms, found.processor_ms, **pace, **failed(found))
        yield Row(f"{what}, {READERS} readers at once, {among}", site.where, figures, floors.page)


def open_lobbies(site: Site, count: int, rate: float, seconds: float) -> Iterator[Row]:
    """Lobbies that stand open while games are launched: each is sent what has changed. The times are the launches'."""
    site.stock(round(1.2 * rate * seconds) + 20)
    found = site.measure("lobbies", count=count, rate=rate, seconds=seconds)
    told(found)
    figures = timed(
        found.took_ms, None, **failed(found), **{"share of a processor": found.web / found.seconds}, **found.shares()
    )
    yield Row(f"{count:,} open lobbies, {rate:g} launches a second", site.where, figures, {}, "≤ 0.5 of a processor")
