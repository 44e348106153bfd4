"""Pages that are open while the web process behind each is restarted, behind the nginx that we publish."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.admin.conftest import PASSWORD, Operator
from tests.browser.pages.conftest import Player
from tests.fixtures.rolling import Rolling
from tests.fixtures.waiting import until

RESUMES_MS = 2_000
BUSY_MS = 10_000  # of a slow machine that does much else
ENOUGH = 5  # lines that a page reads before anything is done to what is behind it
MAKE_OPERATOR = "from django.contrib.auth.models import User; User.objects.create_superuser('dora', '', {0!r})"
# Something is always to be told, so that a page that listens again hears it.
WRITE = """
import json, pathlib, time
from pools import journal
from pools.models import FleetEvent
from pools.reasons import PRIVATE, LogKind
from runs import events
from runs.models import EventKind, Run
run, over = Run.objects.get(), pathlib.Path(sys.argv[1])
while not over.exists():
    events.emit(run.pk, EventKind.LOG, "a line")
    journal.record(LogKind.LOOK, "a line")
    time.sleep(0.2)
print(json.dumps({
    "run": list(run.events.order_by("seq").values_list("seq", flat=True)),
    "fleet": list(FleetEvent.objects.exclude(kind__in=PRIVATE).order_by("seq").values_list("seq", flat=True)),
}))
"""
# Before the page's own scripts: how long each of its streams was away, from its end to the next message.
WATCH = """() => {
  const endedAt = new Map();
  const kinds = ["message", "log", "status", "progress", "ready", "end", "heartbeat"];
  window.pauses = [];
  window.said = [];
  const watch = (stream, address, ending) => {
    const { pathname } = new URL(address, location.href);
    stream.addEventListener(ending, () => endedAt.set(pathname, performance.now()));
    for (const kind of kinds) stream.addEventListener(kind, () => {
      if (!endedAt.has(pathname)) return;
      window.pauses.push([pathname, Math.round(performance.now() - endedAt.get(pathname))]);
      endedAt.delete(pathname);
    });
  };
  window.WebSocket = class extends WebSocket {
    constructor(address) { super(address); watch(this, address, "close"); }
  };
  window.EventSource = class extends EventSource {
    constructor(address) { super(address); watch(this, address, "error"); }
  };
  const listen = () => document.querySelectorAll("[data-transport], #live-bar").forEach((place) => {
    const note = () => window.said.push((place.querySelector("#live-link") ?? place).textContent);
    new MutationObserver(note).observe(place, { childList: true, characterData: true, subtree: true });
  });
  document.addEventListener("DOMContentLoaded", listen);
}"""
WITHOUT_SOCKETS = "window.WebSocket = class { constructor() { setTimeout(() => this.onclose?.({}), 50); } close() {} }"


class Writer:
    """Writes a line to the run's log and to the orchestrator's five times a second, until it is told to stop."""

    def __init__(self, rolling: Rolling, folder: Path) -> None:
        self._over = folder / "over"
        self._process = rolling.database.script(WRITE, str(self._over))

    def stop(self) -> dict[str, list[int]]:
        """Return the numbers of all lines that there are."""
        self._over.touch()
        out, err = self._process.communicate(timeout=30)
        assert self._process.returncode == 0, err
        return json.loads(out.splitlines()[-1])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def open_watched(open_page: Callable[..., Page]) -> Callable[..., Page]:
    """`open_watched(sockets=False)`: a page that notes how long its streams were away, in a browser without sockets."""

    def open_one(*, sockets: bool = True) -> Page:
        page = open_page(viewport={"width": 1280, "height": 800})
        page.add_init_script(f"({WATCH})()" if sockets else f"({WATCH})(); {WITHOUT_SOCKETS}")
        return page

    return open_one


def seen(page: Page) -> list[int]:
    return page.evaluate("[...document.querySelectorAll('[data-log] [data-seq]')].map((line) => +line.dataset.seq)")


def has_each_line_once(page: Page, wanted: list[int]) -> None:
    until(lambda: len(seen(page)) >= len(wanted), "all lines are there")
    assert seen(page) == wanted


def pauses(page: Page) -> dict[str, list[int]]:
    """In milliseconds, by the path of the stream."""
    found: dict[str, list[int]] = {}
    for path, pause_ms in page.evaluate("window.pauses"):
        found.setdefault(path, []).append(pause_ms)
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("most_ms", [pytest.param(RESUMES_MS, marks=pytest.mark.chaos), BUSY_MS])
def test_pages_resume_soon_when_the_process_behind_them_is_restarted(
    rolling: Rolling, open_watched: Callable[..., Page], tmp_path: Path, most_ms: int
):
    rolling.database.answer(MAKE_OPERATOR.format(PASSWORD))
    player = Player(open_watched(), rolling.url).launch("chess").wait_for("running")
    friend = Player(open_watched(sockets=False), rolling.url).open(f"/runs/{player.run_id}/")
    lobby = Player(open_watched(), rolling.url).open("/")
    lobby.page.locator("#fleet-log summary").click()
    operator = Operator("dora", open_watched(), rolling.url)
    pages = {"game": player.page, "without sockets": friend.page, "lobby": lobby.page, "fleet": operator.page}
    streams = {
        "game": {f"/ws/runs/{player.run_id}/"},
        "without sockets": {f"/api/stream/{player.run_id}"},
        "lobby": {"/ws/lobby/", "/ws/orchestrator/"},
        "fleet": {"/ws/orchestrator/"},
    }
    writer = Writer(rolling, tmp_path)
    try:
        before = {name: seen(page) for name, page in pages.items() if name != "fleet"}
        until(lambda: all(len(seen(pages[name])) > len(before[name]) + ENOUGH for name in before), "all of them read")
        for page in pages.values():
            page.evaluate("window.isTheSamePage = true")
        for web in rolling.webs:
            web.restart()
        until(lambda: all(set(pauses(page)) == streams[name] for name, page in pages.items()), "all of them read again")
        told = writer.stop()
    finally:
        writer.close()

    for name, page in pages.items():
        print(name, pauses(page), page.evaluate("[...new Set(window.said)]"))
    for name, log in (("game", "run"), ("without sockets", "run"), ("lobby", "fleet")):
        # What was there when a page was opened is shown as it was then: the same line several times in a row as one.
        has_each_line_once(pages[name], before[name] + [number for number in told[log] if number > before[name][-1]])
    for name, page in pages.items():
        assert page.evaluate("window.isTheSamePage"), f"{name}: it was loaded again"
        for path, each in pauses(page).items():
            assert max(each) < most_ms, f"{name}: {path}"
        words = " ".join(page.evaluate("window.said"))
        assert "not answer" not in words
        assert "trying again" not in words
    assert player.state == "running"
