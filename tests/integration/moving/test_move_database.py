"""`manage.py move_database`: from an SQLite file to PostgreSQL, whole or not at all."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.databases import ROOT, Database
from tests.fixtures.servers import Postgres
from tests.fixtures.waiting import free_port, until
from tests.integration.moving.conftest import Moving, manage, rows_of

RANDOM_ROWS = Path(__file__).with_name("random_rows.py")
MOVED = "This database was moved to PostgreSQL ("
TABLES = """
from django.apps import apps
from django.db import connection
found = set(connection.introspection.table_names())
with connection.cursor() as cursor:
    print(sorted(t for t in found if cursor.execute(f'SELECT 1 FROM "{t}" LIMIT 1') and cursor.fetchone()))
"""
COLUMNS = """
from django.db import connection
from orchestrator_site.moving.rows import tables
known = {(t.name, f.column) for t in tables() for f in t.fields}
with connection.cursor() as cursor:
    get = connection.introspection.get_table_description
    found = {(n, c.name) for n in connection.introspection.table_names() for c in get(cursor, n)}
print(sorted({(n, c) for n, c in found if n != "django_migrations"} ^ known))
"""
NUMBERS = """
import json
from django_q.models import OrmQ
from django.contrib.auth.models import User
rows = [OrmQ.objects.create(key="k", payload="p").pk, User.objects.create(username="grace").pk]
print(json.dumps(rows))
"""
PROVEN = """
from django.db import DatabaseError
from orchestrator_site.unavailable import is_unavailable
from pools.leases import prove_writable
try:
    prove_writable()
except DatabaseError as error:
    print(error, is_unavailable(error))
"""
# The command, which ends at once as a power cut ends it, instead of taking a step.
KILLED = """
import os
from orchestrator_site.moving import mark, move, rows, target
module, name = {step}
setattr(module, name, lambda *_: os.kill(os.getpid(), 9))
from django.core.management import call_command
call_command("move_database", sys.argv[1])
"""
# Stops in the middle of the copy until it is interrupted.
STANDS_STILL = """
import time
from orchestrator_site.moving import move
def stand(*_):
    print("copying", flush=True)
    time.sleep(60)
move.target.count_on = stand
sys.argv = ["manage.py", "move_database", sys.argv[1]]
from orchestrator_site.command import main
main()
"""
# Says that it is about to take a step, and waits until a file is there.
WAITS = """
import os, time
from orchestrator_site.moving import mark
take = mark.{step}
def wait(*mark_and_more):
    print("waiting", flush=True)
    while not os.path.exists(arguments[1]):
        time.sleep(0.02)
    take(*mark_and_more)
mark.{step} = wait
arguments, sys.argv[1:] = sys.argv[1:], ["move_database", sys.argv[1]]
from orchestrator_site.command import main
main()
"""


def fill(database: Database, seed: int, rows: int) -> None:
    done = subprocess.run(
        [sys.executable, RANDOM_ROWS, str(seed), str(rows)], env=database.environment | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    few = [label for label, made in eval(done.stdout).items() if not made and label != "pools.Fleet"]  # it has one row
    assert not few, f"no row was found for {few}"


def killed(moving: Moving, step: str) -> None:
    process = moving.old.script(KILLED.format(step=step), moving.url)
    _, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, err


def waiting(moving: Moving, step: str) -> subprocess.Popen[str]:
    process = moving.old.script(WAITS.format(step=step), moving.url, str(moving.file.with_name("go")))
    assert process.stdout is not None
    until(lambda: "waiting" in process.stdout.readline(), "it is about to do it")
    return process


def go_on(moving: Moving, process: subprocess.Popen[str]) -> tuple[int, str]:
    """How one that waited ends, and what it says of errors."""
    moving.file.with_name("go").touch()
    _, err = process.communicate(timeout=30)
    return process.returncode, err


@pytest.mark.parametrize(
    "seed", [1, pytest.param(2, marks=pytest.mark.chaos), pytest.param(3, marks=pytest.mark.chaos)]
)
def test_every_row_of_every_table_arrives_as_it_is(new_target: Moving, seed: int) -> None:
    fill(new_target.old, seed, rows=20 if seed == 1 else 1500)
    before = rows_of(new_target.old)
    new_target.must_move()
    after = rows_of(new_target.new)
    assert after.keys() == before.keys()
    for label in before:
        assert after[label] == before[label], label
    assert rows_of(new_target.old) == before


def test_numbers_that_were_given_are_not_given_again(moving: Moving) -> None:
    """Also those of rows that are gone: a cluster would take another's task for its own."""
    last = eval(moving.old.answer(NUMBERS))
    moving.change_old("DELETE FROM django_q_ormq")
    moving.change_old("DELETE FROM auth_user")
    moving.must_move()
    assert eval(moving.new.answer(NUMBERS)) == [number + 1 for number in last]


