"""Alarms: what needs an operator first, as sentences with the page that helps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

from django.conf import settings
from django.urls import reverse

from pools.ages import ago
from pools.breaker import breaker_at, deletes_fail
from pools.console.fleet_page import FleetPicture
from pools.console.fleet_table import Verdict
from pools.fleet_log import turn_death, wrong_id
from pools.key_change import key_trouble
from pools.models import Mode, State

LISTING_OLD_SECONDS = 180  # a turn lists every minute, and may take its time


class Urgency(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Alarm:
    urgency: Urgency
    title: str
    detail: str
    url: str


def fleet_alarms(picture: FleetPicture) -> list[Alarm]:
    """Return what is wrong with the fleet, the worst first."""
    alarms = [*_cloud_alarms(picture), *_row_alarms(picture), *_pool_alarms(picture)]
    return sorted(alarms, key=lambda alarm: list(Urgency).index(alarm.urgency))


def _cloud_alarms(picture: FleetPicture) -> Iterator[Alarm]:
    fleet, now = picture.fleet, picture.now
    page = reverse("admin:pools_fleet_changelist")
    if fleet.token_refused_at is not None:
        detail = f"For {ago(fleet.token_refused_at, now)}: {fleet.listing_error} Set a working DIGITALOCEAN_TOKEN."
        yield Alarm(Urgency.ERROR, "DigitalOcean refuses the token", detail, page)
    elif fleet.listing_error:
        detail = f"{fleet.listing_error} Nothing is deleted or made for the pools until it works again."
        yield Alarm(Urgency.ERROR, "DigitalOcean can't be listed", detail, page)
    if trouble := key_trouble():
        yield Alarm(Urgency.ERROR, "SECRET_KEY was changed", trouble, page)
    if (death := turn_death(fleet)) is not None:
        detail = f"{death.data.get('why', death.message)}. Nothing is looked after until a turn ends well."
        yield Alarm(Urgency.ERROR, f"Turns die, the last {ago(death.at, now)} ago", detail, page)
    if fleet.listed_at is None:
        detail = "No turn has been taken yet: is a cluster running?"
        yield Alarm(Urgency.WARNING, "DigitalOcean was never listed", detail, page)
    elif (picture.listing_age_seconds or 0) > LISTING_OLD_SECONDS and not fleet.listing_error:
        detail = f"The last one is {ago(fleet.listed_at, now)} old. Turns come every minute: is a cluster running?"
        yield Alarm(Urgency.ERROR, "No listing for a while", detail, page)
    if fleet.stopped_at is not None:
        detail = f"{fleet.stopped_reason} Look at what would go, then let it go or put right what is wrong."
        title = f"Deletions are stopped for {ago(fleet.stopped_at, now)}"
        yield Alarm(Urgency.ERROR, title, detail, reverse("admin:pools_fleet_go"))
    if fleet.deletes_failing_since is not None and deletes_fail(fleet.deletes_failing_since, now):
        detail = f"For {ago(fleet.deletes_failing_since, now)}: {fleet.deletes_error} Nothing is created meanwhile."
        yield Alarm(Urgency.ERROR, "Deletions fail", detail, page)
    others = picture.count(Verdict.ANOTHERS)
    if others:
        detail = (
            f"{others} of the account's apps carry our mark, {settings.ORCHESTRATOR_ID}, and are not of this database. "
            "They are never touched, and take places of MAX_TOTAL_SANDBOXES. Give each orchestrator its own "
            "ORCHESTRATOR_ID. If this database was emptied or restored: `manage.py adopt`."
        )
        yield Alarm(
            Urgency.ERROR, "Another installation uses our mark", detail, f"{page}?verdict={quote(Verdict.ANOTHERS)}"
        )
    if (mistake := wrong_id(now)) is not None:
        detail = f"{mistake.sandbox_name}: {mistake.message}. It was not touched; its own app is looked for by name."
        yield Alarm(Urgency.ERROR, f"A wrong app id, {ago(mistake.at, now)} ago", detail, page)
    if fleet.maintenance:
        message = f"No launches; players read: {fleet.maintenance_message}"
        yield Alarm(Urgency.WARNING, "Maintenance mode is on", message, page)
    existing = others + sum(row.sandbox is not None and row.sandbox.state != State.DELETED for row in picture.rows)
    if existing >= settings.MAX_TOTAL_SANDBOXES:
        detail = f"{existing} of {settings.MAX_TOTAL_SANDBOXES} places are taken: launches may be refused."
        yield Alarm(Urgency.INFO, "The fleet is full", detail, page)


def _row_alarms(picture: FleetPicture) -> Iterator[Alarm]:
    page = reverse("admin:pools_fleet_changelist")
    told = {
        Verdict.ORPHAN: ("orphan", "It carries our mark and costs money, but we have no record of it."),
        Verdict.LOST: ("lost sandbox", "DigitalOcean does not have what we had; a run in it has ended."),
        Verdict.DRIFTING: ("drifting sandbox", "Our record and DigitalOcean's differ."),
    }
    for verdict, (what, detail) in told.items():
        if count := picture.count(verdict):
            plural = what if count == 1 else f"{what}es" if what.endswith("x") else f"{what}s"
            yield Alarm(Urgency.WARNING, f"{count} {plural}", detail, f"{page}?verdict={verdict}")


def _pool_alarms(picture: FleetPicture) -> Iterator[Alarm]:
    pools = {pool.pk: pool for pool in picture.pools}
    for facts in picture.explanation.facts.pools:
        page = reverse("admin:pools_pool_change", args=[facts.id])
        breaker = breaker_at(facts.outcomes, picture.now)
        if breaker.is_open or breaker.is_probing:
            title = f"The breaker of pool {facts.name} is {'open' if breaker.is_open else 'half-open'}"
            yield Alarm(Urgency.WARNING, title, f"{breaker.explanation}.", page)
        elif breaker.failures:
            title = f"Pool {facts.name} had failed creates"
            yield Alarm(Urgency.INFO, title, f"{breaker.explanation}.", page)
        if facts.mode != Mode.ACTIVE and facts.id in pools:
            title = f"Pool {facts.name} is {pools[facts.id].get_mode_display().lower()}"
            yield Alarm(Urgency.INFO, title, "It makes no sandboxes until somebody resumes it.", page)
