"""With a collector, a launch is one trace across the processes that work on it; without one, nothing is loaded."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from tests.fixtures.collector import Collector, SeenSpan
from tests.fixtures.stack import Stack, copy_of
from tests.fixtures.waiting import until

ROOMY = dict.fromkeys(("MAX_TOTAL_SANDBOXES", "MAX_ACTIVE_PER_CLIENT", "MAX_ACTIVE_PER_NETWORK"), "12")
ROOMY |= dict.fromkeys(("MAX_CONCURRENT_COLD", "MAX_CONCURRENT_WARM", "MAX_TOTAL_ACTIVE"), "12")
THEIRS, THEIR_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def stack(built_var: Path, tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Stack]:
    """A product whose traces go to the collector."""
    stack = Stack(
        copy_of(built_var, tmp_path_factory.mktemp("traces")),
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_EXPORTER_OTLP_HEADERS="x-tenant=somebody",
        OTEL_EXPORTER_OTLP_TRACES_HEADERS="x-tenant=arcade",
        OTEL_BSP_SCHEDULE_DELAY="200",
        LOG_FORMAT="json",
        **ROOMY,
    ).start()
    yield stack
    stack.close()
    print(stack.log)


def launch(stack: Stack, mode: str, **headers: str) -> UUID:
    """Launch Snake, and wait until it is played."""
    with httpx.Client(base_url=stack.url, timeout=60, trust_env=False) as client:
        body = {"game": "snake", "mode": mode}
        run = client.post("/api/launch", json=body, headers=headers | {"Prefer": "wait=30"}).json()
        assert run["state"] == "running", run
        return UUID(run["run_id"])


def spans_of(collector: Collector, run: UUID, *names: str) -> dict[str, SeenSpan]:
    """The first span of each name in the run's trace, once all of these are there."""

    def found() -> dict[str, SeenSpan]:
        return {span.name: span for span in reversed(collector.of(run.hex))}

    for name in names:
        until(lambda name=name: name in found(), f"the span {name} has come")
    return found()


def test_a_launch_is_one_trace_from_the_request_to_the_worker_and_the_agent(stack: Stack, collector: Collector):
    began_ns = time.time_ns()
    run = launch(stack, "cold")
    with httpx.stream("GET", f"{stack.url}/api/stream/{run}", trust_env=False, timeout=30) as events:
        next(line for line in events.iter_lines() if line.startswith("id:"))  # what comes before it is no event
    httpx.get(f"{stack.play_url}/play/{run}/", trust_env=False, timeout=30)
    names = ("launch", "deploy", "agent POST", "first event of a stream", "first request to the game")
    spans = spans_of(collector, run, *names)
    root, deploy = spans["launch"], spans["deploy"]
    assert root.parent_id == ""
    assert deploy.parent_id == root.span_id
    assert (deploy.attributes["code"], deploy.attributes["deployed_from"]) == ("running", "snapshot")
    assert deploy.pid != root.pid == stack.pid("web")
    of_agent = [span for span in collector.of(run.hex) if span.name.startswith("agent")]
    assert {span.parent_id for span in of_agent} == {deploy.span_id}
    assert all(deploy.began_ns <= span.began_ns <= span.ended_ns <= deploy.ended_ns for span in of_agent)
    assert began_ns < root.began_ns < deploy.began_ns < time.time_ns()
    assert root.attributes["run"] == deploy.attributes["run"] == str(run)
    assert (root.attributes["game"], root.attributes["mode"], root.attributes["code"]) == ("snake", "cold", "acquiring")
    assert of_agent[0].attributes["sandbox"].startswith("sandbox-")
    assert of_agent[0].attributes["app"]
    assert deploy.service == "sandbox-orchestrator"
    assert {headers["x-tenant"] for headers in collector.headers} == {"arcade"}


