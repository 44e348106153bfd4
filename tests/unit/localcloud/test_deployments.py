"""How far a deployment has come, from the time alone."""

from __future__ import annotations

from typing import Any

import pytest

from pools.localcloud.apps import App, Deployment

BEGAN = 1000.0


def app(*, paper: bool = True, repository: str = "sandbox-python-service", **deployment: Any) -> App:
    spec = {"name": "sandbox-1", "region": "syd", "services": [{"name": "a", "image": {"repository": repository}}]}
    return App("id", spec, BEGAN, [Deployment(BEGAN, 10.0, spec, **deployment)], paper)


def phases(made: App, *times: float) -> list[str]:
    seen = []
    for time in times:
        made.settle(BEGAN + time)
        seen.append(made.newest.phase(BEGAN + time))
    return seen


def test_the_phases_come_in_order():
    assert phases(app(), 0, 2, 4, 9, 10, 99) == [
        "PENDING_BUILD",
        "BUILDING",
        "PENDING_DEPLOY",
        "DEPLOYING",
        "ACTIVE",
        "ACTIVE",
    ]


@pytest.mark.parametrize("phase", ["PENDING_BUILD", "BUILDING", "PENDING_DEPLOY", "DEPLOYING"])
def test_a_stuck_one_stays_where_it_is(phase: str):
    assert phases(app(stuck_in=phase), 10, 10_000) == [phase, phase]


def test_one_that_fails_does_so_at_its_end_and_never_has_an_address():
    failed = app(error="no such image")
    assert phases(failed, 9, 10) == ["DEPLOYING", "ERROR"]
    assert not failed.as_json(BEGAN + 20, "http://base").keys() & {"live_url", "active_deployment"}


def test_a_real_one_waits_for_its_agent():
    real = app(paper=False)
    assert phases(real, 50) == ["DEPLOYING"]
    real.answers = True
    assert phases(real, 51) == ["ACTIVE"]
    real.answers = False
    assert phases(real, 52) == ["ACTIVE"], "an agent that died does not take its deployment back"


def test_the_past_is_seen_as_it_was():
    """For stale listings."""
    active = app()
    active.settle(BEGAN + 20)
    assert "live_url" in active.as_json(BEGAN + 20, "http://base")
    assert active.as_json(BEGAN + 4, "http://base")["in_progress_deployment"]["phase"] == "PENDING_DEPLOY"


def test_a_new_deployment_serves_only_when_it_is_active_itself():
    twice = app()
    twice.settle(BEGAN + 10)
    first = twice.newest
    second = twice.deploy(10.0, "manual", BEGAN + 20)
    seen = twice.as_json(BEGAN + 22, "http://base")
    assert (seen["active_deployment"]["id"], seen["in_progress_deployment"]["id"]) == (first.id, second.id)
    twice.settle(BEGAN + 30)
    assert twice.as_json(BEGAN + 30, "http://base")["active_deployment"]["id"] == second.id
    assert first.outcome == "SUPERSEDED"


@pytest.mark.parametrize("time", [0, 2, 4, 9, 10])
@pytest.mark.parametrize("error", ["", "no such image"])
def test_the_steps_add_up(time: float, error: str):
    made = app(error=error)
    made.settle(BEGAN + time)
    progress = made.newest.as_json(BEGAN + time)["progress"]
    counted = sum(progress[f"{kind}_steps"] for kind in ("pending", "running", "success", "error"))
    assert counted == progress["total_steps"]


def test_an_app_is_kept_and_read_again_as_it_is():
    made = app()
    made.settle(BEGAN + 10)
    again = App.from_record(made.as_record())
    assert again == made
