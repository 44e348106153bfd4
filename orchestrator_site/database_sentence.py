"""Why a command could not use the database, in a sentence with what to do."""

from __future__ import annotations

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from orchestrator_site.unavailable import is_unavailable


def sentence(error: DatabaseError) -> str:
    words = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    if is_unavailable(error):
        return f"The database{_place()} can't be used right now: {words}."
    if waiting := _unapplied():
        return (
            f"The database{_place()} is not of this version: {waiting} migrations are still to be applied. "
            "`sandbox-orchestrator prepare` applies them."
        )
    return f"The database{_place()} refused: {words}. With --traceback, it says where."


def _place() -> str:
    return f" in {settings.VAR_DIR}" if settings.DATABASE_IS_SQLITE else ""


def _unapplied() -> int:
    try:
        executor = MigrationExecutor(connection)
        return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    except DatabaseError:
        return 0
    finally:
        connection.close()
