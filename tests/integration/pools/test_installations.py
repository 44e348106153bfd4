"""Two databases with one ORCHESTRATOR_ID: neither deletes the other's apps, and together they keep to the limit."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from pools.capacity import NoCapacity, reserve
from pools.console.alarms import fleet_alarms
from pools.console.fleet_page import picture
from pools.console.force_delete import force_delete, ours
from pools.models import CloudApp, Fleet, FleetEvent, Pool, Sandbox, State

pytestmark = pytest.mark.django_db(transaction=True)


def one_ready(fleet, pool) -> Sandbox:
    fleet.acquire(pool)
    fleet.settle()
    return Sandbox.objects.get(state=State.READY)


def names(fleet) -> list[str]:
    return sorted(app["name"] for app in fleet.cloud.apps())


def empty_the_database() -> None:
    for model in (Sandbox, CloudApp, FleetEvent, Fleet):
        model.objects.all().delete()
    Fleet.get()
    Pool.objects.update(last_acquired_at=None)


def restore_an_older_backup() -> None:
    """The database as it was before it had made any sandbox."""
    for model in (Sandbox, CloudApp, FleetEvent):
        model.objects.all().delete()
    Pool.objects.update(last_acquired_at=None)


LOSSES = pytest.mark.parametrize(
    "lose", [empty_the_database, restore_an_older_backup], ids=["emptied", "restored from an older backup"]
)


@LOSSES
def test_a_database_that_does_not_know_the_apps_of_its_mark_never_deletes_them(paper_fleet, pool, lose):
    """They were running games of the first database: deleted after 123 s, below the guard's floor."""
    name = one_ready(paper_fleet, pool).name
    lose()
    paper_fleet.turns(80, seconds_apart=10)
    assert names(paper_fleet) == [name]
    assert paper_fleet.cloud.state()["deletes"] == 0
    assert FleetEvent.objects.filter(code="another_installation", level="error").count() == 1
    seen = picture(timezone.now())
    [row] = seen.rows
    assert (row.verdict, row.is_foreign) == ("another installation", True)
    assert ours(seen.rows) == []
    [alarm] = [alarm for alarm in fleet_alarms(seen) if alarm.title == "Another installation uses our mark"]
    assert (alarm.urgency, "manage.py adopt" in alarm.detail) == ("error", True)


@LOSSES
def test_creates_go_no_further_than_what_both_installations_have(paper_fleet, pool, settings, lose):
    settings.MAX_TOTAL_SANDBOXES = 2
    one_ready(paper_fleet, pool)
    lose()
    Pool.objects.update(target_ready=2)
    paper_fleet.acquire(pool)
    paper_fleet.turns(30, seconds_apart=5)
    assert len(names(paper_fleet)) == 2
    assert paper_fleet.cloud.state()["most_apps"] == 2
    with pytest.raises(NoCapacity, match="1 sandbox, 1 of another installation"):
        reserve(runtime="python", origin="cold", code="cold", reason="a launch", now=timezone.now())


@LOSSES
def test_a_place_that_was_reserved_before_the_others_were_seen_is_given_back(paper_fleet, pool, settings, lose):
    """A launch comes first, and only then the first listing of a database that was emptied."""
    settings.MAX_TOTAL_SANDBOXES = 1
    one_ready(paper_fleet, pool)
    lose()
    Fleet.objects.update(others=0, listed_at=None)
    now = timezone.now()
    early = reserve(runtime="python", origin="cold", code="cold", reason="a launch", now=now)
    paper_fleet.turns(10)
    assert paper_fleet.cloud.state()["most_apps"] == 1
    early.refresh_from_db()
    assert (early.state, early.end_code) == (State.DELETED, "fleet_surplus")
    assert "another installation under our mark has 1 of 1 places" in early.end_reason


def test_two_living_installations_leave_each_other_alone(paper_fleet, pool):
    """The database of each is the other's stranger, also while it makes and deletes its own."""
    first = one_ready(paper_fleet, pool).name
    empty_the_database()
    second = one_ready(paper_fleet, pool)
    assert names(paper_fleet) == sorted([first, second.name])
    Pool.objects.update(last_acquired_at=None)
    paper_fleet.clock.advance(700)
    paper_fleet.settle()
    assert names(paper_fleet) == [first]


def test_the_app_of_a_row_that_is_marked_by_another_installation_is_not_ours(paper_fleet, pool):
    sandbox = one_ready(paper_fleet, pool)
    Fleet.objects.update(installation="f" * 32)
    paper_fleet.turns(30, seconds_apart=10)
    sandbox.refresh_from_db()
    assert (sandbox.state, sandbox.end_code) == (State.DELETED, "not_ours")
    assert sandbox.name in names(paper_fleet)


