"""The first demo's front end works unchanged: its calls, field by field, as its browser client on another origin makes
them, without a cookie."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from django.utils import timezone
from websockets.sync.client import connect

from pools import journal
from pools.models import Pool, Sandbox
from pools.reasons import LogKind
from runs import events, lifecycle
from runs.models import EventKind, Run
from runs.reasons import RunEndCode
from tests.fixtures.waiting import free_port, until
from tests.fixtures.web import PLAIN, Web, new_run
from tests.integration.runs.readers import Sent, all_sent
from tests.integration.runs.sandboxes import FakeSandbox, fake_sandbox, row

pytestmark = pytest.mark.django_db(transaction=True)
ORIGIN = "https://demo.example.com"
STATUSES = ("creating", "running", "completed", "failed")
MAYBE = type(None)


@pytest.fixture(scope="module")
def open_web(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A site that lets in the demo's front end."""
    demos = {"CORS_ALLOWED_ORIGINS": ORIGIN, "ANYONE_MAY_END_RUNS": "true"}
    settings = demos | {"MAX_CONCURRENT_COLD": "3", "MAX_RUNS_PER_HOUR": "25"}
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
    new_run().delete()  # and its game stays
    Pool.objects.create(name="python", runtime="python")
    return FrontEnd(open_web)


def new_sandbox(pool: Pool, state: str) -> Sandbox:
    now = timezone.now()
    return Sandbox.objects.create(
        name=f"sandbox-{uuid4().hex[:8]}", pool=pool, runtime="python", origin="pool", state=state, requested_at=now,
        acquired_at=now if state == "in_use" else None,
        create_code="demand", create_reason="a test wants it", image="a/b:c", region="syd", size="apps-s-1vcpu-1gb",
        end_code="pool_surplus" if state == "deleting" else "", end_reason="too many" if state == "deleting" else "",
    )  # fmt: skip


