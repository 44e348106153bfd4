"""What `make bench` measures, in which order, so that all of it fits into ten minutes on two processors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench import floors, launching, pages
from tests.bench.figures import Row
from tests.bench.site import Site

BURSTS = {20: "p99 ≤ 1,500", 100: "≤ 800 / 1,600 ms", 300: "p50 ≤ 2,400 ms"}


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many other runs are in the database. A million that ended take a minute and a half to be written."""

    live: int = 10_000
    ended: int = 200_000

    def __str__(self) -> str:
        return f"{self.live:,} live and {self.ended:,} ended runs"

    def fill(self, site: Site) -> None:
        """Write them, once."""
        if site.is_crowded:
            return
        site.clerk.ask(order="ended", first=0, until=self.ended)
        site.clerk.ask(order="live", count=self.live, port=site.agents_port)
        site.clerk.ask(order="settled")
        site.is_crowded = True


@dataclass(frozen=True, slots=True)
class Stage:
    """One number of web processes of one server over one database, and what is measured there.

    `is_crowded`: among the runs of a Crowd, which are written before.
    """

    database: str
    server: str
    web: int
    parts: tuple[str, ...]
    bursts: tuple[int, ...] = ()
    paces: tuple[launching.Pace, ...] = launching.PACES
    is_crowded: bool = False


STAGES = (
    Stage("postgresql", "daphne", 1, ("claims", "smallest", "launch", "statements"), (100,)),
    Stage("postgresql", "daphne", 2, ("smallest", "launch", "rates"), (100, 300)),
    Stage("postgresql", "daphne", 4, ("launch",), (100, 300)),
    Stage("postgresql", "uvicorn", 1, ("smallest", "launch"), (100,)),
    Stage("postgresql", "uvicorn", 2, ("launch", "rates"), (100,), launching.PACES[2:3]),
    Stage("postgresql", "daphne", 1, ("pages", "shared", "launch"), is_crowded=True),
    Stage("postgresql", "daphne", 2, ("lobbies",), is_crowded=True),
    Stage("sqlite", "daphne", 1, ("smallest", "launch"), (20,)),
    Stage("sqlite", "daphne", 2, ("launch", "rates"), (20,), launching.PACES[:1]),
    Stage("sqlite", "daphne", 4, ("launch",), (20,)),
    Stage("sqlite", "daphne", 1, ("pages",), is_crowded=True),
)
PARTS = ("smallest", "claims", "launch", "statements", "rates", "pages", "shared", "lobbies", "turns", "refill", "idle")
OPEN_LOBBIES, LAUNCHES_A_SECOND, LOBBIES_SECONDS = 1_000, 10, 10


def rows(site: Site, stage: Stage, crowd: Crowd, least: floors.Floors, *, shown: bool = False) -> Iterator[Row]:
    """What is measured at a stage; `shown`: print the statements of a launch."""
    among = f", {crowd}" if stage.is_crowded else ""
    launching.warm_up(site)
    for part in stage.parts:
        match part:
            case "smallest":
                yield from pages.smallest(site, least)
            case "claims":
                yield from floors.claims(site)
            case "launch":
                yield launching.alone(site, least.launch, among)
                for count in stage.bursts:
                    yield launching.burst(site, count, least.launch, BURSTS[count])
            case "statements":
                yield from launching.counted(site, shown=shown)
            case "rates":
                yield from launching.paces(site, least.launch, stage.paces)
            case "pages":
                yield from pages.pages(site, least, str(crowd))
            case "shared":
                yield from pages.shared(site, least, str(crowd))
            case "lobbies":
                yield from pages.open_lobbies(site, OPEN_LOBBIES, LAUNCHES_A_SECOND, LOBBIES_SECONDS)
