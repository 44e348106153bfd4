"""GET /api/audit: who did what, when, to what and why, whichever log has it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.utils import timezone

from orchestrator_site.sign_in import records
from orchestrator_site.sign_in.reasons import SignInCode
from pools import audit, journal, request_ids
from pools.models import FleetEvent, Pool
from tests.integration.api.conftest import person
from tests.integration.api.test_keys import key_with

pytestmark = pytest.mark.django_db
PASSWORD = "sandy-shores-7"


@pytest.fixture
def auditor(db: None) -> Client:
    return key_with("admin")[1]


def told(client: Client, query: str = "") -> dict[str, Any]:
    answer = client.get(f"/api/audit?{query}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def messages(client: Client, query: str = "") -> list[str]:
    return [act["message"] for act in told(client, query)["acts"]]


def pages(client: Client, query: str) -> list[list[str]]:
    """Every page, by following the cursors."""
    found, cursor = [], ""
    for _ in range(50):
        page = told(client, f"{query}&cursor={cursor}" if cursor else query)
        found.append([act["message"] for act in page["acts"]])
        assert page["has_more"] == (page["next_cursor"] is not None)
        if page["next_cursor"] is None:
            return found
        cursor = quote(page["next_cursor"])
    raise AssertionError("there is always a next page")


def test_an_act_through_the_api_names_the_key_the_pool_and_the_reason(auditor: Client, pool: Pool):
    key, robot = key_with("operate")
    with request_ids.answering("order-7"):
        robot.post("/api/pools/python/pause", {"reason": "the fair is over"}, content_type="application/json")
    [act] = told(auditor)["acts"]
    assert (act["actor"], act["kind"], act["about"]) == (key.actor, "pool", "python")
    assert act["message"] == "pool python paused; an operator: the fair is over"
    assert act["data"]["request_id"] == "order-7"


def test_what_the_machine_does_is_none(auditor: Client):
    journal.record("create", "a sandbox was wanted")
    assert messages(auditor) == []


def test_an_act_in_the_admin_is_told_once(auditor: Client, pool: Pool):
    """It is written to both logs."""
    browser = person("view_pool", "operate_fleet")
    browser.post(f"/admin/pools/pool/{pool.pk}/act/", {"act": "pause", "reason": "the fair is over"})
    assert LogEntry.objects.count() == 1
    [act] = told(auditor)["acts"]
    assert (act["actor"], act["kind"]) == ("ada", "pool")


def test_what_only_the_admin_has_written_down_is_told_too(auditor: Client):
    root = Client()
    root.force_login(User.objects.create_superuser("root"))
    root.post("/admin/auth/group/add/", {"name": "Night shift"})
    [act] = told(auditor)["acts"]
    assert (act["actor"], act["kind"], act["code"]) == ("root", "admin", "added")
    assert act["about"] == "group Night shift"


def test_who_signs_in_and_who_fails_to_is_told_with_the_address(auditor: Client):
    records.signed_in("otto", "203.0.113.7", has_given_code=False)
    records.failed("otto", "198.51.100.9", SignInCode.WRONG_PASSWORD, timezone.now(), lock=None)
    failed, signed_in = told(auditor, "kind=sign_in")["acts"]
    assert (signed_in["actor"], signed_in["code"], signed_in["data"]["address"]) == ("otto", "signed_in", "203.0.113.7")
    assert (failed["actor"], failed["code"], failed["data"]["address"]) == ("", "wrong_password", "198.51.100.9")


def noted(count: int) -> None:
    """So many acts, one a minute, each of the same moment as one of `of_django`."""
    now = timezone.now().replace(microsecond=0)
    for number in range(count):
        journal.record("pool", f"act {number}", actor="ada", now=now - timedelta(minutes=count - number))


def of_django(count: int) -> None:
    """The same in Django's own log."""
    user, now = User.objects.create_user("root"), timezone.now().replace(microsecond=0)
    for number in range(count):
        group = Group(pk=1, name=f"g{number}")
        entry = LogEntry.objects.log_actions(user.pk, [group], CHANGE, single_object=True)
        LogEntry.objects.filter(pk=entry.pk).update(action_time=now - timedelta(minutes=count - number))


