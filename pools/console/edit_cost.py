"""What an edit of a pool will cost, said before it is saved. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pools.prices import an_hour
from pools.templatetags.fleet import usd

NOTABLE_USD_A_MONTH = Decimal(20)  # more than that is saved only once it is confirmed
SETTINGS = ("target_ready", "min_ready", "max_ready", "size", "autopilot", "autopilot_usd_a_month")
NOTHING_YET: Mapping[str, Any] = {"target_ready": 0, "min_ready": 0, "max_ready": 0, "size": "", "autopilot": False}

Price = Callable[[str], Decimal | None]


@dataclass(frozen=True, slots=True)
class EditCost:
    """`more_usd_a_month`: how much more the pool may cost while there is demand; None when a price is unknown.
    `sentence` is empty when nothing changes."""

    more_usd_a_month: Decimal | None
    sentence: str

    @property
    def is_notable(self) -> bool:
        """Whether somebody has to say yes to it."""
        if not self.sentence:
            return False
        return self.more_usd_a_month is None or self.more_usd_a_month >= NOTABLE_USD_A_MONTH

    @property
    def consent(self) -> str:
        """What is said yes to: this, and nothing that costs otherwise."""
        return "unknown" if self.more_usd_a_month is None else f"{self.more_usd_a_month:.2f}"


def edit_cost(before: Mapping[str, Any], after: Mapping[str, Any], price: Price) -> EditCost:
    """`before` and `after` have SETTINGS. `price`: US dollars a month of one sandbox of a size, None when unknown."""
    was, will = most_ready(before, price), most_ready(after, price)
    changes_what_is_ready = (was, before["size"] if was else "") != (will, after["size"] if will else "")
    if not changes_what_is_ready and before["min_ready"] == after["min_ready"]:
        return EditCost(Decimal(0), "")
    old, new = price(before["size"]) if was else Decimal(0), price(after["size"]) if will else Decimal(0)
    what = f"{will} instead of {was} kept ready" if was != will else f"{will} kept ready, of another size"
    if old is None or new is None:
        unknown = after["size"] if new is None else before["size"]
        return EditCost(None, f"What it will cost is not known: nobody says the price of {unknown}. {what}.")
    more = new * will - old * was
    floor = (new or 0) * after["min_ready"] - (old or 0) * before["min_ready"]
    rest = f", {usd(floor)} a month of it also when nobody plays" if floor > 0 else ""
    if not changes_what_is_ready:
        if floor <= 0:
            return EditCost(Decimal(0), "")
        always = f"{after['min_ready']} instead of {before['min_ready']} kept ready also when nobody plays"
        return EditCost(floor, f"+{usd(floor)} a month where nobody plays: {always}.")
    if more == 0:
        return EditCost(more, f"It costs the same: {what}.")
    sign, word = ("+", "more") if more > 0 else ("\N{MINUS SIGN}", "less")
    amounts = f"{sign}{usd(an_hour(abs(more)))} an hour, {usd(abs(more))} a month {word}"
    return EditCost(more, f"{amounts} while there is demand{rest}: {what}.")


def most_ready(settings: Mapping[str, Any], price: Price) -> int:
    """How many the pool keeps ready at most: its target, or what its autopilot may make of it."""
    fixed = max(int(settings["target_ready"]), int(settings["min_ready"]))
    if not settings["autopilot"]:
        return fixed
    most, limit, one = int(settings["max_ready"]), int(settings["autopilot_usd_a_month"] or 0), price(settings["size"])
    return max(fixed, min(most, int(limit / one)) if limit and one else most)
