"""The admin's site: its index begins with what needs attention."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import Count, Max
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django_q.models import Failure, Schedule

from orchestrator_site.models import CLOCK_OFF_SECONDS, Beat, clock_sentence
from pools.ages import ago
from pools.console.alarms import Alarm, Urgency, fleet_alarms
from pools.console.fleet_page import picture

SILENT_SECONDS = 60
SILENCE_TOLD_FOR = timedelta(hours=1)  # a cluster that was replaced leaves its last beat behind
SCHEDULE_LATE_SECONDS = 180
FAILURES_WITHIN = timedelta(days=1)
FAILURES_TOLD = 5
FIRST = ["pools", "runs", "games", "orchestrator_site", "django_q"]


class OperatorsSite(AdminSite):
    site_title = "Sandbox orchestrator"
    site_header = "Sandbox orchestrator"
    index_title = "Operators"
    index_template = "admin/operators_index.html"
    enable_nav_sidebar = False  # the tables need its place

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the apps: those that operators come for first, then the rest by name."""
        apps = super().get_app_list(request, app_label)
        return sorted(apps, key=lambda app: FIRST.index(app["app_label"]) if app["app_label"] in FIRST else len(FIRST))

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        context = extra_context or {}
        if request.user.has_perm("pools.view_fleet"):
            context = {**context, "alarms": alarms(timezone.now()), "shows_alarms": True}
        return super().index(request, context)


def alarms(now: datetime) -> list[Alarm]:
    """Return what needs an operator, the worst first."""
    found = [*_cluster_alarms(now), *fleet_alarms(picture(now)), *_task_alarms(now)]
    return sorted(found, key=lambda alarm: list(Urgency).index(alarm.urgency))


def _cluster_alarms(now: datetime) -> Iterator[Alarm]:
    page = reverse("admin:orchestrator_site_beat_changelist")
    beats = list(Beat.objects.order_by("-at"))
    silent_since = now - timedelta(seconds=SILENT_SECONDS)
    if not any(beat.at > silent_since for beat in beats):
        last = (
            f"The last sign of life is {ago(beats[0].at, now)} old" if beats else "None has ever given a sign of life"
        )
        detail = f"{last}. Without a cluster nothing is created, deleted or deployed: start `manage.py qcluster`."
        yield Alarm(Urgency.ERROR, "No Django-Q cluster gives a sign of life", detail, page)
        return
    for beat in beats:
        if beat.at > silent_since and abs(beat.clock_ahead_seconds) > CLOCK_OFF_SECONDS:
            detail = f"It is {clock_sentence(beat.clock_ahead_seconds)}, whose time is used. Put it right."
            yield Alarm(Urgency.WARNING, f"The clock of {beat.host} is off", detail, page)
        if silent_since >= beat.at > now - SILENCE_TOLD_FOR:
            detail = f"For {ago(beat.at, now)}; others are alive. If it was replaced on purpose, all is well."
            yield Alarm(Urgency.WARNING, f"{beat} has not beaten", detail, page)
        elif beat.at > silent_since and beat.stuck:
            yield Alarm(Urgency.ERROR, f"{beat} is stuck", f"{beat.stuck}.", page)


def _task_alarms(now: datetime) -> Iterator[Alarm]:
    late = Schedule.objects.filter(next_run__lt=now - timedelta(seconds=SCHEDULE_LATE_SECONDS)).exclude(repeats=0)
    for schedule in late.order_by("next_run"):
        if schedule.next_run is not None:
            detail = f"It was due {ago(schedule.next_run, now)} ago: is a cluster running?"
            yield Alarm(
                Urgency.WARNING,
                f"Schedule {schedule.name} is late",
                detail,
                reverse("admin:django_q_schedule_changelist"),
            )
    failed = Failure.objects.filter(stopped__gt=now - FAILURES_WITHIN).order_by()
    for row in failed.values("func").annotate(count=Count("pk"), last=Max("stopped")).order_by("-last")[:FAILURES_TOLD]:
        newest = Failure.objects.filter(func=row["func"]).order_by("-stopped").first()
        why = str(newest.result).strip().splitlines()[-1][:300] if newest and newest.result else "no reason was kept"
        count = row["count"]
        title = f"{row['func']} failed {count} time{'s' if count > 1 else ''} within a day"
        page = reverse("admin:django_q_failure_changelist") + f"?q={row['func']}"
        yield Alarm(Urgency.WARNING, title, f"Last {ago(row['last'], now)} ago: {why}", page)
