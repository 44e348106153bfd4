"""What must hold of the last version's rows after an upgrade. Each runs in a process that has the database."""

from __future__ import annotations

import inspect
import logging
from datetime import datetime
from typing import Any
from unittest import mock

from tests.upgrade.rows import Kept

# Tables to which a migration adds rows of its own, and rows that it keeps in step with the code.
GROWING = {"auth.Permission", "auth.Group_permissions", "contenttypes.ContentType", "django_q.Schedule"}
KEPT_IN_STEP = {"django_q.Schedule", "auth.Permission", "auth.Group_permissions", "contenttypes.ContentType"}


def nothing_is_lost(kept: Kept) -> None:
    from django.apps import apps

    for label, rows in kept.rows.items():
        model = apps.get_model(label)
        now_there = model._base_manager.in_bulk()
        keys = {model._meta.pk.to_python(row[model._meta.pk.attname]) for row in rows}
        assert keys <= now_there.keys(), f"{label}: {sorted(map(str, keys - now_there.keys()))} are gone"
        assert label in GROWING or len(now_there) == len(rows), f"{label}: {len(rows)} became {len(now_there)}"
        if label not in KEPT_IN_STEP:
            for row in rows:
                _is_as_it_was(kept, now_there[model._meta.pk.to_python(row[model._meta.pk.attname])], row)


def _is_as_it_was(kept: Kept, found: Any, row: dict[str, Any]) -> None:
    for field in found._meta.concrete_fields:
        if field.attname not in row:
            continue
        was, now = kept.value(field, row[field.attname]), getattr(found, field.attname)
        where = f"{found._meta.label} {found.pk}: {field.attname}"
        choices = dict(field.flatchoices)
        if choices and was and was not in choices:
            assert now in choices, f"{where} was {was!r}, which is no more, and is {now!r}"
        elif field.get_internal_type() == "JSONField":
            assert set(now) == set(was), f"{where} was {was!r} and is {now!r}"
        else:
            assert now == was, f"{where} was {was!r} and is {now!r}"


def _of_each_kind(model: Any) -> list[Any]:
    """All rows; of a log the last of each kind, because there are hundreds."""
    rows = list(model._default_manager.order_by("pk"))
    return list({row.kind: row for row in rows}.values()) if hasattr(model, "kind") else rows


def every_row_can_be_shown(kept: Kept) -> None:
    from django.contrib import admin
    from django.contrib.auth.models import User
    from django.test import Client
    from django.urls import reverse

    operator = Client(HTTP_HOST="127.0.0.1")
    operator.force_login(User.objects.get(username="operator"))

    def show(address: str) -> Any:
        answer = operator.get(address)
        assert answer.status_code == 200, f"{address} answers {answer.status_code}"
        return answer

    show(reverse("admin:index"))
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        show(reverse(f"{name}_changelist"))
        if model._meta.app_label in ("pools", "games", "runs"):
            for row in _of_each_kind(model):
                page = operator.get(reverse(f"{name}_change", args=[row.pk]))
                assert page.status_code in (200, 302), f"the page of {row} answers {page.status_code}"

    for path in ("/", "/stats/", "/api/games", "/api/pool/status", "/api/orchestrator/logs?limit=500"):
        show(path)
    for row in kept.rows["games.Game"]:
        show(f"/games/{row['slug']}/")
    for row in kept.rows["runs.Run"]:
        show(f"/runs/{row['id']}/")
        told = show(f"/api/sandbox/{row['id']}").json()
        assert bool(told["end_reason"]) == bool(row["end_reason"]), told
        lines = show(f"/api/runs/{row['id']}/events?limit=500").json()["events"]
        assert len(lines) == sum(event["run_id"] == row["id"] for event in kept.rows["runs.RunEvent"])


def every_queued_task_can_be_run(_kept: Kept) -> None:
    from django.utils.module_loading import import_string
    from django_q.models import OrmQ

    for queued in OrmQ.objects.all():
        task = queued.task
        function = import_string(task["func"])
        inspect.signature(function).bind(*task["args"], **task.get("kwargs", {}))


def queued_deployments_are_carried_out(_kept: Kept) -> None:
    """Their sandboxes do not answer, so they come to an end that the player is told."""
    from django.utils.module_loading import import_string
    from django_q.models import OrmQ

    from runs.models import Run, RunState

    queue = [queued.task for queued in OrmQ.objects.all()]
    waiting = Run.objects.filter(state=RunState.DEPLOYING, deploy_attempts=0, deploy_lease_until=None)
    ids = set(map(str, waiting.values_list("pk", flat=True)))
    tasks = [task for task in queue if task["func"] == "runs.tasks.deploy" and task["args"][0] in ids]
    assert tasks
    with mock.patch("games.processes.REACH_SECONDS", 0):
        for task in tasks:
            import_string(task["func"])(*task["args"])
            run = Run.objects.get(pk=task["args"][0])
            assert (run.state, run.deploy_attempts) == (RunState.FAILED, 1), (run.state, run.end_reason)
            assert run.end_reason


def a_turn_is_taken(kept: Kept) -> None:
    from django.conf import settings

    from pools.cloud.connection import connect
    from pools.cloud.records import AppSpec
    from pools.models import Fleet, Pool, Sandbox, State
    from pools.turn.reconciler import turn

    troubles: list[str] = []
    watching = logging.Handler(logging.ERROR)
    watching.emit = lambda record: troubles.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("django.dispatch").addHandler(watching)
    image, size = settings.SANDBOX_IMAGES["python"], settings.SANDBOX_SIZE
    # The account holds something, so that its listing is believed.
    connect().create(AppSpec("a-website", "somebody-else", image, settings.SANDBOX_REGION, size, "token"))
    wanted = list(Sandbox.objects.filter(state=State.REQUESTED).values_list("name", flat=True))
    going = set(Sandbox.objects.filter(state=State.DELETING).values_list("pk", flat=True))
    assert wanted
    assert going
    before = Fleet.get()

    turn()

    after = Fleet.get()
    assert not troubles, troubles
    assert after.turned_at is not None
    assert before.turned_at is not None
    assert after.turned_at > before.turned_at
    assert after.listing_error == ""
    assert not Sandbox.objects.filter(name__in=wanted, app_id=None).exists(), "a sandbox that was wanted is not made"
    gone = Sandbox.objects.filter(pk__in=going, state=State.DELETED).count()
    assert gone or Sandbox.objects.filter(pk__in=going, delete_sent_at__gte=before.turned_at).exists()
    assert Sandbox.objects.filter(pk__in=[row["id"] for row in kept.rows["pools.Sandbox"]]).count() == len(
        kept.rows["pools.Sandbox"]
    )
    assert Pool.objects.count() == len(kept.rows["pools.Pool"])


def run(check: str, moment: str) -> None:
    globals()[check](Kept(datetime.fromisoformat(moment)))
