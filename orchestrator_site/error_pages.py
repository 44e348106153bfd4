"""Error pages that belong to the site. Programs, which ask for JSON, are answered by the API itself."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.csrf import requires_csrf_token


@requires_csrf_token
def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    if request.path.startswith(reverse("admin:index")) and request.user.is_authenticated:
        return render(
            request, "admin/403.html", admin.site.each_context(request) | {"title": "Not allowed"}, status=403
        )
    return render(request, "403.html", status=403)


@requires_csrf_token
def form_expired(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without a valid CSRF token: an old page, or cookies that are switched off."""
    return render(request, "403_csrf.html", status=403)
