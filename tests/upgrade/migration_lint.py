"""Refuses migrations under which the last version's processes could not go on: in a rolling upgrade both run on one
database. `make lint` runs it. django-migration-linter judges the SQL for PostgreSQL, which needs no server to be made.

A migration that breaks one of its rules on purpose says so with django-migration-linter's `IgnoreMigration()` among its
operations, and why in a comment; docs/upgrading.md says when that is right.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.migrations import Migration, RunSQL
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django_migration_linter.operations import IgnoreMigration
from django_migration_linter.sql_analyser import analyse_sql_statements, get_sql_analyser_class
from psycopg.sql import quote

from orchestrator_site.places import IMPORT_ROOT

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
    if any(isinstance(each, RunSQL) for operation in migration.operations for each in (operation, *_inner(operation))):
        return ["SQL of one's own, which nothing here judges"]
    state, portions = before.clone(), list[list[str]]()
    with postgresql().schema_editor(collect_sql=True, atomic=False) as editor:
        editor._constraint_names = lambda *_, **__: ["a_constraint"]  # type: ignore[method-assign]  # not looked up
        for operation in migration.operations:
            single = Migration(migration.name, migration.app_label)
            single.operations, begin = [operation], len(editor.collected_sql)
            state = single.apply(state, editor, collect_sql=True)
            portions.append(editor.collected_sql[begin:])
        begin = len(editor.collected_sql)
    every = [sql for portion in portions for sql in portion]
    tables = [sql for sql in every if sql.startswith("CREATE TABLE")]
    return [found for portion in [*portions, editor.collected_sql[begin:]] for found in _found(tables, portion, every)]


def _inner(operation: Any) -> Iterator[Any]:
    yield from getattr(operation, "database_operations", ())


def _found(tables: list[str], portion: list[str], every: list[str]) -> Iterator[str]:
    """What is wrong with one operation's SQL: another's default excuses no column of this one."""
    errors, _, _ = analyse_sql_statements(get_sql_analyser_class(ENGINE), [*tables, *portion], [])
    for error in errors:
        yield " ".join(filter(None, (error.message, error.table, error.column)))
    is_added = any("ADD COLUMN" in sql for sql in portion)
    if not is_added and any("DROP DEFAULT" in sql for sql in portion):
        yield "DROPPING a default that the last version counts on"
    for sql in portion:
        added = re.search(r"ALTER TABLE (\S+) ADD CONSTRAINT (\S+) CHECK", sql)
        is_new_table = added and any(table.startswith(f"CREATE TABLE {added[1]} ") for table in tables)
        if added and not is_new_table and not any(f"DROP CONSTRAINT {added[2]}" in other for other in every):
            yield f"ADDING a check that the last version does not know {added[1]}"


def unchecked(loader: MigrationLoader) -> Iterator[tuple[str, str]]:
    for app, name in sorted(loader.disk_migrations):
        is_ours = Path(apps.get_app_config(app).path).parent == IMPORT_ROOT
        if is_ours and name > LANDED.get(app, ""):
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
