"""Visitors: a name for each that tells them apart and says nothing about them.

What tells a visitor apart is a random number in a signed cookie. It costs no row: who keeps no cookies, as bots and
probes do, leaves nothing behind however often they come.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac

from pools.callers import key_of
from runs.addresses import network_of
from runs.clients import Client

COOKIE_OF_OLD = "visitor"  # its name before each installation had its own
COOKIE_SECONDS = 365 * 24 * 3600
SESSION_KEY = "visitor"  # in sessions from before there was the cookie
BEGUN = "visitor_begun"  # the number that the answer to this request brings along


def visitor_of(request: HttpRequest) -> str:
    """The visitor's name: a salted hash of their number, which they get with this answer if they have none.

    Not of a session's key, which changes when somebody logs in: their runs stay theirs.
    """
    number = _number(request)
    if number is None:
        number = secrets.token_hex(16)
        setattr(request, BEGUN, number)
    return _name(number)


def known_visitor(request: HttpRequest) -> str | None:
    """As `visitor_of`, but gives nobody a number: for pages that only look."""
    number = _number(request)
    return None if number is None else _name(number)


def caller_of(request: HttpRequest) -> str:
    """The name under which launches are kept and counted: the key's, the visitor's, else one for the address that a
    program calls from."""
    if (key := key_of(request)) is not None:
        return key.client
    return known_visitor(request) or _name(f"address {_network(request)}")


def client_of(request: HttpRequest) -> Client:
    """Whoever launches, by the API or from a page."""
    key = key_of(request)
    network = "" if key is not None else _name(f"network {_network(request)}")
    return Client(caller_of(request), network, key)


def _network(request: HttpRequest) -> str:
    address = request.META.get("REMOTE_ADDR", "")
    return network_of(address) or address


class VisitorMiddleware:
    """Sends a visitor's new number along."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if number := getattr(request, BEGUN, None):
            response.set_signed_cookie(
                settings.VISITOR_COOKIE_NAME,
                number,
                max_age=COOKIE_SECONDS,
                secure=settings.SESSION_COOKIE_SECURE,
                httponly=True,
                samesite="Lax",
            )
        return response


def _number(request: HttpRequest) -> str | None:
    begun: str | None = getattr(request, BEGUN, None)
    number = begun or request.session.get(SESSION_KEY) or request.get_signed_cookie(settings.VISITOR_COOKIE_NAME, None)
    if number is None and (number := request.get_signed_cookie(COOKIE_OF_OLD, None)) is not None:
        setattr(request, BEGUN, number)  # from now on under the name of today
    return number if isinstance(number, str) else None


def _name(number: str) -> str:
    return salted_hmac("runs.visitor", number, algorithm="sha256").hexdigest()