def test_a_warm_launch_shows_its_claim_and_hand_over(stack: Stack, collector: Collector):
    launch(stack, "warm")  # the demand that fills the pool
    until(lambda: stack.get("/api/pool/status").json()["sandboxes"]["ready"], "a sandbox is warm", seconds=60)
    run = launch(stack, "warm", traceparent=f"00-{THEIRS}-{THEIR_SPAN}-01")
    spans = spans_of(collector, run, "launch", "claim", "hand over", "agent GET")
    assert spans["claim"].parent_id == spans["hand over"].parent_id == spans["launch"].span_id
    assert spans["agent GET"].parent_id == spans["hand over"].span_id
    assert spans["launch"].attributes["code"] == "running"
    # The caller's own trace has the request, and each of the two leads to the other.
    (request,) = until(lambda: collector.of(THEIRS), "the request is told")
    assert (request.name, request.parent_id, request.links) == ("launch request", THEIR_SPAN, [run.hex])
    assert spans["launch"].links == [THEIRS]


def test_turns_with_what_they_ask_the_cloud_and_stagings_are_told(stack: Stack, collector: Collector):
    def cloud_of_turn() -> tuple[SeenSpan, SeenSpan] | None:
        turns = {span.span_id: span for span in collector.spans if span.name == "turn"}
        asked = (span for span in collector.spans if span.name == "cloud create" and span.parent_id in turns)
        return next(((turns[span.parent_id], span) for span in asked), None)

    launch(stack, "warm")  # the demand that fills the pool
    turn, create = until(cloud_of_turn, "a turn has asked for an app")
    assert create.trace_id == turn.trace_id
    assert create.attributes["sandbox"].startswith("sandbox-")
    assert create.attributes["status"] == 200
    (stage, *_) = until(lambda: [span for span in collector.spans if span.name == "stage"], "a sandbox was staged")
    assert stage.attributes["sandbox"].startswith("sandbox-")


def test_log_lines_name_their_trace(stack: Stack):
    run = launch(stack, "cold")
    lines = [line for line in stack.log.splitlines() if f'"run": "{run}"' in line]
    assert any(f'"trace_id": "{run.hex}"' in line for line in lines)


def test_what_a_process_has_told_last_is_sent_when_it_ends(built_var: Path, tmp_path: Path, collector: Collector):
    """Batches that are hours apart: what comes was sent at the end, by the web server and by workers."""
    stack = Stack(
        copy_of(built_var, tmp_path),
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_BSP_SCHEDULE_DELAY="3600000",
    ).start()
    try:
        run = launch(stack, "cold")
        assert collector.of(run.hex) == []
        stack.stop()
    finally:
        stack.close()
    assert {span.name for span in collector.of(run.hex)} >= {"launch", "deploy"}


def test_a_collector_that_is_away_or_hangs_holds_up_nobody(built_var: Path, tmp_path: Path):
    """It takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        stack = Stack(
            copy_of(built_var, tmp_path),
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{hanging.getsockname()[1]}",
            OTEL_EXPORTER_OTLP_TIMEOUT="1",
            OTEL_BSP_SCHEDULE_DELAY="100",
            **ROOMY,
        ).start()
        try:
            for _ in range(2):
                launch(stack, "cold")
            until(lambda: "collector of traces" in stack.log, "the lost spans are told")
            assert stack.stop() == 0, "in time"
        finally:
            stack.close()
    for part in ("web", "cluster"):
        said = [line for line in stack.log.splitlines() if line.startswith(part) and "collector of traces" in line]
        assert len(said) <= (1 if part == "web" else 4)  # once for each process


def test_a_worker_that_is_killed_loses_no_more_than_its_last_batch(stack: Stack, collector: Collector):
    first = launch(stack, "cold")
    worker = spans_of(collector, first, "deploy")["deploy"].pid
    os.kill(worker, signal.SIGKILL)
    second = launch(stack, "cold")
    assert spans_of(collector, second, "deploy")["deploy"].pid != worker


def test_without_a_collector_nothing_of_it_is_loaded(stack: Stack):
    off = Stack(stack.var)
    off.environment["ORCHESTRATOR_ID"] = "another"  # so that it borrows nothing of what runs there
    loaded = off.python(
        "import sys, orchestrator_site.asgi, runs.tasks\n"
        "from pools.traces import span, launch, NO_SPAN\n"
        "assert span('x') is NO_SPAN\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google.protobuf'))])"
    )
    assert loaded == "[]"
