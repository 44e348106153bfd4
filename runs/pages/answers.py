"""What the pages share: fresh pages, the redirect after a form, and what a visitor plays."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import cache_control

from runs.models import Run

# Kept by browsers for the back button only.
fresh = cache_control(private=True, no_cache=True)


def active_of(visitor: str | None) -> list[Run]:
    """The visitor's runs that are not over, the newest first. Found by the visitor alone, who has few."""
    return list(Run.objects.active().filter(visitor=visitor).order_by("-created_at")) if visitor else []


def see_other(found: Run) -> HttpResponse:
    """303: the browser asks for the page with GET, and a reload never sends the form again."""
    response = redirect(found)
    response.status_code = 303
    return response
