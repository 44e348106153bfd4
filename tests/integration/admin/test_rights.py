"""Three rights: to view, to act, to destroy. Each page and each act asks for its own, on the server."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from pools.models import CloudApp, Fleet, FleetEvent, Pool, Sandbox
from runs.models import Run
from tests.integration.admin.conftest import FLEET, Person, on_paper, sign_in

PAGES = {
    "index": "/admin/",
    "fleet": FLEET,
    "table": f"{FLEET}table/",
    "held back": f"{FLEET}go/",
    "fleet's history": f"{FLEET}1/history/",
    "pools": "/admin/pools/pool/",
    "pool": "/admin/pools/pool/{pool}/change/",
    "sandboxes": "/admin/pools/sandbox/",
    "sandbox": "/admin/pools/sandbox/{sandbox}/change/",
    "apps": "/admin/pools/cloudapp/",
    "app": "/admin/pools/cloudapp/{app}/change/",
    "events": "/admin/pools/fleetevent/",
    "event": "/admin/pools/fleetevent/{event}/change/",
    "runs": "/admin/runs/run/",
    "run": "/admin/runs/run/{run}/change/",
    "games": "/admin/games/game/",
    "snapshots": "/admin/games/snapshot/",
    "beats": "/admin/orchestrator_site/beat/",
    "what operators did": "/admin/admin/logentry/",
}
WHY = {"reason": "a test"}
# Each act: who may, where, and what is sent.
ACTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "look": ("operator", f"{FLEET}look/", {}),
    "turn": ("operator", f"{FLEET}turn/", WHY),
    "an alarm in hand": ("operator", "/admin/alarms/in-hand/", {"occurrence": "0"}),
    "maintenance": ("operator", f"{FLEET}maintenance/", {**WHY, "turn": "on", "message": "Back soon."}),
    "pool's button": ("operator", "/admin/pools/pool/{pool}/act/", {**WHY, "act": "pause"}),
    "pools": ("operator", "/admin/pools/pool/", {**WHY, "action": "pause", "_selected_action": "{pool}"}),
    "pool's sizes": ("operator", "/admin/pools/pool/{pool}/change/", WHY),
    "a new pool": ("operator", "/admin/pools/pool/add/", WHY),
    "run's button": ("operator", "/admin/runs/run/{run}/act/", {**WHY, "act": "end"}),
    "runs": ("operator", "/admin/runs/run/", {**WHY, "action": "end_chosen", "_selected_action": "{run}"}),
    "go": ("destroyer", f"{FLEET}go/", {**WHY, "digest": "0"}),
    "force delete": ("destroyer", f"{FLEET}delete/", {**WHY, "key": "app:{app}", "confirmed": "yes"}),
    "sweep": ("destroyer", f"{FLEET}sweep/", {**WHY, "typed": "local"}),
    "retire": ("destroyer", "/admin/pools/sandbox/{sandbox}/retire/", WHY),
    "retire many": (
        "destroyer", "/admin/pools/sandbox/", {**WHY, "action": "retire", "_selected_action": "{sandbox}"},
    ),
    "delete a pool": ("destroyer", "/admin/pools/pool/{pool}/delete/", {**WHY, "post": "yes"}),
}  # fmt: skip
LOWER = {"operator": ["viewer"], "destroyer": ["viewer", "operator"]}
REFUSED = [(act, who) for act, (may, _, _) in ACTS.items() for who in LOWER[may]]
# What a page offers to those who may act.
BUTTONS = re.compile(
    r'name="(?:act|action|_save|key|reason|confirmed)"|class="button (?:danger|default)"|'
    r'action="[^"]*/(?:look|turn|act|retire|delete)/"|href="[^"]*/(?:maintenance|sweep|delete|add)/"'
)


@pytest.fixture
def ids(pool: Pool, snake: Any) -> dict[str, Any]:
    """One of each, to be named in addresses."""
    on_paper(1, pool, snake)
    return {
        "pool": pool.pk,
        "sandbox": Sandbox.objects.get().pk,
        "app": CloudApp.objects.get().pk,
        "event": FleetEvent.objects.get().pk,
        "run": Run.objects.get().pk,
    }


def filled(act: str, ids: dict[str, Any]) -> tuple[str, dict[str, str]]:
    _, path, data = ACTS[act]
    return path.format(**ids), {name: str(value).format(**ids) for name, value in data.items()}


def state() -> tuple[Any, ...]:
    """All that an act could change."""
    models = (Pool, Sandbox, CloudApp, Fleet, Run, FleetEvent, LogEntry)
    return tuple(list(model.objects.order_by("pk").values()) for model in models)


@pytest.mark.parametrize("page", PAGES)
def test_viewers_see_every_page_and_no_button_on_it(page: str, viewer: Person, ids: dict[str, Any]):
    answer = viewer.get(PAGES[page].format(**ids))
    assert answer.status_code == 200
    assert BUTTONS.findall(answer.content.decode()) == []


@pytest.mark.parametrize("page", ["fleet", "pool", "sandbox", "run"])
def test_what_describes_a_box_is_on_its_page(page: str, destroyer: Person, ids: dict[str, Any]):
    html = destroyer.get(PAGES[page].format(**ids)).content.decode()
    told = {name for names in re.findall(r'aria-(?:describedby|labelledby)="([^"]+)"', html) for name in names.split()}
    assert told
    assert told <= set(re.findall(r'\bid="([^"]+)"', html))


@pytest.mark.parametrize("page", ["fleet", "pools", "pool", "sandboxes", "sandbox", "runs", "run"])
def test_destroyers_see_buttons_there(page: str, destroyer: Person, ids: dict[str, Any]):
    """The test above would pass on any page if the pattern matched nothing."""
    assert BUTTONS.findall(destroyer.get(PAGES[page].format(**ids)).content.decode())


@pytest.mark.parametrize(("act", "who"), REFUSED)
def test_who_lacks_the_right_is_refused_and_nothing_changes(
    act: str, who: str, people: dict[str, Person], ids: dict[str, Any]
):
    path, data = filled(act, ids)
    before = state()
    assert people[who].client.post(path, data).status_code == 403
    assert state() == before


@pytest.mark.parametrize("act", ACTS)
def test_who_has_the_right_is_not_refused(act: str, people: dict[str, Person], ids: dict[str, Any], fleet: Any):
    path, data = filled(act, ids)
    assert people[ACTS[act][0]].client.post(path, data).status_code in (200, 302)


@pytest.mark.parametrize("act", ACTS)
def test_a_get_does_nothing(act: str, destroyer: Person, ids: dict[str, Any]):
    path, data = filled(act, ids)
    before = state()
    assert destroyer.client.get(path, data).status_code in (200, 302, 405)
    assert state() == before


@pytest.mark.parametrize("act", ACTS)
def test_a_post_from_elsewhere_does_nothing(act: str, destroyer: Person, ids: dict[str, Any]):
    """Without the token that the page had."""
    path, data = filled(act, ids)
    elsewhere = Client(enforce_csrf_checks=True)
    elsewhere.cookies = destroyer.client.cookies
    before = state()
    assert elsewhere.post(path, data).status_code == 403
    assert state() == before


@pytest.mark.parametrize("page", [page for page in PAGES if page != "index"])
def test_staff_without_any_right_sees_nothing(page: str, ids: dict[str, Any]):
    assert sign_in("nora").get(PAGES[page].format(**ids)).status_code == 403


def test_the_index_tells_nothing_to_staff_without_rights(ids: dict[str, Any]):
    assert "Needs attention" not in sign_in("nora").get("/admin/").content.decode()


@pytest.mark.parametrize("path", [FLEET, f"{FLEET}table/", f"{FLEET}sweep/", "/admin/runs/run/"])
def test_players_are_asked_to_sign_in(path: str, db: None):
    for client in (Client(), sign_in("paul", "Destroyers", staff=False).client):
        answer = client.get(path)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/admin/login/")


def test_who_is_refused_is_told_whose_right_it_is(viewer):
    answer = viewer.get(f"{FLEET}sweep/")
    assert answer.status_code == 403
    assert "vera may not see or do this" in answer.content.decode()


MACHINES = ["sandbox", "app", "event", "run"]


@pytest.mark.parametrize("page", MACHINES)
def test_what_the_machine_owns_is_edited_by_nobody(page: str, admin_client: Client, ids: dict[str, Any]):
    """Not even by a superuser."""
    path = PAGES[page].format(**ids)
    before = state()
    assert 'name="_save"' not in admin_client.get(path).content.decode()
    assert admin_client.post(path, {"state": "ready", "name": "mine", **WHY}).status_code == 403
    assert admin_client.post(path.replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403
    assert admin_client.post(re.sub(r"[^/]+/change/", "add/", path), WHY).status_code == 403
    assert state() == before
