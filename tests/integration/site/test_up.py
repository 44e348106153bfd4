"""`manage.py up`: it starts, it stops with nothing left over, and it comes back from the death of any part."""

import os
import signal
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.fixtures.servers import Postgres, end_postgres, run_postgres
from tests.fixtures.stack import MakeStack, Stack
from tests.fixtures.waiting import until

# A cloud that refuses: for what has nothing to do with one.
NO_CLOUD = {
    "DIGITALOCEAN_TOKEN": "unused",
    "DIGITALOCEAN_API_URL": "http://127.0.0.1:1",
    "ORCHESTRATOR_ID": "test",
}


# A folder without games: nothing is built that no test looks at.
NO_GAMES = {"CATALOG_DIR": str(Path(__file__).parent)}


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def group_is_gone(stack: Stack, pids: Iterable[int]) -> bool:
    return not {process.pid for process in stack.processes()} & set(pids)


def sandbox_pids(stack: Stack) -> list[int]:
    found = []
    for process in stack.processes():
        with suppress(psutil.Error, FileNotFoundError):  # it may end while we look
            if process.environ().get("LOCALCLOUD_APP"):
                found.append(process.pid)
    return found


def reapers(stack: Stack) -> list[psutil.Process]:
    found = []
    for process in stack.processes():
        with suppress(psutil.Error):
            if "orchestrator_site.processes.reaper" in process.cmdline():
                found.append(process)
    return found


def until_nothing_runs(stack: Stack) -> None:
    until(lambda: not stack.processes(), "no process of it is left", seconds=30)


def test_one_signal_stops_every_process(make_stack: MakeStack):
    stack = make_stack(**NO_GAMES)
    for number in (signal.SIGINT, signal.SIGTERM):
        stack.start().wait_until_ready()
        assert len(stack.processes()) > 3
        assert stack.stop(number) == 0
        until_nothing_runs(stack)
        assert stack.log.rstrip().endswith("Stopped.")


DEMAND = """
from django.db import transaction
from django.utils import timezone
from pools.demand import note_demand
from pools.models import Pool
from pools.nudge import nudge
with transaction.atomic():
    note_demand(Pool.objects.get(), "a test", timezone.now())
    nudge()
"""


def test_sandboxes_end_with_it_and_a_dead_cloud_leaves_none_behind(make_stack: MakeStack):
    stack = make_stack(**NO_GAMES).start()
    stack.python(DEMAND)
    sandboxes = until(lambda: sandbox_pids(stack), "the pool has a sandbox", seconds=60)
    stack.kill("cloud")
    until(lambda: all(map(is_gone, sandboxes)), "the sandboxes of a killed cloud end")
    stack.wait_until_ready()
    assert stack.stop() == 0
    until_nothing_runs(stack)


KEPT = """
from django.contrib.auth import authenticate
from django_q.models import Schedule
from pools.models import Pool
print(authenticate(username="operator", password={password!r}))
print(list(Pool.objects.values_list("name", flat=True)))
print(sorted(Schedule.objects.values_list("name", flat=True)))
"""


