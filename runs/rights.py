"""Who may end a run or give it more time, and whose runs are listed: one rule for pages and the API.

Who launched it, from the same browser or with the same key; who holds its token, which the launch's answer had; and
operators. Not whoever knows its id: that is in the address of a page which people show to each other.
"""

from __future__ import annotations

import hmac
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from pools.api_keys import Scope, is_a_key
from pools.callers import actor_of, key_of, may, require, tokens_of
from runs import metrics
from runs.clients import OPERATOR
from runs.limits import LaunchRefused
from runs.models import Run
from runs.reasons import RefusalCode
from runs.visitors import caller_of, caller_of_network, known_visitor

TOKEN_PREFIX = "run_"  # noqa: S105  what tokens of runs begin with
OPERATOR_RIGHTS = ("pools.operate_fleet", "runs.view_run")


def token_of(run_id: UUID) -> str:
    """A run's own token, which is kept nowhere: it follows from its id and SECRET_KEY."""
    return _token(run_id, settings.SECRET_KEY)


def _token(run_id: UUID, key: str) -> str:
    return TOKEN_PREFIX + salted_hmac("runs.token", str(run_id), secret=key, algorithm="sha256").hexdigest()


def is_token_of(token: str, run_id: UUID) -> bool:
    """Whether it is the run's, under the present key or a former one."""
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return any(hmac.compare_digest(token.encode(), _token(run_id, key).encode()) for key in keys)


def is_operator(request: HttpRequest) -> bool:
    if key_of(request) is not None:
        return may(request, Scope.OPERATE)
    return bool(request.user.is_staff and request.user.has_perms(OPERATOR_RIGHTS))


def may_see_all(request: HttpRequest) -> bool:
    """Whether somebody may list everybody's runs; others list their own."""
    if key_of(request) is not None:
        return may(request, Scope.READ)
    return bool(request.user.is_staff and request.user.has_perm("runs.view_run"))


class Actor(NamedTuple):
    """Who acts on a run, as the log names them. Those who act on everybody's have to say why."""

    name: str
    is_operator: bool = False


def actor_on(request: HttpRequest, run: Run) -> Actor | None:
    """By what right somebody acts on this run; None when by none."""
    key = key_of(request)
    if key is not None and key.may(Scope.LAUNCH) and run.visitor == key.client:
        return Actor(key.actor)
    if key is None and run.visitor == known_visitor(request):
        return Actor(player(run))
    if any(is_token_of(token, run.id) for token in tokens_of(request)):
        return Actor(f"holder of the token of run {run.short_id}")
    if is_operator(request):
        return Actor(actor_of(request), is_operator=True)
    if settings.ANYONE_MAY_END_RUNS:
        return Actor(actor_of(request) or f"caller {caller_of(request)[:8]}")
    return None


def plays(request: HttpRequest, run: Run) -> bool:
    """Whether the run's page shows its game to whoever asks, who could spoil it. A run of a browser's is shown to that
    browser alone. A program's is shown to its own network; one of a key's, which can be anywhere, to who has the link;
    an operator's trial to operators.
    """
    if run.visitor.startswith(OPERATOR):
        return is_operator(request)
    names = {known_visitor(request), caller_of_network(request)}
    return run.visitor in names or is_a_key(run.visitor)


def player(run: Run) -> str:
    """Whoever launched it from a browser, as the log names them."""
    return f"player {run.visitor[:8]}"


class KeyNeeded(LaunchRefused):
    """Not everybody may launch here."""

    code = RefusalCode.KEY_NEEDED


def require_may_launch(request: HttpRequest) -> None:
    """Raise KeyNeeded where anonymous launches are switched off, and Problem for a key that is not for launching."""
    if key_of(request) is not None:
        require(request, Scope.LAUNCH)
    elif not settings.ANONYMOUS_LAUNCHES and not request.user.is_authenticated:
        metrics.refused(KeyNeeded.code, wants_warm=False)
        raise KeyNeeded("Launching takes an account here: sign in, or send an API key.")


def whose_runs_are_shown_to(request: HttpRequest) -> str | None:
    """The visitor whose runs are listed for whoever asks: they themselves. None, and so all, for operators, and where
    anyone may end any run. Elsewhere no id is listed for others: it is a right to look into the run."""
    if settings.ANYONE_MAY_END_RUNS or may_see_all(request):
        return None
    return caller_of(request)
