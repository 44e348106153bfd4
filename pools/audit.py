"""The audit trail: who did what, when, to what and why, newest first.

It is the lines of the orchestrator log that somebody caused, with all about signing in, and those of Django's admin
about what has no lines there: accounts, groups, schedules.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.db.models import BooleanField, Q, QuerySet
from django.db.models.expressions import RawSQL

from pools.keyset import LOOKED_AT, Position, cursor_of, position_of
from pools.models import FleetEvent

ADMIN = "admin"  # the kind of what only Django's admin has written down
CODES = {ADDITION: "added", CHANGE: "changed", DELETION: "deleted"}
# What operators do to these is in the orchestrator log as well.
LOGGED = {
    "pools": ("fleet", "pool", "sandbox", "cloudapp", "apikey"),
    "runs": ("run",),
    "django_q": ("task", "success", "failure"),
}
# In the words of the indexes, with which alone SQLite takes them.
CAUSED = "(pools_fleetevent.actor > '' OR pools_fleetevent.kind = 'sign_in')"
BY_SOMEBODY = "pools_fleetevent.actor > ''"
IDS = 2**64  # of each source
HIGHEST_ID = 2**63 - 1
LOG, DJANGO = 1, 0


@dataclass(frozen=True, slots=True)
class Asked:
    """Which acts: those that are all that is said. `to` is exclusive."""

    limit: int
    cursor: str | None = None
    actor: str | None = None
    kind: str | None = None
    since: datetime | None = None
    to: datetime | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """`about` names what was acted on; `data` has what else was written down, as the request's id."""

    position: Position
    actor: str
    kind: str
    code: str
    message: str
    about: str
    data: dict[str, Any]


class Acts(NamedTuple):
    acts: Sequence[Act]
    next_cursor: str | None


def acts(asked: Asked) -> Acts:
    """One page. A kind is looked for among the next LOOKED_AT acts, so a page can be short and have a next one all the
    same. Raises Problem for a cursor that is none."""
    after = position_of(asked.cursor) if asked.cursor else None
    most = LOOKED_AT if asked.kind else asked.limit + 1
    sources: list[Iterable[Act]] = []
    if asked.kind != ADMIN:
        sources.append(_from_the_log(asked, after, most))
    if asked.kind in (None, ADMIN):
        sources.append(_from_django(asked, after, most))
    merged = islice(heapq.merge(*sources, key=lambda act: act.position, reverse=True), most)
    found: list[Act] = []
    last, looked_at = None, 0
    for act in merged:
        if len(found) == asked.limit:
            return Acts(found, cursor_of(found[-1].position))
        last, looked_at = act, looked_at + 1
        if asked.kind in (None, act.kind):
            found.append(act)
    is_more = last is not None and looked_at == most
    return Acts(found, cursor_of(last.position) if is_more and last else None)


def _from_the_log(asked: Asked, after: Position | None, most: int) -> Iterator[Act]:
    rows = FleetEvent.objects.filter(_said(BY_SOMEBODY if asked.actor else CAUSED))
    if asked.actor:
        rows = rows.filter(actor=asked.actor)
    for event in _beyond(_within(rows, "at", asked), "at", LOG, after)[:most]:
        about = event.pool_name or event.sandbox_name or (f"run {event.run_id}" if event.run_id else event.app_id)
        position = Position(event.at, _id(LOG, event.pk))
        yield Act(position, event.actor, event.kind, event.code, event.message, about, event.data)


def _from_django(asked: Asked, after: Position | None, most: int) -> Iterator[Act]:
    rows = LogEntry.objects.select_related("user", "content_type")
    for app, models in LOGGED.items():
        rows = rows.exclude(content_type__app_label=app, content_type__model__in=models)
    if asked.actor:
        rows = rows.filter(user__username=asked.actor)
    for entry in _beyond(_within(rows, "action_time", asked), "action_time", DJANGO, after)[:most]:
        about = f"{entry.content_type.name if entry.content_type else 'object'} {entry.object_repr}"
        code, change = CODES[entry.action_flag], entry.get_change_message()
        message = f"{about} {code}: {change}" if change else f"{about} {code}"
        position = Position(entry.action_time, _id(DJANGO, entry.pk))
        yield Act(position, entry.user.get_username(), ADMIN, code, message, about, {})


def _within(rows: QuerySet[Any], at: str, asked: Asked) -> QuerySet[Any]:
    """Those of the time that is asked for, newest first by the field `at`."""
    if asked.since is not None:
        rows = rows.filter(**{f"{at}__gte": asked.since})
    if asked.to is not None:
        rows = rows.filter(**{f"{at}__lt": asked.to})
    return rows.order_by(f"-{at}", "-pk")


def _beyond(rows: QuerySet[Any], at: str, source: int, position: Position | None) -> QuerySet[Any]:
    """Those of a source that come after the position."""
    if position is None:
        return rows
    its_source, its_id = divmod(position.id.int, IDS)
    rows = rows.filter(**{f"{at}__lte": position.at})
    earlier = Q(**{f"{at}__lt": position.at})
    if source == its_source:
        return rows.filter(earlier | Q(pk__lt=min(its_id, HIGHEST_ID)))
    return rows.filter(earlier) if source > its_source else rows


def _id(source: int, pk: int) -> UUID:
    """A row's place among those of one moment."""
    return UUID(int=source * IDS + pk)


def _said(sql: str) -> Any:
    return RawSQL(sql, (), output_field=BooleanField())  # noqa: S611  constants of this module
