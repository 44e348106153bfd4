"""The orchestrator log: every create, delete and decision with its reason, as numbered rows."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from pools.cloud.fitting import storable
from pools.models import EventCursor, FleetEvent, Level, Pool, Sandbox

logger = logging.getLogger("pools")
LOG_LEVELS = {Level.INFO: logging.INFO, Level.WARNING: logging.WARNING, Level.ERROR: logging.ERROR}


@transaction.atomic(savepoint=False)
def record(
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
    """Write one line. Call it last in a transaction: it holds the cursor's row until the commit, so that numbers
    become visible in order and a reader that resumes from one misses nothing."""
    if sandbox is not None:
        name, app_id, pool = sandbox.name, sandbox.app_id or "", pool or sandbox.pool
    message = storable(message)
    event = FleetEvent.objects.create(
        seq=_next_seq(),
        at=now or timezone.now(),
        kind=kind,
        code=code,
        level=level,
        message=message,
        sandbox_name=name,
        app_id=app_id,
        pool_name=pool.name if pool else "",
        run_id=run_id,
        actor=actor,
        data=data or {},
    )
    logger.log(LOG_LEVELS[Level(level)], "%s%s", message, f" [{name} {app_id}]".replace(" ]", "]") if name else "")
    return event


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
