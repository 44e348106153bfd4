"""What one client may launch: told before it is reached, and when there is room again."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone

from games.models import Game
from pools.models import State
from runs import metrics
from runs.limits import LimitReached
from runs.models import Run, Tally
from tests.fixtures.web import new_run
from tests.integration.api.test_keys import key_with

pytestmark = pytest.mark.django_db
ELSEWHERE = {"REMOTE_ADDR": "198.51.100.7"}


@pytest.fixture(autouse=True)
def narrow(settings, snake: Game) -> None:
    settings.MAX_TOTAL_SANDBOXES = settings.MAX_CONCURRENT_COLD = settings.MAX_TOTAL_ACTIVE = 50
    settings.MAX_ACTIVE_PER_CLIENT, settings.MAX_RUNS_PER_HOUR_PER_CLIENT = 2, 3


def launch(client: Client, **extra):
    return client.post("/api/launch/cold", {"game": "snake"}, content_type="application/json", **extra)


def yours(client: Client, **extra) -> dict[str, dict]:
    return {each["limit"]: each for each in client.get("/api/limits", **extra).json()["yours"]}


def end_all() -> None:
    for run in Run.objects.active():
        run.state, run.end_code, run.end_reason = "ended", "ended_by_api", "Over."
        run.save()


def test_one_who_has_too_many_is_refused_and_others_are_not():
    greedy = Client()
    assert [launch(greedy).status_code for _ in range(3)] == [201, 201, 429]
    refused = launch(greedy)
    assert (refused.json()["code"], refused.json()["limit"]) == ("limit_reached", "MAX_ACTIVE_PER_CLIENT")
    assert launch(Client(), **ELSEWHERE).status_code == 201


def test_programs_of_one_address_are_one_client_and_of_one_ipv6_network():
    """A household, or a rented server, has 2^64 of these addresses."""
    answers = [launch(Client(), REMOTE_ADDR=f"2001:db8:1:2::{n:x}").status_code for n in range(3)]
    assert answers == [201, 201, 429]
    assert launch(Client(), REMOTE_ADDR="2001:db8:1:3::1").status_code == 201


def test_who_is_another_visitor_each_time_is_still_of_one_network(settings):
    settings.MAX_ACTIVE_PER_NETWORK = 4
    answers = []
    for _ in range(5):
        visitor = Client()
        visitor.get("/")
        answers.append(launch(visitor))
    assert [answer.status_code for answer in answers] == [201] * 4 + [429]
    assert answers[-1].json()["limit"] == "MAX_ACTIVE_PER_NETWORK"


def test_when_to_come_back_is_when_the_next_place_is_free():
    now, client = timezone.now(), Client()
    for _ in range(2):
        launch(client)
    Run.objects.update(state="running", expires_at=now + timedelta(seconds=200))
    for _ in range(10):
        refused = launch(client)
        again_seconds = int(refused.headers["Retry-After"])
        assert 200 <= again_seconds + 1 <= 222, "never too early, and a tenth too late at the most"
        assert refused.json()["retry_after_seconds"] == again_seconds


def test_those_who_are_refused_together_do_not_come_back_together():
    client = Client()
    for _ in range(2):
        launch(client)
    Run.objects.update(state="running", expires_at=timezone.now() + timedelta(seconds=500))
    assert len({launch(client).headers["Retry-After"] for _ in range(12)}) > 2


def test_the_hours_launches_of_one_are_limited_and_the_first_to_leave_is_named():
    client = Client()
    for _ in range(3):
        assert launch(client).status_code == 201
        end_all()
    Run.objects.update(created_at=timezone.now() - timedelta(minutes=50))
    refused = launch(client)
    assert refused.json()["limit"] == "MAX_RUNS_PER_HOUR_PER_CLIENT"
    assert 590 <= int(refused.headers["Retry-After"]) <= 661


def test_a_client_that_has_too_many_holds_up_nobody(monkeypatch):
    """Each refusal took the fleet's lock."""
    client = Client()
    for _ in range(2):
        launch(client)
    monkeypatch.setattr("pools.models.Fleet.lock", lambda: pytest.fail("the fleet was locked"))
    assert launch(client).status_code == 429


def test_a_launch_that_is_sent_again_gives_its_run_whatever_the_limit():
    client = Client(headers={"Idempotency-Key": "once"})
    first = launch(client).json()["run_id"]
    launch(Client())
    again = launch(client)
    assert (again.status_code, again.json()["run_id"]) == (201, first)


