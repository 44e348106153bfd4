"""The site's own rows in the admin: the clusters' signs of life, and the acts of operators."""

from __future__ import annotations

from typing import Any

from axes.models import AccessAttempt
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.http import HttpRequest
from django.utils.html import format_html
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from orchestrator_site.models import Beat
from pools.console.rights import MachineOwned
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
    list_display_links = None
    list_filter = ("action_time", "content_type", ("user", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("user", "content_type")
    search_fields = ("object_repr", "change_message", "user__username")

    @admin.display(description="About")
    def about(self, entry: LogEntry) -> Any:
        url = entry.get_admin_url()
        return format_html('<a href="{}">{}</a>', url, entry.object_repr) if url else entry.object_repr


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
