"""The simulated account, through the product's own client."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pools.cloud.app_platform import DigitalOcean
from pools.cloud.budget import RequestBudget
from pools.cloud.errors import (
    CloudError,
    CloudUnavailable,
    IncompleteListing,
    InvalidSpec,
    NameTaken,
    OverQuota,
    RateLimited,
    Unauthorized,
)
from pools.cloud.records import App, AppSpec, Phase
from tests.fixtures.simulated import ChosenWorld
from tests.sim.account import Account
from tests.sim.apps import Maker
from tests.sim.faults import FAULTS, LISTING, MINUTE, REQUEST
from tests.sim.reading import watched

SPEC = AppSpec(
    name="sandbox-0123abcd",
    owner="staging",
    image="bikramkgupta/sandbox-python-service:latest",
    region="syd1",
    size="apps-s-1vcpu-1gb",
    token="agent-5ecret",
    installation="i" * 32,
)


@pytest.fixture
def cloud(simulated_account: Account, chosen_world: ChosenWorld) -> DigitalOcean:
    return DigitalOcean("a-token", budget=RequestBudget(clock=chosen_world.seconds), now=chosen_world.seconds)


def names(apps: list[App]) -> list[str]:
    return [app.name for app in apps]


def test_an_app_comes_up_phase_by_phase_and_then_has_its_address(cloud: DigitalOcean, chosen_world: ChosenWorld):
    app = cloud.create(SPEC)
    assert (app.name, app.owner, app.installation) == (SPEC.name, SPEC.owner, SPEC.installation)
    seen = [app.phase]
    for _ in range(300):
        found = cloud.get(app.id)
        assert found is not None
        if found.phase is not seen[-1]:
            seen.append(found.phase)
        if found.url:
            break
        chosen_world.sleep(1)
    assert seen == [Phase.PENDING_BUILD, Phase.BUILDING, Phase.PENDING_DEPLOY, Phase.DEPLOYING, Phase.ACTIVE]
    assert found.url is not None
    assert found.url.startswith(f"https://{SPEC.name}-")


def test_deployments_take_about_as_long_as_real_ones(cloud: DigitalOcean, simulated_account: Account):
    for number in range(100):
        cloud.create(replace(SPEC, name=f"sandbox-{number:08x}"))
    took = sorted(app.deploy_seconds for app in simulated_account.existing())
    assert 60 < took[50] < 100
    assert len(set(took)) == 100


def test_a_list_of_many_pages_is_read_to_its_end(cloud: DigitalOcean, simulated_account: Account):
    simulated_account.page_size = 3
    for number in range(10):
        cloud.create(replace(SPEC, name=f"sandbox-{number:08x}"))
    simulated_account.world.sleep(10)
    assert len(set(names(cloud.apps()))) == 10


def test_a_lost_create_may_have_had_its_effect_or_not(cloud: DigitalOcean, chosen_world: ChosenWorld):
    chosen_world.strike("cloud-lost-before")
    with pytest.raises(CloudUnavailable):
        cloud.create(SPEC)
    chosen_world.strike("cloud-lost-after")
    with pytest.raises(CloudUnavailable):
        cloud.create(SPEC)
    with pytest.raises(NameTaken):
        cloud.create(SPEC)


def test_a_create_may_take_effect_after_its_caller_gave_up(
    cloud: DigitalOcean, chosen_world: ChosenWorld, simulated_account: Account
):
    chosen_world.strike("cloud-effect-late")
    with pytest.raises(CloudUnavailable):
        cloud.create(SPEC)
    assert simulated_account.existing() == []
    assert simulated_account.troubled_until() > chosen_world.seconds()
    chosen_world.sleep(300)
    assert [app.name for app in simulated_account.existing()] == [SPEC.name]


def test_a_name_may_be_freed_late_and_a_deleted_app_shown_for_a_while(
    cloud: DigitalOcean, chosen_world: ChosenWorld, simulated_account: Account
):
    app = cloud.create(SPEC)
    chosen_world.sleep(10)
    chosen_world.strike("gone-lingers")
    chosen_world.strike("name-freed-late")
    assert cloud.delete(app.id) is True
    assert simulated_account.existing() == []
    assert names(cloud.apps()) == [SPEC.name]
    assert cloud.propose(SPEC).name_is_available is False
    chosen_world.sleep(700)
    assert cloud.apps() == []
    assert cloud.delete(app.id) is False
    assert cloud.propose(SPEC).name_is_available is True


def test_an_app_may_be_listed_late(cloud: DigitalOcean, chosen_world: ChosenWorld):
    chosen_world.strike("listed-late")
    app = cloud.create(SPEC)
    chosen_world.sleep(20)
    assert cloud.apps() == []
    assert cloud.get(app.id) is not None
    chosen_world.sleep(300)
    assert names(cloud.apps()) == [SPEC.name]


REFUSED: dict[str, tuple[type[CloudError], ...]] = {
    "cloud-429": (RateLimited,),
    "cloud-429-bare": (RateLimited,),
    "create-400": (InvalidSpec,),
    "create-full": (OverQuota,),
}


@pytest.mark.parametrize("fault", [name for name in REQUEST if name not in ("cloud-slow", "cloud-refused-once")])
def test_trouble_with_a_request_is_no_app_and_no_absence(fault: str, cloud: DigitalOcean, chosen_world: ChosenWorld):
    app = cloud.create(SPEC)
    chosen_world.sleep(60)
    chosen_world.strike(fault)
    with pytest.raises(REFUSED.get(fault, (CloudUnavailable,))):
        cloud.get(app.id)
    chosen_world.sleep(3600)
    assert cloud.get(app.id) is not None


@pytest.mark.parametrize("fault", ["create-400", "create-full"])
def test_a_create_is_refused_in_the_cloud_s_words(fault: str, cloud: DigitalOcean, chosen_world: ChosenWorld):
    chosen_world.strike(fault)
    with pytest.raises(REFUSED[fault]):
        cloud.create(SPEC)


BROKEN = ("list-torn", "list-total-wrong", "list-counted-twice", "list-page-missing")


@pytest.mark.parametrize("fault", BROKEN)
def test_a_torn_list_is_no_list(fault: str, cloud: DigitalOcean, chosen_world: ChosenWorld, simulated_account: Account):
    simulated_account.page_size = 2
    for number in range(5):
        cloud.create(replace(SPEC, name=f"sandbox-{number:08x}"))
    chosen_world.sleep(10)
    chosen_world.strike(fault, times=20)
    with pytest.raises(IncompleteListing):
        cloud.apps()


def test_who_takes_a_torn_list_for_a_whole_one_trespasses(
    cloud: DigitalOcean, chosen_world: ChosenWorld, simulated_account: Account
):
    def careless(fetch, keep):
        return [keep(entry) for entry in fetch(1)["apps"]]

    for number in range(3):
        cloud.create(replace(SPEC, name=f"sandbox-{number:08x}"))
    chosen_world.sleep(10)
    read = watched(careless, simulated_account.trespass)
    read(cloud._page, str)
    assert simulated_account.trespasses == []
    chosen_world.strike("list-torn")
    read(cloud._page, str)
    assert len(simulated_account.trespasses) == 1


def test_a_list_may_miss_apps_and_say_that_it_is_whole(cloud: DigitalOcean, chosen_world: ChosenWorld):
    for number in range(3):
        cloud.create(replace(SPEC, name=f"sandbox-{number:08x}"))
    chosen_world.sleep(10)
    chosen_world.strike("list-short")
    assert len(cloud.apps()) == 2
    chosen_world.strike("list-empty")
    assert cloud.apps() == []
    chosen_world.strike("list-twice")
    assert len(cloud.apps()) == 3
    chosen_world.strike("list-marks-hidden")
    assert {app.owner for app in cloud.apps()} == {"(unreadable)"}


def test_a_list_may_be_as_it_was(cloud: DigitalOcean, chosen_world: ChosenWorld):
    app = cloud.create(SPEC)
    chosen_world.sleep(600)
    cloud.delete(app.id)
    chosen_world.sleep(5)
    chosen_world.strike("list-stale")
    assert names(cloud.apps()) == [SPEC.name]
    assert cloud.apps() == []


@pytest.mark.parametrize(
    ("fault", "phases"),
    [
        ("deploy-fails", {Phase.ERROR}),
        ("deploy-canceled", {Phase.CANCELED}),
        ("deploy-sticks", {Phase.PENDING_BUILD, Phase.BUILDING, Phase.PENDING_DEPLOY, Phase.DEPLOYING}),
    ],
)
def test_a_deployment_may_fail_or_stick(fault: str, phases: set[Phase], cloud: DigitalOcean, chosen_world: ChosenWorld):
    chosen_world.strike(fault)
    app = cloud.create(SPEC)
    chosen_world.sleep(3600)
    found = cloud.get(app.id)
    assert found is not None
    assert found.phase in phases
    assert bool(found.failure) == (fault != "deploy-sticks")


def test_a_refused_token_is_refused_for_a_while(
    cloud: DigitalOcean, chosen_world: ChosenWorld, simulated_account: Account
):
    simulated_account.befall("token-refused")
    with pytest.raises(Unauthorized):
        cloud.apps()
    chosen_world.sleep(3600)
    assert cloud.apps() == []


def test_in_a_storm_many_creates_fail(cloud: DigitalOcean, chosen_world: ChosenWorld, simulated_account: Account):
    simulated_account.befall("storm")
    for number in range(100):
        try:
            cloud.create(replace(SPEC, name=f"sandbox-{number:08x}"))
        except CloudUnavailable:
            continue
    well = sum(app.ends_in == "ACTIVE" for app in simulated_account.existing())
    assert 10 < well < 80
    simulated_account.calm()
    app = cloud.create(SPEC)
    chosen_world.sleep(600)
    assert cloud.get(app.id).phase is Phase.ACTIVE


def test_deleting_what_is_not_ours_is_a_trespass(
    cloud: DigitalOcean, chosen_world: ChosenWorld, simulated_account: Account
):
    cloud.create(SPEC)
    for fault in ("stranger-appears", "twin-appears", "copy-appears", "orphan-appears"):
        simulated_account.befall(fault)
    chosen_world.sleep(30)
    for app in cloud.apps():
        cloud.delete(app.id)
    assert len(simulated_account.trespasses) == 4, "the orphan had no grace"


def test_an_orphan_may_be_deleted_after_two_listings_and_its_grace(
    cloud: DigitalOcean, chosen_world: ChosenWorld, simulated_account: Account
):
    simulated_account.orphan_grace_seconds = 120
    cloud.create(SPEC)
    simulated_account.befall("orphan-appears")
    for _ in range(3):
        chosen_world.sleep(100)
        cloud.apps()
    orphan = next(app for app in simulated_account.existing() if app.maker is Maker.OLD)
    assert cloud.delete(orphan.id) is True
    assert simulated_account.trespasses == []


def test_the_product_is_as_before_when_the_simulation_ends(simulated_account: Account, chosen_world: ChosenWorld):
    from pools.cloud.api_transport import Wire
    from tests.sim.account import install

    before = Wire._client
    with install(chosen_world):
        assert Wire._client is not before
    assert Wire._client is before


@pytest.mark.parametrize("name", MINUTE)
def test_each_thing_that_befalls_an_account_leaves_a_word(
    name: str, cloud: DigitalOcean, chosen_world: ChosenWorld, simulated_account: Account
):
    """Or it would not be seen in a run's log."""
    cloud.create(SPEC)
    simulated_account.befall("stranger-appears")
    chosen_world.sleep(200)
    simulated_account.agents.visit(simulated_account.made_by_us()[0])
    said = len(chosen_world.lines)
    chosen_world.strike(name)
    chosen_world.sleep(61)
    simulated_account.pass_time()
    assert len(chosen_world.lines) > said


def test_every_fault_has_a_word_and_a_chance():
    assert all(fault.what.endswith(".") and 0 < fault.chance < 1 for fault in FAULTS.values())
    assert set(LISTING) <= set(FAULTS)
