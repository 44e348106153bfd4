"""The feed of events over HTTP."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Query, Router

from pools.described import described
from runs import feed
from runs.feed_schemas import FeedAsked, FeedOut
from runs.rights import may_see_all
from runs.visitors import caller_of

router = Router(tags=["events"])


@router.get(
    "/events",
    response=FeedOut,
    summary="The events of all runs and pools",
    openapi_extra=described("invalid", "too_many_streams"),
)
def list_events(request: HttpRequest, asked: Query[FeedAsked]) -> dict[str, Any]:
    """Keys with `read`, and operators, get all of them; everybody else those of their own runs. With a key also as a
    stream of server-sent events: `/api/events/stream`, or `Accept: text/event-stream`. Webhooks send the same."""
    view = feed.View.of(None if may_see_all(request) else caller_of(request), asked)
    return feed.page(view, asked.after, asked.limit).as_json()
