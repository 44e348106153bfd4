"""A real product tells Prometheus how it goes; the dashboard and the alerts ask for what it tells."""

import json
import os
import re
import signal
import socket
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
import pytest
import yaml

from tests.fixtures.metrics import RULES, Prometheus, Told, dashboard_panels, prometheus, scrape
from tests.fixtures.stack import Stack, copy_of
from tests.fixtures.waiting import free_port, until

ROOMY = {
    "MAX_TOTAL_SANDBOXES": "6",
    "MAX_RUNS_PER_HOUR": "100",
    "MAX_RUNS_PER_HOUR_PER_CLIENT": "100",
    "MAX_RUNS_PER_HOUR_PER_NETWORK": "100",
    "MAX_ACTIVE_PER_CLIENT": "6",
    "MAX_ACTIVE_PER_NETWORK": "6",
    "MAX_CONCURRENT_WARM": "6",
    "ANYONE_MAY_END_RUNS": "true",
}
SPAN = {"$__rate_interval": "2m", "$__range": "2m"}


def launch(stack: Stack, kind: str = "warm", **fields: Any) -> httpx.Response:
    body = {"game": "snake", "use_snapshot": True, **fields}
    return httpx.post(f"{stack.url}/api/launch/{kind}", json=body, timeout=60, trust_env=False)


