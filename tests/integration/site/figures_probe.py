"""A fleet in trouble in this process's database, and what the metrics tell of it; then how dear that is with so many
sandboxes and ended runs. As JSON."""

import json
import sys
from datetime import timedelta
from itertools import chain
from uuid import uuid4

import django

django.setup()

from django.db import connection  # noqa: E402  the apps must be loaded
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.utils import timezone  # noqa: E402
from django_q.tasks import async_task  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

from games.models import Game  # noqa: E402
from orchestrator_site.metrics import figures, told  # noqa: E402
from orchestrator_site.models import Beat  # noqa: E402
from pools import figures as fleet_figures  # noqa: E402
from pools import meters  # noqa: E402
from pools.alarm_rows import AlarmCode, RaisedAlarm  # noqa: E402
from pools.models import CloudApp, Fleet, Pool, Sandbox, State  # noqa: E402
from runs import figures as run_figures  # noqa: E402
from runs.models import Run  # noqa: E402
from tests.bench.crowd import crowd  # noqa: E402

MANY, ENDED = int(sys.argv[1]), int(sys.argv[2])
now = timezone.now()
meters.begin()
told.DEADLINE_SECONDS = 60.0  # a busy machine is not what is measured


def ago(seconds: float):
    return now - timedelta(seconds=seconds)


pool = Pool.objects.create(
    name="python", runtime="python", image="a/b:c", region="syd", size="apps-s-1vcpu-1gb", target_ready=2, max_ready=9,
    last_acquired_at=now,
)  # fmt: skip
game = Game.objects.create(slug="snake", title="Snake", runtime="python", run_command="x", snapshot_name="snake")
Fleet.get()
Fleet.objects.update(
    stopped_at=ago(60), stopped_reason="Too many.", deletes_failing_since=ago(200), token_refused_at=ago(10),
    listed_at=ago(500), turned_at=ago(400), others=1, started_at=ago(5000),
)  # fmt: skip


def sandboxes(state: str, count: int, **fields) -> list[Sandbox]:
    values = {
        "pool": pool, "runtime": "python", "image": "a/b:c", "region": "syd", "size": "apps-s-1vcpu-1gb",
        "origin": "pool", "create_code": "demand", "create_reason": "test", "requested_at": ago(3000),
        "accepted_at": ago(3000), "ready_at": ago(2900), "healthy_at": ago(2900), "health_checked_at": now,
        "acquired_at": ago(100) if state == State.IN_USE else None, "state": state,
    }  # fmt: skip
    rows = [
        Sandbox(**{"id": (key := uuid4()), "name": f"sandbox-{key.hex[:20]}", **values, **fields}) for _ in range(count)
    ]
    return Sandbox.objects.bulk_create(rows, batch_size=500)


sandboxes(State.READY, 2)
sandboxes(State.READY, 1, health_checked_at=ago(9000), healthy_at=ago(9000))
sandboxes(State.CREATING, 1, ready_at=None)
sandboxes(State.IN_USE, 3)
end = {"end_code": "refused", "end_reason": "No.", "failure_kind": "image", "ready_at": None}
sandboxes(State.DELETING, 1, **end, delete_requested_at=ago(700))
sandboxes(State.DELETED, 3, **end, delete_requested_at=ago(20), deleted_at=ago(10))
for age in (400, 100):
    CloudApp.objects.create(
        app_id=str(uuid4()), name=f"sandbox-{age}", phase="ACTIVE", app_created_at=ago(age), first_seen_at=ago(age),
        orphan_since=ago(age),
    )  # fmt: skip
for line, age in (("pool", 30), ("pool", 90), ("cold_fallback", 50)):
    Run.objects.create(game=game, mode="warm", served_by=line, visitor="x", created_at=ago(age))
RaisedAlarm.objects.create(subject="x", code=AlarmCode.ORPHANS, raised_at=now)
async_task("nothing.at.all")
Beat.record("here", 1, at=now, workers=4, idle_workers=1, waiting=0, due=0)
Beat.record("there", 2, at=ago(600), workers=4, idle_workers=1, waiting=0, due=0)

text = told.TEXT.get().decode()
samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
found = {"told": [[sample.name, sample.labels, sample.value] for sample in samples]}


def each_time() -> None:
    """What is read for each answer."""
    moment = timezone.now()
    for _ in chain(fleet_figures.tell(moment), run_figures.tell(moment), figures.tell(moment)):
        pass


def measured() -> dict[str, int]:
    """What each answer costs, while what is dear is kept."""
    each_time()
    with CaptureQueriesContext(connection) as captured:
        each_time()
    return {"statements": len(captured)}


kept = {
    "HOURLY_BY_USE": fleet_figures,
    "VERDICT_COUNTS": fleet_figures,
    "SPENT_BY_NOW": fleet_figures,
    "USED_TODAY": run_figures,
}
for name, module in kept.items():  # for as long as this takes
    value = getattr(module, name)()
    setattr(module, name, lambda value=value: value)
found["few"] = measured()
sandboxes(State.READY, MANY // 2)
sandboxes(State.IN_USE, MANY - MANY // 2)
crowd(0, ENDED)
found["many"] = measured()
print(json.dumps(found))
