"""What holds for every fleet and every clock. The numbers are those of the invariants in docs/invariants.md."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from pools.cloud.records import Phase
from pools.demand import Demand
from pools.models import BEING_CREATED, SUPPLY, FailureKind, Mode, Origin, State
from pools.turn.decisions import Kind
from pools.turn.due import due_in_seconds
from pools.turn.facts import AppFacts, FleetFacts, PoolFacts, SandboxFacts
from pools.turn.guard import guard
from pools.turn.plan import plan_fleet

from .builders import NOW, make_sandbox, seconds

DELETIONS = {Kind.RETIRE, Kind.EXPIRE, Kind.VERIFY, Kind.DELETE_ORPHAN, Kind.SEND_DELETE, Kind.DELETE_APP}
moments = st.integers(-7200, 60).map(lambda s: NOW + timedelta(seconds=s))
maybe_moments = st.none() | moments


@st.composite
def pools(draw: st.DrawFn, pool_id: int = 1, runtime: str = "python") -> PoolFacts:
    max_ready = draw(st.integers(0, 6))
    return PoolFacts(
        id=pool_id,
        name=runtime,
        runtime=runtime,
        target_ready=draw(st.integers(0, max_ready)),
        min_ready=draw(st.integers(0, max_ready)),
        max_ready=max_ready,
        max_concurrent_creates=draw(st.integers(1, 3)),
        idle_timeout_seconds=draw(st.integers(10, 900)),
        scale_down_delay_seconds=draw(st.integers(0, 60)),
        cooldown_after_acquire_seconds=draw(st.sampled_from([0, 0, 5])),
        max_warm_age_seconds=draw(st.integers(60, 3600)),
        mode=draw(st.sampled_from(Mode)),
        last_acquired_at=draw(maybe_moments),
        recycle_before=draw(maybe_moments),
        outcomes=tuple(sorted((at, FailureKind.IMAGE) for at in draw(st.lists(moments, max_size=5)))),
        last_shrunk_at=draw(maybe_moments),
    )


@st.composite
def sandboxes(draw: st.DrawFn) -> SandboxFacts:
    origin = draw(st.sampled_from(Origin))
    cold = origin == Origin.COLD
    state = draw(
        st.sampled_from([s for s in State if s != State.DELETED and not (cold and s in (State.READY, State.STAGING))])
    )
    fields = {"origin": origin, "requested_at": draw(moments)}
    if origin == Origin.POOL:
        fields["pool_id"] = draw(st.sampled_from([1, 2]))
    if state == State.IN_USE:
        fields["expires_at"] = draw(moments)
    if state == State.READY:
        fields |= {"health_failures": draw(st.integers(0, 4)), "ready_at": draw(moments)}
    if state == State.DELETING:
        fields["delete_sent_at"] = draw(maybe_moments)
    if state in (State.CREATING, State.DELETING) and draw(st.booleans()):
        fields |= {"app_id": None, "create_sent_at": draw(maybe_moments)}
    return make_sandbox(state, **fields, missing_since=draw(maybe_moments))


@st.composite
def strays(draw: st.DrawFn) -> AppFacts:
    number = draw(st.integers(0, 2**32 - 1))
    return AppFacts(
        id=f"stray-{number}",
        name=draw(st.sampled_from([f"sandbox-{number:08x}", "web", "sandbox-orchestrator"])),
        owner=draw(st.sampled_from([None, "local", "production"])),
        phase=draw(st.sampled_from(Phase)),
        orphan_since=draw(maybe_moments),
        orphan_listings=draw(st.integers(0, 4)),
    )


@st.composite
def fleets(draw: st.DrawFn) -> FleetFacts:
    rows = tuple(draw(st.lists(sandboxes(), max_size=8)))
    apps = [
        AppFacts(row.app_id or f"app-{row.name}", row.name, "local", draw(st.sampled_from(Phase)), "http://127.0.0.1:1")
        for row in rows
        if draw(st.integers(0, 3))
    ]
    trusted = draw(st.integers(0, 4)) > 0
    return FleetFacts(
        pools=(draw(pools(1, "python")), draw(pools(2, "node"))),
        sandboxes=rows,
        apps=(*apps, *draw(st.lists(strays(), max_size=3, unique_by=lambda app: app.id))) if trusted else None,
        listed_at=NOW,
        listing_error="" if trusted else "timed out",
        demand=Demand(
            draw(st.dictionaries(st.sampled_from(["python", "node"]), st.integers(0, 3))), draw(st.integers(0, 2))
        ),
        max_total=draw(st.integers(1, 12)),
        approved=frozenset(str(row.id) for row in rows if draw(st.integers(0, 5)) == 0),
        deaths=frozenset(f"gone-{n}" for n in range(draw(st.sampled_from([0, 0, 2, 9])))),
    )


def after(facts: FleetFacts) -> FleetFacts:
    """The fleet with this turn's creates reserved and its retirements made, as the effects would."""
    rows = list(facts.sandboxes)
    for decision in plan_fleet(facts, NOW):
        if decision.kind == Kind.CREATE:
            rows.append(
                make_sandbox(State.REQUESTED, pool_id=decision.pool_id, requested_at=NOW, runtime=decision.name)
            )
        elif decision.kind in (Kind.RETIRE, Kind.EXPIRE, Kind.FAIL):
            index = next(i for i, row in enumerate(rows) if row.id == decision.sandbox_id)
            rows[index] = replace(rows[index], state=State.DELETING, delete_requested_at=NOW)
    return replace(facts, sandboxes=tuple(rows))


