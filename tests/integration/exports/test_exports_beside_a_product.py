"""An export is made while people play, and by whoever reads it as slowly as they like."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.fixtures.databases import ROOT, Database

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
