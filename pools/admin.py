"""The fleet in the admin: what is set in `pool_admin`, the live page in `fleet_admin`, and here what the machine made
of it, to be seen."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.models import DELETION
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html

from pools import operations
from pools.admin_forms import ReasonForm
from pools.admin_rights import DESTROY, MachineOwned, require
from pools.fleet_admin import FleetAdmin
from pools.fleet_view import CONSOLE_URL
from pools.life import life_of
from pools.models import CloudApp, Fleet, FleetEvent, Pool, Sandbox, State
from pools.pool_admin import PoolAdmin
from pools.templatetags.fleet import NOTHING, since, usd
from pools.usage import Occupant, occupants, sandboxes_of_run

EVENTS_SHOWN = 200

admin.site.register(Fleet, FleetAdmin)
admin.site.register(Pool, PoolAdmin)


def console_link(app_id: str | None, characters: int = 64) -> str:
    """To the app in DigitalOcean's console, which nobody here follows by itself."""
    if not app_id:
        return NOTHING
    link = '<a href="{}" rel="noreferrer" target="_blank" title="{}">{}</a>'
    return format_html(link, CONSOLE_URL + app_id, app_id, app_id[:characters])


class WithOccupants(ChangeList):
    """The list of sandboxes, each with who is in it."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        found = occupants([sandbox.pk for sandbox in self.result_list])
        for sandbox in self.result_list:
            sandbox.occupant = found.get(sandbox.pk)


@admin.register(Sandbox)
class SandboxAdmin(MachineOwned):
    list_display = (
        "name", "state", "pool", "origin", "age", "used_by", "cost", "short_app", "why",
    )  # fmt: skip
    list_filter = ("state", "pool", "runtime", "origin", "failure_kind", "requested_at")
    list_select_related = ("pool",)
    list_per_page = 100
    search_fields = ("name", "app_id", "create_reason", "end_reason")
    search_help_text = "Name, app id, run, or words of a reason"
    actions = ("retire",)
    change_form_template = "admin/pools/sandbox/page.html"
    fields = (
        "name", "state", "pool", "runtime", "origin", "app", "url", "image", "region", "size", "cost", "requested_at",
        "health_checked_at", "health_failures", "trouble", "failure_kind", "missing_since", "expires_at",
    )  # fmt: skip
    readonly_fields = ("app", "cost")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return WithOccupants

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        found, may_repeat = super().get_search_results(request, queryset, search_term)
        if search_term and (of_runs := sandboxes_of_run(search_term)):
            found = found | queryset.filter(pk__in=of_runs)
        return found, may_repeat

    @admin.display(description="Age", ordering="-requested_at")
    def age(self, sandbox: Sandbox) -> str:
        return since(sandbox.requested_at)

    @admin.display(description="Run and player")
    def used_by(self, sandbox: Any) -> str:
        occupant: Occupant | None = sandbox.occupant
        if occupant is None:
            return NOTHING
        return format_html('<a href="{}">{}</a> {} {}', occupant.url, occupant.name, occupant.what, occupant.player)

    @admin.display(description="Cost")
    def cost(self, sandbox: Sandbox) -> str:
        return usd(sandbox.cost_usd(timezone.now()))

    @admin.display(description="App")
    def app(self, sandbox: Sandbox) -> str:
        return console_link(sandbox.app_id)

    @admin.display(description="App", ordering="app_id")
    def short_app(self, sandbox: Sandbox) -> str:
        return console_link(sandbox.app_id, 8)

    @admin.display(description="Why")
    def why(self, sandbox: Sandbox) -> str:
        return sandbox.end_reason or sandbox.create_reason

    @admin.action(description="Retire (the run in it ends)", permissions=["destroy"])
    def retire(self, request: HttpRequest, chosen: QuerySet[Sandbox]) -> None:
        self.act_on_each(request, chosen, operations.retire, DELETION)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.retire_view)
        return [path("<uuid:sandbox_id>/retire/", view, name="pools_sandbox_retire"), *super().get_urls()]

    def retire_view(self, request: HttpRequest, sandbox_id: Any) -> HttpResponse:
        require(request, DESTROY)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        self.act_on_each(request, Sandbox.objects.filter(pk=sandbox_id), operations.retire, DELETION)
        return HttpResponseRedirect(reverse("admin:pools_sandbox_change", args=[sandbox_id]))

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        sandbox = kwargs.get("obj")
        if sandbox is not None:
            context |= {
                "life": life_of(sandbox),
                "events": FleetEvent.objects.filter(sandbox_name=sandbox.name)[:EVENTS_SHOWN],
                "occupant": occupants([sandbox.pk]).get(sandbox.pk),
                "listed": CloudApp.objects.filter(pk=sandbox.app_id).first() if sandbox.app_id else None,
                "can_retire": self.has_destroy_permission(request)
                and sandbox.state not in (State.DELETING, State.DELETED),
                "can_force": self.has_destroy_permission(request) and sandbox.state != State.DELETED,
                "reason_form": ReasonForm(),
            }
        return super().render_change_form(request, context, *args, **kwargs)


@admin.register(CloudApp)
class CloudAppAdmin(MachineOwned):
    """An app as DigitalOcean listed it last. To act on it is the fleet page's business."""

    list_display = ("name", "app_id", "owner", "phase", "region", "size", "app_created_at", "orphan_since")
    list_filter = ("phase", "owner")
    list_per_page = 100
    search_fields = ("name", "app_id")
    search_help_text = "Name or app id"
    change_form_template = "admin/pools/cloudapp/page.html"
    fields = (
        "name", "app", "owner", "phase", "url", "region", "size", "failure", "app_created_at", "first_seen_at",
        "orphan_since", "orphan_listings", "delete_reason", "delete_sent_at",
    )  # fmt: skip
    readonly_fields = ("app",)

    @admin.display(description="App")
    def app(self, app: CloudApp) -> str:
        return console_link(app.app_id)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        app = kwargs.get("obj")
        if app is not None:
            context |= {
                "events": FleetEvent.objects.filter(app_id=app.app_id)[:EVENTS_SHOWN],
                "sandbox": Sandbox.objects.filter(app_id=app.app_id).first(),
                "can_force": self.has_destroy_permission(request),
            }
        return super().render_change_form(request, context, *args, **kwargs)


