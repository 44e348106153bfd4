"""The fleet's table as the admin asks for it: read in a fixed number of queries, then filtered, sorted and paged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.db.models import Q

from pools.console.fleet_table import URGENCY, FleetTable, Row
from pools.models import CloudApp, Fleet, Pool, Sandbox, State
from pools.occupants import occupants
from pools.places import Places
from pools.reasons import EndCode
from pools.turn.preview import Explanation, explain
from pools.turn.verdict import Health, Sight, Verdict

ROWS_A_PAGE = 100
LOST_SHOWN_FOR = timedelta(hours=1)
LOST_SHOWN_MOST = 200
NAMES_A_QUERY = 10_000


@dataclass(frozen=True)
class FleetPicture:
    """The whole table at one moment. What is counted over its rows is counted once."""

    fleet: Fleet
    now: datetime
    rows: Sequence[Row]
    pools: Sequence[Pool]
    explanation: Explanation

    @property
    def listing_age_seconds(self) -> float | None:
        return (self.now - self.fleet.listed_at).total_seconds() if self.fleet.listed_at else None

    @cached_property
    def verdicts(self) -> list[tuple[Verdict, int]]:
        """Count the rows of each verdict, the most urgent first; all verdicts, so that the counters hold still."""
        counts = Counter(row.verdict for row in self.rows)
        return [(verdict, counts[verdict]) for verdict in Verdict]

    @property
    def next_turn(self) -> str:
        """Return the totals of the next turn's plan, in a line."""
        return self.explanation.totals.sentence(self.now)

    @cached_property
    def usd_per_hour(self) -> Decimal:
        return sum((row.usd_per_second for row in self.rows if not row.is_foreign), Decimal(0)) * 3600

    @cached_property
    def places(self) -> Places:
        """The places, and what takes them."""
        existing = sum(row.sandbox is not None and row.sandbox.state != State.DELETED for row in self.rows)
        return Places.of(self.fleet, existing)

    @cached_property
    def refused(self) -> list[Row]:
        """The rows whose deletion was refused when it was asked for last, the most tries first."""
        rows = [row for row in self.rows if row.judgement.refused_tries]
        return sorted(rows, key=lambda row: -row.judgement.refused_tries)

    @cached_property
    def newest_first(self) -> list[Row]:
        return sorted(self.rows, key=lambda row: row.begun_at, reverse=True)

    def count(self, verdict: Verdict) -> int:
        return dict(self.verdicts)[verdict]

    def by_key(self) -> dict[str, Row]:
        return {row.key: row for row in self.rows}


def picture(now: datetime) -> FleetPicture:
    """Read both sides. Apps first: a row is written before its app is asked for, so every app of ours has one."""
    apps = list(CloudApp.objects.all())
    lost = Q(deleted_at__gte=now - LOST_SHOWN_FOR, end_code=EndCode.LOST)
    sandboxes = list(Sandbox.objects.existing())
    sandboxes += Sandbox.objects.filter(lost).order_by("-deleted_at")[:LOST_SHOWN_MOST]
    pools = list(Pool.objects.all())
    fleet, explanation = Fleet.get(), explain(now, apps)
    sight = Sight.of(fleet)
    known = {sandbox.name for sandbox in sandboxes}
    table = FleetTable(
        sight=sight,
        now=now,
        occupants=occupants([sandbox.pk for sandbox in sandboxes]),
        pools={pool.pk: pool for pool in pools},
        former=_former([app.name for app in apps if sight.mark.gives(app.name) and app.name not in known]),
        decisions=explanation.decisions,
        held_back=explanation.held_back,
    )
    return FleetPicture(fleet, now, table.rows(sandboxes, apps), pools, explanation)


def _former(names: Sequence[str]) -> dict[str, Sandbox]:
    found: dict[str, Sandbox] = {}
    for start in range(0, len(names), NAMES_A_QUERY):
        deleted = Sandbox.objects.filter(state=State.DELETED, name__in=names[start : start + NAMES_A_QUERY])
        found |= {sandbox.name: sandbox for sandbox in deleted}
    return found


HEALTHS = (Health.MISSING, Health.DEGRADED, Health.UNKNOWN, Health.PROGRESSING, Health.HEALTHY)
SORTS: dict[str, Callable[[Row], object]] = {
    "verdict": lambda row: URGENCY[row.verdict],
    "name": lambda row: row.name,
    "state": lambda row: (row.state or "~", row.state_age_seconds or 0.0),
    "phase": lambda row: (row.phase or "~", row.app_age_seconds or 0.0),
    "pool": lambda row: row.pool or "~",
    "run": lambda row: row.occupant.name if row.occupant else "~",
    "creator": lambda row: row.creator or "~",
    "expires": lambda row: row.expires_in_seconds if row.expires_in_seconds is not None else float("inf"),
    "cost": lambda row: row.cost_usd,
    "sync": lambda row: row.judgement.sync,
    "health": lambda row: HEALTHS.index(row.judgement.health),
    "agent": lambda row: (row.is_well, row.agent or "~"),
}


@dataclass(frozen=True, slots=True)
class FleetQuery:
    """The part of the table that the operator wants to see. Unknown values count as none."""

    words: str = ""
    verdict: str = ""
    state: str = ""
    pool: str = ""
    creator: str = ""
    sort: str = "verdict"
    descending: bool = False
    page: int = 1

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> FleetQuery:
        sort = parameters.get("sort", "")
        name = sort.removeprefix("-")
        number = parameters.get("page", "")
        verdict, state = parameters.get("verdict", ""), parameters.get("state", "")
        return cls(
            words=parameters.get("q", "").strip()[:200],
            verdict=verdict if verdict in set(Verdict) else "",
            state=state if state in State else "",
            pool=parameters.get("pool", "")[:40],
            creator=parameters.get("creator", "").strip()[:200],
            sort=name if name in SORTS else "verdict",
            descending=sort.startswith("-"),
            page=int(number) if number.isascii() and number.isdigit() and len(number) < 8 else 1,
        )

    def page_of(self, newest_first: Sequence[Row]) -> Page[Row]:
        """The rows wanted, in the order wanted; of equals the newest comes first."""
        wanted = self.wanted(newest_first)
        wanted.sort(key=SORTS[self.sort], reverse=self.descending)  # type: ignore[arg-type]  # alike within one sort
        return Paginator(wanted, ROWS_A_PAGE).get_page(self.page)

    def wanted(self, rows: Sequence[Row]) -> list[Row]:
        return [row for row in rows if self._wants(row)]

    def _wants(self, row: Row) -> bool:
        return (
            (not self.verdict or row.verdict == self.verdict)
            and (not self.state or (row.sandbox is not None and row.sandbox.state == self.state))
            and (not self.pool or row.pool == self.pool)
            and self.creator.lower() in row.creator.lower()
            and (not self.words or row.says(self.words))
        )

    def but(self, **changes: str) -> str:
        """The query string of the same view with something changed, from its first page."""
        sort = ("-" if self.descending else "") + self.sort
        values = {"q": self.words, "verdict": self.verdict, "state": self.state, "pool": self.pool}
        values |= {"creator": self.creator, "sort": sort} | changes
        return urlencode({name: value for name, value in values.items() if value and (name, value) != DEFAULT_SORT})

    def sorted_by(self, name: str) -> str:
        """The query string of the same view, sorted by that column, or the other way round if it is already."""
        return self.but(sort=f"-{name}" if self.sort == name and not self.descending else name)


DEFAULT_SORT = ("sort", "verdict")
