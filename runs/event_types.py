"""What each line of the orchestrator log is to programs: one table from its kind and code to the type of the event.

Pure. A type that was given out once keeps its meaning; programs pass over those that they do not know.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.db.models import Q, TextChoices

from pools.reasons import HoldCode, LogKind
from pools.webhooks import DisabledCode
from runs.reasons import LineCode, RunEndCode, StatusCode


class EventType(TextChoices):
    """Types of events: what it is about, and what happened."""

    RUN_LAUNCHED = "run.launched", "A game was launched"
    RUN_WAITING = "run.waiting", "A launch waits for a sandbox"
    RUN_RUNNING = "run.running", "A run's game is ready to be played"
    RUN_RESTARTING = "run.restarting", "A run's game stopped and is being started again"
    RUN_EXTENDED = "run.extended", "A run has more time"
    RUN_ENDING_SOON = "run.ending_soon", "A run's time is nearly up"
    RUN_ENDED = "run.ended", "A run is over"
    RUN_FAILED = "run.failed", "A run failed"
    RUN_NOTED = "run.noted", "Something else about a run"
    SANDBOX_REQUESTED = "sandbox.requested", "A sandbox is wanted, and has its place"
    SANDBOX_CREATED = "sandbox.created", "DigitalOcean has accepted a sandbox"
    SANDBOX_STAGED = "sandbox.staged", "Games were put into a sandbox, or could not be"
    SANDBOX_READY = "sandbox.ready", "A sandbox is ready for a launch"
    SANDBOX_ACQUIRED = "sandbox.acquired", "A run has taken a sandbox"
    SANDBOX_DELETING = "sandbox.deleting", "A sandbox is to be deleted"
    SANDBOX_DELETED = "sandbox.deleted", "A sandbox is gone"
    POOL_CHANGED = "pool.changed", "An operator changed a pool"
    POOL_HELD = "pool.held", "A pool creates nothing for now"
    FLEET_BREAKER = "fleet.breaker", "Creates stop after failures"
    FLEET_STOPPED = "fleet.stopped", "Deletions wait for an operator"
    FLEET_RESUMED = "fleet.resumed", "Deletions go on"
    FLEET_ORPHAN = "fleet.orphan", "An app with our mark is in no record"
    FLEET_LISTING = "fleet.listing", "DigitalOcean's listing fails, or is complete again"
    FLEET_TROUBLE = "fleet.trouble", "Something went wrong"
    FLEET_MAINTENANCE = "fleet.maintenance", "Maintenance begins or ends"
    GAME_SNAPSHOT = "game.snapshot", "A game's snapshot was built, or could not be"
    ALARM_RAISED = "alarm.raised", "An alarm begins"
    ALARM_CLEARED = "alarm.cleared", "An alarm is over"
    ALARM_IN_HAND = "alarm.in_hand", "An operator has taken an alarm in hand"
    FLEET_PROCESS = "fleet.process", "A process of the orchestrator started"
    WEBHOOK_CHANGED = "webhook.changed", "A webhook was made, changed or deleted"
    WEBHOOK_DISABLED = "webhook.disabled", "A webhook is told of nothing any more"
    OPERATOR_ACTED = "operator.acted", "An operator did something, and said why"


OF_KIND: Mapping[str, EventType] = {
    LogKind.CREATE: EventType.SANDBOX_REQUESTED,
    LogKind.ACCEPTED: EventType.SANDBOX_CREATED,
    LogKind.STAGE: EventType.SANDBOX_STAGED,
    LogKind.READY: EventType.SANDBOX_READY,
    LogKind.ACQUIRE: EventType.SANDBOX_ACQUIRED,
    LogKind.DELETE: EventType.SANDBOX_DELETING,
    LogKind.DELETED: EventType.SANDBOX_DELETED,
    LogKind.LAUNCH: EventType.RUN_LAUNCHED,
    LogKind.RUN: EventType.RUN_NOTED,
    LogKind.POOL: EventType.POOL_CHANGED,
    LogKind.HOLD: EventType.POOL_HELD,
    LogKind.STOP: EventType.FLEET_STOPPED,
    LogKind.GO: EventType.FLEET_RESUMED,
    LogKind.ORPHAN: EventType.FLEET_ORPHAN,
    LogKind.LISTING: EventType.FLEET_LISTING,
    LogKind.TROUBLE: EventType.FLEET_TROUBLE,
    LogKind.MAINTENANCE: EventType.FLEET_MAINTENANCE,
    LogKind.SNAPSHOT: EventType.GAME_SNAPSHOT,
    LogKind.ALARM: EventType.ALARM_RAISED,
    LogKind.ALL_CLEAR: EventType.ALARM_CLEARED,
    LogKind.IN_HAND: EventType.ALARM_IN_HAND,
    LogKind.PROCESS: EventType.FLEET_PROCESS,
    LogKind.WEBHOOK: EventType.WEBHOOK_CHANGED,
    LogKind.TURN: EventType.OPERATOR_ACTED,
    LogKind.LOOK: EventType.OPERATOR_ACTED,
    LogKind.SWEEP: EventType.OPERATOR_ACTED,
    LogKind.END: EventType.OPERATOR_ACTED,
    LogKind.EXTEND: EventType.OPERATOR_ACTED,
    LogKind.RESUBMIT: EventType.OPERATOR_ACTED,
}

ENDED = frozenset(
    {RunEndCode.ENDED_BY_PLAYER, RunEndCode.ENDED_BY_API, RunEndCode.ENDED_BY_OPERATOR, RunEndCode.TIME_UP}
)

# Where the code says more than the kind.
OF_CODE: Mapping[tuple[str, str], EventType] = {
    (LogKind.HOLD, HoldCode.BACKING_OFF): EventType.FLEET_BREAKER,
    (LogKind.HOLD, HoldCode.SURPLUS): EventType.FLEET_BREAKER,
    **{(LogKind.WEBHOOK, code): EventType.WEBHOOK_DISABLED for code in DisabledCode},
    (LogKind.RUN, LineCode.RUNNING): EventType.RUN_RUNNING,
    (LogKind.RUN, LineCode.ENDING_SOON): EventType.RUN_ENDING_SOON,
    (LogKind.RUN, StatusCode.EXTENDED): EventType.RUN_EXTENDED,
    (LogKind.RUN, LineCode.RESTARTING): EventType.RUN_RESTARTING,
    (LogKind.RUN, StatusCode.POOL_MISS): EventType.RUN_WAITING,
    (LogKind.RUN, StatusCode.WAITING_FOR_PLACE): EventType.RUN_WAITING,
    (LogKind.RUN, StatusCode.CREATING): EventType.RUN_WAITING,
    **{(LogKind.RUN, code): EventType.RUN_ENDED if code in ENDED else EventType.RUN_FAILED for code in RunEndCode},
}


# What programs get of a line's data. The rest is for operators: what a turn died of, say.
DATA = frozenset(
    {
        *("game", "mode", "served_by", "notice_code", "deployed_from", "total_ms", "restarts"),
        *("expires_at", "extensions", "extensions_left", "seconds_left"),
        *("state", "code", "reason", "duration_ms", "lasted_seconds", "webhook", "request_id"),
        *("alarm", "alarm_url", "runbook_url"),
    }
)


def type_of(kind: str, code: str) -> EventType | None:
    """The type of a line; None for one that programs do not get."""
    return OF_CODE.get((kind, code)) or OF_KIND.get(kind)


def lines_of(types: Collection[EventType]) -> Q:
    """The lines that are of these types."""
    found = Q(pk__in=[])
    for kind, usual in OF_KIND.items():
        special = {code: each for (of_kind, code), each in OF_CODE.items() if of_kind == kind}
        if usual in types:
            others = [code for code, each in special.items() if each not in types]
            found |= Q(kind=kind) & ~Q(code__in=others) if others else Q(kind=kind)
        elif wanted := [code for code, each in special.items() if each in types]:
            found |= Q(kind=kind, code__in=wanted)
    return found


def names_pattern() -> str:
    """What `named` takes, with commas between, as an expression."""
    names = dict.fromkeys(name for each in EventType for name in (each.value.partition(".")[0], each.value))
    one = "|".join(name.replace(".", r"\.") for name in names)
    return f"^({one})(,({one}))*$"


def named(names: Collection[str]) -> frozenset[EventType]:
    """The types of these names; `run` is all that begin with `run.`. Raises ValueError for a name that is none."""
    for name in names:
        if not known([name]):
            raise ValueError(name)
    return known(names)


def known(names: Collection[str]) -> frozenset[EventType]:
    """The types of those of these names that are one."""
    return frozenset(each for each in EventType if each.value in names or each.value.partition(".")[0] in names)
