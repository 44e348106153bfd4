"""A run's page: who may do what, and what is said at each stage."""

import re
import uuid
from datetime import datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from pools.models import State
from runs import lifecycle
from runs.models import RunEvent, RunState
from runs.pages import run as run_page
from runs.reasons import RunEndCode

pytestmark = pytest.mark.django_db


def text(response) -> str:
    assert response.status_code == 200
    return response.content.decode()


def soon() -> datetime:
    return timezone.now() + timedelta(minutes=5)


@pytest.fixture
def ended(monkeypatch):
    """The runs that were ended, with the codes that were given."""
    calls = []
    monkeypatch.setattr(
        run_page.lifecycle, "end", lambda run_id, code, reason, now, by="": calls.append((run_id, code)) or True
    )
    return calls


def test_a_running_game_is_in_a_frame_that_may_run_scripts_and_nothing_else(player, make_run):
    run = make_run()
    page = text(player.get(f"/runs/{run.id}/"))
    frame = page.split("<iframe")[1].split(">")[0]
    assert f'src="http://localhost:8000/play/{run.id}/"' in frame
    assert "allow-same-origin" not in frame
    assert "allow-scripts" in frame


def test_while_it_starts_a_browser_without_scripts_looks_again(player, make_run):
    page = text(player.get(f"/runs/{make_run(RunState.DEPLOYING, acquire_ms=12).id}/"))
    assert re.search(r'<noscript>\s*<meta http-equiv="refresh" content="2">\s*</noscript>', page)


def test_a_running_game_is_not_reloaded_before_its_end(player, make_run):
    run = make_run()
    run.expires_at = run.created_at + timedelta(minutes=5)
    page = text(player.get(f"/runs/{run.id}/"))
    seconds = int(page.split('http-equiv="refresh" content="')[1].split('"')[0])
    assert 290 < seconds <= 302


def test_a_failed_launch_keeps_its_log_and_says_what_one_can_do(player, make_run):
    run = make_run(RunState.FAILED, end_code="deploy_failed", end_reason="The package index did not answer.")
    RunEvent.objects.create(run=run, seq=1, kind="log", message="ERROR: <b>no</b>", at=run.created_at)
    page = text(player.get(f"/runs/{run.id}/"))
    assert "The package index did not answer." in page
    assert "ERROR: &lt;b&gt;no&lt;/b&gt;" in page
    assert "Launch again" in page


def test_a_game_that_ended_says_why_and_what_it_took(player, make_run):
    page = text(player.get(f"/runs/{make_run(RunState.ENDED).id}/"))
    assert "Its time was up." in page
    assert "71 ms" in page
    assert "<iframe" not in page


def test_a_long_log_shows_its_end_and_says_what_is_left_out(player, make_run):
    run = make_run()
    RunEvent.objects.bulk_create(
        RunEvent(run=run, seq=n, kind="log", message=f"line {n}", at=run.created_at) for n in range(1, 1001)
    )
    page = text(player.get(f"/runs/{run.id}/"))
    assert "600 earlier lines" in page
    assert 'data-after="1000"' in page
    assert len(page) < 150_000


def test_a_log_of_long_lines_makes_no_page_heavy(player, make_run):
    run = make_run()
    RunEvent.objects.bulk_create(
        RunEvent(run=run, seq=n, kind="log", message="x" * 2_000, at=run.created_at) for n in range(1, 301)
    )
    page = text(player.get(f"/runs/{run.id}/"))
    assert "285 earlier lines" in page
    assert len(page) < 60_000


def test_a_failure_is_told_in_words_whatever_the_program_printed(player, make_run):
    run = make_run(RunState.DEPLOYING)
    lifecycle.fail(
        run.id,
        RunEndCode.DEPLOY_FAILED,
        "It could not be installed: \x1b[31mERROR:\x00 no space\x1b[0m",
        run.created_at,
    )
    assert "<p>It could not be installed: ERROR: no space</p>" in text(player.get(f"/runs/{run.id}/"))
    reason = "It could not be installed: ERROR: no space"
    data = {"state": "failed", "code": "deploy_failed", "reason": reason, "duration_ms": 0}
    assert run.events.get().data == data