def test_pages_of_both_logs_follow_each_other_and_miss_nothing(auditor: Client, monkeypatch: pytest.MonkeyPatch):
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    noted(7)
    of_django(7)
    whole = messages(auditor, "limit=100")
    assert len(whole) == 14
    assert whole[:4] == [
        "act 6",
        "group g6 changed",
        "act 5",
        "group g5 changed",
    ]
    for limit in (1, 2, 3, 5):
        found = pages(auditor, f"limit={limit}")
        assert [message for page in found for message in page] == whole
        assert all(len(page) == limit for page in found[:-1])


def test_what_comes_meanwhile_shifts_nothing(auditor: Client):
    noted(4)
    first = told(auditor, "limit=2")
    journal.record("pool", "a new one", actor="ada")
    assert messages(auditor, f"limit=2&cursor={quote(first['next_cursor'])}") == ["act 1", "act 0"]


def test_acts_are_found_by_who_did_them_by_kind_and_by_time(auditor: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(audit, "LOOKED_AT", 3)
    noted(4)
    journal.record("maintenance", "maintenance mode on", actor="bob", now=timezone.now() - timedelta(days=1))
    of_django(2)
    assert messages(auditor, "actor=bob") == ["maintenance mode on"]
    assert messages(auditor, "actor=root&kind=admin") == [
        "group g1 changed", "group g0 changed"
    ]  # fmt: skip
    assert [message for page in pages(auditor, "kind=maintenance") for message in page] == ["maintenance mode on"]
    hour_ago = quote((timezone.now() - timedelta(hours=1)).isoformat())
    assert messages(auditor, f"to={hour_ago}") == ["maintenance mode on"]
    assert len(messages(auditor, f"from={hour_ago}")) == 6
    assert messages(auditor, "actor=nobody") == []


@pytest.mark.parametrize("query", ["", "actor=ada", "kind=pool"])
def test_the_few_acts_are_found_by_an_index_among_all_lines(auditor: Client, query: str):
    plans: list[str] = []

    def explained(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith('SELECT "pools_fleetevent"'):
            with connection.cursor() as own:
                own.execute(f"EXPLAIN QUERY PLAN {sql}", params)
                plans.append(str(own.fetchall()))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explained):
        told(auditor, query)
    [plan] = plans
    assert f"USING INDEX {'event_of_actor' if 'actor' in query else 'event_caused'}" in plan
    assert "TEMP B-TREE" not in plan


def test_a_cursor_of_another_list_does_no_harm(auditor: Client, pool: Pool):
    from uuid import uuid4

    from pools.keyset import Position, cursor_of

    noted(1)
    cursor = quote(cursor_of(Position(timezone.now(), uuid4())))
    assert messages(auditor, f"cursor={cursor}") == ["act 0"]


@pytest.mark.parametrize(
    ("query", "field"),
    [("cursor=x", "cursor"), ("from=yesterday", "from"), ("limit=0", "limit"), ("actor=%00", "actor")],
)
def test_what_is_not_understood_is_named(auditor: Client, query: str, field: str):
    answer = auditor.get(f"/api/audit?{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_it_is_for_those_who_may_everything():
    assert key_with("operate")[1].get("/api/audit").json()["code"] == "scope_missing"
    assert Client().get("/api/audit").json()["code"] == "sign_in"
    assert person("view_fleet", "operate_fleet").get("/api/audit").json()["code"] == "operators_only"


def test_the_log_that_everybody_reads_says_none_of_it(pool: Pool):
    journal.record("sign_in", "otto signed in", actor="otto")
    assert FleetEvent.objects.exists()
    assert Client().get("/api/orchestrator/logs").json()["events"] == []
