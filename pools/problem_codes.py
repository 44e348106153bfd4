"""Every code that an error of the API can have: what it means, what to do about it, and whether asking again helps.

This is the one table: `/api/problems` answers from it, and `docs/api-errors.md` shows it. A code that was given out
once keeps its meaning.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProblemCode:
    """One kind of error. `is_retryable`: the same request, sent again later, may succeed."""

    code: str
    status: int
    title: str
    remedy: str
    is_retryable: bool = False


TABLE = (
    ProblemCode("bad_request", 400, "The request can't be understood", "Correct it as `detail` says."),
    ProblemCode(
        "host_not_allowed", 400, "Not a name of this site", "Use the site's own address, or add it to ALLOWED_HOSTS."
    ),
    ProblemCode(
        "sign_in",
        401,
        "For keys and operators, and neither was sent",
        "Send `Authorization: Bearer key_…`, or sign in at /admin/ and send its cookie.",
    ),
    ProblemCode(
        "key_needed",
        401,
        "Launching takes a key here",
        "Send `Authorization: Bearer key_…`, or sign in; ANONYMOUS_LAUNCHES would let everybody.",
    ),
    ProblemCode("key_unknown", 401, "No such API key", "Send a key as it was shown when it was made."),
    ProblemCode("key_expired", 401, "The API key has expired", "Ask an operator for a new one."),
    ProblemCode("key_revoked", 401, "The API key was revoked", "Ask an operator for a new one."),
    ProblemCode("forbidden", 403, "Not allowed", "Ask an operator for the right."),
    ProblemCode(
        "foreign_page",
        403,
        "Sent by a page of another site",
        "Send it from this site, from one that CORS_ALLOWED_ORIGINS names, or without Origin.",
    ),
    ProblemCode(
        "not_yours", 403, "Somebody else's run", "Send the token of the launch's answer: `Authorization: Bearer run_…`."
    ),
    ProblemCode("operators_only", 403, "Operators only", "Ask for an account that may see the fleet."),
    ProblemCode("scope_missing", 403, "The API key lacks the scope", "Take a key that has the one in `detail`."),
    ProblemCode("not_found", 404, "Nothing is at this address", "Look the address up in /api/docs."),
    ProblemCode(
        "no_such_run", 404, "No such run", "Check the id. Runs that are over are deleted after RUNS_KEPT_DAYS."
    ),
    ProblemCode("no_such_pool", 404, "No such pool", "Take the `name` of one in /api/pools."),
    ProblemCode(
        "no_such_sandbox",
        404,
        "No such sandbox",
        "Take the `name` of one in /api/sandboxes. Deleted ones are forgotten after SANDBOXES_KEPT_DAYS.",
    ),
    ProblemCode("no_such_alarm", 404, "No such alarm stands", "Look it up in /api/alarms: what is over is gone."),
    ProblemCode("no_such_webhook", 404, "No such webhook", "Look it up in /api/webhooks: others' are not shown."),
    ProblemCode("no_such_delivery", 404, "No such delivery", "Look it up in the webhook's list: old ones are deleted."),
    ProblemCode("method_not_allowed", 405, "The address does not take this method", "Use one of those in `Allow`."),
    ProblemCode("too_slow", 408, "The request took too long to arrive", "Send it again, all of it at once.", True),
    ProblemCode("conflict", 409, "Not possible as things stand", "Read how things stand, then decide again."),
    ProblemCode("key_reused", 409, "The key was used for another launch", "Take a new Idempotency-Key."),
    ProblemCode("plan_changed", 409, "Another plan is due by now", "Read the plan again; `digest` is its digest."),
    ProblemCode(
        "no_pool",
        409,
        "No pool serves this launch, and it was to start no other way",
        "Launch it cold, or with another `on_miss`.",
    ),
    ProblemCode("no_more_time", 409, "The run was extended as often as it may be", "Launch the game again."),
    ProblemCode(
        "not_running", 409, "Only a run that is running gets more time", "Wait until it runs, or launch the game again."
    ),
    ProblemCode(
        "precondition_failed",
        412,
        "Changed since you read it",
        "Read it again, then send `If-Match` with the new ETag.",
    ),
    ProblemCode("too_many_webhooks", 409, "As many webhooks as one may have", "Delete one, or change one instead."),
    ProblemCode("webhook_disabled", 409, "The webhook is disabled", "Enable it with PATCH: `is_enabled`."),
    ProblemCode("too_large", 413, "The body is too large", "Send less; `detail` says how much an address takes."),
    ProblemCode("address_too_long", 414, "The address is too long", "Send a shorter one."),
    ProblemCode(
        "bad_target",
        422,
        "Not an address that webhooks may lead to",
        "Take a public one, without a name and password; on the inside only with WEBHOOKS_MAY_GO_INSIDE.",
    ),
    ProblemCode("bad_cursor", 422, "Not a cursor of ours", "Send `next_cursor` of a page as it is, or none."),
    ProblemCode("invalid", 422, "A field is not as it must be", "Correct the fields that `errors` names."),
    ProblemCode("reason_needed", 422, "An operator has to say why", "Send a `reason`: it is written to the log."),
    ProblemCode("unknown_game", 422, "No such game", "Take the `slug` of one in /api/games."),
    ProblemCode(
        "limit_reached", 429, "A limit is reached", "Ask again after Retry-After; `limit` names the limit.", True
    ),
    ProblemCode(
        "pool_empty", 429, "No warm sandbox is ready", "Ask again after Retry-After; the pool is being filled.", True
    ),
    ProblemCode("too_many_streams", 429, "As many streams and waits as a key may have", "Close one first.", True),
    ProblemCode("too_many_tests", 429, "As many tests of the webhook as may wait", "Wait until they are sent.", True),
    ProblemCode("too_many_requests", 429, "Too many requests", "Ask again after Retry-After.", True),
    ProblemCode("headers_too_large", 431, "The headers are too large", "Send fewer, or smaller cookies."),
    ProblemCode("game_unreachable", 502, "The game does not answer", "Ask again soon: it is looked at.", True),
    ProblemCode("game_not_ready", 503, "The game can't be asked now", "Ask again after Retry-After.", True),
    ProblemCode(
        "internal_error", 500, "An error of the orchestrator", "Tell an operator the X-Request-ID: the log has more."
    ),
    ProblemCode("maintenance", 503, "Maintenance: no launches for now", "Ask again after Retry-After.", True),
    ProblemCode("turn_busy", 503, "A turn is being taken and takes its time", "Ask again after Retry-After.", True),
    ProblemCode("unavailable", 503, "The database or the disk can't be used", "Ask again after Retry-After.", True),
)
CODES = {each.code: each for each in TABLE}

OF_STATUS = {
    401: "sign_in",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    409: "conflict",
    412: "precondition_failed",
    413: "too_large",
    414: "address_too_long",
    422: "invalid",
    429: "too_many_requests",
    431: "headers_too_large",
    503: "unavailable",
}


def code_of_status(status: int) -> str:
    """The code of an error that says no more than its status."""
    return OF_STATUS.get(status, "bad_request" if status < 500 else "internal_error")
