"""Who calls the API, and what they may do: a program by its key, an operator by the session of the admin."""

from __future__ import annotations

from django.http import HttpRequest

from pools import clock
from pools.api_keys import ApiKey, KeyRefused, Refusal, Scope, find, is_key
from pools.problems import Problem

BEARER = "bearer "
HEADER = "X-API-Key"
KEPT = "api_key"  # the attribute of a request that has its key
RIGHTS = {Scope.READ: "pools.view_fleet", Scope.OPERATE: "pools.operate_fleet", Scope.ADMIN: "pools.destroy_fleet"}
SENTENCES = {
    Refusal.UNKNOWN: "There is no such API key.",
    Refusal.EXPIRED: "This API key has expired.",
    Refusal.REVOKED: "This API key was revoked.",
}


def tokens_of(request: HttpRequest) -> list[str]:
    """What a program sent along to prove what it may: a key, a run's token, or one of each."""
    return tokens_in(request.headers.get("Authorization", ""), request.headers.get(HEADER, ""))


def tokens_in(authorization: str, header: str) -> list[str]:
    """The same, of the two headers in which they may come: a proxy may have put something of its own into the first."""
    bearer = authorization[len(BEARER) :].strip() if authorization.lower().startswith(BEARER) else ""
    return list(dict.fromkeys(token for token in (bearer, header.strip()) if token))


def token_in(authorization: str, header: str) -> str:
    """The key among them; without one, the first token, or nothing."""
    tokens = tokens_in(authorization, header)
    return next(filter(is_key, tokens), tokens[0] if tokens else "")


def take_key(request: HttpRequest) -> None:
    """Look up the key that was sent along, once for each request. Raises Problem for one that is not taken, and for
    two of them."""
    keys = list(filter(is_key, tokens_of(request)))
    if len(keys) > 1:
        raise Problem(401, "These are two API keys: send one.", code=Refusal.UNKNOWN)
    for token in keys:
        try:
            setattr(request, KEPT, find(token, clock.now()))
        except KeyRefused as refused:
            raise Problem(401, SENTENCES[refused.code], code=refused.code) from None


def key_of(request: HttpRequest) -> ApiKey | None:
    """The key that was sent along; None when none was, and for pages, which take none."""
    return getattr(request, KEPT, None)


def may(request: HttpRequest, scope: Scope) -> bool:
    """Whether the key, or the session, is good for that. Launching takes no right."""
    key = key_of(request)
    if key is not None:
        return key.may(scope)
    return bool(request.user.is_staff and request.user.has_perm(RIGHTS[scope]))


def actor_of(request: HttpRequest) -> str:
    """Who acts, as the log has it: an operator or a key. Empty for anybody else."""
    key = key_of(request)
    return key.actor if key is not None else str(request.user.get_username()) if request.user.is_staff else ""


def require(request: HttpRequest, scope: Scope, *, right: str = "") -> str:
    """Who acts, as the log has it. Raises Problem for those who may not. `right`: what sessions need, where that is
    more than the scope's own."""
    if may(request, scope) and (not right or key_of(request) is not None or request.user.has_perm(right)):
        return actor_of(request)
    if key_of(request) is not None:
        raise Problem(403, f"This takes an API key with the scope “{scope}”.", code="scope_missing")
    if not request.user.is_authenticated:
        raise Problem(401, f"This takes an API key with the scope “{scope}”, or an operator who is signed in.")
    raise Problem(403, "This is for operators who have the right to it.", code="operators_only")


def reason_given(reason: str) -> str:
    """Why somebody acts, as the log has it. Raises Problem for those who do not say."""
    if not reason.strip():
        raise Problem.field("reason", "say why: it is written to the log", code="reason_needed")
    return reason.strip()
