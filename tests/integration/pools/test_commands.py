"""`manage.py pool`, `reconcile` and `sweep`, against the local cloud over HTTP."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from pools.capacity import reserve
from pools.management.commands import sweep as sweep_command
from pools.models import CloudApp, Fleet, FleetEvent, Origin, Pool, Sandbox, State
from tests.fixtures.databases import ROOT
from tests.fixtures.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
NOBODY = "http://127.0.0.1:1"  # as an API that is down
LINE = re.compile(r"^\d\d:\d\d:\d\d  ready (\d+)  creating (\d+)  in use (\d+)(?:  deleting \d+)?  in the cloud (.+)$")


def run(*arguments: str, **options: object) -> str:
    """What the command prints; raises CommandError where the command line would exit 1."""
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=out, **options)
    return out.getvalue()


# pool list, and the acts.


def test_the_list_tells_counts_sizes_and_what_comes_next(paper_fleet, pool):
    assert "python (active): 0 ready, 0 creating, 0 in use; target 1 (0 to 2)" in run("pool", "list")
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    assert "python (active): 1 ready" in run("pool", "list", "python")
    Pool.objects.update(mode="paused")
    assert "next: hold: pool python: paused by an operator" in run("pool", "list")


def test_without_pools_the_list_says_so(paper_fleet):
    assert run("pool", "list") == "There are no pools.\n"


@pytest.mark.parametrize(
    ("act", "mode", "says"), [("pause", "paused", "pool python paused"), ("drain", "draining", "pool python drained")]
)
def test_an_act_changes_the_pool_and_is_written_to_the_log_with_who_and_why(paper_fleet, pool, act, mode, says):
    assert says in run("pool", act, "python", why="it churns")
    pool.refresh_from_db()
    assert pool.mode == mode
    event = FleetEvent.objects.get(kind="pool")
    assert "it churns" in event.message
    assert event.actor.endswith("command line)")


def test_an_act_that_changes_nothing_fails_and_says_why(paper_fleet, pool):
    with pytest.raises(CommandError, match="already"):
        run("pool", "resume", "python")


def test_acts_without_a_name_are_for_every_pool(paper_fleet, pool):
    node = Pool.objects.create(name="node", runtime="node", image="a/b:c", region="syd", size="s", mode="paused")
    assert "node is paused already" in run("pool", "pause")
    assert set(Pool.objects.values_list("mode", flat=True)) == {"paused"}
    node.refresh_from_db()


def test_a_pool_that_is_not_there_is_named(paper_fleet):
    with pytest.raises(CommandError, match="no pool 'ruby'"):
        run("pool", "watch", "ruby")


# pool watch.


class Meanwhile:
    """The watch's own time: between two looks what a test has planned happens, and the fleet takes a turn."""

    def __init__(self, fleet, clock) -> None:
        self.fleet, self.clock = fleet, clock
        self.seconds = 0.0
        self.plans: dict[float, Callable[[], object]] = {}
        self.takes_turns = True

    def at(self, seconds: float, act: Callable[[], object]) -> None:
        self.plans[seconds] = act

    def now(self) -> datetime:
        return self.clock.now()

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.clock.advance(seconds)
        for due in sorted(moment for moment in self.plans if moment <= self.seconds):
            self.plans.pop(due)()
        if self.takes_turns:
            self.fleet.turn()


@pytest.fixture
def meanwhile(paper_fleet, clock, monkeypatch) -> Meanwhile:
    meanwhile = Meanwhile(paper_fleet, clock)
    monkeypatch.setattr("pools.management.commands.pool.clock", meanwhile)
    monkeypatch.setattr("pools.management.commands.pool.LOOK_SECONDS", 5)
    return meanwhile


def watch(minutes: float = 1, most: int | None = 1, every: float = 10) -> list[str]:
    return run("pool", "watch", "python", minutes=minutes, max=most, every=every).splitlines()


def test_a_quiet_pool_is_watched_to_the_end(meanwhile, pool):
    *lines, verdict = watch()
    assert verdict.startswith("Well: 0 made for 0 acquired")
    assert len(lines) == 7  # at once, and every ten seconds
    assert {LINE.match(line).groups() for line in lines} == {("0", "0", "0", "0")}


def test_a_watch_begun_right_after_a_first_launch_sees_the_pool_fill_and_stays_well(meanwhile, paper_fleet, pool):
    """The launch is cold and in use; the pool fills to its target beside it. Both are wanted."""
    now = timezone.now()
    reserve(runtime="python", origin=Origin.COLD, code="cold", reason="cold: run 3fa9", now=now)
    Pool.objects.update(last_acquired_at=now, last_acquired_by="run 3fa9")
    meanwhile.at(9, lambda: Sandbox.objects.filter(origin="cold").update(state="in_use", acquired_at=timezone.now()))
    *lines, verdict = watch()
    assert verdict.startswith("Well: 1 made for 0 acquired")
    assert LINE.match(lines[-1]).groups() == ("1", "0", "1", "2")


