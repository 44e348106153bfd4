"""What no listing tells, one request does: how an app is, by its id, and whether a name is free."""

from __future__ import annotations

import pytest

from pools.models import Fleet, Sandbox, State

pytestmark = pytest.mark.django_db(transaction=True)
HTML_400 = {"operation": "propose", "body": "html", "status": 400}


def age_seconds(fleet) -> float:
    sandbox = Sandbox.objects.order_by("requested_at").first()
    return (fleet.clock.now() - sandbox.requested_at).total_seconds()


def test_a_launch_goes_on_while_lists_fail(paper_fleet, pool):
    """Its app's id is known, and nobody asked for it: "about 6 s left" for two minutes."""
    paper_fleet.acquire(pool)
    paper_fleet.turn()
    [sandbox] = Sandbox.objects.all()
    assert sandbox.app_id
    paper_fleet.cloud.fault(operation="list", status=500)
    for _ in range(30):
        paper_fleet.turn()
        paper_fleet.clock.advance(1)
        if paper_fleet.states() == ["ready"]:
            break
    assert paper_fleet.states() == ["ready"]
    assert Fleet.get().listing_error
    assert age_seconds(paper_fleet) < 15
    assert paper_fleet.cloud.state()["operations"]["get"] <= 2


def test_a_first_deployment_that_failed_is_known_at_once_though_lists_fail(paper_fleet, pool):
    paper_fleet.cloud.fault(operation="create", times=1, error="ImagePullFailed")
    paper_fleet.cloud.fault(operation="list", skip=1, status=500)
    paper_fleet.acquire(pool)
    paper_fleet.turns(15)
    sandbox = Sandbox.objects.order_by("requested_at").first()
    assert sandbox.state == State.DELETING
    assert (sandbox.failure_kind, "ImagePullFailed" in sandbox.end_reason) == ("image", True)


def test_a_first_deployment_that_failed_and_that_the_list_does_not_mention_is_asked_about(
    paper_fleet, pool, monkeypatch
):
    """The list showed an app without deployments for ten minutes; then it was "stuck in an unknown phase"."""
    from pools.cloud import app_reader

    paper_fleet.cloud.fault(operation="create", times=1, error="ImagePullFailed")
    read = app_reader.read_app

    def without_deployments(data, now):
        if "in_progress_deployment" not in data or "asked" in data:
            return read(data, now)
        return read({key: value for key, value in data.items() if not key.endswith("_deployment")}, now)

    def asked(data, deployment):
        return {**data, "in_progress_deployment": deployment, "asked": True}

    monkeypatch.setattr(app_reader, "has_deployment", lambda data: False)
    monkeypatch.setattr(app_reader, "with_deployment", asked)
    monkeypatch.setattr(app_reader, "read_app", without_deployments)
    paper_fleet.acquire(pool)
    paper_fleet.turns(20)
    sandbox = Sandbox.objects.order_by("requested_at").first()
    assert "ImagePullFailed" in sandbox.end_reason
    assert (sandbox.delete_requested_at - sandbox.requested_at).total_seconds() < 20


def test_a_taken_name_that_is_free_is_asked_for_again(paper_fleet, pool):
    """A 409 said that it existed: it was waited for ten minutes long."""
    paper_fleet.cloud.fault(operation="create", times=1, status=409, message="App name already exists")
    paper_fleet.acquire(pool)
    paper_fleet.turns(30)
    assert paper_fleet.states() == ["ready"]
    assert Sandbox.objects.count() == 1
    assert age_seconds(paper_fleet) < 40
    assert "it does not exist: its name was said to be taken, and then to be free" in paper_fleet.log("trouble")


def test_a_name_that_stays_taken_and_free_fails_soon(paper_fleet, pool):
    paper_fleet.cloud.fault(operation="create", status=409, message="App name already exists")
    paper_fleet.acquire(pool)
    paper_fleet.turns(60)
    sandbox = Sandbox.objects.order_by("requested_at").first()
    assert sandbox.state == State.DELETED
    assert (sandbox.delete_requested_at - sandbox.requested_at).total_seconds() < 60


def test_an_edges_400_does_not_free_a_name(paper_fleet, pool):
    """Our app existed, and its place was given away."""
    paper_fleet.cloud.fault(operation="create", after=True, status=500)
    paper_fleet.cloud.fault(operation="list", stale_seconds=3600)
    paper_fleet.cloud.fault(**HTML_400)
    paper_fleet.acquire(pool)
    paper_fleet.turns(60, seconds_apart=5)
    assert paper_fleet.cloud.state()["most_apps"] == 1
    assert paper_fleet.log("deleted") == []


def test_a_single_refusal_of_the_token_costs_no_launch(paper_fleet, pool):
    paper_fleet.acquire(pool)
    paper_fleet.cloud.fault(operation="list", times=1, status=401)
    paper_fleet.cloud.fault(operation="create", times=1, status=401)
    paper_fleet.turns(30)
    assert paper_fleet.states() == ["ready"]
    assert Sandbox.objects.count() == 1


@pytest.mark.parametrize("operation", ["list", "create"])
@pytest.mark.parametrize("body", ["html", "empty"])
def test_an_edges_403_for_a_while_costs_no_launch(paper_fleet, pool, operation, body):
    """Launches failed within 2 s: "DigitalOcean refuses the orchestrator's token"."""
    paper_fleet.acquire(pool)
    fault = paper_fleet.cloud.fault(operation=operation, status=403, body=body)
    paper_fleet.turns(10)
    assert Fleet.get().token_refused_at is None
    paper_fleet.cloud.control.clear(fault)
    paper_fleet.turns(30)
    assert paper_fleet.states() == ["ready"]
    assert Sandbox.objects.count() == 1


def test_a_token_that_is_refused_for_good_is_told_apart(paper_fleet, pool):
    paper_fleet.acquire(pool)
    paper_fleet.cloud.control.settings(tokens=["another"])
    paper_fleet.turns(2)
    assert Fleet.get().token_refused_at is not None
