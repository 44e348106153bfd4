"""Every page of the operators is live, begins with what is wrong, and is a plain page without JavaScript."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from games.models import Game
from pools.models import CloudApp, Fleet, Pool, Sandbox
from runs.models import Run
from tests.integration.admin.conftest import FLEET, Person, on_paper, queries, sign_in

LISTS = ("pools/sandbox", "pools/fleetevent", "pools/pool", "pools/cloudapp", "runs/run", "games/game")


def parts(html: str) -> list[str]:
    return re.findall(r'data-live="([^"]+)"', html)


@pytest.fixture
def paths(pool: Pool, snake: Game) -> dict[str, str]:
    """Where the pages are, by what they are about."""
    on_paper(3, pool, snake)
    return {
        "index": "/admin/",
        "fleet": FLEET,
        "pool": f"/admin/pools/pool/{pool.pk}/change/",
        "sandbox": f"/admin/pools/sandbox/{Sandbox.objects.first().pk}/change/",
        "app": f"/admin/pools/cloudapp/{CloudApp.objects.first().pk}/change/",
        "run": f"/admin/runs/run/{Run.objects.first().pk}/change/",
        **{name: f"/admin/{name}/" for name in LISTS},
    }


def test_every_page_fetches_the_parts_that_it_has_from_where_it_says(operator, paths):
    for name, path in paths.items():
        page = operator.get(path).content.decode()
        source = re.search(r'data-from="([^"]+)"', page)
        assert source, name
        fetched = operator.client.get(unescape(source[1]))
        assert fetched.status_code == 200, name
        wanted = [part for part in parts(page) if part != "alarms"]
        assert wanted, name
        assert set(wanted) <= set(parts(fetched.content.decode())), name


def test_a_page_keeps_its_filters_and_does_not_ask_again_for_what_takes_seconds(viewer, paths):
    assert viewer.get(FLEET, verdict="orphan").context["live_from"] == f"{FLEET}table/?verdict=orphan"
    assert viewer.get("/admin/runs/run/", q="a b").context["live_from"] == "/admin/runs/run/?q=a+b"
    assert viewer.get(paths["pool"], **{"what-if": "1"}).context["live_from"] == paths["pool"]


def test_a_page_that_asks_once_more_is_not_live(destroyer, paths):
    for path in (f"{FLEET}sweep/", f"{FLEET}maintenance/", "/admin/pools/pool/add/"):
        assert 'id="live-bar"' not in destroyer.get(path).content.decode()


def test_every_page_begins_with_what_is_wrong(operator, paths):
    Fleet.objects.update(maintenance=True, maintenance_message="Back soon.")
    more = (f"{FLEET}maintenance/", "/admin/pools/pool/add/", "/admin/auth/user/", "/admin/django_q/schedule/")
    for path in (*paths.values(), *more):
        answer = operator.get(path)
        if answer.status_code == 403:
            continue
        content = answer.content.decode().split('id="content-start"')[1]
        assert "alarm-" in content, path
        controls = [content.find(mark) for mark in ("<form", "<table", "fleet-bar") if mark in content]
        assert content.find('class="alarm alarm-') < min(controls), path


def test_who_may_not_see_the_fleet_sees_no_alarms_of_it(db: None):
    Fleet.objects.update_or_create(pk=1, defaults={"maintenance": True})
    nobody: Any = sign_in("nina")
    assert "alarm alarm-" not in nobody.get("/admin/").content.decode()


def test_pages_of_many_take_as_many_queries_as_those_of_few(viewer: Person, paths, pool, snake):
    def all_queries() -> dict[str, int]:
        return {name: queries(viewer, path) for name, path in paths.items()}

    all_queries()  # once an hour it learns what size each pool should have
    few = all_queries()
    on_paper(300, pool, snake)
    assert all_queries() == few
