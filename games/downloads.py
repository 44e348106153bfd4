"""Snapshots kept in a folder are downloaded from the orchestrator itself, by a signed address that expires."""

from __future__ import annotations

from urllib.parse import urlencode

from django.conf import settings
from django.core.files.storage import storages
from django.core.signing import BadSignature, TimestampSigner
from django.http import FileResponse, Http404, HttpRequest
from django.urls import reverse

SALT = "games.snapshot"


def signed_url(key: str) -> str:
    """Where that snapshot can be downloaded until SNAPSHOT_URL_SECONDS from now."""
    signature = TimestampSigner(salt=SALT).sign(key).removeprefix(f"{key}:")
    path = reverse("snapshot-download", args=[key])
    return f"{settings.PUBLIC_URL}{path}?{urlencode({'signature': signature})}"


def download(request: HttpRequest, key: str) -> FileResponse:
    """The file, for whoever has its signed address; nothing else can be told from the answer."""
    try:
        TimestampSigner(salt=SALT).unsign(
            f"{key}:{request.GET.get('signature', '')}", max_age=settings.SNAPSHOT_URL_SECONDS
        )
        return FileResponse(storages["snapshots"].open(key), content_type="application/gzip")
    except (BadSignature, OSError):
        raise Http404("This download has expired or never was.") from None
