"""Who launches, and how much one of them may, beside what all together may (`runs.limits`).

A client is a key, a visitor, or an address from which a program calls. Whoever has no key is counted with their
network, too: it costs nothing to be another visitor. So nobody has every place, and nobody uses up the hour.

The counts are exact: they are made by the statement after the one that counts the launch in the tally, whose row is
held until the commit. Whoever holds it sees each launch that was counted before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection
from django.db.models import Q, QuerySet

from pools.api_keys import ApiKey
from pools.prices import cost_usd
from runs.models import ACTIVE, Run

MINUTE_SECONDS = 60
HOUR_SECONDS = 3600
DAY = timedelta(days=1)
MOST_LOOKED_AT = 1000
RETRY_SECONDS = 30  # while launches are still starting, nobody knows when they end
ACTIVE_STATES = ", ".join(f"'{state}'" for state in ACTIVE)


@dataclass(frozen=True, slots=True)
class Client:
    """Whoever launches: `name` is what their runs are kept under (`Run.visitor`), `network` a hash of where they are,
    empty for those with a key."""

    name: str
    network: str = ""
    key: ApiKey | None = None


class Limit(NamedTuple):
    """One limit of a client: as many launches with the same `field` (a column) within so many seconds; of those that
    are not over, where there are none. `name` is that of a setting, or of a field of the key."""

    name: str
    field: str
    value: str
    most: int
    seconds: int | None
    sentence: str


class Use(NamedTuple):
    """How much of a limit is used, and in how many seconds one launch less is counted; 0 when none is."""

    limit: Limit
    used: int
    reset_seconds: int

    @property
    def remaining(self) -> int:
        return max(0, self.limit.most - self.used)


class Row(NamedTuple):
    """A launch, as far as it counts."""

    visitor: str
    network: str
    state: str
    created_at: datetime
    expires_at: datetime | None


def limits_of(client: Client) -> Sequence[Limit]:
    """All that are counted in launches, the widest last."""
    return tuple(_limits(client))


def _limits(client: Client) -> Iterator[Limit]:
    own, name = client.key, client.name
    most, a_minute, an_hour = settings.MAX_ACTIVE_PER_CLIENT, None, settings.MAX_RUNS_PER_HOUR_PER_CLIENT
    names = {"active": "MAX_ACTIVE_PER_CLIENT", "hour": "MAX_RUNS_PER_HOUR_PER_CLIENT"}
    if own is not None and own.most_at_once is not None:
        most, names["active"] = own.most_at_once, "most_at_once"
    if own is not None and own.most_an_hour is not None:
        an_hour, names["hour"] = own.most_an_hour, "most_an_hour"
    if own is not None:
        a_minute = own.most_a_minute
    whose = "with this key" if own is not None else "by you"
    yield Limit(
        names["active"], "visitor", name, most, None, f"{most} games launched {whose} are on, the most at once."
    )
    if a_minute is not None:
        sentence = f"All {a_minute} launches of this minute {whose} are used."
        yield Limit("most_a_minute", "visitor", name, a_minute, MINUTE_SECONDS, sentence)
    sentence = f"All {an_hour} launches of this hour {whose} are used."
    yield Limit(names["hour"], "visitor", name, an_hour, HOUR_SECONDS, sentence)
    if client.network:
        most, an_hour = settings.MAX_ACTIVE_PER_NETWORK, settings.MAX_RUNS_PER_HOUR_PER_NETWORK
        sentence = f"{most} games launched from your network are on, the most at once."
        yield Limit("MAX_ACTIVE_PER_NETWORK", "network", client.network, most, None, sentence)
        sentence = f"All {an_hour} launches of this hour from your network are used."
        yield Limit("MAX_RUNS_PER_HOUR_PER_NETWORK", "network", client.network, an_hour, HOUR_SECONDS, sentence)


def reached(client: Client, now: datetime, *, but: Run | None = None) -> Use | None:
    """The limit that leaves no room for one more launch, and when there is; None when there is room. `but`: the launch
    itself, where its row is written already."""
    for limit in limits_of(client):
        used = _counted(limit, now, but).count()
        if used >= limit.most:
            return Use(limit, used, _room_in_seconds(limit, used, now, but))
    return None


def uses(client: Client, now: datetime) -> list[Use]:
    """How much of each limit is used; in one statement. Empty for a client with more than MOST_LOOKED_AT launches: they
    are counted one by one here."""
    hour_ago = now - timedelta(seconds=HOUR_SECONDS)
    mine = Q(visitor=client.name) | Q(network=client.network) if client.network else Q(visitor=client.name)
    runs = Run.objects.order_by().filter(mine, Q(state__in=ACTIVE) | Q(created_at__gt=hour_ago))
    rows = [Row(*row) for row in runs.values_list(*Row._fields)[: MOST_LOOKED_AT + 1]]
    return [use_of(limit, rows, now) for limit in limits_of(client)] if len(rows) <= MOST_LOOKED_AT else []


def use_of(limit: Limit, rows: Iterable[Row], now: datetime) -> Use:
    """How much of one limit these launches use."""
    same = [row for row in rows if getattr(row, limit.field) == limit.value]
    if limit.seconds is None:
        on = [row for row in same if row.state in ACTIVE]
        ends = [row.expires_at for row in on if row.expires_at is not None and row.expires_at > now]
        reset = math.ceil((min(ends) - now).total_seconds()) if ends else RETRY_SECONDS
        return Use(limit, len(on), max(1, reset) if on else 0)
    window = timedelta(seconds=limit.seconds)
    within = [row.created_at for row in same if row.created_at > now - window]
    return Use(limit, len(within), math.ceil((min(within) + window - now).total_seconds()) if within else 0)


def _counted(limit: Limit, now: datetime, but: Run | None) -> QuerySet[Run]:
    runs = Run.objects.active() if limit.seconds is None else Run.objects.order_by()
    runs = runs.filter(**{limit.field: limit.value})
    if limit.seconds is not None:
        runs = runs.filter(created_at__gt=now - timedelta(seconds=limit.seconds))
    return runs.exclude(pk=but.pk) if but is not None else runs


def _room_in_seconds(limit: Limit, used: int, now: datetime, but: Run | None) -> int:
    """When there is room again."""
    too_many = used - limit.most  # those before it leave earlier, and it has to leave, too
    runs = _counted(limit, now, but)
    if limit.seconds is None:
        ends = runs.filter(expires_at__gt=now).order_by("expires_at").values_list("expires_at", flat=True)
        room_at = ends[too_many : too_many + 1].first()
        return max(1, math.ceil((room_at - now).total_seconds())) if room_at else RETRY_SECONDS
    leaving = runs.order_by("created_at").values_list("created_at", flat=True)[too_many : too_many + 1].first() or now
    return max(1, math.ceil((leaving - now).total_seconds() + limit.seconds))


def surely_has_room(client: Client, *, active: int, this_hour: int) -> bool:
    """Whether so few launches of everybody's are counted that no client can have too many."""
    return all((active if limit.seconds is None else this_hour) < limit.most for limit in limits_of(client))


