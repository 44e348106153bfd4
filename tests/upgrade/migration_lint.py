"""Refuses migrations under which the last version's processes could not go on: in a rolling upgrade both run on one
database. `make lint` runs it. django-migration-linter judges the SQL for PostgreSQL, which needs no server to be made.

A migration that breaks one of its rules on purpose says so with django-migration-linter's `IgnoreMigration()` among its
operations, and why in a comment; docs/upgrading.md says when that is right.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django_migration_linter.operations import IgnoreMigration
from django_migration_linter.sql_analyser import analyse_sql_statements, get_sql_analyser_class
from psycopg.sql import quote

# The last of each app before migrations were checked: no two versions ran side by side over these.
LANDED = {
    "orchestrator_site": "0002_beat_clock",
    "pools": "0020_an_old_secret_signs_too",
    "games": "0001_initial",
    "runs": "0011_labels",
}
ENGINE = "django.db.backends.postgresql"


def postgresql() -> DatabaseWrapper:
    """One that makes SQL and is connected to nothing."""
    settings = {"ENGINE": ENGINE, "NAME": "nothing", "TIME_ZONE": None, "CONN_MAX_AGE": 0, "OPTIONS": {}}
    wrapper = DatabaseWrapper({**settings, "AUTOCOMMIT": True, "USER": "", "PASSWORD": "", "HOST": "", "PORT": ""})
    wrapper.__dict__["pg_version"] = 150000
    wrapper.ops.compose_sql = lambda sql, params: str(sql) % tuple(map(quote, params or ()))  # Django's asks a server
    return wrapper


def breaks(migration: Migration, before: ProjectState) -> list[str]:
    """What in it the last version does not stand; nothing for a migration that says it is right all the same."""
    if any(isinstance(operation, IgnoreMigration) for operation in migration.operations):
        return []
    with postgresql().schema_editor(collect_sql=True, atomic=False) as editor:
        editor._constraint_names = lambda *_, **__: ["a_constraint"]  # type: ignore[method-assign]  # not looked up
        migration.apply(before.clone(), editor, collect_sql=True)
    errors, _, _ = analyse_sql_statements(get_sql_analyser_class(ENGINE), editor.collected_sql, [])
    return [" ".join(filter(None, (error.message, error.table, error.column))) for error in errors]


def unchecked(loader: MigrationLoader) -> Iterator[tuple[str, str]]:
    for app, name in sorted(loader.disk_migrations):
        if app in LANDED and name > LANDED[app]:
            yield app, name


def main() -> int:
    loader = MigrationLoader(None)
    found = [
        f"{app} {name}: {what}"
        for app, name in unchecked(loader)
        for what in breaks(loader.disk_migrations[app, name], loader.project_state((app, name), at_end=False))
    ]
    print(*found, sep="\n", end="\n" * bool(found))
    return 1 if found else 0


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
    django.setup()
    sys.exit(main())
