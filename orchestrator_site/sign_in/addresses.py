"""Where a request comes from, as it is counted and logged."""

from __future__ import annotations

import ipaddress

from django.http import HttpRequest

IPV6_PREFIX = 64  # what one household or server has: within it addresses cost nothing


def network_of(request: HttpRequest) -> str | None:
    """Return the client's IPv4 address, or the first address of its IPv6 network; None when there is none to be had.

    Only REMOTE_ADDR counts: anybody can write a header.
    """
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR") or "")
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), IPV6_PREFIX), strict=False).network_address)


def told(network: str | None) -> str:
    """As people read it."""
    if network is None:
        return "an unknown address"
    return f"{network}/{IPV6_PREFIX}" if ":" in network else network
