"""The PostgreSQL database that a move fills: whether it may, and what it needs before and after the rows."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, Error, connection
from django.db.migrations.loader import MigrationLoader
from django.db.utils import ConnectionHandler

from orchestrator_site import places
from orchestrator_site.environment import database_at
from orchestrator_site.moving.mark import NAME
from orchestrator_site.moving.rows import Refused, Table, last_number

MIGRATIONS = "django_migrations"
# What migrations write, and nobody else has changed yet: what is moved takes its place.
AFTER_MIGRATING = frozenset(
    {
        "auth_group",
        "auth_group_permissions",
        "auth_permission",
        "django_content_type",
        "django_q_schedule",
        "pools_eventcursor",
        "pools_fleet",
        MIGRATIONS,
    }
)


@contextmanager
def connected(address: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection with the limits of migrations. Raises Refused."""
    try:
        found = database_at(address, "The target")
    except ImproperlyConfigured as error:
        raise Refused(str(error)) from None
    target = ConnectionHandler({DEFAULT_DB_ALIAS: {}, NAME: found})[NAME]
    try:
        target.limit_for_migrations()  # type: ignore[attr-defined]  # ours
    except Error as error:
        raise Refused(f"The target can't be reached: {' '.join(str(error).split())}.") from None
    try:
        raw = target.connection
        if (encoding := raw.execute("SHOW server_encoding").fetchone()[0]) != "UTF8":
            raise Refused(f"The target keeps text as {encoding}: make a database with ENCODING 'UTF8'.")
        yield raw
    finally:
        target.close()


def place(target: psycopg.Connection[Any]) -> str:
    """Where it is, for people."""
    return f"{target.info.dbname} at {target.info.host}:{target.info.port}"


def require_empty(target: psycopg.Connection[Any], tables: Sequence[Table]) -> None:
    """Raises Refused unless there is nothing in it but what migrations of this version make."""
    found = _tables_of(target)
    ours = {MIGRATIONS, *(table.name for table in tables)}
    if others := sorted(found - ours):
        raise Refused(f"The target is not empty: it has a table {others[0]} that is none of ours. Name an empty one.")
    if unknown := sorted(_applied(target) - set(MigrationLoader(None).graph.nodes)):
        raise Refused(f"The target was made by another version, which has the migration {'.'.join(unknown[0])}.")
    for name in sorted(found - AFTER_MIGRATING):
        if target.execute(f'SELECT EXISTS (SELECT FROM "{name}")').fetchone()[0]:  # type: ignore[index]  # noqa: S608
            raise Refused(f"The target is not empty: {name} has rows. Name an empty database.")


def migrate(address: str, target: psycopg.Connection[Any]) -> None:
    """Make its tables, in a process whose database it is: what follows migrations is written there as well."""
    if not _missing(target):
        return
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL_FILE"}
    done = subprocess.run(
        [*places.MANAGE, "migrate", "--noinput", "--verbosity", "0"],
        env=places.for_python(environment | {"DATABASE_URL": address}), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Refused(f"The target can't be migrated: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    if missing := _missing(target):
        raise Refused(f"The target can't be migrated: {'.'.join(missing[0])} was not applied.")


def lock(target: psycopg.Connection[Any], tables: Sequence[Table]) -> None:
    """For this transaction, whose commit is on the disk, whatever the server usually does: the file closes next."""
    target.execute("SET LOCAL synchronous_commit = on")
    names = ", ".join(f'"{table.name}"' for table in tables)
    target.execute(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")


def empty(target: psycopg.Connection[Any], tables: Sequence[Table]) -> None:
    names = ", ".join(f'"{table.name}"' for table in tables)
    target.execute(f"TRUNCATE {names} RESTART IDENTITY")


def count_on(target: psycopg.Connection[Any], tables: Sequence[Table]) -> None:
    """New rows get numbers that no row had before."""
    for table in tables:
        if table.counts_up and (last := last_number(table)):
            sequence = [f'"{table.name}"', table.fields[table.key].column]
            target.execute("SELECT setval(pg_get_serial_sequence(%s, %s), %s)", [*sequence, last])


def require_whole(target: psycopg.Connection[Any]) -> None:
    """Raises Refused unless each row that another points to is there."""
    try:
        target.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except psycopg.IntegrityError as error:
        raise Refused(f"{error.diag.table_name}: {error.diag.message_detail}") from error


def require_as_many(target: psycopg.Connection[Any], table: Table, rows: int) -> None:
    found = target.execute(f'SELECT count(*) FROM "{table.name}"').fetchone()[0]  # type: ignore[index]  # noqa: S608
    if found != rows:
        raise Refused(f"{table.name} has {rows} rows, and {found} arrived.")


def _tables_of(target: psycopg.Connection[Any]) -> set[str]:
    """Those that a statement without a schema finds, but for the mark."""
    rows = target.execute(
        "SELECT c.relname FROM pg_class c WHERE c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid) "
        "AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"
    )
    return {name for (name,) in rows} - {NAME}


def _missing(target: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    """The migrations of this version that it does not have."""
    return sorted(set(MigrationLoader(None).graph.nodes) - _applied(target))


def _applied(target: psycopg.Connection[Any]) -> set[tuple[str, str]]:
    if MIGRATIONS not in _tables_of(target):
        return set()
    return set(target.execute(f"SELECT app, name FROM {MIGRATIONS}").fetchall())  # noqa: S608


def require_migrated_source() -> None:
    """Raises Refused unless this SQLite database has the tables of this version."""
    loader = MigrationLoader(connection)
    applied = set(loader.applied_migrations)
    ours = {node[0] for node in loader.graph.nodes}
    if missing := sorted(set(loader.graph.nodes) - applied):
        raise Refused(f"This database is not migrated ({'.'.join(missing[0])} is missing): run prepare first.")
    if unknown := sorted(node for node in applied - set(loader.graph.nodes) if node[0] in ours):
        raise Refused(f"This database was made by another version, which has the migration {'.'.join(unknown[0])}.")