def test_started_again_it_has_what_it_had_and_keeps_the_operators_password_to_itself(make_stack: MakeStack):
    stack = make_stack(**NO_GAMES).start()
    password = stack.operator_password
    stack.stop()
    stack.start()
    assert "password" not in stack.log
    found = stack.python(KEPT.format(password=password)).splitlines()
    assert found == ["operator", "['python']", "['prune', 'reconcile', 'snapshots']"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A product that survives what the tests below do to it."""
    stack = Stack(tmp_path_factory.mktemp("running"), **NO_CLOUD)
    try:
        yield stack.start()
    finally:
        stack.close()
        print(stack.log)


def test_a_changed_secret_key_is_said_at_the_start(make_stack: MakeStack):
    """It broke every running sandbox without a word."""
    stack = make_stack(SECRET_KEY="the key of yesterday", **NO_GAMES).start()
    assert stack.manage("reconcile").returncode == 0
    stack.stop()
    stack.env(SECRET_KEY="the key of today").start()
    assert "SECRET_KEY is not the one that this database was used with" in stack.log
    assert "SECRET_KEY_FALLBACKS" in stack.log
    assert stack.manage("reconcile").returncode == 0
    stack.wait_until_ready()  # no sandbox was made under the former one
    stack.stop()
    stack.env(SECRET_KEY="the key of tomorrow", SECRET_KEY_FALLBACKS="the key of today").start()
    assert "SECRET_KEY is not" not in stack.log


def test_a_second_one_on_the_same_folder_is_refused_in_one_line(running: Stack):
    second = running.manage("up")
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert str(running.var) in second.stderr
    assert running.get("/health/live").status_code == 200


def test_a_taken_port_is_one_line_that_says_what_to_do(make_stack: MakeStack):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = make_stack(PORT=str(port), **NO_CLOUD).manage("up")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert f"Port {port}" in refused.stderr
    assert f"PORT={port + 1} make run" in refused.stderr


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"PORT": "eighty"}, "PORT is 'eighty'"),
        ({"DATABASE_URL": "mysql://somewhere/else"}, "DATABASE_URL"),
        ({"WARM_POOL_MAX_READY": "0"}, "WARM_POOL_MAX_READY is '0'"),
        ({"DIGITALOCEAN_TOKEN": "secret-token", "ORCHESTRATOR_ID": ""}, "ORCHESTRATOR_ID"),
        ({"ORCHESTRATOR_VAR": "/dev/null/var"}, "ORCHESTRATOR_VAR is '/dev/null/var'"),
        ({"DATABASE_URL": "postgres://nobody@127.0.0.1:1/nowhere"}, "The database cannot be used"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(make_stack: MakeStack, settings: dict[str, str], names: str):
    stack = make_stack(**NO_GAMES)
    stack.environment |= NO_CLOUD | settings
    refused = stack.manage("up")
    assert refused.returncode == 1
    lines = refused.stderr.strip().splitlines()
    assert names in lines[0]
    assert "Traceback" not in refused.stderr
    assert "secret-token" not in refused.stderr


@pytest.mark.parametrize("part", ["web", "cluster"])
def test_a_killed_part_is_replaced_and_nothing_of_it_goes_on(running: Stack, part: str):
    leader = psutil.Process(until(lambda: running.pid(part), f"{part} runs"))
    family = [leader.pid, *(child.pid for child in leader.children(recursive=True))]
    running.kill(part)
    until(lambda: running.pid(part) not in (0, leader.pid), f"another {part} runs")
    until(lambda: group_is_gone(running, family), "its family is gone")
    until(lambda: running.checks().get("cluster") == "ok", "the cluster gives signs of life")


def test_a_killed_reaper_is_replaced(running: Stack):
    (reaper,) = reapers(running)
    reaper.kill()
    until(lambda: reapers(running) and reaper not in reapers(running), "another reaper runs")


def test_a_killed_supervisor_takes_everything_with_it(make_stack: MakeStack):
    stack = make_stack(**NO_CLOUD).start()
    stack.kill("supervisor")
    until_nothing_runs(stack)


def test_a_part_that_does_not_react_goes_with_a_killed_supervisor_as_well(make_stack: MakeStack):
    stack = make_stack(**NO_CLOUD).start()
    os.kill(stack.pid("web"), signal.SIGSTOP)
    stack.kill("supervisor")
    until_nothing_runs(stack)


def test_a_restart_right_after_the_supervisors_death_gets_ready(make_stack: MakeStack):
    """The old services may be on their way out still, and hold the port."""
    stack = make_stack(**NO_GAMES).start()
    before = {process.pid for process in stack.processes()}
    stack.kill("supervisor")
    stack.start()
    stack.wait_until_ready()
    until(lambda: group_is_gone(stack, before), "the old processes are gone")


def test_all_killed_at_once_a_restart_ends_what_is_left_and_gets_ready(make_stack: MakeStack):
    """With the leaders and the reaper dead as well, nobody is there to end the cluster's workers but the next start."""
    stack = make_stack(**NO_CLOUD).start()
    before = {process.pid for process in stack.processes()}
    leaders = [stack.pid("cluster"), stack.pid("web")]
    (reaper,) = reapers(stack)
    stack.kill("supervisor")
    reaper.kill()
    for pid in leaders:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).kill()
    stack.start()
    until(lambda: group_is_gone(stack, before), "the old processes are gone")