def test_an_answer_tells_what_is_left():
    client = Client()
    launch(client)
    answer = launch(client)
    policy = dict(re.findall(r'"(\w+)";q=(\d+)', answer.headers["RateLimit-Policy"]))
    left = dict(re.findall(r'"(\w+)";r=(\d+);t=\d+', answer.headers["RateLimit"]))
    assert (policy["MAX_ACTIVE_PER_CLIENT"], policy["MAX_RUNS_PER_HOUR_PER_CLIENT"]) == ("2", "3")
    assert (left["MAX_ACTIVE_PER_CLIENT"], left["MAX_RUNS_PER_HOUR_PER_CLIENT"]) == ("0", "1")
    assert 'qu="concurrent-requests"' in answer.headers["RateLimit-Policy"]
    assert ";w=3600" in answer.headers["RateLimit-Policy"]
    refused = launch(client)
    assert '"MAX_ACTIVE_PER_CLIENT";r=0;t=' in refused.headers["RateLimit"]


def test_limits_are_told_before_one_runs_into_them():
    client = Client()
    before = yours(client)["MAX_ACTIVE_PER_CLIENT"]
    assert (before["most"], before["used"], before["remaining"], before["reset_in_seconds"]) == (2, 0, 2, 0)
    launch(client)
    told = yours(client)
    assert (told["MAX_ACTIVE_PER_CLIENT"]["used"], told["MAX_RUNS_PER_HOUR_PER_CLIENT"]["remaining"]) == (1, 2)
    assert told["MAX_RUNS_PER_HOUR_PER_CLIENT"]["window_seconds"] == 3600
    assert yours(Client(), **ELSEWHERE)["MAX_ACTIVE_PER_CLIENT"]["used"] == 0


def test_a_key_has_its_own_limits():
    _, robot = key_with("launch", limits={"most_at_once": 5, "most_a_minute": 4, "most_an_hour": 9})
    assert {name: each["most"] for name, each in yours(robot).items()} == {
        "most_at_once": 5, "most_a_minute": 4, "most_an_hour": 9,
    }  # fmt: skip
    assert [launch(robot).status_code for _ in range(5)] == [201] * 4 + [429]
    refused = launch(robot)
    assert refused.json()["limit"] == "most_a_minute"
    assert int(refused.headers["Retry-After"]) <= 67
    assert launch(Client()).status_code == 201, "its launches are not its network's"


def test_a_key_without_its_own_has_those_of_every_client():
    _, robot = key_with("launch")
    assert [launch(robot).status_code for _ in range(3)] == [201, 201, 429]


def test_a_key_spends_no_more_in_a_day_than_it_may(make_sandbox, settings):
    one_more = Decimal(12) / 672 / 60 * settings.SANDBOX_MIN_LIFETIME_MINUTES
    key, robot = key_with("launch", limits={"most_usd_a_day": Decimal("0.02"), "most_at_once": 9})
    an_hour_ago = timezone.now() - timedelta(minutes=65)
    over = {"deleted_at": timezone.now(), "end_code": "run_over", "end_reason": "Over."}
    sandbox = make_sandbox(State.DELETED, accepted_at=an_hour_ago, **over)
    run = new_run(visitor=key.client, sandbox=sandbox, created_at=an_hour_ago)
    end_all()
    spent = Decimal(12) / 672 / 60 * 65
    assert Decimal("0.02") - one_more < spent < Decimal("0.02")
    refused = launch(robot)
    assert (refused.status_code, refused.json()["limit"]) == (429, "most_usd_a_day")
    assert robot.get("/api/limits").json()["usd_a_day"]["used"] == pytest.approx(float(spent), rel=1e-3)
    Run.objects.filter(pk=run.pk).update(created_at=timezone.now() - timedelta(hours=25))
    assert launch(robot).status_code == 201


def test_where_anonymous_launches_are_off_a_key_or_an_account_is_needed(settings, operator: Client, monkeypatch):
    settings.ANONYMOUS_LAUNCHES = False
    counted: list[str] = []
    monkeypatch.setattr(metrics.REFUSALS, "add", counted.append)
    refused = launch(Client())
    assert counted == ["key_needed"]
    assert (refused.status_code, refused.json()["code"]) == (401, "key_needed")
    assert not Run.objects.exists()
    assert launch(key_with("launch")[1]).status_code == 201
    assert launch(operator).status_code == 201


