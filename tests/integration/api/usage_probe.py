"""What the week's usage costs in this process's database with so many runs: processor milliseconds, as JSON."""

import json
import statistics
import sys
import time

import django

django.setup()

from django.conf import settings  # noqa: E402  the apps must be loaded
from django.contrib.auth import get_user_model  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils import timezone  # noqa: E402

from games.models import Game  # noqa: E402
from pools.models import Pool  # noqa: E402
from runs import usage  # noqa: E402
from tests.bench.crowd import crowd  # noqa: E402

TIMES = 15
CLIENTS = 20

settings.ALLOWED_HOSTS = ["*"]
Pool.objects.create(name="python", runtime="python", image="a/b:c", region="syd", size="apps-s-1vcpu-1gb")
Game.objects.create(slug="snake", title="Snake", runtime="python", run_command="x", snapshot_name="snake")
crowd(0, int(sys.argv[1]))
with connection.cursor() as cursor:
    cursor.execute(f"UPDATE runs_run SET visitor = 'key:' || (number % {CLIENTS}) WHERE number % 2 = 1")
    cursor.execute("ANALYZE")

operator = Client()
operator.force_login(get_user_model().objects.create_superuser("operator"))


def asked(by: str) -> dict:
    answer = operator.get(f"/api/usage?by={by}")
    assert answer.status_code == 200, answer.content
    return answer.json()["total"]


before = asked("day")
began = time.perf_counter()
hours = sum(1 for _ in usage.settle(timezone.now()))
found = {
    "settled_seconds": time.perf_counter() - began,
    "hours": hours,
    "before": before,
    "after": asked("day"),
}
for by in usage.By:
    taken, waited = [], []
    for _ in range(TIMES):
        began_at, began = time.perf_counter(), time.process_time()
        asked(by)
        taken.append(1000 * (time.process_time() - began))
        waited.append(1000 * (time.perf_counter() - began_at))
    found[by], found[f"{by}, wall"] = min(taken), statistics.median(waited)  # others on the machine add to it
print(json.dumps(found))
