"""Addresses that strangers name may lead out alone, to public ones, whatever a name resolves to. One that were ours
would make us ask on a stranger's behalf what only we can reach: the database, the cloud's metadata, a neighbour."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Network, ip_address

import httpcore

PUBLIC_V6 = IPv6Network("2000::/3")  # all that is given out
TUNNELS = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))  # which carry an IPv4 address of anybody's


class Inside(httpcore.ConnectError):
    """It leads to what is not public."""


def is_public(address: str) -> bool:
    """Whether an address is one that anybody on the internet can reach. Pure."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if found.is_multicast or found.is_reserved or not found.is_global:
        return False
    return isinstance(found, IPv4Address) or (found in PUBLIC_V6 and not any(found in tunnel for tunnel in TUNNELS))


def require_public(host: str, addresses: Sequence[str]) -> None:
    """Raises Inside, unless each address that a host has is public."""
    if not all(is_public(address) for address in addresses):
        raise Inside(f"{host} leads to what is no public address")  # what it is, is nobody's business
