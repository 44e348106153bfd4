"""Visitors: a name for each that tells them apart and says nothing about them.

What tells a visitor apart is a random number in a signed cookie. It costs no row: who keeps no cookies, as bots and
probes do, leaves nothing behind however often they come. Names follow from numbers, and from addresses, by the oldest
key at hand, which is the same in every process while another comes into use. Meanwhile cookies hold the names
themselves, so that they stay when the oldest key is forgotten.
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
BEGUN = "visitor_begun"  # the number, or name, that the answer to this request brings along
SIGNED_AGAIN_SECONDS = 3600  # whoever comes by is soon known under the present key
NUMBER_BYTES = 16
NAME_CHARACTERS = 64


def visitor_of(request: HttpRequest) -> str:
    """The visitor's name: a salted hash of their number, which they get with this answer if they have none.

    Not of a session's key, which changes when somebody logs in: their runs stay theirs.
    """
    name = known_visitor(request)
    if name is None:
        number = secrets.token_hex(NUMBER_BYTES)
        setattr(request, BEGUN, _lasting(number))
        name = _name(number)
    return name


def known_visitor(request: HttpRequest) -> str | None:
    """As `visitor_of`, but gives nobody a number: for pages that only look."""
    if number := getattr(request, BEGUN, None) or request.session.get(SESSION_KEY):
        return _name(number)
    for cookie in (settings.VISITOR_COOKIE_NAME, COOKIE_OF_OLD):
        number = request.get_signed_cookie(cookie, None)
        if number is None:
            continue
        is_fresh = request.get_signed_cookie(cookie, None, max_age=SIGNED_AGAIN_SECONDS) is not None
        if cookie == COOKIE_OF_OLD or _lasting(number) != number or not is_fresh:
            setattr(request, BEGUN, _lasting(number))
        return _name(number)
    return None


def caller_of(request: HttpRequest) -> str:
    """The name under which launches are kept and counted: the key's, the visitor's, else one for the address that a
    program calls from."""
    if (key := key_of(request)) is not None:
        return key.client
    return known_visitor(request) or caller_of_network(request)


def caller_of_network(request: HttpRequest) -> str:
    """The name of all programs without cookies and keys in the network that a request comes from."""
    return _name(f"address {_network(request)}")


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


def _name(number: str) -> str:
    """The name of that number or address; of a name, that name."""
    if len(number) == NAME_CHARACTERS:
        return number
    key = settings.OLDEST_SECRET_KEY
    return salted_hmac("runs.visitor", number, secret=key, algorithm="sha256").hexdigest()


def _lasting(number: str) -> str:
    """What a cookie holds: the number, or while the key is being changed the name."""
    return number if settings.OLDEST_SECRET_KEY == settings.SECRET_KEY else _name(number)
