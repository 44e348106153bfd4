"""Keys with which programs call the API: what each may do and how much, and never the key itself.

A key is shown once, when it is made. Kept are its hash, by which it is found again, and its first letters, by which
people tell it from others. It is a long random number, so a plain hash is enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

BEGINNING = "key_"
CLIENT_PREFIX = "key:"  # of the name under which its launches are kept
NAME_CHARACTERS = 100
PREFIX_CHARACTERS = 8
MAY_BE_COUNTED = MaxValueValidator(1_000_000)
USE_NOTED_FOR = timedelta(minutes=1)  # so long nobody notes it again: it would be a write with each request


class Scope(models.TextChoices):
    """What a key may be used for."""

    LAUNCH = "launch", "launch: start games; follow, extend and end its own runs"
    READ = "read", "read: see everybody's runs, the fleet and the costs"
    OPERATE = "operate", "operate: set pools, end and extend everybody's runs; read as well"
    ADMIN = "admin", "admin: everything"


IMPLIED = {
    Scope.LAUNCH: {Scope.LAUNCH},
    Scope.READ: {Scope.READ},
    Scope.OPERATE: {Scope.OPERATE, Scope.READ},
    Scope.ADMIN: set(Scope),
}


class Refusal(StrEnum):
    """Why a key is not taken, as a code of `pools.problem_codes`."""

    UNKNOWN = "key_unknown"
    EXPIRED = "key_expired"
    REVOKED = "key_revoked"


class KeyRefused(Exception):
    """This key opens nothing."""

    def __init__(self, code: Refusal) -> None:
        super().__init__(code)
        self.code = code


class ApiKey(models.Model):
    """One key of one program. Null limits are the ones that hold for every client."""

    name = models.CharField(max_length=NAME_CHARACTERS, help_text="Whose it is: the log has it with every act.")
    prefix = models.CharField(max_length=PREFIX_CHARACTERS, unique=True, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=list)
    expires_at = models.DateTimeField(null=True, blank=True)
    most_at_once = models.PositiveIntegerField(
        null=True, blank=True, validators=[MAY_BE_COUNTED], help_text="Launches that are not over."
    )
    most_a_minute = models.PositiveIntegerField(
        null=True, blank=True, validators=[MAY_BE_COUNTED], help_text="Launches within a minute."
    )
    most_an_hour = models.PositiveIntegerField(
        null=True, blank=True, validators=[MAY_BE_COUNTED], help_text="Launches within an hour."
    )
    most_usd_a_day = models.DecimalField(
        "most USD a day",
        max_digits=9,
        decimal_places=2,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="What the sandboxes of its launches of the last 24 hours may cost.",
    )
    created_at = models.DateTimeField(editable=False)
    created_by = models.CharField(max_length=150, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_by = models.CharField(max_length=150, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "API key"
        verbose_name_plural = "API keys"
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({BEGINNING}{self.prefix}…)"

    @property
    def client(self) -> str:
        """The name under which its launches are kept and counted."""
        return client_of(self.prefix)

    @property
    def actor(self) -> str:
        """Who acted, as the log has it."""
        return f"key {self.name} ({self.prefix})"

    def may(self, scope: Scope) -> bool:
        return any(scope in IMPLIED[Scope(each)] for each in self.scopes if each in Scope.values)

    def refusal(self, now: datetime) -> Refusal | None:
        """Why it is not taken any more; None while it is."""
        if self.revoked_at is not None:
            return Refusal.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return Refusal.EXPIRED
        return None


def client_of(prefix: str) -> str:
    return f"{CLIENT_PREFIX}{prefix}"


def is_a_key(client: str) -> bool:
    """Whether that client is a key."""
    return client.startswith(CLIENT_PREFIX)


def is_key(token: str) -> bool:
    """Whether a token that was sent is meant to be a key; there are tokens of runs as well."""
    return token.startswith(BEGINNING)


def make(
    name: str,
    scopes: Collection[str],
    *,
    by: str,
    now: datetime,
    expires_at: datetime | None = None,
    limits: Mapping[str, Any] | None = None,
) -> tuple[ApiKey, str]:
    """A new key's row, and the key, which is told here only. `limits`: its fields `most_…`. Raises ValidationError."""
    prefix = secrets.token_hex(PREFIX_CHARACTERS // 2)
    token = f"{BEGINNING}{prefix}_{secrets.token_urlsafe(32)}"
    key = ApiKey(
        name=name,
        prefix=prefix,
        digest=_digest(token),
        scopes=sorted(scopes),
        created_at=now,
        created_by=by,
        expires_at=expires_at,
        **(limits or {}),
    )
    key.full_clean()
    key.save(force_insert=True)
    return key, token


def find(token: str, now: datetime) -> ApiKey:
    """The key's row, whose use is noted. Raises KeyRefused."""
    key = ApiKey.objects.filter(digest=_digest(token)).first()
    if key is None:
        raise KeyRefused(Refusal.UNKNOWN)
    if (code := key.refusal(now)) is not None:
        raise KeyRefused(code)
    long_ago = Q(last_used_at=None) | Q(last_used_at__lt=now - USE_NOTED_FOR)
    if key.last_used_at is None or key.last_used_at < now - USE_NOTED_FOR:
        ApiKey.objects.filter(long_ago, pk=key.pk).update(last_used_at=now)
    return key


def revoke(key: ApiKey, *, by: str, now: datetime) -> bool:
    """Take a key back for good. False when it was taken back before."""
    return bool(ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now, revoked_by=by))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
