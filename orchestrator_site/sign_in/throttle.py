"""How often a sign-in may fail, counted in the database, so that all web processes and machines count together.

Three limits. An account from one address: people mistype. One address, whatever the account: a program that tries
names. One account, wherever from: many addresses that try one name. The last would let a stranger with many addresses
lock an operator out; so it spares addresses that the account has signed in from.

The count is looked at before anything is hashed, and grows after it. A web process hashes one password at a time
(`request_threads`), so one more for each further process may be under way when a limit is met. Of an account from one
address they are refused all the same, their number is exact; but one whose password is right gets in. The limits of an
address, and of an account from everywhere, may be passed by one failure for each further process.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from axes.backends import AxesStandaloneBackend
from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt, AccessLog
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet, Sum
from django.http import HttpRequest

from orchestrator_site.sign_in import records
from orchestrator_site.sign_in.addresses import network_of, told
from orchestrator_site.sign_in.reasons import SignInCode
from orchestrator_site.sign_in.records import shown
from pools import clock

PAIR_FAILURES = 5
ADDRESS_FAILURES = 20
ACCOUNT_FAILURES = 100
NAME_CHARACTERS = 150  # of Django's accounts
ROWS_FOR_THE_ALARM = 1000  # the newest


@dataclass(frozen=True, slots=True)
class Lock:
    """No sign-in until a moment, and what is locked."""

    code: SignInCode
    ends_at: datetime

    def left_seconds(self, now: datetime) -> int:
        return max(1, ceil((self.ends_at - now).total_seconds()))

    def sentence(self, now: datetime) -> str:
        minutes = ceil(self.left_seconds(now) / 60)
        wait = "a minute" if minutes == 1 else f"{minutes} minutes"
        return f"Too many sign-ins failed. Nothing is checked until {self.ends_at:%H:%M} UTC: try again in {wait}."


def lock_of(account: str, network: str | None, now: datetime) -> Lock | None:
    """Return the lock that ends last of those that stop this account at this address."""
    recent = _recent(now)
    limits = [
        (SignInCode.PAIR_LOCKED, recent.filter(username=account, ip_address=network), PAIR_FAILURES),
        (SignInCode.ADDRESS_LOCKED, recent.filter(ip_address=network), ADDRESS_FAILURES),
        (SignInCode.ACCOUNT_LOCKED, recent.filter(username=account), ACCOUNT_FAILURES),
    ]
    locks = [Lock(code, at) for code, rows, limit in limits if (at := _locked_until(rows, limit)) is not None]
    if any(lock.code == SignInCode.ACCOUNT_LOCKED for lock in locks) and _has_signed_in(account, network):
        locks = [lock for lock in locks if lock.code != SignInCode.ACCOUNT_LOCKED]
    return max(locks, key=lambda lock: lock.ends_at, default=None)


def _recent(now: datetime) -> QuerySet[Any]:
    """Attempts that count; not those of a time to come, either, when the clock was set back."""
    cooloff: timedelta = settings.AXES_COOLOFF_TIME
    rows: QuerySet[Any] = AccessAttempt.objects.filter(
        attempt_time__gt=now - cooloff, attempt_time__lt=now + cooloff
    ).order_by("attempt_time")
    return rows


def _locked_until(rows: QuerySet[Any], limit: int) -> datetime | None:
    """When so many of the failures no longer count that the rest are below the limit; None if they are already."""
    failures = list(rows.values_list("attempt_time", "failures_since_start"))
    left = sum(count for _, count in failures)
    until = None
    for at, count in failures:
        if left < limit:
            break
        left -= count
        until = at + settings.AXES_COOLOFF_TIME
    return until


def _has_signed_in(account: str, network: str | None) -> bool:
    return bool(AccessLog.objects.filter(username=account, ip_address=network).exists())


class Throttle(AxesDatabaseHandler):  # type: ignore[misc]
    """Axes' handler, with limits of their own for each of the three, and without what a stranger could fill rows with:
    forms, headers, a row for each browser."""

    def is_locked(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> bool:
        lock = lock_of(account_of(credentials), network_of(request), clock.now())
        note_lock(request, lock)
        return lock is not None

    def user_login_failed(
        self, sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
    ) -> None:
        if request is None or lock_on(request) is not None:
            return  # nobody at the door; or refused, and not looked at
        account, network, now = account_of(credentials), network_of(request), clock.now()
        with transaction.atomic():
            attempt, _ = AccessAttempt.objects.select_for_update().get_or_create(
                username=account,
                ip_address=network,
                user_agent="",
                defaults={"failures_since_start": 0, "path_info": request.path[:255]},
            )
            lock = lock_of(account, network, now)
            if lock is None:  # else another one, on another machine, was faster, and this one is refused in hindsight
                is_over = attempt.attempt_time <= now - settings.AXES_COOLOFF_TIME
                attempt.failures_since_start = 1 if is_over else attempt.failures_since_start + 1
                attempt.attempt_time = now
                attempt.save(update_fields=["failures_since_start", "attempt_time"])
                lock = lock_of(account, network, now)
                code = kwargs.get("code", SignInCode.WRONG_PASSWORD)
                records.failed(account, network, code, now, lock=(lock.code, lock.ends_at) if lock else None)
        note_lock(request, lock)

    def clean_expired_user_attempts(self, *_: Any, **__: Any) -> int:
        """Not here: the clean-up does it (`retention`), and the alarm counts the last hour's."""
        return 0


class Gate(AxesStandaloneBackend):  # type: ignore[misc]
    """Axes' backend, which is asked before those that hash. A program of ours, which has no request, passes."""

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        """Raise what stops all other backends while a lock is on."""
        if request is not None:
            super().authenticate(request, **credentials)


def account_of(credentials: dict[str, Any] | None) -> str:
    return str((credentials or {}).get("username") or "")[:NAME_CHARACTERS]


def note_lock(request: HttpRequest, lock: Lock | None) -> None:
    """For the form and the answer, and for axes: what comes after a refusal is no failure."""
    request.sign_in_lock = lock  # type: ignore[attr-defined]
    request.axes_locked_out = lock is not None  # type: ignore[attr-defined]


def lock_on(request: HttpRequest) -> Lock | None:
    found: Lock | None = getattr(request, "sign_in_lock", None)
    return found


def failures_since(at: datetime) -> int:
    """How many sign-ins failed since then, at least: an address that goes on after a lock counts anew."""
    total: int | None = AccessAttempt.objects.filter(attempt_time__gt=at).aggregate(total=Sum("failures_since_start"))[
        "total"
    ]
    return total or 0


def locked_now(now: datetime) -> list[str]:
    """Whom sign-ins are locked for, in one query however many there are."""
    pairs, networks, accounts = Counter[tuple[str, str | None]](), Counter[str | None](), Counter[str]()
    rows = _recent(now).order_by("-attempt_time").values_list("username", "ip_address", "failures_since_start")
    for account, network, failures in rows[:ROWS_FOR_THE_ALARM]:
        pairs[account, network] += failures
        networks[network] += failures
        accounts[account] += failures
    return [
        *(f"everybody from {told(network)}" for network, count in networks.items() if count >= ADDRESS_FAILURES),
        *(f"{shown(account)} from new addresses" for account, count in accounts.items() if count >= ACCOUNT_FAILURES),
        *(
            f"{shown(account)} from {told(network)}"
            for (account, network), count in pairs.items()
            if count >= PAIR_FAILURES and networks[network] < ADDRESS_FAILURES
        ),
    ]
