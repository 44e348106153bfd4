"""The orchestrator log: every create, delete and decision with its reason, as numbered rows."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models.expressions import RawSQL

from pools import clock, request_ids, webhooks
from pools.about import about
from pools.cloud.fitting import storable
from pools.models import EventCursor, FleetEvent, Level, Pool, Sandbox
from pools.together import Together

logger = logging.getLogger("pools")
LOG_LEVELS = {Level.INFO: logging.INFO, Level.WARNING: logging.WARNING, Level.ERROR: logging.ERROR}


def line(
    kind: str,
    message: str,
    *,
    code: str = "",
    now: datetime | None = None,
    level: str = Level.INFO,
    sandbox: Sandbox | None = None,
    name: str = "",
    app_id: str = "",
    pool: Pool | None = None,
    run_id: UUID | None = None,
    actor: str = "",
    data: dict[str, Any] | None = None,
) -> FleetEvent:
    """Return a line that is yet to be written, without its number."""
    if sandbox is not None:
        name, app_id, pool = sandbox.name, sandbox.app_id or "", pool or sandbox.pool
    return FleetEvent(
        at=now or clock.now(),
        kind=kind,
        code=code,
        level=level,
        message=storable(message),
        sandbox_name=name,
        app_id=app_id,
        pool_name=pool.name if pool else "",
        run_id=run_id,
        actor=actor,
        data=request_ids.noted(data or {}),
    )


def record(kind: str, message: str, **fields: Any) -> FleetEvent:
    """Write one line, of `line`'s fields. Call it last in a transaction: it holds the cursor's row until the commit, so
    that numbers become visible in order and a reader that resumes from one misses nothing."""
    return write(line(kind, message, **fields))


@transaction.atomic(savepoint=False)
def write(event: FleetEvent) -> FleetEvent:
    """Write a line that `line` has made; the same holds."""
    event.seq = _next_seq()
    event.save(force_insert=True)
    webhooks.call_on_commit()
    _log(event)
    return event


def record_together(batch: Together, *lines: FleetEvent) -> None:
    """Have lines written with what else goes in one round trip; the same holds for the cursor's row. Who reads the log
    is to be woken by the caller, and webhooks hear of it with the next turn: a launch waits for neither."""
    table, count = EventCursor._meta.db_table, len(lines)
    batch.add(
        f"INSERT INTO {table} (name, last_seq) VALUES ('fleet', %s) "  # noqa: S608
        f"ON CONFLICT (name) DO UPDATE SET last_seq = {table}.last_seq + %s",
        [count, count],
    )
    for place, event in enumerate(lines, 1):
        event.seq = RawSQL(f"(SELECT last_seq FROM {table} WHERE name = 'fleet') - %s", [count - place])  # noqa: S608, S611
        _log(event)
    batch.insert(*lines)


def _log(event: FleetEvent) -> None:
    where = f" [{event.sandbox_name} {event.app_id}]".replace(" ]", "]") if event.sandbox_name else ""
    with about(run=event.run_id, sandbox=event.sandbox_name, app=event.app_id, pool=event.pool_name):
        logger.log(LOG_LEVELS[Level(event.level)], "%s%s", event.message, where)


def _next_seq() -> int:
    """The next number, and with it the cursor's row until the commit."""
    table = EventCursor._meta.db_table
    with connection.cursor() as cursor:
        # In one statement, because a launch waits for it three times; the ORM can't return what it updated.
        cursor.execute(f"UPDATE {table} SET last_seq = last_seq + 1 WHERE name = 'fleet' RETURNING last_seq")  # noqa: S608
        row = cursor.fetchone()
    if row is None:
        return EventCursor.objects.create(name="fleet", last_seq=1).last_seq
    return int(row[0])
