"""The pictures of the games."""

from __future__ import annotations

import hashlib

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import condition, require_safe

from games.models import Game

# An SVG can hold scripts: opened by itself it may draw, and nothing else.
COVER_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
YEAR_SECONDS = 31_536_000


def cover_version(picture: str) -> str:
    return hashlib.sha256(picture.encode()).hexdigest()[:16]


def _etag(request: HttpRequest, slug: str) -> str | None:
    picture = Game.objects.playable().filter(slug=slug).values_list("cover", flat=True).first()
    return f'"{cover_version(picture)}"' if picture else None


@require_safe
@condition(etag_func=_etag)
def cover(request: HttpRequest, slug: str) -> HttpResponse:
    """A game's picture. Its address in the pages changes with it (`?v=`), so it may be kept for long."""
    game = get_object_or_404(Game.objects.playable().exclude(cover=""), slug=slug)
    lasting = "immutable" if "v" in request.GET else "must-revalidate"
    age = YEAR_SECONDS if "v" in request.GET else 3600
    return HttpResponse(
        game.cover,
        content_type="image/svg+xml",
        headers={"Content-Security-Policy": COVER_POLICY, "Cache-Control": f"public, max-age={age}, {lasting}"},
    )
