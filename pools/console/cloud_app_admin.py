"""The apps in the admin, as DigitalOcean listed them last."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from pools import clock
from pools.console.links import console_link
from pools.console.rights import MachineOwned
from pools.models import CloudApp, FleetEvent, Sandbox
from pools.turn.attempts import deletion

EVENTS_SHOWN = 200


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
            sandbox = Sandbox.objects.filter(app_id=app.app_id).first()
            context |= {
                "events": FleetEvent.objects.filter(app_id=app.app_id)[:EVENTS_SHOWN],
                "sandbox": sandbox,
                "tried": deletion(app, clock.now()).told(clock.now()) if app.delete_reason else "",
                "can_force": self.has_destroy_permission(request),
            }
        return super().render_change_form(request, context, *args, **kwargs)
