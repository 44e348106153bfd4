"""Games on an origin of their own, where there is nothing else; without one they stay in their frames."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import httpx
import pytest

from pools.models import Sandbox
from runs.models import Run
from tests.fixtures.waiting import free_port
from tests.fixtures.web import Web, new_run
from tests.integration.runs.sandboxes import FakeSandbox, fake_sandbox, http, row

pytestmark = pytest.mark.django_db(transaction=True)
AS_A_PAGE = {"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
IN_A_FRAME = {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Mode": "navigate", "Accept": "text/html"}


@pytest.fixture
def sandbox() -> Iterator[FakeSandbox]:
    with fake_sandbox() as sandbox:
        yield sandbox


def playing(sandbox: FakeSandbox) -> Run:
    """A key's run, whose page shows its game to whoever asks."""
    return new_run(state="running", sandbox=row(sandbox.url), port=5000, visitor="key:1a2b3c4d")


def served(folder: Path, **settings: str) -> Iterator[Web]:
    web = Web(folder / "web.log")
    web.environment |= {name: value.format(web=web) for name, value in settings.items()}
    yield web.start()
    web.stop()
    print(web.log.read_text())


@pytest.fixture(scope="module")
def one_origin(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A site whose games have no origin of their own."""
    yield from served(tmp_path_factory.mktemp("one"), PLAY_URL="{web.url}")


@pytest.fixture(scope="module")
def names(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A site that gives each game a name."""
    play_url = "http://*.play.test:{web.port}"
    yield from served(tmp_path_factory.mktemp("names"), PLAY_URL=play_url, PUBLIC_URL="http://site.test:{web.port}")


class TestWithOneOfTheirOwn:
    def test_a_browser_is_led_from_the_sites_address_to_the_games(self, web: Web, sandbox: FakeSandbox) -> None:
        run = playing(sandbox)
        for headers in (AS_A_PAGE, IN_A_FRAME, {"Origin": "null"}, {"Accept": "text/html,*/*"}):
            led = web.get(f"/play/{run.id}/a/b%20c?x=1", headers=headers)
            assert (led.status_code, led.headers["location"]) == (307, f"{web.play_url}/play/{run.id}/a/b%20c?x=1")
        assert sandbox.asked == []

    def test_there_it_is_shown_in_a_frame_and_in_a_tab(self, web: Web, sandbox: FakeSandbox) -> None:
        run = playing(sandbox)
        for headers in (AS_A_PAGE, IN_A_FRAME):
            shown = httpx.get(f"{web.play_url}/play/{run.id}/", headers=headers, trust_env=False)
            assert (shown.status_code, shown.text) == (200, "a game")
            policy = shown.headers["content-security-policy"]
            assert f"default-src {web.play_url}/play/{run.id}/ " in policy
            assert f"frame-ancestors {web.url}" in policy
            assert policy.startswith("sandbox allow-scripts allow-pointer-lock;")

    def test_a_program_is_answered_at_either(self, web: Web, sandbox: FakeSandbox) -> None:
        run = playing(sandbox)
        assert web.get(f"/play/{run.id}/").text == "a game"
        assert httpx.get(f"{web.play_url}/play/{run.id}/", trust_env=False).text == "a game"

    @pytest.mark.parametrize("path", ["/", "/admin/login/?next=/admin/", "/stats/", "/runs/x/", "/static/css/base.css"])
    def test_no_page_of_ours_is_shown_there(self, web: Web, path: str) -> None:
        led = httpx.get(web.play_url + path, headers=AS_A_PAGE, trust_env=False)
        assert (led.status_code, led.headers["location"]) == (307, web.url + path)
        assert "set-cookie" not in led.headers

    def test_nobody_signs_in_there(self, web: Web) -> None:
        led = httpx.post(f"{web.play_url}/admin/login/", data={"username": "a", "password": "b"}, trust_env=False)
        assert (led.status_code, led.headers["location"]) == (307, f"{web.url}/admin/login/")

    def test_the_api_tells_where_it_is(self, web: Web, sandbox: FakeSandbox) -> None:
        run = playing(sandbox)
        for site in (web.url, web.play_url):
            told = httpx.get(f"{site}/api/sandbox/{run.id}", trust_env=False).json()
            assert told["play_url"] == told["ingress_url"] == f"{web.play_url}/play/{run.id}/"
            assert told["page_url"] == f"{web.url}/runs/{run.id}/"

    def test_its_pages_may_change_nothing_of_ours(self, web: Web) -> None:
        asked = httpx.post(
            f"{web.play_url}/api/launch/warm", json={"game": "x"}, headers={"Origin": web.play_url}, trust_env=False
        )
        assert asked.status_code == 403

    def test_the_run_page_frames_it_and_its_policy_lets_it(self, web: Web, sandbox: FakeSandbox) -> None:
        run = playing(sandbox)
        page = web.get(f"/runs/{run.id}/")
        assert f'src="{web.play_url}/play/{run.id}/"' in page.text
        assert "Open in a new tab" in page.text
        assert f"frame-src {web.play_url};" in page.headers["content-security-policy"]

    def test_a_foreign_name_is_no_address(self, web: Web, sandbox: FakeSandbox) -> None:
        run = playing(sandbox)
        refused = web.get(f"/play/{run.id}/", headers={"Host": "evil.test"})
        assert refused.status_code == 400
        assert sandbox.asked == []

    def test_a_host_without_its_port_changes_no_address(self, web: Web, sandbox: FakeSandbox) -> None:
        """nginx' `proxy_set_header Host $host` cuts it: games were blank."""
        run = playing(sandbox)
        shown = web.get(f"/play/{run.id}/", headers={"Host": "localhost"} | IN_A_FRAME)
        assert f"default-src {web.play_url}/play/{run.id}/ " in shown.headers["content-security-policy"]
        assert web.get(f"/api/sandbox/{run.id}", headers={"Host": "127.0.0.1"}).json()["page_url"].startswith(web.url)


class TestWithoutOne:
    def test_a_game_is_not_shown_on_top(self, one_origin: Web, sandbox: FakeSandbox) -> None:
        run = playing(sandbox)
        refused = one_origin.get(f"/play/{run.id}/", headers=AS_A_PAGE)
        assert refused.status_code == 403
        assert f'href="{one_origin.url}/runs/{run.id}/"' in refused.text
        assert sandbox.asked == []

    def test_a_game_is_shown_in_its_frame(self, one_origin: Web, sandbox: FakeSandbox) -> None:
        run = playing(sandbox)
        shown = one_origin.get(f"/play/{run.id}/", headers=IN_A_FRAME)
        assert shown.text == "a game"
        assert f"frame-ancestors {one_origin.url}" in shown.headers["content-security-policy"]

    def test_where_browsers_do_not_say_a_frame_is_known_by_its_page(
        self, one_origin: Web, sandbox: FakeSandbox
    ) -> None:
        run = playing(sandbox)
        html = {"Accept": "text/html,*/*;q=0.8"}
        assert one_origin.get(f"/play/{run.id}/", headers=html).status_code == 403
        from_its_page = html | {"Referer": f"{one_origin.url}/runs/{run.id}/"}
        assert one_origin.get(f"/play/{run.id}/", headers=from_its_page).status_code == 200
        elsewhere = html | {"Referer": f"{one_origin.url}.evil.test/"}
        assert one_origin.get(f"/play/{run.id}/", headers=elsewhere).status_code == 403

    def test_what_a_browser_keeps_from_a_frame_is_not_for_a_tab(
        self, one_origin: Web, web: Web, sandbox: FakeSandbox
    ) -> None:
        """Firefox showed a game on top, from its cache, when the game had it kept."""
        sandbox.answer = http(b"a game", "Content-Type: text/html", "Cache-Control: max-age=3600", "Vary: Range")
        run = playing(sandbox)
        shown = one_origin.get(f"/play/{run.id}/", headers=IN_A_FRAME)
        assert shown.headers["vary"] == "Range, sec-fetch-dest, accept, referer"
        on_its_own = httpx.get(f"{web.play_url}/play/{run.id}/", headers=IN_A_FRAME, trust_env=False)
        assert on_its_own.headers["vary"] == "Range"

    def test_its_page_offers_no_tab(self, one_origin: Web, sandbox: FakeSandbox) -> None:
        page = one_origin.get(f"/runs/{playing(sandbox).id}/").text
        assert "Open in a new tab" not in page
        assert "game-frame" in page


class TestWithANameForEach:
    def test_a_game_answers_to_its_own_name_only(self, names: Web, sandbox: FakeSandbox) -> None:
        run, other = playing(sandbox), playing(sandbox)
        shown = names.get(f"/play/{run.id}/", headers={"Host": f"{run.id}.play.test:{names.port}"} | AS_A_PAGE)
        assert shown.text == "a game"
        own = f"http://{run.id}.play.test:{names.port}/play/{run.id}/"
        assert f"default-src {own} " in shown.headers["content-security-policy"]
        refused = names.get(f"/play/{run.id}/", headers={"Host": f"{other.id}.play.test:{names.port}"} | AS_A_PAGE)
        assert refused.status_code == 404

    def test_the_pages_policy_names_them_all(self, names: Web) -> None:
        policy = names.get("/", headers={"Host": f"site.test:{names.port}"}).headers["content-security-policy"]
        assert f"frame-src http://*.play.test:{names.port};" in policy


class TestAShareForEach:
    """A game that hangs took all the ways to games there were."""

    def test_others_are_answered_and_the_hanging_one_is_not_blamed(self, web: Web, sandbox: FakeSandbox) -> None:
        go_on = Event()

        def hang(_: socket.socket) -> None:
            go_on.wait(60)

        with fake_sandbox() as well, ThreadPoolExecutor(40) as browsers, web.client() as client:
            sandbox.answer = hang
            hanging, playable = playing(sandbox), playing(well)
            asking = [browsers.submit(web.get, f"/play/{hanging.id}/{number}") for number in range(30)]
            time.sleep(0.5)
            began = time.monotonic()
            for _ in range(20):
                assert client.get(f"/play/{playable.id}/").text == "a game"
            assert time.monotonic() - began < 30, "half of what the others hang for"
            refused = web.get(f"/play/{hanging.id}/")
            go_on.set()
            answers = [each.result() for each in asking]
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert "This game has many requests under way" in refused.text
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(503) == 30 - 8, "eight of one address had their turn"
        assert Sandbox.objects.get(pk=playable.sandbox_id).health_failures == 0

    def test_a_body_is_passed_on_as_it_comes(self, web: Web, sandbox: FakeSandbox) -> None:
        """Nothing of it is kept here: 200 players who save 9 MB each would be 2 GB."""
        run = playing(sandbox)
        sandbox.answer = http(b"saved")
        before = web.memory_mb()
        body = b"x" * 9_000_000

        def save() -> int:
            return httpx.post(
                f"{web.url}/play/{run.id}/save", content=iter([body]), trust_env=False, timeout=60
            ).status_code

        with ThreadPoolExecutor(12) as players:
            assert [each.result() for each in [players.submit(save) for _ in range(24)]] == [200] * 24
        assert web.memory_mb() - before < 50
        assert {len(asked.body) for asked in sandbox.asked} == {len(body)}


def test_a_second_port_is_listened_on(tmp_path: Path, transactional_db: None) -> None:
    """As `manage.py up` starts the web server with PLAY_PORT."""
    port = free_port()
    script = (
        "import django; django.setup(); from django.conf import settings; "
        f"settings.PLAY_PORT = {port}; from orchestrator_site.processes import services; print(services.web().command)"
    )
    web = Web(tmp_path / "web.log")
    told = subprocess.run(
        [sys.executable, "-c", script], env=web.environment, capture_output=True, text=True, check=True
    )
    assert re.search(rf"'-e', 'tcp:port={port}:interface=127.0.0.1'", told.stdout)
