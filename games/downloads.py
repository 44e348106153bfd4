"""Snapshots kept in a folder are downloaded from the orchestrator itself, by a signed address that expires."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlencode

from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import File
from django.core.files.storage import storages
from django.core.signing import BadSignature, TimestampSigner
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

SALT = "games.snapshot"
CHUNK_BYTES = 256 * 1024


def signed_url(key: str) -> str:
    """Return the address of that snapshot's download, good for SNAPSHOT_URL_SECONDS."""
    signature = TimestampSigner(salt=SALT).sign(key).removeprefix(f"{key}:")
    path = reverse("snapshot-download", args=[key])
    return f"{settings.PUBLIC_URL.rstrip('/')}{path}?{urlencode({'signature': signature})}"


@require_safe
def download(request: HttpRequest, key: str) -> StreamingHttpResponse:
    """The file, for whoever has its signed address; nothing else can be told from the answer."""
    try:
        signed = f"{key}:{request.GET.get('signature', '')}"
        TimestampSigner(salt=SALT).unsign(signed, max_age=settings.SNAPSHOT_URL_SECONDS)
        file = storages["snapshots"].open(key)
    except (BadSignature, OSError, SuspiciousFileOperation):
        raise Http404("This download has expired or never was.") from None
    headers = {"Content-Length": str(file.size), "Cache-Control": "private, no-store"}
    return StreamingHttpResponse(_chunks(file), content_type="application/gzip", headers=headers)


async def _chunks(file: File) -> AsyncIterator[bytes]:  # type: ignore[type-arg]  # not generic at run time
    """Read in a thread: under ASGI a file that is read in the event loop would be sent only once it is read whole."""
    try:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
    finally:
        file.close()