class ByWhom(admin.SimpleListFilter):
    title = "who did it"
    parameter_name = "by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("operators", "Operators"), ("machine", "The machine")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        if self.value() == "operators":
            return queryset.exclude(actor="")
        return queryset.filter(actor="") if self.value() == "machine" else queryset


class OfPool(admin.SimpleListFilter):
    """By the pools there are: to ask the log for the names in it would be slow."""

    title = "pool"
    parameter_name = "pool"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in Pool.objects.values_list("name", flat=True)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        return queryset.filter(pool_name=self.value()) if self.value() else queryset


@admin.register(FleetEvent)
class FleetEventAdmin(MachineOwned):
    """The orchestrator log."""

    list_display = ("seq", "at", "level", "kind", "message", "who", "sandbox", "run")
    list_display_links = ("seq",)
    list_filter = ("level", ByWhom, "kind", OfPool, "at")
    list_per_page = 100
    search_fields = ("message", "sandbox_name", "app_id", "actor")
    search_help_text = "Words, sandbox, app id, run or operator"
    fields = ("seq", "at", "level", "kind", "message", "sandbox", "app_id", "pool_name", "run_id", "actor", "data")
    readonly_fields = ("sandbox",)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        found, may_repeat = super().get_search_results(request, queryset, search_term)
        if search_term and (of_runs := sandboxes_of_run(search_term)):
            names = Sandbox.objects.filter(pk__in=of_runs).values_list("name", flat=True)
            found = found | queryset.filter(sandbox_name__in=list(names))
        return found, may_repeat

    @admin.display(description="Sandbox", ordering="sandbox_name")
    def sandbox(self, event: FleetEvent) -> str:
        if not event.sandbox_name:
            return NOTHING
        found = reverse("admin:pools_sandbox_changelist")
        return format_html('<a href="{}?q={}">{}</a>', found, event.sandbox_name, event.sandbox_name)

    @admin.display(description="Who", ordering="actor")
    def who(self, event: FleetEvent) -> str:
        return event.actor or "the machine"

    @admin.display(description="Run", ordering="run_id")
    def run(self, event: FleetEvent) -> str:
        return event.run_id.hex[:8] if event.run_id else NOTHING
