"""Django's PostgreSQL backend, for more than one machine: its connections have limits, never stay with a server that
can't be written to, and tell this process the database's time."""

from __future__ import annotations

import select
from collections.abc import Mapping
from typing import Any

from django.db.backends.postgresql import base

from orchestrator_site.metrics.meters import CONNECT_SECONDS
from orchestrator_site.postgresql.clock import database_clock, install
from pools import clock

# Limits that no statement of a migration meets, and that still end what hangs for good.
MIGRATION_LIMITS = {
    "lock_timeout": "60s",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "10min",
}
PROVEN_SECONDS = 2.0  # how long a quiet connection is believed to be one to the server that is written to


class DatabaseWrapper(base.DatabaseWrapper):
    """`LIMITS` in its settings are the session's settings, by PostgreSQL's own names. They are set by a statement, not
    by the connection's `options`: poolers refuse those."""

    proven_at_seconds = 0.0

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        began = clock.steady()
        connection = super().get_new_connection(conn_params)
        CONNECT_SECONDS.note(clock.steady() - began)
        try:
            connection.autocommit = True  # what is set in a transaction goes with it
            self._limit(connection, self.settings_dict.get("LIMITS", {}))
            asked_at = clock.steady()
            row = connection.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
            database_clock.note(float(row[0]), asked_at)
            self.proven_at_seconds = asked_at
            install()
        except BaseException:
            connection.close()
            raise
        return connection

    def is_usable(self) -> bool:
        """False as well when the server has become read-only: the next connection finds the one to write to."""
        if self.connection is None:
            return False
        asked_at = clock.steady()
        try:
            with self.connection.cursor() as cursor:
                row = cursor.execute(
                    "SELECT current_setting('transaction_read_only'), extract(epoch FROM clock_timestamp())"
                ).fetchone()
        except self.Database.Error:
            return False
        database_clock.note(float(row[1]), asked_at)
        is_writable = bool(row[0] == "off")
        self.proven_at_seconds = asked_at if is_writable else 0.0
        return is_writable

    def close_if_health_check_failed(self) -> None:
        """At the first query of each request. One that was proven a moment ago costs no question: a server that goes
        says so on the connection."""
        if self.health_check_done:  # type: ignore[has-type]
            return
        if self._is_open_and_quiet() and clock.steady() - self.proven_at_seconds < PROVEN_SECONDS:
            self.health_check_done = True
        super().close_if_health_check_failed()

    def _is_open_and_quiet(self) -> bool:
        if self.connection is None or self.connection.closed:
            return False
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return not poll.poll(0)

    @staticmethod
    def _limit(connection: Any, limits: Mapping[str, str]) -> None:
        if limits:
            calls = ", ".join(["set_config(%s, %s, false)"] * len(limits))
            connection.execute(f"SELECT {calls}", [part for limit in limits.items() for part in limit])

    def limit_for_migrations(self) -> None:
        """Until `limit_as_usual`: this session's statements may take as long as migrations do."""
        self.ensure_connection()
        self._limit(self.connection, MIGRATION_LIMITS)

    def limit_as_usual(self) -> None:
        if self.connection is not None:
            self._limit(self.connection, self.settings_dict.get("LIMITS", {}))
