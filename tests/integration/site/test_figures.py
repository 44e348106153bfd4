"""What the metrics tell of a fleet in trouble is what is in the database, at a cost that does not grow with it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.databases import Database

PROBE = Path(__file__).with_name("figures_probe.py").read_text()


@pytest.fixture
def probed(database: Database) -> dict:
    """What is told of a fleet of few, and what that costs then and in a larger one."""
    database.environment |= {"METRICS_PORT": "9464", "MAX_TOTAL_SANDBOXES": "20000"}
    found = json.loads(database.answer(PROBE, "400", "1000").splitlines()[-1])
    found["vendor"] = database.vendor
    print({name: value for name, value in found.items() if name != "told"})
    return found


def value_of(found: dict) -> Callable[..., float]:
    def told(name: str, **labels: str) -> float:
        values = [value for each, its, value in found["told"] if each == name and labels.items() <= its.items()]
        assert values, f"nothing is told of {name} {labels}"
        return sum(values)

    return told


def test_a_fleet_in_trouble_is_told_as_it_is(probed):
    told = value_of(probed)
    states = ("requested", "creating", "staging", "ready", "unseen", "in_use", "deleting")
    counts = {state: told("arcade_pool_sandboxes", pool="python", state=state) for state in states}
    assert counts == {
        "requested": 0, "creating": 1, "staging": 0, "ready": 2, "unseen": 1, "in_use": 3, "deleting": 1,
    }  # fmt: skip
    assert told("arcade_pool_desired", pool="python") == 4, "its target, and two that wait"
    assert told("arcade_pool_eligible", pool="python") == 2
    assert told("arcade_pool_failed_creates", pool="python") == 3, "one more failed too long ago"
    assert told("arcade_pool_breaker", state="open") == 1
    assert told("arcade_pool_breaker", state="closed") == 0
    assert told("arcade_sandboxes") == 8 + 1, "with the other installation's"
    assert told("arcade_orphans") == 2
    assert told("arcade_oldest_orphan_age_seconds") == pytest.approx(400, abs=60)
    assert told("arcade_oldest_deletion_age_seconds") == pytest.approx(700, abs=60)
    assert told("arcade_deletions_stopped") == told("arcade_token_refused") == 1
    assert told("arcade_deletions_failing_seconds") == pytest.approx(200, abs=60)
    assert told("arcade_listing_age_seconds") == pytest.approx(500, abs=60)
    assert told("arcade_turn_age_seconds") == pytest.approx(400, abs=60)
    assert told("arcade_runs", state="acquiring") == 3
    assert told("arcade_runs_waiting", line="pool") == 2
    assert told("arcade_oldest_wait_seconds", line="pool") == pytest.approx(90, abs=60)
    assert told("arcade_runs_waiting", line="place") == 1
    assert told("arcade_alarm_raised") == told("arcade_alarm_raised", code="orphans") == 1
    assert told("arcade_queue_tasks", queue="tasks") == 1
    assert told("arcade_queue_tasks", queue="turns") == 0
    assert told("arcade_queue_oldest_age_seconds", queue="tasks") < 60
    assert told("arcade_clusters") == 1
    assert told("arcade_cluster_workers", state="busy") == 3
    assert told("arcade_fleet_rows") > 8
    assert told("arcade_spent_usd") > 0
    assert told("arcade_database_statement_seconds_count") > 0
    assert (told("arcade_database_connect_seconds_count") > 0) == (probed["vendor"] == "postgresql")
    assert told("arcade_cost_usd_per_hour", use="in_use") == pytest.approx(3 * 12 / 672)
    # In a larger fleet it takes as many statements.
    assert probed["many"]["statements"] == probed["few"]["statements"]
    assert probed["many"]["statements"] <= 30


def test_without_a_database_the_counts_are_told_and_that_it_is_away(migrated_database: Database):
    migrated_database.environment |= {"METRICS_PORT": "9464", "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"}
    told = migrated_database.answer("""
from orchestrator_site.metrics import told
from pools import meters
from runs.metrics import PROXIED
meters.begin()
PROXIED.add("passed")
print(told.TEXT.get().decode())
""")
    assert "arcade_database_up 0.0" in told
    assert 'arcade_proxy_requests_total{outcome="passed"} 1.0' in told
    assert "\narcade_turn_age_seconds " not in told


@pytest.mark.parametrize("trouble", ["time.sleep(60)", "1 / 0"], ids=["hangs", "fails"])
def test_a_database_that_hangs_or_a_figure_that_fails_costs_itself_alone(migrated_database: Database, trouble: str):
    migrated_database.environment["METRICS_PORT"] = "9464"
    seconds, told = migrated_database.answer(f"""
import time
from orchestrator_site.metrics import told
from pools import meters
from runs import figures
from runs.metrics import PROXIED
meters.begin()
PROXIED.add("passed")
figures.tell = lambda now: {trouble}
began = time.monotonic()
text = told.TEXT.get().decode()
print(time.monotonic() - began)
print(text)
""").split("\n", 1)
    assert float(seconds) < 40
    assert "arcade_database_up 0.0" in told
    assert 'arcade_proxy_requests_total{outcome="passed"} 1.0' in told
    assert "\narcade_runs{" not in told
    assert ("\narcade_turn_age_seconds " in told) == (trouble == "1 / 0")
