"""The orchestrator log in the admin: each create, delete and decision, searched, filtered, followed and linked."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from pools.beginnings import ids_beginning
from pools.console import undo
from pools.console.forms import ReasonForm
from pools.console.links import run_link
from pools.console.operations import Refused
from pools.console.rights import OPERATE, MachineOwned, actor_of, log_act, require
from pools.console.typed_filter import TypedFilter
from pools.console.view import forget
from pools.edits import edit_in
from pools.joined import joined
from pools.models import FleetEvent, Pool, Sandbox
from pools.occupants import sandboxes_of_run
from pools.templatetags.fleet import NOTHING, as_moment

LINES_AFTER = 50  # what came after a line that is linked, in half of its page
DIGITS = 15  # of a line's number


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
        name = (self.value() or "").replace("\0", "")
        return queryset.filter(pool_name=name) if name else queryset


class OfSandbox(TypedFilter):
    title = "sandbox"
    parameter_name = "sandbox"

    def found(self, queryset: QuerySet[Model], typed: str) -> QuerySet[Model]:
        return queryset.filter(sandbox_name=typed)


class OfRun(TypedFilter):
    """By the first letters of its id, four at least."""

    title = "run"
    parameter_name = "run"

    def found(self, queryset: QuerySet[Model], typed: str) -> QuerySet[Model]:
        ids = ids_beginning(typed)
        return queryset.filter(run_id__range=ids) if ids else queryset.none()


class OfActor(TypedFilter):
    title = "actor"
    parameter_name = "actor"

    def found(self, queryset: QuerySet[Model], typed: str) -> QuerySet[Model]:
        return queryset.filter(actor__gt="", actor__icontains=typed)


class OfCode(TypedFilter):
    """By the codes that stand in the list: to ask the log which there are would be slow."""

    title = "code"
    parameter_name = "code"

    def found(self, queryset: QuerySet[Model], typed: str) -> QuerySet[Model]:
        return queryset.filter(code=typed)


class AroundLine(TypedFilter):
    """The page of the log with that line in its middle; all other filters hold, too."""

    title = "line"
    parameter_name = "line"

    def found(self, queryset: QuerySet[Model], typed: str) -> QuerySet[Model]:
        if not typed.isascii() or not typed.isdecimal() or len(typed) > DIGITS:
            return queryset.none()
        return queryset.filter(seq__lte=int(typed) + LINES_AFTER)


class LogPage(ChangeList):
    """A page of the log, each line with the page of its sandbox. Newest first, lines that repeat another are one, but
    for a line that is linked, which is to be found."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.params.get(ORDER_VAR) and AroundLine.parameter_name not in request.GET:
            lines = joined(self.result_list)
            for line in lines:
                line.event.times = line.times  # type: ignore[attr-defined]  # for the column
            self.result_list = [line.event for line in lines]
        names = {event.sandbox_name for event in self.result_list}
        found = dict(Sandbox.objects.order_by().filter(name__in=names - {""}).values_list("name", "pk"))
        for event in self.result_list:
            event.sandbox_pk = found.get(event.sandbox_name)


class FleetEventAdmin(MachineOwned):
    """The orchestrator log. Its first page grows on top while it is looked at."""

    list_display = ("line", "at", "level", "kind", "code", "said", "more", "who", "sandbox", "run")
    list_display_links = ("at",)
    exported = (
        *("seq", "at", "level", "kind", "code", "message", "sandbox_name", "app_id", "pool_name", "run_id", "actor"),
        "data",
    )
    exported_by = "seq"
    list_filter = ("level", ByWhom, OfActor, OfSandbox, OfRun, OfPool, AroundLine, "kind", OfCode, "at")
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
        "run",
        "actor",
        "data",
    )
    readonly_fields = ("sandbox", "run")
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

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Orchestrator log", **(extra_context or {})})

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LogPage

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        found, may_repeat = super().get_search_results(request, queryset, search_term)
        if search_term and (of_runs := sandboxes_of_run(search_term)):
            names = Sandbox.objects.filter(pk__in=of_runs).values_list("name", flat=True)
            found = found | queryset.filter(sandbox_name__in=list(names))
        return found, may_repeat

    @admin.display(description="Line", ordering="seq")
    def line(self, event: FleetEvent) -> str:
        """Its number, and a link to show to others: it leads to the line among those around it."""
        link = '<a id="line-{0}" href="{1}?line={0}#line-{0}">{0}</a>'
        return format_html(link, event.seq, reverse("admin:pools_fleetevent_changelist"))

    @admin.display(description="Message", ordering="message")
    def said(self, event: FleetEvent) -> str:
        times = getattr(event, "times", "")
        return format_html('{} <strong class="times">{}</strong>', event.message, times) if times else event.message

    @admin.display(description="Sandbox", ordering="sandbox_name")
    def sandbox(self, event: Any) -> str:
        if not event.sandbox_name:
            return NOTHING
        if pk := getattr(event, "sandbox_pk", None):
            url = reverse("admin:pools_sandbox_change", args=[pk])
        else:
            url = f"{reverse('admin:pools_sandbox_changelist')}?q={event.sandbox_name}"
        return format_html('<a href="{}">{}</a>', url, event.sandbox_name)

    @admin.display(description="More")
    def more(self, event: FleetEvent) -> str:
        then = format_html(
            '<a href="{}">the fleet then</a>', f"{reverse('admin:pools_fleet_history')}?at={as_moment(event.at)}"
        )
        if not undo.can_be_undone(event):
            return then
        return format_html('{} <a href="{}">undo…</a>', then, reverse("admin:pools_fleetevent_undo", args=[event.pk]))

    @admin.display(description="Who", ordering="actor")
    def who(self, event: FleetEvent) -> str:
        return event.actor or "the machine"

    @admin.display(description="Run", ordering="run_id")
    def run(self, event: FleetEvent) -> str:
        return run_link(event.run_id)
