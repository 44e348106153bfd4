"""`sandbox-orchestrator names KIND`: the names that a shell completes. No command of Django's: to load its apps takes
most of a second, and somebody waits at each press of the key."""

from __future__ import annotations

import os
import re
import sys
import warnings
from contextlib import closing

from orchestrator_site.installation import DATABASE, Installation, is_set

QUERIES = {
    "pools": "SELECT name FROM pools_pool ORDER BY name",
    "games": "SELECT slug FROM games_game ORDER BY slug",
    "accounts": "SELECT username FROM auth_user ORDER BY username",
    "keys": "SELECT prefix FROM pools_apikey WHERE revoked_at IS NULL ORDER BY prefix",
}
# The shell expands what it is offered: a name like $(…) would be carried out at the press of a key.
PLAIN = re.compile(r"[\w.@+-]+")


def main(kind: str, installation: Installation) -> None:
    """Print those that a shell takes as they are, one on each line; nothing when they can't be read."""
    if kind not in QUERIES:
        return
    is_sqlite = not any(is_set(variables, "DATABASE_URL") for variables in (os.environ, installation.lent))
    read = _read_file if is_sqlite else _read_server
    names = (str(name) for (name,) in read(QUERIES[kind], installation))
    sys.stdout.writelines(f"{name}\n" for name in names if PLAIN.fullmatch(name))


def _read_file(query: str, installation: Installation) -> list[tuple[str]]:
    """Without Django, which takes two thirds of the time."""
    import sqlite3

    try:
        with closing(sqlite3.connect(f"{(installation.folder / DATABASE).as_uri()}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()
    except sqlite3.Error:
        return []


def _read_server(query: str, _installation: Installation) -> list[tuple[str]]:
    from django.core.exceptions import ImproperlyConfigured
    from django.db import DatabaseError, connection

    try:
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning), connection.cursor() as cursor:
            # It warns that the apps are not loaded, which is on purpose.
            cursor.execute(query)
            return list(cursor.fetchall())
    except (DatabaseError, ImproperlyConfigured):
        return []
