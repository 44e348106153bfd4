"""An export is made while people play, and by whoever reads it as slowly as they like; so does an import begin."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.fixtures.databases import ROOT, Database
from tests.fixtures.waiting import until

WRITE = """
import time
from pools import journal
from pools.models import Level
from pools.reasons import LogKind
began = time.monotonic()
journal.record(LogKind.TROUBLE, 'hello', level=Level.ERROR)
print(time.monotonic() - began)
"""
FILL = """
from datetime import timedelta
from django.utils import timezone
from pools.models import SpentHour
SpentHour.objects.bulk_create(
    SpentHour(hour=timezone.now() - timedelta(hours=hours), size="s", billed_seconds=1) for hours in range(5000)
)
"""
LONGER_THAN_A_TRANSACTION_MAY_IDLE_SECONDS = 7


def test_whoever_reads_an_export_slowly_gets_all_of_it_and_holds_up_nobody(database: Database):
    database.answer(FILL)
    export = subprocess.Popen(
        [sys.executable, ROOT / "manage.py", "export", "-"],
        env=database.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert export.stdout
    export.stdout.readline()
    assert float(database.answer(WRITE)) < 5
    time.sleep(LONGER_THAN_A_TRANSACTION_MAY_IDLE_SECONDS)
    out, err = export.communicate(timeout=120)
    assert export.returncode == 0, err
    assert b'{"end":' in out.splitlines()[-1]


def has_a_nameless_file(pid: int) -> bool:
    with suppress(FileNotFoundError):  # one that is closed while we look
        return any("(deleted)" in os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir())
    return False


def test_an_import_waits_for_slow_input_without_holding_anybody_up(migrated_database: Database):
    """On SQLite nobody could write until the last line had come."""
    whole = subprocess.run(
        [sys.executable, ROOT / "manage.py", "export", "-"],
        env=migrated_database.environment, capture_output=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    slow = subprocess.Popen(
        [sys.executable, ROOT / "manage.py", "import", "-"],
        env=migrated_database.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert slow.stdin
    slow.stdin.write(whole[: len(whole) // 2])
    slow.stdin.flush()
    until(lambda: has_a_nameless_file(slow.pid), "it reads", seconds=60)
    assert float(migrated_database.answer(WRITE)) < 5
    out, err = slow.communicate(whole[len(whole) // 2 :], timeout=60)
    assert slow.returncode == 0, err
    assert b"the same" in out
