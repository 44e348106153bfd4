"""Operators in front of the live fleet, while its cloud is changed behind the product's back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import WebSocket

from tests.browser.admin.conftest import FLEET, SECONDS, Operator, SignIn
from tests.fixtures.accessibility import Screen, must_be_accessible
from tests.fixtures.browser import see_as
from tests.fixtures.local_cloud_control import LocalCloudControl
from tests.fixtures.stack import Stack
from tests.fixtures.waiting import until


@pytest.fixture(scope="module", autouse=True)
def played(product: Stack) -> Callable[[], dict[str, Any]]:
    """A game that is being launched while the first tests begin; what became of it by now."""
    answer = httpx.post(f"{product.url}/api/launch/cold", json={"game": "snake"}, timeout=SECONDS, trust_env=False)
    run = answer.json()["run_id"]
    return lambda: product.get(f"/api/sandbox/{run}").json()


@pytest.fixture(autouse=True)
def empty(product: Stack, cloud: LocalCloudControl) -> Iterator[None]:
    """What a test leaves behind is taken away."""
    yield
    cloud.clear()
    for app in cloud.apps():
        if not app["owner"] or app["name"].startswith("sandbox-dead"):
            cloud.delete_app(app["id"])


def turn(operator: Operator, reason: str = "a test") -> None:
    """Press *Reconcile now* on whatever page of the fleet is open; on a slow machine it may take another press."""

    def is_taken() -> bool:
        operator.page.locator("#turn-reason").fill(reason)
        operator.page.get_by_role("button", name="Reconcile now").click()
        return "The turn was taken" in operator.page.locator(".messagelist").inner_text()

    until(is_taken, "a turn is taken", seconds=SECONDS)


def names(cloud: LocalCloudControl) -> list[str]:
    return [app["name"] for app in cloud.apps()]


def is_live(operator: Operator) -> None:
    operator.page.locator("#live-link").get_by_text("Live.", exact=True).wait_for()


def test_an_app_made_behind_our_back_appears_as_foreign_without_a_reload(dora, sign_in, cloud):
    is_live(dora)
    dora.page.evaluate("window.isTheSamePage = true")
    cloud.make_app("company-website")
    turn(sign_in("otto"))
    dora.sees("company-website", "foreign")
    assert "only an operator may delete it" in dora.row("company-website").inner_text()
    assert dora.page.evaluate("window.isTheSamePage")


def test_a_fleet_that_nobody_sees_holds_no_connection(dora):
    sockets: list[WebSocket] = []

    def note(socket: WebSocket) -> None:
        sockets.append(socket)

    is_live(dora)
    dora.page.on("websocket", note)
    dora.page.reload()
    is_live(dora)
    see_as(dora.page, "hidden")
    dora.page.locator("#live-link").get_by_text("Paused.", exact=True).wait_for()
    dora.page.wait_for_timeout(3_000)  # it connected again after one
    assert [socket.is_closed() for socket in sockets] == [True]
    see_as(dora.page, "visible")
    is_live(dora)
    assert [socket.is_closed() for socket in sockets] == [True, False]


def test_an_orphan_is_seen_within_two_turns_force_deleted_and_gone_from_the_cloud(dora, cloud, product):
    cloud.make_app("sandbox-deadbeef", owner="local")
    for _ in range(2):
        turn(dora, "is anything orphaned?")
    assert dora.verdict("sandbox-deadbeef") == "orphan"
    dora.pick("sandbox-deadbeef")
    said = dora.page.locator("#content").inner_text()
    for words in ("sandbox-deadbeef", "orphan", "it carries our mark", "$0.00"):
        assert words in said
    said = dora.confirm()
    assert "App sandbox-deadbeef: deleted" in said or "gone already" in said, said  # a turn may have been quicker
    assert "sandbox-deadbeef" not in names(cloud)
    dora.sees("sandbox-deadbeef", "")
    dora.open("/admin/pools/fleetevent/?by=operators")
    assert "force delete by an operator: it costs money" in dora.page.locator("#result_list").inner_text()


def test_a_foreign_app_goes_only_when_its_name_is_typed(dora, cloud):
    cloud.make_app("company-website")
    turn(dora)
    dora.pick("company-website")
    box = dora.page.get_by_label("Name of company-website")
    box.fill("company")
    dora.page.get_by_label("Why").fill("they asked us to")
    dora.page.get_by_role("button", name="Yes, delete").click()
    assert "It is called company-website; you typed company." in dora.page.locator(".errorlist").inner_text()
    assert "company-website" in names(cloud)
    box.fill("company-website")
    dora.confirm("they asked us to")
    assert "company-website" not in names(cloud)


def test_a_viewer_sees_it_all_and_can_not_act(sign_in, dora, cloud):
    cloud.make_app("sandbox-dead0001", owner="local")
    turn(dora)
    vera = sign_in("vera")
    vera.sees("sandbox-dead0001", "orphan")
    page = vera.page
    assert page.locator("#content button").all_inner_texts() == ["Pause", "Filter"]
    assert page.locator("#content input[type=checkbox]").count() == 0
    key = vera.row("sandbox-dead0001").get_attribute("data-key")
    token = page.locator("#logout-form input[name=csrfmiddlewaretoken]").input_value()
    form = {"csrfmiddlewaretoken": token, "key": key, "confirmed": "yes", "reason": "I want to"}
    answer = page.request.post(f"{vera.site}{FLEET}delete/", form=form, headers={"Referer": page.url})
    assert answer.status == 403
    assert "vera may not see or do this" in answer.text()
    assert "sandbox-dead0001" in names(cloud)


def test_two_operators_who_press_at_once_delete_it_once(dora, sign_in, cloud):
    cloud.make_app("sandbox-dead0002", owner="local")
    turn(dora)
    dirk = sign_in("dirk")
    dora.pick("sandbox-dead0002")
    dirk.pick("sandbox-dead0002")
    for operator in (dora, dirk):
        operator.page.get_by_label("Why").fill(f"{operator.name} wants it gone")
    before = cloud.state()["deletes"]
    # Neither waits for the other's answer.
    for operator in (dora, dirk):
        operator.page.get_by_role("button", name="Yes, delete").click(no_wait_after=True)
    said = []
    for operator in (dora, dirk):
        operator.page.wait_for_url(f"**{FLEET}")
        said.append(operator.page.locator(".messagelist").inner_text())
    assert sum(each == "App sandbox-dead0002: deleted" for each in said) <= 1, said  # a turn may have been quicker
    assert all("deleted" in each or "gone already" in each for each in said), said
    assert cloud.state()["deletes"] == before + 1


def test_what_is_ticked_and_focused_stays_so_while_rows_come_and_go(dora, sign_in, cloud):
    cloud.make_app("company-website")
    turn(dora)
    dora.row("company-website").locator("input[name=key]").check()
    cloud.make_app("sandbox-dead0003", owner="local")
    turn(sign_in("otto"))
    dora.sees("sandbox-dead0003", "orphan")
    assert dora.row("company-website").locator("input[name=key]").is_checked()
    assert dora.page.evaluate("document.activeElement.getAttribute('name')") == "key"


def test_without_a_socket_the_page_asks_instead(sign_in, dora, cloud):
    otto = sign_in("otto")
    otto.page.route_web_socket("**/ws/orchestrator/", lambda socket: socket.close())
    otto.open()
    otto.page.get_by_text("Live, refreshed every few seconds.").wait_for()
    cloud.make_app("company-website")
    turn(dora)
    otto.sees("company-website", "foreign")


@pytest.mark.parametrize("screen", [Screen("light", 1280, 800), Screen("dark", 390, 844)], ids=["desktop", "phone"])
def test_the_fleets_pages_are_accessible_with_every_verdict_on_them(screen: Screen, sign_in: SignIn, cloud):
    """One screen at a time: the admin fades from light to dark."""
    cloud.make_app("company-website")
    cloud.make_app("sandbox-dead0004", owner="local")
    # axe itself styles what it looks at, where a stylesheet imports another one; that the pages need no inline style
    # is seen by every other test here.
    dora = sign_in("dora", color_scheme=screen.color_scheme, bypass_csp=True)
    turn(dora)
    is_live(dora)
    must_be_accessible(dora.page, [screen])
    dora.pick("company-website", "sandbox-dead0004")
    must_be_accessible(dora.page, [screen])
    for path in ("/admin/", f"{FLEET}sweep/", f"{FLEET}maintenance/"):
        must_be_accessible(dora.open(path).page, [screen])


def test_a_sandbox_deleted_behind_our_back_shows_as_lost_and_its_run_ends(dora, cloud, played):
    """The last one here: a listing may lag behind an app that is younger than half a minute."""
    sandbox = until(lambda: played()["state"] == "running" and played()["sandbox"], "it is played", seconds=SECONDS)
    dora.sees(sandbox, "in step")
    assert "Snake" in dora.row(sandbox).inner_text()
    (app,) = [app for app in cloud.apps() if app["name"] == sandbox]
    cloud.delete_app(app["id"])
    turn(dora, "a player complains")
    dora.sees(sandbox, "lost")
    until(lambda: played()["state"] == "failed", "its run is over", seconds=3 * SECONDS)
    assert "DigitalOcean" in played()["end_reason"]
