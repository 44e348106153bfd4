"""All rows of a version's database in one file, and back into a database with that version's tables.

`last_version.json.gz` holds the rows that the last version wrote itself: pools, sandboxes and runs in every state and
with every reason, its logs, its queue. When a version is released, fill a database with it, and take the rows with

    SECRET_KEY="the key of the last version" python -m tests.upgrade.rows > tests/upgrade/last_version.json.gz
"""

from __future__ import annotations

import gzip
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("last_version.json.gz")
SECRET_KEY = "the key of the last version"  # it signed the queue's tasks
OURS = ("orchestrator_site", "pools", "games", "runs")


def dump() -> bytes:
    """The rows of the database in use, and which migrations made its tables."""
    from django.apps import apps
    from django.core.serializers.json import DjangoJSONEncoder
    from django.db import connection
    from django.db.migrations.recorder import MigrationRecorder
    from django.utils import timezone

    rows: dict[str, list[dict[str, Any]]] = {}
    for model in apps.get_models(include_auto_created=True):
        names = [field.attname for field in model._meta.concrete_fields]
        found = model._default_manager.order_by("pk").values(*names)
        if found and not model._meta.proxy:
            rows[model._meta.label] = list(found)
    applied = sorted(MigrationRecorder(connection).applied_migrations())
    kept = {"taken_at": timezone.now(), "migrations": {app: name for app, name in applied if app in OURS}, "rows": rows}
    return gzip.compress(json.dumps(kept, cls=DjangoJSONEncoder, ensure_ascii=False).encode(), mtime=0)


class Kept:
    """The kept rows, as if they had been taken at `now`: everything is as long ago as it was then."""

    def __init__(self, now: datetime) -> None:
        kept = json.loads(gzip.decompress(FILE.read_bytes()))
        self.rows: dict[str, list[dict[str, Any]]] = kept["rows"]
        self.migrations: dict[str, str] = kept["migrations"]
        self._shift = now - datetime.fromisoformat(kept["taken_at"])

    def value(self, field: Any, value: Any) -> Any:
        """What stands in the file for a model's field, as Python has it."""
        from django.db.models import DateTimeField

        found = field.to_python(value)
        return found + self._shift if isinstance(field, DateTimeField) and found else found

    def load(self) -> None:
        """Make the tables that the last version had, and put its rows there."""
        from django.core.management.color import no_style
        from django.db import connection, transaction
        from django.db.migrations.executor import MigrationExecutor

        executor = MigrationExecutor(connection)
        others = [node for node in executor.loader.graph.leaf_nodes() if node[0] not in OURS]
        executor.migrate([*others, *self.migrations.items()])
        executor = MigrationExecutor(connection)
        apps = executor.loader.project_state([*others, *self.migrations.items()]).apps
        models = [apps.get_model(label) for label in self.rows]
        with transaction.atomic():
            for model in models:
                model._base_manager.all().delete()
                columns = {field.attname: field for field in model._meta.concrete_fields}
                model._base_manager.bulk_create(
                    model(**{name: self.value(columns[name], value) for name, value in row.items()})
                    for row in self.rows[model._meta.label]
                )
        with connection.cursor() as cursor:
            for statement in connection.ops.sequence_reset_sql(no_style(), models):
                cursor.execute(statement)


if __name__ == "__main__":
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
    django.setup()
    sys.stdout.buffer.write(dump())
