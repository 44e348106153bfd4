"""What a turn decides, one situation at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pools.cloud.records import UNREADABLE, Phase
from pools.demand import Demand
from pools.models import FailureKind, Mode, Origin, State
from pools.reasons import EndCode
from pools.turn.decisions import Decision, Kind
from pools.turn.due import due_in_seconds
from pools.turn.facts import AppFacts, FleetFacts
from pools.turn.plan import plan_fleet

from .builders import NOW, app_of, make_fleet, make_pool, make_sandbox, seconds, wanted_pool


def plan(facts: FleetFacts) -> list[Decision]:
    return plan_fleet(facts, NOW)


def kinds(facts: FleetFacts) -> list[Kind]:
    return [decision.kind for decision in plan(facts)]


def only(facts: FleetFacts, kind: Kind) -> Decision:
    found = [decision for decision in plan(facts) if decision.kind == kind]
    assert len(found) == 1, plan(facts)
    return found[0]


# Supply.


def test_a_fresh_start_creates_nothing():
    assert kinds(make_fleet(pools=(make_pool(target_ready=5, max_ready=5),))) == []


def test_demand_creates_with_a_reason_that_tells_numbers_and_who_asked():
    decision = only(make_fleet(pools=(wanted_pool(),)), Kind.CREATE)
    assert decision.reason == (
        "create 1 for pool python: 0 ready + 0 creating < target 1, last acquired 12 s ago by run 3fa9"
    )


def test_an_idle_pool_keeps_its_floor():
    assert kinds(make_fleet(pools=(make_pool(min_ready=1),))) == [Kind.CREATE]


def test_only_so_many_are_created_at_once():
    pool = wanted_pool(target_ready=5, max_ready=5, max_concurrent_creates=2)
    assert kinds(make_fleet(pools=(pool,))) == [Kind.CREATE, Kind.CREATE]
    assert kinds(make_fleet(make_sandbox(State.CREATING), pools=(pool,), apps=())).count(Kind.CREATE) == 1


def test_no_place_in_the_fleet_means_no_create_and_says_so():
    facts = make_fleet(make_sandbox(State.IN_USE), pools=(wanted_pool(),), max_total=1)
    assert "no place left" in only(facts, Kind.HOLD).reason
    assert Kind.CREATE not in kinds(facts)


def test_a_refill_leaves_the_last_place_to_a_launch_that_waits_for_it():
    facts = make_fleet(pools=(wanted_pool(),), max_total=1, demand=Demand(places=1))
    assert Kind.CREATE not in kinds(facts)


def test_launches_that_wait_are_supplied_beyond_the_target():
    pool = wanted_pool(target_ready=1, max_ready=3, max_concurrent_creates=3)
    facts = make_fleet(pools=(pool,), demand=Demand(waiting={"python": 1}))
    assert kinds(facts).count(Kind.CREATE) == 2


def test_a_cooldown_holds_refills_but_not_launches_that_wait():
    pool = wanted_pool(cooldown_after_acquire_seconds=60)
    assert "cools down" in only(make_fleet(pools=(pool,)), Kind.HOLD).reason
    assert Kind.CREATE in kinds(make_fleet(pools=(pool,), demand=Demand(waiting={"python": 1})))


@pytest.mark.parametrize("mode", [Mode.PAUSED, Mode.DRAINING])
def test_a_pool_that_is_paused_or_draining_creates_nothing(mode):
    assert Kind.CREATE not in kinds(make_fleet(pools=(wanted_pool(mode=mode),)))


def test_a_draining_pool_retires_its_idle_sandboxes_one_at_a_time():
    facts = make_fleet(make_sandbox(), make_sandbox(), pools=(wanted_pool(mode=Mode.DRAINING),))
    assert "draining" in only(facts, Kind.RETIRE).reason


# Shrinking.


def test_an_idle_pool_shrinks_one_at_a_time():
    facts = make_fleet(make_sandbox(), make_sandbox(), pools=(make_pool(),))
    assert only(facts, Kind.RETIRE).reason.startswith("idle: 2 ready > 0 wanted")


def test_the_next_to_go_waits_for_the_scale_down_delay():
    pool = make_pool(last_shrunk_at=NOW - seconds(10), scale_down_delay_seconds=30)
    assert kinds(make_fleet(make_sandbox(), pools=(pool,))) == []


def test_a_sandbox_that_serves_a_run_is_not_supply_and_not_shrunk():
    facts = make_fleet(make_sandbox(State.IN_USE, expires_at=NOW + seconds(60)), pools=(make_pool(),))
    assert kinds(facts) == []


def test_an_old_sandbox_is_replaced_before_it_is_retired():
    old = make_sandbox(ready_at=NOW - seconds(4000))
    pool = wanted_pool(max_warm_age_seconds=1800)
    assert kinds(make_fleet(old, pools=(pool,))) == [Kind.CREATE]
    with_a_fresh_one = make_fleet(old, make_sandbox(), pools=(pool,))
    assert only(with_a_fresh_one, Kind.RETIRE).sandbox_id == old.id


def test_an_old_sandbox_goes_first_where_there_is_no_room_beside_it():
    old = make_sandbox(ready_at=NOW - seconds(4000))
    facts = make_fleet(old, pools=(wanted_pool(max_ready=1),))
    assert "no room beside it" in only(facts, Kind.RETIRE).reason


def test_a_full_fleet_keeps_its_old_sandbox_rather_than_none():
    """Both of two outdated ones were retired in one turn, one for want of room and one as surplus."""
    old = make_sandbox(ready_at=NOW - seconds(4000))
    facts = make_fleet(old, make_sandbox(State.IN_USE), pools=(wanted_pool(),), max_total=2)
    assert kinds(facts) == [Kind.HOLD]
    two = make_fleet(old, replace(old, id=make_sandbox().id), pools=(wanted_pool(),))
    assert kinds(two) == [Kind.RETIRE]


def test_recycling_replaces_what_was_made_before():
    sandbox = make_sandbox()
    pool = wanted_pool(recycle_before=NOW - seconds(1))
    assert kinds(make_fleet(sandbox, pools=(pool,))) == [Kind.CREATE]
    assert (
        only(make_fleet(sandbox, make_sandbox(requested_at=NOW), pools=(pool,)), Kind.RETIRE).sandbox_id == sandbox.id
    )


def test_a_lower_maximum_takes_effect_at_once():
    facts = make_fleet(
        make_sandbox(), make_sandbox(), make_sandbox(), pools=(wanted_pool(target_ready=1, max_ready=1),)
    )
    assert kinds(facts).count(Kind.RETIRE) == 2


# Creating.


def test_a_reserved_sandbox_is_asked_for_once():
    assert only(make_fleet(make_sandbox(State.REQUESTED)), Kind.SEND_CREATE)
    sent = make_sandbox(
        State.CREATING, app_id=None, accepted_at=None, create_sent_at=NOW - seconds(1), requested_at=NOW
    )
    assert kinds(make_fleet(sent)) == []


def test_a_lost_create_is_adopted_by_its_name():
    lost = make_sandbox(State.CREATING, app_id=None, accepted_at=None, create_sent_at=NOW, requested_at=NOW)
    facts = make_fleet(lost, apps=(app_of(lost, id="app-7"),))
    assert only(facts, Kind.ADOPT).app_id == "app-7"


def test_an_app_of_somebody_else_is_not_adopted_for_its_name():
    lost = make_sandbox(State.CREATING, app_id=None, accepted_at=None, create_sent_at=NOW, requested_at=NOW)
    facts = make_fleet(lost, apps=(app_of(lost, owner="production"),))
    assert kinds(facts) == [Kind.FAIL]


@pytest.mark.parametrize("owner", [None, UNREADABLE])
def test_a_lost_create_whose_mark_cannot_be_read_is_adopted_by_its_name(owner):
    """The name is random and our own: only a mark that can be read says otherwise."""
    lost = make_sandbox(State.CREATING, app_id=None, accepted_at=None, create_sent_at=NOW, requested_at=NOW)
    facts = make_fleet(lost, apps=(app_of(lost, owner=owner),))
    assert kinds(facts) == [Kind.ADOPT]


def test_a_create_without_an_answer_is_sent_again_and_then_given_up():
    lost = make_sandbox(
        State.CREATING, app_id=None, accepted_at=None, create_sent_at=NOW - seconds(16), requested_at=NOW - seconds(20)
    )
    assert kinds(make_fleet(lost)) == [Kind.SEND_CREATE]
    assert (
        only(make_fleet(replace(lost, requested_at=NOW - seconds(31))), Kind.FAIL).failure_kind == FailureKind.PROVIDER
    )


def test_a_refused_token_fails_a_create_at_once_and_says_so():
    facts = make_fleet(make_sandbox(State.REQUESTED), apps=None, token_refused=True)
    assert "token" in only(facts, Kind.FAIL).reason


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        ("image pull failed", FailureKind.IMAGE),
        ("health checks failed", FailureKind.AGENT),
        ("resource quota exceeded", FailureKind.QUOTA),
        ("internal error", FailureKind.PROVIDER),
    ],
)
def test_a_failed_deployment_is_deleted_and_classified(failure, kind):
    creating = make_sandbox(State.CREATING)
    facts = make_fleet(creating, apps=())
    facts = replace(facts, apps=(app_of(creating, phase=Phase.ERROR, failure=failure),))
    assert only(facts, Kind.FAIL).failure_kind == kind


def test_a_failure_is_not_answered_by_a_create_in_the_same_turn():
    """It was: the breaker let one create too many through at each failure."""
    creating = make_sandbox(State.CREATING)
    facts = make_fleet(creating, pools=(wanted_pool(),))
    facts = replace(facts, apps=(app_of(creating, phase=Phase.ERROR, failure="image"),))
    assert kinds(facts) == [Kind.FAIL, Kind.HOLD]


def test_a_stuck_deployment_is_given_up_at_the_create_timeout():
    stuck = make_sandbox(State.CREATING, requested_at=NOW - seconds(601))
    facts = replace(make_fleet(stuck, pools=(make_pool(),)), apps=(app_of(stuck, phase=Phase.BUILDING, url=None),))
    assert "stuck in BUILDING" in only(facts, Kind.FAIL).reason


def test_an_active_app_is_probed_before_it_counts():
    assert kinds(make_fleet(make_sandbox(State.CREATING), pools=(make_pool(),))) == [Kind.PROBE]


# Ends.


def test_a_lifetime_that_ended_expires_the_sandbox():
    assert kinds(make_fleet(make_sandbox(State.IN_USE, expires_at=NOW - seconds(1)))) == [Kind.EXPIRE]


def test_a_deleted_sandbox_that_a_listing_taken_after_the_delete_does_not_show_is_asked_for():
    """The listing alone confirmed it, also one that was older than the app; its place was given away too early."""
    going = make_sandbox(State.DELETING, delete_sent_at=NOW - seconds(2))
    facts = replace(make_fleet(going), apps=())
    assert kinds(facts) == [Kind.VERIFY_GONE]
    assert kinds(replace(facts, listed_at=NOW - seconds(3))) == []


def test_a_lost_delete_is_repeated_until_absence_is_seen():
    going = make_sandbox(State.DELETING, delete_sent_at=NOW - seconds(16))
    assert "still listed" in only(make_fleet(going), Kind.SEND_DELETE).reason


def test_a_sandbox_that_was_never_asked_for_is_simply_gone():
    never = make_sandbox(State.DELETING, app_id=None, create_sent_at=None)
    assert kinds(make_fleet(never)) == [Kind.CONFIRM_DELETED]


def test_a_create_in_doubt_is_not_called_gone_before_listings_had_time_to_show_it():
    doubtful = make_sandbox(State.DELETING, app_id=None, create_sent_at=NOW - seconds(5))
    assert kinds(make_fleet(doubtful)) == []
    assert kinds(make_fleet(replace(doubtful, create_sent_at=NOW - seconds(31)))) == [Kind.VERIFY_NAME]


def test_a_create_whose_name_is_taken_is_waited_for_and_not_sent_again():
    exists = make_sandbox(
        State.CREATING, app_id=None, create_sent_at=NOW - seconds(60), requested_at=NOW - seconds(90),
        accepted_at=NOW - seconds(40), health_checked_at=NOW - seconds(10),
    )  # fmt: skip
    assert kinds(make_fleet(exists, pools=(wanted_pool(),))) == []
    long_ago = replace(exists, health_checked_at=None)
    assert kinds(make_fleet(long_ago, pools=(wanted_pool(),))) == [Kind.VERIFY_NAME]
    given_up = replace(exists, requested_at=NOW - seconds(601))
    assert "its name is taken" in only(make_fleet(given_up, pools=(wanted_pool(),)), Kind.FAIL).reason


def test_a_create_in_doubt_holds_the_next_one():
    doubtful = make_sandbox(State.DELETING, app_id=None, create_sent_at=NOW - seconds(5))
    facts = make_fleet(doubtful, pools=(wanted_pool(),))
    assert "may exist" in only(facts, Kind.HOLD).reason
    assert Kind.CREATE not in kinds(facts)
    settled = replace(doubtful, app_id="app-7", delete_sent_at=NOW)
    assert Kind.CREATE in kinds(make_fleet(settled, pools=(wanted_pool(),)))


def test_a_missing_sandbox_is_noted_then_verified():
    sandbox = make_sandbox()
    other = make_sandbox()
    facts = replace(make_fleet(sandbox, other), apps=(app_of(other),))
    assert kinds(facts) == [Kind.NOTE_MISSING]
    missing = replace(sandbox, missing_since=NOW - seconds(6))
    assert kinds(replace(facts, sandboxes=(missing, other))) == [Kind.VERIFY]
    found = replace(missing, verified_at=NOW - seconds(119))
    assert kinds(replace(facts, sandboxes=(found, other))) == [], "a list may be a day old"
    long_ago = replace(missing, verified_at=NOW - seconds(121))
    assert kinds(replace(facts, sandboxes=(long_ago, other))) == [Kind.VERIFY]
    gone = replace(missing, vanished_at=NOW)
    assert only(replace(facts, sandboxes=(gone, other)), Kind.BURY).code == EndCode.LOST


def test_a_list_that_is_a_day_old_holds_up_no_question_and_no_launch():
    """Four that it does not show were held back as four deletions, and nobody asked how they were."""
    asked = {"missing_since": NOW - seconds(20), "health_checked_at": NOW - seconds(20)}
    played = [make_sandbox(State.IN_USE, expires_at=NOW + seconds(900), **asked) for _ in range(5)]
    assert kinds(replace(make_fleet(*played), apps=(stray(owner=None),))) == [Kind.VERIFY] * 5
    vanished = [replace(sandbox, vanished_at=NOW) for sandbox in played]
    assert kinds(replace(make_fleet(*vanished), apps=(stray(owner=None),))) == [Kind.STOP]
    made = [make_sandbox(State.CREATING, requested_at=NOW - seconds(12)) for _ in range(4)]
    assert kinds(replace(make_fleet(*made), apps=(stray(owner=None),))) == [Kind.ASK] * 4


def test_a_create_that_was_never_sent_has_not_failed():
    """Asked to be silent for a minute, we counted our own silence as the cloud's failures, and opened the breaker."""
    unsent = make_sandbox(State.REQUESTED, requested_at=NOW - seconds(40))
    [failed] = [d for d in plan_fleet(make_fleet(unsent, apps=None), NOW) if d.kind == Kind.FAIL]
    assert (failed.code, failed.failure_kind) == (EndCode.NOT_ACCEPTED, None)


