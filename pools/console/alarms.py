"""Alarms: what needs an operator first, as sentences with the page that helps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import quote

from django.conf import settings
from django.urls import reverse

from pools import here
from pools.ages import ago, is_over
from pools.alarm_rows import AlarmCode, AlarmInHand, RaisedAlarm, occurrence_of
from pools.alarms import Standing
from pools.breaker import breaker_at, deletes_fail
from pools.cloud.budget import Share
from pools.cloud.errors import EmptyListing
from pools.console.fleet_page import FleetPicture
from pools.console.fleet_table import Row
from pools.fleet_log import miscount, turn_death, wrong_id
from pools.key_change import key_trouble
from pools.models import FleetEvent, Mode, State
from pools.runbook import SECTION_OF, Section
from pools.shared_budget import seen
from pools.turn.plan_looks import are_most_silent, is_looked_at, is_silent
from pools.turn.verdict import Verdict

LISTING_OLD_SECONDS = 180  # a turn lists every minute, and may take its time
FEW_REQUESTS = 400  # a tenth of what an hour has for listings
OVERDUE_SECONDS = 600  # a deletion takes about a minute
TRIES_TO_WAKE = 3  # that failed: one may, and the next one works


class Urgency(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Alarm:
    """What an operator reads: `url` leads to the page that helps, `section` to what to do about it. One that has an
    `occurrence` can be taken in hand; one that `is_news` is not shown any more then. `subject`: as it is told."""

    urgency: Urgency
    title: str
    detail: str
    url: str
    section: Section
    subject: str = ""
    occurrence: str = ""
    is_news: bool = False
    in_hand: AlarmInHand | None = None


def fleet_alarms(picture: FleetPicture) -> list[Alarm]:
    """Return what is wrong with the fleet, the worst first."""
    raised = RaisedAlarm.objects.in_bulk()
    kinds = (_cloud_alarms, _deletion_alarms, _account_alarms, _row_alarms, _pool_alarms)
    found = [alarm for kind in kinds for alarm in kind(picture)]
    shown = {alarm.subject for alarm in found}
    told = [*raised.values(), *here.STANDING.values()]
    found += [_told(each) for each in told if each.subject not in shown]
    found = [
        replace(alarm, occurrence=raised[alarm.subject].occurrence) if alarm.subject in raised else alarm
        for alarm in found
    ]
    return worst_first(with_hands(found))


def worst_first(alarms: Iterable[Alarm]) -> list[Alarm]:
    return sorted(alarms, key=lambda alarm: list(Urgency).index(alarm.urgency))


def with_hands(alarms: Iterable[Alarm]) -> list[Alarm]:
    """The same with who has which in hand; without news that somebody has."""
    found = list(alarms)
    hands = AlarmInHand.objects.in_bulk([alarm.occurrence for alarm in found if alarm.occurrence])
    noted = [replace(alarm, in_hand=hands.get(alarm.occurrence)) for alarm in found]
    return [alarm for alarm in noted if not (alarm.is_news and alarm.in_hand)]


def _told(raised: RaisedAlarm) -> Alarm:
    """One that no figure of the page shows: as it was told."""
    page, section = reverse("admin:pools_fleet_changelist"), SECTION_OF[AlarmCode(raised.code)]
    return Alarm(Urgency.ERROR, raised.title, raised.detail, page, section, raised.subject)


def _cloud_alarms(picture: FleetPicture) -> Iterator[Alarm]:
    fleet, now = picture.fleet, picture.now
    page = reverse("admin:pools_fleet_changelist")
    if fleet.token_refused_at is not None:
        detail = f"For {ago(fleet.token_refused_at, now)}: {fleet.listing_error} Set a working DIGITALOCEAN_TOKEN."
        yield Alarm(
            Urgency.ERROR, "DigitalOcean refuses the token", detail, page, Section.TOKEN, AlarmCode.TOKEN_REFUSED
        )
    elif fleet.listing_code == EmptyListing.code:
        detail = "It is empty, though sandboxes were expected: each is asked for by its id, and none deleted meanwhile."
        title = "DigitalOcean's listing is not believed"
        yield Alarm(Urgency.ERROR, title, detail, page, Section.CLOUD, AlarmCode.LISTING_FAILS)
    elif fleet.listing_error:
        detail = f"{fleet.listing_error} Nothing is deleted or made for the pools until it works again."
        yield Alarm(Urgency.ERROR, "DigitalOcean can't be listed", detail, page, Section.CLOUD, AlarmCode.LISTING_FAILS)
    if trouble := key_trouble():
        yield Alarm(Urgency.ERROR, "SECRET_KEY was changed", trouble, page, Section.SECRET_KEY)
    if (death := turn_death(fleet)) is not None:
        detail = f"{death.data.get('why', death.message)}. Nothing is looked after until a turn ends well."
        title = f"Turns die, the last {ago(death.at, now)} ago"
        yield Alarm(Urgency.ERROR, title, detail, page, Section.TURNS, AlarmCode.TURNS_DIE)
    if fleet.listed_at is None:
        detail = "No turn has been taken yet: is a cluster running?"
        yield Alarm(Urgency.WARNING, "DigitalOcean was never listed", detail, page, Section.NO_CLUSTER)
    elif (picture.listing_age_seconds or 0) > LISTING_OLD_SECONDS and not fleet.listing_error:
        detail = f"The last one is {ago(fleet.listed_at, now)} old. Turns come every minute: is a cluster running?"
        yield Alarm(Urgency.ERROR, "No listing for a while", detail, page, Section.NO_CLUSTER)
    looked_at = [sandbox for sandbox in picture.explanation.facts.sandboxes if is_looked_at(sandbox)]
    if are_most_silent(looked_at):
        silent = sum(is_silent(sandbox) for sandbox in looked_at)
        detail = (
            "So many at once are taken for our own network: none of them is given up. Can they be reached from here?"
        )
        yield Alarm(
            Urgency.ERROR,
            f"{silent} of {len(looked_at)} sandboxes do not answer",
            detail,
            page,
            Section.SILENT_SANDBOXES,
        )


def _deletion_alarms(picture: FleetPicture) -> Iterator[Alarm]:
    fleet, now = picture.fleet, picture.now
    page = reverse("admin:pools_fleet_changelist")
    if fleet.stopped_at is not None:
        detail = f"{fleet.stopped_reason.rstrip('.')}. Look at what would go; let it go, or put right what is wrong."
        title = f"Deletions are stopped for {ago(fleet.stopped_at, now)}"
        held_back = reverse("admin:pools_fleet_go")
        yield Alarm(Urgency.ERROR, title, detail, held_back, Section.STOPPED, AlarmCode.DELETIONS_STOPPED)
    if fleet.deletes_failing_since is not None and deletes_fail(fleet.deletes_failing_since, now):
        detail = f"For {ago(fleet.deletes_failing_since, now)}: {fleet.deletes_error} Nothing is created meanwhile."
        yield Alarm(Urgency.ERROR, "Deletions fail", detail, page, Section.REFUSED_DELETE, AlarmCode.DELETIONS_FAIL)
    due = [(at, row.name, row.tried) for row in picture.rows if (at := _due_at(row, picture)) is not None]
    overdue = sorted(each for each in due if is_over(each[0], OVERDUE_SECONDS, now))
    if overdue:
        at, name, tried = overdue[0]
        title = "1 app is not deleted" if len(overdue) == 1 else f"{len(overdue)} apps are not deleted"
        detail = f"{name} has been due for {ago(at, now)}, and still costs money: {tried}."
        yield Alarm(Urgency.ERROR, title, detail, page, Section.REFUSED_DELETE)
    if refused := picture.refused:
        first = refused[0]
        title = "1 deletion is refused" if len(refused) == 1 else f"{len(refused)} deletions are refused"
        is_lasting = first.judgement.refused_tries >= TRIES_TO_WAKE
        urgency = Urgency.ERROR if is_lasting else Urgency.WARNING
        detail, found = f"{first.name}: {first.tried}.", f"{page}?q={quote(first.name)}"
        yield Alarm(urgency, title, detail, found, Section.REFUSED_DELETE, AlarmCode.DELETE_REFUSED)


def _due_at(row: Row, picture: FleetPicture) -> datetime | None:
    """Return since when it is to be deleted, or None when it is not."""
    if row.sandbox is not None:
        return row.sandbox.delete_requested_at if row.sandbox.state == State.DELETING else None
    if row.app is None or row.app.orphan_since is None:
        return None
    return row.app.orphan_since + timedelta(seconds=picture.explanation.facts.orphan_grace_seconds)


def _account_alarms(picture: FleetPicture) -> Iterator[Alarm]:
    fleet, now = picture.fleet, picture.now
    page = reverse("admin:pools_fleet_changelist")
    others = picture.count(Verdict.ANOTHERS)
    if others:
        detail = (
            f"{others} of the account's apps carry our mark, {settings.ORCHESTRATOR_ID}, and are not of this database. "
            "They are never touched, and take places of MAX_TOTAL_SANDBOXES. Give each orchestrator its own "
            "ORCHESTRATOR_ID. If this database was emptied or restored: `manage.py adopt`."
        )
        theirs = f"{page}?verdict={quote(Verdict.ANOTHERS)}"
        yield Alarm(Urgency.ERROR, "Another installation uses our mark", detail, theirs, Section.SHARED_MARK)
    if (mistake := wrong_id(now)) is not None:
        detail = f"{mistake.sandbox_name}: {mistake.message}. It was not touched; its own app is looked for by name."
        title = f"A wrong app id, {ago(mistake.at, now)} ago"
        yield _news(Alarm(Urgency.ERROR, title, detail, page, Section.DRIFT), mistake)
    if (mistake := miscount(now)) is not None:
        detail = f"{mistake.message} It was put right. Does an older version launch in this database, too?"
        title = f"Launches were miscounted, {ago(mistake.at, now)} ago"
        yield _news(Alarm(Urgency.WARNING, title, detail, page, Section.DRIFT), mistake)
    budget = seen(fleet)
    if (left := budget.hour_left(Share.LISTING)) < FEW_REQUESTS:
        pace = budget.pace_seconds()
        detail = (
            f"{left} are left for listings: {pace:.0f} s are between two pages of them. "
            "Launches and deletions have shares of their own."
        )
        yield Alarm(Urgency.WARNING, "The hour's requests run out", detail, page, Section.CLOUD)
    if fleet.maintenance:
        message = f"No launches; players read: {fleet.maintenance_message}"
        yield Alarm(Urgency.WARNING, "Maintenance mode is on", message, page, Section.SWITCHED_OFF)
    places = picture.places
    if not places.free:
        detail = f"{places.sentence}: launches may be refused."
        yield Alarm(Urgency.INFO, "The fleet is full", detail, page, Section.FULL)


def _news(alarm: Alarm, line: FleetEvent) -> Alarm:
    """About something that happened once: whoever has it need not see it again."""
    return replace(alarm, occurrence=occurrence_of(line.code, line.seq), is_news=True)


def _row_alarms(picture: FleetPicture) -> Iterator[Alarm]:
    page = reverse("admin:pools_fleet_changelist")
    told = {
        Verdict.ORPHAN: (
            "orphan",
            "It carries our mark and costs money, but we have no record of it.",
            Section.ORPHANS,
        ),
        Verdict.LOST: (
            "lost sandbox",
            "DigitalOcean, asked by its id, does not have it. It is replaced.",
            Section.DRIFT,
        ),
        Verdict.MISSING: (
            "sandbox missing from the listing",
            "Each is asked for by its id; who plays in it plays on.",
            Section.DRIFT,
        ),
        Verdict.DRIFTING: ("drifting sandbox", "Our record and DigitalOcean's differ.", Section.DRIFT),
    }
    for verdict, (what, detail, section) in told.items():
        # One that was lost, and whose record is closed, needs nobody any more.
        rows = [row for row in picture.rows if row.verdict == verdict and row.is_open]
        if count := len(rows):
            plural = what if count == 1 else what.replace("sandbox", "sandboxes").replace("orphan", "orphans")
            subject = AlarmCode.ORPHANS if verdict == Verdict.ORPHAN else ""
            yield Alarm(Urgency.WARNING, f"{count} {plural}", detail, f"{page}?verdict={verdict}", section, subject)


def _pool_alarms(picture: FleetPicture) -> Iterator[Alarm]:
    pools = {pool.pk: pool for pool in picture.pools}
    for facts in picture.explanation.facts.pools:
        page = reverse("admin:pools_pool_change", args=[facts.id])
        breaker = breaker_at(facts.outcomes, picture.now)
        if breaker.is_open or breaker.is_probing:
            title = f"The breaker of pool {facts.name} is {'open' if breaker.is_open else 'half-open'}"
            subject = Standing(AlarmCode.BREAKER_OPEN, "", facts.name).subject
            yield Alarm(Urgency.WARNING, title, f"{breaker.explanation}.", page, Section.BREAKER, subject)
        elif breaker.failures:
            title = f"Pool {facts.name} had failed creates"
            yield Alarm(Urgency.INFO, title, f"{breaker.explanation}.", page, Section.BREAKER)
        if facts.mode != Mode.ACTIVE and facts.id in pools:
            title = f"Pool {facts.name} is {pools[facts.id].get_mode_display().lower()}"
            yield Alarm(
                Urgency.INFO, title, "It makes no sandboxes until somebody resumes it.", page, Section.SWITCHED_OFF
            )