def test_what_players_leave_behind_is_no_alarm_while_it_goes(meanwhile, paper_fleet, pool):
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    meanwhile.at(5, lambda: paper_fleet.acquire(pool, minutes=0.3))
    *lines, verdict = watch()
    assert verdict.startswith("Well: 1 made for 1 acquired")
    assert any("in use 1" in line for line in lines)


def test_more_in_the_cloud_than_may_be_ends_the_watch_at_once(meanwhile, paper_fleet, pool):
    paper_fleet.cloud.control.make_apps(2, owner="local")
    with pytest.raises(CommandError, match=r"in the cloud 2\nThe cloud holds 2 apps of ours that no player has; 1 are"):
        watch()
    assert meanwhile.seconds == 0


def test_an_app_of_ours_made_behind_our_back_ends_the_watch(meanwhile, paper_fleet, pool):
    meanwhile.at(20, lambda: paper_fleet.cloud.control.make_app("sandbox-0badcafe", owner="local"))
    with pytest.raises(CommandError, match="sandbox-0badcafe was made, but we have no record of it"):
        watch()
    assert meanwhile.seconds < 25


def test_apps_of_others_are_no_alarm(meanwhile, paper_fleet, pool):
    meanwhile.at(5, lambda: paper_fleet.cloud.control.make_app("sandbox-0badcafe", owner="production"))
    meanwhile.at(5.5, lambda: paper_fleet.cloud.control.make_app("web"))
    assert watch(minutes=0.5, most=0)[-1].startswith("Well")


def test_a_create_without_demand_ends_the_watch_with_its_reason(meanwhile, paper_fleet, pool):
    def make() -> None:
        reserve(
            runtime="python", origin=Origin.POOL, code="demand", reason="because I can", now=timezone.now(), pool=pool
        )

    meanwhile.at(10, make)
    with pytest.raises(CommandError, match="was made and nobody had acquired: because I can"):
        watch()


def test_a_pool_that_makes_more_than_is_acquired_churns(meanwhile, paper_fleet, pool):
    """What the seed did: healthy ones were thrown away, and new ones made, within the demand of one launch."""
    paper_fleet.acquire(pool)

    def throw_away() -> None:
        for sandbox in Sandbox.objects.filter(state=State.READY):
            from pools import claims

            claims.retire(sandbox.id, "retired", "a health check emptied the queue", timezone.now())

    for seconds in range(5, 60, 5):
        meanwhile.at(seconds, throw_away)
    with pytest.raises(CommandError, match="were made for 0 acquired: the pool churns"):
        watch(most=3)


def test_the_idle_floor_may_be_renewed(meanwhile, paper_fleet, pool, monkeypatch):
    Pool.objects.update(min_ready=1, max_warm_age_seconds=60)
    monkeypatch.setattr("pools.management.commands.pool.LOOK_SECONDS", 10)
    paper_fleet.settle()
    assert watch(minutes=3, most=2, every=60)[-1].startswith("Well")
    assert paper_fleet.cloud.state()["creates"] > 1


def test_a_cloud_that_can_not_be_listed_is_not_taken_for_an_empty_one(meanwhile, paper_fleet, pool):
    paper_fleet.cloud.fault(operation="list", status=500)
    meanwhile.takes_turns = False
    with pytest.raises(CommandError, match="nothing is proved"):
        watch(minutes=0.1)


def test_the_watch_exits_1_on_the_command_line(paper_fleet, pool):
    paper_fleet.cloud.control.make_apps(2, owner="local")
    process = manage(paper_fleet, "pool", "watch", "python", "--minutes", "1", "--max", "1")
    assert "The cloud holds 2 apps" in process.communicate(timeout=60)[1]
    assert process.returncode == 1


def manage(fleet, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "orchestrator_site.settings",
        "DIGITALOCEAN_TOKEN": fleet.cloud.token,
        "DIGITALOCEAN_API_URL": fleet.cloud.url,
        "ORCHESTRATOR_ID": "local",
    }
    return subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# reconcile.


def test_reconcile_takes_one_turn_and_says_what_it_did(paper_fleet, pool):
    paper_fleet.acquire(pool)
    assert re.match(r"create +python +create 1 for pool python: 0 ready \+ 0 creating < target 1", run("reconcile"))
    assert paper_fleet.cloud.state()["creates"] == 1


def test_reconcile_with_nothing_to_do_says_so(paper_fleet, pool):
    assert run("reconcile") == "Nothing to do: the fleet is as it should be.\n"


