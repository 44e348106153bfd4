"""A session ends so many hours after the sign-in, however busy it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone


def end_in_time(request: HttpRequest, **_: Any) -> None:
    """A moment, and not a number of seconds: those would count from each change of the session anew."""
    request.session.set_expiry(timezone.now() + timedelta(hours=settings.OPERATOR_SESSION_HOURS))
