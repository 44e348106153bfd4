"""A client's limits as headers of an answer: what there is, and what is left (draft-ietf-httpapi-ratelimit-headers)."""

from __future__ import annotations

from collections.abc import Sequence

from runs.clients import Limit, Use

NAMES = POLICY, LEFT = "RateLimit-Policy", "RateLimit"
AT_ONCE = 'qu="concurrent-requests"'


def headers(uses: Sequence[Use]) -> dict[str, str]:
    """By name."""
    left = (f'"{use.limit.name}";r={use.remaining};t={use.reset_seconds}' for use in uses)
    return {POLICY: ", ".join(_policy(use.limit) for use in uses), LEFT: ", ".join(left)}


def _policy(limit: Limit) -> str:
    per = AT_ONCE if limit.seconds is None else f"w={limit.seconds}"
    return f'"{limit.name}";q={limit.most};{per}'