def eventually(read: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:
    """What is the same for everybody may be a second old."""
    return until(lambda: found if holds(found := read()) else None, "it is looked up again", seconds=5)


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


class TestTheFleet:
    def test_says_what_its_pools_have(self, front_end: FrontEnd) -> None:
        found = front_end.read("/api/pool/status")
        assert_has(found, ready=int, creating=int, in_use=int, pool_started=bool, python=dict)
        assert_has(found["python"], ready=int, creating=int)
        assert found["pool_started"]
        assert "node" not in found, "there is no pool of it"

    def test_counts_what_is_on_its_way(self, front_end: FrontEnd) -> None:
        pool = Pool.objects.get()
        for state in ("ready", "requested", "creating", "staging", "in_use", "in_use", "deleting"):
            new_sandbox(pool, state)
        found = eventually(lambda: front_end.read("/api/pool/status"), lambda found: found["in_use"] == 2)
        assert (found["ready"] + found["pools"]["python"]["unseen"], found["creating"], found["in_use"]) == (1, 3, 2)
        assert found["python"] == {"ready": found["ready"], "creating": 3}

    def test_tells_what_it_did(self, front_end: FrontEnd) -> None:
        for number in range(3):
            journal.record(LogKind.RUN, f"line {number}")
        found = front_end.read("/api/orchestrator/logs?limit=2")
        assert [line["message"] for line in found["logs"]] == ["line 1", "line 2"]
        assert found["count"] == 2
        for line in found["logs"]:
            assert_has(line, timestamp=str, level=str, message=str)
            assert is_moment(line["timestamp"])
        assert front_end.read("/api/orchestrator/logs?limit=100&wait=0")["count"] == 3, "who waits is told the same"


def counts(*, cold: int, warm: int) -> dict[str, int]:
    return {"cold": cold, "warm": warm, "snapshot": 0, "total": cold + warm}


class TestTheOverview:
    def test_names_what_is_played_and_what_is_left(self, front_end: FrontEnd) -> None:
        launched = [front_end.launch(mode)["run_id"] for mode in ("cold", "warm", "cold")]
        found = eventually(lambda: front_end.read("/api/status"), lambda found: found["active_counts"]["total"] == 3)
        assert [run["run_id"] for run in found["active"]] == launched[::-1]
        for run in found["active"]:
            assert_is_a_sandbox(run)
        assert found["active_counts"] == counts(cold=2, warm=1)
        assert_has(found["pool"], ready=int, creating=int, in_use=int)
        assert (found["rate"]["used"], found["rate"]["limit"]) == (3, 25)
        assert 3590 <= found["rate"]["reset_in_seconds"] <= 3600

    def test_names_all_runs_where_anyone_may_end_them(self, front_end: FrontEnd) -> None:
        theirs = new_run()
        assert str(theirs.id) in {run["run_id"] for run in front_end.read("/api/status")["active"]}

    def test_names_but_the_callers_own_where_nobody_else_may(self, web: Web, front_end: FrontEnd) -> None:
        new_run(visitor="somebody else")
        with web.client() as client:
            mine = client.post("/api/launch/cold", json={}).json()
            assert [run["run_id"] for run in client.get("/api/status").json()["active"]] == [mine["run_id"]]
            assert client.get("/api/history").json() == {"deleted": [], "count": 0}
            client.delete(f"/api/sandbox/{mine['run_id']}", headers={"Authorization": f"Bearer {mine['token']}"})
            assert [run["run_id"] for run in client.get("/api/history").json()["deleted"]] == [mine["run_id"]]

    def test_has_the_limits(self, front_end: FrontEnd) -> None:
        front_end.launch()
        found = eventually(lambda: front_end.read("/api/limits"), lambda found: found["active"]["total"] == 1)
        assert found["active"] == counts(cold=1, warm=0)
        assert_has(found["rate"], used=int, limit=int, reset_in_seconds=int)
        assert found["limits"] == {"max_cold": 3, "max_warm": 3, "max_total": 10, "max_per_hour": 25}

    def test_says_what_ended_when_and_why(self, front_end: FrontEnd) -> None:
        run_id = front_end.launch()["run_id"]
        front_end.ask("DELETE", f"/api/sandbox/{run_id}")
        found = front_end.read("/api/history?limit=1")
        assert found["count"] == 1
        (deleted,) = found["deleted"]
        assert_has(
            deleted, run_id=str, type=str, game=str, status=str, bootstrap_ms=(int, MAYBE), duration_ms=int,
            created_at=str, deleted_at=str, reason=str,
        )  # fmt: skip
        assert (deleted["run_id"], deleted["status"], deleted["type"]) == (run_id, "completed", "cold")
        assert deleted["reason"] == "Ended through the API."
        lasted = datetime.fromisoformat(deleted["deleted_at"]) - datetime.fromisoformat(deleted["created_at"])
        assert deleted["duration_ms"] == pytest.approx(lasted.total_seconds() * 1000, abs=1)

    @pytest.mark.parametrize("limit", ["0", "21", "x"])
    def test_shows_one_to_twenty_that_ended(self, front_end: FrontEnd, limit: str) -> None:
        refused = front_end.ask("GET", f"/api/history?limit={limit}")
        assert (refused.status_code, type(refused.json()["detail"])) == (422, str)

    def test_sums_up(self, front_end: FrontEnd) -> None:
        for mode in ("cold", "warm"):
            front_end.launch(mode)
        Run.objects.filter(mode="cold").update(total_ms=30_000, ready_at=timezone.now(), served_by="cold")
        found = eventually(lambda: front_end.read("/api/stats"), lambda found: found["total_runs"] == 2)
        assert found["by_type"] == {"cold": 1, "warm": 1, "snapshot": 0}
        assert found["avg_times"] == {"cold_ms": 30_000, "warm_ms": None, "snapshot_ms": None}
        assert_has(found, pool_hit_rate=float)

    def test_is_healthy(self, front_end: FrontEnd) -> None:
        answer = front_end.ask("GET", "/health")
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.json()["status"] == "healthy"
        assert is_moment(answer.json()["timestamp"])


class TestAStream:
    """As an EventSource of the demo's page reads it."""

    def told(self, front_end: FrontEnd, run: Run, **headers: str) -> list[Sent]:
        address = f"{front_end.web.url}/api/stream/{run.id}"
        with httpx.stream("GET", address, headers=front_end.headers | headers, **PLAIN) as answer:
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            return list(all_sent(answer.iter_lines()))

    @pytest.fixture
    def run(self, front_end: FrontEnd) -> Run:
        """A run that was launched, ran, and was ended."""
        run = new_run(mode="warm", state="running", created_at=timezone.now() - timedelta(seconds=3))
        timings = {"acquire_ms": 2, "bootstrap_ms": 30, "restore_ms": 400, "start_ms": 8, "total_ms": 440}
        events.emit(run.id, EventKind.STATUS, "Acquiring sandbox from warm pool...", data={"code": "acquiring"})
        events.emit(run.id, EventKind.LOG, "Deploying snake from snapshot...")
        events.emit(run.id, EventKind.PROGRESS, "", data={"phase": "deploying", "share": 0.5, "left_seconds": 1})
        ready = {"url": run.play_url, "timings": timings, "deployed_from": "snapshot"}
        events.emit(run.id, EventKind.READY, "Game ready! (440 ms)", data=ready)
        events.emit(run.id, EventKind.STATUS, "Extended until 12:00:00 UTC.", data={"code": "extended"})
        return run

    def test_tells_it_all_by_the_demos_names(self, front_end: FrontEnd, run: Run) -> None:
        lifecycle.end(run.id, RunEndCode.TIME_UP, "Its time was up.", timezone.now())
        said = [sent for sent in self.told(front_end, run) if sent.event in ("log", "status", "ready", "complete")]
        assert [(sent.event, sent.data.get("status", sent.data.get("message"))) for sent in said] == [
            ("log", "Acquiring sandbox from warm pool..."),
            ("status", "creating"),
            ("log", "Deploying snake from snapshot..."),
            ("log", "Game ready! (440 ms)"),
            ("status", "running"),
            ("ready", "Game ready! (440 ms)"),
            ("log", "Extended until 12:00:00 UTC."),
            ("status", "running"),
            ("log", "Its time was up."),
            ("status", "completed"),
            ("complete", None),
        ]
        for sent in said:
            assert (sent.data["type"], sent.data["run_id"]) == (sent.event, str(run.id))
            assert is_moment(sent.data["timestamp"])
        ready = next(sent.data for sent in said if sent.event == "ready")
        assert_has(ready, ingress_url=str, bootstrap_ms=int, restore_ms=int, total_ms=int)
        assert (ready["ingress_url"], ready["bootstrap_ms"], ready["total_ms"]) == (run.play_url, 30, 440)
        assert_has(said[-1].data, duration_ms=int)
        assert said[-1].data["duration_ms"] >= 3000

    def test_of_a_run_that_fails_says_so_and_completes_nothing(self, front_end: FrontEnd, run: Run) -> None:
        lifecycle.fail(run.id, RunEndCode.SANDBOX_LOST, "Its sandbox is gone.", timezone.now())
        said = self.told(front_end, run)
        assert [sent.data["status"] for sent in said if sent.event == "status"][-1] == "failed"
        assert "complete" not in {sent.event for sent in said}

    def test_begins_with_a_sign_of_life(self, front_end: FrontEnd, run: Run) -> None:
        lifecycle.end(run.id, RunEndCode.TIME_UP, "Its time was up.", timezone.now())
        kept = [sent.data for sent in self.told(front_end, run) if sent.event == "keepalive"]
        assert kept == [None]

    def test_goes_on_behind_the_line_that_was_read_last(self, front_end: FrontEnd, run: Run) -> None:
        lifecycle.end(run.id, RunEndCode.TIME_UP, "Its time was up.", timezone.now())
        said = self.told(front_end, run, **{"Last-Event-ID": "4"})
        assert [sent.event for sent in said if sent.event not in ("heartbeat", "keepalive")] == [
            "log", "status", "log", "status", "complete", "end",
        ]  # fmt: skip


class TestAGame:
    """Through our proxy, with what it protects."""

    @pytest.fixture
    def sandbox(self) -> Iterator[FakeSandbox]:
        with fake_sandbox() as sandbox:
            yield sandbox

    @pytest.fixture
    def run(self, front_end: FrontEnd, sandbox: FakeSandbox) -> Run:
        return new_run(state="running", sandbox=row(sandbox.url), port=5000)

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
    @pytest.mark.parametrize("path", ["", "/", "/api/scores?level=2"])
    def test_answers_whatever_it_is_asked(
        self, front_end: FrontEnd, run: Run, sandbox: FakeSandbox, method: str, path: str
    ) -> None:
        answer = front_end.ask(
            method, f"/api/game/{run.id}{path}", json={"a": 1} if method in ("POST", "PUT") else None
        )
        assert (answer.status_code, answer.text) == (200, "a game")
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        (asked,) = sandbox.asked
        assert (asked.method, asked.target) == (method, f"/proxy/5000/{path.removeprefix('/')}")
        assert asked.body == (b'{"a":1}' if method in ("POST", "PUT") else b"")

    def test_is_sent_more_than_the_rest_of_the_api_takes(
        self, front_end: FrontEnd, run: Run, sandbox: FakeSandbox
    ) -> None:
        assert front_end.ask("PUT", f"/api/game/{run.id}/save", content=b"x" * 1_000_000).status_code == 200
        assert [len(asked.body) for asked in sandbox.asked] == [1_000_000]
        assert front_end.ask("PUT", f"/api/game/{run.id}/save", content=b"x" * 10_000_001).status_code == 413

    def test_is_opened_at_its_ingress_url(self, front_end: FrontEnd, run: Run) -> None:
        found = front_end.read(f"/api/sandbox/{run.id}")
        assert found["status"] == "running"
        in_a_tab = {"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
        assert httpx.get(found["ingress_url"], headers=in_a_tab, **PLAIN).text == "a game"

    def test_is_never_shown_at_the_sites_own_address(self, front_end: FrontEnd, run: Run, sandbox: FakeSandbox) -> None:
        web = front_end.web
        for shown in ({"Sec-Fetch-Mode": "navigate"}, {"Accept": "text/html,*/*"}):
            led = web.get(f"/api/game/{run.id}/a/b%20c?x=1", headers=shown)
            assert (led.status_code, led.headers["location"]) == (307, f"{web.play_url}/play/{run.id}/a/b%20c?x=1")
        as_a_script = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}
        assert web.get(f"/api/game/{run.id}/game.js", headers=as_a_script).status_code == 403
        assert sandbox.asked == []
        assert web.get(f"/api/game/{run.id}/").headers["content-security-policy"].startswith("sandbox allow-scripts")

    def test_gets_no_cookie_and_no_path_that_leads_out(
        self, front_end: FrontEnd, run: Run, sandbox: FakeSandbox
    ) -> None:
        answer = front_end.web.get(f"/api/game/{run.id}/..%2f..%2fapi/processes", headers={"Cookie": "a=b"})
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
        front_end.web.get(f"/api/game/{run.id}/", headers={"Cookie": "a=b"})
        (asked,) = sandbox.asked
        assert asked.header("cookie") == []

    def test_that_nobody_launched_is_a_404(self, front_end: FrontEnd) -> None:
        for path in ("00000000-0000-4000-8000-000000000000", "00000000-0000-4000-8000-000000000000/x", "x", ""):
            answer = front_end.ask("GET", f"/api/game/{path}")
            assert (answer.status_code, type(answer.json()["detail"])) == (404, str)

    def test_that_is_not_ready_is_a_503(self, front_end: FrontEnd) -> None:
        answer = front_end.ask("GET", f"/api/game/{front_end.launch()['run_id']}/")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["detail"] == "The game is starting. Ask again in 1 s."

    def test_that_does_not_answer_is_a_502(self, front_end: FrontEnd) -> None:
        gone = new_run(state="running", sandbox=row(f"http://127.0.0.1:{free_port()}"), port=5000)
        answer = front_end.ask("GET", f"/api/game/{gone.id}")
        assert (answer.status_code, answer.json()["status"]) == (502, 502)

    def test_that_is_over_is_forgotten_here_as_the_demo_forgot_it(self, front_end: FrontEnd) -> None:
        over = new_run(state="ended", end_code="time_up", end_reason="Its time was up.", ended_at=timezone.now())
        answer = front_end.ask("GET", f"/api/game/{over.id}/")
        assert (answer.status_code, answer.json()["detail"]) == (404, "This game is over. Its time was up.")

    def test_is_not_for_pages_of_other_sites(self, open_web: Web, run: Run, sandbox: FakeSandbox) -> None:
        stranger = FrontEnd(open_web, "https://evil.example.com")
        assert stranger.ask("POST", f"/api/game/{run.id}/", json={}).status_code == 403
        assert sandbox.asked == []
        assert "access-control-allow-origin" not in stranger.ask("GET", f"/api/game/{run.id}/").headers
