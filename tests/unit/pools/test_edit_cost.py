"""What an edit of a pool will cost is said in a sentence, and asked about where it is much."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from pools.console.edit_cost import NOTHING_YET, EditCost, edit_cost

PRICES = {"small": Decimal(5), "usual": Decimal(12), "large": Decimal(50)}
POOL = {
    "target_ready": 3, "min_ready": 0, "max_ready": 6, "size": "usual", "autopilot": False, "autopilot_usd_a_month": 0,
}  # fmt: skip


def cost(before: Any = POOL, **changes: Any) -> EditCost:
    return edit_cost(before, {**POOL, **changes}, PRICES.get)


def test_more_kept_ready_cost_more():
    found = cost(target_ready=6)
    assert found.sentence == ("+$0.0536 an hour, $36.00 a month more while there is demand: 6 instead of 3 kept ready.")
    assert (found.is_notable, found.consent) == (True, "36.00")


def test_a_small_rise_is_said_and_not_asked_about():
    found = cost(target_ready=4)
    assert "$12.00 a month more" in found.sentence
    assert not found.is_notable


def test_fewer_cost_less():
    found = cost(target_ready=1)
    assert "\N{MINUS SIGN}$0.0357 an hour, $24.00 a month less" in found.sentence
    assert not found.is_notable


def test_what_is_kept_when_nobody_plays_is_told_apart():
    assert "$24.00 a month of it also when nobody plays" in cost(target_ready=6, min_ready=2).sentence


def test_what_costs_nothing_is_not_told():
    assert cost(max_ready=9).sentence == cost().sentence == ""
    assert not cost(max_ready=9).is_notable


def test_what_is_kept_also_when_nobody_plays_is_asked_about_by_itself():
    found = cost(min_ready=3)
    assert found.sentence == "+$36.00 a month where nobody plays: 3 instead of 0 kept ready also when nobody plays."
    assert found.is_notable


@pytest.mark.parametrize(("size", "more"), [("small", -21), ("large", 114)])
def test_another_size_costs_otherwise(size, more):
    found = cost(size=size)
    assert found.more_usd_a_month == more
    assert "3 kept ready, of another size" in found.sentence


def test_of_a_price_that_nobody_knows_that_is_said_and_asked_about():
    found = cost(size="new-and-shiny")
    assert found.more_usd_a_month is None
    assert "nobody says the price of new-and-shiny" in found.sentence
    assert (found.is_notable, found.consent) == (True, "unknown")


def test_a_pool_that_keeps_none_costs_nothing_of_whatever_size():
    assert edit_cost({**POOL, "target_ready": 0}, {**POOL, "target_ready": 0, "size": "?"}, PRICES.get).sentence == ""


def test_a_new_pool_costs_all_of_it():
    assert cost(NOTHING_YET).more_usd_a_month == 36


def test_an_autopilot_may_go_up_to_what_it_is_given():
    assert cost(autopilot=True).more_usd_a_month == 36  # 6 of 12 dollars instead of 3
    assert cost(autopilot=True, autopilot_usd_a_month=50).more_usd_a_month == 12  # 4 of them
    assert cost(autopilot=True, autopilot_usd_a_month=5).sentence == "", "never fewer than its target"
    assert "nobody says the price" in cost(autopilot=True, autopilot_usd_a_month=5, size="?").sentence
