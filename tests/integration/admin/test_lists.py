"""The lists and pages of what the machine made: found, filtered, bounded in queries, and told as a story."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.utils import timezone

from games.models import Game, Snapshot
from orchestrator_site.models import Beat
from pools.models import CloudApp, FleetEvent, Pool, Sandbox, State
from runs import events
from runs.models import Run
from tests.integration.admin.conftest import MakeRun, Person, history, log, on_paper, queries, told

SANDBOXES, RUNS, EVENTS = "/admin/pools/sandbox/", "/admin/runs/run/", "/admin/pools/fleetevent/"
APPS, POOLS, GAMES, SNAPSHOTS = (
    "/admin/pools/cloudapp/",
    "/admin/pools/pool/",
    "/admin/games/game/",
    "/admin/games/snapshot/",
)
ENTRIES = "/admin/admin/logentry/"
QUERIES = 60  # a bound, not a target; half of them are for the alarms on top


def fill(count: int, pool: Pool, snake: Game) -> None:
    """So many of everything that has a list."""
    on_paper(count, pool, snake)
    now, first = timezone.now(), Game.objects.count()
    games = Game.objects.bulk_create(
        Game(slug=f"game-{number}", title="Game", runtime="python", run_command="true", snapshot_name=f"g-{number}")
        for number in range(first, first + count)
    )
    Snapshot.objects.bulk_create(
        Snapshot(game=game, state="current", sha256="a" * 64, source_digest="0" * 64, started_at=now) for game in games
    )
    user = User.objects.get(username="otto")
    LogEntry.objects.log_actions(user.pk, list(Sandbox.objects.all()[:count]), CHANGE, change_message="a test")


def test_lists_of_a_thousand_take_as_many_queries_as_lists_of_ten(operator, pool, snake):
    lists = (SANDBOXES, RUNS, EVENTS, APPS, POOLS, GAMES, SNAPSHOTS, ENTRIES)
    fill(10, pool, snake)
    queries(operator, POOLS)  # once an hour it learns what size each pool should have
    few = {path: queries(operator, path) for path in lists}
    assert max(few.values()) <= QUERIES
    fill(990, pool, snake)
    assert {path: queries(operator, path) for path in lists} == few


@pytest.fixture
def many(pool: Pool, snake: Game) -> None:
    on_paper(130, pool, snake)


def found(person: Person, path: str, **query: str) -> list[str]:
    return [str(each) for each in person.get(path, **query).context["cl"].result_list]


def test_a_sandbox_is_found_by_its_name_its_app_and_its_run(viewer, many):
    run = Run.objects.order_by("?").first()
    for words in (run.sandbox.name, run.sandbox.app_id, run.short_id, str(run.pk), f"run {run.short_id}"):
        assert found(viewer, SANDBOXES, q=words) == [run.sandbox.name]


def test_a_run_is_found_by_its_id_its_sandbox_its_app_and_its_player(viewer, many):
    run = Run.objects.order_by("?").first()
    for words in (run.short_id, str(run.pk), run.sandbox.name, run.sandbox.app_id, run.visitor):
        assert found(viewer, RUNS, q=words) == [str(run)]


def test_a_line_of_the_log_is_found_by_its_sandbox_and_its_run(viewer, many):
    run = Run.objects.order_by("?").first()
    for words in (run.sandbox.name, run.short_id):
        answer = viewer.get(EVENTS, q=words)
        assert [event.sandbox_name for event in answer.context["cl"].result_list] == [run.sandbox.name]


def test_an_app_is_found_by_its_name_and_its_id(viewer, many):
    app = CloudApp.objects.order_by("?").first()
    assert found(viewer, APPS, q=app.name) == found(viewer, APPS, q=app.app_id) == [app.name]


def test_the_log_is_filtered_by_who_did_it(operator, pool):
    operator.post(f"{POOLS}{pool.pk}/act/", act="pause", reason="a test")
    FleetEvent.objects.create(seq=10_000, at=timezone.now(), kind="create", message="the machine's")
    assert found(operator, EVENTS, by="operators") == ["pool python paused; an operator: a test"]
    assert found(operator, EVENTS, by="machine") == ["the machine's"]
    assert len(found(operator, EVENTS, pool="python")) == 1


def test_sandboxes_are_filtered_by_state_and_sorted_by_age(viewer, many):
    Sandbox.objects.filter(name="sandbox-00000007").update(
        state=State.READY, requested_at=timezone.now() - timedelta(days=1)
    )
    assert found(viewer, SANDBOXES, state__exact="ready") == ["sandbox-00000007"]
    assert found(viewer, SANDBOXES, o="-4")[0] == "sandbox-00000007"  # the oldest
    assert len(found(viewer, SANDBOXES, p="2")) == 30


def test_the_list_of_sandboxes_says_who_is_in_each(viewer, pool, snake):
    on_paper(1, pool, snake)
    run = Run.objects.get()
    page = viewer.get(SANDBOXES).content.decode()
    assert f'<a href="/admin/runs/run/{run.pk}/change/">run {run.short_id}</a> Snake' in page
    assert "visitor 00000000" in page


def test_a_sandbox_tells_its_whole_life_with_reasons(viewer, fleet, pool):
    fleet.acquire(pool)
    fleet.settle()
    sandbox = fleet.acquire(pool)
    fleet.clock.advance(301)
    fleet.settle()
    page = viewer.get(f"{SANDBOXES}{sandbox.pk}/change/")
    told_of = [moment.title for moment in page.context["life"]]
    assert told_of == [
        "Wanted", "DigitalOcean asked to create it", "Accepted", "Its agent answered", "Ready", "In use",
        "To be deleted", "DigitalOcean asked to delete it", "Gone",
    ]  # fmt: skip
    details = " ".join(moment.detail for moment in page.context["life"])
    assert "create 1 for pool python: 0 ready" in details
    assert "its lifetime ended" in details
    assert sandbox.app_id in details
    said = page.content.decode()
    assert "acquired by run 3fa9" in said
    assert "DigitalOcean&#x27;s last listing does not show its app" in said or "does not show its app" in said


def test_a_run_shows_its_log_and_what_it_waited_for(viewer, make_run: MakeRun):
    run = make_run(acquire_ms=30, bootstrap_ms=0, restore_ms=0, start_ms=41, total_ms=71)
    for number in range(3):
        events.emit(run.pk, "log", f"line {number}", now=timezone.now())
    page = viewer.get(f"{RUNS}{run.pk}/change/").content.decode()
    assert page.index("line 0") < page.index("line 1") < page.index("line 2")
    assert "30 ms" in page


def test_a_long_log_shows_its_end_first_and_the_whole_on_demand(viewer, make_run: MakeRun):
    run = make_run()
    now = timezone.now()
    run.events.bulk_create(
        run.events.model(run=run, seq=number, kind="log", message=f"line {number}.", at=now) for number in range(1, 602)
    )
    Run.objects.update(last_seq=601)
    page = viewer.get(f"{RUNS}{run.pk}/change/").content.decode()
    assert "line 601." in page
    assert "line 101." not in page
    assert "Show 101 earlier lines" in page
    assert "line 1." in viewer.get(f"{RUNS}{run.pk}/change/", whole="1").content.decode()


def test_a_game_says_what_its_launches_start_from(viewer, snake):
    def said() -> str:
        return viewer.get(GAMES).content.decode()

    assert "none: launches deploy from source" in said()
    Snapshot.objects.create(
        game=snake, state="current", sha256="ab" * 32, size_bytes=2048, source_digest=snake.source_digest,
        started_at=timezone.now(),
    )  # fmt: skip
    assert "abababababab" in said()
    Game.objects.update(source_digest="1" * 64)
    assert "outdated: launches deploy from source" in said()


def test_the_signs_of_life_of_clusters_are_listed(viewer):
    Beat.objects.create(
        host="worker-1", pid=7, workers=4, idle_workers=4, waiting=0, due=0, at=timezone.now() - timedelta(seconds=90)
    )
    page = viewer.get("/admin/orchestrator_site/beat/").content.decode()
    assert "worker-1" in page
    assert re.search(r"\b9\d s ago", page)


# Acts on runs and sandboxes.


@pytest.fixture
def played(fleet: Any, pool: Pool, make_run: MakeRun) -> Run:
    """A run that is being played in a sandbox of the pool."""
    fleet.acquire(pool)
    fleet.settle()
    return make_run(sandbox=fleet.acquire(pool))


def act(person: Person, run: Run, act: str, reason: str = "the player asked") -> Any:
    return person.post(f"{RUNS}{run.pk}/act/", act=act, reason=reason)


def test_a_run_is_ended_with_a_reason_that_the_player_reads_but_not_the_name(operator, fleet, played):
    assert f"run {played.short_id} ended" in told(act(operator, played, "end"))
    played.refresh_from_db()
    assert (played.state, played.end_reason) == ("ended", "An operator ended it: the player asked")
    assert "otto" not in "".join(played.events.values_list("message", flat=True))
    assert history() == [("otto", f"run {played.short_id} ended: the player asked")]
    assert ("otto", f"run {played.short_id} ended; an operator: the player asked") in log("end")
    fleet.turns(3)
    assert played.sandbox.app_id not in {app["id"] for app in fleet.cloud.apps()}


def test_a_run_is_given_more_time(operator, played):
    before = played.expires_at
    assert "extended until" in told(act(operator, played, "extend"))
    played.refresh_from_db()
    assert played.expires_at - before == timedelta(minutes=5)
    assert history()[0][0] == log("extend")[0][0] == "otto"


def test_a_run_that_is_over_is_refused(operator, played):
    act(operator, played, "end")
    assert "is over already" in told(act(operator, played, "end"))
    assert "can't be extended" in told(act(operator, played, "extend"))
    assert len(history()) == 1


def test_runs_are_ended_together_and_those_that_were_over_are_told(operator, played, make_run: MakeRun):
    over = make_run(state="ended", end_code="time_up", end_reason="Its time was up.", ended_at=timezone.now())
    said = told(operator.act(RUNS, "end_chosen", played, over))
    assert f"run {played.short_id} ended" in said
    assert f"Run {over.short_id} is over already." in said


def test_runs_are_filtered_by_why_they_are_over(operator, make_run: MakeRun):
    ends = {code: make_run(state="ended", end_code=code, end_reason="Over.") for code in ("time_up", "ended_by_api")}
    page = operator.get(f"{RUNS}?end_code__exact=time_up").content.decode()
    assert ends["time_up"].short_id in page
    assert ends["ended_by_api"].short_id not in page


def test_a_retired_sandbox_goes_and_its_run_ends(destroyer, fleet, played):
    assert "is retired" in told(destroyer.act(SANDBOXES, "retire", played.sandbox, reason="it is slow"))
    played.refresh_from_db()
    assert played.is_over
    assert "retired by an operator: it is slow" in played.end_reason
    assert history() == [("dora", f"{played.sandbox.name} is retired: it is slow")]
    assert log("delete") == [("dora", "retired by an operator: it is slow")]
    fleet.turns(3)
    assert Sandbox.objects.get(pk=played.sandbox_id).state == State.DELETED


def test_a_sandbox_that_is_going_already_is_not_retired_again(destroyer, played):
    path = f"{SANDBOXES}{played.sandbox_id}/retire/"
    destroyer.post(path, reason="it is slow")
    assert "is deleting already" in told(destroyer.post(path, reason="it is slow"))
    assert len(history()) == 1


def test_more_than_a_handful_are_told_as_a_number(operator, snake, make_run: MakeRun):
    said = told(operator.act(RUNS, "end_chosen", *[make_run() for _ in range(8)]))
    assert "and 3 more likewise" in said
    assert len(history()) == 8
