"""The first demo's front end in a real browser: a page on another origin that fetches, and reads an EventSource."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Page

from runs import events
from runs.models import EventKind, Run
from tests.fixtures.waiting import until
from tests.fixtures.web import MakeWeb, Web, new_run
from tests.integration.runs.sandboxes import fake_sandbox, row

pytestmark = pytest.mark.django_db(transaction=True)

ASK = """async ([address, options]) => {
  try {
    const answer = await fetch(address, options);
    return [answer.status, await answer.text()];
  } catch (error) {
    return [0, String(error)];
  }
}"""
READ = """(address) => {
  window.heard = [];
  const source = new EventSource(address);
  for (const type of ["log", "status", "ready", "complete", "keepalive"]) {
    source.addEventListener(type, (event) => {
      const data = event.data ? JSON.parse(event.data) : { type };
      heard.push([type, (type === "status" ? data.status : data.message) ?? null]);
    });
  }
}"""


class Home(BaseHTTPRequestHandler):
    """The page of the front end; what it does, the tests do in it."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><link rel=icon href=data:,><title>The demo</title>")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def home() -> Iterator[str]:
    """The origin of the front end."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Home) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def ask(page: Page, method: str, address: str, body: str = "") -> Any:
    options: dict[str, Any] = {"method": method}
    if body:
        options |= {"headers": {"Content-Type": "application/json"}, "body": body}
    return page.evaluate(ASK, [address, options])


def test_it_launches_follows_plays_and_deletes(open_page: Callable[..., Page], make_web: MakeWeb, home: str) -> None:
    new_run().delete()  # and its game stays
    web: Web = make_web(CORS_ALLOWED_ORIGINS=home, ANYONE_MAY_END_RUNS="true").start()
    page = open_page()
    page.goto(home)
    status, text = ask(page, "POST", f"{web.url}/api/launch/cold", '{"game": "snake", "use_snapshot": true}')
    assert status == 201, text
    run = Run.objects.get()
    page.evaluate(READ, f"{web.url}/api/stream/{run.id}")
    until(lambda: ["status", "creating"] in page.evaluate("heard"), "it hears that the sandbox is being created")
    with fake_sandbox() as sandbox:
        Run.objects.update(state="running", sandbox=row(sandbox.url), port=5000)
        ready = {"url": run.play_url, "timings": {"bootstrap_ms": 1, "total_ms": 2}}
        events.emit(run.id, EventKind.READY, "Game ready! (2 ms)", data=ready)
        until(lambda: ["ready", "Game ready! (2 ms)"] in page.evaluate("heard"), "it hears that the game is ready")
        for method in ("GET", "POST", "PUT", "DELETE"):
            assert ask(page, method, f"{web.url}/api/game/{run.id}/scores") == [200, "a game"]
        for path in ("/health", "/api/status", "/api/history", "/api/stats", "/api/limits", "/api/pool/status"):
            assert ask(page, "GET", web.url + path)[0] == 200, path
    assert ask(page, "DELETE", f"{web.url}/api/sandbox/{run.id}")[0] == 200
    until(lambda: ["status", "completed"] in page.evaluate("heard"), "it hears that the run is over")
    heard = page.evaluate("heard")
    assert heard[0] == ["keepalive", None]
    assert ["log", "Ended through the API."] in heard
    assert heard[-1][0] == "complete"


def test_a_page_that_is_not_named_does_none_of_it(browser: Any, make_web: MakeWeb, home: str) -> None:
    new_run().delete()
    web: Web = make_web(CORS_ALLOWED_ORIGINS="https://demo.example.com").start()
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(home)
        for method, path, body in (("GET", "/api/status", ""), ("POST", "/api/launch/cold", "{}")):
            status, text = ask(page, method, web.url + path, body)
            assert (status, "Failed to fetch" in text) == (0, True)
        assert not Run.objects.exists()
    finally:
        context.close()
