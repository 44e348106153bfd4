"""What is counted of the requests to the cloud."""

from __future__ import annotations

from pools.meters import LONG_SECONDS, Counter, Histogram

OPERATIONS = (
    "list",
    "get",
    "create",
    "delete",
    "validate_app_spec",
    "list_deployments",
    "list_regions",
    "list_instance_sizes",
)
OK, NOT_FOUND, REFUSED, RATE_LIMITED, UNAVAILABLE = "ok", "not_found", "refused", "rate_limited", "unavailable"
OUTCOMES = (OK, NOT_FOUND, REFUSED, RATE_LIMITED, UNAVAILABLE)

REQUESTS = Counter(
    "cloud_requests_total",
    "Requests to DigitalOcean, by what came of them; rate_limited counts those that our own budget held back, too.",
    operation=OPERATIONS,
    outcome=OUTCOMES,
)
SECONDS = Histogram(
    "cloud_request_seconds",
    "How long requests took that were sent to DigitalOcean.",
    LONG_SECONDS,
    operation=OPERATIONS,
)


def outcome_of(status: int) -> str:
    """The outcome of a request that the API itself has answered."""
    if 200 <= status < 300:
        return OK
    return NOT_FOUND if status == 404 else REFUSED