def rows(stack: Stack, query: str) -> list[sqlite3.Row]:
    with closing(sqlite3.connect(f"file:{stack.var}/orchestrator.sqlite3?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        return database.execute(query).fetchall()


def runs(stack: Stack) -> list[sqlite3.Row]:
    return rows(stack, "SELECT * FROM runs_run")


def until_running(stack: Stack, answer: httpx.Response) -> str:
    assert answer.status_code < 300, answer.text
    run_id = answer.json()["run_id"]
    until(lambda: stack.get(f"/api/runs/{run_id}").json()["state"] == "running", "it runs", seconds=60)
    return run_id


def until_ready(stack: Stack) -> None:
    ready = "SELECT 1 FROM pools_sandbox WHERE state = 'ready'"
    until(lambda: rows(stack, ready), "a sandbox is ready", seconds=60)


@pytest.fixture(scope="module")
def played(built_var: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Prometheus]]:
    """A product that tells, and a Prometheus that has looked on while four games were launched, one of them ended."""
    folder = tmp_path_factory.mktemp("metrics")
    port = free_port()
    stack = Stack(copy_of(built_var, folder), METRICS_PORT=str(port), **ROOMY)
    try:
        stack.start()
        with prometheus(folder, port) as seen_by:
            first = until_running(stack, launch(stack))  # the pool is empty
            until_ready(stack)
            second = until_running(stack, launch(stack))
            until_ready(stack)
            until_running(stack, launch(stack))
            until_running(stack, launch(stack, "cold"))
            assert httpx.get(f"{stack.play_url}/play/{second}/", trust_env=False).status_code == 200
            with httpx.stream("GET", f"{stack.url}/api/orchestrator/stream", timeout=30, trust_env=False) as stream:
                lines = stream.iter_lines()
                next(lines)
                until(lambda: scrape(stack)("arcade_streams_open", topic="fleet") == 1, "the reader is counted")
                assert httpx.delete(f"{stack.url}/api/sandbox/{first}", trust_env=False).status_code == 200
                assert any('"code":"run_over"' in line for line in lines)
            for n in range(20):
                launch(stack, game=f'evil"}} {n}\n')
            seen = 'sum(arcade_launch_refusals_total{code="unknown_game"}) == 20'
            until(lambda: seen_by.ask(seen), "Prometheus has seen all that")
            yield stack, seen_by
    finally:
        stack.close()
        print(stack.log)


def test_launches_are_told_as_they_were_served(played):
    stack, _ = played
    told = scrape(stack)
    served = [row for row in runs(stack) if row["total_ms"] is not None]
    at_once = [row for row in served if row["served_by"] == "pool"]
    assert len(at_once) == 2
    assert told("arcade_launch_seconds_count", served="staged") == 2
    assert told("arcade_launch_seconds_count", served="cold_fallback") == 1
    assert told("arcade_launch_seconds_count", served="cold") == 1
    assert told("arcade_launch_seconds_sum") == pytest.approx(sum(row["total_ms"] for row in served) / 1000)
    within = [row for row in at_once if row["total_ms"] <= 300]
    assert told("arcade_warm_launches_total", outcome="in_time") == len(within)
    assert told("arcade_warm_launches_total") == 3, "with the one that was served cold for want of a sandbox"
    assert told("arcade_launch_seconds_bucket", served="staged", le="0.3") == len(within)
    for phase in ("acquire", "bootstrap", "restore", "start"):
        expected = sum(row[f"{phase}_ms"] for row in served) / 1000
        assert told("arcade_launch_phase_seconds_sum", phase=phase) == pytest.approx(expected)


def test_the_fleet_is_told_as_the_api_tells_it(played):
    stack, _ = played

    def is_the_same() -> bool:
        told, status = scrape(stack), stack.get("/api/pool/status").json()
        pool = status["pools"]["python"]
        states = {state: told("arcade_pool_sandboxes", pool="python", state=state) for state in ("ready", "in_use")}
        return (
            states == {state: pool[state] for state in states}
            and told("arcade_pool_eligible", pool="python") == pool["ready"]
            and told("arcade_sandboxes") == status["total_sandboxes"]
            and told("arcade_sandboxes_limit") == status["max_total_sandboxes"]
            and told("arcade_pool_desired", pool="python") == pool["target_ready"]
        )

    until(is_the_same, "both say the same")
    told = scrape(stack)
    assert told("arcade_runs", state="running") == sum(row["state"] == "running" for row in runs(stack))
    assert told("arcade_turn_age_seconds") < 120
    assert told("arcade_clusters") == 1
    assert told("arcade_database_up") == 1
    assert told("arcade_pool_breaker", state="closed") == 1
    assert told("arcade_orphans") == told("arcade_oldest_orphan_age_seconds") == told("arcade_deletions_stopped") == 0
    assert told("arcade_cost_usd_today") > 0


def test_everything_is_counted_at_least_once_that_launches_bring_along(played):
    stack, _ = played
    told = scrape(stack)
    assert told("arcade_sandbox_creates_total") == told("arcade_cloud_requests_total", operation="create", outcome="ok")
    for name in (
        "arcade_turn_seconds_count", "arcade_sandbox_ready_seconds_count", "arcade_deploy_step_seconds_count",
        "arcade_event_read_delay_seconds_count", "arcade_proxy_first_byte_seconds_count",
        "arcade_request_wait_seconds_count", "arcade_database_statement_seconds_count",
    ):  # fmt: skip
        assert told(name) > 0, name
    assert told("arcade_proxy_requests_total", outcome="passed") == 1


def test_no_name_from_outside_becomes_a_label(played):
    stack, _ = played
    told = scrape(stack)
    assert told("arcade_launch_refusals_total", code="unknown_game") == 20
    values = {value for sample in told.samples for label, value in sample.labels.items() if label not in ("le", "pool")}
    assert all(re.fullmatch(r"[a-z0-9_]{1,30}", value) for value in values), values
    assert {s.labels["pool"] for s in told.samples if "pool" in s.labels} == {"python", "(none)"}
    assert len(told.samples) < 1_200


def test_every_figure_is_in_the_documents_as_it_is_told(played):
    stack, _ = played
    page = (RULES.parents[1] / "monitoring.md").read_text()
    rows = re.findall(r"^\| `(arcade_\w+)` \| (\w+) \| (.+?) \| (.+) \|$", page, re.MULTILINE)
    documented = {name: (kind, frozenset(re.findall(r"\w+", labels)), text) for name, kind, labels, text in rows}
    told = {}
    for family in scrape(stack).families.values():
        labels = frozenset(label for sample in family.samples for label in sample.labels) - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        told[name] = (family.type, labels, family.documentation)
    assert documented == told


def test_the_metrics_are_on_a_port_of_their_own(played):
    stack, _ = played
    assert stack.get("/metrics").status_code == 404
    port = int(stack.environment["METRICS_PORT"])
    assert httpx.get(f"http://127.0.0.1:{port}/admin/", trust_env=False).status_code == 404
    with suppress(OSError), socket.create_connection((socket.gethostbyname(socket.gethostname()), port), timeout=2):
        assert socket.gethostbyname(socket.gethostname()).startswith("127."), "it listens on the loopback alone"


def queries(panel: dict[str, Any]) -> list[str]:
    found = []
    for target in panel["targets"]:
        query = target["expr"]
        for name, value in SPAN.items():
            query = query.replace(name, value)
        found.append(query)
    return found


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def selectors(query: str) -> list[tuple[str, str]]:
    """The names of metrics in a query, each with what is asked of its labels."""
    return re.findall(r"\b(arcade_\w+)(?:\{([^}]*)\})?", query)


def test_the_dashboard_and_the_alerts_ask_for_what_is_told(played):
    stack, _ = played
    told: Told = scrape(stack)
    names = {sample.name for sample in told.samples}
    asked = [query for panel in dashboard_panels() for query in queries(panel)] + [rule["expr"] for rule in rules()]
    for query in asked:
        for name, matchers in selectors(query):
            assert name in names, query
            of_it = [sample.labels for sample in told.samples if sample.name == name]
            for label, how, value in re.findall(r'(\w+)(=~|!=|=)"([^"]*)"', matchers):
                values = {labels.get(label) for labels in of_it}
                wanted = value.split("|") if how == "=~" else [value]
                assert set(wanted) <= values, f"{query}: {label} is one of {values}"
        by = {label for group in re.findall(r"by \(([^)]*)\)", query) for label in re.split(r",\s*", group)}
        assert by <= {label for sample in told.samples for label in sample.labels} | {"instance"}, query


def test_the_dashboard_is_tidy():
    panels = json.loads((RULES.parent / "dashboard.json").read_text())["panels"]
    rows = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert rows == ["Are players well?", "Is the fleet well?", "What does it cost?", "The machinery"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = Counter(
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )
    assert max(taken.values()) == 1, "no panel lies on another"
    assert max(x for x, _ in taken) < 24
    assert all(panel["description"] for panel in dashboard_panels())


def test_every_panel_of_the_dashboard_shows_something(played):
    _, seen_by = played

    def shows(panel: dict[str, Any]) -> bool:
        return any(seen_by.ask(query) for query in queries(panel))

    for panel in dashboard_panels():
        until(lambda panel=panel: shows(panel), f"“{panel['title']}” shows something", seconds=10)
        for query in queries(panel):
            seen_by.ask(query)


def test_prometheus_takes_the_rules_and_nothing_is_wrong_while_all_is_well(played):
    _, seen_by = played
    loaded = [rule for group in seen_by.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in loaded} == {rule.get("alert") or rule["record"] for rule in rules()}
    until(lambda: all(rule["health"] == "ok" for rule in each(seen_by)), "each rule was evaluated")
    firing = seen_by.ask('ALERTS{alertstate="firing"}')
    # One of three was served cold, of three launches in all.
    assert [alert["metric"]["alertname"] for alert in firing] == []


def each(seen_by: Prometheus) -> list[dict[str, Any]]:
    return [rule for group in seen_by.get("rules")["groups"] for rule in group["rules"]]


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_alert_leads_to_what_to_do():
    page = (RULES.parents[1] / "operating.md").read_text()
    anchors = {slug(heading) for heading in re.findall(r"^#+ (.+)$", page, re.MULTILINE)}
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len(alerts) > 20
    for alert in alerts:
        file, _, anchor = alert["annotations"]["runbook"].partition("#")
        assert file == "docs/operating.md"
        assert anchor in anchors, alert["alert"]
        assert alert["labels"]["severity"] in ("page", "ticket")
    used = {alert["annotations"]["runbook"].partition("#")[2] for alert in alerts}
    runbook = page.partition("## When an alert fires")[2].partition("\n## ")[0]
    assert {slug(heading) for heading in re.findall(r"^### (.+)$", runbook, re.MULTILINE)} == used


# Last, because parts die.


def cluster_workers(stack: Stack) -> list[psutil.Process]:
    return psutil.Process(stack.pid("cluster")).children(recursive=True)


def test_nothing_runs_backwards_when_processes_are_killed(played):
    stack, _ = played
    before = scrape(stack)
    playing = next(UUID(row["id"]) for row in runs(stack) if row["state"] == "running")
    with httpx.stream("GET", f"{stack.url}/api/stream/{playing}", trust_env=False) as stream:
        lines = stream.iter_lines()
        next(lines)
        until(lambda: scrape(stack)("arcade_streams_open", topic="run") == 1, "the reader is counted")
        web = stack.kill("web")
    for worker in cluster_workers(stack)[-2:]:
        os.kill(worker.pid, signal.SIGKILL)
    metrics = stack.kill("metrics")
    until(lambda: stack.pid("web") not in (0, web), "the web server is back")
    until(lambda: stack.pid("metrics") not in (0, metrics), "the metrics are back")
    stack.wait_until_ready()
    after = scrape(stack)
    assert after("arcade_streams_open") == 0, "those that were open died with their process"
    counts = after.counts()
    backwards = {key: (value, counts.get(key)) for key, value in before.counts().items() if counts.get(key, 0) < value}
    assert not backwards
    until_ready(stack)
    until_running(stack, launch(stack))
    until(lambda: scrape(stack)("arcade_launch_seconds_count", served="staged") == 3, "one launch more is counted")
