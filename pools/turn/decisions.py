"""The decisions of a turn: one thing to do each, with the reason for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from pools.models import FailureKind
from pools.reasons import Code, EndCode, StepCode
from pools.turn.facts import SandboxFacts

DIGEST_CHARACTERS = 16


class Kind(StrEnum):
    SET_TARGET = "set_target"  # the autopilot of a pool
    CREATE = "create"  # reserve a place in a pool
    SEND_CREATE = "send_create"  # ask the cloud for a reserved one
    ADOPT = "adopt"  # the app of a row whose create's answer was lost

    PROBE = "probe"  # ACTIVE: does its agent answer?
    ASK = "ask"  # being created, and no listing tells how it is: the app itself is asked for
    STAGE = "stage"  # staging did not come back: ask for it again
    LOOK = "look"  # is an idle one still well, or the game in one that is played?
    LOSE = "lose"  # it is played, and did not answer for too long
    FAIL = "fail"  # its create came to nothing
    RETIRE = "retire"
    EXPIRE = "expire"
    NOTE_MISSING = "note_missing"
    NOTE_FOUND = "note_found"
    VERIFY = "verify"  # missing from listings: the app itself is asked for
    BURY = "bury"  # the cloud itself says that it has no such app: it is lost
    SEND_DELETE = "send_delete"
    VERIFY_GONE = "verify_gone"  # not listed any more: the app itself is asked for, because listings lag
    IDENTIFY = "identify"  # the id in its row may be another app's: ask for that app, and forget the id if so
    VERIFY_NAME = "verify_name"  # never listed: only whether its name is free tells if it exists
    CONFIRM_DELETED = "confirm_deleted"
    NOTE_ORPHAN = "note_orphan"
    DELETE_ORPHAN = "delete_orphan"
    DELETE_APP = "delete_app"  # an operator wants it gone
    HOLD = "hold"  # nothing is done, and this is why
    STOP = "stop"  # too many deletions at once: an operator decides


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing to do to a sandbox, an app or a pool, by their ids. `name` names it; `code` says why, `reason` says
    it to people."""

    kind: Kind
    code: Code
    reason: str
    sandbox_id: UUID | None = None
    app_id: str = ""
    name: str = ""
    pool_id: int | None = None
    failure_kind: FailureKind | None = None
    target_ready: tuple[int, int] | None = None  # of its pool: what it is, and is to be

    @property
    def is_guarded(self) -> bool:
        """Whether it is among the deletions that only so many of may happen at once."""
        return self.kind in GUARDED and self.code != EndCode.EMPTIED

    @property
    def target(self) -> str:
        """Return the id of what it is about: the sandbox's, that of an app without one, or the pool's."""
        return str(self.sandbox_id or self.app_id or self.pool_id or "")


# Deletions that a wrong observation could multiply. Failed creates, ended lifetimes and what an operator orders were
# settled one by one, and are not among them; nor is what says by itself that it was restarted.
GUARDED = {Kind.RETIRE, Kind.LOSE, Kind.BURY, Kind.DELETE_ORPHAN}
# Deletions that somebody else's word asks for, and not our own policy.
DEATHS = {EndCode.UNWELL, EndCode.AGENT_REFUSED, EndCode.LOST, StepCode.GRACE_OVER}
LEAVING = {Kind.FAIL, Kind.RETIRE, Kind.LOSE, Kind.BURY, Kind.EXPIRE}


def decide(
    kind: Kind, sandbox: SandboxFacts, code: Code, reason: str, failure_kind: FailureKind | None = None
) -> Decision:
    """Return a decision about that sandbox."""
    return Decision(kind, code, reason, sandbox.id, sandbox.app_id or "", sandbox.name, failure_kind=failure_kind)


def essence(decision: Decision) -> list[Any]:
    """What of a decision one agrees to, as JSON has it: not its reason, which tells ages."""
    return [decision.kind, decision.code, decision.name, decision.app_id, *(decision.target_ready or ())]


def digest_of(decisions: Iterable[Decision]) -> str:
    """What stands for exactly these decisions, in any order."""
    return digest(map(essence, decisions))


def digest(essences: Iterable[list[Any]]) -> str:
    """The same of their essences. Not of looks: they change nothing, and one or another comes due with each second."""
    lines = sorted(json.dumps(each) for each in essences if each[0] != Kind.LOOK)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:DIGEST_CHARACTERS]


def leaving(plans: Sequence[Decision]) -> set[UUID | None]:
    """Return the sandboxes that these decisions take out of use."""
    return {decision.sandbox_id for decision in plans if decision.kind in LEAVING}


def sandbox_id(decision: Decision) -> UUID:
    """The sandbox of a decision whose kind is about one."""
    assert decision.sandbox_id is not None  # noqa: S101
    return decision.sandbox_id