def test_a_listing_that_lags_behind_a_create_is_forgiven():
    young = make_sandbox(accepted_at=NOW - seconds(3))
    assert Kind.NOTE_MISSING not in kinds(replace(make_fleet(young, pools=(wanted_pool(),)), apps=()))


def test_a_dead_idle_sandbox_is_retired_after_three_looks_and_counts_until_then():
    sick = make_sandbox(health_failures=2, health_checked_at=NOW)
    pool = wanted_pool()
    assert kinds(make_fleet(sick, pools=(pool,))) == []
    assert Kind.RETIRE in kinds(make_fleet(replace(sick, health_failures=3), pools=(pool,)))


# Orphans and others.


def stray(**fields) -> AppFacts:
    defaults = {"id": "app-9", "name": "sandbox-0badcafe", "owner": "local", "phase": Phase.ACTIVE}
    return AppFacts(**defaults | fields)


def test_an_orphan_goes_only_after_two_listings_and_the_grace():
    assert kinds(make_fleet(apps=(stray(),))) == [Kind.NOTE_ORPHAN]
    once = stray(orphan_since=NOW - seconds(500), orphan_listings=1)
    assert kinds(make_fleet(apps=(once,))) == [Kind.NOTE_ORPHAN]
    early = stray(orphan_since=NOW - seconds(119), orphan_listings=9)
    assert kinds(make_fleet(apps=(early,))) == [Kind.NOTE_ORPHAN]
    due = stray(orphan_since=NOW - seconds(121), orphan_listings=2)
    assert kinds(make_fleet(apps=(due,))) == [Kind.DELETE_ORPHAN]