def test_force_delete_asks_for_the_name_of_another_installations_app(paper_fleet, pool):
    name = one_ready(paper_fleet, pool).name
    empty_the_database()
    paper_fleet.turn()
    key = f"app:{CloudApp.objects.get().pk}"
    [outcome] = force_delete([key], actor="ada", reason="costs")
    assert (outcome.fate, names(paper_fleet)) == ("not_typed", [name])
    [outcome] = force_delete([key], actor="ada", reason="costs", typed_names={key: name})
    assert (outcome.fate, names(paper_fleet)) == ("deleted", [])


def test_a_sweep_leaves_another_installations_apps(paper_fleet, pool):
    name = one_ready(paper_fleet, pool).name
    empty_the_database()
    one_ready(paper_fleet, pool)
    call_command("sweep", "--yes", stdout=StringIO())
    assert names(paper_fleet) == [name]


# From versions that marked no installation.


def test_apps_from_before_there_were_installations_stay_ours(paper_fleet, pool, monkeypatch):
    from pools.cloud import app_spec

    with monkeypatch.context() as before:
        before.setattr(app_spec, "INSTALLATION_KEY", "SOMETHING_ELSE")
        sandbox = one_ready(paper_fleet, pool)
    Pool.objects.update(mode="paused")
    paper_fleet.turns(60, seconds_apart=5)
    sandbox.refresh_from_db()
    assert sandbox.state == State.READY
    assert Fleet.get().others == 0
    Sandbox.objects.all().delete()
    paper_fleet.turns(40, seconds_apart=5)
    assert names(paper_fleet) == []  # an orphan, as ever


def test_an_installation_keeps_its_id_and_each_database_has_its_own(paper_fleet, pool):
    first = Fleet.get().installation
    paper_fleet.turns(2)
    assert Fleet.get().installation == first
    empty_the_database()
    assert Fleet.get().installation != first


# Adopting.


def adopt(*options: str) -> str:
    out = StringIO()
    call_command("adopt", *options, stdout=out)
    return out.getvalue()


@LOSSES
def test_adopt_says_what_it_takes_over_and_then_it_is_ours_to_sweep(paper_fleet, pool, lose):
    Pool.objects.update(target_ready=6, max_ready=6, max_concurrent_creates=6)
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    strangers = names(paper_fleet)
    assert len(strangers) == 6
    lose()
    Pool.objects.update(mode="paused")
    said = adopt("--dry-run")
    assert all(name in said for name in strangers)
    assert "6 apps carry the mark local and are not of this database" in said
    assert not CloudApp.objects.exclude(adopted_at=None).exists()
    assert "6 apps are adopted" in adopt("--yes")
    assert Fleet.get().others == 0
    paper_fleet.turns(10, seconds_apart=5)
    assert names(paper_fleet) == strangers  # the grace
    paper_fleet.turns(30, seconds_apart=5)
    assert names(paper_fleet) == []
    assert FleetEvent.objects.filter(code="adopted", kind="orphan").exclude(actor="").count() == 6


@pytest.mark.parametrize(("typed", "is_adopted"), [("local", True), ("yes", False), ("", False)])
def test_adopt_asks_for_the_mark(paper_fleet, pool, monkeypatch, typed, is_adopted):
    one_ready(paper_fleet, pool)
    empty_the_database()
    asked = []
    monkeypatch.setattr("builtins.input", lambda question: (asked.append(question), typed)[1])
    if is_adopted:
        adopt()
    else:
        with pytest.raises(CommandError, match="Nothing was adopted"):
            adopt()
    assert asked == ["Type local to adopt them all: "]
    assert CloudApp.objects.exclude(adopted_at=None).exists() == is_adopted


def test_adopt_leaves_foreign_apps_and_our_own(paper_fleet, pool):
    one_ready(paper_fleet, pool)
    paper_fleet.cloud.control.make_app("web")
    paper_fleet.cloud.control.make_app("sandbox-0badcafe", owner="production")
    assert "0 apps carry the mark local" in adopt("--yes")
    assert not CloudApp.objects.exclude(adopted_at=None).exists()


def test_adopt_needs_a_complete_listing(paper_fleet):
    paper_fleet.cloud.fault(operation="list", status=500)
    with pytest.raises(CommandError, match="could not be listed"):
        adopt("--yes")
