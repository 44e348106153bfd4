"""One sandbox, from its create to its confirmed absence: what it needs, given what the listing shows for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from pools.ages import ago, is_over
from pools.cloud.records import App, Phase
from pools.models import BEING_CREATED, FailureKind, State
from pools.ownership import Identity
from pools.reasons import EndCode, StepCode
from pools.turn.decisions import Decision, Kind, decide
from pools.turn.facts import AppFacts, FleetFacts, PoolFacts, SandboxFacts
from pools.turn.waits import (
    ACCEPT_SECONDS,
    ASK_SECONDS,
    CREATE_TIMEOUT_SECONDS,
    MISSING_SECONDS,
    REFUSALS_TO_FAIL,
    RESEND_SECONDS,
    SETTLE_SECONDS,
    STAGE_AGAIN_SECONDS,
    STAGING_SECONDS,
    VERIFY_AGAIN_SECONDS,
    VERIFY_EMPTY_SECONDS,
)


def plan_sandbox(
    sandbox: SandboxFacts, app: AppFacts | None, pool: PoolFacts | None, facts: FleetFacts, now: datetime
) -> Iterator[Decision]:
    """Yield what one sandbox needs, given the app that the listing shows for it."""
    identity = Identity.UNTOLD
    if app is not None:
        identity = facts.mark.identity(app, sandbox.name, is_known=sandbox.is_known)
    if sandbox.app_id is not None and identity == Identity.ANOTHERS:
        # Nothing is sent to it, and nothing concluded from it, until its own record has told whose it is.
        reason = f"the app with the id in its record is listed as {app.name if app else ''}, not as ours of that name"
        yield decide(Kind.IDENTIFY, sandbox, StepCode.ID_OF_ANOTHER, reason)
        return
    if app is not None and identity == Identity.UNTOLD:
        app = replace(app, phase=Phase.UNKNOWN, url=None, failure=None)
    if sandbox.state == State.DELETING:
        yield from _plan_deletion(sandbox, app, identity, facts, now)
        return
    if app is not None and sandbox.app_id is None:
        yield from _plan_adoption(sandbox, app, identity)
        return
    if sandbox.state in BEING_CREATED:
        yield from _plan_creation(sandbox, app, pool, facts, now)
    elif sandbox.state == State.STAGING:
        yield from _plan_staging(sandbox, now, can_delete=facts.is_trusted)
    elif sandbox.state == State.READY and sandbox.pool_id is None and facts.is_trusted:
        yield decide(Kind.RETIRE, sandbox, EndCode.POOL_DELETED, "its pool was deleted, so nobody would take it")
        return
    elif sandbox.state == State.IN_USE and sandbox.expires_at and sandbox.expires_at <= now and facts.is_trusted:
        yield decide(Kind.EXPIRE, sandbox, EndCode.EXPIRED, f"its lifetime ended {ago(sandbox.expires_at, now)} ago")
        return
    if facts.apps is not None and sandbox.app_id:
        yield from _plan_presence(sandbox, app, facts, now)


def _plan_adoption(sandbox: SandboxFacts, app: AppFacts, identity: Identity) -> Iterator[Decision]:
    if identity == Identity.ITS_OWN:
        reason = "the answer to its create was lost; found again by its name"
        yield Decision(Kind.ADOPT, StepCode.ANSWER_LOST, reason, sandbox.id, app.id, sandbox.name)
    else:
        reason = f"an app that is not ours has the name {sandbox.name} already"
        yield decide(Kind.FAIL, sandbox, EndCode.NAME_TAKEN, reason, FailureKind.PROVIDER)


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
            yield decide(Kind.FAIL, sandbox, EndCode.DEPLOYMENT_FAILED, *failure_of(app))
            return
        if sandbox.refuses_us and sandbox.health_failures >= REFUSALS_TO_FAIL and facts.is_trusted:
            reason = f"its agent refuses our token: {sandbox.trouble}"
            yield decide(Kind.FAIL, sandbox, EndCode.AGENT_REFUSED, reason, FailureKind.AGENT)
            return
        if app.phase == Phase.ACTIVE and app.url:
            yield decide(Kind.PROBE, sandbox, StepCode.ACTIVE, "its deployment is active")
    yield from _plan_question(sandbox, app, facts, now)
    if waited > timeout and facts.is_trusted:
        active = app is not None and app.phase == Phase.ACTIVE
        where = (
            "active, but its agent never answered" if active else f"stuck in {app.phase if app else 'an unknown phase'}"
        )
        reason = f"not healthy after {ago(sandbox.requested_at, now)}: {where}"
        if active:
            yield decide(Kind.FAIL, sandbox, EndCode.AGENT_SILENT, reason, FailureKind.AGENT)
        else:
            yield decide(Kind.FAIL, sandbox, EndCode.TIMED_OUT, reason, FailureKind.PROVIDER)


def _plan_question(sandbox: SandboxFacts, app: AppFacts | None, facts: FleetFacts, now: datetime) -> Iterator[Decision]:
    """No listing tells how it is: there is none now, or it is from before the app, or the app's entry mentions no
    deployment, as after a first one that failed. One request tells."""
    is_told = app is not None and app.phase != Phase.UNKNOWN
    asked_at = sandbox.health_checked_at or sandbox.accepted_at or sandbox.requested_at
    if not is_told and not facts.token_refused and is_over(asked_at, ASK_SECONDS, now):
        reason = "no listing shows it" if app is None else "the listing does not tell how its deployment goes"
        yield decide(Kind.ASK, sandbox, StepCode.UNTOLD, f"{reason}: the app itself is asked for")


def is_in_doubt(sandbox: SandboxFacts) -> bool:
    """Whether its create was sent and its app is not known: it may exist, whatever listings show."""
    return sandbox.create_sent_at is not None and sandbox.app_id is None


def _plan_acceptance(sandbox: SandboxFacts, timeout: timedelta, facts: FleetFacts, now: datetime) -> Iterator[Decision]:
    """A sandbox whose app is not known yet. `accepted_at` says that its name is taken: then it exists, is not asked
    for again, and a listing will show it; unless its name turns out to be free."""
    waited, sent = now - sandbox.requested_at, sandbox.create_sent_at
    if facts.token_refused:
        reason = "DigitalOcean refuses the orchestrator's token"
        yield decide(Kind.FAIL, sandbox, EndCode.TOKEN_REFUSED, reason, FailureKind.PROVIDER)
    elif sandbox.accepted_at is not None:
        if waited > timeout and facts.is_trusted:
            reason = f"its name is taken, but no listing showed it within {ago(sandbox.requested_at, now)}"
            yield decide(Kind.FAIL, sandbox, EndCode.NEVER_LISTED, reason, FailureKind.PROVIDER)
        elif is_over(sandbox.health_checked_at or sandbox.accepted_at, RESEND_SECONDS, now):
            reason = "its name was taken, and no listing shows it: is it still?"
            yield decide(Kind.VERIFY_NAME, sandbox, StepCode.NAME_TAKEN, reason)
    elif waited > min(timeout, timedelta(seconds=ACCEPT_SECONDS)) and (sent or facts.listing_error):
        why = sandbox.trouble or facts.listing_error or "no answer"
        reason = f"DigitalOcean did not accept it within {ago(sandbox.requested_at, now)}: {why}"
        # What was never sent, because we were asked to be silent, has not failed.
        kind = FailureKind.PROVIDER if sent else None
        yield decide(Kind.FAIL, sandbox, EndCode.NOT_ACCEPTED, reason, kind)
    elif sent is None:
        yield decide(Kind.SEND_CREATE, sandbox, StepCode.RESERVED, "reserved, and not asked for yet")
    elif facts.apps is not None and is_over(sent, RESEND_SECONDS, now):
        reason = f"asked for {ago(sent, now)} ago without an answer, and not in the listing"
        yield decide(Kind.SEND_CREATE, sandbox, StepCode.UNANSWERED, reason)


def failure_of(app: AppFacts | App) -> tuple[str, FailureKind]:
    """Return why a sandbox whose deployment ended has failed, and the kind of failure."""
    return f"its deployment ended in {app.phase}: {app.failure or 'no reason given'}", classify(app.failure or "")


def classify(failure: str) -> FailureKind:
    """Return why a deployment failed, from the cloud's own words."""
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
    if since_healthy > timedelta(seconds=STAGING_SECONDS) and can_delete:
        reason = f"staging did not finish within {ago(sandbox.healthy_at or sandbox.requested_at, now)}"
        yield decide(Kind.FAIL, sandbox, EndCode.STAGING_FAILED, reason, FailureKind.AGENT)
    elif not sandbox.is_being_staged and is_over(started, STAGE_AGAIN_SECONDS, now):
        reason = f"staging was asked for {ago(started, now)} ago, and nobody is at it"
        yield decide(Kind.STAGE, sandbox, StepCode.STAGING_STUCK, reason)


