"""Where only games live, there are no pages of ours: nothing there looks like the site, and nobody signs in there."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase

from runs.addresses import is_for_games, page_url

FOR_PROGRAMS = "/api/"  # answers there too: it has neither forms nor cookies to be taken


class GamesHostMiddleware:
    """Leads who asks the games' origin for a page to the site's own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        host, port = request.META.get("HTTP_HOST", ""), request.META.get("SERVER_PORT", "")
        is_page = not request.path.startswith(FOR_PROGRAMS)
        if not is_page or not is_for_games(host, int(port) if port.isdigit() else None):
            return self.get_response(request)
        response: HttpResponse = HttpResponseRedirect(page_url(request.get_full_path()))
        response.status_code = 307  # a form is sent on as it is
        return response