def test_a_move_knows_every_column(migrated_database: Database) -> None:
    assert migrated_database.answer(COLUMNS) == "[]"


def test_what_migrations_write_is_known(database: Database) -> None:
    from orchestrator_site.moving.target import AFTER_MIGRATING

    assert eval(database.answer(TABLES)) == sorted(AFTER_MIGRATING)


def test_a_moved_file_refuses_everybody_and_says_why(moving: Moving) -> None:
    """Also a process that has had it open since before."""
    with closing(sqlite3.connect(moving.file, isolation_level=None)) as opened:
        opened.execute("SELECT count(*) FROM auth_user")
        moving.must_move()
        for statement in ("DELETE FROM pools_fleet", "UPDATE pools_fleet SET id = 1", "DELETE FROM database_move"):
            with pytest.raises(sqlite3.IntegrityError, match=re.escape(MOVED)):
                opened.execute(statement)
    said = moving.old.answer(PROVEN)
    assert said.startswith(MOVED)
    assert said.endswith(" True")  # a launch is answered with 503
    for command in (["up"], ["sweep", "--yes"]):
        done = manage(moving.old, *command)
        assert (done.returncode, done.stdout) == (1, ""), done
        assert done.stderr.startswith(MOVED)
        assert done.stderr.endswith("set DATABASE_URL, and start this again.\n")
        assert done.stderr.count("\n") == 1
    assert moving.refused().startswith(f"CommandError: {MOVED}")
    assert moving.new_refuses() == ""


def test_a_dry_run_tells_how_much_there_is_and_changes_nothing(new_target: Moving) -> None:
    new_target.add_user()
    before = rows_of(new_target.old)
    done = new_target.move("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "auth_user: 1 rows\n" in done.stdout
    with psycopg.connect(new_target.url) as target:
        assert target.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
    assert rows_of(new_target.old) == before
    assert new_target.old_refuses() == ""


class TestRefusals:
    def test_of_the_source(self, moving: Moving, unmigrated: Database) -> None:
        assert "PostgreSQL already: call this without DATABASE_URL" in moving.refused(database=moving.new)
        file = Path(unmigrated.environment["ORCHESTRATOR_VAR"]) / "orchestrator.sqlite3"
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(file)) as theirs:
            theirs.execute("CREATE TABLE theirs (id int)")
        assert "is not migrated" in moving.refused(database=unmigrated)
        moving.change_old("INSERT INTO django_migrations (app, name, applied) VALUES ('pools', '9999_x', '2027-01-01')")
        assert "by another version, which has the migration pools.9999_x" in moving.refused()

    @pytest.mark.parametrize(
        ("statement", "said"),
        [
            ("CREATE TABLE theirs (id int)", "it has a table theirs that is none of ours"),
            ("INSERT INTO django_migrations VALUES (DEFAULT, 'pools', '9999_x', now())", "the migration pools.9999_x"),
            ("INSERT INTO django_session VALUES ('k', 'd', now())", "django_session has rows"),
        ],
        ids=["a table of others", "another version", "rows"],
    )
    def test_of_a_target_in_use(self, moving: Moving, statement: str, said: str) -> None:
        with psycopg.connect(moving.url, autocommit=True) as target:
            target.execute(statement)
        assert said in moving.refused()
        assert moving.old_refuses() == ""

    def test_of_what_is_no_target(self, moving: Moving, postgres: Postgres) -> None:
        assert "is not of the form postgres://" in moving.refused(url="mysql://root@localhost/theirs")
        away = moving.refused(url=f"postgres://ada:secret@127.0.0.1:{free_port()}/away")
        assert "The target can't be reached" in away
        assert "secret" not in away
        with postgres.connect() as server:
            server.execute(
                f"CREATE DATABASE latin_{os.getpid()} ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
            )
        assert "keeps text as LATIN1" in moving.refused(url=postgres.url(f"latin_{os.getpid()}"))

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ("first_name = 'a' || char(0) || 'b'", "first_name: PostgreSQL does not take it: "),
            ("first_name = printf('%.200c', 'x')", "first_name: PostgreSQL does not take it: value too long"),
            ("date_joined = 'yesterday'", "date_joined is no DateTimeField ('yesterday')"),
        ],
        ids=["a character that no text may have", "too long", "no date"],
    )
    def test_of_a_value_name_it(self, moving: Moving, change: str, said: str) -> None:
        moving.add_user()
        moving.change_old(f"UPDATE auth_user SET {change}")
        refused = moving.refused()
        assert "auth_user, the row whose id is '1'" in refused
        assert said in refused
        assert moving.old_refuses() == ""
        assert moving.new_refuses() == ""  # as it was, and open


