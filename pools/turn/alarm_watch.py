"""Alarms for those who do not look at the admin: each is a line of the log when it begins and when it ends, from which
webhooks hear of it, and an e-mail to ALERT_EMAILS. What only somebody outside can see (no cluster, a full disk) is for
`/health/ready`."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django_q.tasks import async_task

from pools import fleet_log, journal
from pools.alarm_rows import AlarmCode, RaisedAlarm
from pools.breaker import breaker_at, deletes_fail
from pools.leases import LeaseLost
from pools.models import CloudApp, Fleet, Level, Pool
from pools.reasons import LogKind
from pools.turn.facts import PoolFacts

logger = logging.getLogger("pools")
MAIL = "pools.tasks.mail"
LISTING_MAY_FAIL = timedelta(minutes=2)  # now and then it does
ORPHANS_MAY_STAY = timedelta(minutes=1)  # beyond their grace: so long a deletion may take
TURNS_MAY_DIE = timedelta(minutes=3)  # one may, and the next one ends well


@dataclass(frozen=True, slots=True)
class Standing:
    """An alarm as things are."""

    code: AlarmCode
    detail: str
    pool_name: str = ""

    @property
    def subject(self) -> str:
        return f"{self.code}:{self.pool_name}" if self.pool_name else self.code.value


def watch(pools: Iterable[PoolFacts] | None, now: datetime) -> None:
    """Tell of alarms that began or ended. Without `pools`, where a turn came to no facts, those of pools stay. Trouble
    with it ends no turn."""
    try:
        fleet = Fleet.get()
        found = [*of_fleet(fleet, now), *_orphans(now), *(of_pools(pools, now) if pools is not None else ())]
        standing = {alarm.subject: alarm for alarm in found}
        raised = RaisedAlarm.objects.in_bulk()
        for subject in standing.keys() - raised.keys():
            _raise(standing[subject], now)
        for subject in raised.keys() - standing.keys():
            if pools is not None or not raised[subject].pool_name:
                _clear(raised[subject], now)
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


def _raise(alarm: Standing, now: datetime) -> None:
    message = f"ALARM: {alarm.code.label}. {alarm.detail}".strip()
    try:
        with transaction.atomic():
            RaisedAlarm.objects.create(subject=alarm.subject, code=alarm.code, pool_name=alarm.pool_name, raised_at=now)
            _mail(f"{alarm.code.label}{_of(alarm.pool_name)}", message)
            pool = Pool(name=alarm.pool_name) if alarm.pool_name else None
            journal.record(LogKind.ALARM, message, code=alarm.code, pool=pool, now=now, level=Level.ERROR)
    except IntegrityError:
        return  # another turn was first


def _clear(alarm: RaisedAlarm, now: datetime) -> None:
    label = AlarmCode(alarm.code).label
    seconds = round((now - alarm.raised_at).total_seconds())
    message = f"all clear after {seconds} s: {label}{_of(alarm.pool_name)}"
    with transaction.atomic():
        if not RaisedAlarm.objects.filter(pk=alarm.pk).delete()[0]:
            return
        _mail(f"All clear: {label}{_of(alarm.pool_name)}", message)
        pool = Pool(name=alarm.pool_name) if alarm.pool_name else None
        data = {"lasted_seconds": seconds}
        journal.record(LogKind.ALL_CLEAR, message, code=alarm.code, pool=pool, now=now, data=data)


def _of(pool_name: str) -> str:
    return f" (pool {pool_name})" if pool_name else ""


def _mail(subject: str, text: str) -> None:
    """Sent by a worker, after the commit."""
    if settings.ALERT_EMAILS:
        async_task(MAIL, f"[{settings.ORCHESTRATOR_ID}] {subject}", text, task_name="mail", group="mail")
