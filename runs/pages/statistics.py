"""The statistics of /stats/: launch times by kind, the hit rate, the pools' timelines, the cost of idle sandboxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import F, FloatField, Min, Q, Sum, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Greatest, Least

from pools.census import census
from pools.minutes import MINUTE, counted
from pools.models import LIVE, Pool, PoolMinute, Sandbox, SandboxQuerySet
from pools.moments import Seconds
from pools.prices import usd_per_second
from pools.timeline import KINDS as TIMELINE_KINDS
from pools.timeline import Life, Steps, Timeline, sampled, target, timeline
from runs.launch_hours import served_since
from runs.models import DeployedFrom, LaunchMode, Run, ServedBy

LAUNCHES_LOOKED_AT = 2000
LIVES_LOOKED_AT = 500  # of one pool, one by one; of a busier one the minutes are read in which it was counted
DEMANDS_LOOKED_AT = 2000
SANDBOXES_SUMMED = 2000
KINDS = {
    "staged": "Warm, game already started",
    "warm": "Warm, game put in on launch",
    "fallback": "Cold, no warm one was free",
    "cold": "Cold, as asked",
}


@dataclass(frozen=True, slots=True)
class Distribution:
    """Launch times of one kind, in milliseconds, sorted."""

    key: str
    title: str
    took_ms: Sequence[int]

    @property
    def count(self) -> int:
        return len(self.took_ms)

    def quantile_ms(self, share: float) -> int:
        """The smallest time that at least this share of the launches kept within (nearest rank)."""
        rank = max(1, -(-len(self.took_ms) * round(share * 1000) // 1000))
        return self.took_ms[min(rank, len(self.took_ms)) - 1]

    @property
    def p50_ms(self) -> int:
        return self.quantile_ms(0.5)

    @property
    def p90_ms(self) -> int:
        return self.quantile_ms(0.9)

    @property
    def p99_ms(self) -> int:
        return self.quantile_ms(0.99)

    @property
    def fastest_ms(self) -> int:
        return self.took_ms[0]

    @property
    def slowest_ms(self) -> int:
        return self.took_ms[-1]


def launch_times(since: datetime) -> list[Distribution]:
    """One distribution for each kind of which there was any, the newest launches first to count."""
    took: dict[str, list[int]] = {key: [] for key in KINDS}
    done = Run.objects.filter(created_at__gte=since, total_ms__isnull=False, ready_at__isnull=False)
    newest = done.order_by("-created_at").values_list("served_by", "deployed_from", "total_ms")
    for served_by, deployed_from, total_ms in newest[:LAUNCHES_LOOKED_AT]:
        if total_ms is not None:
            took[_kind(served_by, deployed_from)].append(total_ms)
    return [Distribution(key, KINDS[key], sorted(values)) for key, values in took.items() if values]


def _kind(served_by: str, deployed_from: str) -> str:
    if served_by == ServedBy.POOL:
        return "staged" if deployed_from == DeployedFrom.STAGED else "warm"
    return "fallback" if served_by == ServedBy.COLD_FALLBACK else "cold"


@dataclass(frozen=True, slots=True)
class Share:
    key: str
    title: str
    count: int
    offset: float  # in percent, as `share`
    share: float


@dataclass(frozen=True, slots=True)
class HitRate:
    """The ways in which launches that asked for a warm sandbox were served."""

    at_once: int
    waited: int
    fell_back: int

    @property
    def total(self) -> int:
        return self.at_once + self.waited + self.fell_back

    @property
    def percent(self) -> int | None:
        return round(100 * self.at_once / self.total) if self.total else None

    @property
    def shares(self) -> list[Share]:
        """The three ways as parts of a whole that is not empty."""
        ways = [
            ("at_once", "At once, by a warm one", self.at_once),
            ("waited", "After a wait for one on its way", self.waited),
            ("fell_back", "By a cold start instead", self.fell_back),
        ]
        shares, passed = [], 0
        for key, title, count in ways:
            share = round(100 * count / self.total, 1)
            shares.append(Share(key, title, count, round(100 * passed / self.total, 1), share))
            passed += count
        return shares


def hit_rate(since: datetime) -> HitRate:
    return HitRate(*served_since(since))


@dataclass(frozen=True, slots=True)
class PoolHistory:
    pool: Pool
    line: Timeline
    target: Steps
    made_at: Sequence[datetime]  # when each of those was asked for that was made in this time
    made_in: Sequence[tuple[datetime, int]] = ()  # (minute, how many), where they were counted each minute

    @property
    def peak(self) -> int:
        return max(1, self.line.peak, self.target.peak)

    @property
    def is_counted(self) -> bool:
        """Whether it was too busy for each sandbox to be looked at."""
        return bool(self.made_in)

    @property
    def made(self) -> int:
        return self.made_between(self.line.since, self.line.until)

    def made_between(self, start: datetime, end: datetime) -> int:
        return sum(start <= at < end for at in self.made_at) + sum(n for at, n in self.made_in if start <= at < end)


def pool_histories(since: datetime, until: datetime) -> list[PoolHistory]:
    """Each pool's sandboxes over time: exact where they are few, else as they were counted each minute."""
    return [_exact(pool, since, until) or _counted(pool, since, until) for pool in Pool.objects.all()]


