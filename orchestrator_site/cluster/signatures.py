"""Tasks that were queued under a former SECRET_KEY, or under one that comes: Django-Q reads only those of its own."""

from __future__ import annotations

from django.conf import settings
from django.core.signing import BadSignature, TimestampSigner
from django_q.conf import Conf


def readable(payload: str) -> str:
    """The task as this process's Django-Q can read it, if it was signed with any key that is at hand."""
    own = TimestampSigner(key=settings.SECRET_KEY, fallback_keys=[], salt=Conf.PREFIX)
    for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        try:
            content = TimestampSigner(key=key, fallback_keys=[], salt=Conf.PREFIX).unsign(payload)
        except BadSignature:
            continue
        return payload if key == settings.SECRET_KEY else own.sign(content)
    return payload
