"""What the client asks about pools, plans, usage, sandboxes and webhooks, with threads and with asyncio alike."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from arcade_client import Changed, ConnectionFailed, PlanChanged, UnexpectedAnswer

from tests.clients.conftest import Reply, Script, cut, problem, reply

POOL = {"name": "python", "mode": "active", "target_ready": 1, "etag": '"7"', "counts": {"ready": 1, "creating": 2}}


def test_a_pool_is_changed_only_as_it_was_read(client: Any, script: Script):
    script.says(reply(POOL, ETag='"7"'), reply(POOL | {"target_ready": 2}, ETag='"8"'), problem(412, retryable=False))
    pool = client.pool("python").set(target_ready=2, reason="A class comes.")
    assert pool.target_ready == 2
    with pytest.raises(Changed):
        pool.set(target_ready=3, reason="More.")
    assert [asked.headers.get("if-match") for asked in script.asked] == [None, '"7"', '"8"']
    assert script.asked[1].json == {"target_ready": 2, "reason": "A class comes."}
    assert {asked.path for asked in script.asked} == {"/api/pools/python"}


@pytest.mark.parametrize("act", ["prime", "pause", "resume", "drain", "recycle", "close_breaker"])
def test_a_pool_is_acted_on_with_a_reason(client: Any, script: Script, act: str):
    script.says(reply({"pools": [POOL]}), reply(POOL | {"message": "It is done."}, 202, ETag='"8"'))
    pool = client.pools()[0]
    assert (pool.counts.ready, pool.counts.creating, pool.etag) == (1, 2, '"7"')
    acted = getattr(pool, act)("A class comes.")
    assert (acted.message, acted.etag) == ("It is done.", '"8"')
    asked, path = script.asked[1], act.replace("_", "-")
    assert (asked.method, asked.path, asked.json) == ("POST", f"/api/pools/python/{path}", {"reason": "A class comes."})


def test_a_plan_is_applied_as_it_was_shown(client: Any, script: Script):
    decision = {"kind": "create", "code": "demand", "name": "python", "app_id": "", "reason": "create 1"}
    applied = {"digest": "d1", "is_done": True, "decisions": [decision]}
    script.says(reply({"digest": "d1", "decisions": [decision]}), reply(applied))
    plan = client.plan()
    assert plan.decisions[0].code == "demand"
    assert plan.apply("Now.").is_done
    assert script.asked[1].json == {"digest": "d1", "reason": "Now."}
    script.says(problem(409, "plan_changed", retryable=False, digest="d2"))
    with pytest.raises(PlanChanged) as told:
        plan.apply("Now.")
    assert told.value.raw["digest"] == "d2"


def test_usage_is_asked_for_days(client: Any, script: Script):
    sums = {"launches": 3, "hits": 2, "in_use_seconds": 60, "in_use_usd": 0.01}
    script.says(reply({"by": "game", "rows": [sums | {"key": "snake"}], "total": sums}))
    usage = client.usage(date(2026, 11, 1), "2026-11-30", by="game")
    assert [(row.key, row.launches) for row in usage.rows] == [("snake", 3)]
    assert (usage.total.key, usage.total.in_use_seconds) == (None, 60.0)
    assert script.asked[0].path == "/api/usage?from=2026-11-01&to=2026-11-30&by=game"


def test_limits_have_ones_own(client: Any, script: Script):
    active, rate = {"cold": 0, "warm": 1, "total": 1}, {"used": 1, "limit": 25, "reset_in_seconds": 60}
    most = {"max_cold": 3, "max_warm": 3, "max_total": 10, "max_per_hour": 25}
    use = {"limit": "MAX_ACTIVE_PER_CLIENT", "most": 2, "used": 1, "remaining": 1, "window_seconds": None}
    script.says(reply({"active": active, "rate": rate, "limits": most, "yours": [use]}))
    assert client.limits().yours[0].remaining == 1


HOOK = {"id": "w1", "url": "https://example.com/hook", "scope": "own", "is_enabled": False, "disabled_code": "gone"}
DELIVERY = {"id": "msg_1", "type": "webhook.test", "state": "pending", "attempts": 0, "payload": {"type": "x"}}


def requests_of(script: Script) -> list[tuple[str, str, Any]]:
    return [(asked.method, asked.path, asked.json if asked.body else None) for asked in script.asked]


def test_a_webhook_is_looked_at_changed_and_removed(client: Any, script: Script):
    changed = HOOK | {"types": ["run.ended", "pool"], "is_enabled": True}
    script.says(reply(HOOK | {"types": ["run"]}), reply(changed), Reply(204))
    webhook = client.webhook("w/1")
    assert webhook.types == ("run",)
    webhook = webhook.change(types=["run.ended", "pool"], url="https://a", description="", is_enabled=True)
    assert (webhook.types, webhook.is_enabled) == (("run.ended", "pool"), True)
    webhook.remove()
    wanted = {"types": ["run.ended", "pool"], "url": "https://a", "description": "", "is_enabled": True}
    assert requests_of(script) == [
        ("GET", "/api/webhooks/w%2F1", None),
        ("PATCH", "/api/webhooks/w1", wanted),
        ("DELETE", "/api/webhooks/w1", None),
    ]


@pytest.mark.parametrize("types", ["run", [7], None])
def test_a_webhook_whose_types_make_no_sense_is_told_as_such(client: Any, script: Script, types: Any):
    script.says(reply(HOOK | {"types": types}))
    with pytest.raises(UnexpectedAnswer):
        client.webhook("w1")


def test_a_webhook_is_tested_rotated_and_told_again(client: Any, script: Script):
    script.says(reply(HOOK), reply(DELIVERY, 202), reply({"secret": "whsec_new"}), reply(DELIVERY, 202))
    webhook = client.webhook("w1")
    assert webhook.test().state == "pending"
    assert webhook.rotate() == "whsec_new"
    assert webhook.redeliver("msg_1").payload == {"type": "x"}
    assert requests_of(script)[1:] == [
        ("POST", "/api/webhooks/w1/test", None),
        ("POST", "/api/webhooks/w1/rotate", None),
        ("POST", "/api/webhooks/w1/deliveries/msg_1/redeliver", None),
    ]


@pytest.mark.parametrize("act", ["test", "rotate"])
def test_what_would_be_done_twice_to_a_webhook_is_not_sent_again(client: Any, script: Script, act: str):
    script.says(reply(HOOK), cut())
    webhook = client.webhook("w1")
    with pytest.raises(ConnectionFailed):
        getattr(webhook, act)()
    assert len(script.asked) == 2


def test_all_deliveries_are_read_page_after_page(client: Any, script: Script):
    def page(*numbers: int, following: int | None) -> Reply:
        rows = [DELIVERY | {"id": f"msg_{number}", "last_status": 500} for number in numbers]
        return reply({"deliveries": rows, "next": following})

    script.says(reply(HOOK), page(9, 8, following=8), page(7, following=None))
    found = list(client.webhook("w1").deliveries(state="failed"))
    assert [(each.id, each.last_status) for each in found] == [("msg_9", 500), ("msg_8", 500), ("msg_7", 500)]
    path = "/api/webhooks/w1/deliveries?state=failed&limit=100"
    assert [asked.path for asked in script.asked[1:]] == [path, f"{path}&before=8"]


def test_webhooks_are_listed_added_and_removed(client: Any, script: Script):
    script.says(reply(HOOK | {"secret": "whsec_x"}, 201), reply({"webhooks": [HOOK]}), Reply(204))
    added = client.add_webhook("https://example.com/hook", types=["run.ended"])
    listed = client.webhooks()[0]
    assert (added.secret, listed.secret) == ("whsec_x", "")
    assert (listed.id, listed.is_enabled, listed.disabled_code) == ("w1", False, "gone")
    client.remove_webhook("w1")
    assert script.asked[0].json == {"url": "https://example.com/hook", "types": ["run.ended"]}
    assert (script.asked[2].method, script.asked[2].path) == ("DELETE", "/api/webhooks/w1")


def test_a_webhook_is_removed_only_if_the_arcade_says_so(client: Any, script: Script):
    script.says(Reply(200, b"<html>Sign in to this network.</html>"))
    with pytest.raises(UnexpectedAnswer):
        client.remove_webhook("w1")


SANDBOX = {"id": "s1", "name": "sandbox-1", "pool": "python", "state": "ready", "cost_usd": 0, "run_id": None}


def test_sandboxes_are_listed_page_after_page(client: Any, script: Script):
    def page(name: str, following: str | None) -> Reply:
        rows = [SANDBOX | {"name": name}]
        return reply({"sandboxes": rows, "has_more": following is not None, "next_cursor": following})

    script.says(page("sandbox-1", "b"), page("sandbox-2", None))
    assert [each.name for each in client.sandboxes(state="ready", pool="python")] == ["sandbox-1", "sandbox-2"]
    path = "/api/sandboxes?state=ready&pool=python&limit=100"
    assert [asked.path for asked in script.asked] == [path, f"{path}&cursor=b"]


def test_a_sandbox_is_retired_and_deleted_by_force(client: Any, script: Script):
    gone = SANDBOX | {"state": "deleting", "message": "It goes."}
    script.says(reply(SANDBOX), reply(gone), reply(gone | {"fate": "ordered"}))
    sandbox = client.sandbox("sandbox-1")
    assert (sandbox.state, sandbox.pool, sandbox.cost_usd) == ("ready", "python", 0.0)
    assert sandbox.retire("It hangs.").message == "It goes."
    assert sandbox.force_delete("It does not go.", confirm="sandbox-1").fate == "ordered"
    assert requests_of(script) == [
        ("GET", "/api/sandboxes/sandbox-1", None),
        ("POST", "/api/sandboxes/sandbox-1/retire", {"reason": "It hangs."}),
        ("POST", "/api/sandboxes/sandbox-1/force-delete", {"confirm": "sandbox-1", "reason": "It does not go."}),
    ]
