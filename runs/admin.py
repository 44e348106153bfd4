"""Launches in the admin: what became of each, its log, and more time or an end for it."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from pools import clock, journal
from pools.console.forms import ReasonForm
from pools.console.operations import Refused
from pools.console.rights import OPERATE, MachineOwned, require
from pools.console.typed_filter import TypedFilter
from pools.models import FleetEvent
from pools.reasons import LogKind
from pools.templatetags.fleet import NOTHING, span
from runs import lifecycle
from runs.creators import creators, runs_by
from runs.games_admin import GameVersionAdmin
from runs.labels import ASKED_PATTERN, all_of
from runs.launching.steps import steps
from runs.models import Run, RunState
from runs.reasons import RunEndCode
from runs.webhooks_admin import DeliveryAdmin, WebhookAdmin

__all__ = ["DeliveryAdmin", "GameVersionAdmin", "RunAdmin", "WebhookAdmin"]

LINES_SHOWN = 500


@transaction.atomic
def end(run: Run, *, actor: str, reason: str) -> str:
    """End an active run; its sandbox goes with it."""
    sentence = f"An operator ended it: {reason}"
    if not lifecycle.end(run.pk, RunEndCode.ENDED_BY_OPERATOR, sentence, clock.now(), by=actor):
        raise Refused(f"Run {run.short_id} is over already.")
    done = f"run {run.short_id} ended"
    journal.record(LogKind.END, f"{done}; an operator: {reason}", run_id=run.pk, actor=actor)
    return done


@transaction.atomic
def extend(run: Run, *, actor: str, reason: str) -> str:
    """Give a running one more time."""
    if not lifecycle.extend(run.pk, clock.now(), by=actor):
        raise Refused(f"Run {run.short_id} can't be extended: it is not running, or was extended as often as may be.")
    run.refresh_from_db()
    done = f"run {run.short_id} extended until {run.expires_at:%H:%M:%S}"
    journal.record(LogKind.EXTEND, f"{done}; an operator: {reason}", run_id=run.pk, actor=actor)
    return done


ACTS = {"end": end, "extend": extend}


class OfCreator(TypedFilter):
    """By the key's name, or the visitor's hash."""

    title = "creator"
    parameter_name = "creator"

    def found(self, queryset: QuerySet[Any], typed: str) -> QuerySet[Any]:
        return queryset.filter(pk__in=runs_by(typed).values("pk"))


class WithCreators(ChangeList):
    """The list of runs, each with who launched it."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        named = creators({run.visitor for run in self.result_list})
        for run in self.result_list:
            run.known_creator = named[run.visitor]


@admin.register(Run)
class RunAdmin(MachineOwned):
    list_display = (
        "short_id", "game", "state", "served_by", "creator", "sandbox_link", "took", "created_at", "expires_in",
        "end_reason", "labelled",
    )  # fmt: skip
    list_filter = (
        "state",
        OfCreator,
        "end_code",
        "mode",
        "served_by",
        "notice_code",
        "deployed_from",
        "game",
        "created_at",
    )
    list_select_related = ("game", "sandbox")
    list_per_page = 100
    search_fields = ("sandbox__name", "sandbox__app_id", "visitor", "end_reason")
    search_help_text = "Run, sandbox, app id, creator or label (name:value)"
    actions = ("extend_chosen", "end_chosen")
    change_form_template = "admin/runs/run/page.html"
    fields = (
        "id", "game", "state", "mode", "asked_mode", "on_miss", "served_by", "notice_code", "notice", "deployed_from",
        "sandbox_link", "port", "creator", "use_snapshot", "extensions", "restarts", "deploy_attempts", "acquire_ms",
        "bootstrap_ms", "restore_ms", "start_ms", "total_ms", "created_at", "acquired_at", "ready_at", "expires_at",
        "ended_at", "end_code", "end_reason", "labelled",
    )  # fmt: skip
    readonly_fields = ("creator", "sandbox_link", "labelled")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return WithCreators

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        found, may_repeat = super().get_search_results(request, queryset, search_term)
        found |= queryset.named(search_term)
        if re.fullmatch(ASKED_PATTERN, search_term):
            found |= queryset.filter(all_of([search_term]))
        return found, may_repeat

    @admin.display(description="Run", ordering="id")
    def short_id(self, run: Run) -> str:
        return run.short_id

    @admin.display(description="Creator", ordering="visitor")
    def creator(self, run: Any) -> str:
        known: str | None = getattr(run, "known_creator", None)
        return known or creators([run.visitor])[run.visitor]

    @admin.display(description="Labels")
    def labelled(self, run: Run) -> str:
        return ", ".join(f"{name}:{value}" for name, value in run.labels.items()) or NOTHING

    @admin.display(description="Sandbox", ordering="sandbox__name")
    def sandbox_link(self, run: Run) -> str:
        if run.sandbox is None:
            return NOTHING
        url = reverse("admin:pools_sandbox_change", args=[run.sandbox.pk])
        return format_html('<a href="{}">{}</a>', url, run.sandbox.name)

    @admin.display(description="Took", ordering="total_ms")
    def took(self, run: Run) -> str:
        if run.total_ms is None:
            return NOTHING
        return f"{run.total_ms} ms" if run.total_ms < 10_000 else span(run.total_ms / 1000)

    @admin.display(description="Expires in", ordering="expires_at")
    def expires_in(self, run: Run) -> str:
        if run.is_over or run.expires_at is None:
            return NOTHING
        return span((run.expires_at - clock.now()).total_seconds())

    @admin.action(description="Extend", permissions=["operate"])
    def extend_chosen(self, request: HttpRequest, chosen: QuerySet[Run]) -> None:
        self.act_on_each(request, chosen, extend)

    @admin.action(description="End (its sandbox goes)", permissions=["operate"])
    def end_chosen(self, request: HttpRequest, chosen: QuerySet[Run]) -> None:
        self.act_on_each(request, chosen, end)

    def get_urls(self) -> list[URLPattern]:
        act = path("<uuid:run_id>/act/", self.admin_site.admin_view(self.act_view), name="runs_run_act")
        return [act, *super().get_urls()]

    def act_view(self, request: HttpRequest, run_id: UUID) -> HttpResponse:
        """A button of a run's page."""
        require(request, OPERATE)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if act := ACTS.get(request.POST.get("act", "")):
            self.act_on_each(request, Run.objects.filter(pk=run_id), act)
        return HttpResponseRedirect(reverse("admin:runs_run_change", args=[run_id]))

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        run = kwargs.get("obj")
        if run is not None:
            is_whole = "whole" in request.GET
            lines = run.events.order_by("-seq")
            shown = list(lines if is_whole else lines[:LINES_SHOWN])[::-1]
            context |= {
                "lines": shown,
                "lines_before": run.last_seq - len(shown),
                "steps": steps(run),
                "events": FleetEvent.objects.filter(run_id=run.pk)[:LINES_SHOWN],
                "can_operate": self.has_operate_permission(request),
                "is_running": run.state == RunState.RUNNING,
                "reason_form": ReasonForm(),
            }
        return super().render_change_form(request, context, *args, **kwargs)
