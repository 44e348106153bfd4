"""Bulk work: many deletions that an operator has ordered at once. Each turn begins some, so that it can be watched,
paused and stopped: to what is not begun nothing was done, and it serves on.

A key names a sandbox or an app, as the fleet's table has it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from pools import claims, journal
from pools.bulk_rows import BulkState, BulkWork
from pools.leases import LeaseLost
from pools.models import LIVE, CloudApp, Fleet, Level, Sandbox, State
from pools.nudge import nudge
from pools.ownership import Standing, names_with_rows, our_mark
from pools.reasons import EndCode, LogKind

BEGUN_A_TURN = 40  # no more than a turn deletes
PAUSE_SECONDS = 2.0  # between two turns while there is more
SHOWN_FOR = timedelta(minutes=10)  # after its end
FEW = 10  # so many have to be gone before it is said how long the others take
IDS_A_QUERY = 500
logger = logging.getLogger(__name__)
OPEN = (BulkState.RUNNING, BulkState.PAUSED)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a bulk work has come."""

    work: BulkWork
    gone: int
    left_seconds: float | None

    @property
    def sentence(self) -> str:
        """Such as "212 of 500 gone, about 3 min left"."""
        said = f"{self.gone} of {self.work.total} gone"
        if self.work.state == BulkState.STOPPED:
            return f"{said}, {len(self.work.waiting)} left alone"
        if self.work.state == BulkState.PAUSED:
            return f"{said}, {len(self.work.waiting)} wait while it is paused"
        if self.work.state == BulkState.DONE or self.left_seconds is None:
            return said
        minutes = round(self.left_seconds / 60)
        return f"{said}, about {minutes} min left" if minutes else f"{said}, less than a minute left"


@transaction.atomic
def begin(what: str, keys: Sequence[str], code: EndCode, *, actor: str, reason: str, now: datetime) -> BulkWork:
    """Order the deletion of all these; the next turns see to it."""
    Fleet.lock()
    keys = list(dict.fromkeys(keys))
    work = BulkWork.objects.create(
        what=what, code=code, waiting=keys, total=len(keys), actor=actor, reason=reason, started_at=now
    )
    nudge()
    _note(work, f"{work} begins", actor=actor, reason=reason, now=now)
    return work


@transaction.atomic
def move(work: BulkWork, to: BulkState, *, actor: str, reason: str, now: datetime) -> bool:
    """Needs RUNNING, or PAUSED; to go on PAUSED. Leaves it so. False when it is not, or somebody was first."""
    Fleet.lock()
    frm = [BulkState.PAUSED] if to == BulkState.RUNNING else [state for state in OPEN if state != to]
    ended_at = now if to == BulkState.STOPPED else None
    if not BulkWork.objects.filter(pk=work.pk, state__in=frm).update(state=to, ended_at=ended_at):
        return False
    work.refresh_from_db()
    nudge()
    words = {BulkState.PAUSED: "is paused", BulkState.RUNNING: "goes on", BulkState.STOPPED: "is stopped"}
    _note(work, f"{work} {words[to]}: {progress(work, now).sentence}", actor=actor, reason=reason, now=now)
    return True


def is_under_way() -> bool:
    return BulkWork.objects.filter(state=BulkState.RUNNING).exclude(waiting=[]).exists()


def go_on(now: datetime) -> None:
    """Begin some of the oldest work that is under way, and close what is done."""
    for work in BulkWork.objects.filter(state=BulkState.RUNNING).order_by("started_at", "pk"):
        if work.waiting:
            _begin_some(work.pk, now)
            return
        if progress(work, now).gone >= len(work.begun):
            _close(work, now)