def test_a_visitors_page_says_so_too(settings, player: Client):
    settings.ANONYMOUS_LAUNCHES = False
    form = {"mode": "warm", "start_from": "snapshot", "key": "12345678"}
    answer = player.post("/games/snake/", form)
    assert answer.status_code == 403
    assert "sign in" in answer.content.decode()
    assert not Run.objects.exists()


def test_a_key_that_only_reads_launches_nothing():
    _, reader = key_with("read")
    answer = launch(reader)
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


def test_the_budget_holds_for_a_warm_launch_that_could_be_played_at_once(make_sandbox, snake: Game):
    """It held for cold ones alone."""
    Tally.objects.create(pk=1)
    make_sandbox(State.READY, ready_at=timezone.now(), health_checked_at=timezone.now())
    _, robot = key_with("launch", limits={"most_usd_a_day": Decimal(0)})
    answer = robot.post("/api/launch/warm", {"game": "snake"}, content_type="application/json")
    assert (answer.status_code, answer.json()["limit"]) == (429, "most_usd_a_day")


def test_the_last_launch_that_can_be_paid_for_is_not_refused(settings):
    """The launch itself was counted, and one more."""
    a_minute = Decimal(12) / 672 / 60
    longest = a_minute * settings.SANDBOX_MAX_LIFETIME_MINUTES
    shortest = a_minute * settings.SANDBOX_MIN_LIFETIME_MINUTES
    budget = (longest * 3 + shortest).quantize(Decimal("0.01"))
    _, robot = key_with("launch", limits={"most_usd_a_day": budget, "most_at_once": 50, "most_an_hour": 50})
    affordable = int((budget - shortest) / longest) + 1
    assert affordable > 1
    answers = [launch(robot) for _ in range(affordable + 1)]
    assert [answer.status_code for answer in answers] == [201] * affordable + [429]
    assert answers[-1].json()["limit"] == "most_usd_a_day"
    assert 86_390 <= int(answers[-1].headers["Retry-After"]) <= 86_400 * 1.1 + 2


def test_of_several_limits_that_are_reached_the_longest_says_when_to_come_back(settings):
    settings.MAX_RUNS_PER_HOUR_PER_CLIENT = 2
    client = Client()
    for _ in range(2):
        launch(client)
    Run.objects.update(state="running", expires_at=timezone.now() + timedelta(seconds=20))
    refused = launch(client)
    assert refused.json()["limit"] == "MAX_RUNS_PER_HOUR_PER_CLIENT"
    assert int(refused.headers["Retry-After"]) > 3000


@pytest.mark.parametrize("on_miss", ["wait", "fail"])
def test_what_can_not_be_served_is_refused_before_anything_is_locked(monkeypatch, on_miss: str):
    monkeypatch.setattr("pools.models.Fleet.lock", lambda: pytest.fail("the fleet was locked"))
    body = {"game": "snake", "on_miss": on_miss}
    answer = Client().post("/api/launch", body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_pool")


def test_a_launch_that_is_refused_for_an_empty_pool_is_demand_once_in_a_while(pool, monkeypatch):
    monkeypatch.setattr("pools.models.Fleet.lock", lambda: pytest.fail("the fleet was locked"))
    body = {"game": "snake", "on_miss": "fail"}
    for _ in range(3):
        answer = Client().post("/api/launch", body, content_type="application/json")
        assert (answer.status_code, answer.json()["code"]) == (429, "pool_empty")
    pool.refresh_from_db()
    assert pool.wanted(timezone.now())


def test_the_same_launch_sent_twice_at_once_is_one_though_there_is_room_for_one(monkeypatch, settings):
    """The second was refused for the first's sake."""
    settings.MAX_ACTIVE_PER_CLIENT = 1
    client = Client(headers={"Idempotency-Key": "once"})
    first: list[str] = []

    def other_one(*_: object, **__: object) -> None:
        monkeypatch.undo()
        first.append(launch(client).json()["run_id"])
        raise LimitReached("MAX_ACTIVE_PER_CLIENT", "One game is on.", 30)

    monkeypatch.setattr("runs.limits.check_client", other_one)
    assert launch(client).json()["run_id"] == first[0]
