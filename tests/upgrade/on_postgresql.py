"""A SQLite database of an earlier version, as that version would have had it on PostgreSQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

# They made the tables; migrating writes these rows itself.
NOT_COPIED = ("sqlite_sequence", "django_migrations")


def load(file: str) -> None:
    """Migrate the database in use as far as that version went (landed migrations are never edited), and put its rows
    there in place of those that the migrations made."""
    from django.db import connection, transaction
    from django.db.migrations.executor import MigrationExecutor

    with closing(sqlite3.connect(file)) as earlier:
        earlier.row_factory = sqlite3.Row
        # The last one of each app.
        targets = dict(earlier.execute("SELECT app, name FROM django_migrations ORDER BY app, name").fetchall())
        MigrationExecutor(connection).migrate(list(targets.items()))
        names = [name for (name,) in earlier.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        tables = {name: earlier.execute(f"SELECT * FROM {name}").fetchall() for name in names if name not in NOT_COPIED}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # tables come in any order
        cursor.execute("SET LOCAL TimeZone = 'UTC'")
        cursor.execute(f"TRUNCATE {', '.join(tables)}")
        for name, rows in tables.items():
            for row in rows:
                columns, places = ", ".join(f'"{each}"' for each in row.keys()), ", ".join(["%s"] * len(row))  # noqa: SIM118
                cursor.execute(f"INSERT INTO {name} ({columns}) VALUES ({places})", [_written(each) for each in row])
            if rows and "id" in rows[0].keys() and isinstance(rows[0]["id"], int):  # noqa: SIM118
                cursor.execute(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM {name}")


def _written(value: Any) -> Any:
    """As text, which PostgreSQL reads as the column's type: SQLite has no booleans, times or UUIDs."""
    return value if value is None or isinstance(value, bytes) else str(value)