def test_a_dry_run_says_what_it_would_do_and_does_nothing(paper_fleet, pool):
    paper_fleet.acquire(pool)
    assert "create 1 for pool python" in run("reconcile", dry_run=True)
    assert paper_fleet.cloud.state()["creates"] == 0
    assert not Sandbox.objects.exists()
    assert not FleetEvent.objects.filter(kind="create").exists()


def exit_code(*arguments: str) -> tuple[int, str]:
    """What a shell would see, and what the command prints."""
    out = StringIO()
    try:
        call_command(*arguments, stdout=out, stderr=out)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_the_exit_code_of_a_dry_run_tells_whether_something_is_to_be_done(paper_fleet, pool):
    ask = ("reconcile", "--dry-run", "--detailed-exitcode")
    assert exit_code(*ask) == (0, "Nothing to do: the fleet is as it should be.\n")
    paper_fleet.acquire(pool)
    code, said = exit_code(*ask)
    assert (code, said.splitlines()[-1]) == (2, "1 to create.")
    assert exit_code("reconcile", "--dry-run")[0] == 0


def test_between_two_tries_of_a_refused_delete_the_fleet_is_not_called_well(paper_fleet, pool):
    """It said: Nothing to do, the fleet is as it should be."""
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    paper_fleet.cloud.fault(operation="delete", status=403)
    Pool.objects.update(mode="draining")
    paper_fleet.turns(2)
    code, said = exit_code("reconcile", "--dry-run", "--detailed-exitcode")
    assert code == 2
    assert re.search(r"Nothing to do now; 1 being deleted \(asked for again in \d+ s\); 1 refused: .+403", said), said


def test_a_plan_in_a_file_is_carried_out_as_it_is(paper_fleet, pool, tmp_path):
    paper_fleet.acquire(pool)
    run("reconcile", "--dry-run", "--out", str(tmp_path / "plan"))
    assert "create 1 for pool python" in run("reconcile", "--plan", str(tmp_path / "plan"), "--why", "Looks right.")
    assert Sandbox.objects.count() == 1
    assert FleetEvent.objects.filter(kind="turn", message__contains="Looks right.").exists()


def test_a_plan_that_has_changed_is_refused_with_the_difference(paper_fleet, pool, tmp_path):
    paper_fleet.acquire(pool)
    run("reconcile", "--dry-run", "--out", str(tmp_path / "plan"))
    Pool.objects.update(mode="paused")
    out = StringIO()
    with pytest.raises(CommandError, match="something else than this plan: nothing was done"):
        call_command("reconcile", "--plan", str(tmp_path / "plan"), stdout=out)
    assert [each.split()[:3] for each in out.getvalue().splitlines()] == [
        ["-", "create", "python"],
        ["+", "hold", "python"],
    ]
    assert not Sandbox.objects.exists()


def test_a_plan_whose_file_was_edited_is_refused(paper_fleet, pool, tmp_path):
    """It was carried out as it had been, with the line that somebody had taken out."""
    paper_fleet.acquire(pool)
    path = tmp_path / "plan"
    run("reconcile", "--dry-run", "--out", str(path))
    plan = json.loads(path.read_text())
    path.write_text(json.dumps(plan | {"decisions": [each for each in plan["decisions"] if each["kind"] != "create"]}))
    with pytest.raises(CommandError, match="was changed since it was written"):
        run("reconcile", "--plan", str(path))
    assert not Sandbox.objects.exists()


def test_a_plan_of_another_installation_is_refused(paper_fleet, tmp_path):
    """A plan to create one, made on staging, was carried out on production, which wanted the same at that moment."""
    run("reconcile", "--dry-run", "--out", str(tmp_path / "plan"))
    Fleet.objects.update(installation="f" * 32)
    with pytest.raises(CommandError, match="is a plan of another installation"):
        run("reconcile", "--plan", str(tmp_path / "plan"))


OF_BEFORE = '{"format": 1, "digest": "x", "decisions": []}'
SPOILT = '{"format": 2, "installation": "x", "digest": "x", "decisions": [1]}'


@pytest.mark.parametrize("text", ["", "[]", OF_BEFORE, SPOILT, '{"format": 9}'])
def test_what_is_no_plan_is_refused(paper_fleet, tmp_path, text):
    (tmp_path / "plan").write_text(text)
    with pytest.raises(CommandError, match="is no plan: write one with"):
        run("reconcile", "--plan", str(tmp_path / "plan"))


@pytest.mark.parametrize("dry_run", [True, False])
def test_reconcile_does_not_call_a_fleet_well_that_it_could_not_see(paper_fleet, settings, dry_run):
    settings.DIGITALOCEAN_API_URL = NOBODY
    with pytest.raises(CommandError, match="could not be reached"):
        run("reconcile", dry_run=dry_run)