@pytest.mark.parametrize(
    "foreign",
    [
        stray(owner=None),
        stray(owner="production"),
        stray(name="sandbox-orchestrator"),
        stray(name="web"),
    ],
    ids=["no mark", "another orchestrator", "our own app", "another name"],
)
def test_a_foreign_app_is_never_touched(foreign):
    foreign = replace(foreign, orphan_since=NOW - seconds(9999), orphan_listings=99)
    assert kinds(make_fleet(apps=(foreign,))) == []


def test_an_app_that_an_operator_wants_gone_is_deleted_until_it_is():
    marked = stray(owner=None, delete_reason="deleted by ada: not ours")
    assert kinds(make_fleet(apps=(marked,))) == [Kind.DELETE_APP]
    assert kinds(make_fleet(apps=(replace(marked, delete_sent_at=NOW - seconds(3)),))) == []
    assert kinds(make_fleet(apps=(replace(marked, delete_sent_at=NOW - seconds(16)),))) == [Kind.DELETE_APP]


def test_an_ordered_deletion_outlasts_a_listing_that_misses_the_app():
    """A listing that lagged made the order forgotten."""
    marked = stray(owner=None, delete_reason="deleted by ada: not ours", is_listed=False)
    assert kinds(make_fleet(apps=(marked,))) == [Kind.DELETE_APP]
    sent = replace(marked, delete_sent_at=NOW - seconds(1))
    assert kinds(make_fleet(apps=(sent,))) == [Kind.DELETE_APP]
    assert kinds(make_fleet(apps=(replace(sent, is_listed=True),))) == []


