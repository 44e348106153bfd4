"""Show what a warm pool buys and what it costs."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from pools import clock
from pools.shared import Shared
from runs.pages import charts, statistics
from runs.pages.answers import fresh
from runs.pages.race import race

STATS_WINDOW = timedelta(days=7)
TIMELINE_WINDOW = timedelta(hours=6)


@require_safe
@fresh
def stats(request: HttpRequest) -> HttpResponse:
    """Show what a warm pool buys and what it costs."""
    return render(request, "stats/page.html", {"content": CONTENT.get()})


def _content() -> SafeString:
    now = clock.now()
    times = statistics.launch_times(now - STATS_WINDOW)
    since = now - TIMELINE_WINDOW
    context = {
        "times": times,
        "is_sample": sum(each.count for each in times) == statistics.LAUNCHES_LOOKED_AT,
        "histogram": charts.histogram(times) if times else None,
        "hits": statistics.hit_rate(now - STATS_WINDOW),
        "cost": statistics.idle_cost(now - timedelta(days=1), now),
        "histories": [charts.PoolChart.of(history) for history in statistics.pool_histories(since, now)],
        "race": race(times),
    }
    return render_to_string("stats/content.html", context)


CONTENT = Shared(_content)
