"""Links to DigitalOcean's console, and to the runs' pages."""

from __future__ import annotations

from uuid import UUID

from django.urls import reverse
from django.utils.html import format_html

from pools.console.fleet_table import CONSOLE_URL
from pools.templatetags.fleet import NOTHING


def console_link(app_id: str | None, characters: int = 64) -> str:
    """To the app in DigitalOcean's console, which nobody here follows by itself."""
    if not app_id:
        return NOTHING
    link = '<a href="{}" rel="noreferrer" target="_blank" title="{}">{}</a>'
    return format_html(link, CONSOLE_URL + app_id, app_id, app_id[:characters])


def run_link(run_id: UUID | None) -> str:
    """To the run's page in the admin, which those above register."""
    if run_id is None:
        return NOTHING
    return format_html('<a href="{}">{}</a>', reverse("admin:runs_run_change", args=[run_id]), run_id.hex[:8])
