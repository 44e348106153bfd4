"""The fleet's page: both sides beside each other, what is wrong with them, and the acts on the whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pools.console import view
from pools.models import CloudApp, Fleet, Mode, Pool, Sandbox, State
from runs.clients import Client
from runs.launching.launch import Maintenance, launch
from runs.models import Run
from tests.integration.admin.conftest import FLEET, MakeRun, Person, history, log, on_paper, queries, told

QUERIES = 60  # a bound, not a target; half of them are for the alarms on top


def rows(person: Person, **query: str) -> dict[str, str]:
    """Name and verdict of each row on the page, in its order."""
    page = person.get(f"{FLEET}table/", **query)
    return {row.name: row.verdict for row in page.context["page"]}


def text(answer: Any) -> str:
    """What the page says, without its markup."""
    words = re.sub(r"<[^>]+>", " ", answer.content.decode())
    return re.sub(r"\s+", " ", unescape(words))


# What is seen.


def test_each_way_in_which_the_two_sides_part_has_its_verdict(viewer, fleet, pool):
    Pool.objects.update(target_ready=4, max_ready=4, max_concurrent_creates=4)
    fleet.acquire(pool)
    fleet.settle()
    fleet.clock.advance(35)  # young apps may be missing from a listing
    Pool.objects.update(mode=Mode.PAUSED)
    well, gone, spoilt, going = Sandbox.objects.order_by("name")
    fleet.cloud.control.make_app("company-website")
    fleet.cloud.control.make_app("sandbox-0badcafe", owner="staging")
    fleet.cloud.control.make_app("sandbox-deadbeef", owner="local")
    fleet.cloud.control.delete_app(gone.app_id)
    fleet.cloud.control.change_app(spoilt.app_id, agent={"refuses": True})
    Sandbox.objects.filter(pk=going.pk).update(
        state=State.DELETING, end_code="retired", end_reason="a test", delete_requested_at=timezone.now()
    )
    fleet.cloud.fault(operation="delete", status=500)
    fleet.turn()
    assert rows(viewer) == {
        "sandbox-deadbeef": "orphan",
        gone.name: "missing",
        spoilt.name: "drifting",
        going.name: "deleting",
        "company-website": "foreign",
        "sandbox-0badcafe": "foreign",
        well.name: "in step",
    }


def test_a_row_says_what_both_sides_know_and_links_to_both(viewer, fleet, pool, make_run: MakeRun):
    fleet.acquire(pool)
    fleet.settle()
    sandbox = fleet.acquire(pool, minutes=9)
    run = make_run(sandbox=sandbox)
    answer = viewer.get(f"{FLEET}table/")
    said = text(answer)
    for words in (
        sandbox.name,
        "In use",
        "ACTIVE",
        "python",
        f"run {run.short_id}",
        "Snake",
        "8d1f02aa",
        "9 min",
        "well",
    ):
        assert words in said
    page = answer.content.decode()
    assert f"/admin/pools/sandbox/{sandbox.pk}/change/" in page
    assert f"https://cloud.digitalocean.com/apps/{sandbox.app_id}" in page
    assert f"/admin/runs/run/{run.pk}/change/" in page


def test_the_page_says_how_old_the_picture_is_and_why_it_is_not_newer(viewer, fleet):
    fleet.turn()
    fleet.clock.advance(90)
    fleet.cloud.fault(operation="list", status=500)
    fleet.turn()
    said = text(viewer.get(FLEET))
    assert re.search(r"\b9\d s ago", said)
    assert "DigitalOcean can't be listed" in said


def test_while_somebody_looks_an_old_picture_is_taken_anew(viewer, fleet, clock):
    fleet.turn()
    viewer.get(f"{FLEET}table/")
    assert not Fleet.get().nudged
    clock.advance(20)
    viewer.get(f"{FLEET}table/")
    assert Fleet.get().nudged


def test_before_the_first_listing_nothing_is_called_lost(viewer, fleet, pool, snake):
    on_paper(1, pool, snake)
    CloudApp.objects.all().delete()
    Fleet.objects.update(listed_at=None)
    assert list(rows(viewer).values()) == ["unknown"]
    assert "DigitalOcean was never listed" in text(viewer.get(FLEET))


# Found among many.


@pytest.fixture
def many(pool: Pool, snake: Any) -> None:
    """Two pages in use and a few that are something else."""
    on_paper(200, pool, snake)
    now = timezone.now()
    CloudApp.objects.bulk_create(
        CloudApp(
            app_id=f"foreign-{number}", name=f"web-{number}", phase="ACTIVE", app_created_at=now, first_seen_at=now
        )
        for number in range(3)
    )


def test_a_thousand_rows_take_as_many_queries_as_ten(destroyer, pool, snake):
    on_paper(10, pool, snake)
    pages = (FLEET, f"{FLEET}table/", f"{FLEET}sweep/", "/admin/")
    few = [queries(destroyer, path) for path in pages]
    assert max(few) <= QUERIES
    on_paper(990, pool, snake)
    assert [queries(destroyer, path) for path in pages] == few


def test_a_page_shows_a_hundred_and_leads_to_the_others(viewer, many):
    first, last = rows(viewer, sort="name"), rows(viewer, sort="name", page="3")
    assert len(first) == 100
    assert list(last) == ["web-0", "web-1", "web-2"]
    page = viewer.get(f"{FLEET}table/", verdict="in step", sort="-name")
    assert "?verdict=in+step&amp;sort=-name&amp;page=2" in page.content.decode()
    assert "200 rows" in text(page)


def test_nonsense_in_the_address_still_shows_rows(viewer, pool, snake):
    on_paper(2, pool, snake)
    for name, value in {"page": "99", "sort": "x", "verdict": "x", "state": "x"}.items():
        assert len(rows(viewer, **{name: value})) == 2
    assert len(rows(viewer, page="x")) == 2


def test_the_urgent_come_first_unless_asked_otherwise(viewer, many):
    assert list(rows(viewer))[:3] == ["web-0", "web-1", "web-2"]
    assert next(iter(rows(viewer, sort="-name"))) == "web-2"


def test_a_row_is_found_by_its_name_its_app_its_run_and_its_player(viewer, many):
    run = Run.objects.order_by("?").first()
    name = run.sandbox.name
    for words in (name, run.sandbox.app_id, f"run {run.short_id}", str(run.pk), run.visitor, str(run.sandbox_id)):
        assert list(rows(viewer, q=words)) == [name]
    assert rows(viewer, q="nothing-like-that") == {}


def test_filters_leave_what_is_wanted(viewer, many):
    Sandbox.objects.filter(name="sandbox-00000007").update(state=State.READY)
    assert list(rows(viewer, verdict="foreign")) == ["web-0", "web-1", "web-2"]
    assert list(rows(viewer, state="ready")) == ["sandbox-00000007"]
    assert rows(viewer, pool="node") == {}
    assert list(rows(viewer, pool="python", state="ready", q="0007")) == ["sandbox-00000007"]


# Acts on the whole.


def test_looking_shows_what_is_there_and_does_nothing_about_it(operator, fleet):
    fleet.turn()
    fleet.cloud.control.make_app("company-website")
    assert rows(operator) == {}
    assert "DigitalOcean was listed just now" in told(operator.post(f"{FLEET}look/"))
    assert rows(operator) == {"company-website": "foreign"}
    assert history()[0][0] == log("look")[0][0] == "otto"


def test_looking_at_a_cloud_that_fails_says_what_is_wrong(operator, fleet):
    fleet.cloud.fault(operation="list", status=401)
    assert "could not be listed" in told(operator.post(f"{FLEET}look/"))


def test_a_turn_is_asked_for_with_who_and_why(operator, fleet, worker):
    Fleet.objects.update(nudged=False)
    answer = operator.post(f"{FLEET}turn/", reason="it seems stuck")
    assert "is a cluster running?" in told(answer)  # in this test none is
    assert Fleet.get().nudged
    assert history() == [("otto", "a turn was asked for: it seems stuck")]
    assert log("turn") == [("otto", "a turn was asked for; an operator: it seems stuck")]


def test_a_turn_without_a_reason_is_not_asked_for(operator, fleet):
    assert "Say why" in told(operator.post(f"{FLEET}turn/", reason=" "))
    assert (history(), log()) == ([], [])


def maintain(person: Person, turn: str = "on", **more: str) -> Any:
    data = {"turn": turn, "message": "Back at noon.", "reason": "new images"} | more
    return person.post(f"{FLEET}maintenance/", **data)


def test_in_maintenance_nobody_launches_and_players_read_why(operator, client, fleet, snake):
    maintain(operator)
    assert history() == [("otto", "maintenance mode on, players read: Back at noon.: new images")]
    assert log("maintenance")[0][0] == "otto"
    assert "Back at noon." in client.get("/").content.decode()
    with pytest.raises(Maintenance, match="Back at noon"):
        launch(game="snake", mode="warm", client=Client("ada"), use_snapshot=True)
    assert "Maintenance mode is on" in text(operator.get("/admin/"))


def test_maintenance_is_ended_again(operator, fleet, snake):
    maintain(operator)
    assert "End maintenance" in operator.get(f"{FLEET}maintenance/").content.decode()
    maintain(operator, "off")
    assert not Fleet.get().maintenance
    assert launch(game="snake", mode="warm", client=Client("ada"), use_snapshot=True).state == "acquiring"
    assert log("maintenance")[0] == ("otto", "maintenance mode off; an operator: new images")


def test_an_old_form_does_not_turn_back_what_another_operator_turned(operator, destroyer, fleet):
    maintain(operator)
    assert "is on already" in told(maintain(destroyer))
    assert Fleet.get().maintenance
    maintain(operator, "off")
    assert "is off already" in told(maintain(destroyer, "off"))
    assert len(history()) == 2


@pytest.mark.parametrize(("field", "words"), [("message", ""), ("reason", ""), ("reason", "x" * 201)])
def test_maintenance_without_a_message_or_a_reason_is_refused_by_the_field(field, words, operator, fleet):
    answer = maintain(operator, **{field: words})
    assert list(answer.context["form"].errors) == [field]
    assert not Fleet.get().maintenance


# The blast-radius stop.


@pytest.fixture
def stopped(fleet: Any, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Six warm sandboxes whose agents all call themselves unwell: more than half of the fleet would go in one turn."""
    monkeypatch.setattr("pools.turn.act.look_at_all", lambda *_: [])
    Pool.objects.update(target_ready=6, max_ready=6, max_concurrent_creates=6)
    fleet.acquire(pool)
    fleet.settle()
    Sandbox.objects.update(health_failures=3, trouble="its agent is unwell", trouble_code="agent_error")
    Pool.objects.update(mode=Mode.PAUSED)  # so that nothing is made anew
    fleet.turn()
    assert Fleet.get().stopped_at is not None
    return fleet