class TestInterrupted:
    def test_in_the_middle_of_the_copy_it_left_both_as_they_were(self, moving: Moving) -> None:
        moving.add_user()
        killed(moving, "target, 'count_on'")
        assert moving.old_refuses() == ""
        moving.must_move()
        assert moving.users() == (2, 2)

    def test_before_the_old_file_is_closed_only_that_one_is_written_to(self, moving: Moving) -> None:
        moving.add_user()
        killed(moving, "mark, 'close_old_file'")
        assert "run it again" in moving.new_refuses()
        assert moving.old_refuses() == ""
        moving.must_move()
        assert moving.users() == (2, 2)
        assert MOVED in moving.old_refuses()
        assert moving.new_refuses() == ""

    def test_after_the_old_file_is_closed_it_is_only_finished(self, moving: Moving) -> None:
        moving.add_user()
        killed(moving, "move, '_open'")
        assert MOVED in moving.old_refuses()
        assert "run it again" in moving.new_refuses()
        moving.must_move()
        assert moving.users() == (1, 1)
        assert moving.new_refuses() == ""

    def test_by_ctrl_c_it_left_both_as_they_were(self, moving: Moving) -> None:
        process = moving.old.script(STANDS_STILL, moving.url)
        assert process.stdout is not None
        until(lambda: "copying" in process.stdout.readline(), "it copies")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (130, "CommandError: Interrupted. Nothing was moved.\n")
        assert moving.old_refuses() == ""
        assert moving.new_refuses() == ""

    def test_once_the_old_file_is_closed_ctrl_c_stops_nothing(self, moving: Moving) -> None:
        """It said "Nothing was moved", and left the copy closed."""
        process = waiting(moving, "open_copy")
        process.send_signal(signal.SIGINT)
        assert go_on(moving, process) == (0, "")
        assert MOVED in moving.old_refuses()
        assert moving.new_refuses() == ""

    def test_by_nobody_who_moves_the_same_at_the_same_time(self, moving: Moving) -> None:
        """The second took the first one's copy for one that was left, and emptied it; then the old file was closed."""
        moving.add_user()
        first = waiting(moving, "close_old_file")
        assert "try again in a moment. Nothing was moved." in moving.refused()
        assert go_on(moving, first) == (0, "")
        assert moving.users() == (1, 1)
        assert moving.new_refuses() == ""

    def test_the_copy_of_one_installation_is_not_replaced_by_another(self, moving: Moving, tmp_path: Path) -> None:
        killed(moving, "mark, 'close_old_file'")
        moving.change_old("UPDATE pools_fleet SET installation = 'another'")
        assert "unfinished copy of another installation" in moving.refused()