def test_a_refill_leaves_the_place_that_an_orphan_takes():
    facts = make_fleet(pools=(wanted_pool(),), apps=(stray(),), max_total=1)
    assert Kind.CREATE not in kinds(facts)
    assert Kind.CREATE in kinds(replace(facts, max_total=2))


# Limits that were lowered, pools that went, clocks that were set back.


def test_a_lower_limit_of_the_fleet_retires_what_is_idle_and_nothing_else():
    fleet = (make_sandbox(State.IN_USE, expires_at=NOW + seconds(60)), make_sandbox(), make_sandbox())
    pool = wanted_pool(target_ready=2, max_ready=2)
    facts = make_fleet(*fleet, pools=(pool,), max_total=2)
    assert only(facts, Kind.RETIRE).reason == "the fleet holds 3, at most 2 allowed"
    assert Kind.CREATE not in kinds(facts)
    assert kinds(replace(facts, max_total=3)) == []


def test_a_much_lower_limit_does_not_set_off_the_stop():
    fleet = [make_sandbox() for _ in range(10)]
    facts = make_fleet(*fleet, pools=(wanted_pool(target_ready=2, max_ready=8),), max_total=3)
    assert kinds(facts) == [Kind.RETIRE] * 3


def test_an_idle_sandbox_whose_pool_was_deleted_goes():
    left_over = make_sandbox(pool_id=None)
    assert "its pool was deleted" in only(make_fleet(left_over), Kind.RETIRE).reason


