"""The orchestrator log in the admin: every create, delete and decision, to be filtered and searched."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from pools.console import undo
from pools.console.forms import ReasonForm
from pools.console.operations import Refused
from pools.console.rights import OPERATE, MachineOwned, actor_of, log_act, require
from pools.console.view import forget
from pools.edits import edit_in
from pools.models import FleetEvent, Pool, Sandbox
from pools.occupants import sandboxes_of_run
from pools.templatetags.fleet import NOTHING


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


class FleetEventAdmin(MachineOwned):
    """The orchestrator log."""

    list_display = ("seq", "at", "level", "kind", "code", "message", "who", "sandbox", "run")
    list_display_links = ("seq",)
    list_filter = ("level", ByWhom, "kind", "code", OfPool, "at")
    list_per_page = 100
    search_fields = ("message", "sandbox_name", "app_id", "actor")
    search_help_text = "Words, sandbox, app id, run or operator"
    fields = (
        "seq",
        "at",
        "level",
        "kind",
        "code",
        "message",
        "sandbox",
        "app_id",
        "pool_name",
        "run_id",
        "actor",
        "data",
    )
    readonly_fields = ("sandbox",)
    change_form_template = "admin/pools/fleetevent/page.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.undo_view)
        return [path("<int:event_id>/undo/", view, name="pools_fleetevent_undo"), *super().get_urls()]

    def undo_view(self, request: HttpRequest, event_id: int) -> HttpResponse:
        """Show what taking back an edit would set, and do it when that is confirmed."""
        require(request, OPERATE)
        event = get_object_or_404(FleetEvent, pk=event_id)
        form = ReasonForm(request.POST if request.method == "POST" else None)
        line = reverse("admin:pools_fleetevent_change", args=[event_id])
        try:
            if request.method == "POST" and form.is_valid():
                reason = form.cleaned_data["reason"]
                with transaction.atomic():
                    done, row = undo.undo(event, actor=actor_of(request), reason=reason)
                    log_act(request, row, done, reason)
                forget()
                messages.success(request, done)
                return HttpResponseRedirect(line)
            back = undo.undone(event)
        except Refused as error:
            messages.warning(request, str(error))
            return HttpResponseRedirect(line)
        context = {**self.admin_site.each_context(request), "title": f"Undo line {event.seq}?", "opts": self.opts}
        context |= {"event": event, "back": back, "form": form, "may_act": True}
        return render(request, "admin/pools/fleetevent/undo.html", context)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        event = kwargs.get("obj")
        if event is not None:
            is_offered = undo.can_be_undone(event) and self.has_operate_permission(request)
            context |= {"edit": edit_in(event.data), "can_undo": is_offered}
        return super().render_change_form(request, context, *args, **kwargs)

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
