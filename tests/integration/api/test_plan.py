"""A plan is carried out as it was seen, or not at all."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from pools import leases
from pools.console import plans
from pools.models import Fleet, FleetEvent, Pool, Sandbox
from pools.turn.act import Effects
from tests.fixtures.fleet import FleetUnderTest
from tests.fixtures.waiting import until
from tests.integration.api.test_keys import key_with

WHY = "looks right"


@pytest.fixture
def wanted(paper_fleet: FleetUnderTest, pool: Pool) -> Pool:
    """A pool that somebody wants one of, and a cloud that was listed."""
    Pool.objects.update(stage="none")
    paper_fleet.turn()
    Pool.objects.update(last_acquired_at=timezone.now(), last_acquired_by="run 3fa9")
    return pool


@pytest.fixture
def program(transactional_db: None) -> Client:
    return key_with("operate")[1]


def plan(client: Client) -> dict[str, Any]:
    return client.get("/api/pool/plan").json()


def apply(client: Client, digest: str, reason: str = WHY) -> Any:
    return client.post("/api/pool/plan/apply", {"digest": digest, "reason": reason}, content_type="application/json")


def lines(kind: str = "turn") -> list[tuple[str, str]]:
    return list(FleetEvent.objects.filter(kind=kind).exclude(actor="").values_list("actor", "message"))


def test_the_same_plan_has_the_same_digest_and_another_one_another(wanted: Pool, program: Client):
    first = plan(program)
    assert [each["kind"] for each in first["decisions"]] == ["create"]
    assert plan(program)["digest"] == first["digest"]
    Pool.objects.update(mode="paused")
    assert plan(program)["digest"] != first["digest"]


def test_what_was_seen_is_done_at_once_and_the_log_says_who_wanted_it(
    wanted: Pool, program: Client, paper_fleet: FleetUnderTest
):
    seen = plan(program)
    answer = apply(program, seen["digest"])
    assert answer.status_code == 200, answer.content
    assert answer.json() == {"digest": seen["digest"], "is_done": True, "decisions": answer.json()["decisions"]}
    assert [each["kind"] for each in answer.json()["decisions"]] == ["create"]
    assert [app["name"] for app in paper_fleet.cloud.apps()] == [Sandbox.objects.get().name]
    [(actor, message)] = lines()
    assert actor.startswith("key robot")
    assert message == f"the plan {seen['digest']} is carried out: 1 create; an operator: {WHY}"


def test_when_another_plan_is_due_by_now_nothing_is_done_and_its_digest_is_told(
    wanted: Pool, program: Client, paper_fleet: FleetUnderTest
):
    seen = plan(program)
    Pool.objects.update(mode="paused")
    refused = apply(program, seen["digest"])
    assert (refused.status_code, refused.json()["code"]) == (409, "plan_changed")
    assert refused.json()["digest"] == plan(program)["digest"]
    assert not Sandbox.objects.exists()
    assert paper_fleet.cloud.apps() == []


def test_what_only_the_cloud_knows_counts_as_well(wanted: Pool, program: Client, paper_fleet: FleetUnderTest):
    """The preview goes by the last listing, the turn by one of its own."""
    seen = plan(program)
    paper_fleet.cloud.control.make_app("sandbox-0000cafe", owner="local")
    assert apply(program, seen["digest"]).json()["code"] == "plan_changed"
    assert not Sandbox.objects.exists()
    assert not FleetEvent.objects.filter(code="turn_died").exists()


def test_a_refused_plan_leaves_the_next_turn_due_when_it_was(wanted: Pool, program: Client):
    due_at = timezone.now()
    Fleet.objects.update(due_at=due_at)
    assert apply(program, "0" * 16).status_code == 409
    assert Fleet.objects.get().due_at == due_at


def test_it_waits_for_no_turn_that_does_not_end(wanted: Pool, program: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plans, "PATIENCE_SECONDS", 0.1)
    with leases.hold("turn", 60):
        busy = apply(program, plan(program)["digest"])
    assert (busy.status_code, busy.json()["code"], busy.json()["retryable"]) == (503, "turn_busy", True)
    assert "Retry-After" in busy
    assert not Sandbox.objects.exists()


def test_a_turn_that_takes_long_goes_on_without_whoever_asked(
    wanted: Pool, program: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(plans, "LONGEST_ANSWER_SECONDS", 0.2)
    act = Effects.act

    def slowly(self: Effects, decisions: Any) -> None:
        time.sleep(1)
        act(self, decisions)

    monkeypatch.setattr(Effects, "act", slowly)
    seen = plan(program)["digest"]
    answer = apply(program, seen)
    assert (answer.status_code, answer.json()["is_done"]) == (202, False)
    assert apply(program, seen).json()["code"] == "turn_busy"
    turned_at = Fleet.objects.get().turned_at
    until(lambda: Fleet.objects.get().turned_at != turned_at, "the turn ends")
    assert Sandbox.objects.count() == 1


@pytest.mark.parametrize(("reason", "digest", "code"), [(" ", "0" * 16, "reason_needed"), (WHY, "x", "invalid")])
def test_what_is_missing_is_named(program: Client, reason: str, digest: str, code: str):
    answer = apply(program, digest, reason)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_who_may_only_read_applies_nothing(wanted: Pool):
    reader = key_with("read")[1]
    assert apply(reader, plan(reader)["digest"]).json()["code"] == "scope_missing"
    assert not Sandbox.objects.exists()