def test_a_delete_sent_in_a_time_that_is_still_to_come_is_sent_again():
    """After the clock was set back, deletes waited until it had caught up."""
    going = make_sandbox(State.DELETING, delete_sent_at=NOW + seconds(3600))
    assert kinds(make_fleet(going)) == [Kind.SEND_DELETE]


def test_a_clock_that_was_set_back_neither_recycles_without_end_nor_makes_demand():
    ahead = NOW + seconds(3600)
    assert kinds(make_fleet(make_sandbox(), pools=(wanted_pool(recycle_before=ahead),))) == []
    assert kinds(make_fleet(pools=(make_pool(last_acquired_at=ahead),))) == []


# Trust.


def test_an_incomplete_listing_stops_deletions_and_creates_and_says_why():
    facts = make_fleet(
        make_sandbox(),
        make_sandbox(health_failures=9),
        make_sandbox(State.IN_USE, expires_at=NOW - seconds(1)),
        make_sandbox(State.DELETING),
        pools=(make_pool(min_ready=5, max_ready=9),),
        apps=None,
    )
    assert kinds(facts) == [Kind.HOLD]
    assert "page 2 failed" in plan(facts)[0].reason


def test_too_many_deletions_at_once_stop_and_wait_for_an_operator():
    sick = [make_sandbox(health_failures=3) for _ in range(8)]
    facts = make_fleet(*sick, max_total=20)
    assert kinds(facts) == [Kind.STOP]
    approved = frozenset(str(sandbox.id) for sandbox in sick)
    assert kinds(replace(facts, approved=approved)) == [Kind.RETIRE] * 8
    but_one = approved - {str(sick[0].id)}
    assert kinds(replace(facts, approved=but_one)) == [Kind.RETIRE] * 8, "one more is within what may go"


