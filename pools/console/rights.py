"""Rights in the admin, and the manner of every act there: permission, call, message, log entry.

Three rights: to view (Django's own view permissions), to act (`pools.operate_fleet`), to destroy
(`pools.destroy_fleet`). What the machine owns is read-only for everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse

from pools.console.edits import last_editor
from pools.console.forms import REASON_CHARACTERS, ReasonActionForm, ReasonForm
from pools.console.operations import Refused
from pools.console.view import forget

OPERATE = "pools.operate_fleet"
DESTROY = "pools.destroy_fleet"
TOLD_ONE_BY_ONE = 5
SAY_WHY = f"Say why, in at most {REASON_CHARACTERS} characters: it is written to the log."


def actor_of(request: HttpRequest) -> str:
    """Return the operator's name as the log has it."""
    return str(request.user.get_username())


def require(request: HttpRequest, permission: str) -> None:
    """Raise PermissionDenied, which is a 403, to those who lack it."""
    if not request.user.has_perm(permission):
        raise PermissionDenied


def log_act(request: HttpRequest, obj: models.Model, done: str, reason: str, flag: int = CHANGE) -> LogEntry:
    """Write the act to Django's own log, which is the object's history."""
    message = f"{done}: {reason}" if reason else done
    user = request.user.pk or 0
    entry: LogEntry = LogEntry.objects.log_actions(user, [obj], flag, change_message=message, single_object=True)
    return entry


def live(request: HttpRequest, leave_out: str = "") -> dict[str, str]:
    """What a live page has in its context: where it fetches itself from. `leave_out`: a parameter, not asked again."""
    query = request.GET.copy()
    query.pop(leave_out, None)
    return {"live_from": f"{request.path}?{query.urlencode()}" if query else request.path}


if TYPE_CHECKING:  # generic for the checker only
    Base = admin.ModelAdmin[Any]
else:
    Base = admin.ModelAdmin


class ActingAdmin(Base):
    """Actions that ask why, and rights for them: `@admin.action(permissions=["operate"])`, or `"destroy"`."""

    action_form = ReasonActionForm
    show_full_result_count = False

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(OPERATE)

    def has_destroy_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(DESTROY)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Django passes over an action that the user may not take; here it is refused."""
        if request.method == "POST":
            asked = request.POST.get("action", "")
            if not request.user.has_perm(OPERATE) and not request.user.has_perm(DESTROY):
                raise PermissionDenied
            if asked and asked not in self.get_actions(request):
                raise PermissionDenied
        response: HttpResponse = super().changelist_view(request, {**(extra_context or {}), **live(request)})
        return response

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if kwargs.get("obj") is not None:
            context = {**live(request), **context}
            form = getattr(context.get("adminform"), "form", None)
            if clashes := getattr(form, "clashes", ()):
                context |= {"clashes": clashes, "last_editor": self.last_editor(kwargs["obj"])}
        response: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return response

    def last_editor(self, obj: models.Model) -> tuple[str, datetime] | None:
        """Who changed it last, and when, as far as is known."""
        return last_editor(obj)

    def act_on_each(
        self,
        request: HttpRequest,
        chosen: Iterable[models.Model],
        act: Callable[..., str],
        flag: int = CHANGE,
    ) -> None:
        """Act on each that was chosen; one that is refused does not stop the others. `act(obj, actor=, reason=)`."""
        form = ReasonForm(request.POST)
        if not form.is_valid():
            self.message_user(request, SAY_WHY, messages.ERROR)
            return
        reason = form.cleaned_data["reason"]
        done, refused = [], []
        for obj in chosen:
            try:
                with transaction.atomic():
                    done.append(act(obj, actor=actor_of(request), reason=reason))
                    log_act(request, obj, done[-1], reason, flag)
            except Refused as error:
                refused.append(str(error))
        forget()
        for sentences, level in ((done, messages.SUCCESS), (refused, messages.WARNING)):
            for sentence in sentences[:TOLD_ONE_BY_ONE]:
                self.message_user(request, sentence, level)
            if len(sentences) > TOLD_ONE_BY_ONE:
                more = len(sentences) - TOLD_ONE_BY_ONE
                self.message_user(request, f"… and {more} more likewise", level)


class MachineOwned(ActingAdmin):
    """Rows that the machine writes: to be seen, never to be edited by hand."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
