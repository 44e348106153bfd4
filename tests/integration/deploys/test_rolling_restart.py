"""Each process is restarted in its turn under load, behind the nginx that we publish: nobody notices."""

from __future__ import annotations

import json
import re
import threading
import time

import httpx
import psycopg
import pytest

from tests.fixtures.players import COUNTS, Players
from tests.fixtures.rolling import Rolling
from tests.fixtures.waiting import until

RESUMES_SECONDS = 2.0
TURNS_SECONDS = 10.0  # by then another machine would have taken over from one that died
BETWEEN = 2  # runs played from one restart to the next
LINES = """
import json
from pools.models import FleetEvent
from runs.models import RunEvent
from django_q.models import Failure, OrmQ
lines = FleetEvent.objects.filter(pk__gt=int(sys.argv[1]), pk__lte=int(sys.argv[2]))
print(json.dumps({
    "log": list(lines.order_by("pk").values_list("pk", flat=True)),
    "failures": [str(task.result)[:500] for task in Failure.objects.all()],
    "deployments": sum(row.func() == "runs.tasks.deploy" for row in OrmQ.objects.all()),
}))
"""


class Reader(threading.Thread):
    """Reads a stream of server-sent events as a program does: when it ends, it waits as it was told, and comes back
    with the last number that it has."""

    def __init__(self, url: str, after: int = 0) -> None:
        super().__init__()
        self.url, self.after = url, after
        self.numbers: list[int] = []
        self.pauses_seconds: list[float] = []
        self.failures: list[str] = []
        self.is_over = threading.Event()
        self._retry_ms = 0
        self._ended_at_seconds = 0.0

    def run(self) -> None:
        while not self.is_over.is_set():
            try:
                self._read()
            except (httpx.HTTPError, AssertionError) as error:
                self.failures.append(f"{self.url}: {type(error).__name__}: {error}")
                return
            self._ended_at_seconds = time.monotonic()
            self.is_over.wait(self._retry_ms / 1000)

    def _read(self) -> None:
        headers = {"Last-Event-ID": str(self.numbers[-1] if self.numbers else self.after)}
        with httpx.stream("GET", self.url, headers=headers, timeout=60, trust_env=False) as answer:
            if answer.status_code == 204:
                self.is_over.set()
                return
            assert answer.status_code == 200, answer.status_code
            for line in answer.iter_lines():
                if self._ended_at_seconds:
                    self.pauses_seconds.append(time.monotonic() - self._ended_at_seconds)
                    self._ended_at_seconds = 0.0
                if found := re.fullmatch(r"(id|retry): (\d+)", line):
                    number = int(found[2])
                    if found[1] == "id":
                        self.numbers.append(number)
                    else:
                        self._retry_ms = number
                if line == "event: end" or self.is_over.is_set():
                    self.is_over.set()


class Watched(Players):
    """They also look at pages, and follow each run by a stream while it is launched and played."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.readers: dict[str, Reader] = {}

    def _play_once(self) -> None:
        for page in ("/", "/games/chess/", "/api/pool/status", "/api/games"):
            self._text("GET", page)
        run = str(self._ask("POST", "/api/launch", json={"game": "chess"})["run_id"])
        reader = self.readers[run] = Reader(f"{self.webs[0]}/api/stream/{run}")
        reader.start()
        until(lambda: self._state(run) in ("running", "failed"), "it plays", seconds=60, every=0.2)
        assert self._state(run) == "running"
        for _ in range(5):
            assert "Chess" in self._text("GET", f"/play/{run}/")
        self._ask("DELETE", f"/api/sandbox/{run}")
        reader.join(30)
        assert not reader.is_alive(), f"the stream of {run} does not end"
        self.failures.extend(reader.failures)
        assert reader.numbers == list(range(1, len(reader.numbers) + 1)), reader.numbers
        self.played.append(run)


class Turns(threading.Thread):
    """Looks how old the last turn is, five times a second, by the database's clock."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.oldest_seconds = 0.0
        self.is_over = threading.Event()

    def run(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            while not self.is_over.wait(0.2):
                (age,) = connection.execute(
                    "SELECT extract(epoch FROM clock_timestamp() - turned_at)::float8 FROM pools_fleet"
                ).fetchone() or (0.0,)
                self.oldest_seconds = max(self.oldest_seconds, age or 0.0)


@pytest.mark.timeout(400)
def test_a_restart_of_each_process_in_turn_fails_no_request_and_loses_no_run_line_or_turn(rolling: Rolling):
    turns = Turns(rolling.database.environment["DATABASE_URL"])
    with Watched(rolling.url) as players:
        players.play(2)
        first = int(httpx.get(f"{rolling.url}/api/orchestrator/logs?limit=1", trust_env=False).json()["after"])
        log = Reader(f"{rolling.url}/api/orchestrator/stream", first)
        log.start()
        turns.start()
        for part in rolling.parts:
            part.restart()
            players.play(BETWEEN)
    turns.is_over.set()
    until(lambda: len(log.numbers) and not players.failures, "the log was read")
    found = json.loads(rolling.database.answer(COUNTS))
    log.is_over.set()
    read = list(log.numbers)
    told = json.loads(rolling.database.answer(LINES, str(first), str(read[-1])))
    pauses = [pause for reader in (log, *players.readers.values()) for pause in reader.pauses_seconds]
    print(f"played {len(players.played)}; pauses {pauses}; oldest turn {turns.oldest_seconds:.1f} s")

    assert not players.failures
    assert not log.failures
    assert {run: found["runs"][run][0] for run in players.played} == dict.fromkeys(players.played, "ended")
    assert len(found["runs"]) == len(players.played), "each launch was played"
    assert not found["shared"], "a sandbox served two"
    assert not told["failures"], "a task failed"
    assert not told["deployments"], "a deployment was left"
    assert read == told["log"], "a line of the log was lost, or came twice"
    assert log.pauses_seconds, "the log's reader was sent elsewhere"
    assert max(pauses) < RESUMES_SECONDS
    assert turns.oldest_seconds < TURNS_SECONDS