def test_an_approval_is_for_the_listed_ids_and_no_others():
    sick = [make_sandbox(health_failures=3) for _ in range(16)]
    facts = replace(make_fleet(*sick, max_total=20), approved=frozenset(str(each.id) for each in sick[:2]))
    assert kinds(facts) == [Kind.STOP, Kind.RETIRE, Kind.RETIRE]
    assert {each.sandbox_id for each in plan(facts) if each.sandbox_id} == {each.id for each in sick[:2]}


def test_a_sandbox_counts_once_however_many_reasons_there_are():
    """It said "11 of 8 would be deleted"."""
    sick = [make_sandbox(health_failures=3, missing_since=NOW - seconds(60)) for _ in range(8)]
    facts = replace(make_fleet(*sick, max_total=20), apps=(AppFacts("a", "web", None, Phase.ACTIVE),))
    assert plan(facts)[0].reason.startswith("8 of 8 would be deleted in one turn, 4 at most")


def dead(count: int) -> frozenset[str]:
    """The names of so many that are gone."""
    return frozenset(f"gone-{n}" for n in range(count))


def test_deaths_count_over_many_turns():
    """40 sandboxes that could not be reached were retired in 90 turns, a few in each."""
    sick = make_sandbox(health_failures=3)
    facts = make_fleet(sick, *(make_sandbox() for _ in range(19)), max_total=50)
    assert kinds(replace(facts, deaths=dead(18))) == [Kind.RETIRE]
    stopped = plan(replace(facts, deaths=dead(20)))
    assert stopped[0].reason.startswith("21 of 40 would be deleted within 30 minutes, 20 at most")
    assert [each.kind for each in stopped] == [Kind.STOP]


