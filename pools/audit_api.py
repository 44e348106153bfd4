"""The audit trail over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router, Schema
from pydantic import Field

from pools.api_keys import Scope
from pools.audit import Act, Asked, acts
from pools.callers import require
from pools.described import described
from pools.keyset import Moment, PageAsked
from pools.schemas import NO_NUL, example

router = Router(tags=["audit"])


class AuditAsked(PageAsked):
    """Which acts: those that are all that is said."""

    actor: str | None = Field(None, min_length=1, max_length=150, pattern=NO_NUL, description="Only by this one")
    kind: str | None = Field(None, max_length=30, pattern=r"^[a-z_]+$", description="pool, sign_in, delete, admin, …")
    since: Moment | None = Field(None, alias="from", description="Only at or after this moment")
    to: Moment | None = Field(None, description="Only before this moment")


class ActOut(Schema):
    """One act."""

    model_config = example(
        {
            "id": "00000000-0000-0001-0000-00000000002a",
            "at": "2026-11-27T10:00:00Z",
            "actor": "key robot (3fa9c1d2)",
            "kind": "pool",
            "code": "",
            "message": "pool python paused; an operator: the fair is over",
            "about": "python",
            "data": {"request_id": "7f3a"},
        }
    )

    id: UUID
    at: datetime
    actor: str = Field(
        description="An operator's account, `key` with a key's name, a player; empty for who failed to sign in"
    )
    kind: str = Field(description="As in the orchestrator log; admin for what only Django's admin has written down")
    code: str = Field(description="Why, or what came of it, as a code; empty where there is none")
    message: str = Field(description="What was done and why, as a sentence")
    about: str = Field(description="The pool, sandbox, run or account that it was done to; empty for the fleet")
    data: dict[str, Any] = Field(description="What else was written down: the request's id, the address of a sign-in")


class AuditOut(Schema):
    """One page of the acts, newest first."""

    acts: list[ActOut]
    has_more: bool = Field(description="Whether there is a next page")
    next_cursor: str | None = Field(description="What the next page is asked for with", examples=[None])


@router.get(
    "/audit",
    response=AuditOut,
    summary="Who did what, when, to what and why",
    openapi_extra=described("invalid", "bad_cursor", scope=Scope.ADMIN),
)
def list_acts(request: HttpRequest, asked: Query[AuditAsked]) -> dict[str, Any]:
    """For keys with `admin`, and operators who may delete sandboxes. Acts are kept for EVENTS_KEPT_DAYS; changes of
    accounts and groups for good. Go by `has_more`: a page that looked for a kind can be short."""
    require(request, Scope.ADMIN)
    found = acts(Asked(asked.limit, asked.cursor, asked.actor, asked.kind, asked.since, asked.to))
    return {
        "acts": [_told(act) for act in found.acts],
        "has_more": found.next_cursor is not None,
        "next_cursor": found.next_cursor,
    }


def _told(act: Act) -> dict[str, Any]:
    own = {name: getattr(act, name) for name in ("actor", "kind", "code", "message", "about", "data")}
    return {"id": act.position.id, "at": act.position.at, **own}
