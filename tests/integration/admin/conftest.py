"""Operators before a fleet on paper: who they are, what they press, and what was written down about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from games.models import Game
from pools.console import fleet_admin
from pools.models import CloudApp, EventCursor, Fleet, FleetEvent, Pool, Sandbox, State
from runs.models import Run
from tests.fixtures.fleet import Clock, FleetUnderTest, fleet_beside
from tests.fixtures.local_cloud import LocalCloudProcess

FLEET = "/admin/pools/fleet/"


class Person:
    """Somebody signed in to the admin. Posts follow the redirect, so that the answer has what they are told."""

    def __init__(self, name: str, client: Client) -> None:
        self.name, self.client = name, client

    def get(self, path: str, **query: str) -> Any:
        return self.client.get(path, query)

    def post(self, path: str, **data: Any) -> Any:
        return self.client.post(path, data, follow=True)

    def act(self, path: str, action: str, *objects: Any, reason: str = "a test") -> Any:
        """An action on ticked rows of a list."""
        ticked = [str(each.pk) for each in objects]
        return self.post(path, action=action, _selected_action=ticked, reason=reason, index="0")


def sign_in(name: str, *groups: str, staff: bool = True) -> Person:
    user = User.objects.create_user(name, is_staff=staff)
    user.groups.set(Group.objects.filter(name__in=groups))
    client = Client()
    client.force_login(user)
    return Person(name, client)


@pytest.fixture
def viewer(db: None) -> Person:
    return sign_in("vera", "Viewers")


@pytest.fixture
def operator(db: None) -> Person:
    return sign_in("otto", "Operators")


@pytest.fixture
def destroyer(db: None) -> Person:
    return sign_in("dora", "Destroyers")


@pytest.fixture
def people(viewer: Person, operator: Person, destroyer: Person) -> dict[str, Person]:
    return {"viewer": viewer, "operator": operator, "destroyer": destroyer}


def told(answer: Any) -> str:
    """The messages on the page that an act leads to."""
    return "\n".join(str(message) for message in answer.context["messages"])


def history() -> list[tuple[str, str]]:
    """Django's log, newest first: who, and what with why."""
    return list(LogEntry.objects.order_by("-pk").values_list("user__username", "change_message"))


def log(kind: str = "") -> list[tuple[str, str]]:
    """The orchestrator log of what operators did, newest first: who, and what with why."""
    events = FleetEvent.objects.exclude(actor="")
    return list((events.filter(kind=kind) if kind else events).values_list("actor", "message"))


def queries(person: Person, path: str, **query: str) -> int:
    """How many queries a page takes."""
    with CaptureQueriesContext(connection) as captured:
        answer = person.get(path, **query)
    assert answer.status_code == 200
    return len(captured)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloudProcess]:
    """A cloud on paper that the tests of a module share; `fleet` empties it."""
    process = LocalCloudProcess(tmp_path_factory.mktemp("cloud"), "--deploy-seconds", "0", "--paper")
    yield process
    process.stop()


@pytest.fixture
def fleet(
    db: None, settings: Any, cloud: LocalCloudProcess, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> FleetUnderTest:
    """The database beside an empty account; turns are taken when the test says so, and not waited for."""
    monkeypatch.setattr(fleet_admin, "TURN_WAIT_SECONDS", 0.0)
    settings.ORCHESTRATOR_ID = "local"
    cloud.control.reset()
    return fleet_beside(cloud, settings, clock)


@pytest.fixture
def pool(db: None) -> Pool:
    """A Python pool of one, nobody has asked yet."""
    return Pool.objects.create(
        name="python",
        runtime="python",
        image="bikramkgupta/sandbox-python-service:latest",
        region="syd",
        size="apps-s-1vcpu-1gb",
        stage="none",
    )


@pytest.fixture
def snake(db: None) -> Game:
    return Game.objects.create(
        slug="snake", title="Snake", runtime="python", run_command="python3 server.py", snapshot_name="snake-python"
    )


MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(snake: Game) -> MakeRun:
    """A running game, in a sandbox if one is given."""

    def make(**fields: Any) -> Run:
        now = timezone.now()
        defaults = {
            "mode": "warm", "served_by": "pool", "state": "running", "visitor": "8d1f02aa77", "created_at": now,
            "acquired_at": now, "ready_at": now,
        }  # fmt: skip
        if sandbox := fields.get("sandbox"):
            defaults["expires_at"] = sandbox.expires_at
        return Run.objects.create(game=snake, **defaults | fields)

    return make


def on_paper(count: int, pool: Pool, snake: Game) -> None:
    """So many sandboxes in use beside their apps, each with its run, two lines of the log and no cloud behind them."""
    now = timezone.now()
    first = Sandbox.objects.count()
    sandboxes = [
        Sandbox(
            name=f"sandbox-{number:08x}", app_id=f"app-{number:08x}", pool=pool, runtime="python", image=pool.image,
            region="syd", size=pool.size, state=State.IN_USE, origin="pool", create_code="demand",
            create_reason="a test wants it",
            url="https://a.example", requested_at=now, create_sent_at=now, accepted_at=now, healthy_at=now,
            ready_at=now, acquired_at=now, expires_at=now + timedelta(minutes=5),
        )
        for number in range(first, first + count)
    ]  # fmt: skip
    Sandbox.objects.bulk_create(sandboxes)
    CloudApp.objects.bulk_create(
        CloudApp(
            app_id=each.app_id, name=each.name, owner="local", phase="ACTIVE", url=each.url, region="syd",
            size=pool.size, app_created_at=now, first_seen_at=now,
        )
        for each in sandboxes
    )  # fmt: skip
    Run.objects.bulk_create(
        Run(
            game=snake, mode="warm", served_by="pool", state="running", visitor=f"{number:08x}", sandbox=sandbox,
            created_at=now, acquired_at=now, ready_at=now, expires_at=sandbox.expires_at, total_ms=70, acquire_ms=30,
        )
        for number, sandbox in enumerate(sandboxes)
    )  # fmt: skip
    cursor = EventCursor.objects.get_or_create(name="fleet")[0]
    FleetEvent.objects.bulk_create(
        FleetEvent(
            seq=cursor.last_seq + number + 1,
            at=now,
            kind="create",
            message="a test",
            sandbox_name=each.name,
            pool_name=pool.name,
        )
        for number, each in enumerate(sandboxes)
    )
    EventCursor.objects.update(last_seq=cursor.last_seq + count)
    Fleet.get()
    Fleet.objects.update(listed_at=now, turned_at=now)
