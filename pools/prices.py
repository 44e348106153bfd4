"""Prices of App Platform's instance sizes, for estimates. The cloud's own list is at /v2/apps/tiers/instance_sizes."""

from __future__ import annotations

from decimal import Decimal

LEAST_BILLED_SECONDS = 60.0
USD_DIGITS = 6
SECONDS_PER_BILLED_MONTH = 672 * 3600  # App Platform's month has 28 days
USD_PER_MONTH = {
    "apps-s-1vcpu-0.5gb": Decimal(5),
    "apps-s-1vcpu-1gb-fixed": Decimal(10),
    "apps-s-1vcpu-1gb": Decimal(12),
    "apps-s-1vcpu-2gb": Decimal(25),
    "apps-s-2vcpu-4gb": Decimal(50),
}


def usd_per_second(size: str) -> Decimal:
    """The price of one instance; 0 for a size that is not known here."""
    return USD_PER_MONTH.get(size, Decimal(0)) / SECONDS_PER_BILLED_MONTH


def cost_usd(size: str, seconds: float) -> Decimal:
    """What that many seconds are billed with."""
    return usd_per_second(size) * Decimal(max(LEAST_BILLED_SECONDS, seconds))


def shown_usd(usd: Decimal | float) -> float:
    """Dollars as answers have them: to a millionth."""
    return round(float(usd), USD_DIGITS)


def an_hour(usd_a_month: Decimal) -> Decimal:
    """What an hour costs of what is billed with so much a month."""
    return usd_a_month / SECONDS_PER_BILLED_MONTH * 3600


def usd_per_hour(size: str) -> Decimal:
    return usd_per_second(size) * 3600
