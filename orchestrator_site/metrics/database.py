"""Times the statements of each connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import OperationalError

from orchestrator_site.metrics.meters import LOCK_TIMEOUTS, OTHER, STATEMENT_SECONDS, VERBS
from pools import clock

LOCK_NOT_AVAILABLE = "55P03"


def time_statements(connection: Any, **_: Any) -> None:
    """A receiver of `connection_created`. A connection that was made anew keeps its wrappers."""
    if timed not in connection.execute_wrappers:
        connection.execute_wrappers.append(timed)


def timed(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    began = clock.monotonic()
    try:
        return execute(sql, params, many, context)
    except OperationalError as error:
        if is_lock_timeout(error):
            LOCK_TIMEOUTS.add()
        raise
    finally:
        STATEMENT_SECONDS.note(clock.monotonic() - began, verb_of(sql))


def verb_of(sql: Any) -> str:
    verb = str(sql).lstrip()[:6].strip().lower()
    return verb if verb in VERBS else OTHER


def is_lock_timeout(error: OperationalError) -> bool:
    return getattr(error.__cause__, "sqlstate", "") == LOCK_NOT_AVAILABLE or "database is locked" in str(error)
