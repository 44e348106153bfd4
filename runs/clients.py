"""Who launches, and how much one of them may, beside what all together may (`runs.limits`).

A client is a key, a visitor, or an address from which a program calls. Whoever has no key is counted with their
network, too: it costs nothing to be another visitor. So nobody has every place, and nobody uses up the hour.

The counts are exact: they are made by the statement after the one that counts the launch in the tally, whose row is
held until the commit. Whoever holds it sees each launch that was counted before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection
from django.db.models import Case, Count, F, FloatField, Q, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce, Greatest

from pools.api_keys import ApiKey, client_of
from pools.moments import Seconds
from pools.prices import LEAST_BILLED_SECONDS, cost_usd, usd_per_second
from runs.models import ACTIVE, Run, Tally

MINUTE_SECONDS = 60
HOUR_SECONDS = 3600
DAY = timedelta(days=1)
SHOWN_LETTERS = 8
OPERATOR = "operator:"  # what the names of operators who try a game begin with
RETRY_SECONDS = 30  # while launches are still starting, nobody knows when they end
ACTIVE_STATES = ", ".join(f"'{state}'" for state in ACTIVE)


@dataclass(frozen=True, slots=True)
class Client:
    """Whoever launches: `name` is what their runs are kept under (`Run.visitor`), `network` a hash of where they are,
    empty for those with a key."""

    name: str
    network: str = ""
    key: ApiKey | None = None

    @property
    def has_a_budget(self) -> bool:
        return self.key is not None and self.key.most_usd_a_day is not None


def shown(name: str) -> str:
    """A client as operators read it: a key by its first letters, an operator by name, others by those of their hash."""
    if name.startswith(OPERATOR):
        return name.replace(":", " ", 1)
    return name if name.startswith(client_of("")) else name[:SHOWN_LETTERS]


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
    who = "This key has" if own is not None else "You have"
    sentence = f"{who} {most} games running or starting, the most allowed at once."
    yield Limit(names["active"], "visitor", name, most, None, sentence)
    if a_minute is not None:
        sentence = f"{who} used all {a_minute} launches allowed in a minute."
        yield Limit("most_a_minute", "visitor", name, a_minute, MINUTE_SECONDS, sentence)
    sentence = f"{who} used all {an_hour} launches allowed in an hour."
    yield Limit(names["hour"], "visitor", name, an_hour, HOUR_SECONDS, sentence)
    if client.network:
        most, an_hour = settings.MAX_ACTIVE_PER_NETWORK, settings.MAX_RUNS_PER_HOUR_PER_NETWORK
        sentence = f"{most} games are running or starting from your network, the most allowed at once."
        yield Limit("MAX_ACTIVE_PER_NETWORK", "network", client.network, most, None, sentence)
        sentence = f"Your network has used all {an_hour} launches allowed in an hour."
        yield Limit("MAX_RUNS_PER_HOUR_PER_NETWORK", "network", client.network, an_hour, HOUR_SECONDS, sentence)


def reached(client: Client, now: datetime, *, but: Run | None = None) -> Use | None:
    """The limit that leaves no room for one more launch, and when there is; of several, the one that lasts longest.
    None when there is room. `but`: the launch itself, where its row is written already."""
    found = []
    for limit in limits_of(client):
        runs = _counted(limit, now)
        used = (runs.exclude(pk=but.pk) if but is not None else runs).count()
        if used >= limit.most:
            # Those before it leave earlier, and it has to leave, too, before there is room.
            leaving = _leaving(limit, runs, now)[used - limit.most : used - limit.most + 1].first()
            found.append(Use(limit, used, _seconds_until(limit, leaving, now)))
    return max(found, key=lambda use: use.reset_seconds, default=None)


def uses(client: Client, now: datetime) -> list[Use]:
    """How much of each limit is used; in one statement."""
    limits, asked = limits_of(client), Tally.objects.filter(pk=1)
    for place, limit in enumerate(limits):
        runs = _counted(limit, now)
        leaving = _leaving(limit, runs, now)[:1]
        asked = asked.annotate(**{f"used_{place}": number_of(runs), f"leaving_{place}": Subquery(leaving)})
    found = asked.first()  # none, while there was no launch
    return [
        Use(limit, used, _seconds_until(limit, getattr(found, f"leaving_{place}"), now) if used else 0)
        for place, limit in enumerate(limits)
        for used in [getattr(found, f"used_{place}", 0)]
    ]


def number_of(runs: QuerySet[Run]) -> Any:
    """How many these are, as a part of another statement."""
    count = runs.order_by().annotate(one=Value(1)).values("one").annotate(number_of=Count("pk")).values("number_of")
    return Coalesce(Subquery(count), 0)


def _counted(limit: Limit, now: datetime) -> QuerySet[Run]:
    if limit.seconds is None:
        # Found by their state, of which there are few: by the client, SQLite would look at all they ever launched.
        same = Run.objects.active().alias(whose=Coalesce(F(limit.field), Value("")))
        return same.filter(whose=limit.value)
    since = now - timedelta(seconds=limit.seconds)
    return Run.objects.order_by().filter(created_at__gt=since, **{limit.field: limit.value})


def _leaving(limit: Limit, runs: QuerySet[Run], now: datetime) -> QuerySet[Run, Any]:
    """The moments by which it is known when a launch counts no more, the first one first."""
    if limit.seconds is None:
        return runs.filter(expires_at__gt=now).order_by("expires_at").values_list("expires_at", flat=True)
    return runs.order_by("created_at").values_list("created_at", flat=True)


def _seconds_until(limit: Limit, leaving: datetime | None, now: datetime) -> int:
    if leaving is None:
        return RETRY_SECONDS
    return max(1, math.ceil((leaving - now).total_seconds() + (limit.seconds or 0)))


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
            whose = f"COALESCE({limit.field}, '')"  # as above
        else:
            begin = now - timedelta(seconds=limit.seconds)
            everybody, where = f"launches - {int(mark)}", "created_at > %s"
            given, whose = [connection.ops.adapt_datetimefield_value(begin)], limit.field
        conditions.append(
            f"((SELECT {everybody} FROM runs_tally WHERE id = 1) <= %s OR "  # noqa: S608
            f"(SELECT count(*) FROM (SELECT 1 FROM runs_run WHERE {whose} = %s AND {where} LIMIT %s) c) <= %s)"
        )
        params += [limit.most, limit.value, *given, limit.most + 1, limit.most]
    return " AND ".join(conditions), params


def has_no_money_left(client: Client, now: datetime) -> bool:
    """Whether one more launch may cost more than the key may spend in a day. Exact under the fleet's lock, which each
    launch of such a key takes."""
    if client.key is None or client.key.most_usd_a_day is None:
        return False
    one_more = cost_usd(settings.SANDBOX_SIZE, settings.SANDBOX_MIN_LIFETIME_MINUTES * 60)
    return spent_usd(client, now) + one_more > client.key.most_usd_a_day


def spent_usd(client: Client, now: datetime) -> Decimal:
    """What the sandboxes of a client's launches of the last day cost; of those that are on, until their time is up."""
    is_on, was_made = Q(state__in=ACTIVE), Q(sandbox__accepted_at__isnull=False)
    at, longest_seconds = Seconds(Value(now)), settings.SANDBOX_MAX_LIFETIME_MINUTES * 60.0
    since = Coalesce(Seconds(F("sandbox__accepted_at")), at)
    until = Case(
        When(is_on, then=Coalesce(Seconds(F("expires_at")), at + Value(longest_seconds))),
        default=Coalesce(Seconds(F("sandbox__deleted_at")), at),
        output_field=FloatField(),
    )
    billed = Greatest(until - since, Value(LEAST_BILLED_SECONDS), output_field=FloatField())
    runs = _of_the_day(client, now).filter(is_on | was_made)
    by_size = runs.values(size=Coalesce("sandbox__size", Value(settings.SANDBOX_SIZE))).annotate(seconds=Sum(billed))
    return sum((usd_per_second(row["size"]) * Decimal(row["seconds"]) for row in by_size), Decimal(0))


def money_in_seconds(client: Client, now: datetime) -> int:
    """When the first launch of the last day counts no more; a day when there is none, for then it is never enough."""
    first = _of_the_day(client, now).order_by("created_at").values_list("created_at", flat=True).first() or now
    return max(1, math.ceil((first + DAY - now).total_seconds()))


def _of_the_day(client: Client, now: datetime) -> QuerySet[Run]:
    return Run.objects.order_by().filter(visitor=client.name, created_at__gt=now - DAY)