def seen(person: Person) -> str:
    """What the page that the operator looks at stands for."""
    return person.get(f"{FLEET}go/").context["form"].initial["digest"]


def go(person: Person, digest: str, reason: str = "they are dead, I looked") -> Any:
    return person.post(f"{FLEET}go/", digest=digest, reason=reason)


def test_a_stop_is_the_first_alarm_and_its_page_shows_what_is_held_back(viewer, stopped):
    assert "Deletions are stopped" in viewer.get(FLEET).context["alarms"][0].title
    said = text(viewer.get(f"{FLEET}go/"))
    for name in Sandbox.objects.values_list("name", flat=True):
        assert name in said
    assert "did not answer 3 times in a row" in said


def test_go_lets_them_go_and_says_who_said_so(destroyer, stopped):
    assert "go: 6 deletions until" in told(go(destroyer, seen(destroyer)))
    stopped.turns(4)
    assert stopped.states() == []
    assert stopped.cloud.apps() == []
    assert history()[0][0] == log("go")[0][0] == "dora"
    assert "they are dead, I looked" in log("go")[0][1]


def test_go_is_for_what_the_operator_saw_and_nothing_else(destroyer, stopped):
    spared = Sandbox.objects.first()
    Sandbox.objects.filter(pk=spared.pk).update(health_failures=0)
    digest = seen(destroyer)
    Sandbox.objects.filter(pk=spared.pk).update(health_failures=3)
    assert "By now other deletions are held back, 6 of them: look at them again." in told(go(destroyer, digest))
    stopped.turns(3)
    assert len(stopped.states()) == 6


