"""What sandboxes cost day by day, in the admin: a chart, a table, and both as CSV and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render

from pools import clock
from pools.console.exports import TYPES, Row, streamed
from pools.console.rights import MachineOwned
from pools.prices import shown_usd
from runs.cost_days import TOLD_APART, CostDays, cost_days
from runs.models import UsageDay

DAYS = (7, 30, 90)
USUAL_DAYS, USUAL = 30, "use"
HEIGHT, GAP = 100, 0.12  # of a column's width


class Block(NamedTuple):
    series: int
    x: float
    y: float
    width: float
    height: float
    title: str


class Asked(NamedTuple):
    """Which days, told apart by what. Unknown values count as none."""

    days: int
    by: str

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Asked:
        by, days = parameters.get("by", ""), parameters.get("days", "")
        known = {str(each): each for each in DAYS}
        return cls(known.get(days, USUAL_DAYS), by if by in TOLD_APART else USUAL)

    def but(self, **changes: Any) -> str:
        return urlencode({"days": self.days, "by": self.by} | changes)

    def found(self) -> CostDays:
        now = clock.now()
        return cost_days(now.date() - timedelta(days=self.days - 1), now.date(), self.by, now)


@admin.register(UsageDay)
class CostAdmin(MachineOwned):
    """Shows costs where Django would list the rows that they are summed from."""

    exported = ("day", "name", "usd")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("pools.view_fleet")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = Asked.of(request.GET)
        found = asked.found().short()
        context = {
            **self.admin_site.each_context(request),
            "title": "Cost per day",
            "opts": self.opts,
            "asked": asked,
            "found": found,
            "rows": [(day, found.of_day(day), sum(found.of_day(day))) for day in reversed(found.days)],
            "sums": [sum(found.usd.get((day, name), 0.0) for day in found.days) for name in found.names],
            "blocks": blocks(found),
            "height": HEIGHT,
            "spans": [(days, asked.but(days=days)) for days in DAYS],
            "kinds": [(by, asked.but(by=by)) for by in TOLD_APART],
            "query": asked.but(),
        }
        return render(request, "admin/runs/usageday/page.html", context)

    def export_view(self, request: HttpRequest, kind: str) -> StreamingHttpResponse:
        """A row for each day and name that cost something; all names."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if kind not in TYPES:
            raise Http404
        return streamed(request, _portions(Asked.of(request.GET)), self.exported, kind, "cost")


def _portions(asked: Asked) -> Iterator[list[Row]]:
    found = asked.found()
    yield [{"day": day, "name": name, "usd": shown_usd(usd)} for (day, name), usd in sorted(found.usd.items()) if usd]


def blocks(found: CostDays) -> Sequence[Block]:
    """The chart: a column a day, with what each name cost, one above the other."""
    made = []
    for place, day in enumerate(found.days):
        top = float(HEIGHT)
        for series, (name, usd) in enumerate(zip(found.names, found.of_day(day), strict=True)):
            if usd:
                height = HEIGHT * usd / found.highest
                top -= height
                title = f"{day:%b} {day.day}, {name}: ${usd:.2f}"
                made.append(Block(series, place + GAP / 2, round(top, 2), 1 - GAP, round(height, 2), title))
    return made
