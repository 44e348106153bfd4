"""Making an export."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from orchestrator_site import __version__
from orchestrator_site.exports.file import FORMAT, PRODUCT
from orchestrator_site.exports.rows import as_json, encoded
from orchestrator_site.exports.tables import HISTORY, MADE
from orchestrator_site.exports.transactions import reading
from pools.models import Fleet

OUR_APPS = ("orchestrator_site", "pools", "games", "runs")


def export(now: datetime, *, with_history: bool) -> Iterator[str]:
    """The lines of an export of this database, as it is at one moment."""
    tables = [*MADE, *HISTORY] if with_history else MADE
    with reading():
        yield as_json(
            {
                "product": PRODUCT,
                "format": FORMAT,
                "version": __version__,
                "migrations": _migrations(),
                "installation": Fleet.objects.values_list("installation", flat=True).first() or "",
                "database": connection.vendor,
                "made_at": now,
                "with_history": with_history,
            }
        )
        counts: dict[str, int] = {}
        for table in tables:
            for row in encoded(table, table.all()):
                counts[table.label] = counts.get(table.label, 0) + 1
                yield as_json({"table": table.label, "row": row.values})
        yield as_json({"end": counts})


def _migrations() -> dict[str, str]:
    """The last one of each of our apps."""
    applied = sorted(MigrationRecorder(connection).applied_migrations())
    return {app: name for app, name in applied if app in OUR_APPS}
