"""What a token may do and what the account offers: asked in ways that change nothing and cost nothing.

Of a create, only a spec that can't be accepted is sent; of a delete, the id of an app that does not exist. A token that
may do it is told so (400, 404), another is refused (403). The API's description names the scope of each call; whether
a scope is looked at before all else is nowhere written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

from pools import clock
from pools.cloud.api_transport import Wire
from pools.cloud.app_spec import app_spec
from pools.cloud.budget import RequestBudget
from pools.cloud.errors import CloudUnavailable
from pools.cloud.records import AppSpec

NOBODYS_APP = "00000000-0000-4000-8000-000000000000"
CONFIRM_SECONDS = 1.0  # between the two refusals that make a verdict


class Scope(StrEnum):
    """What a token must be allowed to do, by DigitalOcean's names."""

    READ = "app:read"
    CREATE = "app:create"
    DELETE = "app:delete"


class Word(StrEnum):
    """What the cloud says to a call."""

    YES = "yes"
    TOKEN_REFUSED = "token_refused"  # noqa: S105  a code
    SCOPE_MISSING = "scope_missing"
    NO = "no"  # to what was asked, not to who asks


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the API itself. `ahead_seconds`: by how much this machine's clock is ahead of the cloud's; None
    without a date. `requests_left`: of the hour; None when it was not said."""

    word: Word
    text: str
    body: Any
    ahead_seconds: float | None
    requests_left: int | None


class Survey:
    """Asks, each question once, and once more when it is refused. Raises CloudUnavailable and RateLimited, and
    ValueError at once for a token or an address that can't be one. Thread-safe."""

    def __init__(self, token: str, endpoint: str, timeout_seconds: float) -> None:
        # A budget of its own: these are few, and are asked when nothing else works, the database included.
        self._wire = Wire(token, endpoint, RequestBudget(), timeout_seconds=timeout_seconds)

    def may(self, scope: Scope) -> Reply:
        """Whether the token has a scope."""
        match scope:
            case Scope.READ:
                return self._ask("list", page=1, per_page=1)
            case Scope.CREATE:
                return self._ask("create", {"spec": {}}, well=(400, 422))
            case Scope.DELETE:
                return self._ask("delete", NOBODYS_APP, well=(404,))

    def propose(self, spec: AppSpec) -> Reply:
        """Whether an app of that spec would be accepted; raises InvalidSpec for one that never is."""
        return self._ask("validate_app_spec", {"spec": app_spec(spec)}, secret=spec.token)

    def regions(self) -> dict[str, bool]:
        """Each region's slug, and whether it takes apps now."""
        entries = self._entries("list_regions", "regions")
        return {str(entry["slug"]): entry.get("disabled") is not True for entry in entries if entry.get("slug")}

    def prices(self) -> dict[str, Decimal]:
        """What each instance size costs, in USD a month."""
        entries = self._entries("list_instance_sizes", "instance_sizes")
        return {str(entry["slug"]): _usd(entry.get("usd_per_month")) for entry in entries if entry.get("slug")}

    def _entries(self, operation: str, name: str) -> list[dict[str, Any]]:
        reply = self._ask(operation)
        listed = reply.body.get(name) if isinstance(reply.body, dict) else None
        if reply.word is not Word.YES or not isinstance(listed, list):
            raise CloudUnavailable(f"The cloud does not tell its {name.replace('_', ' ')} ({reply.text}).")
        return [entry for entry in listed if isinstance(entry, dict)]

    def _ask(
        self, operation: str, *args: object, well: tuple[int, ...] = (200,), secret: str = "", **kw: object
    ) -> Reply:
        answer = self._wire.send(operation, *args, **kw)
        if answer.status in (401, 403):
            clock.sleep(CONFIRM_SECONDS)
            answer = self._wire.send(operation, *args, **kw)
        return Reply(
            word=word_of(answer.status, well),
            text=f"{answer.status}: {answer.message.replace(secret, '(token)') if secret else answer.message}",
            body=answer.body,
            ahead_seconds=ahead_seconds(answer.headers, clock.wall()),
            requests_left=requests_left(answer.headers),
        )


def word_of(status: int, well: tuple[int, ...]) -> Word:
    """What a status means where those in `well` are what is hoped for."""
    if status in well:
        return Word.YES
    return {401: Word.TOKEN_REFUSED, 403: Word.SCOPE_MISSING}.get(status, Word.NO)


def ahead_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """By how much `now` is ahead of an answer's date, which has whole seconds; None without one that can be read."""
    try:
        told = parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
    return now - (told + 0.5)


def requests_left(headers: Mapping[str, str]) -> int | None:
    """How many requests the hour has left, if the answer says so."""
    told = headers.get("ratelimit-remaining", "")
    return int(told) if told.isascii() and told.isdecimal() else None


def _usd(told: Any) -> Decimal:
    try:
        return Decimal(str(told))
    except InvalidOperation:
        return Decimal(0)
