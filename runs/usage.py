"""What was used and what it cost, day by day: by clients, games and pools.

A launch counts on the day on which it was asked for, a sandbox on the day on which it was deleted, with all that it was
billed for; one that is there still counts today. Days are UTC's. What is settled stands in a row for each day, client,
game and pool, so what is asked reads the same few rows however much there has been; only the last minutes are summed
from the rows of runs and sandboxes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import NamedTuple

from django.db import transaction
from django.db.models import Case, Count, F, FloatField, Min, Q, Sum, Value, When
from django.db.models.functions import Coalesce, Greatest

from pools.api_keys import client_of
from pools.models import Sandbox
from pools.moments import HOUR, Seconds, hour_of
from pools.portions import Portions
from pools.prices import LEAST_BILLED_SECONDS, usd_per_second
from runs.models import Run, ServedBy, UsageDay, UsageMark

DAY = timedelta(days=1)
KEPT = timedelta(days=400)
LATE = timedelta(minutes=30)  # what is written late, or by a clock that is behind, is still among the last minutes
ANONYMOUS = "anonymous"  # everybody without a key
NOBODY = ""  # sandboxes that no launch had; launches without a sandbox of a pool


class By(StrEnum):
    """What the rows of an answer tell apart."""

    DAY = "day"
    CLIENT = "client"
    GAME = "game"
    POOL = "pool"


class Key(NamedTuple):
    """Whose usage it is."""

    client: str
    game: str
    pool: str


@dataclass(slots=True)
class Usage:
    """`hits`: launches that found a warm sandbox ready. In use is a sandbox from the moment on when a launch took it;
    idle is all that was billed before. `unused`: sandboxes that were deleted and no launch had taken."""

    launches: int = 0
    hits: int = 0
    in_use_seconds: float = 0.0
    idle_seconds: float = 0.0
    in_use_usd: float = 0.0
    idle_usd: float = 0.0
    unused: int = 0

    def add(self, other: Usage) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


NAMES = tuple(each.name for each in fields(Usage))
IS_KEY = Q(visitor__startswith=client_of(""))
OF_KEY = Q(run__visitor__startswith=client_of(""))


def usage(first: date, last: date, by: By, now: datetime, client: str | None = None) -> dict[str, Usage]:
    """The usage of these days, by what the rows tell apart: a day as ISO 8601 writes it, or a name. `client`: of that
    one alone."""
    while True:
        until = settled_until(now)
        found = _settled(first, last, by, client)
        for day, key, used in beyond(until, first, last, now):
            if client is None or key.client == client:
                found[day.isoformat() if by == By.DAY else getattr(key, by)].add(used)
        if settled_until(now) == until:  # else something was counted twice, or not at all
            return dict(found)


def beyond(until: datetime, first: date, last: date, now: datetime) -> Iterator[tuple[date, Key, Usage]]:
    """What of these days does not stand in their rows, which go up to `until`."""
    for day in _days(max(first, until.date()), min(last, now.date())):
        for key, used in _since(max(until, _beginning(day)), day, now).items():
            yield day, key, used


def settle(now: datetime) -> Portions:
    """Add to the days' rows what is settled, an hour at a time."""
    while True:
        begin, limit = settled_until(now), now - LATE
        first = _first_since(begin)
        if first is None or first >= limit:
            return
        yield _settle(begin, min(hour_of(first) + HOUR, limit), first.date())


def settled_until(now: datetime) -> datetime:
    """The moment up to which everything stands in the days' rows."""
    until = UsageMark.objects.values_list("until", flat=True).first()
    return until if until is not None else _beginning(now.date() - KEPT)


@transaction.atomic
def _settle(begin: datetime, end: datetime, day: date) -> int:
    """Everything from `begin` to `end`, all of it on that day. Nothing when another was faster."""
    UsageMark.objects.get_or_create(pk=1, defaults={"until": begin})
    if not UsageMark.objects.filter(pk=1, until=begin).update(until=end):
        return 0
    counted = _ended(begin, end, now=end)
    for key, used in counted.items():
        row = UsageDay.objects.filter(day=day, **key._asdict())
        if not row.update(**{name: F(name) + getattr(used, name) for name in NAMES}):
            UsageDay.objects.create(day=day, **key._asdict(), **asdict(used))
    return len(counted)


