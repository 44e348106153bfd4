"""The first demo's front end works unchanged: its calls, field by field, as its browser client on another origin makes
them, without a cookie."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from pools.models import Pool
from runs.models import Run
from tests.fixtures.web import PLAIN, Web, new_run

pytestmark = pytest.mark.django_db(transaction=True)
ORIGIN = "https://demo.example.com"
STATUSES = ("creating", "running", "completed", "failed")
MAYBE = type(None)


@pytest.fixture(scope="module")
def open_web(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A site that lets in the demo's front end."""
    settings = {"CORS_ALLOWED_ORIGINS": ORIGIN, "MAX_CONCURRENT_COLD": "3", "MAX_RUNS_PER_HOUR": "25"}
    web = Web(tmp_path_factory.mktemp("open") / "web.log", **settings).start()
    yield web
    web.stop()
    print(web.log.read_text())


class FrontEnd:
    """Asks as the demo's page does: by `fetch` from its own origin."""

    def __init__(self, web: Web, origin: str = ORIGIN) -> None:
        self.web, self.headers = web, {"Origin": origin, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return httpx.request(method, self.web.url + path, headers=self.headers, **PLAIN, **options)

    def read(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def launch(self, mode: str = "cold", **body: Any) -> Any:
        answer = self.ask("POST", f"/api/launch/{mode}", json=body)
        assert answer.is_success, answer.text
        return answer.json()


@pytest.fixture
def front_end(open_web: Web) -> FrontEnd:
    new_run(state="ended", end_code="time_up", end_reason="Its time was up.", ended_at=datetime.now(UTC))
    Pool.objects.create(name="python", runtime="python")
    return FrontEnd(open_web)


def is_moment(text: str) -> bool:
    return datetime.fromisoformat(text).tzinfo is not None


def assert_has(answer: Any, **types: Any) -> None:
    """Each of these fields is there, and of its type, or of one of its types."""
    assert {name: answer.get(name, "missing") for name, wanted in types.items() if not _is(answer, name, wanted)} == {}


def _is(answer: Any, name: str, wanted: Any) -> bool:
    return name in answer and type(answer[name]) in (wanted if isinstance(wanted, tuple) else (wanted,))


def assert_is_a_sandbox(found: Any) -> None:
    assert_has(
        found, run_id=str, type=str, game=str, status=str, app_id=(str, MAYBE), ingress_url=(str, MAYBE),
        bootstrap_ms=(int, MAYBE), acquire_ms=(int, MAYBE), restore_ms=(int, MAYBE), duration_ms=(int, MAYBE),
        created_at=str, expires_at=(str, MAYBE),
    )  # fmt: skip
    assert found["type"] in ("cold", "warm", "snapshot")
    assert found["status"] in STATUSES
    assert is_moment(found["created_at"])


class TestALaunch:
    @pytest.mark.parametrize("mode", ["cold", "warm"])
    def test_is_answered_with_its_id_its_stream_and_a_message(self, front_end: FrontEnd, mode: str) -> None:
        launched = front_end.launch(mode, game="snake", use_snapshot=True)
        assert_has(launched, run_id=str, stream_url=str, message=str)
        assert launched["stream_url"].endswith(f"/api/stream/{launched['run_id']}")
        found = front_end.read(f"/api/sandbox/{launched['run_id']}")
        assert_is_a_sandbox(found)
        assert (found["type"], found["status"], found["state"]) == (mode, "creating", "acquiring")

    def test_is_of_snake_where_no_game_is_named(self, front_end: FrontEnd) -> None:
        assert front_end.launch()["game"] == "snake"

    def test_beyond_the_limits_is_a_429_with_a_detail(self, front_end: FrontEnd) -> None:
        for _ in range(3):
            front_end.launch()
        refused = front_end.ask("POST", "/api/launch/cold", json={})
        assert refused.status_code == 429
        assert "the most allowed at once" in refused.json()["detail"]

    def test_is_deleted_without_a_cookie(self, front_end: FrontEnd) -> None:
        run_id = front_end.launch()["run_id"]
        deleted = front_end.ask("DELETE", f"/api/sandbox/{run_id}")
        assert deleted.status_code == 200
        assert_has(deleted.json(), message=str, run_id=str)

    def test_that_is_over_stays_readable_with_its_reason(self, front_end: FrontEnd) -> None:
        """The one deliberate difference: the demo forgot it, and answered 404."""
        run_id = front_end.launch()["run_id"]
        front_end.ask("DELETE", f"/api/sandbox/{run_id}")
        found = front_end.read(f"/api/sandbox/{run_id}")
        assert_is_a_sandbox(found)
        assert (found["status"], found["state"], found["ingress_url"]) == ("completed", "ended", None)
        assert found["end_reason"] == "Ended through the API."

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_that_never_was_is_a_404_with_a_detail(self, front_end: FrontEnd, method: str) -> None:
        answer = front_end.ask(method, "/api/sandbox/00000000-0000-4000-8000-000000000000")
        assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such run.")


class TestAnotherOrigin:
    def test_may_read_what_it_asks_for(self, front_end: FrontEnd) -> None:
        answer = front_end.ask("GET", "/api/games")
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "access-control-allow-credentials" not in answer.headers
        assert "Origin" in answer.headers["vary"]

    def test_asks_first_whether_it_may_launch_and_delete(self, front_end: FrontEnd) -> None:
        for method in ("POST", "DELETE", "PUT"):
            asking = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "content-type"}
            may = httpx.options(f"{front_end.web.url}/api/launch/cold", headers={"Origin": ORIGIN} | asking, **PLAIN)
            assert (may.status_code, may.headers["access-control-allow-origin"]) == (200, ORIGIN)
            assert method in may.headers["access-control-allow-methods"]

    def test_reads_errors_too(self, front_end: FrontEnd) -> None:
        for path in ("/api/nothing", "/api/sandbox/00000000-0000-4000-8000-000000000000", "/api/stream/x"):
            answer = front_end.ask("GET", path)
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (404, ORIGIN)
            assert answer.json()["detail"]

    def test_that_is_not_allowed_is_refused(self, open_web: Web, front_end: FrontEnd) -> None:
        for origin in ("https://evil.example.com", "null", f"{ORIGIN}:8443", "http://demo.example.com"):
            stranger = FrontEnd(open_web, origin)
            launched = stranger.ask("POST", "/api/launch/cold", json={})
            assert (launched.status_code, launched.headers.get("access-control-allow-origin")) == (403, None)
            assert "access-control-allow-origin" not in stranger.ask("GET", "/api/games").headers
            asking = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            may = httpx.options(f"{open_web.url}/api/launch/cold", headers=asking, **PLAIN)
            assert (may.status_code, may.headers["content-type"]) == (403, "application/problem+json")
            assert "access-control-allow-origin" not in may.headers

    def test_is_nobody_whatever_cookies_its_browser_sends(self, open_web: Web, front_end: FrontEnd) -> None:
        """A page of the same machine at another port: a browser sends it our cookies."""
        with open_web.client() as browser:
            browser.get("/")
            cookies = dict(browser.cookies)
            assert cookies
            own = browser.post("/api/launch/cold", json={}, headers={"Origin": open_web.url})
            foreign = browser.post("/api/launch/cold", json={}, headers={"Origin": ORIGIN})
        assert [own.status_code, foreign.status_code] == [201, 201]
        visitors = [Run.objects.get(pk=answer.json()["run_id"]).visitor for answer in (own, foreign)]
        assert visitors[1] == Run.objects.get(pk=front_end.launch("warm")["run_id"]).visitor != visitors[0]

    def test_sees_no_page_and_opens_no_socket(self, front_end: FrontEnd) -> None:
        assert "access-control-allow-origin" not in front_end.ask("GET", "/").headers
        with connect(f"{front_end.web.address}/ws/orchestrator/", origin=ORIGIN) as socket:
            assert json.loads(socket.recv(timeout=10))["status"] == 403

    def test_is_let_in_nowhere_by_default(self, web: Web, front_end: FrontEnd) -> None:
        stranger = FrontEnd(web)
        assert stranger.ask("POST", "/api/launch/cold", json={}).status_code == 403
        assert "access-control-allow-origin" not in stranger.ask("GET", "/api/games").headers
