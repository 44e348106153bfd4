"""The queue on PostgreSQL: the same claims, by LISTEN and NOTIFY, in a process that has DATABASE_URL set."""

import os
import subprocess
import sys

from tests.fixtures.databases import own_database
from tests.fixtures.servers import end_postgres, run_postgres

WAIT_FOR_A_NOTIFICATION = """
import threading, time, django
django.setup()
from django.core.management import call_command
from django.db import transaction
from django_q.tasks import async_task
from orchestrator_site.cluster import broker

call_command("migrate", verbosity=0)
broker.LONGEST_SLEEP_SECONDS = 60  # only a wake-up can end the wait
reader = broker.WakingBroker()
assert type(reader.mailbox()).__name__ == "ListeningMailbox"
while reader.queue_size():
    reader.acknowledge(reader.dequeue()[0][0])


def enqueue():
    with transaction.atomic():
        async_task("math.sqrt", 4)
        time.sleep(0.2)
        print("committing", flush=True)


threading.Timer(0.3, enqueue).start()
start = time.monotonic()
assert reader.dequeue() is None, "woken once, by the commit"
print("woken", flush=True)
assert len(reader.dequeue()) == 1
assert time.monotonic() - start < 30
"""


def test_a_commit_wakes_a_listening_reader(postgres_url):
    environment = {**os.environ, "DATABASE_URL": postgres_url, "DJANGO_SETTINGS_MODULE": "orchestrator_site.settings"}
    done = subprocess.run(
        [sys.executable, "-c", WAIT_FOR_A_NOTIFICATION],
        env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["committing", "woken"]


FETCH_WHILE_IT_IS_AWAY = """
import django
django.setup()
from django_q.tasks import async_task
from orchestrator_site.cluster.broker import WakingBroker

used, new = WakingBroker(), WakingBroker()
while used.queue_size():
    used.acknowledge(used.dequeue()[0][0])
print("connected", flush=True)
input()
assert used.dequeue() is None
assert new.dequeue() is None, "one that has never read"
print("nothing", flush=True)
input()
async_task("math.sqrt", 4)
assert used.dequeue()
async_task("math.sqrt", 4)
assert new.dequeue()
"""


def test_a_reader_goes_on_after_a_restart_of_its_server(own_postgres, tmp_path):
    """An error cost ten seconds without any task, and often the whole cluster."""
    database = own_database(own_postgres, tmp_path / "var")
    reader = subprocess.Popen(
        [sys.executable, "-c", FETCH_WHILE_IT_IS_AWAY],
        env=database.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert reader.stdout.readline() == "connected\n"
    end_postgres(own_postgres.folder)
    print(file=reader.stdin, flush=True)
    assert reader.stdout.readline() == "nothing\n"
    run_postgres(own_postgres.folder)
    reader.communicate("\n", timeout=60)
    assert reader.returncode == 0
