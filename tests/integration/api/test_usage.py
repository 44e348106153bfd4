"""GET /api/usage: what was launched, used and idle, by day, client, game and pool, and what it cost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from games.models import Game
from pools.models import Pool, Sandbox, State
from runs import usage
from runs.models import UsageDay
from tests.fixtures.fleet import Clock
from tests.fixtures.web import new_run
from tests.integration.api.conftest import person
from tests.integration.api.test_keys import key_with

pytestmark = pytest.mark.django_db
MakeSandbox = Callable[..., Sandbox]
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
USD_A_SECOND = 12 / 672 / 3600
NAMES = ("launches", "hits", "in_use_seconds", "idle_seconds", "unused")


@pytest.fixture(autouse=True)
def today(clock: Clock) -> datetime:
    """The evening of a certain day."""
    clock.ahead = NOON + timedelta(hours=6) - timezone.now()
    return clock.now()


@pytest.fixture
def reader(db: None) -> Client:
    return key_with("read")[1]


@pytest.fixture
def lived(make_sandbox: MakeSandbox) -> Callable[..., Sandbox]:
    """`lived(at, idle_seconds, used_seconds, visitor=…)`: a sandbox that waited, was used by somebody's run, if so, and
    was deleted at that moment."""

    def make(
        at: datetime, idle: float, used: float = 0, visitor: str = "", slug: str = "snake", **fields: Any
    ) -> Sandbox:
        acquired_at = at - timedelta(seconds=used) if used else None
        accepted_at = at - timedelta(seconds=idle + used)
        sandbox = make_sandbox(
            State.DELETED,
            **{
                "requested_at": accepted_at, "accepted_at": accepted_at, "ready_at": accepted_at,
                "acquired_at": acquired_at, "deleted_at": at, "end_code": "idle", "end_reason": "a test",
            } | fields,
        )  # fmt: skip
        if acquired_at is not None:
            run = new_run(
                sandbox=sandbox, visitor=visitor, mode="warm", served_by="pool", state="ended", end_code="time_up",
                end_reason="a test", created_at=acquired_at, ended_at=at,
            )  # fmt: skip
            if slug != "snake":
                game, _ = Game.objects.get_or_create(slug=slug, title=slug, runtime="python", run_command="true")
                run.game = game
                run.save()
        return sandbox

    return make


def told(client: Client, query: str = "") -> dict[str, Any]:
    answer = client.get(f"/api/usage?{query}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def rows(client: Client, query: str = "") -> dict[str | None, tuple[Any, ...]]:
    return {row["key"]: tuple(row[name] for name in NAMES) for row in told(client, query)["rows"]}


def settle() -> None:
    for _ in usage.settle(timezone.now()):
        pass


@pytest.fixture
def some(lived: Callable[..., Sandbox]) -> None:
    """Two launches of one key yesterday, one of somebody without a key today, and a sandbox that nobody took."""
    lived(NOON - timedelta(days=1), 100, 300, "key:aaaaaaaa")
    lived(NOON - timedelta(days=1, hours=3), 50, 200, "key:aaaaaaaa", slug="memory")
    lived(NOON, 30, 600, "8d1f02aa77")
    lived(NOON + timedelta(hours=5, minutes=50), 120)


@pytest.mark.parametrize("is_settled", [False, True])
def test_everything_is_told_apart_and_adds_up(some: None, reader: Client, is_settled: bool):
    if is_settled:
        settle()
        assert UsageDay.objects.count() == 3  # the last ten minutes are not
    assert rows(reader) == {"2026-11-19": (2, 2, 500, 150, 0), "2026-11-20": (1, 1, 600, 150, 1)}
    assert rows(reader, "by=client") == {
        "anonymous": (1, 1, 600, 30, 0),
        "key:aaaaaaaa": (2, 2, 500, 150, 0),
        None: (0, 0, 0, 120, 1),
    }
    assert rows(reader, "by=game") == {
        "memory": (1, 1, 200, 50, 0),
        "snake": (2, 2, 900, 130, 0),
        None: (0, 0, 0, 120, 1),
    }
    assert rows(reader, "by=pool") == {"python": (3, 3, 1100, 300, 1)}
    total = told(reader)["total"]
    assert total["in_use_usd"] == pytest.approx(1100 * USD_A_SECOND, abs=1e-6)
    assert total["idle_usd"] == pytest.approx(300 * USD_A_SECOND, abs=1e-6)


def test_settling_twice_counts_nothing_twice(some: None, reader: Client, lived: Callable[..., Sandbox], clock: Clock):
    settle()
    settle()
    clock.advance(3600)
    settle()
    lived(timezone.now() - timedelta(minutes=1), 10, 60, "8d1f02aa77")
    assert rows(reader)["2026-11-20"] == (2, 2, 660, 160, 1)
    clock.advance(3600)
    settle()
    assert rows(reader)["2026-11-20"] == (2, 2, 660, 160, 1)


def test_of_two_that_settle_the_same_one_counts_it(some: None, today: datetime):
    begin = usage.settled_until(today)
    first, second = (
        usage._settle(begin, NOON - timedelta(hours=12), NOON.date() - timedelta(days=1)) for _ in range(2)
    )
    assert (first, second) == (2, 0)
    assert sorted(UsageDay.objects.values_list("launches", flat=True)) == [1, 1]


def test_what_is_settled_while_somebody_asks_is_counted_once(
    some: None, reader: Client, monkeypatch: pytest.MonkeyPatch
):
    read = usage._settled

    def settled_meanwhile(*asked: Any) -> Any:
        settle()
        return read(*asked)

    monkeypatch.setattr(usage, "_settled", settled_meanwhile)
    assert told(reader)["total"]["launches"] == 3


def test_what_is_there_counts_today(make_sandbox: MakeSandbox, reader: Client, today: datetime):
    hour_ago = today - timedelta(hours=1)
    make_sandbox(State.READY, accepted_at=hour_ago)
    used = make_sandbox(State.IN_USE, accepted_at=hour_ago, acquired_at=today - timedelta(minutes=10))
    new_run(sandbox=used, visitor="key:aaaaaaaa", state="running", created_at=today - timedelta(minutes=10))
    make_sandbox(State.CREATING, accepted_at=None)
    found = rows(reader, "by=client")
    assert found[None] == (0, 0, 0, pytest.approx(3600, abs=10), 0)
    assert found["key:aaaaaaaa"] == (1, 0, pytest.approx(600, abs=10), pytest.approx(3000, abs=10), 0)
    assert rows(reader, "from=2026-11-10&to=2026-11-19") == {}


def test_what_started_cold_is_of_no_pool_and_no_hit(lived: Callable[..., Sandbox], reader: Client):
    lived(NOON, 40, 100, "8d1f02aa77", pool=None, origin="cold", ready_at=None)
    assert rows(reader, "by=pool") == {None: (1, 0, 100, 40, 0)}


def test_a_minute_is_billed_at_least(lived: Callable[..., Sandbox], reader: Client):
    lived(NOON, 5, 10, "8d1f02aa77")
    assert rows(reader) == {"2026-11-20": (1, 1, 10, 50, 0)}


def test_days_are_chosen(some: None, reader: Client):
    settle()
    assert set(rows(reader, "from=2026-11-19&to=2026-11-19")) == {"2026-11-19"}
    span = told(reader)
    assert (span["from"], span["to"], span["by"]) == ("2026-11-14", "2026-11-20", "day")
    assert told(reader, "to=2026-11-10")["from"] == "2026-11-04"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=2026-11-20&to=2026-11-19", "from"),
        ("from=2026-08-20&to=2026-11-20", "from"),
        ("from=yesterday", "from"),
        ("to=0", "to"),
        ("to=2026-02-30", "to"),
        ("by=moon", "by"),
    ],
)
def test_what_is_not_understood_is_named(reader: Client, query: str, field: str):
    answer = reader.get(f"/api/usage?{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_the_longest_span_is_92_days(reader: Client):
    assert told(reader, "from=2026-08-21&to=2026-11-20")["rows"] == []


def test_a_key_that_may_not_read_gets_its_own(lived: Callable[..., Sandbox], some: None):
    key, robot = key_with("launch")
    lived(NOON, 30, 60, key.client)
    for _ in range(2):
        assert rows(robot, "by=client") == {key.client: (1, 1, 60, 30, 0)}
        assert told(robot)["total"]["launches"] == 1
        settle()


def test_people_see_all_or_nothing(some: None, operator: Client):
    assert told(operator)["total"]["launches"] == 3
    assert Client().get("/api/usage").json()["code"] == "sign_in"


def test_staff_without_the_right_see_nothing(some: None):
    assert person("view_run").get("/api/usage").json()["code"] == "operators_only"


def test_the_name_of_a_deleted_pool_stays(some: None, reader: Client):
    settle()
    Pool.objects.all().delete()
    assert "python" in rows(reader, "by=pool")