def is_expected(sandbox: SandboxFacts, now: datetime) -> bool:
    """Whether a listing of now should show it: listings may lag behind a create."""
    if sandbox.app_id is None or sandbox.state == State.DELETING:
        return False
    return sandbox.accepted_at is None or now - sandbox.accepted_at > timedelta(seconds=SETTLE_SECONDS)


def _plan_presence(sandbox: SandboxFacts, app: AppFacts | None, facts: FleetFacts, now: datetime) -> Iterator[Decision]:
    if app is not None:
        if sandbox.missing_since is not None:
            yield decide(Kind.NOTE_FOUND, sandbox, StepCode.LISTED_AGAIN, "listed again")
        return
    if not is_expected(sandbox, now):
        return
    if sandbox.missing_since is None:
        yield decide(Kind.NOTE_MISSING, sandbox, StepCode.NOT_LISTED, "missing from a complete listing")
        return
    patience = MISSING_SECONDS if facts.is_trusted else VERIFY_EMPTY_SECONDS
    reason = f"missing from every listing for {ago(sandbox.missing_since, now)}"
    if sandbox.vanished_at is not None:
        yield decide(Kind.BURY, sandbox, EndCode.LOST, f"lost: it vanished from DigitalOcean ({reason})")
        return
    is_asked_for = sandbox.verified_at is not None and not is_over(sandbox.verified_at, VERIFY_AGAIN_SECONDS, now)
    if now - sandbox.missing_since >= timedelta(seconds=patience) and not is_asked_for:
        yield decide(Kind.VERIFY, sandbox, StepCode.NOT_LISTED, reason)


