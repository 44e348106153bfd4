"""Force delete: shown first, then asked of the cloud, told one by one, and repeated until it is gone."""

from __future__ import annotations

from typing import Any

import pytest

from pools.console.force_delete import force_delete
from pools.models import CloudApp, Sandbox, State
from tests.integration.admin.conftest import FLEET, MakeRun, Person, history, log, told

DELETE = f"{FLEET}delete/"


def pick(person: Person, *keys: str) -> Any:
    """Tick rows on the fleet's page and press the button: the page that asks once more."""
    return person.post(DELETE, key=list(keys))


def confirm(person: Person, *keys: str, reason: str = "it costs money", **names: str) -> Any:
    typed = {f"name-{app_id}": name for app_id, name in names.items()}
    return person.client.post(DELETE, {"key": list(keys), "confirmed": "yes", "reason": reason, **typed}, follow=True)


@pytest.fixture
def make_orphan(fleet: Any) -> Any:
    """`make_orphan("sandbox-deadbeef")`: an app with our mark and no row, listed; its key."""

    def make(name: str = "sandbox-deadbeef", owner: str = "local") -> str:
        app = fleet.cloud.control.make_app(name, owner=owner)
        fleet.turn()
        return f"app:{app['app']['id'] if 'app' in app else app['id']}"

    return make


@pytest.fixture
def warm(fleet: Any, pool: Any) -> Sandbox:
    """A ready sandbox of ours."""
    fleet.acquire(pool)
    fleet.settle()
    return Sandbox.objects.get()


def names(fleet: Any) -> list[str]:
    """The apps that are there in truth."""
    return sorted(app["name"] for app in fleet.cloud.apps())


def test_the_page_shows_exactly_what_will_go_and_nothing_has_gone_yet(destroyer, fleet, make_orphan):
    key = make_orphan()
    page = pick(destroyer, key).content.decode()
    for words in ("sandbox-deadbeef", key.removeprefix("app:"), "orphan", "it carries our mark", "$0.0"):
        assert words in page
    assert names(fleet) == ["sandbox-deadbeef"]
    assert (history(), log()) == ([], [])


def test_an_orphan_goes_at_once_with_who_and_why_in_both_logs(destroyer, fleet, make_orphan):
    key = make_orphan()
    assert "sandbox-deadbeef: deleted" in told(confirm(destroyer, key))
    assert names(fleet) == []
    assert history() == [("dora", "force delete, deleted: it costs money")]
    assert log() == [("dora", "deleted"), ("dora", "force delete by an operator: it costs money")]


def test_many_go_together(destroyer, fleet, make_orphan):
    keys = [make_orphan(f"sandbox-dead{number:04x}") for number in range(12)]
    said = told(confirm(destroyer, *keys))
    assert "sandbox-dead0000" in said
    assert "and 2 more: deleted" in said
    assert names(fleet) == []
    assert len(history()) == 12


def test_one_that_fails_does_not_stop_the_others_and_is_repeated_until_it_is_gone(destroyer, fleet, make_orphan):
    keys = [make_orphan(f"sandbox-dead{number:04x}") for number in range(3)]
    fault = fleet.cloud.fault(operation="delete", name="sandbox-dead0001", status=500)
    said = told(confirm(destroyer, *keys))
    assert "sandbox-dead0000, sandbox-dead0002: deleted" in said
    assert "sandbox-dead0001: ordered, not deleted yet" in said
    fleet.turns(3, seconds_apart=20)
    assert names(fleet) == ["sandbox-dead0001"]
    fleet.cloud.control.clear(fault)
    fleet.turns(3, seconds_apart=20)
    assert names(fleet) == []
    assert not CloudApp.objects.exists()


def test_an_answer_that_is_lost_changes_nothing(destroyer, fleet, make_orphan):
    key = make_orphan()
    fleet.cloud.fault(operation="delete", reset=True, after=True)
    confirm(destroyer, key)
    fleet.cloud.faults.clear()
    fleet.turns(2)
    assert names(fleet) == []
    assert not CloudApp.objects.exists()


@pytest.mark.parametrize("typed", ["", "company", "Company-Website"])
def test_a_foreign_app_does_not_go_unless_its_name_is_typed(typed, destroyer, fleet, make_orphan):
    key = make_orphan("company-website", owner="")
    answer = confirm(destroyer, key, **{key.removeprefix("app:"): typed})
    assert list(answer.context["form"].errors) == [f"name-{key.removeprefix('app:')}"]
    assert names(fleet) == ["company-website"]
    assert (history(), log()) == ([], [])


def test_a_foreign_app_goes_when_its_name_is_typed(destroyer, fleet, make_orphan):
    key = make_orphan("company-website", owner="")
    confirm(destroyer, key, **{key.removeprefix("app:"): "company-website"})
    assert names(fleet) == []
    assert log("delete") == [("dora", "force delete by an operator: it costs money")]


