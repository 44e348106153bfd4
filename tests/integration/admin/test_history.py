"""The page of the fleet's past: what it shows of a moment, where its links lead, and that it costs the same whatever
there was."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from pools import journal
from pools.alarm_rows import AlarmCode
from pools.console import history_chart
from pools.console.history_page import HistoryQuery, written
from pools.history_rows import Finding
from pools.models import FleetMinute, Pool, PoolMinute, Sandbox
from pools.reasons import LogKind
from tests.integration.admin.conftest import FLEET, MakeRun, on_paper, queries, sign_in

HISTORY = f"{FLEET}history/"
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
def two() -> datetime:
    """Yesterday at two."""
    return (timezone.now() - timedelta(days=1)).replace(hour=2, minute=0, second=0, microsecond=0)


def lived(pool: Pool, at: datetime, count: int = 1, **moments: Any) -> list[Sandbox]:
    """Sandboxes that were in use at that moment."""
    first = Sandbox.objects.count()
    fields = {
        "state": "deleted", "end_code": "run_over", "end_reason": "its run is over", "requested_at": at - 20 * MINUTE,
        "create_sent_at": at - 20 * MINUTE, "accepted_at": at - 20 * MINUTE, "ready_at": at - 19 * MINUTE,
        "acquired_at": at - 5 * MINUTE, "expires_at": at, "delete_requested_at": at + 5 * MINUTE,
        "deleted_at": at + 6 * MINUTE,
    } | moments  # fmt: skip
    return Sandbox.objects.bulk_create(
        Sandbox(
            name=f"sandbox-{number:08x}", pool=pool, runtime="python", image="a/b:c", region="syd", size=pool.size,
            origin="pool", create_code="demand", create_reason="a test wants it", **fields,
        )
        for number in range(first, first + count)
    )  # fmt: skip


def page(person: Any, at: datetime, **query: str) -> Any:
    answer = person.get(HISTORY, at=written(at), **query)
    assert answer.status_code == 200
    return answer


def test_yesterday_at_two_is_shown_with_verdicts_runs_figures_and_the_log(viewer, pool, make_run: MakeRun, two):
    [used, unwell] = lived(pool, two, 2)
    run = make_run(sandbox=used, state="ended", end_code="time_up", end_reason="Over.", created_at=two - 5 * MINUTE)
    Finding.objects.create(code="unwell", name=unwell.name, since=two - MINUTE, until=two + MINUTE, detail="no answer")
    Finding.objects.create(code="orphan", name="sandbox-0badcafe", app_id="app-1", since=two - HOUR)
    journal.record(LogKind.STOP, "STOPPED: too many", now=two + MINUTE)
    text = re.sub(r"\s+", " ", page(viewer, two).content.decode())
    assert "2 sandboxes, $0.0357 an hour" in text
    assert "unwell for 60 s: no answer" in text
    assert f'<a href="/admin/runs/run/{run.pk}/change/">run {run.short_id}</a> Snake' in text
    assert "sandbox-0badcafe" in text
    assert "STOPPED: too many" in text
    assert [row.state for row in page(viewer, two - 10 * MINUTE).context["rows"]] == ["Ready", "Ready"]
    assert page(viewer, two + 7 * MINUTE).context["rows"] == []


def test_the_numbers_lead_to_the_sandboxes_that_they_count(viewer, pool, two):
    lived(pool, two, 3)
    lived(pool, two, 2, acquired_at=None, expires_at=None)
    shown = page(viewer, two)
    [(_, counts)] = shown.context["figures"]
    [count, url] = next(each for each in counts if each[0] == 2)
    answer = viewer.client.get(f"{HISTORY}?{url}")
    assert (count, len(answer.context["rows"])) == (2, 2)


def test_who_picks_a_moment_that_is_not_kept_or_none_gets_the_nearest_or_the_present(viewer, pool):
    now = timezone.now()
    ninety = page(viewer, now - timedelta(days=90)).context["query"].at
    assert now - ninety < timedelta(days=30)
    for nonsense in ("yesterday", "2026-13-40T02:00", "9999999999", "\x00"):
        answer = viewer.get(HISTORY, at=nonsense, span="9y", state="asleep", pool="nobody", page="-1")
        assert (answer.status_code, "That is no moment" in answer.content.decode()) == (200, True)
    assert "That is no moment" not in viewer.get(HISTORY).content.decode()


def test_the_past_is_for_those_who_may_see_the_present(client, db):
    assert client.get(HISTORY).status_code == 302
    assert sign_in("nora").get(HISTORY).status_code == 403


def minutes_of(pool: Pool, at: datetime, ready: int, count: int = 1) -> None:
    for number in range(count):
        minute = at + number * MINUTE
        counts = {"seconds": 60, "made": 0, "creating": 0, "ready": ready, "in_use": 1, "target": 1}
        PoolMinute.objects.create(pool=pool, minute=minute, **counts)
        FleetMinute.objects.create(minute=minute, oldest_at=minute - 30 * MINUTE, cold=1, deleting=0, orphans=0)


@pytest.mark.parametrize("span", list(history_chart.SPANS))
def test_each_zoom_shows_the_moment_and_its_minutes(span, pool, two):
    minutes_of(pool, two, ready=4, count=2)
    found = history_chart.chart(two, span, None, timezone.now())
    assert found.since <= two <= found.until
    assert len(found.moments) == found.columns <= 260
    ready = [block for block in found.blocks if block.kind == "ready"]
    columns = 2 if span == "1h" else 1
    assert sum(block.width for block in ready) == columns
    assert abs(found.moments[int(ready[0].x)] - two) < timedelta(minutes=history_chart.SPANS[span][1])
    assert found.peak == 6


def test_a_column_of_the_chart_leads_to_its_moment(viewer, pool, two):
    shown = page(viewer, two, span="1h")
    at, url = shown.context["moments"][10]
    assert f'<a href="?{url}" tabindex="-1"'.replace("&", "&amp;") in shown.content.decode()
    assert viewer.client.get(f"{HISTORY}?{url}").context["query"].at == at


def test_alarms_are_bars_and_the_rest_are_lines_on_the_chart(viewer, pool, two):
    data = {"lasted_seconds": 600}
    journal.record(LogKind.ALL_CLEAR, "all clear", code=AlarmCode.BREAKER_OPEN, pool=pool, now=two, data=data)
    journal.record(LogKind.STOP, "STOPPED: too many", now=two + MINUTE)
    shown = page(viewer, two, span="1h")
    [bar, line] = [mark.block for mark in shown.context["chart"].marks]
    assert (bar.kind, round(bar.width), line.kind) == ("alarm", 10, "stop")
    assert "A pool creates nothing after failures" in shown.content.decode()
    assert [alarm.code for alarm in page(viewer, two - 5 * MINUTE).context["then"].alarms] == ["breaker_open"]


def test_the_steps_lead_a_minute_and_an_hour_on_and_back(viewer, pool, two):
    shown = page(viewer, two)
    ats = [viewer.client.get(f"{HISTORY}?{url}").context["query"].at for _, url in shown.context["steps"]]
    assert ats == [two - HOUR, two - MINUTE, two + MINUTE, two + HOUR]


def test_a_line_of_the_log_leads_to_the_fleet_then(viewer, pool, two):
    journal.record(LogKind.STOP, "STOPPED: too many", now=two)
    listed = viewer.get("/admin/pools/fleetevent/").content.decode()
    assert f"{HISTORY}?at={written(two)}:00" in listed


def test_the_page_takes_as_many_statements_whatever_there_was(viewer, pool, snake, two):
    minutes_of(pool, two - 5 * MINUTE, ready=1, count=3)
    lived(pool, two)
    on_paper(1, pool, snake)
    queries(viewer, HISTORY, at=written(two))  # the first look finds what is kept for the next ones
    few = queries(viewer, HISTORY, at=written(two))
    lived(pool, two, 150)
    on_paper(150, pool, snake)
    minutes_of(pool, two + MINUTE, ready=2, count=30)
    for number in range(20):
        Finding.objects.create(code="foreign", name=f"shop-{number}", since=two)
        journal.record(LogKind.STOP, "STOPPED: too many", now=two)
    assert queries(viewer, HISTORY, at=written(two)) == few <= 60  # half of them are of the alarms above each page


def test_what_an_address_says_is_read_in_utc_or_by_its_zone(db):
    now = timezone.now().replace(microsecond=0)
    at = now - HOUR
    told = at.astimezone(timezone.get_fixed_timezone(120)).isoformat()
    assert HistoryQuery.of({"at": told}, now).at == HistoryQuery.of({"at": written(at)}, now).at == at
