"""What App Platform says about an app, and what we make of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pools.cloud.app_reader import Unreadable, read_app, read_phase, read_proposal
from pools.cloud.records import UNREADABLE, App, Phase, Proposal

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def app(**fields: Any) -> App:
    return read_app({"id": "a1", "spec": {"name": "sandbox-1"}, **fields}, NOW)


def owned_by(*places: dict) -> App:
    return app(spec={"name": "sandbox-1", **{key: value for place in places for key, value in place.items()}})


MARK = {"envs": [{"key": "OTHER", "value": "x"}, {"key": "ORCHESTRATOR_ID", "value": "staging", "type": "GENERAL"}]}


def test_a_fresh_app_waits_for_its_build():
    fresh = app(
        created_at="2026-01-01T10:00:00Z",
        updated_at="2026-01-01T10:00:01.123456789Z",
        region={"slug": "syd", "label": "Sydney"},
        pending_deployment={"id": "d1", "phase": "PENDING_BUILD"},
        spec={"name": "sandbox-1", "services": [{"name": "sandbox", "instance_size_slug": "apps-s-1vcpu-1gb"}]},
    )
    assert fresh == App(
        id="a1",
        name="sandbox-1",
        owner=None,
        phase=Phase.PENDING_BUILD,
        url=None,
        region="syd",
        size="apps-s-1vcpu-1gb",
        created_at=datetime(2026, 1, 1, 10, tzinfo=UTC),
        updated_at=datetime(2026, 1, 1, 10, 0, 1, 123456, tzinfo=UTC),
        failure=None,
    )


def test_a_pending_deployment_that_is_still_there_does_not_hide_the_active_one():
    seen = app(
        active_deployment={"id": "d1", "phase": "ACTIVE"}, pending_deployment={"id": "d1", "phase": "PENDING_BUILD"}
    )
    assert seen.phase is Phase.ACTIVE
    assert seen.failure is None


def test_a_later_failed_deployment_does_not_take_down_an_active_app():
    seen = app(active_deployment={"phase": "ACTIVE"}, in_progress_deployment={"phase": "ERROR"})
    assert (seen.phase, seen.failure) == (Phase.ACTIVE, None)


def test_an_active_deployment_need_not_name_its_phase():
    assert app(active_deployment={"id": "d1"}).phase is Phase.ACTIVE


@pytest.mark.parametrize("place", ["pending_deployment", "in_progress_deployment", "active_deployment"])
@pytest.mark.parametrize("phase", [Phase.ERROR, Phase.CANCELED])
def test_a_failed_first_deployment_is_seen_wherever_it_stands(place, phase):
    seen = app(**{place: {"id": "d1", "phase": phase.value}})
    assert seen.phase is phase
    assert seen.failure


def test_a_failure_outweighs_the_stale_record_beside_it():
    seen = app(in_progress_deployment={"phase": "ERROR"}, pending_deployment={"phase": "PENDING_BUILD"})
    assert seen.phase is Phase.ERROR


def test_of_two_records_the_further_one_counts():
    seen = app(in_progress_deployment={"phase": "DEPLOYING"}, pending_deployment={"phase": "PENDING_BUILD"})
    assert seen.phase is Phase.DEPLOYING


def test_a_failure_is_told_with_the_innermost_reason():
    progress = {
        "error_steps": 1,
        "steps": [
            {"name": "build", "status": "SUCCESS"},
            {
                "name": "deploy",
                "status": "ERROR",
                "reason": {"code": "DeployFailed"},
                "steps": [{"status": "ERROR", "reason": {"code": "ImagePullFailed", "message": "manifest unknown"}}],
            },
        ],
    }
    seen = app(pending_deployment={"phase": "ERROR", "progress": progress})
    assert seen.failure == "The deployment failed: ImagePullFailed: manifest unknown"


@pytest.mark.parametrize(
    ("phase", "failure"),
    [
        ("ERROR", "The deployment failed without a reason."),
        ("CANCELED", "The deployment was canceled without a reason."),
    ],
)
def test_a_failure_without_a_reason_is_a_sentence_all_the_same(phase, failure):
    assert app(pending_deployment={"phase": phase}).failure == failure


@pytest.mark.parametrize("phase", ["SOMETHING_NEW", "", None, 7, ["ACTIVE"]])
def test_a_phase_of_the_future_is_unknown(phase):
    assert app(in_progress_deployment={"phase": phase}).phase is Phase.UNKNOWN
    assert read_phase(phase) is Phase.UNKNOWN


def test_an_app_without_any_deployment_is_unknown():
    assert app().phase is Phase.UNKNOWN


def test_the_url_is_the_live_one_before_the_default_one_before_none():
    assert app().url is None
    assert app(default_ingress="https://x.example/").url == "https://x.example"
    assert app(default_ingress="https://x.example", live_url="https://y.example/").url == "https://y.example"
    assert app(default_ingress="https://x.example", live_url="").url == "https://x.example"


@pytest.mark.parametrize(
    "url", ["https://[x", "https://x.example:port", "https://x.example:99999", "https://", "https://:80"]
)
def test_an_address_that_is_none_is_left_out(url):
    """It ended every turn, for as long as its app was listed."""
    assert app(live_url=url).url is None
    assert app(live_url="javascript:alert(1)").url is None


@pytest.mark.parametrize("places", [({"services": [{}, MARK]},), (MARK,), ({"workers": [MARK]},), ({"jobs": [MARK]},)])
def test_our_mark_is_found_wherever_it_is(places):
    assert owned_by(*places).owner == "staging"


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"services": None},
        {"services": [{"envs": None}]},
        {"services": [{"envs": [{"key": "ORCHESTRATOR_ID"}]}]},
        {"services": [{"envs": [{"key": "ORCHESTRATOR_ID", "value": ""}]}]},
        {"services": ["?"], "envs": "?"},
    ],
)
def test_an_app_without_our_mark_is_nobodys(spec):
    assert owned_by(spec).owner is None


@pytest.mark.parametrize("created_at", [None, "", "yesterday", 7])
def test_an_app_that_does_not_say_when_it_was_made_counts_as_just_made(created_at):
    assert app(created_at=created_at).created_at == NOW


def test_a_time_without_a_zone_is_utc():
    assert app(created_at="2026-01-01T10:00:00").created_at == datetime(2026, 1, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize("data", [None, {}, [], "", {"id": ""}, {"id": 7}, {"id": None, "spec": {}}, {"id": ".."}])
def test_an_app_without_an_id_can_not_be_read(data):
    with pytest.raises(Unreadable, match="without an id"):
        read_app(data, NOW)


WORDS = st.sampled_from(["", "ACTIVE", "ERROR", "phase", "envs", "key", "value", "ORCHESTRATOR_ID", "steps", "é"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    "spec",
    "active_deployment",
    "pending_deployment",
    "in_progress_deployment",
    "region",
    "live_url",
    "created_at",
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    fields=st.dictionaries(st.sampled_from(FIELDS), JSON),
    spec=st.dictionaries(st.sampled_from(("envs", "services")), JSON),
)
def test_no_shape_of_json_breaks_the_reader(fields, spec):
    seen = read_app({"id": "a1", "spec": spec, **fields}, NOW)
    assert seen.id == "a1"
    assert isinstance(seen.phase, Phase)
    assert seen.created_at.tzinfo is not None


def test_a_proposal_says_whether_the_name_is_free():
    assert read_proposal({"app_name_available": True, "app_cost": 12}) == Proposal(name_is_available=True)
    assert read_proposal({"app_name_available": False}) == Proposal(name_is_available=False)
    with pytest.raises(Unreadable):
        read_proposal({"app_cost": 12})


@pytest.mark.parametrize("value", ["EV[1:c2VjcmV0]", "EV[1:" + "x" * 200 + "]"])
def test_a_mark_that_the_cloud_encrypts_says_nothing(value):
    """Cut to what is kept, it read as somebody else's."""
    seen = owned_by(
        {"envs": [{"key": key, "value": value} for key in ("ORCHESTRATOR_ID", "ORCHESTRATOR_INSTALLATION")]}
    )
    assert (seen.owner, seen.installation) == (UNREADABLE, UNREADABLE)


def test_an_installation_is_read_where_the_mark_is():
    assert (
        owned_by({"services": [{"envs": [{"key": "ORCHESTRATOR_INSTALLATION", "value": "f00"}]}]}).installation == "f00"
    )
    assert owned_by(MARK).installation is None
