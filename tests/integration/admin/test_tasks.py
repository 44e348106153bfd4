"""Tasks that are over: an operator who queues one again says why, and it is written down."""

from __future__ import annotations

import pytest
from django.utils import timezone
from django_q.models import OrmQ, Task

from tests.integration.admin.conftest import Person, history, log, told

pytestmark = pytest.mark.django_db
LISTS = {False: "/admin/django_q/failure/", True: "/admin/django_q/success/"}


def over(*, success: bool) -> Task:
    now = timezone.now()
    return Task.objects.create(
        id="a" * 32, name="staging", func="games.tasks.stage", args=("x",), kwargs={}, group="staging",
        started=now, stopped=now, success=success, result="it broke",
    )  # fmt: skip


@pytest.mark.parametrize("success", [False, True])
def test_a_task_is_queued_again_with_a_reason(operator: Person, *, success: bool):
    operator.act(LISTS[success], "resubmit_chosen", over(success=success), reason="the bucket is back")
    (queued,) = [each.task for each in OrmQ.objects.all() if each.func() == "games.tasks.stage"]
    assert (queued["args"], queued["group"]) == (("x",), "staging")
    assert log("resubmit") == [("otto", "task staging queued again; an operator: the bucket is back")]
    assert history()[0] == ("otto", "task staging queued again: the bucket is back")
    assert Task.objects.exists() is success, "a failed one is forgotten"


def test_without_a_reason_nothing_is_queued(operator: Person):
    answer = operator.act(LISTS[False], "resubmit_chosen", over(success=False), reason=" ")
    assert "Say why" in told(answer)
    assert not [each for each in OrmQ.objects.all() if each.func() == "games.tasks.stage"]
    assert Task.objects.exists()


def test_who_may_only_look_queues_nothing(viewer: Person):
    answer = viewer.act(LISTS[False], "resubmit_chosen", over(success=False))
    assert answer.status_code == 403
    assert Task.objects.exists()


def test_django_qs_own_action_is_not_offered(operator: Person):
    over(success=False)
    assert "resubmit_task" not in operator.get(LISTS[False]).content.decode()
