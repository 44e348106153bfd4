"""What to change so that the fleet is as it should be. Pure: facts and a time in, decisions with reasons out.

A turn that could not read the whole listing, or can't believe it, decides no deletion and no create for a pool.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from pools.breaker import breaker_at
from pools.cloud.records import Phase
from pools.facts import AppFacts, FleetFacts, PoolFacts, SandboxFacts
from pools.models import BEING_CREATED, ON_THE_WAY, SUPPLY, FailureKind, Mode, Origin, State

RESEND_SECONDS = 15  # a create or delete whose effect is not seen is sent again; names are unique, so it can't double
SETTLE_SECONDS = 30  # how long a create may take to show in a listing before its absence means it never happened
ACCEPT_SECONDS = 30  # a player does not wait longer for the cloud to take the request
STAGING_SECONDS = 120
CREATE_TIMEOUT_SECONDS = 600  # of a sandbox without a pool, whose own setting it is
MISSING_SECONDS = 5  # absent from two listings that far apart: ask for the app itself
VERIFY_EMPTY_SECONDS = 30  # an empty listing is trusted less
LOOK_SECONDS = 30  # between two health looks at an idle sandbox
LOOK_AGAIN_SECONDS = 3  # after a look that failed
LOOKS_A_TURN = 10
LOOKS_TO_FAIL = 3


class Kind(StrEnum):
    CREATE = "create"  # reserve a place in a pool
    SEND_CREATE = "send_create"  # ask the cloud for a reserved one
    ADOPT = "adopt"  # the app of a row whose create's answer was lost

    PROBE = "probe"  # ACTIVE: does its agent answer?
    STAGE = "stage"  # staging did not come back: ask for it again
    LOOK = "look"  # is an idle one still well?
    FAIL = "fail"  # its create came to nothing
    RETIRE = "retire"
    EXPIRE = "expire"
    NOTE_MISSING = "note_missing"
    NOTE_FOUND = "note_found"
    VERIFY = "verify"  # missing from listings: ask for the app itself; when it is gone, it is lost
    SEND_DELETE = "send_delete"
    VERIFY_GONE = "verify_gone"  # not listed any more: the app itself is asked for, because listings lag
    VERIFY_NAME = "verify_name"  # never listed: only whether its name is free tells if its create took effect
    CONFIRM_DELETED = "confirm_deleted"
    NOTE_ORPHAN = "note_orphan"
    DELETE_ORPHAN = "delete_orphan"
    DELETE_APP = "delete_app"  # an operator wants it gone
    HOLD = "hold"  # nothing is done, and this is why
    STOP = "stop"  # too many deletions at once: an operator decides


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing to do. `target` is a sandbox's or pool's id, `app_id` an app's; `reason` a sentence."""

    kind: Kind
    reason: str
    target: UUID | int | None = None
    app_id: str = ""
    name: str = ""
    failure_kind: FailureKind | None = None


# Deletions that a wrong observation could multiply. Failed creates, ended lifetimes and what an operator orders were
# settled one by one, and are not among them.
GUARDED = {Kind.RETIRE, Kind.VERIFY, Kind.DELETE_ORPHAN}


