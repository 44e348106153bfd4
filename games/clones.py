"""Sandboxes that do not share our disk clone the games' sources from the site itself, by git's own HTTP protocol.

Only what a clone needs is answered: the branches, and a pack of them. Sources are no secret: browsers have them.
"""

from __future__ import annotations

import re
import zlib

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseForbidden
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from games import version_sources
from games.models import Game
from games.source_repositories import SourceRepositoryError, upload_pack

SERVICE = "git-upload-pack"
REFS = "/info/refs"  # what git appends to the address that it is given
MOST_REQUEST_BYTES = 64 * 1024  # a clone of one branch asks in some hundred


def clone_url(slug: str) -> str:
    """Return the address to clone from where the sandbox is on another machine."""
    return settings.PUBLIC_URL.rstrip("/") + reverse("source-refs", args=[slug]).removesuffix(REFS)


@require_safe
def refs(request: HttpRequest, slug: str) -> HttpResponse:
    """The branches, as the answer that begins a clone."""
    if request.GET.get("service") != SERVICE:
        return HttpResponseForbidden("Sources can be cloned, and nothing else.", content_type="text/plain")
    heading = f"# service={SERVICE}\n"
    beginning = f"{len(heading) + 4:04x}{heading}0000"  # git's packet lines carry their length
    return _answer("advertisement", beginning.encode() + _upload_pack(request, slug, "--advertise-refs"))


@csrf_exempt
@require_POST
def pack(request: HttpRequest, slug: str) -> HttpResponse:
    """Answer with the pack of commits that the client asks for."""
    body = request.body
    if request.headers.get("Content-Encoding") == "gzip":
        try:
            body = zlib.decompressobj(wbits=31).decompress(body, MOST_REQUEST_BYTES + 1)
        except zlib.error:
            return HttpResponseBadRequest("The request is not gzip.", content_type="text/plain")
    if len(body) > MOST_REQUEST_BYTES:
        return HttpResponseBadRequest("The request is too long.", content_type="text/plain")
    return _answer("result", _upload_pack(request, slug, body=body))


def _upload_pack(request: HttpRequest, slug: str, *options: str, body: bytes = b"") -> bytes:
    if not version_sources.found_here(slug):
        get_object_or_404(Game.objects.playable(), slug=slug)
    wanted = re.fullmatch(r"version=[0-2]", request.headers.get("Git-Protocol", ""))
    protocol = wanted[0] if wanted else ""
    try:
        return upload_pack(slug, settings.GAME_REPOSITORIES_DIR, *options, request=body, protocol=protocol)
    except SourceRepositoryError as error:
        raise Http404(str(error)) from error


def _answer(what: str, content: bytes) -> HttpResponse:
    return HttpResponse(content, content_type=f"application/x-{SERVICE}-{what}", headers={"Cache-Control": "no-store"})
