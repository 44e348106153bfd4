"""One call, however many requests it takes: retries within its deadline, pages, waits, streams that are cut."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from arcade_client.errors import ArcadeError, ConnectionFailed, Problem, RunOver, UnexpectedAnswer, WaitedTooLong
from arcade_client.retries import pause_before_retry
from arcade_client.server_sent_events import Reader, ServerSent
from arcade_client.shapes import Event, RunEvent, RunFields, S, read, read_all
from arcade_client.wire import Answer, Call, Feed, Item, NextLine, Open, Pause, Request, Send, Site

Until = Literal["running", "settled"]
OK = 200
ROWS_A_PAGE = 100
WAIT_SECONDS = 25  # the server holds a request that long at most
LEAST_BETWEEN_LOOKS_SECONDS = 0.5  # for servers that do not wait
POLL_SECONDS = 2.0  # between looks at the events, for those whom the server does not hold
SILENCE_SECONDS = 40.0  # a stream has a heartbeat each 15 s


def ask(site: Site, request: Request, *, more_seconds: float = 0) -> Call[Answer]:
    """Send a request, and again while that may help. Returns a good answer; raises Problem, ConnectionFailed or
    UnexpectedAnswer. `more_seconds`: how long the server was asked to take."""
    began = site.clock()
    until = began + site.timeout_seconds + more_seconds
    attempt = 0
    while True:
        attempt += 1
        given_up_at = until
        failure: ArcadeError
        try:
            answer: Answer = yield Send(request, max(0.0, until - site.clock()))
            site.contact.is_made = True
            if answer.is_good:
                return answer
            failure = answer.failure()
        except ConnectionFailed as failed:
            failure = failed
            if not failed.was_sent:
                given_up_at = min(until, began + site.contact.seconds)
        pause = pause_before_retry(
            failure,
            is_repeatable=request.is_repeatable,
            attempt=attempt,
            left_seconds=given_up_at - site.clock(),
            chance=site.chance(),
        )
        if pause is None:
            raise failure
        yield Pause(pause)


def get(site: Site, path: str, query: Mapping[str, Any] | None = None, token: str = "") -> Call[Any]:
    """The JSON at an address."""
    answer = yield from ask(site, site.request("GET", path, query, token=token))
    return answer.json()


def pages(
    site: Site,
    path: str,
    rows: str,
    shape: type[S],
    filters: Mapping[str, Any],
    *,
    cursor: str = "cursor",
    next_cursor: str = "next_cursor",
) -> Feed[S]:
    """All rows of a list, page after page. A page may be short, or empty, and still have a next one. What a page has as
    `next_cursor` is asked for as `cursor`."""
    query = {name: in_query(value) for name, value in filters.items()} | {"limit": ROWS_A_PAGE}
    while True:
        page = yield from get(site, path, query)
        if not isinstance(page, Mapping):
            raise UnexpectedAnswer(f"A page was expected, and {str(page)[:80]!r} came.")
        for row in read_all(shape, page.get(rows)):
            yield Item(row)
        following = page.get(next_cursor)
        if not page.get("has_more", True) or not following:
            return
        if following == query.get(cursor):
            raise UnexpectedAnswer("The list does not end: a page leads to itself.")
        query[cursor] = following


def in_query(value: Any) -> Any:
    """A value as an address has it. Times without a zone are this machine's."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value


def wait(site: Site, run: RunFields, until: Until, timeout_seconds: float) -> Call[RunFields]:
    """The run, once it is that far. Raises RunOver or WaitedTooLong."""
    run = yield from look(site, run, until, site.clock() + timeout_seconds)
    if is_far(run, until):
        return run
    if run.is_over:
        raise RunOver(f"Run {run.run_id} is over: {run.end_reason or run.end_code}", run)
    raise WaitedTooLong(f"After {timeout_seconds:g} s run {run.run_id} still is {run.state}.", run)


