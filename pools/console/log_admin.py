"""The orchestrator log in the admin: every create, delete and decision, to be filtered and searched."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from pools.console.rights import MachineOwned
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
