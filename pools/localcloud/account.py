"""The account: all its apps, in memory and on disk, and the book of what was created and deleted."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from pools.localcloud.apps import App

KEEP_GONE_SECONDS = 3600.0  # how far back a stale list can look
TABLES = (
    "CREATE TABLE IF NOT EXISTS apps (id TEXT PRIMARY KEY, created_at REAL, record TEXT)",
    "CREATE TABLE IF NOT EXISTS journal (at REAL, what TEXT, id TEXT, name TEXT, by TEXT)",
    "CREATE TABLE IF NOT EXISTS most (apps INTEGER)",
)


class Account:
    """Keeps what was committed, even if the process dies at any moment."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.apps: dict[str, App] = {}  # in the order of their creation
        self.names: dict[str, str] = {}
        self.gone: deque[App] = deque()  # in the order of their end
        self.taken_until: dict[str, float] = {}  # names of apps that are gone, not free yet
        # Without sync only a crash of the machine could lose something, and then its sandboxes are lost anyway.
        self.disk = sqlite3.connect(folder / "account.sqlite3", isolation_level=None)
        self.disk.execute("PRAGMA journal_mode=WAL")
        self.disk.execute("PRAGMA synchronous=OFF")
        for table in TABLES:
            self.disk.execute(table)
        for (record,) in self.disk.execute("SELECT record FROM apps ORDER BY created_at, rowid"):
            self._know(App.from_record(json.loads(record)))
        self.most_apps = max(len(self.apps), *chain([0], *self.disk.execute("SELECT apps FROM most")))

    def add(self, apps: Iterable[App], by: str) -> None:
        apps = list(apps)
        for app in apps:
            self._know(app)
        with self._transaction():
            self._write(apps)
            self._note("create", apps, by)
            if len(self.apps) > self.most_apps:
                self.most_apps = len(self.apps)
                self.disk.execute("DELETE FROM most")
                self.disk.execute("INSERT INTO most VALUES (?)", (self.most_apps,))

    def keep(self, *apps: App) -> None:
        """Write down how those apps are now, if they still are."""
        with self._transaction():
            self._write(app for app in apps if app.id in self.apps)

    def settle(self, apps: Iterable[App], now: float) -> None:
        """Give outcomes to the deployments that have come to their end. On paper they follow from the time alone."""
        if settled := [app for app in apps if app.settle(now) and not app.paper]:
            self.keep(*settled)

    def remove(self, app: App, by: str, linger_seconds: float = 0.0, name_taken_seconds: float = 0.0) -> None:
        now = time.time()
        if name_taken_seconds:
            self.taken_until[app.name] = now + name_taken_seconds
        app.gone_at, app.lingers_until = now, now + linger_seconds
        self.apps.pop(app.id, None)
        self.names.pop(app.name, None)
        self.gone.append(app)
        while (self.gone[0].gone_at or 0) < now - KEEP_GONE_SECONDS:
            self.gone.popleft()
        with self._transaction():
            self.disk.execute("DELETE FROM apps WHERE id = ?", (app.id,))
            self._note("delete", [app], by)

    def rename(self, app: App, spec: dict[str, Any]) -> None:
        self.names.pop(app.name, None)
        app.spec = spec
        self.names[app.name] = app.id

    def find(self, app_id: str, now: float) -> App | None:
        """The app, also one whose deletion lingers."""
        return self.apps.get(app_id) or next(
            (app for app in reversed(self.gone) if app.id == app_id and app.lingers_until > now), None
        )

    def name_of(self, app_id: str) -> str:
        """The name, also of one that is gone; empty for one that never was."""
        found = self.apps.get(app_id) or next((app for app in self.gone if app.id == app_id), None)
        return found.name if found else ""

    def has_name(self, name: str, now: float) -> bool:
        if name in self.names or self.taken_until.get(name, 0.0) > now:
            return True
        return any(app.name == name and app.lingers_until > now for app in self.gone)

    def listed(self, now: float, stale_seconds: float = 0.0) -> list[App]:
        """Newest first; with `stale_seconds`, as the account was that long ago. What lingers is in it."""
        then = now - stale_seconds
        gone = [app for app in self.gone if app.lingers_until > now or (stale_seconds and (app.gone_at or 0) > then)]
        apps = [app for app in reversed(self.apps.values()) if not stale_seconds or app.created_at <= then]
        gone = [app for app in gone if not stale_seconds or app.created_at <= then]
        return sorted([*apps, *gone], key=lambda app: app.created_at, reverse=True) if gone else apps

    def journal(self, newest: int = 10_000) -> list[dict[str, Any]]:
        """Every create and delete, oldest first."""
        rows = self.disk.execute("SELECT at, what, id, name, by FROM journal ORDER BY rowid DESC LIMIT ?", (newest,))
        return [dict(zip(("at", "what", "id", "name", "by"), row, strict=True)) for row in rows][::-1]

    def count(self, what: str, by: str) -> int:
        row = self.disk.execute("SELECT count(*) FROM journal WHERE what = ? AND by = ?", (what, by)).fetchone()
        return int(row[0])

    def forget(self) -> None:
        """Forget what has been; the apps that are stay."""
        self.gone.clear()
        self.taken_until.clear()
        self.most_apps = len(self.apps)
        with self._transaction():
            self.disk.execute("DELETE FROM journal")
            self.disk.execute("DELETE FROM most")

    def _know(self, app: App) -> None:
        self.apps[app.id] = app
        self.names[app.name] = app.id

    def _write(self, apps: Iterable[App]) -> None:
        rows = [(app.id, app.created_at, json.dumps(app.as_record())) for app in apps]
        self.disk.executemany(
            "INSERT INTO apps VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record", rows
        )

    def _note(self, what: str, apps: Iterable[App], by: str) -> None:
        now = time.time()
        self.disk.executemany(
            "INSERT INTO journal VALUES (?, ?, ?, ?, ?)", [(now, what, app.id, app.name, by) for app in apps]
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.disk.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.disk.execute("ROLLBACK")
            raise
        self.disk.execute("COMMIT")
