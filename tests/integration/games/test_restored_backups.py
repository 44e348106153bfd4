"""A database restored from a backup calls ready what was taken since: it is played on, and by nobody else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from games import tasks
from pools import taken
from pools.models import Fleet, FleetEvent, Pool, Sandbox, State
from runs.models import Run, Tally
from tests.fixtures.catalog import Catalog
from tests.integration.games.conftest import Site

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("downloads")]


@pytest.fixture
def warm(request: pytest.FixtureRequest, site: Site, catalog: Catalog, pool: Pool) -> Pool:
    """A pool with one ready, that stages games and starts them, or what the test says."""
    catalog.add("chess")
    catalog.publish("chess")
    Pool.objects.update(stage=getattr(request, "param", "started"))
    site.warm(pool)
    return pool


EACH_STAGE = pytest.mark.parametrize("warm", ["started", "files", "none"], indirect=True)


@pytest.fixture
def restore() -> Callable[[], None]:
    """Put the database back to how it was when the test began, and start."""
    rows: list[dict[str, Any]] = []

    def back_up() -> None:
        rows.extend(Sandbox.objects.values())

    def put_back() -> None:
        Run.objects.all().delete()
        Tally.objects.update(warm=0, cold=0)
        for row in rows:
            Sandbox.objects.filter(pk=row["id"]).update(**row)
        Fleet.objects.update(turned_at=timezone.now() - timedelta(hours=1), started_at=None)
        Fleet.note_pause(timezone.now(), is_alone=False)

    put_back.back_up = back_up  # type: ignore[attr-defined]
    return put_back


@pytest.fixture
def played(site: Site, warm: Pool, restore) -> Run:
    """Played since the backup."""
    restore.back_up()
    run = site.play("chess")
    restore()
    return run


def the_game(site: Site, run: Run) -> str:
    assert run.sandbox is not None
    return run.sandbox.agent().fetch(run.port, "/").body.decode()


@EACH_STAGE
def test_what_is_played_goes_on_until_no_run_could_last_longer(site: Site, played: Run):
    """It was given to the next player, or retired because its other games had ended."""
    for _ in range(3):
        site.turn()
    sandbox = Sandbox.objects.get(pk=played.sandbox_id)
    assert sandbox.state == State.IN_USE
    (line,) = FleetEvent.objects.filter(code="unknown_run")
    assert f"run {played.short_id}, which this database does not know" in line.message
    assert sandbox.expires_at - timezone.now() > timedelta(minutes=10)
    site.fleet.clock.advance(600)
    site.turn()
    assert "<h1>Chess</h1>" in the_game(site, played)
    site.fleet.clock.advance((sandbox.expires_at - timezone.now()).total_seconds() + 1)
    site.turn()
    sandbox.refresh_from_db()
    assert (sandbox.state, sandbox.end_code) == (State.DELETING, "expired")


@EACH_STAGE
def test_who_launches_before_the_first_turn_is_not_put_into_it(site: Site, played: Run):
    other = site.play("chess")
    assert other.sandbox_id != played.sandbox_id
    assert Sandbox.objects.get(pk=played.sandbox_id).state == State.IN_USE
    assert "<h1>Chess</h1>" in the_game(site, played)


@pytest.mark.parametrize("called", [State.CREATING, State.STAGING])
def test_one_that_was_being_prepared_at_the_backup_is_not_prepared_again(site: Site, played: Run, called: State):
    """Staging begins with the end of all that runs."""
    Sandbox.objects.filter(pk=played.sandbox_id).update(state=called, ready_at=None, staged={})
    site.turn()
    if called == State.STAGING:
        tasks.stage(str(played.sandbox_id))
    assert Sandbox.objects.get(pk=played.sandbox_id).state == State.IN_USE
    assert "<h1>Chess</h1>" in the_game(site, played)


def test_its_games_are_not_brought_up_to_date(site: Site, played: Run, catalog: Catalog):
    catalog.publish("chess")
    tasks.restage()
    assert "<h1>Chess</h1>" in the_game(site, played)


def test_it_is_not_retired_for_its_pools_sake_before_it_was_looked_at(site: Site, played: Run):
    Pool.objects.update(last_acquired_at=None, mode="draining")
    for _ in range(3):
        site.turn()
    assert Sandbox.objects.get(pk=played.sandbox_id).state == State.IN_USE


def test_one_that_nobody_has_taken_is_ready_again_after_a_look(site: Site, warm: Pool, restore):
    restore.back_up()
    restore()
    site.turn()
    sandbox = Sandbox.objects.get(state=State.READY)
    assert taken.taken_by(sandbox.agent().processes()) is None
    assert sandbox.is_known_well(Fleet.get().started_at)