def ago(since: datetime, now: datetime) -> str:
    seconds = max(0, round((now - since).total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def is_over(since: datetime, seconds: float, now: datetime) -> bool:
    """Whether that much time has passed; also when `since` lies so far ahead that the clock was set back meanwhile."""
    return abs(now - since) >= timedelta(seconds=seconds)


def plan_fleet(facts: FleetFacts, now: datetime) -> list[Decision]:
    """Every decision of one turn, guarded against deleting too much at once."""
    plans: list[Decision] = []
    apps_by_id = {app.id: app for app in facts.apps or ()}
    apps_by_name = {app.name: app for app in facts.apps or ()}
    pools = {pool.id: pool for pool in facts.pools}
    for sandbox in facts.sandboxes:
        app = (
            (apps_by_id.get(sandbox.app_id) if sandbox.app_id else apps_by_name.get(sandbox.name))
            if facts.apps
            else None
        )
        plans += plan_sandbox(sandbox, app, pools.get(sandbox.pool_id or 0), facts, now)
    plans += plan_looks(facts, now)
    orphans = list(plan_orphans(facts, now))
    plans += orphans
    leaving = _leaving(plans)
    # What an orphan takes is not free either: the account holds no more than it may.
    strays = sum(decision.kind != Kind.DELETE_APP for decision in orphans)
    places = facts.max_total - len(facts.sandboxes) - facts.demand.places - strays
    for pool in (_with_failures(pool, facts, plans, now) for pool in facts.pools):
        mine = [s for s in facts.sandboxes if s.pool_id == pool.id and s.origin == Origin.POOL]
        staying = [sandbox for sandbox in mine if sandbox.id not in leaving]
        doubtful = [s for s in mine if is_in_doubt(s) and (s.state == State.DELETING or s.id in leaving)]
        changes = list(plan_pool(pool, staying, facts, max(0, places), now, doubtful=doubtful))
        places -= sum(change.kind == Kind.CREATE for change in changes)
        plans += changes
    plans += plan_surplus(facts, plans)
    return guard(plans, facts)


def _leaving(plans: Sequence[Decision]) -> set[UUID | int | None]:
    return {decision.target for decision in plans if decision.kind in (Kind.FAIL, Kind.RETIRE, Kind.EXPIRE)}


def _with_failures(pool: PoolFacts, facts: FleetFacts, plans: Sequence[Decision], now: datetime) -> PoolFacts:
    """The pool with this turn's failures counted, so that none is answered by a create in the same turn."""
    mine = {sandbox.id for sandbox in facts.sandboxes if sandbox.pool_id == pool.id and sandbox.origin == Origin.POOL}
    failing = [plan.failure_kind for plan in plans if plan.kind == Kind.FAIL and plan.target in mine]
    return replace(pool, failures=(*pool.failures, *((now, kind) for kind in failing if kind)))


# One sandbox, from its create to its absence.


def plan_sandbox(
    sandbox: SandboxFacts, app: AppFacts | None, pool: PoolFacts | None, facts: FleetFacts, now: datetime
) -> Iterator[Decision]:
    """What one sandbox needs, given the app the listing shows for it."""
    if sandbox.state == State.DELETING:
        yield from _plan_deletion(sandbox, app, facts, now)
        return
    if app is not None and sandbox.app_id is None:
        yield from _plan_adoption(sandbox, app, facts)
        return
    if sandbox.state in BEING_CREATED:
        yield from _plan_creation(sandbox, app, pool, facts, now)
    elif sandbox.state == State.STAGING:
        yield from _plan_staging(sandbox, now, can_delete=facts.is_trusted)
    elif sandbox.state == State.READY and sandbox.pool_id is None and facts.is_trusted:
        yield _decide(Kind.RETIRE, sandbox, "its pool was deleted: nobody would take it")
        return
    elif sandbox.state == State.IN_USE and sandbox.expires_at and sandbox.expires_at <= now and facts.is_trusted:
        yield _decide(Kind.EXPIRE, sandbox, f"its lifetime ended {ago(sandbox.expires_at, now)} ago")
        return
    if facts.apps is not None and sandbox.app_id:
        yield from _plan_presence(sandbox, app, facts, now)


def _decide(kind: Kind, sandbox: SandboxFacts, reason: str, failure_kind: FailureKind | None = None) -> Decision:
    return Decision(kind, reason, sandbox.id, sandbox.app_id or "", sandbox.name, failure_kind)


def _plan_adoption(sandbox: SandboxFacts, app: AppFacts, facts: FleetFacts) -> Iterator[Decision]:
    if app.owner == facts.orchestrator_id:
        reason = "the answer to its create was lost; found again by its name"
        yield Decision(Kind.ADOPT, reason, sandbox.id, app.id, sandbox.name)
    else:
        reason = f"an app that is not ours has the name {sandbox.name} already"
        yield _decide(Kind.FAIL, sandbox, reason, FailureKind.PROVIDER)


def _plan_creation(
    sandbox: SandboxFacts, app: AppFacts | None, pool: PoolFacts | None, facts: FleetFacts, now: datetime
) -> Iterator[Decision]:
    waited = now - sandbox.requested_at
    timeout = timedelta(seconds=pool.create_timeout_seconds if pool else CREATE_TIMEOUT_SECONDS)
    if sandbox.app_id is None:
        yield from _plan_acceptance(sandbox, timeout, facts, now)
        return
    if app is not None:
        if app.phase in (Phase.ERROR, Phase.CANCELED):
            reason = f"its deployment ended in {app.phase}: {app.failure or 'no reason given'}"
            yield _decide(Kind.FAIL, sandbox, reason, classify(app.failure or ""))
            return
        if app.phase == Phase.ACTIVE and app.url:
            yield _decide(Kind.PROBE, sandbox, "its deployment is active")
    if waited > timeout and facts.is_trusted:
        active = app is not None and app.phase == Phase.ACTIVE
        where = (
            "active, but its agent never answered" if active else f"stuck in {app.phase if app else 'an unknown phase'}"
        )
        reason = f"not healthy after {ago(sandbox.requested_at, now)}: {where}"
        yield _decide(Kind.FAIL, sandbox, reason, FailureKind.AGENT if active else FailureKind.PROVIDER)


def is_in_doubt(sandbox: SandboxFacts) -> bool:
    """Whether its create was sent and its app is not known: it may exist, whatever listings show."""
    return sandbox.create_sent_at is not None and sandbox.app_id is None


def _plan_acceptance(sandbox: SandboxFacts, timeout: timedelta, facts: FleetFacts, now: datetime) -> Iterator[Decision]:
    """A sandbox whose app is not known yet. `accepted_at` says that its name is taken: then it exists, is not asked
    for again, and a listing will show it."""
    waited, sent = now - sandbox.requested_at, sandbox.create_sent_at
    if facts.token_refused:
        yield _decide(Kind.FAIL, sandbox, "DigitalOcean refuses the orchestrator's token", FailureKind.PROVIDER)
    elif sandbox.accepted_at is not None:
        if waited > timeout and facts.is_trusted:
            reason = f"its name is taken, but no listing showed it within {ago(sandbox.requested_at, now)}"
            yield _decide(Kind.FAIL, sandbox, reason, FailureKind.PROVIDER)
    elif waited > min(timeout, timedelta(seconds=ACCEPT_SECONDS)) and (sent or facts.listing_error):
        why = sandbox.trouble or facts.listing_error or "no answer"
        reason = f"DigitalOcean did not accept it within {ago(sandbox.requested_at, now)}: {why}"
        yield _decide(Kind.FAIL, sandbox, reason, FailureKind.PROVIDER)
    elif sent is None:
        yield _decide(Kind.SEND_CREATE, sandbox, "reserved, and not asked for yet")
    elif facts.apps is not None and is_over(sent, RESEND_SECONDS, now):
        reason = f"asked for {ago(sent, now)} ago without an answer, and not in the listing"
        yield _decide(Kind.SEND_CREATE, sandbox, reason)


def classify(failure: str) -> FailureKind:
    """Why a deployment failed, from the cloud's words."""
    if re.search(r"image|registry|manifest|pull", failure, re.IGNORECASE):
        return FailureKind.IMAGE
    if re.search(r"quota|limit", failure, re.IGNORECASE):
        return FailureKind.QUOTA
    if re.search(r"health|readiness|agent", failure, re.IGNORECASE):
        return FailureKind.AGENT
    return FailureKind.PROVIDER


def _plan_staging(sandbox: SandboxFacts, now: datetime, *, can_delete: bool) -> Iterator[Decision]:
    started = sandbox.staging_started_at or sandbox.healthy_at or sandbox.requested_at
    since_healthy = now - (sandbox.healthy_at or sandbox.requested_at)
    if since_healthy > timedelta(seconds=3 * STAGING_SECONDS) and can_delete:
        reason = f"staging did not finish within {ago(sandbox.healthy_at or sandbox.requested_at, now)}"
        yield _decide(Kind.FAIL, sandbox, reason, FailureKind.AGENT)
    elif now - started > timedelta(seconds=STAGING_SECONDS):
        yield _decide(Kind.STAGE, sandbox, f"staging was asked for {ago(started, now)} ago and did not finish")


def is_expected(sandbox: SandboxFacts, now: datetime) -> bool:
    """Whether a listing of now should show it: listings may lag behind a create."""
    if sandbox.app_id is None or sandbox.state == State.DELETING:
        return False
    return sandbox.accepted_at is None or now - sandbox.accepted_at > timedelta(seconds=SETTLE_SECONDS)


def _plan_presence(sandbox: SandboxFacts, app: AppFacts | None, facts: FleetFacts, now: datetime) -> Iterator[Decision]:
    if app is not None:
        if sandbox.missing_since is not None:
            yield _decide(Kind.NOTE_FOUND, sandbox, "listed again")
        return
    if not is_expected(sandbox, now):
        return
    if sandbox.missing_since is None:
        yield _decide(Kind.NOTE_MISSING, sandbox, "missing from a complete listing")
        return
    patience = MISSING_SECONDS if facts.is_trusted else VERIFY_EMPTY_SECONDS
    if now - sandbox.missing_since >= timedelta(seconds=patience):
        yield _decide(Kind.VERIFY, sandbox, f"missing from every listing for {ago(sandbox.missing_since, now)}")


def _plan_deletion(sandbox: SandboxFacts, app: AppFacts | None, facts: FleetFacts, now: datetime) -> Iterator[Decision]:
    if sandbox.create_sent_at is None and sandbox.app_id is None:
        yield _decide(Kind.CONFIRM_DELETED, sandbox, "the cloud was never asked for it")
        return
    if not facts.is_trusted:
        return
    if app is not None and sandbox.app_id is None:
        if app.owner == facts.orchestrator_id:
            yield Decision(Kind.ADOPT, "created after all; it will be deleted", sandbox.id, app.id, sandbox.name)
        else:
            yield _decide(Kind.CONFIRM_DELETED, sandbox, "the app of that name is not ours")
        return
    if sandbox.app_id is None:
        if sandbox.create_sent_at and is_over(sandbox.create_sent_at, SETTLE_SECONDS, facts.listed_at):
            yield _decide(Kind.VERIFY_NAME, sandbox, "asked for, and in no listing: its name tells whether it exists")
        return
    sent = sandbox.delete_sent_at
    if sent is None or is_over(sent, RESEND_SECONDS, now):
        where = "not known to be gone" if app is None else "still listed"
        again = "" if sent is None else f" ({where} {ago(sent, now)} after the last try)"
        yield _decide(Kind.SEND_DELETE, sandbox, f"to be deleted{again}")
    elif app is None and facts.listed_at > sent:
        yield _decide(Kind.VERIFY_GONE, sandbox, "deleted, and gone from the listing")


# Idle sandboxes: a look that changes no count. Only repeated failures retire.


def plan_looks(facts: FleetFacts, now: datetime) -> Iterator[Decision]:
    """The idle sandboxes whose health is looked at this turn, those not seen for longest first."""
    due = []
    for sandbox in facts.sandboxes:
        if sandbox.state != State.READY:
            continue
        if sandbox.health_failures >= LOOKS_TO_FAIL:
            if facts.is_trusted:
                reason = f"its agent did not answer {sandbox.health_failures} looks in a row"
                yield _decide(Kind.RETIRE, sandbox, reason)
            continue
        seen = sandbox.health_checked_at or sandbox.age_from
        pause = LOOK_AGAIN_SECONDS if sandbox.health_failures else LOOK_SECONDS
        if now - seen >= timedelta(seconds=pause):
            due.append((seen, sandbox))
    due.sort(key=lambda pair: pair[0])
    for seen, sandbox in due[:LOOKS_A_TURN]:
        yield _decide(Kind.LOOK, sandbox, f"not looked at for {ago(seen, now)}")


# Apps without a row.


def carries_our_mark(app: AppFacts, facts: FleetFacts) -> bool:
    """Our id and a name that only we give: the orchestrator's own app may carry the id, but never such a name."""
    is_our_name = re.fullmatch(re.escape(facts.name_prefix) + r"[0-9a-f]{8}", app.name)
    return app.owner == facts.orchestrator_id and is_our_name is not None


def plan_orphans(facts: FleetFacts, now: datetime) -> Iterator[Decision]:
    """Apps with our mark and no row: noted first, deleted after two complete listings and the grace. Apps that an
    operator has marked for deletion go at once; all others without our mark are foreign and stay."""
    if facts.apps is None:
        return
    tracked_ids = {sandbox.app_id for sandbox in facts.sandboxes if sandbox.app_id}
    tracked_names = {sandbox.name for sandbox in facts.sandboxes if sandbox.app_id is None}
    grace = timedelta(seconds=facts.orphan_grace_seconds)
    for app in facts.apps:
        if app.delete_reason:
            sent = app.delete_sent_at
            went = not app.is_listed and sent is not None and facts.listed_at > sent
            if went or sent is None or is_over(sent, RESEND_SECONDS, now):
                yield Decision(Kind.DELETE_APP, app.delete_reason, app_id=app.id, name=app.name)
            continue
        if app.id in tracked_ids or app.name in tracked_names or not carries_our_mark(app, facts):
            continue
        if app.orphan_since is None or app.orphan_listings < 2 or now - app.orphan_since < grace:
            reason = "it carries our mark and no sandbox of ours is it"
            yield Decision(Kind.NOTE_ORPHAN, reason, app_id=app.id, name=app.name)
        else:
            reason = (
                f"orphan for {ago(app.orphan_since, now)}: our mark, no sandbox of ours, {app.orphan_listings} listings"
            )
            yield Decision(Kind.DELETE_ORPHAN, reason, app_id=app.id, name=app.name)


# Too many for the fleet.


def plan_surplus(facts: FleetFacts, plans: Sequence[Decision]) -> Iterator[Decision]:
    """Idle sandboxes that go because the fleet holds more than it may: its limit was lowered. A few a turn, together
    with what the pools retire, so that the guard lets them pass."""
    leaving = _leaving(plans)
    staying = [s for s in facts.sandboxes if s.state != State.DELETING and s.id not in leaving]
    idle = sorted((s for s in staying if s.state == State.READY), key=lambda s: s.age_from)
    retired = sum(decision.kind == Kind.RETIRE for decision in plans)
    over = min(len(staying) - facts.max_total, facts.blast_radius_floor - retired)
    if facts.is_trusted:
        for sandbox in idle[: max(0, over)]:
            reason = f"the fleet holds {len(staying)}, at most {facts.max_total} allowed"
            yield _decide(Kind.RETIRE, sandbox, reason)


# Pools.


def plan_pool(
    pool: PoolFacts,
    sandboxes: Sequence[SandboxFacts],
    facts: FleetFacts,
    places: int,
    now: datetime,
    *,
    doubtful: Sequence[SandboxFacts] = (),
) -> Iterator[Decision]:
    """What to change so that `pool` is as it should be at `now`. `places` is what the fleet has left for it, `doubtful`
    are given up, and may exist all the same."""
    if not facts.is_trusted:
        yield _hold(pool, f"no create and no delete: {facts.listing_error or 'the listing was not complete'}")
        return
    if pool.mode == Mode.PAUSED:
        yield _hold(pool, "paused by an operator")
        return
    supply = [sandbox for sandbox in sandboxes if sandbox.state in SUPPLY]
    ready = sorted((sandbox for sandbox in supply if sandbox.state == State.READY), key=lambda s: s.age_from)
    if pool.mode == Mode.DRAINING:
        for sandbox in ready[:1]:
            yield _decide(Kind.RETIRE, sandbox, f"pool {pool.name} is draining")
        return
    waiting = facts.demand.waiting.get(pool.runtime, 0)
    wanted = min(pool.max_ready, max(pool.min_ready, pool.target_ready if pool.is_wanted(now) else 0) + waiting)
    outdated = [sandbox for sandbox in supply if is_outdated(sandbox, pool, now)]
    fresh = len(supply) - len(outdated)
    if len(supply) > pool.max_ready and ready:
        over = min(len(supply) - pool.max_ready, facts.blast_radius_floor)  # a few a turn: the guard lets them pass
        for sandbox in _spare(ready, pool, now)[:over]:
            yield _decide(
                Kind.RETIRE,
                sandbox,
                f"pool {pool.name} holds {len(supply)}, at most {pool.max_ready} allowed",
            )
    elif fresh < wanted and doubtful:
        name = doubtful[0].name
        yield _hold(pool, f"no create: {name} may exist, its create was not answered and no listing shows it")
    elif fresh < wanted:
        yield from _plan_creates(pool, supply, now, fresh=fresh, wanted=wanted, waiting=waiting, places=places)
    if len(supply) <= pool.max_ready and len(ready) > wanted:
        yield from _plan_shrink(pool, ready, wanted, now)
    elif fresh < wanted and len(supply) == pool.max_ready:
        yield from _replace_in_place(pool, supply, now)


def is_outdated(sandbox: SandboxFacts, pool: PoolFacts, now: datetime) -> bool:
    """Too old to hand over, or made before the operator (or a new snapshot) asked for fresh ones."""
    if was_made_before_recycling(sandbox, pool, now):
        return True
    too_old = timedelta(seconds=pool.max_warm_age_seconds)
    return sandbox.ready_at is not None and now - sandbox.ready_at > too_old


def was_made_before_recycling(sandbox: SandboxFacts, pool: PoolFacts, now: datetime) -> bool:
    """Not while that moment lies ahead, after the clock was set back: each fresh one would be outdated at once."""
    return pool.recycle_before is not None and sandbox.requested_at < pool.recycle_before <= now


def _hold(pool: PoolFacts, reason: str) -> Decision:
    return Decision(Kind.HOLD, f"pool {pool.name}: {reason}", pool.id, name=pool.name)


def _plan_creates(
    pool: PoolFacts,
    supply: Sequence[SandboxFacts],
    now: datetime,
    *,
    fresh: int,
    wanted: int,
    waiting: int,
    places: int,
) -> Iterator[Decision]:
    creating = sum(sandbox.state in BEING_CREATED for sandbox in supply)
    breaker = breaker_at(pool.failures, now)
    slots = (1 if breaker.is_probing or breaker.failures else pool.max_concurrent_creates) - creating
    room = pool.max_ready - len(supply)
    cooldown = timedelta(seconds=pool.cooldown_after_acquire_seconds)
    cooled_at = pool.last_acquired_at + cooldown if pool.last_acquired_at else now
    count = min(wanted - fresh, slots, room, places)
    if breaker.retry_at is not None:
        yield _hold(pool, f"no create: {breaker.explanation}")
    elif cooled_at > now and not waiting:
        yield _hold(pool, f"no create until {cooled_at:%H:%M:%S}: cools down after the last launch")
    elif count > 0:
        ready = sum(sandbox.state == State.READY for sandbox in supply)
        outdated = f" ({len(supply) - fresh} outdated)" if fresh < len(supply) else ""
        counts = f"{ready} ready + {len(supply) - ready} creating{outdated}"
        reason = f"create 1 for pool {pool.name}: {counts} < target {wanted}, "
        reason += _demand(pool, waiting, now) + (f"; {breaker.explanation}" if breaker.is_probing else "")
        for _ in range(count):
            yield Decision(Kind.CREATE, reason, pool.id, name=pool.name)
    elif places <= 0:
        yield _hold(pool, "no create: the fleet has no place left")


def _replace_in_place(pool: PoolFacts, supply: Sequence[SandboxFacts], now: datetime) -> Iterator[Decision]:
    """The pool's own maximum leaves no room for a fresh one beside an outdated one: it goes, then one comes."""
    if any(sandbox.state in ON_THE_WAY for sandbox in supply):
        return
    for sandbox in [s for s in supply if s.state == State.READY and is_outdated(s, pool, now)][:1]:
        yield _decide(Kind.RETIRE, sandbox, f"outdated ({_why_outdated(sandbox, pool, now)}), and no room beside it")


def _demand(pool: PoolFacts, waiting: int, now: datetime) -> str:
    if waiting:
        return f"{waiting} launch{'es' if waiting > 1 else ''} waiting"
    if pool.is_wanted(now) and pool.last_acquired_at is not None:
        by = f" by {pool.last_acquired_by}" if pool.last_acquired_by else ""
        return f"last acquired {ago(pool.last_acquired_at, now)} ago{by}"
    return f"its idle floor is {pool.min_ready}"


def _why_outdated(sandbox: SandboxFacts, pool: PoolFacts, now: datetime) -> str:
    if pool.recycle_before is not None and was_made_before_recycling(sandbox, pool, now):
        return f"recycled: made before {pool.recycle_before:%H:%M:%S}"
    return f"warm for {ago(sandbox.age_from, now)}, at most {pool.max_warm_age_seconds} s"


def _spare(ready: Sequence[SandboxFacts], pool: PoolFacts, now: datetime) -> list[SandboxFacts]:
    """The idle ones in the order in which they can be done without: outdated first, then the oldest."""
    return sorted(ready, key=lambda sandbox: (not is_outdated(sandbox, pool, now), sandbox.age_from))


def _plan_shrink(pool: PoolFacts, ready: Sequence[SandboxFacts], wanted: int, now: datetime) -> Iterator[Decision]:
    """One idle sandbox at a time, and only while enough others are ready."""
    victim = _spare(ready, pool, now)[0]
    if is_outdated(victim, pool, now):
        yield _decide(
            Kind.RETIRE, victim, f"outdated ({_why_outdated(victim, pool, now)}), and enough others are ready"
        )
        return
    if pool.last_shrunk_at is not None and not is_over(pool.last_shrunk_at, pool.scale_down_delay_seconds, now):
        return
    idle = pool.idle_for(now)
    why = "never acquired from" if idle is None else f"last acquired {ago(now - idle, now)} ago"
    yield _decide(Kind.RETIRE, victim, f"idle: {len(ready)} ready > {wanted} wanted by pool {pool.name}, {why}")


# Not too much at once.


def guard(decisions: Sequence[Decision], facts: FleetFacts) -> list[Decision]:
    """The decisions, less the guarded deletions when they are more than the set share of the fleet and nobody has let
    them through; then a STOP says so."""
    deletions = [decision for decision in decisions if decision.kind in GUARDED]
    fleet = len(facts.sandboxes) + sum(decision.kind == Kind.DELETE_ORPHAN for decision in decisions)
    allowed = max(facts.blast_radius_floor, math.floor(facts.blast_radius_share * fleet), facts.approved_deletes)
    if len(deletions) <= allowed:
        return list(decisions)
    reason = (
        f"{len(deletions)} of {fleet} would be deleted in one turn, {allowed} at most: an operator must let them go"
    )
    kept = [decision for decision in decisions if decision.kind not in GUARDED]
    return [Decision(Kind.STOP, reason), *kept]


# When to look again.


def due_in_seconds(facts: FleetFacts, decisions: Sequence[Decision], now: datetime) -> float | None:
    """How long until a turn could find something to do; None when that is further off than the next scheduled turn."""
    moments: list[float] = []
    if facts.demand.places or any(facts.demand.waiting.values()):
        moments.append(1.0)
    if any(decision.kind not in (Kind.HOLD, Kind.STOP, Kind.LOOK) for decision in decisions):
        moments.append(1.0)
    for sandbox in facts.sandboxes:
        moments += _moments(sandbox, now)
    for pool in facts.pools:
        moments += _pool_moments(pool, facts, now)
    soon = [max(0.5, moment) for moment in moments if moment <= 60]
    return min(soon, default=None)


def _moments(sandbox: SandboxFacts, now: datetime) -> Iterator[float]:
    if sandbox.state in (*ON_THE_WAY, State.DELETING):
        age = (now - (sandbox.delete_requested_at or sandbox.requested_at)).total_seconds()
        yield 1.0 if age < 60 else 3.0 if age < 300 else 10.0
    if sandbox.missing_since is not None:
        yield 2.0
    if sandbox.state == State.READY and sandbox.health_failures:
        yield float(LOOK_AGAIN_SECONDS)
    if sandbox.state == State.IN_USE and sandbox.expires_at is not None:
        yield max(1.0, (sandbox.expires_at - now).total_seconds())


def _pool_moments(pool: PoolFacts, facts: FleetFacts, now: datetime) -> Iterator[float]:
    """Moments to come; what is due already was decided in this turn."""
    moments = []
    ready = [s for s in facts.sandboxes if s.pool_id == pool.id and s.state == State.READY]
    if pool.last_acquired_at is not None and ready:
        moments.append(pool.last_acquired_at + timedelta(seconds=pool.idle_timeout_seconds))
    if pool.last_shrunk_at is not None and len(ready) > pool.min_ready:
        moments.append(pool.last_shrunk_at + timedelta(seconds=pool.scale_down_delay_seconds))
    if pool.last_acquired_at is not None and pool.is_wanted(now):
        moments.append(pool.last_acquired_at + timedelta(seconds=pool.cooldown_after_acquire_seconds))
        retry_at = breaker_at(pool.failures, now).retry_at
        moments += [retry_at] if retry_at else []
    yield from ((moment - now).total_seconds() for moment in moments if moment > now)