def test_what_was_given_up_counts_once_while_it_is_still_there():
    """It made the fleet look larger, so that more of it might go."""
    leaving = [make_sandbox(State.DELETING, delete_sent_at=NOW) for _ in range(5)]
    facts = make_fleet(make_sandbox(health_failures=3), *leaving, *(make_sandbox() for _ in range(4)), max_total=50)
    stopped = plan(replace(facts, deaths=frozenset(each.name for each in leaving)))
    assert stopped[0].reason.startswith("6 of 10 would be deleted within 30 minutes, 5 at most")


def test_a_sandbox_that_is_seen_again_as_an_orphan_dies_once():
    others = [make_sandbox() for _ in range(3)]
    gone = [make_sandbox() for _ in range(3)]
    orphans = tuple(app_of(each, orphan_since=NOW - seconds(600), orphan_listings=3) for each in gone)
    facts = make_fleet(*others, apps=orphans, max_total=50)
    assert kinds(replace(facts, deaths=frozenset(each.name for each in gone))) == [Kind.DELETE_ORPHAN] * 3


def test_policy_does_not_wait_for_deaths_of_before():
    pool = make_pool(max_ready=1)
    facts = make_fleet(make_sandbox(), make_sandbox(), pools=(pool,), max_total=50)
    assert Kind.RETIRE in kinds(replace(facts, deaths=dead(40)))


def test_nothing_is_created_in_the_place_of_what_the_guard_keeps():
    lost = [make_sandbox(State.READY, missing_since=NOW - seconds(600), vanished_at=NOW) for _ in range(2)]
    fleet = make_fleet(*lost, pools=(wanted_pool(max_ready=2, target_ready=2),), deaths=dead(9))
    fleet = replace(fleet, apps=())
    assert Kind.STOP in kinds(fleet)
    assert Kind.CREATE not in kinds(fleet)
    room = replace(fleet, pools=(wanted_pool(max_ready=3, target_ready=2, max_concurrent_creates=2),))
    assert kinds(room).count(Kind.CREATE) == 1, "beside them, where there is room"


def test_lifetimes_and_failed_creates_are_not_what_the_guard_is_for():
    ended = [make_sandbox(State.IN_USE, expires_at=NOW - seconds(1)) for _ in range(8)]
    assert kinds(make_fleet(*ended)) == [Kind.EXPIRE] * 8


# The next turn.


@pytest.mark.parametrize(
    ("facts", "due"),
    [
        (make_fleet(), None),
        (make_fleet(make_sandbox()), None),
        (make_fleet(make_sandbox(State.CREATING)), 1.0),
        (make_fleet(make_sandbox(State.IN_USE, expires_at=NOW + seconds(20))), 20.0),
        (make_fleet(make_sandbox(State.IN_USE, expires_at=NOW + seconds(200))), None),
        (make_fleet(make_sandbox(origin=Origin.POOL), pools=(make_pool(min_ready=1),)), None),
    ],
    ids=["nothing", "idle", "creating", "expires soon", "expires later", "idle floor"],
)
def test_a_turn_says_when_the_next_could_find_something_to_do(facts, due):
    assert due_in_seconds(facts, plan_fleet(facts, NOW), NOW) == due


def test_an_app_that_no_listing_tells_about_is_asked_for_now_and_then():
    creating = make_sandbox(State.CREATING, accepted_at=NOW - seconds(60), health_checked_at=NOW - seconds(11))
    failed = replace(make_fleet(creating, pools=(wanted_pool(),)), apps=None, listing_error="no answer")
    assert kinds(failed).count(Kind.ASK) == 1
    just_now = replace(creating, health_checked_at=NOW - seconds(9))
    assert Kind.ASK not in kinds(replace(failed, sandboxes=(just_now,)))
    assert Kind.ASK not in kinds(replace(failed, token_refused=True))
