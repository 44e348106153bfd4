"""Times and money as the admin writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from django import template

from pools import clock
from pools.edits import Edit

register = template.Library()

NOTHING = "\N{EN DASH}"


@register.filter
def span(seconds: float | None) -> str:
    """A length of time, as long as it has to be: 40 s, 3 min, 2 h 5 min, 4 d 3 h."""
    if seconds is None:
        return NOTHING
    whole = round(seconds)
    if whole < 0:
        return f"{span(-whole)} ago"
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 172_800:
        return _two(whole // 3600, "h", whole % 3600 // 60, "min")
    return _two(whole // 86_400, "d", whole % 86_400 // 3600, "h")


def _two(most: int, unit: str, rest: int, small_unit: str) -> str:
    return f"{most} {unit} {rest} {small_unit}" if rest else f"{most} {unit}"


@register.filter
def since(moment: datetime | None) -> str:
    """Return how long ago that was."""
    return NOTHING if moment is None else span((clock.now() - moment).total_seconds())


@register.filter
def usd(value: Decimal | None) -> str:
    """Dollars, with as many places as fractions of a cent need."""
    if value is None:
        return NOTHING
    return f"${value:.2f}" if value >= 1 or value == 0 else f"${value:.4f}"


@register.filter
def as_moment(at: datetime) -> str:
    """A moment as the address of the fleet's past has it."""
    return at.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat()


@register.filter
def as_said(value: object) -> str:
    """A field's value as the log's sentences have it."""
    return Edit.said(value)


@register.filter
def dashed(text: object) -> str:
    """A verdict or state as the end of a CSS class."""
    return str(text).replace(" ", "-").replace("_", "-")
