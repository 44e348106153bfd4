"""How many rows PostgreSQL reads for pages of the lists, by its own count: as JSON, by what is asked for."""

import json
import sys
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402  the apps must be loaded
from django.contrib.auth import get_user_model  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402

from games.models import Game  # noqa: E402
from pools.models import Fleet, Pool  # noqa: E402
from runs.visitors import _name  # noqa: E402
from tests.fixtures.work import rows_for  # noqa: E402

COUNT = int(sys.argv[1])
settings.ALLOWED_HOSTS = ["*"]
Fleet.get()
pool = Pool.objects.create(name="python", runtime="python", image="a/b:c", region="syd", size="apps-s-1vcpu-1gb")
for slug in ("snake", "memory"):
    Game.objects.create(slug=slug, title=slug, runtime="python", run_command="x", snapshot_name=slug)
ids = dict(Game.objects.values_list("slug", "pk"))
busy = _name("address 203.0.113.7")  # a program that launched half of all

with connection.cursor() as cursor:
    cursor.execute(
        """INSERT INTO pools_sandbox (id, name, pool_id, runtime, image, region, size, known_app_id, url, state, origin,
             create_code, create_reason, end_code, end_reason, failure_kind, staged, health_failures, trouble,
             trouble_code, token_key, requested_at, acquired_at, deleted_at)
           SELECT gen_random_uuid(), 'sandbox-' || n, %s, 'python', 'a/b:c', 'syd', 'apps-s-1vcpu-1gb', '', '',
             'deleted', 'pool', 'demand', 'a test', 'idle', 'a test', '', '{}', 0, '', '', 'x',
             now() - n * interval '10 seconds', now() - n * interval '10 seconds', now()
           FROM generate_series(1, %s) n""",
        [pool.pk, COUNT],
    )
    cursor.execute(
        """INSERT INTO runs_run (id, game_id, sandbox_id, mode, served_by, notice_code, notice, use_snapshot,
             deployed_from, state, end_code, end_reason, visitor, extensions, deploy_attempts, deploy_process, restarts,
             last_seq, number, created_at, ended_at, labels)
           SELECT gen_random_uuid(), CASE WHEN n %% 100 = 0 THEN %s ELSE %s END, s.id,
             CASE WHEN n %% 9973 = 0 THEN 'cold' ELSE 'warm' END, 'pool', '', '', true, 'staged',
             CASE WHEN n %% 9967 = 0 THEN 'failed' ELSE 'ended' END, 'time_up', 'a test',
             CASE WHEN n %% 2 = 0 THEN %s ELSE md5(n::text) END, 0, 0, '', 0, 0, n, s.requested_at, now(),
             jsonb_build_object('team', 'red', 'job', n::text)
           FROM (SELECT id, requested_at, row_number() OVER (ORDER BY requested_at) AS n FROM pools_sandbox) s""",
        [ids["memory"], ids["snake"], busy],
    )
    cursor.execute("ANALYZE")

operator, program = Client(), Client(REMOTE_ADDR="203.0.113.7")
operator.force_login(get_user_model().objects.create_superuser("operator"))


def cost(client: Client, address: str) -> tuple[int, dict[str, Any]]:
    read, answer = rows_for(lambda: client.get(address))
    assert answer.status_code == 200, answer.content
    return read, answer.json()


found: dict[str, int] = {}
QUERIES = (
    "", "state=ended", "state=failed", "state=running", "game=memory", "mode=cold", "state=failed&mode=cold",
    "state=ended&game=memory", "game=memory&mode=cold&state=ended", "created_before=2026-11-20T00:00:00Z",
    "created_before=2026-11-20T00:00:00Z&mode=cold", "label=team:red", "label=team", "label=job:50000", "label=none",
    "state=ended&label=team:red&label=job:50000",
)  # fmt: skip
for who, client in (("operator", operator), ("program", program)):
    for query in QUERIES:
        read, page = cost(client, f"/api/runs?limit=100&{query}")
        found[f"{who} runs {query}"] = read
        if page["next_cursor"]:
            found[f"{who} runs {query}, next page"], _ = cost(
                client, f"/api/runs?limit=100&{query}&cursor={page['next_cursor']}"
            )
for query in ("", "state=deleted", "state=ready", "pool=python", "pool=python&state=deleted"):
    found[f"sandboxes {query}"], page = cost(operator, f"/api/sandboxes?limit=100&{query}")
    if page["next_cursor"]:
        found[f"sandboxes {query}, next page"], _ = cost(
            operator, f"/api/sandboxes?limit=100&{query}&cursor={page['next_cursor']}"
        )
print(json.dumps(found))
