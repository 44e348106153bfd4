"""The admin's site: its index begins with what needs attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.auth.views import redirect_to_login
from django.db.models import Count, Max
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django_q.models import Failure, Schedule

from orchestrator_site.models import CLOCK_OFF_SECONDS, Beat, clock_sentence
from orchestrator_site.sign_in import throttle
from orchestrator_site.sign_in.second_factor import who_must_set_up
from orchestrator_site.sign_in.view import SignInView, second_factor_page
from pools import clock
from pools.ages import ago
from pools.console.alarms import Alarm, Urgency
from pools.console.view import view
from pools.reasons import LogKind

SILENT_SECONDS = 60
SILENCE_TOLD_FOR = timedelta(hours=1)  # a cluster that was replaced leaves its last beat behind
SCHEDULE_LATE_SECONDS = 180
FAILURES_WITHIN = timedelta(days=1)
FAILURES_TOLD = 5
MANY_FAILED_SIGN_INS = 20  # of an hour
LOCKS_NAMED = 3
FIRST = ["pools", "runs", "games", "orchestrator_site", "django_q"]
View = TypeVar("View", bound=Callable[..., HttpResponseBase])


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

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        return {**super().each_context(request), "version": settings.VERSION}

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Django's own, with a second factor, a throttle, and nobody led to where there is nothing."""
        if request.method == "GET" and who_must_set_up(request):
            return redirect("admin:second_factor")
        if request.method == "GET" and self.has_permission(request):
            return redirect("admin:index")
        context = {
            **self.each_context(request),
            "title": "Sign in",
            "app_path": request.get_full_path(),
            "username": request.user.get_username(),
            **(extra_context or {}),
        }
        request.current_app = self.name
        return cast(HttpResponse, SignInView.as_view(extra_context=context)(request))

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        """As Django's; and who has yet to set up a second factor that is required comes to nothing else."""
        guarded = super().admin_view(view, cacheable)

        @wraps(guarded)
        def set_up_first(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            is_logout = request.path == reverse("admin:logout")
            if who_must_set_up(request):
                return self.logout(request) if is_logout else redirect("admin:second_factor")
            if request.method == "POST" and not is_logout and not self.has_permission(request):
                return redirect_to_login(_page_before(request), reverse("admin:login"))
            return guarded(request, *args, **kwargs)

        return cast(View, set_up_first)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        page = never_cache(csrf_protect(self.second_factor))
        return [path("second-factor/", page, name="second_factor"), *super().get_urls()]

    def second_factor(self, request: HttpRequest) -> HttpResponseBase:
        """A person's own second factor."""
        if not who_must_set_up(request) and not self.has_permission(request):
            return redirect_to_login(request.get_full_path(), reverse("admin:login"))
        return second_factor_page(request, self.each_context(request))

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        context = extra_context or {}
        if request.user.has_perm("pools.view_fleet"):
            context = {**context, "alarms": alarms(clock.now()), "shows_alarms": True}
        return super().index(request, context)


def _page_before(request: HttpRequest) -> str:
    """The page whose button was pressed: after the sign-in it is there to be seen, and what was pressed is not."""
    url = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(url, {request.get_host()}):
        return reverse("admin:index")
    return urlsplit(url)._replace(scheme="", netloc="").geturl()


def alarms(now: datetime) -> list[Alarm]:
    """Return what needs an operator, the worst first."""
    found = [*_cluster_alarms(now), *view().alarms, *_task_alarms(now), *_sign_in_alarms(now)]
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


def _sign_in_alarms(now: datetime) -> Iterator[Alarm]:
    page = reverse("admin:pools_fleetevent_changelist") + f"?kind__exact={LogKind.SIGN_IN}"
    if locked := throttle.locked_now(now):
        named = [*locked[:LOCKS_NAMED], *(["others"] if len(locked) > LOCKS_NAMED else [])]
        minutes = settings.AXES_COOLOFF_TIME.total_seconds() / 60
        detail = f"For {', '.join(named)}. A lock ends by itself, {minutes:.0f} minutes after the last failure."
        yield Alarm(Urgency.WARNING, "Sign-ins are locked", detail, page)
    failures = throttle.failures_since(now - timedelta(hours=1))
    if failures >= MANY_FAILED_SIGN_INS:
        detail = "Somebody may be guessing passwords. The log says as whom, and from where."
        yield Alarm(Urgency.WARNING, f"{failures} sign-ins failed within an hour", detail, page)