def _exact(pool: Pool, since: datetime, until: datetime) -> PoolHistory | None:
    """None when there was too much to look at it one by one."""
    mine = Sandbox.objects.filter(pool=pool).order_by()  # by date, all would be looked at
    # Each by itself, in the order of its index.
    alive_within = (mine.filter(state__in=LIVE), mine.filter(delete_requested_at__gt=since))
    moments: list[tuple[Any, ...]] = []
    for rows in alive_within:
        found = rows.values_list("requested_at", "ready_at", "acquired_at", "delete_requested_at")
        moments += found[: LIVES_LOOKED_AT + 1 - len(moments)]
    if len(moments) > LIVES_LOOKED_AT:
        return None
    earliest = since - timedelta(seconds=pool.idle_timeout_seconds)
    launches = Run.objects.filter(
        mode=LaunchMode.WARM, game__runtime=pool.runtime, created_at__gte=earliest, created_at__lte=until
    )
    demands = list(launches.order_by("-created_at").values_list("created_at", flat=True)[: DEMANDS_LOOKED_AT + 1])
    if len(demands) > DEMANDS_LOOKED_AT:
        return None
    wanted = target(
        demands,
        target_ready=pool.target_ready,
        min_ready=pool.min_ready,
        idle_timeout_seconds=pool.idle_timeout_seconds,
        since=since,
        until=until,
    )
    lives = sorted((Life(*each) for each in moments), key=lambda life: life.requested_at)
    made_at = [life.requested_at for life in lives if life.requested_at >= since]
    return PoolHistory(pool, timeline(lives, since, until), wanted, made_at)


def _counted(pool: Pool, since: datetime, until: datetime) -> PoolHistory:
    """From the first minute on in which it was counted; of one that never was, how it is this minute."""
    rows = PoolMinute.objects.filter(pool=pool, minute__gte=since, minute__lt=until).order_by("minute")
    minutes = rows.values_list("minute", "made", "target", *TIMELINE_KINDS)
    moments, made, wanted, *columns = zip(*(list(minutes) or [_this_minute(pool, until)]), strict=True)
    steps = {kind: sampled(moments, values) for kind, values in zip(TIMELINE_KINDS, columns, strict=True)}
    made_in = tuple(zip(moments, made, strict=True))
    return PoolHistory(pool, Timeline(moments[0], until, steps), sampled(moments, wanted), (), made_in)


def _this_minute(pool: Pool, now: datetime) -> tuple[datetime, int, int, int, int, int]:
    row = counted(pool, census().of_pool[pool.pk], now - MINUTE, now)
    return now - MINUTE, row.made, row.target, row.creating, row.ready, row.in_use


@dataclass(frozen=True, slots=True)
class Cost:
    idle_seconds: float
    idle_usd: Decimal
    used_seconds: float
    used_usd: Decimal
    launches: int
    counted_since: datetime | None = None  # when each minute was counted, not each sandbox

    @property
    def idle_usd_a_launch(self) -> Decimal | None:
        return self.idle_usd / self.launches if self.launches else None


def idle_cost(since: datetime, until: datetime) -> Cost:
    """Return what warm sandboxes cost while they waited and while somebody played, at App Platform's prices. Of many,
    the minutes are summed in which the pools were counted."""
    rows = _alive_within(Sandbox.objects.filter(ready_at__isnull=False), since).order_by()
    if rows[: SANDBOXES_SUMMED + 1].count() > SANDBOXES_SUMMED:
        return _counted_cost(since, until)
    idle = _overlap_seconds("ready_at", Coalesce(F("acquired_at"), F("delete_requested_at")), since, until)
    used = _overlap_seconds("acquired_at", F("delete_requested_at"), since, until)
    by_size = rows.values("size").annotate(idle=Sum(idle), used=Sum(used, filter=Q(acquired_at__isnull=False)))
    return _cost(by_size.values_list("size", "idle", "used"), since)


def _counted_cost(since: datetime, until: datetime) -> Cost:
    minutes = PoolMinute.objects.filter(minute__gte=since, minute__lt=until).order_by()
    begun = minutes.aggregate(at=Min("minute"))["at"] or until
    idle, used = Sum(F("ready") * F("seconds")), Sum(F("in_use") * F("seconds"))
    by_size = minutes.values("pool__size").annotate(idle=idle, used=used)
    return _cost(by_size.values_list("pool__size", "idle", "used"), begun, counted_since=begun)


def _cost(
    by_size: Iterable[tuple[str, float, float | None]], since: datetime, counted_since: datetime | None = None
) -> Cost:
    idle_seconds = used_seconds = 0.0
    idle_usd = used_usd = Decimal(0)
    for size, idle_part, used_part in by_size:
        price = usd_per_second(size)
        idle_seconds, used_seconds = idle_seconds + idle_part, used_seconds + (used_part or 0)
        idle_usd, used_usd = idle_usd + price * Decimal(idle_part), used_usd + price * Decimal(used_part or 0)
    served = served_since(since)
    return Cost(idle_seconds, idle_usd, used_seconds, used_usd, served.at_once + served.waited, counted_since)


def _alive_within(sandboxes: SandboxQuerySet, since: datetime) -> SandboxQuerySet:
    return sandboxes.filter(Q(delete_requested_at__isnull=True) | Q(delete_requested_at__gt=since))


def _overlap_seconds(start: str, end: Combinable, since: datetime, until: datetime) -> Combinable:
    """Return how much of [start, end) lies in [since, until), for the database to sum; an open end is `until`."""
    last = Least(Coalesce(Seconds(end), Value(until.timestamp())), Value(until.timestamp()))
    first = Greatest(Seconds(F(start)), Value(since.timestamp()))
    return Greatest(last - first, Value(0.0), output_field=FloatField())
