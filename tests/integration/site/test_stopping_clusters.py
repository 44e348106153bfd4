"""A cluster that is asked to stop finishes or hands back what it has in hand: nothing waits for a lease to run out."""

from __future__ import annotations

import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from django.utils import timezone
from django_q.models import OrmQ

from orchestrator_site.cluster import in_hand
from pools import stopping
from tests.fixtures.clusters import MakeCluster
from tests.fixtures.databases import Database
from tests.fixtures.waiting import until

SETTINGS = {"CLUSTER_WORKERS": "2"}
TASKS = """
from django_q.tasks import async_task
for number in range(8):
    async_task("subprocess.call", f"echo {number} >> {sys.argv[1]}; sleep 2", shell=True, cluster="turns")
"""
DUE = """
from django.utils import timezone
from django_q.models import OrmQ
from orchestrator_site.models import Beat
rows = OrmQ.objects.filter(key="turns", payload__isnull=False)
rows = [row for row in rows if row.func() == "subprocess.call"]
print(sum(row.lock < timezone.now() for row in rows), len(rows), Beat.objects.count())
"""


def test_tasks_that_were_fetched_and_not_begun_are_given_back_at_once_and_each_is_done_once(
    database: Database, make_cluster: MakeCluster, tmp_path: Path
):
    first, done = make_cluster(database, **SETTINGS), tmp_path / "done"
    database.answer(TASKS, str(done))
    until(lambda: done.exists() and len(done.read_text().split()) >= 2, "two are begun")
    time.sleep(0.7)  # two more are fetched
    first.process.send_signal(signal.SIGTERM)
    due, left, _ = until(lambda: is_given_back(database), "all but those in hand are due").split()
    assert first.process.wait(30) == 0
    assert int(due) >= 2, f"{left} are left"  # how many were done by then is the machine's speed
    _, still_left, beats = database.answer(DUE).split()
    assert int(still_left) >= 2, "nothing that is not begun is waited for"
    assert beats == "0", "it gives no sign of life any more"
    make_cluster(database, **SETTINGS)
    until(lambda: len(done.read_text().split()) >= 8, "another cluster does the rest", seconds=60)
    assert Counter(done.read_text().split()) == Counter(map(str, range(8)))


def is_given_back(database: Database) -> str:
    due, left, _ = (answer := database.answer(DUE)).split()
    return answer if int(left) - int(due) <= 2 else ""


def test_sigterm_to_every_process_of_a_cluster_stops_it_as_politely(
    migrated_database: Database, make_cluster: MakeCluster, tmp_path: Path
):
    """Workers ended in the middle of their tasks, which others began anew."""
    first, done = make_cluster(migrated_database, **SETTINGS), tmp_path / "done"
    migrated_database.answer(TASKS, str(done))
    until(lambda: done.exists() and len(done.read_text().split()) >= 2, "two are begun")
    leader = psutil.Process(first.process.pid)
    for process in [*leader.children(recursive=True), leader]:
        with suppress(psutil.Error):
            if "qcluster" in process.cmdline():
                process.terminate()
    assert first.process.wait(30) == 0
    begun = len(done.read_text().split())
    _, left, _ = migrated_database.answer(DUE).split()
    assert int(left) == 8 - begun, "each that was begun was finished, and is known to be"


def test_what_a_worker_had_that_died_alone_is_done_again_within_seconds(
    migrated_database: Database, make_cluster: MakeCluster, tmp_path: Path
):
    """It was left for ten minutes."""
    make_cluster(migrated_database, **SETTINGS)
    workers = tmp_path / "workers"
    source = "from django_q.tasks import async_task\n"
    source += "async_task('subprocess.call', f'echo $PPID >> {sys.argv[1]}; sleep 3', shell=True)"
    migrated_database.answer(source, str(workers))
    until(lambda: workers.exists() and workers.read_text().strip(), "it is begun")
    psutil.Process(int(workers.read_text())).kill()
    until(lambda: len(workers.read_text().split()) == 2, "another worker does it", seconds=60)


@pytest.fixture
def announced() -> object:
    """This process is to stop, as its tests go on."""
    stopping.announce()
    yield
    stopping._announced.value = 0


@pytest.fixture
def fetched(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is a cluster that has fetched two tasks."""
    monkeypatch.setattr(in_hand, "_slots", (in_hand._Slot * in_hand.SLOTS)())
    now = timezone.now()
    for row_id in (4_711, 4_712):
        row = OrmQ.objects.create(pk=row_id, key="orchestrator", payload="", lock=in_hand.lease_from(now))
        in_hand.note(row.pk, row.lock, now)


@pytest.mark.usefixtures("fetched", "announced")
def test_a_worker_that_takes_a_task_from_a_cluster_that_stops_ends_and_leaves_it_not_begun():
    with pytest.raises(SystemExit):
        in_hand.begin({"ack_id": 4_711})
    assert 4_711 in in_hand.not_begun()


@pytest.mark.usefixtures("fetched", "announced")
def test_a_worker_ends_that_takes_what_was_given_back():
    in_hand.give_back()
    assert not in_hand.ids()
    with pytest.raises(SystemExit):
        in_hand.begin({"ack_id": 4_711})


@pytest.mark.usefixtures("fetched")
def test_a_task_that_was_begun_is_not_given_back():
    in_hand.begin({"ack_id": 4_711})
    assert in_hand.not_begun() == {4_712}