def look(site: Site, run: RunFields, until: Until, deadline: float) -> Call[RunFields]:
    """How the run stands once it is that far, is over, or the deadline has come. It is looked at once at least."""
    while True:
        began = site.clock()
        held = max(0, min(WAIT_SECONDS, int(deadline - began)))
        request = site.request("GET", f"/api/runs/{run.run_id}", {"wait_for": until, "timeout": held}, token=run.token)
        answer = yield from ask(site, request, more_seconds=held)
        run = read(RunFields, answer.json(), token=run.token)
        now = site.clock()
        if is_far(run, until) or run.is_over or now >= deadline:
            return run
        yield Pause(max(0.0, min(LEAST_BETWEEN_LOOKS_SECONDS - (now - began), deadline - now)))


def is_far(run: RunFields, until: Until) -> bool:
    return run.is_over if until == "settled" else run.is_running


def follow(site: Site, run: RunFields, after: int) -> Feed[RunEvent]:
    """A run's lines to its end, each once, over as many connections as it takes. Raises when no connection brings a
    line within the site's timeout; one that did, and was lost, gives the next one all of it."""
    attempt, until = 0, site.clock() + site.timeout_seconds
    while True:
        attempt += 1
        is_heard = False
        failure: ArcadeError
        try:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(after)} if after else {})
            request = site.request("GET", f"/api/stream/{run.run_id}", token=run.token, headers=headers)
            head: Answer = yield Open(request, max(0.0, until - site.clock()), SILENCE_SECONDS)
            if not head.is_good:
                raise head.failure()
            if head.status != OK:
                raise UnexpectedAnswer(f"A stream was expected, and status {head.status} came.")
            reader = Reader()
            while (line := (yield NextLine())) is not None:
                is_heard = True
                sent = reader.take(line)
                event = _numbered(sent) if sent else None
                if event is None or event.seq <= after:
                    continue
                after = event.seq
                yield Item(event)
                if event.kind == "end":
                    return
            failure = ConnectionFailed("The stream ended before the run did.", was_sent=True)
        except (ConnectionFailed, Problem) as failed:
            failure = failed
        if is_heard:  # neither the caller's time with an item nor the silence of a dead connection counts
            attempt, until = 1, site.clock() + site.timeout_seconds
        left, chance = until - site.clock(), site.chance()
        pause = pause_before_retry(failure, is_repeatable=True, attempt=attempt, left_seconds=left, chance=chance)
        if pause is None:
            raise failure
        yield Pause(pause)


def _numbered(sent: ServerSent) -> RunEvent | None:
    """Events without a number say what a numbered one says as well, or nothing (heartbeats)."""
    if not sent.id:
        return None
    try:
        return read(RunEvent, json.loads(sent.data))
    except ValueError:
        raise UnexpectedAnswer(f"{sent.data[:80]!r} is no event.") from None


def events(site: Site, after: int | None, filters: Mapping[str, Any]) -> Feed[Event]:
    """What happens in the arcade, without an end: beyond a number, or the last events and what comes. The server holds
    requests with a key until there is something; the others look again and again."""
    held = WAIT_SECONDS if site.key else 0
    while True:
        began = site.clock()
        query = {**filters, "after": after, "wait": held or None}
        page = (yield from ask(site, site.request("GET", "/api/events", query), more_seconds=held)).json()
        if not isinstance(page, Mapping):
            raise UnexpectedAnswer(f"A page of events was expected, and {str(page)[:80]!r} came.")
        for event in read_all(Event, page.get("events")):
            yield Item(event)
        following = page.get("after")
        if not isinstance(following, int):
            raise UnexpectedAnswer("A page of events does not say after which number to go on.")
        if page.get("has_more") and after is not None and following <= after:
            raise UnexpectedAnswer("The events do not go on: a page leads to itself.")
        after = following
        if not page.get("has_more"):
            least = LEAST_BETWEEN_LOOKS_SECONDS if held else POLL_SECONDS
            yield Pause(max(0.0, least - (site.clock() - began)))
