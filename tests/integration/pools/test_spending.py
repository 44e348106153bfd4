"""What sandboxes have cost: the same to the cent whether summed one by one, by the database, or from totals."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from pools.capacity import NoCapacity, reserve
from pools.models import Origin, Sandbox, SpentHour, State
from pools.reasons import CreateCode, Limit
from pools.spending import BUDGET_WINDOW, settle, spent_usd
from tests.fixtures.databases import Database

pytestmark = pytest.mark.django_db
CENT = Decimal("0.01")
SIZES = ["apps-s-1vcpu-1gb", "apps-s-2vcpu-4gb", "of an unknown price"]


def one_by_one(now: datetime) -> Decimal:
    rows = Sandbox.objects.exclude(deleted_at__lt=now - BUDGET_WINDOW)
    return sum((sandbox.cost_usd(now) for sandbox in rows), Decimal(0))


def some_past(now: datetime, count: int = 400) -> None:
    """Sandboxes of all ages: never accepted, gone within a second, there for weeks, there still."""
    chance = random.Random(37)
    rows = []
    for number in range(count):
        accepted = now - timedelta(seconds=chance.uniform(0, 45 * 86400))
        ended = min(now, accepted + timedelta(seconds=chance.choice([0.25, 59.9, 700.123456, 20 * 86400])))
        is_there = chance.random() < 0.1
        rows.append(
            Sandbox(
                name=f"sandbox-{number:08x}", runtime="python", image="a/b:c", region="syd",
                size=chance.choice(SIZES), origin=Origin.COLD, create_code="cold", create_reason="a test wants it",
                state=State.DELETING if is_there else State.DELETED, end_code="run_over", end_reason="it is over",
                requested_at=accepted, accepted_at=None if chance.random() < 0.1 else accepted,
                deleted_at=None if is_there else ended,
            )
        )  # fmt: skip
    Sandbox.objects.bulk_create(rows)


def assert_same_to_the_cent(now: datetime) -> None:
    assert abs(spent_usd(now) - one_by_one(now)) < CENT / 2


def test_it_is_the_sum_of_what_each_has_cost():
    now = timezone.now()
    some_past(now)
    assert spent_usd(now) > 10
    assert_same_to_the_cent(now)


def test_it_is_the_same_from_totals_and_as_time_goes_by():
    now = timezone.now()
    some_past(now)
    assert sum(settle(now)) > 100
    for hours in (0, 0.5, 7.25, 200):
        assert_same_to_the_cent(now + timedelta(hours=hours))
    later = now + timedelta(hours=200)
    list(settle(later))
    assert_same_to_the_cent(later)


def test_what_is_deleted_after_the_totals_were_written_counts():
    now = timezone.now()
    some_past(now)
    list(settle(now))
    Sandbox.objects.filter(state=State.DELETING).update(state=State.DELETED, deleted_at=now + timedelta(minutes=5))
    assert_same_to_the_cent(now + timedelta(minutes=10))


def test_settling_twice_or_in_part_changes_nothing():
    now = timezone.now()
    some_past(now)
    portions = settle(now)
    next(portions)
    next(portions)
    list(settle(now))
    list(portions)
    assert_same_to_the_cent(now)


def test_the_present_hour_is_left_open():
    now = timezone.now()
    some_past(now)
    list(settle(now))
    assert SpentHour.objects.latest("hour").hour < now - timedelta(hours=2)


def test_from_totals_as_few_rows_are_read_as_before_there_were_many(django_assert_num_queries):
    now = timezone.now()
    some_past(now)
    list(settle(now))
    with django_assert_num_queries(5):
        spent_usd(now)


def test_nothing_is_made_once_the_budget_is_spent(settings):
    now = timezone.now()
    some_past(now)
    list(settle(now))
    settings.MAX_TOTAL_SANDBOXES = 1_000
    settings.MONTHLY_BUDGET_USD = float(spent_usd(now) - CENT)
    with pytest.raises(NoCapacity) as refused:
        reserve(runtime="python", origin=Origin.COLD, code=CreateCode.COLD, reason="a test wants it", now=now)
    assert refused.value.limit == Limit.MONTHLY_BUDGET_USD


SCRIPT = """
import json
from datetime import timedelta
from django.utils import timezone
from tests.integration.pools.test_spending import one_by_one, some_past
from pools.spending import settle, spent_usd
now = timezone.now()
some_past(now)
sums = [one_by_one(now), spent_usd(now)]
list(settle(now))
print(json.dumps([float(each) for each in [*sums, spent_usd(now)]]))
"""


def test_both_databases_sum_to_the_same_cent(database: Database):
    expected, summed, from_totals = json.loads(database.answer(SCRIPT))
    assert summed == pytest.approx(expected, abs=0.005)
    assert from_totals == pytest.approx(expected, abs=0.005)