def test_the_live_parts_are_those_of_the_page(player, make_run):
    for state in RunState:
        run = make_run(state)
        page, parts = text(player.get(f"/runs/{run.id}/")), text(player.get(f"/runs/{run.id}/live/"))
        assert {p.split('"')[1] for p in parts.split("data-live=")[1:]} == {"clock", "stage", "actions", "timeline"}
        for key in ("clock", "stage", "actions", "timeline"):
            assert f'data-live="{key}"' in page


def test_the_player_may_end_it(player, make_run, ended):
    run = make_run()
    assert player.post(f"/runs/{run.id}/end/").status_code == 303
    assert ended == [(run.id, RunEndCode.ENDED_BY_PLAYER)]


def test_somebody_else_may_look_and_do_nothing(make_run, ended):
    run, stranger = make_run(), Client()
    page = text(stranger.get(f"/runs/{run.id}/"))
    assert "End now" not in page
    assert "<iframe" not in page
    assert "<iframe" not in text(stranger.get(f"/runs/{run.id}/live/"))
    assert stranger.post(f"/runs/{run.id}/end/").status_code == 403
    assert stranger.post(f"/runs/{run.id}/extend/").status_code == 403
    assert not ended


@pytest.fixture
def operator(db: None) -> Client:
    """An operator's browser."""
    user = User.objects.create_user("otto", is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=["operate_fleet", "view_run"]))
    browser = Client()
    browser.force_login(user)
    return browser


def test_an_operator_acts_where_the_reason_is_asked_for(operator, make_run, ended):
    run = make_run()
    page = text(operator.get(f"/runs/{run.id}/"))
    assert "End now" not in page
    assert operator.post(f"/runs/{run.id}/end/").status_code == 403
    assert not ended
    assert f'href="/admin/runs/run/{run.id}/change/">Extend or end it as an operator' in page
    assert operator.get(f"/admin/runs/run/{run.id}/change/").status_code == 200


def test_what_players_do_is_no_operators_act(player, make_run, make_sandbox):
    run = make_run(sandbox=make_sandbox(State.IN_USE, expires_at=soon()))
    player.post(f"/runs/{run.id}/extend/")
    run.refresh_from_db()
    assert run.extensions == 1
    assert not LogEntry.objects.exists()


def test_a_visitor_who_logs_in_keeps_what_is_theirs(player, make_run, ended):
    run = make_run()
    player.force_login(User.objects.create_user("somebody"))
    assert player.post(f"/runs/{run.id}/end/").status_code == 303


@pytest.mark.parametrize("path", ["end", "extend"])
def test_links_end_and_extend_nothing(player, make_run, ended, path):
    assert player.get(f"/runs/{make_run().id}/{path}/").status_code == 405
    assert not ended


def test_more_time_is_asked_for_without_leaving_the_page(player, make_run, monkeypatch):
    run = make_run()
    monkeypatch.setattr(run_page.lifecycle, "extend", lambda run_id, now, by: True)
    answer = player.post(f"/runs/{run.id}/extend/", headers={"Accept": "application/json"})
    assert answer.status_code == 204
    monkeypatch.setattr(run_page.lifecycle, "extend", lambda run_id, now, by: False)
    assert player.post(f"/runs/{run.id}/extend/", headers={"Accept": "application/json"}).status_code == 409
    assert player.post(f"/runs/{run.id}/extend/", headers={"Accept": "text/html"}).status_code == 303


def test_an_unknown_run_is_a_page_that_says_so(client, db):
    response = client.get(f"/runs/{uuid.uuid4()}/")
    assert response.status_code == 404
    assert b"Only sand here" in response.content