def still_room_sql(client: Client, mark: int, now: datetime) -> tuple[str, list[Any]]:
    """A condition that holds if the client had room for the launch that was just written and counted, and its
    parameters. `mark`: how many launches there had been an hour ago.

    Rows are counted only where all launches together are more than the client may have.
    """
    conditions: list[str] = []
    params: list[Any] = []
    for limit in limits_of(client):
        if limit.seconds is None:
            everybody, where, given = "warm + cold", f"state IN ({ACTIVE_STATES})", []
        else:
            begin = now - timedelta(seconds=limit.seconds)
            everybody, where = f"launches - {int(mark)}", "created_at > %s"
            given = [connection.ops.adapt_datetimefield_value(begin)]
        conditions.append(
            f"((SELECT {everybody} FROM runs_tally WHERE id = 1) <= %s OR "  # noqa: S608
            f"(SELECT count(*) FROM (SELECT 1 FROM runs_run WHERE {limit.field} = %s AND {where} LIMIT %s) c) <= %s)"
        )
        params += [limit.most, limit.value, *given, limit.most + 1, limit.most]
    return " AND ".join(conditions), params


def spent_usd(client: Client, now: datetime) -> Decimal:
    """What the sandboxes of a client's launches of the last day cost; of those that are on, until their time is up."""
    runs = Run.objects.filter(visitor=client.name, created_at__gt=now - DAY).select_related("sandbox").order_by()
    return sum((_costs_usd(run, now) for run in runs), Decimal(0))


def _costs_usd(run: Run, now: datetime) -> Decimal:
    if run.is_over:
        return run.sandbox.cost_usd(now) if run.sandbox is not None else Decimal(0)
    until = run.expires_at or now + timedelta(minutes=settings.SANDBOX_MAX_LIFETIME_MINUTES)
    size = run.sandbox.size if run.sandbox is not None else settings.SANDBOX_SIZE
    since = run.sandbox.accepted_at if run.sandbox is not None and run.sandbox.accepted_at is not None else now
    return cost_usd(size, (until - since).total_seconds())


def is_too_dear(client: Client, now: datetime) -> bool:
    """Whether one more launch may cost more than the key may spend in a day."""
    if client.key is None or client.key.most_usd_a_day is None:
        return False
    one_more = cost_usd(settings.SANDBOX_SIZE, settings.SANDBOX_MIN_LIFETIME_MINUTES * 60)
    return spent_usd(client, now) + one_more > client.key.most_usd_a_day