def test_go_ends_after_some_minutes(destroyer, stopped):
    go(destroyer, seen(destroyer))
    stopped.clock.advance(6 * 60)
    stopped.turns(3)
    assert len(stopped.states()) == 6


def test_go_is_refused_when_nothing_is_held_back_any_more(destroyer, stopped):
    digest = seen(destroyer)
    Sandbox.objects.update(health_failures=0)
    assert "Nothing is held back any more." in told(go(destroyer, digest))
    assert log("go") == []


# The sweep.


def sweep(person: Person, **more: str) -> Any:
    return person.post(f"{FLEET}sweep/", **{"typed": "local", "pause": "on", "reason": "the fair is over"} | more)


@pytest.fixture
def fair(fleet: Any, pool: Pool) -> Any:
    """Two warm ones, an orphan, and an app of somebody else's."""
    Pool.objects.update(target_ready=2, max_ready=2, max_concurrent_creates=2)
    fleet.acquire(pool)
    fleet.settle()
    fleet.cloud.control.make_app("sandbox-deadbeef", owner="local")
    fleet.cloud.control.make_app("company-website")
    fleet.turn()
    return fleet


def test_a_sweep_deletes_all_that_is_ours_and_nothing_else(destroyer, fair):
    page = text(destroyer.get(f"{FLEET}sweep/"))
    assert "sandbox-deadbeef" in page
    assert "company-website" not in page
    sweep(destroyer)
    fair.turns(3)
    assert [app["name"] for app in fair.cloud.apps()] == ["company-website"]
    assert fair.states() == []
    assert Pool.objects.get().mode == Mode.PAUSED


