"""Spans as one process makes them."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import UUID, uuid4

import pytest

from pools import otel, traces
from pools.about import about
from pools.cloud.agent_transport import AgentWire
from pools.cloud.errors import AgentUnavailable
from pools.traces import span
from tests.fixtures.collector import Collector


@pytest.fixture(autouse=True)
def traced(settings, monkeypatch: pytest.MonkeyPatch, collector: Collector) -> Iterator[None]:
    """Traces of this process go to the collector."""
    settings.TRACES_ARE_ON = True
    settings.TRACES_URL = f"{collector.url}/v1/traces"
    monkeypatch.setattr(otel, "_maker", None)
    yield
    if otel._maker is not None:
        otel._maker.close()


def sent() -> None:
    otel.maker().close()


def test_what_is_done_for_a_run_elsewhere_goes_on_in_its_trace(collector: Collector) -> None:
    run = uuid4()
    with about(run=run), span("deploy", attempt=2):
        pass
    sent()
    (deploy,) = collector.of(run.hex)
    assert deploy.parent_id == f"{otel.root_of(run).span_id:016x}"
    assert deploy.attributes == {"run": str(run), "attempt": 2}


def test_an_error_is_told_with_its_code_and_without_its_secrets(collector: Collector) -> None:
    run = uuid4()
    with pytest.raises(AgentUnavailable), traces.launch(run):
        raise AgentUnavailable("no way to https://x.example/?token=hush")
    sent()
    (failed,) = collector.of(run.hex)
    assert failed.is_error
    assert failed.attributes["code"] == AgentUnavailable.code
    assert "hush" not in failed.said
    assert failed.said.startswith("AgentUnavailable: no way to https://x.example/?token=")


def test_what_failed_without_an_error_is_told(collector: Collector) -> None:
    run = uuid4()
    with traces.launch(run):
        traces.at_work().fail("no way", code="lost")
    sent()
    (failed,) = collector.of(run.hex)
    assert (failed.is_error, failed.said, failed.attributes["code"]) == (True, "no way", "lost")


def test_the_agent_is_told_which_span_asks() -> None:
    heard = []

    class Agent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers["traceparent"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    run = uuid4()
    with HTTPServer(("127.0.0.1", 0), Agent) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with traces.launch(run):
            AgentWire(f"http://127.0.0.1:{server.server_address[1]}", "token").call("GET", "/", timeout_seconds=5)
    (traceparent,) = heard
    assert traceparent.split("-")[1] == run.hex
    assert traceparent.split("-")[2] != f"{otel.root_of(run).span_id:016x}"  # of the request, below the launch


def test_a_share_of_all_launches_is_traced_and_every_process_agrees_which(monkeypatch: pytest.MonkeyPatch) -> None:
    """A UUID's bits are not all random: by the usual ones, 0.25 would be none and 0.75 all."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    for share in (0.25, 0.75):
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", str(share))
        monkeypatch.setattr(otel, "_maker", None)
        runs = [UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128, version=4) for number in range(1, 2001)]
        traced = [bool(otel.root_of(run).trace_flags) for run in runs]
        assert share - 0.05 < sum(traced) / len(traced) < share + 0.05
        with traces.launch(runs[0]):
            assert (traces.headers()["traceparent"][-1] in "13") == traced[0]
        sent()


def test_a_fork_tells_its_spans_itself(collector: Collector) -> None:
    before, after = uuid4(), uuid4()
    with traces.launch(before):
        pass
    child = multiprocessing.get_context("fork").Process(target=work_on, args=(after,))
    child.start()
    child.join(20)
    sent()
    (ours,), (of_child,) = collector.of(before.hex), collector.of(after.hex)
    assert of_child.pid == child.pid != ours.pid


def work_on(run: UUID) -> None:
    with traces.launch(run):
        pass


def test_only_the_first_time_is_told_of_what_happens_over_and_over(collector: Collector) -> None:
    run = uuid4()
    for _ in range(3):
        with about(run=run), traces.first_span("play", run):
            pass
    sent()
    assert len(collector.of(run.hex)) == 1


def test_no_attribute_tells_a_secret_whatever_it_is(collector: Collector) -> None:
    token = f"run_{'0a' * 32}"
    with about(client=token), span("no secret", path=["x", token], error=ValueError(token)):
        traces.note_first("no secret before", uuid4(), 1)
    sent()
    told = [span for span in collector.spans if span.name.startswith("no secret")]
    assert len(told) == 2
    assert all(span.attributes["client"] == "run_…" for span in told)
    assert token not in str([span.attributes for span in told])


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "abc"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "-4"),
    ],
)
def test_a_variable_that_the_sdk_refuses_costs_the_traces_and_a_line(monkeypatch, caplog, variable: str, value: str):
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(traces, "_is_broken", False)
    for _ in range(2):
        traces.begin()
        with traces.launch(uuid4()), span("work") as at_work:
            at_work.note(it="goes on")
    assert traces.ids() == traces.headers() == {}
    assert [record.message for record in caplog.records if "no traces" in record.message] == [caplog.records[0].message]
    assert "\n" not in caplog.text.strip()


def test_what_can_not_even_be_sent_is_said_too(monkeypatch, caplog):
    """The certificate is not there, say."""
    monkeypatch.setattr(otel.OTLPSpanExporter, "export", lambda *_: 1 / 0)
    with span("work"):
        pass
    sent()
    assert "1 spans are lost" in caplog.text