@transaction.atomic
def _begin_some(work_id: int, now: datetime) -> None:
    fleet = Fleet.lock()  # whoever pauses or stops it waits for the same
    if fleet.deletes_failing_since is not None or fleet.listing_error:
        return  # what can't be deleted is not ended, either
    work = BulkWork.objects.filter(pk=work_id, state=BulkState.RUNNING).first()
    unsent = Sandbox.objects.filter(state=State.DELETING, delete_sent_at=None).count()
    unsent += CloudApp.objects.exclude(delete_reason="").filter(delete_sent_at=None).count()
    most = max(0, BEGUN_A_TURN - unsent)
    if work is None or not most:
        return
    some = work.waiting[:most]
    BulkWork.objects.filter(pk=work.pk).update(waiting=work.waiting[most:], begun=[*work.begun, *some])
    for key in some:
        try:
            with transaction.atomic():
                _order(work, key, now)
        except LeaseLost:
            raise
        except Exception:  # one that can't be begun must not end every turn
            logger.exception("%s could not be begun.", key)


def _order(work: BulkWork, key: str, now: datetime) -> None:
    kind, _, name = key.partition(":")
    why = f"{work.what} by an operator: {work.reason}"
    if kind == "sandbox":
        code = EndCode(work.code)
        claims.retire(UUID(name), code, why, now, frm=LIVE, actor=work.actor, level=Level.WARNING)
    elif (app := CloudApp.objects.filter(pk=name, delete_reason="").first()) and _is_still_meant(app):
        CloudApp.objects.filter(pk=name).update(delete_reason=why)
        told = {"name": app.name, "app_id": app.app_id, "actor": work.actor, "level": Level.WARNING}
        journal.record(LogKind.DELETE, why, code=work.code, now=now, **told)


def _is_still_meant(app: CloudApp) -> bool:
    """An app was ordered as one of ours without a row. By now it may be a sandbox's, or not carry our mark any more."""
    if Sandbox.objects.existing().filter(app_id=app.app_id).exists():
        return False
    had_row = bool(names_with_rows([app.name]))
    return app.adopted_at is not None or our_mark().standing(app, had_row=had_row) == Standing.OURS


@transaction.atomic
def _close(work: BulkWork, now: datetime) -> None:
    same = BulkWork.objects.filter(pk=work.pk, state=BulkState.RUNNING, waiting=[])
    if same.update(state=BulkState.DONE, ended_at=now):
        _note(work, f"{work} is done", now=now)


def progress(work: BulkWork, now: datetime) -> Progress:
    """How many of its sandboxes and apps are gone, and about how long the others take at that pace."""
    gone = len(work.begun) - len(_still_there(work.begun))
    left = None
    if work.state == BulkState.RUNNING and gone >= FEW:
        left = (now - work.started_at).total_seconds() / gone * (work.total - gone)
    return Progress(work, gone, left)


def _still_there(keys: Collection[str]) -> list[str]:
    by_kind: dict[str, list[str]] = {"sandbox": [], "app": []}
    for key in keys:
        kind, _, name = key.partition(":")
        by_kind[kind].append(name)
    found: list[object] = []
    for start in range(0, max(map(len, by_kind.values())), IDS_A_QUERY):
        some = slice(start, start + IDS_A_QUERY)
        found += Sandbox.objects.existing().filter(pk__in=by_kind["sandbox"][some]).values_list("pk", flat=True)
        found += CloudApp.objects.filter(pk__in=by_kind["app"][some]).values_list("pk", flat=True)
    return [str(each) for each in found]


def shown(now: datetime) -> list[Progress]:
    """Return what operators see: the work that is not over, and what ended a moment ago."""
    works = [*BulkWork.objects.filter(state__in=OPEN), *BulkWork.objects.filter(ended_at__gt=now - SHOWN_FOR)]
    return [progress(work, now) for work in works]


def _note(work: BulkWork, said: str, *, now: datetime, actor: str = "", reason: str = "") -> None:
    told = f"{said}; an operator: {reason}" if reason else said
    journal.record(LogKind.BULK, told, actor=actor, level=Level.WARNING, data={"bulk": work.pk}, now=now)
