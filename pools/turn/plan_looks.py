"""The sandboxes to look at this turn, idle and played, and those that failed their looks too often."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from pools.ages import ago, is_over
from pools.cloud.errors import AgentUnavailable, SandboxEmptied
from pools.models import LOOKS_TO_FAIL, State
from pools.reasons import EndCode, StepCode
from pools.turn.decisions import Decision, Kind, decide
from pools.turn.facts import FleetFacts, SandboxFacts
from pools.turn.waits import (
    LOOK_AGAIN_SECONDS,
    LOOK_IN_USE_SECONDS,
    LOOK_SECONDS,
    LOOKS_A_TURN,
    LOSE_SECONDS,
    REFUSALS_TO_FAIL,
    SILENT_TOGETHER,
)


def plan_looks(facts: FleetFacts, now: datetime) -> Iterator[Decision]:
    """What is given up after its looks, and the looks of this turn: those not seen for longest first."""
    due = []
    looked_at = [sandbox for sandbox in facts.sandboxes if is_looked_at(sandbox)]
    is_our_network = are_most_silent(looked_at)
    for sandbox in looked_at:
        if is_given_up(sandbox, now) and facts.is_trusted and not (is_our_network and is_silent(sandbox)):
            code, reason = why_given_up(sandbox)
            yield decide(Kind.RETIRE if sandbox.state == State.READY else Kind.LOSE, sandbox, code, reason)
        seen = last_seen(sandbox)  # also at what is given up, which may be held back, and well again
        if is_over(seen, look_pause_seconds(sandbox, facts.started_at), now):
            due.append((seen, sandbox))
    due.sort(key=lambda pair: pair[0])
    for seen, sandbox in due[:LOOKS_A_TURN]:
        yield decide(Kind.LOOK, sandbox, StepCode.UNSEEN, f"not looked at for {ago(seen, now)}")


def is_looked_at(sandbox: SandboxFacts) -> bool:
    """Idle, or with a game in it that is to answer. Whoever works in the others notices what dies."""
    return sandbox.state == State.READY or (sandbox.state == State.IN_USE and sandbox.is_played)


def is_silent(sandbox: SandboxFacts) -> bool:
    """Whether nothing answered the last look; an agent that answers tells by itself what is wrong."""
    return sandbox.health_failures > 0 and sandbox.trouble_code == AgentUnavailable.code


def are_most_silent(sandboxes: Sequence[SandboxFacts]) -> bool:
    """Whether so many are silent at once that it is our network that is broken, and not they."""
    silent = sum(is_silent(sandbox) for sandbox in sandboxes)
    return silent >= SILENT_TOGETHER and 2 * silent > len(sandboxes)


def why_given_up(sandbox: SandboxFacts) -> tuple[EndCode, str]:
    """Return the code and the sentence for one that failed its looks too often."""
    if sandbox.refuses_us:
        return EndCode.AGENT_REFUSED, f"its agent refuses our token: {sandbox.trouble}"
    if sandbox.trouble_code == SandboxEmptied.code:
        return EndCode.EMPTIED, f"its container was restarted: {sandbox.trouble}"
    return EndCode.UNWELL, f"its agent did not answer {sandbox.health_failures} times in a row"


def is_given_up(sandbox: SandboxFacts, now: datetime) -> bool:
    """Whether it failed its looks so often that nothing more is expected of it."""
    if sandbox.health_failures < (REFUSALS_TO_FAIL if sandbox.refuses_us else LOOKS_TO_FAIL):
        return False
    return sandbox.state == State.READY or is_over(sandbox.unwell_since or last_seen(sandbox), LOSE_SECONDS, now)


def last_seen(sandbox: SandboxFacts) -> datetime:
    return sandbox.health_checked_at or sandbox.age_from


def is_unseen(sandbox: SandboxFacts, started_at: datetime | None) -> bool:
    """Whether nobody has looked at it since the orchestrator's start. If it is called ready, somebody may be in it all
    the same: the database may be from a backup."""
    return started_at is not None and last_seen(sandbox) < started_at


def look_pause_seconds(sandbox: SandboxFacts, started_at: datetime | None) -> float:
    """Return how long after the last look the next is due. Since the orchestrator's start all have to be seen once."""
    if is_unseen(sandbox, started_at):
        return 0.0
    if sandbox.health_failures:
        return LOOK_AGAIN_SECONDS
    return LOOK_IN_USE_SECONDS if sandbox.state == State.IN_USE else LOOK_SECONDS
