"""Error pages that belong to the site. Programs, which ask for JSON, are answered by the API itself."""

from __future__ import annotations

import logging

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.csrf import requires_csrf_token

from orchestrator_site.sign_in.addresses import network_of, told
from orchestrator_site.sign_in.records import shown

logger = logging.getLogger(__name__)
PATH_CHARACTERS = 200


@requires_csrf_token
def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    _note(request, "is not allowed to")
    if request.path.startswith(reverse("admin:index")) and request.user.is_authenticated:
        return render(
            request, "admin/403.html", admin.site.each_context(request) | {"title": "Not allowed"}, status=403
        )
    return render(request, "403.html", status=403)


@requires_csrf_token
def form_expired(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without a valid CSRF token: an old page, or cookies that are switched off."""
    _note(request, f"sent a form without our token ({reason.rstrip('.')}):")
    return render(request, "403_csrf.html", status=403)


def _note(request: HttpRequest, what: str) -> None:
    """One line for each 403, who and from where; Django's own are switched off in the settings."""
    who = shown(request.user.get_username()) if request.user.is_authenticated else "somebody"
    path = shown(request.path, PATH_CHARACTERS)
    logger.warning("403: %s from %s %s %s %s", who, told(network_of(request)), what, request.method, path)
