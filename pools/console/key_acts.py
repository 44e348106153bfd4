"""What operators do with API keys: make and revoke, each a line in the log."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from pools import api_keys, clock, journal
from pools.api_keys import ApiKey
from pools.console.operations import Refused
from pools.edits import Of, edit
from pools.reasons import KeyCode, LogKind


@transaction.atomic
def make(
    name: str,
    scopes: Collection[str],
    *,
    actor: str,
    reason: str,
    expires_at: datetime | None = None,
    limits: Mapping[str, Any] | None = None,
) -> tuple[ApiKey, str]:
    """A new key's row, and the key, which is told here only."""
    now = clock.now()
    key, token = api_keys.make(name, scopes, by=actor, now=now, expires_at=expires_at, limits=limits)
    until = f" until {expires_at:%Y-%m-%d %H:%M} UTC" if expires_at else ""
    message = f"API key {key} made for {', '.join(key.scopes)}{until}: {reason}"
    journal.record(LogKind.KEY, message, code=KeyCode.MADE, actor=actor, data={"key": key.prefix}, now=now)
    return key, token


@transaction.atomic
def revoke(key: ApiKey, *, actor: str, reason: str) -> str:
    """From now on it opens nothing. Raises Refused."""
    now = clock.now()
    if not api_keys.revoke(key, by=actor, now=now):
        raise Refused(f"{key} was revoked before.")
    message = f"API key {key} revoked: {reason}"
    data = {"key": key.prefix} | edit(Of.KEY, key.prefix, {"revoked": (False, True)}).data()
    journal.record(LogKind.KEY, message, code=KeyCode.REVOKED, actor=actor, data=data, now=now)
    return f"{key} is revoked"
