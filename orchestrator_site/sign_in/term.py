"""A session ends so many hours after the sign-in, however busy it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from pools import clock


def end_in_time(request: HttpRequest, **_: Any) -> None:
    """A moment, and not a number of seconds: those would count from each change of the session anew."""
    request.session.set_expiry(clock.now() + timedelta(hours=settings.OPERATOR_SESSION_HOURS))
