"""`sandbox-orchestrator names KIND`: the names that a shell completes. No command of Django's: to load its apps takes
most of a second, and somebody waits at each press of the key."""

from __future__ import annotations

import sys
import warnings

QUERIES = {
    "pools": "SELECT name FROM pools_pool ORDER BY name",
    "games": "SELECT slug FROM games_game ORDER BY slug",
    "accounts": "SELECT username FROM auth_user ORDER BY username",
    "keys": "SELECT prefix FROM pools_apikey WHERE revoked_at IS NULL ORDER BY prefix",
}


def main(kind: str) -> None:
    """Print them, one on each line; nothing when they can't be read."""
    from django.core.exceptions import ImproperlyConfigured
    from django.db import DatabaseError, connection

    if kind not in QUERIES:
        return
    try:
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning), connection.cursor() as cursor:
            # It warns that the apps are not loaded, which is on purpose.
            cursor.execute(QUERIES[kind])
            sys.stdout.writelines(f"{name}\n" for (name,) in cursor.fetchall())
    except (DatabaseError, ImproperlyConfigured):
        return
