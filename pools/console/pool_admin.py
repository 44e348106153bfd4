"""The pools in the admin: how they stand, what they should be, and the buttons."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from pools import clock
from pools.console import operations
from pools.console.edit_cost import SETTINGS
from pools.console.forms import ReasonForm
from pools.console.offer import Offer, offered
from pools.console.operations import POOL_ACTS, Refused
from pools.console.pool_chart import charts
from pools.console.pool_form import PoolPageForm
from pools.console.pool_report import HOURS, PoolReport, pool_reports
from pools.console.pool_what_if import shown
from pools.console.rights import DESTROY, OPERATE, SAY_WHY, ActingAdmin, actor_of, live, log_act, require
from pools.edits import Of, edit
from pools.models import Fleet, FleetEvent, Mode, Pool
from pools.reasons import LogKind
from pools.templatetags.fleet import NOTHING, usd

EVENTS_SHOWN = 50
NEW = 0  # in an address, the pool that is being added
OFFER = "offer"  # the attribute of a request that has what the account offers
WHAT_IF = "what-if"  # the parameter that asks for it


class WithReports(ChangeList):
    """The list of pools, each with its report."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        reports = pool_reports(self.result_list, clock.now())
        for pool in self.result_list:
            pool.report = reports[pool.pk]


def offered_acts(pool: Pool, found: PoolReport) -> list[tuple[str, str]]:
    """The buttons that make sense for the pool as it is: name and label."""
    names = ["resume"] if pool.mode != Mode.ACTIVE else ["warm_up", "pause"]
    names += ["drain"] if pool.mode != Mode.DRAINING else []
    names += ["recycle"] if pool.mode == Mode.ACTIVE else []
    names += ["close_breaker"] if found.breaker.failures else []
    return [(name, POOL_ACTS[name][0]) for name in names]


