"""The lobby: how soon each game would start, who plays, and the log."""

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from pools import journal
from pools.models import Fleet, State
from runs.models import RunState

pytestmark = pytest.mark.django_db


def text(response) -> str:
    assert response.status_code == 200
    return response.content.decode()


def test_an_empty_site_says_that_the_catalog_is_being_loaded(client: Client):
    assert "No games yet" in text(client.get("/"))


def test_a_game_with_a_staged_sandbox_is_ready_now(client, snake, make_sandbox):
    make_sandbox(State.READY, staged={"snake": {"started": True}})
    assert "ready now" in text(client.get("/"))


def test_the_part_that_changes_is_rendered_the_same_as_in_the_page(client, snake, make_sandbox, make_run):
    make_sandbox(State.READY)
    make_run(visitor="somebody else")
    page, parts = text(client.get("/")), text(client.get("/live/"))
    for part in parts.split("data-live=")[1:]:
        key = part.split('"')[1]
        assert f'data-live="{key}"' in page


def test_my_runs_are_links_and_marked_and_those_of_others_are_neither(player, make_run):
    mine, theirs = make_run(), make_run(visitor="somebody else")
    page = text(player.get("/"))
    assert str(mine.id) in page
    assert "yours" in page
    assert str(theirs.id) not in page


def test_what_ended_lately_says_what_it_took(player, make_run):
    make_run(RunState.ENDED)
    assert "71 ms" in text(player.get("/"))


def test_the_log_is_on_the_page_and_can_not_break_it(client, snake):
    journal.record("create", "<script>alert(1)</script>")
    page = text(client.get("/"))
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page


def test_maintenance_is_said_on_every_page_and_by_every_game(client, snake):
    Fleet.get()
    Fleet.objects.update(maintenance=True, maintenance_message="Back at noon.")
    page = text(client.get("/"))
    assert "Back at noon." in page
    assert "closed for maintenance" in page
    assert "Back at noon." in text(client.get("/stats/"))


def test_used_up_launches_are_said_before_anybody_clicks(player, make_run, settings):
    settings.MAX_RUNS_PER_HOUR = 1
    make_run()
    page = text(player.get("/"))
    assert "no launches left this hour" in page
    assert "All 1 launches of this hour are used up" in page


def test_a_full_house_says_when_there_is_room_again(player, make_run, settings):
    settings.MAX_CONCURRENT_WARM = 1
    make_run()
    assert "full, room in 5 minutes" in text(player.get("/"))


def test_the_number_of_queries_does_not_grow_with_what_there_is(
    client, snake, make_sandbox, make_run, django_assert_max_num_queries
):
    client.get("/")
    for _ in range(6):
        make_sandbox(State.READY)
        make_run(visitor="somebody else")
    with django_assert_max_num_queries(26):
        client.get("/")


def test_looking_at_the_live_parts_begins_no_session(client, snake):
    response = client.get("/live/")
    assert settings.SESSION_COOKIE_NAME not in response.cookies


def test_times_are_written_for_machines_too(player, make_run):
    run = make_run()
    assert f'datetime="{run.ready_at.isoformat(timespec="milliseconds")}"' in text(player.get("/"))
    assert run.ready_at <= timezone.now()


def test_the_page_names_the_version_that_its_script_asks_beyond(client, snake):
    version = client.get("/live/")["ETag"].strip('"')
    assert f'data-lobby="{version}"' in text(client.get("/"))
