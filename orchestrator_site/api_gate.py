"""What holds for every request to the API that comes to a view: whose page sends it, and that its key is good."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from orchestrator_site.api import respond
from orchestrator_site.methods import PREFIX
from pools.callers import take_key
from pools.problems import Problem
from runs.origins import require_may_change

READING = ("GET", "HEAD", "OPTIONS")


class ApiGateMiddleware:
    """Neither other sites nor games change anything with a visitor's browser, and no key is passed over."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith(PREFIX):
            try:
                if request.method not in READING:
                    origin, fetch_site = (request.headers.get(name) for name in ("Origin", "Sec-Fetch-Site"))
                    require_may_change(origin=origin, fetch_site=fetch_site, host=request.get_host())
                take_key(request)
            except Problem as problem:
                return respond(problem)
        return self.get_response(request)
