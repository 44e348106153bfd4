"""The view of the fleet's past."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from pools import clock
from pools.console.history_page import HistoryQuery, context_of


def history_view(model_admin: admin.ModelAdmin[Any], request: HttpRequest) -> HttpResponse:
    """The fleet as it was at `?at=`, for all who may see it as it is."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    now = clock.now()
    query = HistoryQuery.of(request.GET, now)
    context = {
        **model_admin.admin_site.each_context(request),
        **context_of(query, now),
        "title": f"The fleet at {query.at:%Y-%m-%d %H:%M:%S} UTC",
        "opts": model_admin.opts,
    }
    return render(request, "admin/pools/fleet/history.html", context)
