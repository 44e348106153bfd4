"""How an installation proves at an address that it is the one that answers there."""

from __future__ import annotations

import re

from django.conf import settings
from django.utils.crypto import salted_hmac

PATH = "/health/installation"
NONCE = re.compile(r"[0-9a-f]{32}")


def proof(nonce: str) -> str:
    """What only who has our SECRET_KEY and ORCHESTRATOR_ID can answer; empty for what is no nonce: nobody gets anything
    else signed."""
    if not NONCE.fullmatch(nonce):
        return ""
    value = f"{settings.ORCHESTRATOR_ID}:{nonce}"
    return salted_hmac("orchestrator_site.identity", value, algorithm="sha256").hexdigest()
