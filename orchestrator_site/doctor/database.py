"""The database, and what is in front of it."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import NotSupportedError

from orchestrator_site.doctor.checks import Finding, Seen, well
from orchestrator_site.doctor.codes import Code
from orchestrator_site.postgresql.clock import database_clock
from pools.leases import prove_writable

READ_ONLY = ("read-only", "readonly", "read only")
READ_COMMITTED = "read committed"
NAMED = 3  # migrations
LOCKED_SECONDS = 5


def database(_seen: Seen) -> Finding:
    """Whether it answers; the facts are by how much this machine's clock is ahead of its."""
    if settings.DATABASE_IS_SQLITE and not Path(connection.settings_dict["NAME"]).exists():
        return Finding(
            Code.DATABASE_MISSING, f"there is no file {connection.settings_dict['NAME']}"
        )  # opened, it is made
    try:
        connection.ensure_connection()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        version = ".".join(map(str, connection.get_database_version()))
    except NotSupportedError as error:
        return Finding(Code.DATABASE_OLD, _first_line(error))
    except DatabaseError as error:
        code = Code.DATABASE_READ_ONLY if _is_read_only(error) else Code.DATABASE_UNREACHABLE
        return Finding(code, _first_line(error))
    ahead_seconds = None if settings.DATABASE_IS_SQLITE else database_clock.machine_ahead_seconds()
    return well(f"{connection.display_name} {version}", ahead_seconds)


def writable(_seen: Seen) -> Finding:
    """Whether a row can be written, and soon."""
    try:
        _write_soon()
    except DatabaseError as error:
        code = Code.DATABASE_READ_ONLY if _is_read_only(error) else Code.DATABASE_NOT_WRITABLE
        return Finding(code, _first_line(error))
    return well("a row was written")


def _write_soon() -> None:
    """Wait for who holds it locked no longer than the doctor has time."""
    with connection.cursor() as cursor:
        if settings.DATABASE_IS_SQLITE:
            cursor.execute(f"PRAGMA busy_timeout = {LOCKED_SECONDS * 1000}")
            prove_writable()
            return
        with transaction.atomic():  # what is set for a session stays with it, and behind a pooler it is others', too
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCKED_SECONDS}s'")
            prove_writable()


def migrations(_seen: Seen) -> Finding:
    executor = MigrationExecutor(connection)
    pending = [f"{app}.{name}" for (app, name) in _names(executor)]
    if pending:
        return Finding(Code.MIGRATIONS_PENDING, f"missing: {_some(pending)}")
    known, done = executor.loader.disk_migrations, executor.loader.applied_migrations
    ours = {app for app, _ in known}
    replaced = {each for migration in known.values() for each in migration.replaces}
    unknown = sorted(f"{app}.{name}" for app, name in set(done) - set(known) - replaced if app in ours)
    if unknown:
        return Finding(Code.MIGRATIONS_UNKNOWN, f"not of this version: {_some(unknown)}")
    return well("all are there")


def _names(executor: MigrationExecutor) -> list[tuple[str, str]]:
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [(migration.app_label, migration.name) for migration, _ in plan]


def isolation(_seen: Seen) -> Finding:
    """Every change of ours is a compare-and-set that looks at the newest row."""
    if settings.DATABASE_IS_SQLITE:
        return well("SQLite: one writes at a time")
    with connection.cursor() as cursor:
        cursor.execute("SHOW default_transaction_isolation")
        found = cursor.fetchone()[0]
    return well(found) if found == READ_COMMITTED else Finding(Code.ISOLATION_OTHER, f"it is {found}")


def pooler(_seen: Seen) -> Finding:
    """Whether two connections of ours share one of the server's: then nobody hears its notifications."""
    if settings.DATABASE_IS_SQLITE:
        return well("none")
    if not _is_shared():
        return well("each connection has a session of its own")
    if settings.REDIS_URL:
        return well("a pooler in transaction mode; Redis wakes who waits")
    return Finding(
        Code.POOLER_WITHOUT_REDIS, "a pooler in transaction mode, and no REDIS_URL: nobody who waits is woken"
    )


def _is_shared() -> bool:
    """A pooler in transaction mode lends a session for a transaction: while one connection is in none, another may get
    the same; and while that one keeps it, the first gets a third."""
    one, other = connections["default"].copy(), connections["default"].copy()
    try:
        before = _session(one)
        other.set_autocommit(False)
        between = _session(other)
        return before == between or _session(one) != before
    finally:
        one.close()
        other.close()


def _session(on: BaseDatabaseWrapper) -> int:
    with on.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def _is_read_only(error: DatabaseError) -> bool:
    return any(words in str(error).lower() for words in READ_ONLY)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")
