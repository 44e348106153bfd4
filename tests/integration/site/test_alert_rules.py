"""Each alert fires when it should, and keeps quiet when it need not: told to promtool as series over time."""

import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.fixtures.binaries import need
from tests.fixtures.metrics import RULES

LAUNCHES = 'arcade_launch_seconds_count{served="%s"}'
WARM = 'arcade_warm_launches_total{outcome="%s"}'


class Case(NamedTuple):
    """Series that make an alert fire after so long, and such that just do not."""

    alert: str
    firing: dict[str, str]
    quiet: dict[str, str]
    after: str = "10m"


def steady(name: str, bad: float, good: float, after: str = "10m") -> tuple[dict[str, str], dict[str, str], str]:
    """A gauge that stays so."""
    return {name: f"{bad}x800"}, {name: f"{good}x800"}, after


def launches(in_time: int, of: int, otherwise: str = "late") -> dict[str, str]:
    """A minute's, for half a day."""
    return {WARM % otherwise: f"0+{of - in_time}x800", WARM % "in_time": f"0+{in_time}x800"}


UP = "arcade_database_up"
CASES = [
    Case("WarmLaunchesLateFast", launches(80, 100), launches(95, 100), "70m"),
    # Of five an hour, one that is late says nothing.
    Case(
        "WarmLaunchesLateFast",
        launches(80, 100),
        {WARM % "late": "0+0.1x800", WARM % "in_time": "0x800"},
        "70m",
    ),
    Case("WarmLaunchesLateFast", launches(80, 100, "failed"), launches(95, 100, "failed"), "70m"),
    Case("WarmLaunchesLateFast", launches(80, 100, "refused"), launches(95, 100, "refused"), "70m"),
    Case("WarmLaunchesLateSlow", launches(90, 100), launches(99, 100), "390m"),
    Case("OrphanOld", *steady("arcade_oldest_orphan_age_seconds", 301, 300)),
    Case(
        "WarmHitRateLow",
        {LAUNCHES % "staged": "0+2x800", LAUNCHES % "waited": "0+3x800"},
        {LAUNCHES % "staged": "0+3x800", LAUNCHES % "waited": "0+2x800", LAUNCHES % "cold": "0+9x800"},
        "60m",
    ),
    Case("LaunchesWaitLong", *steady('arcade_oldest_wait_seconds{line="pool"}', 121, 119)),
    Case(
        "LaunchesFail",
        {'arcade_run_ends_total{code="deploy_failed"}': "0+1x800"},
        {'arcade_run_ends_total{code="time_up"}': "0+9x800", 'arcade_run_ends_total{code="no_place"}': "0x800"},
        "30m",
    ),
    Case(
        "GamesDoNotAnswer",
        {
            'arcade_proxy_requests_total{outcome="dead"}': "0+1x800",
            'arcade_proxy_requests_total{outcome="passed"}': "0+9x800",
        },
        {
            'arcade_proxy_requests_total{outcome="dead"}': "0+1x800",
            'arcade_proxy_requests_total{outcome="passed"}': "0+99x800",
        },
        "30m",
    ),
    Case("TurnsDead", *steady("arcade_turn_age_seconds", 200, 90)),
    Case("ListingStale", *steady("arcade_listing_age_seconds", 301, 90)),
    Case("TokenRefused", *steady("arcade_token_refused", 1, 0)),
    Case("DeletesRefused", *steady("arcade_deletions_failing_seconds", 121, 60)),
    Case("DeletionsStopped", *steady("arcade_deletions_stopped", 1, 0)),
    Case("DeletionOverdue", *steady("arcade_oldest_deletion_age_seconds", 601, 90)),
    Case("BreakerOpen", *steady('arcade_pool_breaker{pool="python",state="open"}', 1, 0)),
    Case(
        "FleetDrifts",
        {'arcade_fleet_rows{instance="a",verdict="lost"}': "1x800"},
        {
            'arcade_fleet_rows{instance="a",verdict="lost"}': "1x5 0x800",
            'arcade_fleet_rows{instance="a",verdict="in_step"}': "9x800",
        },
        "30m",
    ),
    Case("RequestsRunOut", *steady('arcade_cloud_budget_left{share="listing"}', 399, 400)),
    Case(
        "BudgetNearlySpent",
        {"arcade_spent_usd": "91x800", "arcade_budget_usd": "100x800"},
        {"arcade_spent_usd": "91x800", "arcade_budget_usd": "0x800"},
    ),
    Case("NoMetrics", {}, {UP: "1x800"}),
    Case("NoMetrics", {UP: "1 1 _x800"}, {UP: "0x800"}),
    # One machine of two.
    Case(
        "NoMetrics",
        {UP: "1x800", 'up{job="arcade",instance="a"}': "1x800", 'up{job="arcade",instance="b"}': "1x3 0x800"},
        {UP: "1x800", 'up{job="arcade",instance="a"}': "1x800", 'up{job="other",instance="b"}': "0x800"},
    ),
    Case("DatabaseUnreadable", *steady('arcade_database_up{instance="a"}', 0, 1)),
    Case("ClusterDead", *steady("arcade_clusters", 0, 1)),
    Case("QueueOld", *steady('arcade_queue_oldest_age_seconds{queue="turns"}', 61, 59)),
    Case("DatabaseLocks", *steady("arcade_database_lock_waits", 11, 3)),
    Case(
        "DatabaseLocks",
        {"arcade_database_lock_timeouts_total": "0+1x800"},
        {"arcade_database_lock_timeouts_total": "3x800"},
    ),
    Case(
        "DiskNearlyFull",
        {'arcade_disk_free_bytes{instance="a"}': "9x800", 'arcade_disk_size_bytes{instance="a"}': "100x800"},
        {'arcade_disk_free_bytes{instance="a"}': "11x800", 'arcade_disk_size_bytes{instance="a"}': "100x800"},
    ),
]


def as_test(case: Case, series: dict[str, str], *, fires: bool) -> dict[str, object]:
    found = [{"labels": f'{{alertname="{case.alert}"}}', "value": 1}] if fires else []
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'max by (alertname) (ALERTS{{alertname="{case.alert}",alertstate="firing"}})',
                "eval_time": case.after,
                "exp_samples": found,
            }
        ],
    }


@pytest.mark.parametrize("alert", sorted({case.alert for case in CASES}))
def test_an_alert_fires_when_it_should_and_only_then(alert: str, tmp_path: Path):
    mine = [case for case in CASES if case.alert == alert]
    tests = [as_test(case, case.firing, fires=True) for case in mine]
    tests += [as_test(case, case.quiet, fires=False) for case in mine]
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run([need("promtool"), "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_its_cases():
    groups = yaml.safe_load(RULES.read_text())["groups"]
    assert {case.alert for case in CASES} == {
        rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule
    }


def test_promtool_takes_the_rules():
    done = subprocess.run([need("promtool"), "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
