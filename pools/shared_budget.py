"""The budget of cloud requests that all processes share, kept in the fleet's row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from pools.cloud.app_platform import AppPlatform
from pools.cloud.budget import RequestBudget
from pools.cloud.connection import connect, new_budget
from pools.models import Fleet


@contextmanager
def counted() -> Iterator[AppPlatform]:
    """The cloud, for some requests: with what others have sent by now, and told to others afterwards. Its writes are
    transactions of their own. Long work exchanges in between, so that the others know."""
    cloud = connect()
    exchange(cloud)
    try:
        yield cloud
    finally:
        exchange(cloud)


def seen(fleet: Fleet) -> RequestBudget:
    """The budget as the fleet's row has it, to look at."""
    budget = new_budget()
    budget.exchange(fleet.request_budget)
    return budget


def exchange(cloud: AppPlatform) -> None:
    """Tell others what this process has sent, and hear what they have. What could not be told is told the next time."""
    news = None
    try:
        with transaction.atomic():
            state = Fleet.lock().request_budget
            news = cloud.budget.news()
            Fleet.objects.filter(pk=1).update(request_budget=cloud.budget.exchange(state))
    except BaseException:
        if news is not None:
            cloud.budget.keep(news)
        raise
