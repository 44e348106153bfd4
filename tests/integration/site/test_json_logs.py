"""LOG_FORMAT=json: what processes write to stdout and stderr is one JSON object a line, whatever happens to them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.stack import MANAGE, Stack, copy_of
from tests.fixtures.waiting import until

ASKED_AS = "follow-me-1"
SEEDED = f"key_0123abcd_{'s3cr3t' * 6}"
ALWAYS = {"timestamp", "level", "logger", "message", "process", "pid", "host", "version"}


def records(text: str) -> list[dict[str, Any]]:
    """Every line of it, each of which is a JSON object."""
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            pytest.fail(f"not JSON: {line!r}")
    return found


@pytest.fixture(scope="module")
def stack(built_var: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A product that logs as JSON, and has been through something: a launch, refused requests, a killed web server."""
    var = copy_of(built_var, tmp_path_factory.mktemp("json-logs"))
    # Libraries warn of what is old in them; some as they are loaded.
    stack = Stack(var, LOG_FORMAT="json", PYTHONWARNINGS="always", WARM_POOL_TARGET_READY="0").start()
    try:
        with httpx.Client(base_url=stack.url, timeout=30, trust_env=False) as client:
            body, asked_as = {"game": "snake", "mode": "cold"}, {"X-Request-ID": ASKED_AS}
            run = client.post("/api/launch", json=body, headers=asked_as).json()["run_id"]
            assert client.post("/api/launch", content=b"{", headers={"Authorization": f"Bearer {SEEDED}"}).is_error
            assert client.get(f"/nothing?token={SEEDED}&signature=0badcafe0badcafe").status_code == 404
            until(lambda: client.get(f"/api/sandbox/{run}").json()["state"] == "running", "it plays", seconds=60)
        killed = stack.kill("web")
        until(lambda: stack.pid("web") not in (0, killed), "the web server is started again")
        stack.wait_until_ready()
        until(lambda: "was started again" in stack.log, "the restart is noted")
        stack.stop()
        yield stack
    finally:
        stack.close()
        print(stack.log)


def answers(stack: Stack) -> bool:
    try:
        return stack.get("/health/live").status_code == 200
    except httpx.HTTPError:
        return False


def test_every_line_of_the_whole_product_is_a_record(stack: Stack) -> None:
    for record in records(stack.log):
        assert record.keys() >= ALWAYS, record
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["timestamp"])
        datetime.fromisoformat(record["timestamp"])
    assert {record["process"] for record in records(stack.log)} >= {"supervisor", "web", "qcluster", "cloud"}


def test_a_launch_is_followed_from_its_request_to_the_worker(stack: Stack) -> None:
    found = records(stack.log)
    (launched,) = [each for each in found if each.get("request_id") == ASKED_AS and "launch of" in each["message"]]
    assert launched["process"] == "web"
    of_worker = [each for each in found if each.get("run") == launched["run"] and each["process"] == "qcluster"]
    ready = next(each for each in of_worker if "is ready after" in each["message"])
    assert ready["sandbox"].startswith("sandbox-")
    assert ready["app"]
    assert ready["process_name"] != "MainProcess"


def test_a_process_that_is_killed_is_a_warning(stack: Stack) -> None:
    (said,) = [each for each in records(stack.log) if "web ended by SIGKILL" in each["message"]]
    assert (said["process"], said["level"]) == ("supervisor", "WARNING")


def test_that_a_process_was_started_again_is_one_line_of_the_orchestrator_log(stack: Stack) -> None:
    told = stack.python(
        "from pools.models import FleetEvent\n"
        "for line in FleetEvent.objects.filter(code='process_restarted'): print(line.level, line.message)"
    )
    assert told == "warning the web server was started again: it ended by SIGKILL"


def test_what_is_secret_is_in_no_line(stack: Stack) -> None:
    assert "/nothing" in stack.log
    for secret in (SEEDED, SEEDED[13:], "0badcafe0badcafe", (stack.var / "secret_key").read_text().strip()):
        assert secret not in stack.log


def test_a_wrong_setting_is_a_record(stack: Stack) -> None:
    for command in ([MANAGE, "up"], ["-m", "daphne", "orchestrator_site.asgi:application"]):
        done = subprocess.run(
            [sys.executable, *command],
            env=stack.environment | {"MAX_TOTAL_SANDBOXES": "lots"},
            cwd=Path(MANAGE).parent, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        *_, last = records(done.stdout + done.stderr)
        assert "MAX_TOTAL_SANDBOXES is 'lots'" in last["message"]


def test_every_line_of_a_cluster_and_a_web_server_by_themselves_is_a_record(stack: Stack, tmp_path: Path) -> None:
    environment = stack.environment | {"LOG_LEVEL": "DEBUG", "PYTHONWARNINGS": "default", "PYTHONUNBUFFERED": "1"}
    log = tmp_path / "log"
    commands = [
        [MANAGE, "qcluster"],
        ["-m", "daphne", "-v", "0", "-p", str(stack.port), "orchestrator_site.asgi:application"],
    ]
    with log.open("ab") as output:
        processes = [
            subprocess.Popen(
                [sys.executable, *command], env=environment, cwd=Path(MANAGE).parent, stdout=output, stderr=output
            )
            for command in commands
        ]
    try:
        until(lambda: answers(stack), "the web server answers", seconds=60)
        assert stack.get("/nothing").status_code == 404
        stack.python(
            "from django_q.tasks import async_task\n"
            "async_task('runs.tasks.deploy', 'no-run')\n"  # it dies of a ValueError
            f"async_task('warnings.warn', 'this is old: {SEEDED}')"
        )
        until(lambda: "badly formed" in log.read_text() and "this is old" in log.read_text(), "the tasks were run")
        worker = next(each["pid"] for each in records(log.read_text()) if "ready for work" in each["message"])
        os.kill(worker, signal.SIGKILL)
        until(lambda: "reincarnated" in log.read_text(), "the worker is replaced")
        until(lambda: "a worker of the cluster was started again: it died" in log.read_text(), "the log has that")
        assert "the web server started" in log.read_text()
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)
    found = records(log.read_text())
    (warned,) = [each for each in found if "this is old" in each["message"]]
    assert warned["logger"] == "py.warnings"
    assert "this is old: key_0123abcd_…" in warned["message"]
    assert SEEDED not in log.read_text()
    assert {each["process"] for each in found} == {"qcluster", "web"}
