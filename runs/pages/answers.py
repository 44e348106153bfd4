"""Answers that the pages share: fresh pages, and the redirect after a form."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import cache_control

from runs.models import Run

# Kept by browsers for the back button only.
fresh = cache_control(private=True, no_cache=True)


def see_other(found: Run) -> HttpResponse:
    """303: the browser asks for the page with GET, and a reload never sends the form again."""
    response = redirect(found)
    response.status_code = 303
    return response
