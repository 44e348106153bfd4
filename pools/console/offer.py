"""What the account offers to make sandboxes of: sizes with their prices, and regions. Kept for a while: it changes
rarely, and a form needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from pools.cloud.connection import account
from pools.cloud.errors import CloudError
from pools.cloud.survey import Survey
from pools.prices import USD_PER_MONTH, an_hour
from pools.shared import Shared
from pools.templatetags.fleet import usd

PATIENCE_SECONDS = 3.0
KEPT_SECONDS = 900.0
TROUBLE_KEPT_SECONDS = 30.0  # meanwhile forms are quick, and nobody waits for what does not answer
Choices = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Offer:
    """`usd_a_month` of each size, None where the account names no price; whether each region takes apps now. Both are
    empty when the account could not be asked: `trouble` says why."""

    usd_a_month: Mapping[str, Decimal | None] = field(default_factory=dict)
    regions: Mapping[str, bool] = field(default_factory=dict)
    trouble: str = ""

    def price(self, size: str) -> Decimal | None:
        """US dollars a month: the account's own price, else the one that costs are counted with; None when unknown."""
        return self.usd_a_month.get(size) or USD_PER_MONTH.get(size)

    def size_choices(self, present: str) -> Choices:
        """Each size with its price, the cheapest first; the present one also when it is not offered any more."""
        sizes = sorted(self.usd_a_month, key=lambda size: (self.price(size) or Decimal("Infinity"), size))
        return [(size, f"{size}: {priced(self.price(size))}") for size in sizes] + list(_gone(present, sizes))

    def region_choices(self, present: str) -> Choices:
        """Each region; the present one also when it is not offered any more, or written in another way."""
        regions = sorted(self.regions)
        told = [(name, name if self.regions[name] else f"{name} (takes no apps now)") for name in regions]
        is_data_centre = present[:-1] in self.regions and present[-1:].isdecimal()
        return told + ([(present, present)] if is_data_centre else list(_gone(present, regions)))


def _gone(present: str, offered: list[str]) -> Iterator[tuple[str, str]]:
    if present and present not in offered:
        yield present, f"{present} (the account does not offer it any more)"


def priced(usd_a_month: Decimal | None) -> str:
    if usd_a_month is None:
        return "price unknown"
    return f"{usd(an_hour(usd_a_month))} an hour, {usd(usd_a_month)} a month"


def offered() -> Offer:
    """What the account offers, as it was said at most a quarter of an hour ago. It may be asked: not for a
    transaction."""
    asked = account()
    if asked not in _KEPT:
        _KEPT.clear()  # one account at a time
        _KEPT[asked] = Shared(lambda: _ask(*asked), _kept_seconds)
    return _KEPT[asked].get()


_KEPT: dict[tuple[str, str], Shared[Offer]] = {}


def forget() -> None:
    """Have the account asked by whoever comes next."""
    _KEPT.clear()


def _kept_seconds(offer: Offer) -> float:
    return TROUBLE_KEPT_SECONDS if offer.trouble else KEPT_SECONDS


def _ask(token: str, endpoint: str) -> Offer:
    try:
        survey = Survey(token, endpoint, PATIENCE_SECONDS)
        prices, regions = survey.prices(), survey.regions()
    except (CloudError, ValueError) as error:
        return Offer(trouble=str(error))
    if not prices or not regions:
        return Offer(trouble="The cloud names no sizes, or no regions.")
    return Offer({size: price if price > 0 else None for size, price in prices.items()}, regions)