class PoolAdmin(ActingAdmin):
    form = PoolPageForm
    list_display = ("name", "mode", "supply", "sizes", "hit_rate", "recommended", "breaker", "idle_cost", "next_turn")
    exported = (
        *("name", "runtime", "mode", "image", "region", "size", "stage", "target_ready", "min_ready", "max_ready"),
        *("max_concurrent_creates", "idle_timeout_seconds", "scale_down_delay_seconds"),
        *("cooldown_after_acquire_seconds", "max_warm_age_seconds", "create_timeout_seconds", "on_empty"),
        *("autopilot", "autopilot_step", "autopilot_usd_a_month", "last_acquired_at", "last_acquired_by"),
    )
    actions = ("pause", "resume", "drain", "warm_up", "recycle", "close_breaker")
    readonly_fields = ("mode", "last_acquired_at", "last_acquired_by", "breaker_closed_at", "recycle_before")
    fieldsets = (
        (None, {"fields": ("name", "runtime", "target_ready", "min_ready", "max_ready", "max_concurrent_creates")}),
        ("What it is made of", {"fields": ("image", "region", "size", "stage")}),
        (
            "Times",
            {
                "fields": (
                    "idle_timeout_seconds",
                    "scale_down_delay_seconds",
                    "cooldown_after_acquire_seconds",
                    "max_warm_age_seconds",
                    "create_timeout_seconds",
                )
            },
        ),
        ("When none is ready", {"fields": ("on_empty",)}),
        ("Autopilot", {"fields": ("autopilot", "autopilot_step", "autopilot_usd_a_month")}),
        ("Why the change", {"fields": ("reason",)}),
        (
            "What happened",
            {"fields": ("mode", "last_acquired_at", "last_acquired_by", "breaker_closed_at", "recycle_before")},
        ),
    )
    change_form_template = "admin/pools/pool/form.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return WithReports

    # Rights: operators set pools, destroyers delete them.

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(OPERATE)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(OPERATE)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(DESTROY)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)  # one at a time, and only an empty one
        return dict(actions)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return self.fieldsets[:-1]
        if not self.has_change_permission(request, obj):
            return [each for each in self.fieldsets if "reason" not in each[1]["fields"]]
        return self.fieldsets

    # What is seen in the list.

    @admin.display(description="Sandboxes")
    def supply(self, pool: Any) -> str:
        found: PoolReport = pool.report
        return f"{found.ready} ready, {found.creating} creating, {found.in_use} in use"

    @admin.display(description="Target (min to max)")
    def sizes(self, pool: Pool) -> str:
        return f"{pool.target_ready} ({pool.min_ready} to {pool.max_ready})"

    @admin.display(description=f"Hit rate, {HOURS} h")
    def hit_rate(self, pool: Any) -> str:
        found: PoolReport = pool.report
        return f"{found.hit_percent} % of {found.launches}" if found.launches else NOTHING

    @admin.display(description="Recommended target")
    def recommended(self, pool: Any) -> str:
        recommendation = pool.report.recommendation
        return format_html('<span title="{}">{}</span>', recommendation.reason, recommendation.target_ready)

    @admin.display(description="Breaker")
    def breaker(self, pool: Any) -> str:
        breaker = pool.report.breaker
        return breaker.explanation or "closed"

    @admin.display(description="Idle cost an hour")
    def idle_cost(self, pool: Any) -> str:
        return usd(pool.report.idle_usd_per_hour)

    @admin.display(description="The next turn would")
    def next_turn(self, pool: Any) -> str:
        steps = pool.report.next_steps
        more = f" (and {len(steps) - 1} more)" if len(steps) > 1 else ""
        return f"{steps[0].kind.replace('_', ' ')}: {steps[0].reason}{more}" if steps else "do nothing"

    # Acts on several.

    @admin.action(description="Pause", permissions=["operate"])
    def pause(self, request: HttpRequest, chosen: QuerySet[Pool]) -> None:
        self.act_on_each(request, chosen, POOL_ACTS["pause"][1])

    @admin.action(description="Resume", permissions=["operate"])
    def resume(self, request: HttpRequest, chosen: QuerySet[Pool]) -> None:
        self.act_on_each(request, chosen, POOL_ACTS["resume"][1])

    @admin.action(description="Drain", permissions=["operate"])
    def drain(self, request: HttpRequest, chosen: QuerySet[Pool]) -> None:
        self.act_on_each(request, chosen, POOL_ACTS["drain"][1])

    @admin.action(description="Warm up now", permissions=["operate"])
    def warm_up(self, request: HttpRequest, chosen: QuerySet[Pool]) -> None:
        self.act_on_each(request, chosen, POOL_ACTS["warm_up"][1])

    @admin.action(description="Recycle, one by one", permissions=["operate"])
    def recycle(self, request: HttpRequest, chosen: QuerySet[Pool]) -> None:
        self.act_on_each(request, chosen, POOL_ACTS["recycle"][1])

    @admin.action(description="Close the breaker", permissions=["operate"])
    def close_breaker(self, request: HttpRequest, chosen: QuerySet[Pool]) -> None:
        self.act_on_each(request, chosen, POOL_ACTS["close_breaker"][1])

    # One pool.

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("<int:pool_id>/act/", self.admin_site.admin_view(self.act_view), name="pools_pool_act"),
            path("<int:pool_id>/cost/", self.admin_site.admin_view(self.cost_view), name="pools_pool_cost"),
        ]
        return [*own, *super().get_urls()]

    def cost_view(self, request: HttpRequest, pool_id: int) -> HttpResponse:
        """What an edit would cost, as a sentence, while it is being typed; nothing while it makes no sense."""
        require(request, OPERATE)
        pool = Pool.objects.filter(pk=pool_id).first()
        form = PoolPageForm(request.GET, instance=pool)
        form.offer = offered()
        form.full_clean()
        can_tell = all(name in form.cleaned_data for name in SETTINGS)
        return HttpResponse(form.cost.sentence if can_tell else "", content_type="text/plain; charset=utf-8")

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        setattr(request, OFFER, offered())  # here, for the rest is one transaction
        response: HttpResponse = super().changeform_view(request, *args, **kwargs)
        return response

    def get_form(self, request: HttpRequest, obj: Pool | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        setattr(form, "offer", getattr(request, OFFER, Offer()))  # noqa: B010  made for this request
        return form

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"size": settings.SANDBOX_SIZE, "region": settings.SANDBOX_REGION}

    def act_view(self, request: HttpRequest, pool_id: int) -> HttpResponse:
        """A button of a pool's page."""
        require(request, OPERATE)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        act = POOL_ACTS.get(request.POST.get("act", ""))
        if act is None:
            messages.error(request, "There is no such act.")
        else:
            self.act_on_each(request, Pool.objects.filter(pk=pool_id), act[1])
        return HttpResponseRedirect(reverse("admin:pools_pool_change", args=[pool_id]))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """While it is being saved the row is locked, so that of two edits the second sees the first."""
        if request.method == "POST":
            Fleet.lock()  # first: the turn that is asked for in the end needs it
            list(Pool.objects.select_for_update().filter(pk=object_id) if object_id.isdecimal() else [])
        return super().get_object(request, object_id, from_field)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        pool = kwargs.get("obj")
        if self.has_change_permission(request):
            context["cost_url"] = reverse("admin:pools_pool_cost", args=[getattr(pool, "pk", None) or NEW])
        if pool is not None and pool.pk:
            now = clock.now()
            found = pool_reports([pool], now)[pool.pk]
            is_asked = WHAT_IF in request.GET and request.method == "GET"  # a POST holds the fleet's lock
            context |= live(request, WHAT_IF)
            context |= {
                "report": found,
                "hours": HOURS,
                "charts": charts([pool], now),
                "acts": offered_acts(pool, found) if self.has_operate_permission(request) else [],
                "reason_form": ReasonForm(auto_id="act-%s"),
                "is_asked_what_if": is_asked,
                "what_if": shown(pool, now) if is_asked else None,  # it takes seconds
                "events": FleetEvent.objects.filter(pool_name=pool.name)[:EVENTS_SHOWN],
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def last_editor(self, obj: Any) -> tuple[str, datetime] | None:
        """Programs edit pools, too: the log has both."""
        lines = FleetEvent.objects.filter(pool_name=obj.name, kind=LogKind.POOL)
        line = lines.order_by("-seq").first()
        return (line.actor or "the machine", line.at) if line else None

    def save_model(self, request: HttpRequest, obj: Pool, form: Any, change: bool) -> None:
        why = {"actor": actor_of(request), "reason": form.cleaned_data["reason"]}
        if not change:
            operations.add_pool(obj, **why)
        elif form.changes:
            operations.edit_pool(obj, form.changes, **why)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        what = "added" if add else edit(Of.POOL, "", form.changes).sentence() or "nothing changed"
        return f"{what} ({form.cleaned_data['reason']})"

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        require(request, DESTROY)
        pool = Pool.objects.filter(pk=object_id).first() if object_id.isdecimal() else None
        try:
            if pool is not None:
                operations.check_deletable(pool)
            if request.method == "POST" and not ReasonForm(request.POST).is_valid():
                messages.error(request, SAY_WHY)
                return HttpResponseRedirect(request.path)
            return super().delete_view(request, object_id, {"reason_form": ReasonForm()})
        except Refused as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(reverse("admin:pools_pool_change", args=[object_id]))

    def delete_model(self, request: HttpRequest, obj: Pool) -> None:
        operations.delete_pool(obj, actor=actor_of(request), reason=request.POST["reason"].strip())

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Any]) -> list[LogEntry]:
        why = request.POST["reason"].strip()
        return [log_act(request, pool, f"pool {pool} deleted", why, DELETION) for pool in queryset]
