"""The fleet's page in the admin: all that we have beside all that DigitalOcean has, live, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.admin.models import DELETION
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import URLPattern, path, reverse

from pools import clock
from pools.console import operations
from pools.console.fleet_page import FleetQuery, picture
from pools.console.fleet_table import Row
from pools.console.force_delete import Outcome, force_delete, ours
from pools.console.forms import ForceDeleteForm, GoForm, MaintenanceForm, ReasonForm, SweepForm
from pools.console.history_view import history_view
from pools.console.operations import Refused
from pools.console.pool_chart import charts
from pools.console.rights import DESTROY, OPERATE, SAY_WHY, MachineOwned, actor_of, log_act, require
from pools.console.view import forget, view
from pools.models import CloudApp, Fleet, Sandbox, State
from pools.nudge import nudge
from pools.reasons import EndCode
from pools.turn.preview import explain
from pools.turn.verdict import Verdict

TURN_WAIT_SECONDS = 8.0
WATCHED_LISTING_SECONDS = 15.0  # beside 250 requests a minute it is nothing
MOST_PICKED = 2_000
COLUMNS = (
    ("verdict", "Verdict"),
    ("health", "As wished? Well?"),
    ("name", "Name"),
    ("state", "Ours"),
    ("phase", "DigitalOcean's"),
    ("", "App id"),
    ("pool", "Pool"),
    ("run", "Run"),
    ("creator", "Creator"),
    ("expires", "Expires in"),
    ("cost", "Cost so far"),
    ("agent", "Agent"),
)


class FleetAdmin(MachineOwned):
    """Shows the fleet itself where Django would list the one Fleet row."""

    def get_urls(self) -> list[URLPattern]:
        views: dict[str, Callable[..., HttpResponse]] = {
            "table": self.table_view,
            "delete": self.delete_rows_view,
            "look": self.look_view,
            "turn": self.turn_view,
            "maintenance": self.maintenance_view,
            "go": self.go_view,
            "sweep": self.sweep_view,
            "history": partial(history_view, self),
        }
        own = [
            path(f"{name}/", self.admin_site.admin_view(view), name=f"pools_fleet_{name}")
            for name, view in views.items()
        ]
        return [*own, *super().get_urls()]

    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return _back()

    # To be seen.

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            **self._live_context(request),
            "title": "Fleet",
            "opts": self.opts,
            "live_from": f"{reverse('admin:pools_fleet_table')}?{request.GET.urlencode()}",
            "meanings": [(verdict, verdict.meaning) for verdict in Verdict],
            "states": [(state.value, state.label) for state in State if state != State.DELETED],
            "reason_form": ReasonForm(auto_id="turn-%s"),
        }
        return render(request, "admin/pools/fleet/page.html", context)

    def table_view(self, request: HttpRequest) -> HttpResponse:
        """Return the part of the page that changes. While somebody looks, turns come more often: what happens
        in DigitalOcean behind our back is seen by them alone."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = self._live_context(request)
        age_seconds = context["picture"].listing_age_seconds
        if age_seconds is None or age_seconds > WATCHED_LISTING_SECONDS:
            nudge()
        response = render(request, "admin/pools/fleet/parts.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def _live_context(self, request: HttpRequest) -> dict[str, Any]:
        now = clock.now()
        shown = view()
        seen = shown.picture
        query = FleetQuery.of(request.GET)
        page = query.page_of(seen.newest_first)
        return {
            "fleet": seen.fleet,
            "picture": seen,
            "alarms": shown.alarms,
            "kept_seconds": shown.kept_seconds,
            "charts": charts(seen.pools, now),
            "query": query,
            "page": page,
            "pages": list(page.paginator.get_elided_page_range(page.number, on_each_side=2, on_ends=1)),
            "columns": [(key, title, query.sorted_by(key) if key else "") for key, title in COLUMNS],
            "verdicts": [(each, count, query.but(verdict=each)) for each, count in seen.verdicts],
            "all_url": query.but(verdict=""),
            "page_query": query.but(),
            "can_operate": request.user.has_perm(OPERATE),
            "can_destroy": request.user.has_perm(DESTROY),
            "is_embedded": settings.CLOUD_IS_EMBEDDED,
        }

    # Acts.

    def look_view(self, request: HttpRequest) -> HttpResponse:
        """List DigitalOcean now."""
        require(request, OPERATE)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        look = partial(operations.look, TURN_WAIT_SECONDS)
        return self._act(request, look, "to see what is there now", atomic=False)

    def turn_view(self, request: HttpRequest) -> HttpResponse:
        """Reconcile now, and wait a moment for it."""
        require(request, OPERATE)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        form = ReasonForm(request.POST)
        if not form.is_valid():
            messages.error(request, SAY_WHY)
            return _back()
        pressed_at = clock.now()
        response = self._act(request, operations.ask_for_turn, form.cleaned_data["reason"])
        has_ended = operations.turn_since(pressed_at, TURN_WAIT_SECONDS)
        try:
            told = operations.turn_told(clock.now())
        except Refused as error:
            messages.warning(request, str(error))
        else:
            if has_ended:
                messages.success(request, told)
            else:
                messages.warning(request, f"No turn ended within {TURN_WAIT_SECONDS:.0f} s: is a cluster running?")
        return response

    def maintenance_view(self, request: HttpRequest) -> HttpResponse:
        require(request, OPERATE)
        fleet = Fleet.get()
        turn_off = fleet.maintenance
        form_class = ReasonForm if turn_off else MaintenanceForm
        # A form that was opened before another operator was quicker says what it meant to do.
        if request.method == "POST" and (request.POST.get("turn") == "off") != turn_off:
            messages.warning(request, f"Maintenance mode is {'on' if fleet.maintenance else 'off'} already.")
            return _back()
        form = form_class(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            message = form.cleaned_data.get("message", "")

            def switch(actor: str, reason: str) -> str:
                return operations.set_maintenance(on=not turn_off, message=message, actor=actor, reason=reason)

            return self._act(request, switch, form.cleaned_data["reason"])
        title = "End maintenance" if turn_off else "Maintenance: no launches"
        return self._ask(request, "maintenance", title, form, {"fleet": fleet, "turn_off": turn_off})

    def go_view(self, request: HttpRequest) -> HttpResponse:
        """Show what the blast-radius stop holds back, with the button that lets it go."""
        may_act = request.user.has_perm(DESTROY)
        if not self.has_view_permission(request) or (request.method == "POST" and not may_act):
            raise PermissionDenied
        now = clock.now()
        explanation = explain(now)
        held_back = list({each.target: each for each in explanation.held_back}.values())
        form = GoForm(request.POST if request.method == "POST" else None, initial={"digest": explanation.digest})
        if request.method == "POST" and form.is_valid():
            digest = form.cleaned_data["digest"]

            def go(actor: str, reason: str) -> str:
                return operations.let_go(digest, actor=actor, reason=reason)

            return self._act(request, go, form.cleaned_data["reason"])
        context = {"held_back": held_back, "fleet": Fleet.get(), "minutes": operations.LET_GO_MINUTES}
        context |= {"count": len(held_back), "may_act": may_act and bool(held_back)}
        context["next_turn"] = explanation.totals.sentence(now)
        return self._ask(request, "go", "Deletions that are held back", form, context)

    def _act(
        self, request: HttpRequest, act: Callable[..., str], reason: str, *, atomic: bool = True
    ) -> HttpResponseRedirect:
        """An act on the whole fleet: call, message, log entry."""
        try:
            if atomic:
                with transaction.atomic():
                    done = act(actor=actor_of(request), reason=reason)
                    log_act(request, Fleet.get(), done, reason)
            else:
                done = act(actor=actor_of(request), reason=reason)
                log_act(request, Fleet.get(), done, reason)
            messages.success(request, done)
        except Refused as error:
            messages.warning(request, str(error))
        return _back()

    def _ask(self, request: HttpRequest, name: str, title: str, form: Form, context: dict[str, Any]) -> HttpResponse:
        base = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "form": form,
            "may_act": True,
        }
        return render(request, f"admin/pools/fleet/{name}.html", base | context)

    # Deleting.

    def delete_rows_view(self, request: HttpRequest) -> HttpResponse:
        """Show once more what was picked, and delete it when that is confirmed."""
        require(request, DESTROY)
        if request.method != "POST":
            return _back()
        seen = picture(clock.now())
        known = seen.by_key()
        matching = _matching(request.POST["all"], seen.rows) if "all" in request.POST else None
        picked = [row.key for row in matching] if matching is not None else _ticked(request.POST)
        left_out, picked = max(0, len(picked) - MOST_PICKED), picked[:MOST_PICKED]
        rows = [known[key] for key in picked if key in known]
        gone = len(picked) - len(rows)
        if not rows:
            nothing = "Pick the rows to delete first." if matching is None else "Nothing of ours matches."
            text = "What was picked is gone already." if picked else nothing
            messages.warning(request, text)
            return _back()
        told = {"rows": rows, "gone": gone, "left_out": left_out, "picture": seen, "is_of_all": matching is not None}
        is_confirmed = "confirmed" in request.POST
        form = ForceDeleteForm(rows, request.POST if is_confirmed else None)
        if is_confirmed and form.is_valid():
            reason = form.cleaned_data["reason"]
            outcomes = force_delete(picked, actor=actor_of(request), reason=reason, typed_names=form.typed_names)
            self._tell(request, outcomes, known, reason)
            return _back()
        return self._ask(request, "delete", _delete_title(rows), form, told)

    def sweep_view(self, request: HttpRequest) -> HttpResponse:
        """Everything with our mark."""
        require(request, DESTROY)
        seen = picture(clock.now())
        rows = ours(seen.rows)
        form = SweepForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            actor, why = actor_of(request), form.cleaned_data["reason"]
            reason = f"sweep: {why}"
            with transaction.atomic():
                log_act(request, Fleet.get(), operations.note_sweep(len(rows), actor=actor, reason=why), why, DELETION)
            if form.cleaned_data["pause"]:
                for done in operations.pause_all(actor=actor, reason=reason):
                    messages.info(request, done)
            keys = [row.key for row in rows]
            outcomes = force_delete(keys, actor=actor, reason=reason, code=EndCode.SWEPT)
            self._tell(request, outcomes, seen.by_key(), reason)
            return _back()
        context = {
            "rows": rows,
            "picture": seen,
            "orchestrator_id": settings.ORCHESTRATOR_ID,
            "may_act": bool(rows),
        }
        return self._ask(request, "sweep", "Sweep: delete everything of ours", form, context)

    def _tell(self, request: HttpRequest, outcomes: list[Outcome], known: dict[str, Row], reason: str) -> None:
        """A log entry for each that goes, and the outcome of each, alike ones together."""
        told: dict[tuple[bool, str], list[str]] = {}
        for outcome in outcomes:
            told.setdefault((outcome.is_done, outcome.message), []).append(outcome.name)
            row = known.get(outcome.key)
            if outcome.is_ordered and row is not None:
                log_act(request, _logged(row), f"force delete, {outcome.message}", reason, DELETION)
        for (is_done, message), names in told.items():
            few = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
            few = f"app{'s' if len(names) > 1 else ''} {few}"  # the page writes the first letter large
            messages.add_message(request, messages.SUCCESS if is_done else messages.WARNING, f"{few}: {message}")


def _back() -> HttpResponseRedirect:
    forget()
    return HttpResponseRedirect(reverse("admin:pools_fleet_changelist"))


def _logged(row: Row) -> Sandbox | CloudApp:
    """Return the object of the log entry; an app that is gone by now keeps its name there."""
    if row.sandbox is not None:
        return row.sandbox
    return row.app or CloudApp(app_id=row.app_id, name=row.name)


def _ticked(posted: QueryDict) -> list[str]:
    """The keys that were ticked, and those of a page that asked once more, in one field: a request has few fields."""
    together = [key for keys in posted.getlist("keys") for key in keys.split(",") if key]
    return list(dict.fromkeys([*posted.getlist("key"), *together]))


def _matching(query: str, rows: Sequence[Row]) -> list[Row]:
    """All rows that a view of the table has on all its pages, but foreign ones: those are picked one by one."""
    return ours(FleetQuery.of(QueryDict(query).dict()).wanted(rows))


def _delete_title(rows: list[Row]) -> str:
    return f"Force delete {rows[0].name}?" if len(rows) == 1 else f"Force delete these {len(rows)}?"
