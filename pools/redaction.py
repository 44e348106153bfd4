"""What no log and no trace may tell: keys, tokens, passwords, and the signatures of addresses."""

from __future__ import annotations

import re
from functools import lru_cache

from django.conf import settings

SHORTEST_SECRET = 8  # characters: what is shorter is found in words
GONE = "…"
PATTERNS = [
    (re.compile(pattern), put)
    for pattern, put in (
        (r"(?i)\b(bearer|basic) [\w.~+/=-]{8,}", rf"\1 {GONE}"),
        # Ours, each with its beginning, and DigitalOcean's.
        (r"\b(key_[0-9a-f]{8}_)[\w-]{20,}", rf"\1{GONE}"),
        (r"\b(run_)[0-9a-f]{64}\b", rf"\1{GONE}"),
        (r"\b(whsec_)[\w+/=-]{16,}", rf"\1{GONE}"),
        (r"\b(do[optr]_v1_)[0-9a-f]{16,}", rf"\1{GONE}"),
        # Of addresses: names and passwords before the host, and signatures behind the path.
        (r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)", GONE),
        (
            r"(?i)([?&;](?:[\w.-]*(?:signature|token|secret|passw|credential|authorization)[\w.-]*|sig|key)=)[^&\s\"'<>]+",
            rf"\1{GONE}",
        ),
        # Of dictionaries, as Python and JSON write them.
        (r"(?i)([\"'][\w-]*(?:token|passw|secret|authorization|cookie)[\w-]*[\"']: ?b?[\"'])[^\"']+", rf"\1{GONE}"),
    )
]


def redacted(text: str) -> str:
    """The text without what is secret in it."""
    if settings.configured:  # else they are being read
        for secret in _own(settings.SECRET_KEY):
            text = text.replace(secret, GONE)
    for pattern, put in PATTERNS:
        text = pattern.sub(put, text)
    return text


@lru_cache(maxsize=4)
def _own(secret_key: str) -> tuple[str, ...]:
    """The secrets in the settings, the longest first."""
    found = [secret_key, *settings.SECRET_KEY_FALLBACKS, settings.DIGITALOCEAN_TOKEN, settings.EMAIL_HOST_PASSWORD]
    found += [settings.SPACES["access_key"], settings.SPACES["secret_key"]]
    found += [str(database.get("PASSWORD") or "") for database in settings.DATABASES.values()]
    found += [header.partition("=")[2].strip() for header in settings.TRACES_HEADERS.split(",")]
    return tuple(sorted({each for each in found if len(each) >= SHORTEST_SECRET}, key=len, reverse=True))
