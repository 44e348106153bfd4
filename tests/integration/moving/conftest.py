from __future__ import annotations

import gzip
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.fixtures.databases import ROOT, Database, _database
from tests.fixtures.servers import Postgres
from tests.fixtures.stack import Stack

ADD_USER = """INSERT INTO auth_user
(username, password, first_name, last_name, email, is_superuser, is_staff, is_active, date_joined)
SELECT 'user' || count(*), '', '', '', '', false, false, true, '2026-01-01' FROM auth_user"""
DUMP = """
import sys
from tests.upgrade.rows import dump
sys.stdout.buffer.write(dump())
"""


@contextmanager
def started_with_games(stack: Stack) -> Iterator[None]:
    """It runs in the block, and its games' snapshots are built."""
    try:
        stack.start()
        built = stack.manage("snapshots", "build")
        assert built.returncode == 0, built.stderr
        yield
    finally:
        stack.close()
        print(stack.log)


class Moving:
    """An installation on SQLite (`old`), and a PostgreSQL database for it (`new`), of the same folder."""

    def __init__(self, old: Database, url: str) -> None:
        self.old, self.url = old, url
        self.new = Database({**old.environment, "DATABASE_URL": url})

    def move(self, *options: str, database: Database | None = None, url: str = "") -> subprocess.CompletedProcess[str]:
        return manage(database or self.old, "move_database", url or self.url, *options)

    def refused(self, *options: str, **where: Any) -> str:
        """What the command says when it refuses."""
        done = self.move(*options, **where)
        assert done.returncode == 1, done
        assert "Traceback" not in done.stderr
        return done.stderr

    @property
    def file(self) -> Path:
        return Path(self.old.environment["ORCHESTRATOR_VAR"]) / "orchestrator.sqlite3"

    def change_old(self, statement: str) -> None:
        with closing(sqlite3.connect(self.file, isolation_level=None)) as old:
            old.execute(statement)

    def change_new(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as new:
            new.execute(statement)

    def add_user(self) -> None:
        self.change_old(ADD_USER)

    def old_refuses(self) -> str:
        """Why the file can't be written to; empty when it can, and then it has another user."""
        try:
            self.change_old(ADD_USER)
        except sqlite3.Error as error:
            return str(error)
        return ""

    def new_refuses(self) -> str:
        """The same for the target."""
        try:
            self.change_new(ADD_USER)
        except psycopg.Error as error:
            return str(error)
        return ""

    def users(self) -> tuple[int, int]:
        """How many are in the file and in the target."""
        statement = "SELECT count(*) FROM auth_user"
        with closing(sqlite3.connect(self.file)) as old, psycopg.connect(self.url) as new:
            return old.execute(statement).fetchone()[0], new.execute(statement).fetchone()[0]

    def must_move(self) -> None:
        done = self.move()
        assert (done.returncode, done.stderr) == (0, ""), done


def manage(database: Database, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "manage.py", *arguments],
        env=database.environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def rows_of(database: Database) -> dict[str, list[str]]:
    """All rows of all tables, told by Django."""
    command = [sys.executable, "-c", f"import django; django.setup(){DUMP}"]
    told = subprocess.run(command, env=database.environment, cwd=ROOT, stdout=subprocess.PIPE, timeout=300, check=True)
    found = json.loads(gzip.decompress(told.stdout))["rows"]
    return {label: sorted(json.dumps(row, sort_keys=True) for row in rows) for label, rows in found.items()}


@pytest.fixture
def moving(migrated_database: Database, postgres: Postgres, migrated_postgres: str) -> Moving:
    """Both migrated, and else empty."""
    return Moving(migrated_database, postgres.url(postgres.create(template=migrated_postgres)))


@pytest.fixture
def new_target(migrated_database: Database, postgres_url: str) -> Moving:
    """To a database in which there is nothing yet."""
    return Moving(migrated_database, postgres_url)


@pytest.fixture
def unmigrated(tmp_path: Path) -> Database:
    return _database(tmp_path / "unmigrated")
