"""The tokens of the sandboxes' agents: derived from SECRET_KEY, or from the former one that a sandbox was made under.

Each row notes the fingerprint of its key, so that a new SECRET_KEY opens what an old one closed, as long as the old one
is among SECRET_KEY_FALLBACKS.
"""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID

from django.conf import settings
from django.utils.crypto import salted_hmac

FINGERPRINT_CHARACTERS = 16


@lru_cache(maxsize=32)
def fingerprint(key: str) -> str:
    """Return what tells a key apart from others and does not give it away."""
    whole = salted_hmac("pools.agent_keys.fingerprint", "", secret=key, algorithm="sha256").hexdigest()
    return whole[:FINGERPRINT_CHARACTERS]


def current() -> str:
    """The fingerprint of SECRET_KEY."""
    return fingerprint(settings.SECRET_KEY)


def known() -> dict[str, str]:
    """SECRET_KEY and the former keys that are still at hand, by their fingerprints."""
    return {fingerprint(key): key for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)}


def token(sandbox_id: UUID, key_fingerprint: str) -> str:
    """The token of a sandbox that was made under that key. Where the key is not at hand it is derived from SECRET_KEY,
    and the agent refuses it."""
    key = known().get(key_fingerprint, settings.SECRET_KEY)
    return salted_hmac("pools.sandbox", str(sandbox_id), secret=key, algorithm="sha256").hexdigest()