@given(fleets())
def test_invariant_2_no_plan_goes_over_a_limit(facts):
    later = after(facts)
    created = len(later.sandboxes) - len(facts.sandboxes)
    assert not created or len(later.sandboxes) <= facts.max_total
    for pool in facts.pools:
        mine = [row for row in later.sandboxes if row.pool_id == pool.id and row.origin == Origin.POOL]
        supply = sum(row.state in SUPPLY for row in mine)
        creating = sum(row.state in BEING_CREATED for row in mine)
        if any(decision.kind == Kind.CREATE and decision.pool_id == pool.id for decision in plan_fleet(facts, NOW)):
            assert supply <= pool.max_ready
            assert creating <= pool.max_concurrent_creates


@given(fleets())
def test_invariant_4_without_demand_nothing_is_created_above_the_floor(facts):
    idle = tuple(replace(pool, last_acquired_at=None, recycle_before=None) for pool in facts.pools)
    facts = replace(facts, pools=idle, demand=Demand())
    creates = [decision.pool_id for decision in plan_fleet(facts, NOW) if decision.kind == Kind.CREATE]
    for pool in facts.pools:
        fresh = sum(
            row.state in SUPPLY
            and row.pool_id == pool.id
            and row.origin == Origin.POOL
            and not (row.ready_at and NOW - row.ready_at > timedelta(seconds=pool.max_warm_age_seconds))
            for row in after(facts).sandboxes
        )
        assert pool.id not in creates or fresh <= pool.min_ready


@given(fleets())
def test_invariant_5_lifetimes_end_only_what_serves_a_run(facts):
    states = {row.id: row for row in facts.sandboxes}
    for decision in plan_fleet(facts, NOW):
        if decision.kind == Kind.EXPIRE:
            assert states[decision.sandbox_id].state == State.IN_USE
            assert states[decision.sandbox_id].expires_at <= NOW
        if decision.kind == Kind.RETIRE:
            assert states[decision.sandbox_id].state != State.IN_USE


@given(fleets())
def test_invariant_6_foreign_apps_and_fresh_orphans_are_never_deleted(facts):
    apps = {app.id: app for app in facts.apps or ()}
    tracked = {row.app_id for row in facts.sandboxes}
    for decision in plan_fleet(facts, NOW):
        if decision.kind == Kind.DELETE_ORPHAN:
            app = apps[decision.app_id]
            assert facts.owns(app)
            assert app.id not in tracked
            assert app.orphan_listings >= 2
            assert NOW - app.orphan_since >= timedelta(seconds=facts.orphan_grace_seconds)


