"""Behind nginx as its guides set it up, and behind two of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User

from runs.models import Run
from tests.fixtures.nginx import MakeNginx
from tests.fixtures.waiting import free_port
from tests.fixtures.web import MakeWeb, Web, new_run
from tests.integration.runs.sandboxes import FakeSandbox, fake_sandbox, row

pytestmark = pytest.mark.django_db(transaction=True)


class Front:
    """What a client sees: a port, and the names that lead there."""

    def __init__(self, port: int, web: Web) -> None:
        self.port, self.web = port, web
        self.site, self.games = f"http://site.test:{port}", f"http://play.test:{port}"

    def ask(self, method: str, url: str, headers: dict[str, str] | None = None, **options: Any) -> httpx.Response:
        host = url.split("/")[2]
        path = url.removeprefix(f"http://{host}")
        at = f"http://127.0.0.1:{self.port}{path}"
        return httpx.request(
            method, at, headers={"Host": host} | (headers or {}), trust_env=False, timeout=30, **options
        )


MakeFront = Callable[..., Front]


@pytest.fixture
def make_front(make_web: MakeWeb, make_nginx: MakeNginx) -> MakeFront:
    """`make_front(proxies=2)`: a site behind so many proxies."""

    def make(*, proxies: int = 1, trusted: int | None = None, **nginx: str) -> Front:
        port = free_port()
        addresses = {"PUBLIC_URL": f"http://site.test:{port}", "PLAY_URL": f"http://play.test:{port}"}
        addresses |= {"MAX_CONCURRENT_COLD": "10", "MAX_TOTAL_SANDBOXES": "10"}
        web = make_web(TRUSTED_PROXIES=str(proxies if trusted is None else trusted), **addresses).start()
        upstream = web.port
        for _ in range(proxies - 1):
            upstream = make_nginx(upstream)
        return Front(make_nginx(upstream, port=port, **nginx), web)

    return make


@pytest.fixture
def sandbox() -> Iterator[FakeSandbox]:
    with fake_sandbox() as sandbox:
        yield sandbox


def test_games_are_shown_and_their_policy_names_where_they_are(make_front: MakeFront, sandbox: FakeSandbox) -> None:
    front = make_front()
    run = new_run(state="running", sandbox=row(sandbox.url), port=5000, visitor="key:1a2b3c4d")
    page = front.ask("GET", f"{front.site}/runs/{run.id}/")
    assert f'src="{front.games}/play/{run.id}/"' in page.text
    assert f"frame-src {front.games};" in page.headers["content-security-policy"]
    framed = {"Sec-Fetch-Dest": "iframe", "Accept": "text/html"}
    shown = front.ask("GET", f"{front.games}/play/{run.id}/", framed)
    assert shown.text == "a game"
    policy = shown.headers["content-security-policy"]
    assert f"default-src {front.games}/play/{run.id}/ " in policy
    assert f"frame-ancestors {front.site}" in policy
    led = front.ask("GET", f"{front.site}/play/{run.id}/", framed)
    assert (led.status_code, led.headers["location"]) == (307, f"{front.games}/play/{run.id}/")


def test_links_have_the_port_that_nginx_cut_off(make_front: MakeFront) -> None:
    front = make_front()
    run = new_run()
    assert front.ask("GET", f"{front.site}/api/sandbox/{run.id}").json()["page_url"] == f"{front.site}/runs/{run.id}/"


def test_an_operator_signs_in(make_front: MakeFront) -> None:
    """The form's Origin has the port, and the Host that arrives has none."""
    User.objects.create_superuser("ada", password="right")
    front = make_front()
    login = f"{front.site}/admin/login/?next=/admin/"
    form = front.ask("GET", login)
    cookies = SimpleCookie(form.headers["set-cookie"])
    (name, token), *_ = ((name, morsel.value) for name, morsel in cookies.items() if "csrf" in name)
    sent = front.ask(
        "POST",
        login,
        {"Origin": front.site, "Cookie": f"{name}={token}", "Referer": login},
        data={"username": "ada", "password": "wrong", "csrfmiddlewaretoken": token},
    )
    assert sent.status_code == 200, "it was read, and not taken for another site's"
    assert "correct" in sent.text


def visitor_of_a_launch(front: Front, **headers: str) -> str:
    launched = front.ask("POST", f"{front.site}/api/launch/cold", headers, json={"game": "snake"})
    assert launched.status_code == 201, launched.text
    return Run.objects.get(pk=launched.json()["run_id"]).visitor


@pytest.mark.parametrize("proxies", [1, 2])
def test_nobody_comes_from_an_address_they_made_up(make_front: MakeFront, proxies: int) -> None:
    new_run()
    front = make_front(proxies=proxies)
    mine = visitor_of_a_launch(front)
    for claimed in ("6.6.6.6", "6.6.6.6, 7.7.7.7", "2001:db8::1", "unknown"):
        assert visitor_of_a_launch(front, **{"X-Forwarded-For": claimed}) == mine


def test_no_header_walks_around_a_rule_of_the_proxy(make_front: MakeFront) -> None:
    front = make_front(admin="deny all;")
    assert front.ask("GET", f"{front.site}/admin/login/").status_code == 403
    for name in ("Daphne-Root-Path", "X-Forwarded-Prefix", "X-Script-Name"):
        walked = front.ask("GET", f"{front.site}/x/admin/login/", {name: "/x"})
        assert (walked.status_code, "csrfmiddlewaretoken" in walked.text) == (404, False)


@pytest.mark.parametrize("value", ["https; script-src *", "gopher", "\xff", "https,"])
def test_what_is_no_scheme_changes_nothing(make_front: MakeFront, value: str) -> None:
    front = make_front()
    said = {"X-Forwarded-Proto": value.encode("latin-1"), "X-Forwarded-For": b"\xff"}
    with closing(httpx.Client(base_url=front.web.url, trust_env=False)) as direct:
        answer = direct.get("/", headers=[("Host", b"site.test"), *said.items()])
    assert answer.status_code == 200
    assert "script-src *" not in answer.headers["content-security-policy"]
    assert "gopher" not in answer.text
