"""The fleet as it was at a moment, as a page: sandboxes with their verdicts, figures, the log around it, a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator

from pools.ages import ago
from pools.console.history_chart import SPANS, USUAL, chart
from pools.history import STATES, FleetThen, existing_at, fleet_then, kept_from, within_kept
from pools.history_rows import Finding, FindingCode
from pools.models import FleetEvent, Origin, Pool, Sandbox, State
from pools.occupants import Occupant, occupants
from pools.prices import cost_usd
from pools.turn.verdict import STUCK_DELETING_SECONDS, Verdict

ROWS_A_PAGE = 100
LINES_AROUND = 40  # before the moment, and as many after it
AROUND = timedelta(minutes=5)
MARKS_LISTED = 50
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NO_POOL = "-"  # in the address: those of no pool
OF_SANDBOXES = (FindingCode.MISSING, FindingCode.UNWELL)


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """What is asked for. Unknown values count as none."""

    at: datetime
    span: str = USUAL
    pool: str = ""
    state: str = ""
    page: int = 1
    is_understood: bool = True  # whether the moment was one

    @classmethod
    def of(cls, parameters: Mapping[str, str], now: datetime) -> HistoryQuery:
        asked, span, state = (parameters.get(name, "") for name in ("at", "span", "state"))
        at, number = moment(asked), parameters.get("page", "")
        return cls(
            at=within_kept(at or now, now),
            span=span if span in SPANS else USUAL,
            pool=parameters.get("pool", "").replace("\0", "")[:40],
            state=state if state in STATES else "",
            page=int(number) if number.isascii() and number.isdigit() and len(number) < 8 else 1,
            is_understood=at is not None or not asked,
        )

    def but(self, **changes: Any) -> str:
        """The query string of the same page with something changed, from its first rows on."""
        asked: dict[str, Any] = {"at": self.at, "span": self.span, "pool": self.pool, "state": self.state} | changes
        values = asked | {"at": written(asked["at"])}
        return urlencode({name: value for name, value in values.items() if value and (name, value) != ("span", USUAL)})


def moment(text: str) -> datetime | None:
    """A moment as addresses have it, in UTC unless it says otherwise; None for what is none."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def written(at: datetime) -> str:
    """A moment as addresses and the picker have it."""
    whole = at.astimezone(UTC).replace(tzinfo=None, microsecond=0)
    return whole.isoformat(timespec="seconds" if whole.second else "minutes")


@dataclass(frozen=True, slots=True)
class RowThen:
    """One sandbox as it was."""

    sandbox: Any  # with what `existing_at` adds
    verdict: Verdict
    why: str
    occupant: Occupant | None
    cost_usd: Decimal
    age_seconds: float

    @property
    def state(self) -> str:
        return State(self.sandbox.state_then).label


def rows_then(sandboxes: Sequence[Sandbox], then: FleetThen) -> list[RowThen]:
    """The sandboxes with what is known of them at that moment; who was in them is one question for all."""
    found: dict[str, list[Finding]] = {}
    for finding in then.findings:
        found.setdefault(finding.name, []).append(finding)
    who = occupants([sandbox.pk for sandbox in sandboxes])
    return [_row(sandbox, found.get(sandbox.name, []), who.get(sandbox.pk), then.at) for sandbox in sandboxes]


def _row(sandbox: Any, findings: Sequence[Finding], occupant: Occupant | None, at: datetime) -> RowThen:
    verdict, why = verdict_then(sandbox, findings, at)
    is_in_it = sandbox.origin == Origin.COLD or (sandbox.acquired_at is not None and sandbox.acquired_at <= at)
    billed = sandbox.accepted_at is not None and sandbox.accepted_at <= at
    cost = cost_usd(sandbox.size, (at - sandbox.accepted_at).total_seconds()) if billed else Decimal(0)
    age = max(0.0, (at - sandbox.since_then).total_seconds())
    return RowThen(sandbox, verdict, why, occupant if is_in_it else None, cost, age)


