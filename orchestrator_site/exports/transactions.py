"""The transactions of an export and an import, whose files may go and come slowly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def reading() -> Iterator[None]:
    """All that is read in the block is of one moment, and nobody else waits for it."""
    connection.ensure_connection()
    if connection.vendor == "sqlite":
        usual = connection.transaction_mode  # type: ignore[attr-defined]
        connection.transaction_mode = "DEFERRED"  # type: ignore[attr-defined]  # the usual keeps writers out
    try:
        with transaction.atomic():
            if connection.vendor == "postgresql":
                _execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            _lift_limits()
            yield
    finally:
        if connection.vendor == "sqlite":
            connection.transaction_mode = usual  # type: ignore[attr-defined]


@contextmanager
def writing(*, dry_run: bool) -> Iterator[None]:
    """What is written in the block is all kept, or with `dry_run` nothing of it."""
    with transaction.atomic():
        _lift_limits()
        yield
        connection.check_constraints()
        transaction.set_rollback(dry_run)


def _lift_limits() -> None:
    if connection.vendor == "postgresql":
        _execute("SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 0")


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