def _plan_deletion(
    sandbox: SandboxFacts, app: AppFacts | None, identity: Identity, facts: FleetFacts, now: datetime
) -> Iterator[Decision]:
    if sandbox.create_sent_at is None and sandbox.app_id is None:
        yield decide(Kind.CONFIRM_DELETED, sandbox, StepCode.NEVER_ASKED, "the cloud was never asked for it")
        return
    if not facts.is_trusted:
        return
    if app is not None and sandbox.app_id is None:
        if identity == Identity.ITS_OWN:
            reason = "created after all; it will be deleted"
            yield Decision(Kind.ADOPT, StepCode.CREATED_AFTER_ALL, reason, sandbox.id, app.id, sandbox.name)
        else:
            yield decide(Kind.CONFIRM_DELETED, sandbox, StepCode.NOT_OURS, "the app of that name is not ours")
        return
    if sandbox.app_id is None:
        if sandbox.create_sent_at and is_over(sandbox.create_sent_at, SETTLE_SECONDS, facts.listed_at):
            reason = "asked for, and in no listing: its name tells whether it exists"
            yield decide(Kind.VERIFY_NAME, sandbox, StepCode.NAME_IN_DOUBT, reason)
        return
    sent = sandbox.delete_sent_at
    if sent is None or is_over(sent, RESEND_SECONDS, now):
        where = "not known to be gone" if app is None else "still listed"
        again = "" if sent is None else f" ({where} {ago(sent, now)} after the last try)"
        code = StepCode.DUE if sent is None else StepCode.STILL_THERE
        yield decide(Kind.SEND_DELETE, sandbox, code, f"to be deleted{again}")
    elif app is None and facts.listed_at > sent:
        yield decide(Kind.VERIFY_GONE, sandbox, StepCode.UNLISTED, "deleted, and gone from the listing")