def verdict_then(sandbox: Any, findings: Sequence[Finding], at: datetime) -> tuple[Verdict, str]:
    """What the fleet's page said of it then, as far as that is kept. Pure."""
    if sandbox.state_then == State.DELETING:
        if at - sandbox.since_then > timedelta(seconds=STUCK_DELETING_SECONDS):
            return Verdict.DRIFTING, f"to be deleted for {ago(sandbox.since_then, at)}"
        return Verdict.DELETING, sandbox.end_reason
    by_code = {finding.code: finding for finding in findings}
    if missing := by_code.get(FindingCode.MISSING):
        return Verdict.MISSING, f"missing from DigitalOcean's listing for {ago(missing.since, at)}"
    if unwell := by_code.get(FindingCode.UNWELL):
        return Verdict.DRIFTING, f"unwell for {ago(unwell.since, at)}: {unwell.detail}".rstrip(": ")
    return Verdict.IN_STEP, ""


def lines_around(at: datetime) -> list[FleetEvent]:
    """The lines of the log before and after a moment, newest first."""
    before = FleetEvent.objects.filter(at__lte=at, at__gt=at - AROUND).order_by("-at", "-seq")[:LINES_AROUND]
    after = FleetEvent.objects.filter(at__gt=at, at__lte=at + AROUND).order_by("at", "seq")[:LINES_AROUND]
    return [*reversed(after), *before]


def context_of(query: HistoryQuery, now: datetime) -> dict[str, Any]:
    """All that the page shows, in a fixed number of statements."""
    then = fleet_then(query.at, now)
    shown = existing_at(query.at).select_related("pool")
    if query.pool:
        shown = shown.filter(pool=None) if query.pool == NO_POOL else shown.filter(pool__name=query.pool)
    if query.state:
        shown = shown.filter(state_then=query.state)
    page = Paginator(shown, ROWS_A_PAGE).get_page(query.page)
    pool = Pool.objects.filter(name=query.pool).first() if query.pool else None
    picture = chart(query.at, query.span, pool, now)
    minute = query.at.replace(second=0, microsecond=0)
    steps = [
        ("an hour back", query.at - HOUR),
        ("a minute back", minute - MINUTE if minute == query.at else minute),
        ("a minute on", minute + MINUTE),
        ("an hour on", query.at + HOUR),
    ]
    listed = sorted((mark.incident for mark in picture.marks), key=lambda each: each.since, reverse=True)
    return {
        "query": query,
        "now": now,
        "then": then,
        "page": page,
        "rows": rows_then(list(page.object_list), then),
        "apps": [finding for finding in then.findings if finding.code not in OF_SANDBOXES],
        "states": [(state.value, state.label) for state in STATES],
        "figures": [(each, _counts(each.counts, each.name or NO_POOL, query)) for each in then.pools],
        "chart": picture,
        "moments": [(at, query.but(at=at)) for at in picture.moments],
        "marks": [(mark, query.but(at=mark.incident.since)) for mark in picture.marks],
        "listed": [(each, query.but(at=each.since)) for each in listed[:MARKS_LISTED]],
        "unlisted": max(0, len(listed) - MARKS_LISTED),
        "spans": [(name, query.but(span=name)) for name in SPANS],
        "steps": [(title, query.but(at=at)) for title, at in steps if kept_from(now) <= at <= now],
        "all_url": query.but(pool="", state=""),
        "page_query": query.but(),
        "kept_from": kept_from(now),
        "picked": written(query.at),
        "least": written(kept_from(now)),
        "most": written(now),
        "events": lines_around(query.at),
    }


def _counts(counts: Mapping[str, int], pool: str, query: HistoryQuery) -> list[tuple[int, str]]:
    """How many there were in each state, with the link to them."""
    return [(counts[state], query.but(pool=pool, state=state.value)) for state in STATES]
