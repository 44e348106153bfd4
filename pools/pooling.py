"""Sessions of PostgreSQL's, and whether a pooler shares them: PgBouncer in transaction mode gives each transaction
whichever session is free, tells nobody, and who waits for a notification hears none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connections

if TYPE_CHECKING:
    from psycopg import Connection

SHARED = (
    "PostgreSQL's sessions are shared, as by PgBouncer in transaction mode: nobody is woken, and tasks and lines may "
    "be a second late. Set REDIS_URL, or pool by session."
)
PROCESS = "SELECT pg_backend_pid()"


def connect(using: str) -> Connection[Any]:
    """A connection of its own to that database, with the limits of all others. Raises psycopg.Error."""
    import psycopg

    parameters = connections[using].get_connection_params()
    for name in ("cursor_factory", "context"):  # what only Django's own connections know
        parameters.pop(name, None)
    connection: Connection[Any] = psycopg.connect(**parameters, autocommit=True)
    for limit in connections[using].settings_dict.get("LIMITS", {}).items():
        connection.execute("SELECT set_config(%s, %s, false)", limit)
    return connection


def are_sessions_shared(using: str) -> bool:
    """Whether two connections get one session, or one gets two: each session has a process of its own in the server.
    Raises psycopg.Error."""
    with connect(using) as one, connect(using) as other:
        before = _process(one)
        with other.transaction():  # it keeps its session meanwhile
            return _process(other) == before or _process(one) != before


def _process(connection: Connection[Any]) -> int:
    ((process,),) = connection.execute(PROCESS).fetchall()
    return int(process)
