"""Where a request comes from, as it is counted and logged."""

from __future__ import annotations

from django.http import HttpRequest

import runs.addresses
from runs.addresses import IPV6_PREFIX


def network_of(request: HttpRequest) -> str | None:
    """Return the client's IPv4 address, or the first address of its IPv6 network; None when there is none to be had.

    Only REMOTE_ADDR counts: anybody can write a header.
    """
    return runs.addresses.network_of(request.META.get("REMOTE_ADDR") or "")


def told(network: str | None) -> str:
    """As people read it."""
    if network is None:
        return "an unknown address"
    return f"{network}/{IPV6_PREFIX}" if ":" in network else network
