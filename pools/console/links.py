"""Links to DigitalOcean's console."""

from __future__ import annotations

from django.utils.html import format_html

from pools.console.fleet_table import CONSOLE_URL
from pools.templatetags.fleet import NOTHING


def console_link(app_id: str | None, characters: int = 64) -> str:
    """To the app in DigitalOcean's console, which nobody here follows by itself."""
    if not app_id:
        return NOTHING
    link = '<a href="{}" rel="noreferrer" target="_blank" title="{}">{}</a>'
    return format_html(link, CONSOLE_URL + app_id, app_id, app_id[:characters])
