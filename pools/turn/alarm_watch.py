"""The alarms that a turn can see: what the fleet's row, its listing and its creates tell. What only somebody outside
can see (no cluster, a full disk) is for whoever serves pages."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef

from pools import alarm_mail, alarms, fleet_log
from pools.alarm_rows import AlarmCode, RaisedAlarm
from pools.alarms import CONFIRMED, Standing
from pools.breaker import breaker_at, deletes_fail
from pools.leases import LeaseLost
from pools.models import CloudApp, Fleet, FleetEvent, Sandbox, State
from pools.reasons import LogKind
from pools.turn.attempts import REFUSALS
from pools.turn.facts import PoolFacts

logger = logging.getLogger("pools")
LISTING_MAY_FAIL = timedelta(minutes=2)  # now and then it does
ORPHANS_MAY_STAY = timedelta(minutes=1)  # beyond their grace: so long a deletion may take
TURNS_MAY_DIE = timedelta(minutes=3)  # one may, and the next one ends well
DELETES_MAY_FAIL = timedelta(minutes=2)  # one by one; each turn asks again


def watch(pools: Iterable[PoolFacts] | None, now: datetime) -> None:
    """Tell of alarms that began or ended. Without `pools`, where a turn came to no facts, those of pools stay. Trouble
    with it ends no turn."""
    try:
        fleet = Fleet.get()
        raised = {alarm.subject: alarm for alarm in RaisedAlarm.objects.exclude(code__in=CONFIRMED)}
        found = [*of_fleet(fleet, now), *_orphans(now)]
        found += _refused(fleet, now, is_raised=AlarmCode.DELETE_REFUSED in raised)
        found += of_pools(pools, now) if pools is not None else ()
        standing = {alarm.subject: alarm for alarm in found}
        for subject in standing.keys() - raised.keys():
            alarms.begin(standing[subject], now)
        for subject in standing.keys() & raised.keys():
            if standing[subject].detail != raised[subject].detail:
                same = RaisedAlarm.objects.filter(pk=subject, raised_at=raised[subject].raised_at)
                same.update(detail=standing[subject].detail)
        for subject in raised.keys() - standing.keys():
            if pools is not None or not raised[subject].pool_name:
                alarms.end(raised[subject], now)
        alarm_mail.call_if_due(now)
    except LeaseLost:
        raise
    except Exception:
        logger.exception("The alarms could not be told.")


def of_fleet(fleet: Fleet, now: datetime) -> list[Standing]:
    """Those that the fleet's row tells."""
    found = []
    if fleet.token_refused_at is not None:
        found.append(Standing(AlarmCode.TOKEN_REFUSED, "Set a working DIGITALOCEAN_TOKEN."))
    elif fleet.listing_error and (fleet.listed_at is None or now - fleet.listed_at > LISTING_MAY_FAIL):
        found.append(Standing(AlarmCode.LISTING_FAILS, "Nothing is deleted, or made for the pools, until it works."))
    is_long_ago = fleet.turned_at is None or now - fleet.turned_at > TURNS_MAY_DIE
    if is_long_ago and fleet_log.turn_death(fleet) is not None:
        found.append(Standing(AlarmCode.TURNS_DIE, "Nothing is looked after until a turn ends well."))
    if fleet.stopped_at is not None:
        found.append(Standing(AlarmCode.DELETIONS_STOPPED, fleet.stopped_reason))
    if deletes_fail(fleet.deletes_failing_since, now):
        found.append(Standing(AlarmCode.DELETIONS_FAIL, "Nothing is created meanwhile."))
    return found


def of_pools(pools: Iterable[PoolFacts], now: datetime) -> list[Standing]:
    """Those that the outcomes of their creates tell. Pure."""
    breakers = [(pool.name, breaker_at(pool.outcomes, now)) for pool in pools]
    return [
        Standing(AlarmCode.BREAKER_OPEN, f"{breaker.explanation}.", name)
        for name, breaker in breakers
        if breaker.is_open or breaker.is_probing
    ]


def _orphans(now: datetime) -> list[Standing]:
    """Those that are still there after their grace: by then the machine was to have deleted them."""
    until = now - timedelta(seconds=settings.ORPHAN_GRACE_SECONDS) - ORPHANS_MAY_STAY
    count = CloudApp.objects.filter(orphan_since__lte=until).count()
    apps = "1 app costs" if count == 1 else f"{count} apps cost"
    detail = f"{apps} money, and we have no record of what is in our name."
    return [Standing(AlarmCode.ORPHANS, detail)] if count else []


def _refused(fleet: Fleet, now: datetime, *, is_raised: bool) -> list[Standing]:
    """Deletions that DigitalOcean refuses one by one, of apps with a row and without. While none works, another alarm
    says so, but for one that stands already."""
    if deletes_fail(fleet.deletes_failing_since, now) and not is_raised:
        return []
    since = now - DELETES_MAY_FAIL
    going = Sandbox.objects.filter(state=State.DELETING, trouble_code__in=REFUSALS, delete_sent_at__isnull=False)
    found = dict(going.filter(delete_requested_at__lte=since).order_by("name").values_list("name", "trouble"))
    # Since when an app without a row is refused, the log alone knows: the line is written once, when it first is.
    said = FleetEvent.objects.filter(sandbox_name=OuterRef("name"), kind=LogKind.TROUBLE, code__in=REFUSALS)
    ordered = CloudApp.objects.exclude(delete_reason="").filter(trouble_code__in=REFUSALS)
    without_row = ordered.filter(Exists(said.filter(at__lte=since))).order_by("name")
    found = dict(without_row.values_list("name", "trouble")) | found
    if not found:
        return []
    name, why = next(iter(found.items()))
    others = f" The same goes for {len(found) - 1} more." if len(found) > 1 else ""
    return [Standing(AlarmCode.DELETE_REFUSED, f"{name} is still there and costs money: {why.rstrip('.')}.{others}")]
