"""The same claims of the embedded cloud and of the simulation's account: what is proved on one is worth as much on the
other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from pools.cloud.agent_transport import AgentWire
from pools.cloud.app_platform import DigitalOcean
from pools.cloud.app_spec import app_spec
from pools.cloud.budget import RequestBudget
from pools.cloud.errors import CloudUnavailable, IncompleteListing, InvalidSpec, NameTaken, OverQuota, RateLimited
from pools.cloud.records import App, AppSpec, Phase
from tests.fixtures.catalog import MakeSandbox
from tests.fixtures.local_cloud import LocalCloudProcess
from tests.fixtures.simulated import ChosenWorld
from tests.fixtures.waiting import until
from tests.sim.account import install

# One name for the same trouble: what the embedded cloud is told, and the simulation's fault.
TROUBLE: dict[str, tuple[dict[str, Any], str]] = {
    "lost after": ({"reset": True, "after": True}, "cloud-lost-after"),
    "lost before": ({"status": 500}, "cloud-5xx"),
    "html": ({"body": "html"}, "cloud-html-ok"),
    "empty answer": ({"body": "empty"}, "cloud-empty"),
    "odd answer": ({"body": "odd"}, "cloud-odd"),
    "slow down": ({"status": 429, "retry_after": 40}, "cloud-429"),
    "torn list": ({"operation": "list", "omit": "0000$", "total": 3}, "list-torn"),
    "empty list": ({"operation": "list", "empty": True, "total": 0}, "list-empty"),
    "hidden marks": ({"operation": "list", "marks": "encrypted"}, "list-marks-hidden"),
    "full account": ({"operation": "create", "quota": 0}, "create-full"),
    "failed deployment": ({"operation": "create", "error": "no such image"}, "deploy-fails"),
    "lingers": ({"operation": "delete", "linger_seconds": 3600}, "gone-lingers"),
    "name freed late": ({"operation": "delete", "name_taken_seconds": 3600}, "name-freed-late"),
}


@dataclass
class Tried:
    """A cloud, and the trouble that it can be told to make once."""

    cloud: DigitalOcean
    make: Callable[..., object]
    wait: Callable[[float], object]


@pytest.fixture(params=["embedded", "simulated"])
def tried(request: pytest.FixtureRequest) -> Tried:
    if request.param == "embedded":
        process: LocalCloudProcess = request.getfixturevalue("paper_cloud")
        cloud = DigitalOcean(process.token, process.url)
        return Tried(cloud, lambda name, times=1: process.fault(**TROUBLE[name][0], times=times), lambda _: None)
    request.getfixturevalue("simulated_account")
    world: ChosenWorld = request.getfixturevalue("chosen_world")
    cloud = DigitalOcean("a-token", budget=RequestBudget(clock=world.seconds), now=world.seconds)
    return Tried(cloud, lambda name, times=1: world.strike(TROUBLE[name][1], times), world.sleep)


def listed(tried: Tried, name: str) -> App | None:
    tried.wait(10)  # a new app may come into the list a little late
    return next((app for app in tried.cloud.apps() if app.name == name), None)


def when_over(tried: Tried, app: App) -> App:
    def over() -> App | None:
        tried.wait(10)
        found = tried.cloud.get(app.id)
        assert found is not None
        return found if found.phase in (Phase.ACTIVE, Phase.ERROR) and (found.url or found.failure) else None

    return until(over, "the deployment is over", seconds=3600)


def test_an_app_is_shown_as_what_was_asked_for(tried: Tried, spec: AppSpec):
    spec = replace(spec, installation="5" * 32)
    app = when_over(tried, tried.cloud.create(spec))
    assert (app.name, app.owner, app.installation) == (spec.name, spec.owner, spec.installation)
    assert (app.region, app.size, app.phase) == ("syd", spec.size, Phase.ACTIVE)
    assert listed(tried, spec.name) == replace(app, updated_at=listed(tried, spec.name).updated_at)


def test_a_name_is_given_once(tried: Tried, spec: AppSpec):
    app = tried.cloud.create(spec)
    assert tried.cloud.propose(spec).name_is_available is False
    with pytest.raises(NameTaken):
        tried.cloud.create(spec)
    assert tried.cloud.delete(app.id) is True
    tried.wait(10)
    assert tried.cloud.propose(spec).name_is_available is True
    assert tried.cloud.create(spec).id != app.id


def test_what_is_gone_is_gone(tried: Tried, spec: AppSpec):
    app = tried.cloud.create(spec)
    assert tried.cloud.delete(app.id) is True
    tried.wait(10)
    assert tried.cloud.delete(app.id) is False
    assert tried.cloud.get(app.id) is None
    assert tried.cloud.apps() == []


@pytest.mark.parametrize("wrong", [{"region": "mars"}, {"size": "huge"}])
def test_a_spec_that_can_t_be_is_refused(wrong: dict[str, str], tried: Tried, spec: AppSpec):
    with pytest.raises(InvalidSpec):
        tried.cloud.create(replace(spec, **({"region": "xyz"} if "region" in wrong else wrong)))


def test_a_create_whose_answer_is_lost_has_made_the_app(tried: Tried, spec: AppSpec):
    tried.make("lost after")
    with pytest.raises(CloudUnavailable):
        tried.cloud.create(spec)
    assert listed(tried, spec.name) is not None


def test_a_create_that_never_came_to_the_cloud_has_made_nothing(tried: Tried, spec: AppSpec):
    tried.make("lost before")
    with pytest.raises(CloudUnavailable):
        tried.cloud.create(spec)
    assert listed(tried, spec.name) is None


def test_a_delete_whose_answer_is_lost_has_deleted(tried: Tried, spec: AppSpec):
    app = tried.cloud.create(spec)
    tried.make("lost after")
    with pytest.raises(CloudUnavailable):
        tried.cloud.delete(app.id)
    tried.wait(10)
    assert tried.cloud.delete(app.id) is False


@pytest.mark.parametrize("answer", ["html", "empty answer", "odd answer"])
def test_a_garbled_answer_is_neither_an_app_nor_its_absence(answer: str, tried: Tried, spec: AppSpec):
    app = tried.cloud.create(spec)
    tried.make(answer)
    with pytest.raises(CloudUnavailable):
        tried.cloud.get(app.id)
    assert tried.cloud.get(app.id) is not None


def test_a_429_is_heard(tried: Tried):
    tried.make("slow down")
    for _ in range(2):
        with pytest.raises(RateLimited) as refused:
            tried.cloud.apps()
    assert refused.value.retry_after_seconds is not None
    assert 0 < refused.value.retry_after_seconds <= 60


def test_a_torn_list_is_no_list(tried: Tried, spec: AppSpec):
    for number in range(3):
        tried.cloud.create(replace(spec, name=f"sandbox-{number}0000000"))
    tried.wait(10)
    tried.make("torn list", times=4)  # a short one is read again at once, each time in two requests
    with pytest.raises(IncompleteListing):
        tried.cloud.apps()


def test_an_empty_list_looks_like_any_other(tried: Tried, spec: AppSpec):
    tried.cloud.create(spec)
    tried.wait(10)
    tried.make("empty list")
    assert tried.cloud.apps() == []
    assert listed(tried, spec.name) is not None


def test_marks_may_be_hidden(tried: Tried, spec: AppSpec):
    tried.cloud.create(spec)
    tried.wait(10)
    tried.make("hidden marks")
    assert [app.owner for app in tried.cloud.apps()] == ["(unreadable)"]


def test_a_full_account_says_so(tried: Tried, spec: AppSpec):
    tried.make("full account")
    with pytest.raises(OverQuota):
        tried.cloud.create(spec)


def test_a_failed_deployment_says_why(tried: Tried, spec: AppSpec):
    tried.make("failed deployment")
    app = when_over(tried, tried.cloud.create(spec))
    assert app.phase is Phase.ERROR
    assert (app.failure or "").startswith("The deployment failed: ")


def test_a_deleted_app_may_linger(tried: Tried, spec: AppSpec):
    app = tried.cloud.create(spec)
    tried.wait(10)
    tried.make("lingers")
    assert tried.cloud.delete(app.id) is True
    assert [app.name for app in tried.cloud.apps()] == [spec.name]
    assert tried.cloud.delete(app.id) is True
    with pytest.raises(NameTaken):
        tried.cloud.create(spec)


def test_a_name_may_be_freed_late(tried: Tried, spec: AppSpec):
    app = tried.cloud.create(spec)
    tried.make("name freed late")
    assert tried.cloud.delete(app.id) is True
    tried.wait(10)
    assert tried.cloud.get(app.id) is None
    with pytest.raises(NameTaken):
        tried.cloud.create(spec)


# The agent: status and shape of each answer that the product goes by.

Asked = tuple[str, str, dict[str, Any]]
BACKGROUND = "/api/exec/background"
QUESTIONS: dict[str, Asked] = {
    "health": ("GET", "/health", {}),
    "no processes": ("GET", "/api/processes", {}),
    "unknown process": ("GET", "/api/processes/999999/logs", {"params": {"tail": 3}}),
    "kill unknown process": ("POST", "/api/processes/999999/kill", {"json": {"signal": 9}}),
    "unknown folder": ("GET", "/api/files", {"params": {"path": "/workspace/nowhere"}}),
    "nothing listens": ("GET", "/proxy/5555/", {}),
    "start in no folder": ("POST", BACKGROUND, {"json": {"command": "true", "cwd": "/workspace/nowhere", "env": None}}),
    "end nobody": (
        "POST",
        "/api/exec",
        {"json": {"command": "for pid in 999999; do kill -9 -$pid || kill -9 $pid; done 2>/dev/null; true",
                  "cwd": "/workspace", "env": None, "timeout": 5}},
    ),
    "unknown command": (
        "POST", "/api/exec", {"json": {"command": "nosuchprogram", "cwd": "/workspace", "env": None, "timeout": 5}}
    ),
    "write": ("POST", "/api/files/content", {"json": {"path": "/workspace/a/b", "content": "c", "encoding": None}}),
    "list": ("GET", "/api/files", {"params": {"path": "/workspace"}}),
}  # fmt: skip


def answers(wire: AgentWire) -> dict[str, object]:
    """The status of each answer and its shape; a command's exit code, too."""
    found = {}
    for name, (method, path, options) in QUESTIONS.items():
        with wire.open(method, path, timeout_seconds=20, **options) as response:
            body = b"".join(response.iter_raw())
            status = response.status_code
        found[name] = (status, shape(body))
    return found


def shape(body: bytes) -> object:
    try:
        data = json.loads(body)
    except ValueError:
        return "not JSON"
    if not isinstance(data, dict):
        return type(data).__name__
    return {key: value if key == "exit_code" else type(value).__name__ for key, value in sorted(data.items())}


def test_a_simulated_agent_answers_as_the_embedded_one(
    make_sandbox: MakeSandbox, chosen_world: ChosenWorld, spec: AppSpec
):
    embedded = answers(make_sandbox()._wire)
    with install(chosen_world) as account:
        account.answer("create", {"spec": app_spec(spec)})
        chosen_world.sleep(300)
        assert answers(AgentWire(account.existing()[0].url, spec.token)) == embedded