def _first_since(begin: datetime) -> datetime | None:
    launched = Run.objects.filter(created_at__gte=begin).aggregate(at=Min("created_at"))["at"]
    deleted = Sandbox.objects.filter(deleted_at__gte=begin).order_by().aggregate(at=Min("deleted_at"))["at"]
    return min((each for each in (launched, deleted) if each is not None), default=None)


def _settled(first: date, last: date, by: By, client: str | None) -> defaultdict[str, Usage]:
    rows = UsageDay.objects.filter(day__gte=first, day__lte=last).order_by()
    if client is not None:
        rows = rows.filter(client=client)
    found: defaultdict[str, Usage] = defaultdict(Usage)
    for row in rows.values(by.value).annotate(**{f"sum_{name}": Sum(name) for name in NAMES}):
        at = row[by.value]
        found[at.isoformat() if by == By.DAY else at] = Usage(*(row[f"sum_{name}"] for name in NAMES))
    return found


def _since(begin: datetime, day: date, now: datetime) -> dict[Key, Usage]:
    """What is not settled of a day, and today what is there."""
    found = _ended(begin, _beginning(day) + DAY, now)
    if day == now.date():
        for key, used in _sandboxes(Q(deleted_at__isnull=True), now).items():
            used.unused = 0  # some launch may take it yet
            found[key].add(used)
    return found


def _ended(begin: datetime, end: datetime, now: datetime) -> defaultdict[Key, Usage]:
    """The launches of that time, and the sandboxes that were deleted in it."""
    found: defaultdict[Key, Usage] = defaultdict(Usage)
    for part in (
        _launches(Q(created_at__gte=begin, created_at__lt=end)),
        _sandboxes(Q(deleted_at__gte=begin, deleted_at__lt=end), now),
    ):
        for key, used in part.items():
            found[key].add(used)
    return found


def _launches(part: Q) -> dict[Key, Usage]:
    was_hit = Q(served_by=ServedBy.POOL, sandbox__ready_at__lte=F("created_at"))
    runs = Run.objects.filter(part).order_by()
    rows = runs.values(
        "game__slug",
        client=Case(When(IS_KEY, then=F("visitor")), default=Value(ANONYMOUS)),
        pool=Coalesce("sandbox__pool__name", Value(NOBODY)),
    ).annotate(launches=Count("pk"), hits=Count("pk", filter=was_hit))
    return {
        Key(row["client"], row["game__slug"], row["pool"]): Usage(launches=row["launches"], hits=row["hits"])
        for row in rows
    }


def _sandboxes(part: Q, now: datetime) -> defaultdict[Key, Usage]:
    until = Coalesce(Seconds(F("deleted_at")), Seconds(Value(now)))
    billed = Greatest(until - Seconds(F("accepted_at")), Value(LEAST_BILLED_SECONDS), output_field=FloatField())
    in_use = Coalesce(
        Sum(until - Seconds(F("acquired_at")), filter=Q(acquired_at__isnull=False), output_field=FloatField()),
        Value(0.0),
    )
    rows = (
        Sandbox.objects.filter(part, accepted_at__isnull=False)
        .order_by()
        .values(
            "size",
            client=Case(
                When(OF_KEY, then=F("run__visitor")),
                When(run__isnull=True, then=Value(NOBODY)),
                default=Value(ANONYMOUS),
            ),
            game=Coalesce("run__game__slug", Value(NOBODY)),
            of_pool=Coalesce("pool__name", Value(NOBODY)),
        )
        .annotate(billed=Sum(billed), in_use=in_use, unused=Count("pk", filter=Q(acquired_at__isnull=True)))
    )
    found: defaultdict[Key, Usage] = defaultdict(Usage)
    for row in rows:
        idle_seconds, price = max(0.0, row["billed"] - row["in_use"]), float(usd_per_second(row["size"]))
        found[Key(row["client"], row["game"], row["of_pool"])].add(
            Usage(
                in_use_seconds=row["in_use"],
                idle_seconds=idle_seconds,
                in_use_usd=price * row["in_use"],
                idle_usd=price * idle_seconds,
                unused=row["unused"],
            )
        )
    return found


def _beginning(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]
