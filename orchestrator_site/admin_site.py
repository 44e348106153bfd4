"""The admin's site: its index, and each page, begin with what needs attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.views import redirect_to_login
from django.db.models import Count, Max
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.decorators import method_decorator
from django.utils.functional import SimpleLazyObject
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
from pools.alarm_rows import AlarmCode, occurrence_of
from pools.console import hands
from pools.console.alarms import Alarm, Urgency, with_hands, worst_first
from pools.console.operations import Refused
from pools.console.rights import OPERATE, actor_of, live, require
from pools.console.view import forget, view
from pools.reasons import LogKind
from pools.runbook import Section

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
        context = {**super().each_context(request), "version": settings.VERSION}
        if self.has_permission(request) and request.user.has_perm("pools.view_fleet"):
            context |= {"shows_alarms": True, "alarms": SimpleLazyObject(lambda: alarms(clock.now()))}
            context["can_operate"] = request.user.has_perm(OPERATE)
        return context

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
        own = [
            path("second-factor/", page, name="second_factor"),
            path("alarms/in-hand/", self.admin_view(self.take_in_hand), name="take_in_hand"),
        ]
        return [*own, *super().get_urls()]

    def second_factor(self, request: HttpRequest) -> HttpResponseBase:
        """A person's own second factor."""
        if not who_must_set_up(request) and not self.has_permission(request):
            return redirect_to_login(request.get_full_path(), reverse("admin:login"))
        return second_factor_page(request, self.each_context(request))

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        return super().index(request, {**(extra_context or {}), **live(request)})

    def take_in_hand(self, request: HttpRequest) -> HttpResponse:
        """*I have it*: of the alarms that stand, the one that is named."""
        require(request, OPERATE)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        now, occurrence = clock.now(), request.POST.get("occurrence", "")
        alarm = next((each for each in alarms(now) if occurrence and each.occurrence == occurrence), None)
        try:
            if alarm is None:
                raise Refused("That alarm is over.")
            told = hands.raised(occurrence)
            code = told.code if told is not None else ""
            title = told.title if told is not None else alarm.title
            pool_name = told.pool_name if told is not None else ""
            done = hands.take(occurrence, title, actor=actor_of(request), now=now, code=code, pool_name=pool_name)
            messages.success(request, done)
        except Refused as error:
            messages.warning(request, str(error))
        forget()
        return redirect(_page_before(request))


def _page_before(request: HttpRequest) -> str:
    """The page whose button was pressed: after the sign-in it is there to be seen, and what was pressed is not."""
    url = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(url, {request.get_host()}):
        return reverse("admin:index")
    return urlsplit(url)._replace(scheme="", netloc="").geturl()


def alarms(now: datetime) -> list[Alarm]:
    """Return what needs an operator, the worst first."""
    of_fleet = view().alarms
    is_told = any(alarm.subject == AlarmCode.CLUSTER_SILENT for alarm in of_fleet)
    of_clusters = () if is_told else _cluster_alarms(now)
    return worst_first([*with_hands([*of_clusters, *_task_alarms(now), *_sign_in_alarms(now)]), *of_fleet])


def _cluster_alarms(now: datetime) -> Iterator[Alarm]:
    page = reverse("admin:orchestrator_site_beat_changelist")
    beats = list(Beat.objects.order_by("-at"))
    silent_since = now - timedelta(seconds=SILENT_SECONDS)
    if not any(beat.at > silent_since for beat in beats):
        last = (
            f"The last sign of life is {ago(beats[0].at, now)} old" if beats else "None has ever given a sign of life"
        )
        detail = f"{last}. Without a cluster nothing is created, deleted or deployed: start `manage.py qcluster`."
        yield Alarm(Urgency.ERROR, "No Django-Q cluster gives a sign of life", detail, page, Section.NO_CLUSTER)
        return
    for beat in beats:
        if beat.at > silent_since and abs(beat.clock_ahead_seconds) > CLOCK_OFF_SECONDS:
            detail = f"It is {clock_sentence(beat.clock_ahead_seconds)}, whose time is used. Put it right."
            yield Alarm(Urgency.WARNING, f"The clock of {beat.host} is off", detail, page, Section.CLOCK)
        if silent_since >= beat.at > now - SILENCE_TOLD_FOR:
            detail = f"For {ago(beat.at, now)}; others are alive. If it was replaced on purpose, all is well."
            alarm = Alarm(Urgency.WARNING, f"{beat} has not beaten", detail, page, Section.TASKS)
            yield replace(alarm, occurrence=occurrence_of(str(beat), beat.at), is_news=True)
        elif beat.at > silent_since and beat.stuck:
            yield Alarm(Urgency.ERROR, f"{beat} is stuck", f"{beat.stuck}.", page, Section.TASKS)


def _task_alarms(now: datetime) -> Iterator[Alarm]:
    late = Schedule.objects.filter(next_run__lt=now - timedelta(seconds=SCHEDULE_LATE_SECONDS)).exclude(repeats=0)
    for schedule in late.order_by("next_run"):
        if schedule.next_run is not None:
            detail = f"It was due {ago(schedule.next_run, now)} ago: is a cluster running?"
            schedules = reverse("admin:django_q_schedule_changelist")
            yield Alarm(Urgency.WARNING, f"Schedule {schedule.name} is late", detail, schedules, Section.TASKS)
    failed = Failure.objects.filter(stopped__gt=now - FAILURES_WITHIN).order_by()
    for row in failed.values("func").annotate(count=Count("pk"), last=Max("stopped")).order_by("-last")[:FAILURES_TOLD]:
        newest = Failure.objects.filter(func=row["func"]).order_by("-stopped").first()
        why = str(newest.result).strip().splitlines()[-1][:300] if newest and newest.result else "no reason was kept"
        count = row["count"]
        title = f"{row['func']} failed {count} time{'s' if count > 1 else ''} within a day"
        page = reverse("admin:django_q_failure_changelist") + f"?q={row['func']}"
        yield Alarm(Urgency.WARNING, title, f"Last {ago(row['last'], now)} ago: {why}", page, Section.TASKS)


def _sign_in_alarms(now: datetime) -> Iterator[Alarm]:
    page = reverse("admin:pools_fleetevent_changelist") + f"?kind__exact={LogKind.SIGN_IN}"
    if locked := throttle.locked_now(now):
        named = [*locked[:LOCKS_NAMED], *(["others"] if len(locked) > LOCKS_NAMED else [])]
        minutes = settings.AXES_COOLOFF_TIME.total_seconds() / 60
        detail = f"For {', '.join(named)}. A lock ends by itself, {minutes:.0f} minutes after the last failure."
        yield Alarm(Urgency.WARNING, "Sign-ins are locked", detail, page, Section.SIGN_INS)
    failures = throttle.failures_since(now - timedelta(hours=1))
    if failures >= MANY_FAILED_SIGN_INS:
        detail = "Somebody may be guessing passwords. The log says as whom, and from where."
        yield Alarm(Urgency.WARNING, f"{failures} sign-ins failed within an hour", detail, page, Section.SIGN_INS)