def test_reconcile_waits_for_a_turn_that_is_being_taken_and_says_when_it_does_not_end(paper_fleet, monkeypatch):
    from pools import leases

    monkeypatch.setattr("pools.management.commands.reconcile.PATIENCE_SECONDS", 0.3)
    with leases.hold("turn", 60), pytest.raises(CommandError, match="Another turn is being taken"):
        run("reconcile")


# sweep.


@pytest.fixture
def littered(paper_fleet, pool):
    """A ready sandbox of the pool, three orphans, and two apps that are not ours."""
    paper_fleet.acquire(pool)
    paper_fleet.settle()
    paper_fleet.cloud.control.make_apps(3, owner="local")
    paper_fleet.cloud.control.make_app("web")
    paper_fleet.cloud.control.make_app("sandbox-0badcafe", owner="production")
    return paper_fleet


def names(fleet) -> list[str]:
    return sorted(app["name"] for app in fleet.cloud.apps())


FOREIGN = ["sandbox-0badcafe", "web"]


def test_a_sweep_deletes_what_carries_our_mark_and_nothing_else(littered):
    said = run("sweep", yes=True)
    assert names(littered) == FOREIGN
    assert "4 apps carry the mark local" in said
    assert "4 of 4 are gone." in said
    assert said.splitlines()[-1] == "Swept."
    assert littered.states() == []
    assert Sandbox.objects.get().end_reason == "swept by an operator"
    told = FleetEvent.objects.filter(kind="delete", message="swept by an operator").exclude(app_id="")
    assert told.values("sandbox_name").distinct().count() == 4, "orphans, too"


def test_a_sweep_pauses_the_pools_so_that_they_do_not_fill_again(littered, pool):
    assert "pool python paused" in run("sweep", yes=True)
    Pool.objects.update(last_acquired_at=timezone.now())
    littered.turns(5)
    assert names(littered) == FOREIGN


def test_a_sweep_asks_first_and_does_nothing_without_the_mark(littered, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda prompt: "yes")
    with pytest.raises(CommandError, match=r"Nothing was deleted\."):
        run("sweep")
    assert len(names(littered)) == 6
    assert littered.states() == ["ready"]


def test_a_sweep_goes_on_when_the_mark_is_typed(littered, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda prompt: "local")
    run("sweep")
    assert names(littered) == FOREIGN


def test_a_sweep_that_nobody_can_answer_deletes_nothing(littered, monkeypatch):
    """As in a pipe: it ended in a traceback."""

    def end_of_file(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", end_of_file)
    with pytest.raises(CommandError, match=r"Nothing was deleted\."):
        run("sweep")


def test_a_dry_run_of_a_sweep_only_lists(littered):
    assert "4 apps carry the mark local" in run("sweep", dry_run=True)
    assert len(names(littered)) == 6
    assert Pool.objects.get().mode == "active"


def test_a_sweep_goes_on_through_failures_until_all_are_gone(littered, monkeypatch):
    monkeypatch.setattr(sweep_command, "PAUSE_SECONDS", 0)
    littered.cloud.fault(operation="delete", times=3, status=500)
    littered.cloud.fault(operation="list", skip=1, times=1, status=503)
    said = run("sweep", yes=True)
    assert "The cloud answered 500" in said
    assert "can't be listed now" in said
    assert names(littered) == FOREIGN


def test_a_sweep_gives_up_on_what_never_goes_away(littered, monkeypatch):
    monkeypatch.setattr(sweep_command, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(sweep_command, "LOOKS_WITHOUT_PROGRESS", 3)
    littered.cloud.fault(operation="delete", status=500)
    with pytest.raises(CommandError, match="4 apps do not go away"):
        run("sweep", yes=True)


def test_a_sweep_of_a_cloud_that_is_down_deletes_nothing_and_says_why(littered, settings):
    settings.DIGITALOCEAN_API_URL = NOBODY
    with pytest.raises(CommandError, match="could not be reached"):
        run("sweep", yes=True)
    assert littered.states() == ["ready"]


def test_a_sweep_killed_in_the_middle_is_run_again_and_goes_on(littered):
    littered.cloud.control.make_apps(0, names=[f"sandbox-b{number:07x}" for number in range(40)], owner="local")
    littered.cloud.fault(operation="delete", latency_seconds=2)
    first = manage(littered, "sweep", "--yes")
    until(lambda: len(names(littered)) < 46 - 8, "the sweep is under way", seconds=60)
    first.kill()
    first.communicate()
    assert len(names(littered)) > 2
    littered.cloud.control.clear()
    again = manage(littered, "sweep", "--yes")
    out, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert out.splitlines()[-1] == "Swept."
    assert names(littered) == FOREIGN
    assert littered.states() == []
    littered.turn()
    assert set(CloudApp.objects.values_list("name", flat=True)) == set(FOREIGN)
    assert Fleet.get().stopped_at is None
