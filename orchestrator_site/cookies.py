"""Names for our cookies. Browsers keep cookies by host and not by port: two installations on one host share them."""

from __future__ import annotations

import hashlib

NAME_CHARACTERS = 8


def cookie_name(what: str, public_url: str) -> str:
    """Return the name that a cookie has in the installation at this address: the same after a restart, on all of its
    machines, and under another SECRET_KEY.

    With `__Host-` browsers take it from this host alone, over HTTPS, and for all of its paths.
    """
    prefix = "__Host-" if public_url.startswith("https://") else ""
    return f"{prefix}{what}_{hashlib.sha256(public_url.encode()).hexdigest()[:NAME_CHARACTERS]}"
