"""What this process's database does to tell the week's usage of so many runs: rows or steps, as JSON."""

import json
import sys

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
from tests.fixtures.work import work_for  # noqa: E402

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
hours = sum(1 for _ in usage.settle(timezone.now()))
found = {"vendor": connection.vendor, "hours": hours, "before": before, "after": asked("day")}
for by in usage.By:
    found[by], _ = work_for(lambda by=by: asked(by))
print(json.dumps(found))