def test_a_sweep_is_logged_as_a_whole_and_one_by_one(destroyer, fair):
    sweep(destroyer)
    assert log("sweep") == [("dora", "sweep of 3; an operator: the fair is over")]
    assert ("dora", "sweep of 3: the fair is over") in history()
    assert len(log("delete")) == 3
    assert sum("force delete" in what for _, what in history()) == 3
    assert all("the fair is over" in what for _, what in [*history(), *log("delete")])


@pytest.mark.parametrize(("field", "words"), [("typed", "staging"), ("typed", ""), ("reason", "")])
def test_a_sweep_that_is_not_confirmed_deletes_nothing(field, words, destroyer, fair):
    answer = sweep(destroyer, **{field: words})
    assert list(answer.context["form"].errors) == [field]
    assert len(fair.cloud.apps()) == 4
    assert log("sweep") == []


def test_what_was_lost_lately_is_shown_for_an_hour(viewer, fleet, pool):
    fleet.acquire(pool)
    fleet.settle()
    fleet.clock.advance(35)
    lost = Sandbox.objects.get()
    fleet.cloud.control.delete_app(lost.app_id)
    Pool.objects.update(mode=Mode.PAUSED)
    fleet.turns(6, seconds_apart=10)
    lost.refresh_from_db()
    assert lost.state == State.DELETED
    assert rows(viewer) == {lost.name: "lost"}
    fleet.clock.ahead += timedelta(hours=1)
    assert rows(viewer) == {}


# Of a large fleet.


@pytest.fixture
def large(pool: Pool, snake: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Twenty rows, taken for thousands."""
    monkeypatch.setattr(view, "SMALL_ROWS", 10)
    monkeypatch.setattr(view, "ROWS_A_SECOND", 1)
    on_paper(20, pool, snake)
    yield
    view.forget()


def test_of_thousands_of_rows_a_picture_is_made_for_all_who_look(destroyer, large):
    """It takes seconds of the processor: one who looks on, or twenty, must not take it from the players."""
    pages = (FLEET, f"{FLEET}table/", "/admin/")
    assert "every 20 s" in text(destroyer.get(FLEET))
    for page in pages:
        with CaptureQueriesContext(connection) as asked:
            destroyer.get(page)
        assert not [query["sql"] for query in asked if 'FROM "pools_cloudapp"' in query["sql"]]


def test_a_picture_from_before_an_act_is_not_kept(destroyer, large, monkeypatch):
    """Somebody else's page may just be making one."""
    make = view.picture

    def made_slowly(now):
        found = make(now)
        view.forget()  # an operator acts meanwhile
        return found

    monkeypatch.setattr(view, "picture", made_slowly)
    first = view.view()
    monkeypatch.setattr(view, "picture", make)
    assert view.view() is not first


def test_who_has_done_something_sees_what_came_of_it(destroyer, large):
    name = next(iter(rows(destroyer)))
    sandbox = Sandbox.objects.get(name=name)
    destroyer.post(f"{FLEET}delete/", key=f"sandbox:{sandbox.pk}", confirmed="1", reason="broken")
    assert Sandbox.objects.get(pk=sandbox.pk).state == State.DELETING
    assert rows(destroyer)[name] == "deleting"
