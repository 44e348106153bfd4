"""What browsers bring along themselves, against a real Daphne: an EventSource, and nothing of ours around it."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page

from runs import events, lifecycle
from runs.models import EventKind, Run
from runs.reasons import RunEndCode
from tests.fixtures.waiting import until
from tests.fixtures.web import MakeRun, MakeWeb, Web

pytestmark = pytest.mark.django_db(transaction=True)
READ = """(address) => {
  window.seen = [];
  window.source = new EventSource(address);
  for (const kind of ["log", "status", "ready", "end"]) {
    source.addEventListener(kind, (event) => {
      const line = JSON.parse(event.data);
      if (line.kind) seen.push([event.lastEventId, event.type, line]); // others are for the first demo
    });
  }
}"""


def seen(page: Page) -> list[dict[str, Any]]:
    for last_id, kind, event in page.evaluate("window.seen"):
        assert (last_id, kind) == (str(event["seq"]), event["kind"])
    return [event for _, _, event in page.evaluate("window.seen")]


def say(run: Run, first: int, last: int) -> None:
    for number in range(first, last + 1):
        events.emit(run.id, EventKind.LOG, f"line {number}")


def test_a_browsers_event_source_reads_a_run_to_its_end_through_a_restart(
    browser: Browser, make_web: MakeWeb, make_run: MakeRun
):
    web: Web = make_web().start()
    run = make_run()
    say(run, 1, 120)
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(f"{web.url}/health/live")
        page.evaluate(READ, f"/api/stream/{run.id}")
        until(lambda: len(seen(page)) == 120, "it has read what there was")
        say(run, 121, 140)
        until(lambda: len(seen(page)) == 140, "it reads on")
        web.kill()
        say(run, 141, 160)
        web.start()
        until(lambda: len(seen(page)) == 160, "it comes back by itself, and goes on after its last line")
        assert lifecycle.end(run.id, RunEndCode.ENDED_BY_API, "Ended by a test.", timezone.now())
        until(lambda: page.evaluate("source.readyState") == 2, "it is told not to come back")
        assert seen(page) == [events.as_json(event) for event in run.events.order_by("seq")]
    finally:
        context.close()