def test_a_task_that_died_with_its_cluster_runs_again_at_once(running: Stack, tmp_path):
    """Django-Q alone would give it back after ten minutes."""
    started = tmp_path / "started"
    command = f"echo began >> {started}; sleep 30; exit 0"
    running.python(f"from django_q.tasks import async_task; async_task('subprocess.call', {command!r}, shell=True)")
    until(started.exists, "the task began")
    running.kill("cluster")
    until(lambda: started.read_text().count("began") == 2, "the task began again", seconds=60)


def idle_cluster(stack: Stack, folder: Path) -> tuple[int, list[psutil.Process]]:
    """A new cluster that has done a task and waits for the next: its leader's pid, and its workers, its monitor and its
    pusher in the order in which they were started."""
    before = until(lambda: stack.pid("cluster"), "a cluster runs")
    stack.kill("cluster")
    leader = until(lambda: stack.pid("cluster") not in (0, before) and stack.pid("cluster"), "a new one", seconds=60)
    guard = until(lambda: psutil.Process(leader).children(), "it has its guard")[0]
    done = folder / "first"
    stack.python(f"from django_q.tasks import async_task; async_task('os.mkdir', {str(done)!r})")
    until(lambda: done.exists() and len(guard.children()) >= 6, "it works", seconds=60)
    return leader, sorted(guard.children(), key=lambda process: process.pid)


def test_a_cluster_whose_workers_were_killed_while_idle_is_replaced(running: Stack, tmp_path):
    """One of the idle workers waits with the queue's lock in its hands: killed, it takes the lock along."""
    leader, processes = idle_cluster(running, tmp_path)
    for worker in processes[:4]:
        worker.kill()
    done = tmp_path / "done"
    running.python(f"from django_q.tasks import async_task; async_task('os.mkdir', {str(done)!r})")
    until(done.exists, "a task is done by the next cluster", seconds=60)
    assert running.pid("cluster") != leader
    assert "is stuck and ends itself" in running.log


def test_a_cluster_whose_results_are_not_recorded_is_replaced_while_tasks_flow(running: Stack, tmp_path):
    """Its tasks were done, and due again, one after the other, for as long as others kept moving."""
    leader, processes = idle_cluster(running, tmp_path)
    processes[-2].suspend()  # the monitor
    flow = "import time\nfrom django_q.tasks import async_task\n"
    running.python(flow + "for _ in range(50): async_task('math.sqrt', 4); time.sleep(0.4)")
    until(lambda: running.pid("cluster") not in (0, leader), "the cluster was replaced", seconds=60)
    assert "results wait to be recorded" in running.log


def test_it_runs_on_postgresql_too(make_stack: MakeStack, postgres_url: str):
    stack = make_stack(DATABASE_URL=postgres_url, **NO_GAMES).start()
    stack.wait_until_ready()
    stack.kill("cluster")
    stack.wait_until_ready()
    assert stack.stop() == 0
    until_nothing_runs(stack)
    assert not (stack.var / "orchestrator.sqlite3").exists()


def test_a_restarted_postgresql_is_found_again_by_every_part(make_stack: MakeStack, own_postgres: Postgres):
    stack = make_stack(DATABASE_URL=own_postgres.url(own_postgres.create()), **NO_GAMES).start()
    stack.wait_until_ready()
    end_postgres(own_postgres.folder)
    until(lambda: stack.checks().get("database") != "ok", "the database is missed")
    assert stack.get("/").status_code == 503
    run_postgres(own_postgres.folder)
    stack.wait_until_ready()
    done = stack.var / "done"
    stack.python(f"from django_q.tasks import async_task; async_task('os.mkdir', {str(done)!r})")
    until(done.exists, "a task is done", seconds=60)
