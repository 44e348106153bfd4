"""What a turn costs as the fleet grows: CPU seconds of this process, medians, next to the bare listing."""

from __future__ import annotations

import json
import os
import statistics
import time
from pathlib import Path

import pytest
from django.utils import timezone

from pools.cloud.connection import connect
from pools.models import Origin, Sandbox, State
from pools.turn.reconciler import turn
from tests.bench.turns import FILE
from tests.fixtures.fleet import FleetUnderTest

pytestmark = [pytest.mark.bench, pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]
SIZES = (100, 1_000, 10_000)


def cpu_seconds(act, times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.process_time()
        act()
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def test_turns_grow_linearly(paper_fleet: FleetUnderTest, settings, capsys) -> None:
    settings.MAX_TOTAL_SANDBOXES = 20_000
    rows = []
    made = 0
    for size in SIZES:
        before = {app["name"] for app in paper_fleet.cloud.apps()}
        paper_fleet.cloud.control.make_apps(size - made, prefix=f"sandbox-{chr(97 + len(rows))}", owner="local")
        now = timezone.now()
        Sandbox.objects.bulk_create(
            [
                Sandbox(
                    name=app["name"], app_id=app["id"], runtime="python", image="a/b:c", region="syd", size="s",
                    url=app["url"], state=State.IN_USE, origin=Origin.COLD, create_code="cold",
                    create_reason="bench", requested_at=now,
                    create_sent_at=now, accepted_at=now, acquired_at=now,
                )
                for app in paper_fleet.cloud.apps()
                if app["name"] not in before
            ],
            batch_size=500,
        )  # fmt: skip
        made = size
        turn()
        requests = paper_fleet.cloud.state()["requests"]["GET /v2/apps"]
        listing = cpu_seconds(lambda: connect().apps(), 3)
        whole = cpu_seconds(turn, 5)
        listed = paper_fleet.cloud.state()["requests"]["GET /v2/apps"] - requests
        rows.append((size, whole, listing, listed / 8))
    if file := os.environ.get(FILE):
        Path(file).write_text(json.dumps(rows))
    with capsys.disabled():
        print("\n| apps | CPU s a turn | of it listing (floor) | ratio | list calls a turn |")
        print("| ---: | ---: | ---: | ---: | ---: |")
        for size, whole, listing, calls in rows:
            print(f"| {size:,} | {whole:.3f} | {listing:.3f} | {whole / listing:.1f} | {calls:.0f} |")
    assert rows[-1][3] == SIZES[-1] / 200
