"""What hot paths take in this process's database, as it grows: milliseconds, medians, as JSON."""

import json
import statistics
import sys
import time
from collections.abc import Callable

import django

django.setup()

from django.conf import settings  # noqa: E402  the apps must be loaded
from django.contrib.auth import get_user_model  # noqa: E402
from django.db import transaction  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils import timezone  # noqa: E402

from games.models import Game  # noqa: E402
from orchestrator_site import retention  # noqa: E402
from pools import capacity, spending  # noqa: E402
from pools.models import Fleet, Pool, SpentHour  # noqa: E402
from pools.turn import observe  # noqa: E402
from runs import clients, launch_hours, upkeep, usage  # noqa: E402
from runs.launching import launch  # noqa: E402
from runs.models import LaunchHour, UsageDay, UsageMark  # noqa: E402
from tests.bench.crowd import crowd  # noqa: E402

TIMES = 7

settings.ALLOWED_HOSTS = ["*"]
settings.MONTHLY_BUDGET_USD = settings.MAX_RUNS_PER_HOUR = settings.MAX_TOTAL_ACTIVE = 10**6
settings.MAX_CONCURRENT_WARM = settings.MAX_TOTAL_SANDBOXES = 10**6
Fleet.get()
Pool.objects.create(name="python", runtime="python", image="a/b:c", region="syd", size="apps-s-1vcpu-1gb")
Game.objects.create(slug="snake", title="Snake", runtime="python", run_command="x", snapshot_name="snake")
visitor, operator = Client(), Client()
operator.force_login(get_user_model().objects.create_superuser("operator"))


class Undone(Exception):
    pass


def launched() -> None:
    """A warm launch that finds nothing ready, and one that starts cold; both taken back."""
    for mode in ("warm", "cold"):
        try:
            with transaction.atomic():
                launch.launch(game="snake", mode=mode, client=clients.Client("somebody"))
                raise Undone
        except Undone:
            pass


def page(client: Client, path: str) -> Callable[[], None]:
    def look() -> None:
        assert client.get(path).status_code == 200

    return look


def facts() -> None:
    now = timezone.now()
    observe.gather(observe.Listing((), now), now)


PATHS: dict[str, Callable[[], object]] = {
    "the month's cost": lambda: capacity.spent_usd(timezone.now()),
    "two launches": launched,
    "a turn's upkeep": lambda: upkeep.put_right(timezone.now()),
    "a turn's facts": facts,
    "the lobby": page(visitor, "/"),
    "a game's page": page(visitor, "/games/snake/"),
    "the statistics": page(visitor, "/stats/"),
    "the week's usage": page(operator, "/api/usage?by=client"),
    "the admin's index": page(operator, "/admin/"),
    "the list of runs": page(operator, "/admin/runs/run/"),
    "an idle clean-up": lambda: retention.clean_up(timezone.now(), 60),
}


def measured() -> dict[str, float]:
    now = timezone.now()
    Fleet.objects.update(turned_at=now)
    for totals in (SpentHour, LaunchHour, UsageDay, UsageMark):
        totals.objects.all().delete()
    for settle in (spending.settle, launch_hours.settle, usage.settle):
        for _ in settle(now):
            pass
    found = {}
    for name, act in PATHS.items():
        act()
        taken = []
        for _ in range(TIMES):
            began = time.perf_counter()
            act()
            taken.append(1000 * (time.perf_counter() - began))
        found[name] = statistics.median(taken)
    return found


results, former = [], 0
for count in map(int, sys.argv[1:]):
    crowd(former, count)
    former = count
    results.append(measured())
print(json.dumps(results))