@given(fleets())
def test_invariant_7_nothing_is_deleted_on_a_listing_that_is_not_complete(facts):
    kinds = {decision.kind for decision in plan_fleet(replace(facts, apps=None, listing_error="page 2"), NOW)}
    assert not kinds & (DELETIONS | {Kind.CREATE})


@given(fleets())
def test_invariant_7_no_turn_deletes_more_than_the_allowed_share(facts):
    guarded = {d.target for d in plan_fleet(facts, NOW) if d.kind in (Kind.RETIRE, Kind.VERIFY, Kind.DELETE_ORPHAN)}
    most = max(3, (len(facts.sandboxes) + len(facts.apps or ()) + len(facts.deaths)) // 2)
    assert len(guarded - facts.approved) <= most


@given(fleets())
def test_every_decision_has_a_reason(facts):
    assert all(decision.reason.strip() for decision in plan_fleet(facts, NOW))


@given(fleets())
def test_planning_is_deterministic_and_guarding_twice_changes_nothing(facts):
    decisions = plan_fleet(facts, NOW)
    assert decisions == plan_fleet(facts, NOW)
    assert guard([d for d in decisions if d.kind != Kind.STOP], facts) == [d for d in decisions if d.kind != Kind.STOP]


@given(fleets())
def test_the_next_turn_is_never_due_in_a_busy_loop(facts):
    due = due_in_seconds(facts, plan_fleet(facts, NOW), NOW)
    assert due is None or 0.5 <= due <= 60


@settings(max_examples=30, deadline=None)  # hours are lived through; a busy machine takes its time
@given(
    pools().filter(lambda pool: pool.mode == Mode.ACTIVE),
    st.lists(st.integers(0, 600), max_size=6),
    st.integers(1, 40),
)
def test_invariant_4_over_hours_creates_never_outnumber_what_demand_and_age_explain(pool, launches, create_seconds):
    """A quiet pool is left alone: after the last launch and its idle timeout it shrinks to its floor and stays."""
    pool = replace(pool, last_acquired_at=None, outcomes=(), recycle_before=None, last_shrunk_at=None)
    pool = replace(pool, max_warm_age_seconds=10**6)
    rows: list[SandboxFacts] = []
    creates = claims = 0
    now = NOW
    quiet_from = max(launches, default=0) + pool.idle_timeout_seconds + 300 + 61 * pool.max_ready + 50 * create_seconds
    for second in range(0, quiet_from + 600, 5):
        now = NOW + seconds(second)
        for launch in launches:
            if second - 5 < launch <= second:
                pool = replace(pool, last_acquired_at=now)
                ready = [row for row in rows if row.state == State.READY]
                if ready:
                    rows.remove(ready[0])
                    claims += 1
        rows = [
            replace(row, state=State.READY, ready_at=now, app_id="a", health_checked_at=now)
            if row.state == State.REQUESTED and now - row.requested_at >= seconds(create_seconds)
            else replace(row, health_checked_at=now)
            for row in rows
        ]
        facts = FleetFacts(pools=(pool,), sandboxes=tuple(rows), apps=(), listed_at=now, max_total=50)
        for decision in plan_fleet(facts, now):
            if decision.kind == Kind.CREATE:
                assert second <= quiet_from or len(rows) < pool.min_ready
                creates += 1
                rows.append(make_sandbox(State.REQUESTED, requested_at=now))
            elif decision.kind == Kind.RETIRE:
                rows = [row for row in rows if row.id != decision.sandbox_id]
                pool = replace(pool, last_shrunk_at=now)
    assert len(rows) == pool.min_ready
    if not launches:
        assert creates == pool.min_ready
    episodes = len(launches) + 1
    assert creates <= claims + episodes * max(pool.target_ready, pool.min_ready)