def test_a_foreign_app_among_orphans_is_not_smuggled_in(destroyer, fleet, make_orphan):
    """Even by somebody who calls what the page calls."""
    orphan, foreign = make_orphan(), make_orphan("company-website", owner="")
    outcomes = force_delete([orphan, foreign], actor="dora", reason="a test", typed_names={foreign: "web"})
    assert [outcome.is_ordered for outcome in sorted(outcomes, key=lambda each: each.name)] == [False, True]
    assert names(fleet) == ["company-website"]


def test_without_a_reason_nothing_goes(destroyer, fleet, make_orphan):
    answer = confirm(destroyer, make_orphan(), reason="")
    assert list(answer.context["form"].errors) == ["reason"]
    assert names(fleet) == ["sandbox-deadbeef"]


def test_what_another_operator_deleted_meanwhile_is_gone_already(destroyer, fleet, make_orphan):
    keys = [make_orphan("sandbox-dead0001"), make_orphan("sandbox-dead0002")]
    confirm(destroyer, keys[0])
    fleet.turn()
    assert "1 of the rows you ticked is gone already" in pick(destroyer, *keys).content.decode()
    assert "gone already" in told(confirm(destroyer, keys[0]))
    assert len(log("delete")) == 1


def test_an_orphan_that_two_operators_delete_goes_once(destroyer, fleet, make_orphan):
    """Both have the page open; the second comes before any listing shows that it is gone."""
    key = make_orphan()
    confirm(destroyer, key)
    assert "it was gone already" in told(confirm(destroyer, key))
    assert fleet.cloud.state()["deletes"] == 1


def test_an_app_that_was_taken_up_meanwhile_is_not_deleted_behind_its_row(destroyer, fleet, warm):
    said = told(confirm(destroyer, f"app:{warm.app_id}"))
    assert "gone already" in said
    (outcome,) = force_delete([f"app:{warm.app_id}"], actor="dora", reason="a test")
    assert "it is a sandbox of ours by now" in outcome.message
    assert names(fleet) == [warm.name]


def test_a_sandbox_of_ours_goes_with_the_run_in_it(destroyer, fleet, pool, warm, make_run: MakeRun):
    sandbox = fleet.acquire(pool)
    run = make_run(sandbox=sandbox)
    page = pick(destroyer, f"sandbox:{sandbox.pk}").content.decode()
    assert f"run {run.short_id} of Snake is being played in it and will end." in page
    confirm(destroyer, f"sandbox:{sandbox.pk}")
    run.refresh_from_db()
    assert run.state in ("ended", "failed")
    assert "it costs money" in run.end_reason
    fleet.turns(3)
    sandbox.refresh_from_db()
    assert sandbox.state == State.DELETED
    assert sandbox.app_id not in {app["id"] for app in fleet.cloud.apps()}


def test_a_sandbox_that_is_stuck_in_its_deletion_is_asked_for_again_at_once(destroyer, fleet, warm):
    fault = fleet.cloud.fault(operation="delete", status=500)
    destroyer.post(f"/admin/pools/sandbox/{warm.pk}/retire/", reason="a test")
    fleet.turns(2, seconds_apart=200)
    page = destroyer.get(f"{FLEET}table/")
    (row,) = [row for row in page.context["page"] if row.name == warm.name]
    assert (row.verdict, "still there" in row.why) == ("drifting", True)
    fleet.cloud.control.clear(fault)
    assert f"{warm.name}: deleted" in told(confirm(destroyer, f"sandbox:{warm.pk}", reason="stuck"))
    assert warm.name not in names(fleet)
    assert ("dora", "force delete by an operator: stuck") in log("delete")


def test_a_sandbox_without_an_app_yet_is_deleted_when_its_app_appears(destroyer, fleet, pool):
    fleet.cloud.fault(operation="create", reset=True, after=True)
    fleet.acquire(pool)
    fleet.turn()
    sandbox = Sandbox.objects.get()
    assert sandbox.app_id is None
    assert "ordered; the next turn sends it" in told(confirm(destroyer, f"sandbox:{sandbox.pk}"))
    fleet.cloud.faults.clear()
    pool.mode = "paused"
    pool.save()
    fleet.turns(4, seconds_apart=20)
    assert names(fleet) == []


def test_nothing_ticked_is_told(destroyer, fleet):
    assert "Pick the rows to delete first." in told(pick(destroyer))


@pytest.mark.parametrize("key", ["app:nowhere", "sandbox:x", "", "app:"])
def test_what_there_never_was_is_gone(key, destroyer, fleet):
    assert "gone already" in told(confirm(destroyer, key))
    assert log() == []
