"""Wake-ups, and the queue that waits for them, between two processes."""

import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest
from django.db import transaction
from django.test import override_settings
from django_q.models import OrmQ
from django_q.tasks import async_task

from orchestrator_site.cluster.broker import WakingBroker
from pools import mailboxes
from pools.models import Fleet
from pools.nudge import nudge

LIMIT_SECONDS = 20
WELL_BEFORE_THE_LIMIT = LIMIT_SECONDS / 2


def seconds_until_woken(mailbox: mailboxes.Mailbox) -> float:
    start = time.monotonic()
    mailbox.wait(LIMIT_SECONDS)
    return time.monotonic() - start


@pytest.mark.django_db(transaction=True)
def test_a_wake_up_before_the_wait_is_kept():
    mailbox = mailboxes.open_mailbox("kept")
    mailboxes.wake_on_commit("kept")
    assert seconds_until_woken(mailbox) < WELL_BEFORE_THE_LIMIT


@pytest.mark.django_db(transaction=True)
def test_a_wake_up_comes_with_the_commit_and_not_before():
    mailbox = mailboxes.open_mailbox("commit")
    with transaction.atomic():
        mailboxes.wake_on_commit("commit")
        start = time.monotonic()
        mailbox.wait(0.1)
        assert time.monotonic() - start >= 0.1
    assert seconds_until_woken(mailbox) < WELL_BEFORE_THE_LIMIT


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_transaction_wakes_nobody():
    mailbox = mailboxes.open_mailbox("rolled-back")
    with transaction.atomic():
        mailboxes.wake_on_commit("rolled-back")
        transaction.set_rollback(True)
    start = time.monotonic()
    mailbox.wait(0.1)
    assert time.monotonic() - start >= 0.1


@pytest.mark.django_db(transaction=True)
def test_every_mailbox_is_woken_and_a_dead_ones_socket_is_cleared_away():
    dead = mailboxes.socket_folder("several") / "dead.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as closed_at_once:
        closed_at_once.bind(str(dead))
    opened = [mailboxes.open_mailbox("several"), mailboxes.open_mailbox("several")]
    mailboxes.wake_on_commit("several")
    assert all(seconds_until_woken(mailbox) < WELL_BEFORE_THE_LIMIT for mailbox in opened)
    assert not dead.exists()


@pytest.mark.django_db(transaction=True)
def test_a_mailbox_can_be_waited_for_in_a_process_with_more_than_a_thousand_open_sockets():
    mailbox = mailboxes.open_mailbox("crowded")
    assert isinstance(mailbox, mailboxes.SocketMailbox)
    mailbox.socket = socket.socket(fileno=fcntl.fcntl(mailbox.socket.detach(), fcntl.F_DUPFD, 1_100))
    mailboxes.wake_on_commit("crowded")
    assert seconds_until_woken(mailbox) < WELL_BEFORE_THE_LIMIT


@pytest.mark.django_db(transaction=True)
def test_a_long_var_folder_still_gets_wake_ups(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", os.environ["ORCHESTRATOR_TEST_ROOT"])
    with override_settings(VAR_DIR=tmp_path / ("deep" * 30)):
        mailbox = mailboxes.open_mailbox("long")
        assert isinstance(mailbox, mailboxes.SocketMailbox)
        mailboxes.wake_on_commit("long")
        assert seconds_until_woken(mailbox) < WELL_BEFORE_THE_LIMIT


@pytest.mark.django_db(transaction=True)
def test_a_link_that_somebody_laid_where_its_short_folder_goes_is_not_followed(tmp_path, monkeypatch):
    """Others may write in /tmp: dead sockets in the folder behind it would have been deleted."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "theirs").mkdir()
    with override_settings(VAR_DIR=tmp_path / ("deep" * 30)):
        mailboxes.socket_folder("seen").rmdir()
        [ours] = tmp_path.glob("orchestrator-*")
        ours.rmdir()
        ours.symlink_to(tmp_path / "theirs")
        assert isinstance(mailboxes.open_mailbox("seen"), mailboxes.PollingMailbox)
        mailboxes.wake_on_commit("seen")
    assert list((tmp_path / "theirs").iterdir()) == []


@pytest.mark.django_db(transaction=True)
def test_where_sockets_cannot_be_made_the_queue_is_polled(monkeypatch):
    def refuse(*_):
        raise PermissionError("no sockets on this file system")

    monkeypatch.setattr(mailboxes, "SocketMailbox", refuse)
    mailbox = mailboxes.open_mailbox("refused")
    start = time.monotonic()
    mailbox.wait(LIMIT_SECONDS)
    assert time.monotonic() - start < WELL_BEFORE_THE_LIMIT


@pytest.mark.django_db(transaction=True)
def test_a_turn_that_can_wait_wakes_nobody_and_an_urgent_one_does_whatever_is_queued():
    Fleet.get()
    mailbox = mailboxes.open_mailbox(mailboxes.TASKS)
    nudge(is_urgent=False)
    start = time.monotonic()
    mailbox.wait(0.1)
    assert time.monotonic() - start >= 0.1
    assert OrmQ.objects.get().task["func"] == "pools.tasks.reconcile"
    nudge()
    assert seconds_until_woken(mailbox) < WELL_BEFORE_THE_LIMIT
    assert OrmQ.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_task_committed_by_another_process_is_dequeued_at_once():
    broker = WakingBroker()
    assert broker.mailbox() is broker.mailbox()
    code = "import django; django.setup()\nfrom django_q.tasks import async_task\nasync_task('math.sqrt', 4)\n"
    enqueued = subprocess.Popen([sys.executable, "-c", code], env=os.environ)
    deadline = time.monotonic() + LIMIT_SECONDS
    tasks = None
    while not tasks:
        assert time.monotonic() < deadline, "the task never came"
        tasks = broker.dequeue()
    assert enqueued.wait(LIMIT_SECONDS) == 0
    assert OrmQ.objects.get().pk == tasks[0][0]


@pytest.mark.django_db(transaction=True)
def test_a_forked_reader_opens_a_mailbox_of_its_own():
    broker = WakingBroker()
    inherited = broker.mailbox()
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        own = broker.mailbox()
        os.write(writing, json.dumps(own is inherited).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert json.load(answer) is False
    os.waitpid(child, 0)
    assert broker.mailbox() is inherited


@pytest.mark.django_db(transaction=True)
def test_a_waiting_reader_starts_a_task_without_waiting_for_its_next_look(monkeypatch):
    """The fallback is set beyond the deadline, so that only a wake-up can end the wait."""
    monkeypatch.setattr("orchestrator_site.cluster.broker.LONGEST_SLEEP_SECONDS", LIMIT_SECONDS * 3)
    broker = WakingBroker()
    broker.mailbox()
    threading.Timer(0.2, async_task, ["math.sqrt", 4]).start()
    start = time.monotonic()
    tasks = broker.dequeue() or broker.dequeue()
    assert tasks
    assert time.monotonic() - start < LIMIT_SECONDS
