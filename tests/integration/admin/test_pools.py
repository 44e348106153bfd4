"""What operators do to pools: each act with its reason in both logs, each refusal with its own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from pools.models import Fleet, FleetEvent, Mode, Pool, Sandbox, State
from tests.integration.admin.conftest import MakeRun, Person, history, log, on_paper, told

POOLS = "/admin/pools/pool/"
FIELDS = (
    "name", "runtime", "image", "region", "size", "stage", "target_ready", "min_ready", "max_ready",
    "max_concurrent_creates", "idle_timeout_seconds", "scale_down_delay_seconds", "cooldown_after_acquire_seconds",
    "max_warm_age_seconds", "create_timeout_seconds", "on_empty", "autopilot", "autopilot_step",
    "autopilot_usd_a_month",
)  # fmt: skip


def press(person: Person, pool: Pool, act: str, reason: str = "the fair opens") -> Any:
    return person.post(f"{POOLS}{pool.pk}/act/", act=act, reason=reason)


def form_of(pool: Pool) -> dict[str, Any]:
    """What the page of the pool sends when nothing is changed."""
    values = {name: getattr(pool, name) for name in FIELDS}
    return values | {f"initial-{name}": value for name, value in values.items()}


def save(person: Person, pool: Pool, form: dict[str, Any], reason: str = "the fair opens", **changes: Any) -> Any:
    return person.post(f"{POOLS}{pool.pk}/change/", **form | changes | {"reason": reason})


def errors(answer: Any) -> dict[str, list[str]]:
    return dict(answer.context["adminform"].form.errors)


@pytest.mark.parametrize(
    ("act", "before", "after", "done"),
    [
        ("pause", "active", "paused", "pool python paused"),
        ("resume", "paused", "active", "pool python resumed"),
        ("drain", "active", "draining", "pool python drained: its idle sandboxes go"),
    ],
)
def test_a_pool_changes_its_mode_and_both_logs_say_who_and_why(operator, pool, act, before, after, done):
    Pool.objects.update(mode=before)
    assert done in told(press(operator, pool, act))
    assert Pool.objects.get().mode == after
    assert history() == [("otto", f"{done}: the fair opens")]
    assert log() == [("otto", f"{done}; an operator: the fair opens")]


def test_the_log_of_everybody_does_not_name_the_operator(operator, pool):
    press(operator, pool, "pause")
    assert "otto" not in FleetEvent.objects.get().message


@pytest.mark.parametrize("reason", ["", "   ", "x" * 201])
def test_an_act_without_a_proper_reason_is_not_done(operator, pool, reason):
    assert "Say why" in told(press(operator, pool, "pause", reason=reason))
    assert Pool.objects.get().mode == Mode.ACTIVE
    assert (history(), log()) == ([], [])


def test_the_second_of_two_operators_is_told_that_it_is_done(operator, destroyer, pool):
    press(operator, pool, "pause")
    assert "Pool python is paused already." in told(press(destroyer, pool, "pause"))
    assert len(history()) == len(log()) == 1


def test_an_action_pauses_several_pools_and_says_which_were_paused_already(operator, pool):
    node = Pool.objects.create(name="node", runtime="node", image="a/b:c", region="syd", size="s", mode="paused")
    said = told(operator.act(POOLS, "pause", pool, node, reason="closing time"))
    assert "pool python paused" in said
    assert "Pool node is paused already." in said
    assert history() == [("otto", "pool python paused: closing time")]


def test_a_warm_up_fills_the_pool_to_its_target(operator, fleet, pool):
    Pool.objects.update(target_ready=2, max_concurrent_creates=2)
    assert "warms up to 2 ready" in told(press(operator, pool, "warm_up"))
    fleet.settle()
    assert fleet.states() == ["ready", "ready"]
    assert "an operator's warm-up" in fleet.log("create")[0]


@pytest.mark.parametrize(
    ("fields", "why"), [({"mode": "paused"}, "resume it first"), ({"target_ready": 0}, "raise its target first")]
)
def test_a_warm_up_that_would_warm_nothing_is_refused(operator, pool, fields, why):
    Pool.objects.update(**fields)
    assert why in told(press(operator, pool, "warm_up"))
    assert log() == []


def test_a_recycled_pool_replaces_its_sandboxes_and_never_has_none(operator, fleet, pool):
    Pool.objects.update(target_ready=2, max_ready=3)
    fleet.acquire(pool)
    fleet.settle()
    old = set(Sandbox.objects.existing().values_list("pk", flat=True))
    fleet.clock.advance(1)
    press(operator, pool, "recycle")
    for _ in range(30):
        fleet.turns(1, seconds_apart=5)
        assert fleet.states().count("ready") >= 1
        if not old & set(Sandbox.objects.existing().values_list("pk", flat=True)):
            break
    fleet.settle()
    assert not old & set(Sandbox.objects.existing().values_list("pk", flat=True))
    assert fleet.states() == ["ready", "ready"]


def test_closing_the_breaker_lets_the_pool_create_at_once(operator, fleet, pool):
    fleet.cloud.fault(operation="create", quota=0)
    fleet.acquire(pool)
    fleet.turns(10, seconds_apart=5)
    assert "breaker open" in operator.get(f"{POOLS}{pool.pk}/change/").content.decode()
    fleet.cloud.faults.clear()
    fleet.acquire(pool)
    fleet.turns(2)
    assert fleet.states() == []
    assert "the breaker of pool python is closed" in told(press(operator, pool, "close_breaker"))
    fleet.settle()
    assert fleet.states() == ["ready"]


def test_sizes_hold_from_the_next_turn_on(operator, fleet, pool):
    fleet.acquire(pool)
    fleet.settle()
    save(operator, pool, form_of(pool), target_ready=3, max_ready=4, max_concurrent_creates=3, consent="24.00")
    change = "target_ready: 1 → 3, max_ready: 2 → 4, max_concurrent_creates: 1 → 3 (the fair opens)"
    assert history() == [("otto", change)]
    assert log("pool")[0][1].endswith("an operator: the fair opens")
    fleet.settle()
    assert fleet.states() == ["ready"] * 3


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"target_ready": 3}, {"target_ready": "3 is more than max ready (2): it would never be reached."}),
        ({"min_ready": 5}, {"min_ready": "5 is more than max ready (2): it would never be reached."}),
        (
            {"target_ready": 11, "max_ready": 12},
            {
                "target_ready": "11 is more than the whole fleet may hold: MAX_TOTAL_SANDBOXES is 10.",
                "max_ready": "12 is more than the whole fleet may hold: MAX_TOTAL_SANDBOXES is 10.",
            },
        ),
        ({"max_concurrent_creates": 0}, {"max_concurrent_creates": "greater than or equal to 1"}),
        ({"create_timeout_seconds": 1}, {"create_timeout_seconds": "greater than or equal to 10"}),
        ({"image": "no image"}, {"image": "Write it as registry/repository:tag."}),
        ({"region": "moon"}, {"region": "moon"}),
        ({"target_ready": "many"}, {"target_ready": "whole number"}),
        ({"reason": ""}, {"reason": "required"}),
    ],
)
def test_sizes_that_do_not_fit_are_refused_by_the_field(operator, pool, settings, changes, refused):
    settings.MAX_TOTAL_SANDBOXES = 10
    before = Pool.objects.values().get()
    answer = save(operator, pool, form_of(pool), **{"reason": "a test", **changes})
    found = errors(answer)
    assert found.keys() == refused.keys()
    for field, words in refused.items():
        assert words in found[field][0]
    assert Pool.objects.values().get() == before
    assert (history(), log()) == ([], [])


def test_two_operators_who_edit_different_settings_both_have_their_way(operator, destroyer, pool):
    form = form_of(pool)
    save(operator, pool, form, max_ready=3)
    save(destroyer, pool, form, idle_timeout_seconds=60)
    pool.refresh_from_db()
    assert (pool.max_ready, pool.idle_timeout_seconds) == (3, 60)


def test_an_edit_does_not_undo_what_the_machine_wrote_meanwhile(operator, pool):
    form = form_of(pool)
    acquired_at = timezone.now()
    Pool.objects.update(last_acquired_at=acquired_at, mode="paused")
    save(operator, pool, form, target_ready=2)
    pool.refresh_from_db()
    assert (pool.target_ready, pool.last_acquired_at, pool.mode) == (2, acquired_at, "paused")


def test_a_pool_for_another_runtime_is_added_without_code(operator, fleet):
    form = {name: Pool._meta.get_field(name).get_default() for name in FIELDS}
    form |= {"name": "node", "runtime": "node", "image": "someone/node:latest", "region": "syd", "stage": "none"}
    form |= {"size": "apps-s-1vcpu-1gb", "reason": "Tic-Tac-Toe is popular"}
    operator.post(f"{POOLS}add/", **form)
    assert history() == [("otto", "added (Tic-Tac-Toe is popular)")]
    press(operator, Pool.objects.get(), "warm_up")
    fleet.settle()
    assert Sandbox.objects.get().runtime == "node"


def test_a_second_pool_of_a_runtime_is_refused(operator, pool):
    answer = operator.post(f"{POOLS}add/", **form_of(pool) | {"name": "python2", "reason": "more"})
    assert errors(answer).keys() == {"runtime"}


def test_a_pool_that_has_sandboxes_is_not_deleted(destroyer, fleet, pool):
    fleet.acquire(pool)
    fleet.settle()
    answer = destroyer.post(f"{POOLS}{pool.pk}/delete/", post="yes", reason="not used")
    assert "still has 1 sandbox: drain it first" in told(answer)
    assert Pool.objects.exists()


def test_a_drained_pool_is_deleted_with_who_and_why(destroyer, fleet, pool):
    fleet.acquire(pool)
    fleet.settle()
    press(destroyer, pool, "drain")
    fleet.settle()
    assert "Yes, delete it" in destroyer.get(f"{POOLS}{pool.pk}/delete/").content.decode()
    destroyer.post(f"{POOLS}{pool.pk}/delete/", post="yes", reason="not used")
    assert not Pool.objects.exists()
    assert history()[0] == ("dora", "pool python deleted: not used")
    assert log("pool")[0] == ("dora", "pool python deleted; an operator: not used")
    assert Sandbox.objects.get().state == State.DELETED


@pytest.mark.django_db(transaction=True)
def test_a_deletion_takes_its_locks_inside_of_a_transaction(destroyer, pool, monkeypatch):
    """PostgreSQL refuses them elsewhere, where SQLite, which has none, says nothing."""
    lock = Fleet.lock

    def lock_in_a_transaction() -> Fleet:
        assert connection.in_atomic_block
        return lock()

    monkeypatch.setattr(Fleet, "lock", lock_in_a_transaction)
    destroyer.post(f"{POOLS}{pool.pk}/delete/", post="yes", reason="not used")
    assert not Pool.objects.exists()


def test_a_pool_is_not_deleted_without_a_reason(destroyer, pool):
    assert "Say why" in told(destroyer.post(f"{POOLS}{pool.pk}/delete/", post="yes"))
    assert Pool.objects.exists()


def test_the_page_says_how_often_launches_hit_and_what_size_would_do(viewer, pool, snake, make_run: MakeRun):
    on_paper(6, pool, snake)  # each launched when its sandbox was ready
    for minutes in range(2):
        make_run(created_at=timezone.now() - timedelta(minutes=minutes), served_by="cold_fallback")
    report = viewer.get(f"{POOLS}{pool.pk}/change/").context["report"]
    assert (report.in_use, report.launches, report.hit_percent) == (6, 8, 75)
    assert report.recommendation.reason.startswith("7 launches within the last")
    assert "75 % of 8" in viewer.get(POOLS).content.decode()


def test_the_page_says_what_the_next_turn_would_do_and_what_idling_costs(viewer, fleet, pool):
    fleet.turn()
    fleet.acquire(pool)
    page = viewer.get(f"{POOLS}{pool.pk}/change/")
    assert "create: create 1 for pool python: 0 ready + 0 creating &lt; target 1" in page.content.decode()
    fleet.settle()
    report = viewer.get(f"{POOLS}{pool.pk}/change/").context["report"]
    assert (report.ready, f"{report.idle_usd_per_hour:.4f}") == (1, "0.0179")


def test_the_page_shows_what_other_targets_would_have_done_once_that_is_asked_for(
    viewer, pool, snake, make_run: MakeRun, settings
):
    settings.MAX_TOTAL_SANDBOXES = 20
    page = viewer.get(f"{POOLS}{pool.pk}/change/")
    assert page.context["what_if"] is None
    assert 'href="?what-if=1#what-if"' in page.content.decode()
    path = f"{POOLS}{pool.pk}/change/"
    assert "nothing to replay" in viewer.get(path, **{"what-if": "1"}).content.decode()
    for minutes in range(20):
        make_run(created_at=timezone.now() - timedelta(minutes=3 * minutes), served_by="cold_fallback")
    page = viewer.get(path, **{"what-if": "1"})
    rows = page.context["what_if"].found.rows
    assert [row.target for row in rows] == [0, 1, 2, 3, 4, 5, 6, None]
    assert [row.target for row in rows if row.is_present] == [1]
    assert "the pool&#x27;s own 20 launches" in page.content.decode()


def test_the_autopilot_is_switched_on_and_off_on_the_page_and_seen_there(operator, pool):
    save(operator, pool, form_of(pool), autopilot="on", autopilot_step=3)
    pool.refresh_from_db()
    assert (pool.autopilot, pool.autopilot_step) == (True, 3)
    page = operator.get(f"{POOLS}{pool.pk}/change/").content.decode()
    assert "on: each turn moves the target towards the recommended one, by 3 at most" in page
    form = form_of(pool)
    del form["autopilot"]  # as browsers send a box that is not ticked
    save(operator, pool, form)
    pool.refresh_from_db()
    assert not pool.autopilot


def test_buttons_are_those_that_make_sense(operator, pool):
    def offered() -> list[str]:
        return [name for name, _ in operator.get(f"{POOLS}{pool.pk}/change/").context["acts"]]

    assert offered() == ["warm_up", "pause", "drain", "recycle"]
    Pool.objects.update(mode="draining")
    assert offered() == ["resume"]
    Pool.objects.update(mode="paused")
    assert offered() == ["resume", "drain"]


def test_an_act_that_there_is_not_is_refused(operator, pool):
    assert "There is no such act." in told(press(operator, pool, "explode"))
