"""What nothing can be faster than, measured in the same run: a bare answer, a commit, a way to a sandbox and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.figures import P50, PROCESSOR, Row, timed
from tests.bench.site import NAMES, Site

ANSWERS, COMMITS, TRIPS, CLAIMS = 900, 60, 100, 400
CLAIMANTS = 4


@dataclass(frozen=True, slots=True)
class Floors:
    """Median milliseconds, and processor milliseconds of a bare answer."""

    answer: float
    answer_processor: float
    commit: float
    trip: float

    @property
    def page(self) -> dict[str, float]:
        """Of any answer of ours."""
        return {P50: self.answer, PROCESSOR: self.answer_processor}

    @property
    def game(self) -> dict[str, float]:
        """Of a game's page: an answer, and the way to the sandbox."""
        return {P50: self.answer + self.trip, PROCESSOR: self.answer_processor}

    @property
    def launch(self) -> dict[str, float]:
        """Of a launch and its page: a commit and a round trip, and two answers of the web process."""
        return {P50: self.commit + self.trip, PROCESSOR: 2 * self.answer_processor}


def measured(site: Site) -> tuple[Floors, list[Row]]:
    """The floors of this site's server and database, and the rows that show them."""
    with site.bare() as (port, pid):
        site.measure("pages", ports=[port], pids=[pid], path="/", count=ANSWERS // 3)
        answers = site.measure("pages", ports=[port], pids=[pid], path="/", count=ANSWERS)
    commits = site.clerk.ask(order="commits", count=COMMITS)
    trips = site.measure("pages", ports=[site.agents_port], path="/proxy/5000/", count=TRIPS)
    server, database = f"bare {NAMES[site.server]}", NAMES[site.vendor]
    rows = [
        Row("floor: the smallest answer", server, timed(answers.took_ms, answers.processor_ms)),
        Row("floor: a commit of one row", database, timed(commits)),
        Row("floor: a request to a sandbox", "stand-in agent", timed(trips.took_ms)),
    ]
    found = [row.figures for row in rows]
    return Floors(found[0][P50], found[0][PROCESSOR], found[1][P50], found[2][P50]), rows


def claims(site: Site) -> Iterator[Row]:
    """How many rows the database alone hands out in a second, to several connections that skip each other's."""
    site.stock(CLAIMS)
    pace = site.clerk.ask(order="claims", count=CLAIMS, at_once=CLAIMANTS)
    where = f"{NAMES[site.vendor]} alone, {CLAIMANTS} connections"
    yield Row("floor: one statement that claims a sandbox", where, {"claims a second": pace})
