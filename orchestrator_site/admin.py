"""The site's own rows in the admin: the clusters' signs of life, and the acts of operators."""

from __future__ import annotations

from typing import Any

from axes.models import AccessAttempt
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_q.admin import FailAdmin, TaskAdmin
from django_q.models import Failure, Success, Task
from django_q.tasks import async_task

from orchestrator_site.models import Beat
from pools import journal
from pools.console.rights import ActingAdmin, MachineOwned
from pools.reasons import LogKind
from pools.templatetags.fleet import since


@admin.register(Beat)
class BeatAdmin(MachineOwned):
    list_display = ("__str__", "last", "workers", "idle_workers", "waiting", "due", "stuck")
    ordering = ("-at",)

    @admin.display(description="Last sign of life", ordering="at")
    def last(self, beat: Beat) -> str:
        return f"{since(beat.at)} ago"


@admin.register(LogEntry)
class LogEntryAdmin(MachineOwned):
    """The acts in the admin: who did what, and why."""

    list_display = ("action_time", "user", "content_type", "about", "change_message")
    exported = ("action_time", "user__username", "content_type__model", "object_id", "object_repr", "change_message")
    list_display_links = None
    list_filter = ("action_time", "content_type", ("user", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("user", "content_type")
    search_fields = ("object_repr", "change_message", "user__username")

    @admin.display(description="About")
    def about(self, entry: LogEntry) -> Any:
        url = entry.get_admin_url()
        return format_html('<a href="{}">{}</a>', url, entry.object_repr) if url else entry.object_repr


def resubmit(task: Task, *, actor: str, reason: str) -> str:
    """Queue it again; a failed one is forgotten then."""
    options = {"hook": task.hook, "group": task.group, "cluster": task.cluster, "task_name": task.name}
    async_task(task.func, *(task.args or ()), **options, **(task.kwargs or {}))
    done = f"task {task.name} queued again"
    journal.record(LogKind.RESUBMIT, f"{done}; an operator: {reason}", actor=actor, data={"func": task.func})
    if not task.success:
        Task.objects.filter(pk=task.pk).delete()
    return done


class ResubmittingAdmin(ActingAdmin):
    """Tasks of Django-Q that are over. Its own action asks nobody why, and leaves no trace."""

    actions = ("resubmit_chosen",)

    @admin.action(description="Queue again", permissions=["operate"])
    def resubmit_chosen(self, request: HttpRequest, chosen: QuerySet[Task]) -> None:
        self.act_on_each(request, chosen, resubmit)


admin.site.unregister([Failure, Success])


@admin.register(Failure)
class FailureAdmin(ResubmittingAdmin, FailAdmin):  # type: ignore[misc]
    pass


@admin.register(Success)
class SuccessAdmin(ResubmittingAdmin, TaskAdmin):  # type: ignore[misc]
    pass


# Secrets and recovery codes are shown to whom they are for, and to nobody else (`sign_in.second_factor`).
admin.site.unregister([TOTPDevice, StaticDevice])


@admin.register(AccessAttempt)
class AccessAttemptAdmin(MachineOwned):
    """Sign-ins that failed lately. Who may delete a row lifts the lock that it is counted for."""

    list_display = ("attempt_time", "username", "ip_address", "failures_since_start")
    list_filter = ("attempt_time",)
    search_fields = ("username", "ip_address")
    fields = ("attempt_time", "username", "ip_address", "failures_since_start")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("axes.delete_accessattempt")
