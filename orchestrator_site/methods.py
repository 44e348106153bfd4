"""HEAD and OPTIONS where GET is, at every address of the API (RFC 9110, 9.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from django.http import HttpRequest, HttpResponse

PREFIX = "/api/"


def allowed(methods: Iterable[str]) -> str:
    """What an address takes, as `Allow` says it: HEAD comes with GET, and OPTIONS with everything."""
    found = {method for method in methods if method} | {"OPTIONS"}
    return ", ".join(sorted(found | ({"HEAD"} if "GET" in found else set())))


class MethodsMiddleware:
    """HEAD is answered as GET (servers send such an answer without its body), OPTIONS with what there is."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(PREFIX):
            return self.get_response(request)
        response = self._as_get(request) if request.method == "HEAD" else self.get_response(request)
        if response.status_code != 405:
            return response
        allow = allowed(response.headers.get("Allow", "").split(", "))
        if request.method == "OPTIONS":
            return HttpResponse(status=204, headers={"Allow": allow})
        response.headers["Allow"] = allow
        return response

    def _as_get(self, request: HttpRequest) -> HttpResponse:
        request.method = "GET"
        response = self.get_response(request)
        request.method = "HEAD"
        response.headers.setdefault("Content-Length", str(len(response.content)))
        return response
