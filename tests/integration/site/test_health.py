"""/health/ready names what is not well."""

import logging
import os
import signal
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from orchestrator_site import health
from orchestrator_site.models import Beat
from tests.fixtures.stack import MakeStack
from tests.fixtures.waiting import until


def test_ready_names_each_part_that_dies_and_forgets_when_it_is_back(make_stack: MakeStack):
    stack = make_stack(CATALOG_DIR=str(Path(__file__).parent)).start()
    stack.wait_until_ready()
    assert stack.get("/health/ready").json()["status"] == "ready"
    os.kill(stack.pid("supervisor"), signal.SIGSTOP)  # the cloud shall not come back before it was missed
    stack.kill("cloud")
    until(lambda: stack.checks().get("cloud", "ok") != "ok", "the cloud is named")
    os.kill(stack.pid("supervisor"), signal.SIGCONT)
    stack.wait_until_ready()
    stack.kill("cluster")
    stack.wait_until_ready()
    assert stack.get("/health/live").json() == {"status": "ok"}


def test_probes_are_answered_whatever_host_they_ask_for(client: Client):
    assert client.get("/health/live", headers={"host": "10.244.0.17:8080"}).status_code == 200


@pytest.fixture
def fresh_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        health, "CHECKS", [health.Check("database", health.database), health.Check("cluster", health.cluster)]
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("fresh_checks")
def test_without_a_cluster_the_site_is_live_and_not_ready(client: Client):
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {
        "database": "ok",
        "cluster": "no Django-Q cluster has ever given a sign of life",
    }
    assert client.get("/health/live").status_code == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("fresh_checks")
def test_a_probe_that_is_told_no_is_not_logged_and_another_error_is(client: Client):
    lines: list[str] = []
    watching = logging.Handler()
    watching.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger("django.request").addHandler(watching)
    try:
        assert client.get("/health/ready").status_code == 503
        assert client.get("/nowhere/").status_code == 404
    finally:
        logging.getLogger("django.request").removeHandler(watching)
    assert lines == ["Not Found: /nowhere/"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("fresh_checks")
def test_an_old_sign_of_life_is_not_one(client: Client):
    Beat.record("machine", 1, at=timezone.now() - timedelta(minutes=3), workers=4, idle_workers=4, waiting=0, due=0)
    assert "s old" in client.get("/health/ready").json()["checks"]["cluster"]


def test_a_check_that_hangs_is_late_for_everybody_and_asked_once(monkeypatch: pytest.MonkeyPatch, client: Client):
    release, asked = threading.Event(), []

    def stubborn() -> health.Verdict:
        asked.append(1)
        release.wait(60)
        return health.OK

    monkeypatch.setattr(health, "CHECKS", [health.Check("stubborn", stubborn)])
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.2)
    waits, wait = [], health.wait

    def waited(answers: list[Any], timeout: float) -> Any:
        waits.append(timeout)
        return wait(answers, timeout)

    monkeypatch.setattr(health, "wait", waited)
    try:
        for _ in range(3):
            assert client.get("/health/ready").json()["checks"] == {"stubborn": "no answer within 0.2 s"}
        assert len(asked) == 1
        assert waits[1:] == [0, 0], "who comes later does not wait as long once more: probes would pile up"
    finally:
        release.set()
    until(lambda: client.get("/health/ready").status_code == 200, "it answers")
