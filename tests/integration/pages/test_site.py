"""What holds for every page: the policy, the errors, the statistics."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from pools.models import Fleet, State
from runs.models import RunState

pytestmark = pytest.mark.django_db
POLICY = ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "form-action 'self'")


@pytest.mark.parametrize("path", ["/", "/games/snake/", "/stats/", "/nowhere/", "/admin/login/"])
def test_every_page_forbids_what_it_does_not_need(client: Client, snake, path):
    policy = client.get(path)["Content-Security-Policy"].split("; ")
    assert set(POLICY) <= set(policy)
    policy.remove("frame-src http://localhost:8000")  # where the games are
    assert not any("unsafe" in rule or "http" in rule for rule in policy)


@pytest.mark.parametrize("path", ["/", "/games/snake/", "/stats/"])
def test_no_page_holds_inline_scripts_or_styles_or_names_another_host(client, snake, path):
    page = client.get(path).content.decode()
    assert "<style" not in page
    assert " style=" not in page
    assert " onclick=" not in page
    assert "<script>" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


@pytest.mark.parametrize(
    ("body", "status", "fields"),
    [
        (r'{"game": "snake\u0000"}', 422, ["game"]),
        (r'{"game": "\ud800"}', 422, ["game"]),
        ('{"game": 7}', 422, ["game"]),
        ('{"game": "snake", "speed": 1}', 422, ["speed"]),
        ('{"game": ""}', 422, ["game"]),
        ("[]", 422, ["body"]),
        ('{"game": "snake"', 400, []),
        (b"\xff", 400, []),
        ("", 422, ["body"]),
    ],
)
def test_a_program_that_asks_wrongly_is_told_what_is_wrong(client, snake, body, status, fields):
    answer = client.post("/api/launch/warm", body, content_type="application/json")
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert [each["field"] for each in answer.json().get("errors", [])] == fields


def test_a_refused_launch_has_a_code_for_programs(client, snake, settings):
    def refused(game: str, mode: str = "cold", key: str = "a") -> tuple[int, str]:
        answer = client.post(
            f"/api/launch/{mode}", {"game": game}, content_type="application/json", headers={"Idempotency-Key": key}
        )
        return answer.status_code, answer.json().get("code")

    settings.MAX_TOTAL_ACTIVE = 1
    assert refused("chess") == (422, "unknown_game")
    assert refused("snake") == (201, None)
    assert refused("snake", "warm") == (409, "key_reused")
    assert refused("snake", key="b") == (429, "limit_reached")
    Fleet.objects.update(maintenance=True)
    assert refused("snake", key="c") == (503, "maintenance")


def test_a_run_that_is_over_says_why_by_a_code_too(client, snake, make_run):
    run = make_run(RunState.ENDED)
    answer = client.get(f"/api/sandbox/{run.id}").json()
    assert (answer["end_code"], answer["end_reason"], answer["notice_code"]) == ("time_up", "Its time was up.", "")


def test_a_server_error_has_a_page_that_needs_nothing(client, snake, monkeypatch):
    def break_down(request):
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr("runs.pages.lobby.lobby_now", break_down)
    client.raise_request_exception = False
    response = client.get("/")
    assert response.status_code == 500
    assert b"A wave took this page" in response.content
    assert b"broken on purpose" not in response.content


def test_statistics_without_any_launch_say_so(client):
    page = client.get("/stats/").content.decode()
    assert "No launches yet" in page


def test_statistics_tell_warm_from_cold_in_pictures_and_in_tables(client, make_run, make_sandbox):
    now = timezone.now()
    past = [now - timedelta(hours=hours) for hours in (10, 9, 8)]
    for minutes in range(5):
        moments = zip(("requested_at", "ready_at", "delete_requested_at"), past, strict=True)
        warm = make_sandbox(State.DELETED, end_code="run_over", end_reason="over", **dict(moments))
        make_run(RunState.ENDED, created_at=now - timedelta(minutes=minutes), sandbox=warm)
    make_run(RunState.ENDED, served_by="cold_fallback", deployed_from="source", total_ms=41_000, acquire_ms=39_000)
    make_sandbox(State.READY, ready_at=now - timedelta(hours=1), requested_at=now - timedelta(hours=1, minutes=1))
    page = client.get("/stats/").content.decode()
    assert "Warm, game already started" in page
    assert "41.0 s" in page
    assert "83 %" in page
    assert page.count("<svg") >= 5
    assert page.count("<table") == 4
    assert "1 sandbox created" in page


def test_a_launch_that_waited_for_its_sandbox_was_not_served_at_once(client, make_run, make_sandbox):
    now = timezone.now()
    late = make_sandbox(
        State.DELETED, end_code="run_over", end_reason="over", requested_at=now - timedelta(seconds=3), ready_at=now
    )
    make_run(RunState.ENDED, created_at=now - timedelta(seconds=1), sandbox=late)
    page = client.get("/stats/").content.decode()
    assert re.search(r"After a wait for one on its way</th>\s*<td[^>]*>1</td>", page)


def test_an_idle_hour_costs_what_the_size_costs(client, make_sandbox):
    now = timezone.now()
    make_sandbox(State.READY, ready_at=now - timedelta(hours=1), requested_at=now - timedelta(hours=2))
    assert "$0.0179" in client.get("/stats/").content.decode()  # 12 USD a month of 672 hours
