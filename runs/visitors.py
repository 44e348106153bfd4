"""Visitors: a name for each that tells them apart and says nothing about them."""

from __future__ import annotations

import secrets

from django.http import HttpRequest
from django.utils.crypto import salted_hmac

SESSION_KEY = "visitor"


def visitor_of(request: HttpRequest) -> str:
    """The visitor's name: a salted hash of a random number in their session, which begins here if it must.

    Not of the session's own key, which changes when somebody logs in: their runs stay theirs.
    """
    number = request.session.get(SESSION_KEY)
    if not isinstance(number, str):
        number = request.session[SESSION_KEY] = secrets.token_hex(16)
    return _name(number)


def known_visitor(request: HttpRequest) -> str | None:
    """As `visitor_of`, but begins no session: for pages that only look."""
    number = request.session.get(SESSION_KEY)
    return _name(number) if isinstance(number, str) else None


def caller_of(request: HttpRequest) -> str:
    """The visitor's name where there is a session, else one for the address that a program calls from."""
    return known_visitor(request) or _name(f"address {request.META.get('REMOTE_ADDR', '')}")


def _name(number: str) -> str:
    return salted_hmac("runs.visitor", number, algorithm="sha256").hexdigest()
