"""The sandboxes in the admin: each with who is in it, its history, and the button that retires it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.models import DELETION
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from pools import clock
from pools.console import operations
from pools.console.forms import ReasonForm
from pools.console.judgements import judgements
from pools.console.links import console_link
from pools.console.rights import DESTROY, MachineOwned, require
from pools.console.sandbox_history import life_of
from pools.console.typed_filter import TypedFilter
from pools.models import CloudApp, FleetEvent, Sandbox, State
from pools.occupants import Occupant, occupants, sandboxes_of_run, with_creator
from pools.templatetags.fleet import NOTHING, since, usd

EVENTS_SHOWN = 200


class WithOccupants(ChangeList):
    """The list of sandboxes, each with who is in it."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        found = occupants([sandbox.pk for sandbox in self.result_list])
        for sandbox in self.result_list:
            sandbox.occupant = found.get(sandbox.pk)


class OfCreator(TypedFilter):
    """By the key or the visitor that launched what is, or was, in it."""

    title = "creator"
    parameter_name = "creator"

    def found(self, queryset: QuerySet[Any], typed: str) -> QuerySet[Any]:
        return with_creator(queryset, typed)


class SandboxAdmin(MachineOwned):
    list_display = (
        "name", "state", "pool", "origin", "age", "used_by", "creator", "cost", "short_app", "why",
    )  # fmt: skip
    list_filter = (
        "state",
        OfCreator,
        "pool",
        "runtime",
        "origin",
        "create_code",
        "end_code",
        "failure_kind",
        "requested_at",
    )
    list_select_related = ("pool",)
    list_per_page = 100
    search_fields = ("name", "app_id", "create_reason", "end_reason")
    search_help_text = "Name, app id, run, or words of a reason"
    actions = ("retire",)
    change_form_template = "admin/pools/sandbox/page.html"
    fields = (
        "name", "state", "pool", "runtime", "origin", "app", "url", "image", "region", "size", "cost", "requested_at",
        "health_checked_at", "health_failures", "trouble", "create_code", "end_code", "failure_kind", "missing_since",
        "expires_at",
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

    @admin.display(description="Run")
    def used_by(self, sandbox: Any) -> str:
        occupant: Occupant | None = sandbox.occupant
        if occupant is None:
            return NOTHING
        return format_html('<a href="{}">{}</a> {}', occupant.url, occupant.name, occupant.what)

    @admin.display(description="Creator")
    def creator(self, sandbox: Any) -> str:
        return sandbox.occupant.creator if sandbox.occupant else NOTHING

    @admin.display(description="Cost")
    def cost(self, sandbox: Sandbox) -> str:
        return usd(sandbox.cost_usd(clock.now()))

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
            who, now = occupants([sandbox.pk]), clock.now()
            judgement = judgements([sandbox], who, now)[sandbox.pk]
            context |= {
                "life": life_of(sandbox),
                "events": FleetEvent.objects.filter(sandbox_name=sandbox.name)[:EVENTS_SHOWN],
                "occupant": who.get(sandbox.pk),
                "judgement": judgement,
                "tried": judgement.attempt.told(now) if judgement.attempt else "",
                "listed": CloudApp.objects.filter(pk=sandbox.app_id).first() if sandbox.app_id else None,
                "can_retire": self.has_destroy_permission(request)
                and sandbox.state not in (State.DELETING, State.DELETED),
                "can_force": self.has_destroy_permission(request) and sandbox.state != State.DELETED,
                "reason_form": ReasonForm(),
            }
        return super().render_change_form(request, context, *args, **kwargs)
