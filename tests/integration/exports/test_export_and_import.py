"""`export` and `import` carry what people made from one database to another, of any kind, all of it or nothing."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orchestrator_site.exports.file import Unreadable
from orchestrator_site.exports.importing import Count, import_file
from orchestrator_site.exports.tables import BY_LABEL, HISTORY, LEFT_OUT, MADE
from orchestrator_site.exports.writing import export
from pools import spending
from runs import launch_hours, usage
from runs.models import LaunchHour, UsageDay, UsageMark
from tests.fixtures.databases import ROOT, Database, _database
from tests.fixtures.servers import Postgres
from tests.fixtures.web import new_run
from tests.upgrade.rows import SECRET_KEY

LOAD = """
from datetime import datetime
from django.core.management import call_command
from tests.upgrade.rows import Kept
Kept(datetime.fromisoformat(sys.argv[1])).load()
call_command("migrate", verbosity=0)
"""
WEBHOOK = """
from django.utils import timezone
from pools.webhooks import Webhook
Webhook.objects.create(
    url="https://hooks.example.com/", owner="ada", secret="whsec_x", seq=1, created_at=timezone.now(), created_by="ada"
)
"""
NEWS = """
from pools import journal
from pools.models import Level
from pools.reasons import LogKind
journal.record(LogKind.TROUBLE, 'hello', level=Level.ERROR)
"""
MakeDatabase = Callable[[str], Database]


@pytest.fixture
def make_database(request: pytest.FixtureRequest, tmp_path: Path) -> MakeDatabase:
    """`make_database("sqlite")`: one that is migrated, and else empty."""
    made: list[str] = []

    def make(kind: str) -> Database:
        made.append(kind)
        settings = {"SECRET_KEY": SECRET_KEY, "ORCHESTRATOR_ID": "staging", "MAX_TOTAL_SANDBOXES": "100"}
        if kind == "postgresql":
            server: Postgres = request.getfixturevalue("postgres")
            template: str = request.getfixturevalue("migrated_postgres")
            settings["DATABASE_URL"] = server.url(server.create(template=template))
        database = _database(tmp_path / f"{kind}-{len(made)}", **settings)
        if kind == "sqlite":
            database.answer("from django.core.management import call_command; call_command('migrate', verbosity=0)")
        return database

    return make


@pytest.fixture
def lived_in(make_database: MakeDatabase, tmp_path: Path) -> Database:
    """A SQLite database that was used: with all that a fleet leaves behind."""
    settings = {"SECRET_KEY": SECRET_KEY, "ORCHESTRATOR_ID": "staging", "MAX_TOTAL_SANDBOXES": "100"}
    database = _database(tmp_path / "lived-in", **settings)
    database.answer(LOAD, timezone.now().isoformat())
    return database


def manage(database: Database, *arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, ROOT / "manage.py", *arguments]
    return subprocess.run(command, env=database.environment, input=stdin, capture_output=True, check=False, timeout=120)


def exported(database: Database, *options: str) -> list[dict[str, Any]]:
    """The lines of an export, without its header, in an order that no database decides."""
    done = manage(database, "export", "-", *options)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return sorted(lines[1:], key=lambda line: json.dumps(line, sort_keys=True))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_everything_that_was_made_comes_back_in_another_database(
    kind: str, lived_in: Database, make_database: MakeDatabase, tmp_path: Path
):
    before = exported(lived_in, "--with-history")
    assert {line["table"] for line in before if "table" in line} >= {"pools.pool", "games.game", "runs.run"}
    file = tmp_path / "export.json.gz"
    assert manage(lived_in, "export", file, "--with-history").returncode == 0
    other = make_database(kind)
    done = manage(other, "import", file, "--replace")  # of what the migrations made
    assert done.returncode == 0, done.stderr
    after = exported(other, "--with-history")
    (told,) = [line["row"] for line in after if line not in before and line.get("table") == "pools.fleetevent"]
    assert (told["kind"], told["code"], told["actor"].endswith("(command line)")) == ("key", "imported", True)
    assert told["data"]["pools.pool"] == [2, 0]
    assert [line["row"] for line in after if "row" in line and line["row"] != told] == [
        line["row"] for line in before if "row" in line
    ]


def test_what_comes_next_is_numbered_after_what_has_come(
    lived_in: Database, make_database: MakeDatabase, tmp_path: Path
):
    lived_in.answer(WEBHOOK)
    other = make_database("postgresql")
    manage(lived_in, "export", tmp_path / "export", "--with-history")
    assert manage(other, "import", tmp_path / "export").returncode == 0
    other.answer(
        "from django.contrib.auth.models import User\n"
        "from pools import journal\nfrom pools.models import FleetEvent, Level\n"
        "from pools.reasons import LogKind\n"
        "last = FleetEvent.objects.order_by('-seq').first().seq\n"
        "journal.record(LogKind.TROUBLE, 'hello', level=Level.ERROR)\n"
        "assert FleetEvent.objects.order_by('-seq').first().seq == last + 1\n"
        "from pools.webhooks import Webhook\n"
        "assert FleetEvent.objects.get(seq=last).code == 'imported', 'which webhooks are never told'\n"
        "assert Webhook.objects.get(owner='ada').seq == last - 1, 'nobody is told again what was before'\n"
        "User.objects.create_user('new')\n"
    )


def test_a_second_import_changes_nothing(lived_in: Database, make_database: MakeDatabase, tmp_path: Path):
    manage(lived_in, "export", tmp_path / "export", "--with-history")
    other = make_database("sqlite")
    manage(other, "import", tmp_path / "export", "--replace")
    before = exported(other, "--with-history")
    for options in ((), ("--replace",)):
        done = manage(other, "import", tmp_path / "export", *options)
        assert done.returncode == 0, done.stderr
        assert b": 0 new, 0 replaced, " in done.stdout
        assert exported(other, "--with-history") == before


def test_a_second_import_keeps_no_news_from_webhooks(lived_in: Database, make_database: MakeDatabase, tmp_path: Path):
    manage(lived_in, "export", tmp_path / "export", "--with-history")
    other = make_database("sqlite")
    manage(other, "import", tmp_path / "export", "--replace")
    other.answer(WEBHOOK + NEWS)
    assert manage(other, "import", tmp_path / "export").returncode == 0
    assert other.answer("from pools.webhooks import Webhook\nprint(Webhook.objects.get(owner='ada').seq)") == "1"


def test_what_is_there_stays_unless_it_is_to_be_replaced(
    lived_in: Database, make_database: MakeDatabase, tmp_path: Path
):
    manage(lived_in, "export", tmp_path / "export")
    other = make_database("sqlite")
    manage(other, "import", tmp_path / "export", "--replace")
    name = other.answer(
        "from pools.models import Pool\npool = Pool.objects.order_by('name').first()\n"
        "Pool.objects.filter(pk=pool.pk).update(idle_timeout_seconds=77)\nprint(pool.name)"
    )

    def timeout() -> str:
        return other.answer(
            f"from pools.models import Pool\nprint(Pool.objects.get(name={name!r}).idle_timeout_seconds)"
        )

    done = manage(other, "import", tmp_path / "export")
    assert b"1 left as they are, which differ" in done.stdout
    assert timeout() == "77"
    assert b"dry run" in manage(other, "import", tmp_path / "export", "--replace", "--dry-run").stdout
    assert timeout() == "77"
    manage(other, "import", tmp_path / "export", "--replace")
    assert timeout() != "77"


def test_accounts_keys_and_rights_work_in_the_new_database(make_database: MakeDatabase, tmp_path: Path):
    first, second = make_database("sqlite"), make_database("postgresql")
    key = manage(first, "api_key", "make", "robot", "--scope", "launch").stdout.split()[0].decode()
    first.answer(
        "from django.contrib.auth.models import Group, User\n"
        "otto = User.objects.create_user('otto', password='a password of his', is_staff=True)\n"
        "otto.groups.add(Group.objects.get(name='Operators'))"
    )
    manage(first, "export", tmp_path / "export")
    text = (tmp_path / "export").read_text()
    assert key not in text
    assert "a password of his" not in text
    assert manage(second, "import", tmp_path / "export").returncode == 0
    second.answer(
        "from django.contrib.auth import authenticate\nfrom django.contrib.auth.models import User\n"
        "from django.utils import timezone\nfrom pools import api_keys\n"
        "otto = User.objects.get(username='otto')\n"
        "assert otto.check_password('a password of his')\n"
        "assert [group.name for group in otto.groups.all()] == ['Operators']\n"
        "assert api_keys.find(sys.argv[1], timezone.now()) is not None\n",
        key,
    )


def test_an_account_that_no_form_would_have_taken_comes_along(make_database: MakeDatabase, tmp_path: Path):
    """One such name, and nothing was imported."""
    first, second = make_database("sqlite"), make_database("sqlite")
    first.answer(
        "from django.contrib.auth.models import User\nUser.objects.create_user('anna maria', email='at home')\n"
    )
    manage(first, "export", tmp_path / "export")
    done = manage(second, "import", tmp_path / "export")
    assert done.returncode == 0, done.stderr
    assert exported(second) == exported(first)


@pytest.mark.django_db
def test_an_export_asks_no_more_for_more_accounts():
    """It asked for the groups of each account, and for the rights."""

    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            for _ in export(timezone.now(), with_history=False):
                pass
        return len(asked)

    group = Group.objects.create(name="some")
    User.objects.create_user("a").groups.add(group)
    before = queries()
    for name in ("b", "c"):
        User.objects.create_user(name).groups.add(group)
    assert queries() == before


OVER = {"state": "ended", "end_code": "time_up", "end_reason": "Its time was up."}


def statistics(now: datetime) -> tuple[object, ...]:
    days = usage.usage(now.date() - timedelta(days=9), now.date(), usage.By.DAY, now)
    return days, launch_hours.served_since(now - timedelta(days=9)), spending.spent_usd(now)


def imported(lines: Iterable[str]) -> dict[str, Count]:
    return import_file(io.BytesIO("\n".join(lines).encode()), replace=True, dry_run=False, actor="ada")


@pytest.mark.django_db
def test_an_import_leaves_what_this_installation_counted_by_itself():
    """Its launches fell out of the statistics, and its sandboxes out of the budget, because the file had counted later
    hours."""
    now = timezone.now()
    launch = OVER | {"mode": "warm", "served_by": "cold_fallback"}
    ours = new_run(**launch, created_at=now - timedelta(days=2))
    theirs = new_run(**launch, created_at=now - timedelta(hours=5))
    for settle in (usage.settle, launch_hours.settle):
        list(settle(now))
    lines = list(export(now, with_history=False))
    theirs.delete()
    for model in (UsageDay, UsageMark, LaunchHour):
        model.objects.all().delete()
    before = statistics(now)
    counts = imported(lines)
    for settle in (usage.settle, launch_hours.settle):
        list(settle(now))
    assert statistics(now) == before
    kept_out = {label: count.kept_out for label, count in counts.items() if count.kept_out}
    assert kept_out == {"runs.usageday": 2, "runs.usagemark": 1, "runs.launchhour": 2}
    ours.delete()
    for model in (UsageDay, UsageMark, LaunchHour):
        model.objects.all().delete()
    assert not any(count.kept_out for count in imported(lines).values()), "where nothing was counted it is taken"
    assert statistics(now)[0]


@pytest.mark.django_db
def test_history_goes_into_no_database_that_has_one():
    theirs = new_run(**OVER)
    lines = list(export(timezone.now(), with_history=True))
    theirs.delete()
    new_run(**OVER)
    with pytest.raises(Unreadable, match=r"has runs and sandboxes of its own\. History goes into an empty one\."):
        imported(lines)


def half_written(lived_in: Database, folder: Path) -> subprocess.Popen[bytes]:
    """An export to `folder`/export that stands still on the way, because what it reads is held."""
    code = (
        "from orchestrator_site.management.commands import export\nimport time\n"
        "def lines(*_, **__):\n    yield 'half'\n    print('half', flush=True)\n    time.sleep(60)\n"
        "export.export = lines\n"
        "from django.core.management import call_command\ncall_command('export', sys.argv[1])\n"
    )
    process = lived_in.script(code, str(folder / "export"))
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    return process


def test_an_export_that_is_ended_leaves_nothing_with_secrets_in_it(migrated_database: Database, tmp_path: Path):
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "export.1").write_text("somebody's")
    other = half_written(migrated_database, folder)
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, -2)):
        ended = half_written(migrated_database, folder)
        assert len(list(folder.iterdir())) == 3, "that of the other one stays"
        ended.send_signal(number)
        ended.communicate(timeout=20)
        assert ended.returncode == code
        assert len(list(folder.iterdir())) == 2
    other.kill()
    other.communicate(timeout=20)
    assert manage(migrated_database, "export", folder / "export").returncode == 0
    assert sorted(path.name for path in folder.iterdir()) == ["export", "export.1"]


def test_an_export_is_its_owners_alone(lived_in: Database, tmp_path: Path):
    os.umask(0o022)
    manage(lived_in, "export", tmp_path / "export.gz")
    assert stat.S_IMODE((tmp_path / "export.gz").stat().st_mode) == 0o600
    assert json.loads(gzip.decompress((tmp_path / "export.gz").read_bytes()).splitlines()[0])["format"] == 1


def test_an_export_takes_the_place_of_nothing_but_a_file(lived_in: Database, tmp_path: Path):
    """As root, one to /dev/null made a file with secrets of it."""
    os.mkfifo(tmp_path / "device")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    done = manage(lived_in, "export", tmp_path / "device")
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done.stderr
    assert stat.S_ISFIFO((tmp_path / "device").stat().st_mode)
    assert manage(lived_in, "export", tmp_path / "link").returncode == 0
    assert (tmp_path / "link").is_symlink()
    assert b'"end"' in (tmp_path / "file").read_bytes()


def test_a_database_that_was_never_prepared_is_one_sentence(tmp_path: Path):
    done = manage(_database(tmp_path / "nothing"), "export", tmp_path / "export")
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done.stderr
    assert not list(tmp_path.glob("export*"))


def header(**changed: object) -> bytes:
    return json.dumps({"product": "sandbox-orchestrator", "format": 1, "version": "1.0.0", **changed}).encode()


def row(table: str, **values: object) -> bytes:
    return json.dumps({"table": table, "row": values}).encode()


END = b'{"end": {}}'
POOL = {"name": "x", "runtime": "python"}


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "This is no export of the sandbox orchestrator."),
        ([b"\x00\xff garbage"], "This is no export of the sandbox orchestrator."),
        ([b"[1]"], "This is no export of the sandbox orchestrator."),
        ([b'{"product": "another"}'], "This is no export of the sandbox orchestrator."),
        ([header(format=2, version="9.1.0")], "has format 2 (made by version 9.1.0)"),
        ([header()], "its last line is missing"),
        ([header(), row("pools.pool", **POOL)], "its last line is missing"),
        ([header(), row("pools.pool", **POOL), END], "not as many rows as its last line says"),
        ([header(), END, END], "goes on after its last line"),
        ([header(), b"{"], "Line 2 is damaged"),
        ([header(), b'{"a":' * 100_000], "Line 2 is damaged"),
        ([header(), row("pools.lease", name="x"), END], "Line 2: this version has no table 'pools.lease'."),
        ([header(), row("pools.pool", **POOL, colour="red"), END], "no field 'colour' in this version"),
        ([header(), row("pools.pool", runtime="python"), END], "needs 'name'"),
        ([header(), row("pools.pool", **POOL, target_ready="many"), END], "target_ready is of the wrong type"),
        ([header(), row("pools.pool", **POOL, target_ready=True), END], "target_ready is of the wrong type"),
        ([header(), row("pools.pool", **POOL, target_ready=10**30), END], "Line 2"),
        ([header(), row("pools.pool", name="x", runtime="cobol"), END], "runtime"),
        ([header(), row("pools.pool", name="a\x00b", runtime="python"), END], "holds what no database takes"),
        ([header(), row("pools.poolminute", pool=[["x"]], minute="2026-01-01T00:00:00Z"), END], "Line 2"),
        ([header(), row("pools.poolminute", pool=["gone"], minute="2026-01-01T00:00:00Z"), END], "is not there"),
        ([header(), row("auth.user", username="x", password="", groups=[["a\n\x1b[31m"]]), END], "is not there"),
        ([header(), row("auth.group", name="1"), row("auth.user", username="x", groups=[[1], ["1"]]), END], "complete"),
    ],
)  # fmt: skip
@pytest.mark.django_db
def test_what_is_wrong_with_a_file_is_one_sentence_and_nothing_is_imported(lines: list[bytes], sentence: str):
    before = list(export(timezone.now(), with_history=False))[1:]
    with pytest.raises(Unreadable) as refused:
        import_file(io.BytesIO(b"\n".join(lines)), replace=False, dry_run=False, actor="ada")
    assert sentence in str(refused.value)
    assert str(refused.value).isprintable()
    assert list(export(timezone.now(), with_history=False))[1:] == before


@pytest.fixture(scope="module")
def empty(migrated_var: Path) -> Database:
    return _database(migrated_var)


def test_a_file_that_was_cut_off_or_is_not_there_is_one_sentence(lived_in: Database, empty: Database, tmp_path: Path):
    manage(lived_in, "export", tmp_path / "whole.gz", "--with-history")
    whole = (tmp_path / "whole.gz").read_bytes()
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    for name in ("cut.gz", "nothing", "."):
        done = manage(empty, "import", tmp_path / name)
        assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done.stderr


def test_each_table_is_in_an_export_or_is_said_to_stay_behind():
    tables = {model._meta.label_lower for model in apps.get_models() if not model._meta.proxy and model._meta.managed}
    assert tables == BY_LABEL.keys() | LEFT_OUT.keys()
    assert not BY_LABEL.keys() & LEFT_OUT.keys()
    assert len(BY_LABEL) == len(MADE) + len(HISTORY)
