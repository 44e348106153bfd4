"""Each way in which our record and DigitalOcean's can agree or part has its verdict, and says why."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from pools.console.fleet_page import FleetQuery
from pools.console.fleet_table import FleetTable, Row
from pools.models import CloudApp, Pool, Sandbox, State
from pools.occupants import Occupant
from pools.ownership import Mark
from pools.reasons import EndCode, StepCode
from pools.turn.decisions import Decision, Kind
from pools.turn.verdict import Health, Sight, Sync, Verdict
from tests.unit.pools.builders import NOW, OURS, seconds

POOL = Pool(id=1, name="python", runtime="python")
RUN = Occupant("run 3fa9c2d1", "Snake", "8d1f02aa", "/admin/runs/run/3fa9/")


def sandbox(state: State = State.READY, **fields: Any) -> Sandbox:
    number = fields.pop("number", 0x2CB2F325)
    began = NOW - seconds(300)
    defaults: dict[str, Any] = {
        "id": uuid4(), "name": f"sandbox-{number:08x}", "state": state, "origin": "pool", "pool_id": 1,
        "runtime": "python", "region": "syd", "size": "apps-s-1vcpu-1gb", "requested_at": began,
        "create_reason": "wanted",
    }  # fmt: skip
    if state != State.REQUESTED:
        defaults |= {"app_id": f"id-{number:08x}", "create_sent_at": began, "accepted_at": began}
    if state in (State.READY, State.IN_USE):
        defaults |= {"ready_at": NOW - seconds(200), "url": "https://a.example", "health_checked_at": NOW - seconds(9)}
    if state == State.IN_USE:
        defaults |= {"acquired_at": NOW - seconds(60), "expires_at": NOW + seconds(240)}
    if state == State.DELETING:
        defaults |= {"delete_requested_at": NOW - seconds(4), "end_reason": "its run is over"}
    return Sandbox(**defaults | fields)


def app_of(sandbox: Sandbox, **fields: Any) -> CloudApp:
    return app(**{"name": sandbox.name, "app_id": sandbox.app_id or "id-new"} | fields)


def app(name: str = "sandbox-651171a9", **fields: Any) -> CloudApp:
    defaults: dict[str, Any] = {
        "app_id": f"id-{name}", "name": name, "owner": OURS, "phase": "ACTIVE", "url": "https://a.example",
        "region": "syd", "size": "apps-s-1vcpu-1gb", "app_created_at": NOW - seconds(600),
        "first_seen_at": NOW - seconds(600),
    }  # fmt: skip
    return CloudApp(**defaults | fields)


def rows(sandboxes: list[Sandbox], apps: list[CloudApp] | None, **more: Any) -> list[Row]:
    in_use = {each.pk: RUN for each in sandboxes if each.state == State.IN_USE}
    listed_at = more.pop("listed_at", NOW - seconds(5)) if apps is not None else None
    mark = Mark(OURS, "our-installation", "sandbox-")
    sight = Sight(listed_at, more.pop("error", ""), more.pop("code", ""), mark, orphan_grace_seconds=120)
    table: dict[str, Any] = {"sight": sight, "now": NOW, "occupants": in_use, "pools": {1: POOL}, "former": {}} | more
    return FleetTable(**table).rows(sandboxes, apps or [])


def verdict(mine: Sandbox | None, theirs: CloudApp | None, **more: Any) -> tuple[Verdict, str]:
    found = rows([mine] if mine else [], [theirs] if theirs else [], **more)
    assert len(found) == 1, found
    return found[0].verdict, found[0].why


@pytest.mark.parametrize("state", [State.CREATING, State.STAGING, State.READY, State.IN_USE])
def test_a_sandbox_that_digitalocean_has_as_we_think_is_in_step(state: State):
    mine = sandbox(state)
    assert verdict(mine, app_of(mine)) == (Verdict.IN_STEP, "")


def test_a_sandbox_missing_from_the_listing_is_lost_only_by_digitaloceans_own_word():
    found, why = verdict(sandbox(missing_since=NOW - seconds(12)), None)
    assert found == Verdict.MISSING
    assert "missing from every listing for 12 s; DigitalOcean itself has not told yet" in why
    found, why = verdict(sandbox(missing_since=NOW - seconds(12), verified_at=NOW - seconds(4)), None)
    assert found == Verdict.MISSING
    assert "DigitalOcean itself has it: asked by its id 4 s ago" in why
    found, why = verdict(sandbox(State.IN_USE, vanished_at=NOW - seconds(4)), None)
    assert found == Verdict.LOST
    assert "does not have it; run 3fa9c2d1 is still in it" in why


def test_a_lost_sandbox_is_still_shown_as_lost_after_its_row_was_closed():
    gone = sandbox(State.DELETED, deleted_at=NOW - seconds(60), end_reason="lost: it vanished from DigitalOcean")
    assert verdict(gone, None) == (Verdict.LOST, "lost: it vanished from DigitalOcean")


def test_a_sandbox_accepted_a_moment_ago_may_be_missing():
    found, why = verdict(sandbox(State.CREATING, accepted_at=NOW - seconds(8)), None)
    assert found == Verdict.IN_STEP
    assert "may not show it yet" in why


def test_before_the_first_listing_nothing_is_called_lost():
    assert rows([sandbox()], None)[0].verdict == Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("mine", "theirs", "why"),
    [
        ({}, {"phase": "ERROR"}, "we say ready, DigitalOcean says ERROR"),
        ({}, {"name": "something-else"}, "renamed to something-else"),
        ({}, {"owner": "staging"}, "its ORCHESTRATOR_ID is staging, not local"),
        ({}, {"owner": ""}, "its ORCHESTRATOR_ID is gone"),
        ({}, {"region": "ams"}, "we asked for region syd, it is in ams"),
        ({}, {"size": "apps-s-2vcpu-4gb"}, "we asked for apps-s-1vcpu-1gb"),
        ({}, {"url": "https://b.example"}, "its address is now https://b.example"),
        ({"health_failures": 2, "trouble": "timed out"}, {}, "its agent did not answer 2 looks: timed out"),
        ({"pool_id": None}, {}, "its pool was deleted"),
        ({"state": State.CREATING}, {"phase": "ERROR", "failure": "image not found"}, "ERROR: image not found"),
        ({"state": State.CREATING, "requested_at": NOW - seconds(700)}, {"phase": "DEPLOYING"}, "not ready after"),
        ({"state": State.IN_USE, "expires_at": NOW - seconds(90)}, {}, "its lifetime ended 90 s ago"),
        ({"state": State.REQUESTED, "app_id": None}, {}, "the answer to its create was lost"),
        ({"state": State.DELETING, "delete_requested_at": NOW - seconds(700)}, {}, "to be deleted for 11 min"),
    ],
)
def test_what_differs_is_drift_and_says_how(mine: dict[str, Any], theirs: dict[str, Any], why: str):
    ours = sandbox(**mine)
    found, said = verdict(ours, app_of(ours, **theirs))
    assert found == Verdict.DRIFTING
    assert why in said


def test_a_create_that_is_not_answered_drifts_after_a_while():
    waiting = sandbox(State.CREATING, app_id=None, create_sent_at=NOW - seconds(5))
    assert verdict(waiting, None)[0] == Verdict.IN_STEP
    waiting.create_sent_at, waiting.trouble = NOW - seconds(25), "503"
    assert verdict(waiting, None) == (Verdict.DRIFTING, "asked for 25 s ago, not accepted yet: 503")


def test_a_sandbox_in_use_that_no_run_has_drifts():
    mine = sandbox(State.IN_USE)
    assert verdict(mine, app_of(mine), occupants={}) == (Verdict.DRIFTING, "in use, but no run has it")


def test_an_app_with_our_mark_and_no_sandbox_is_an_orphan_and_says_when_it_goes():
    assert verdict(None, app()) == (
        Verdict.ORPHAN,
        "it carries our mark, but we have no record of it, seen for the first time",
    )
    known = app(orphan_since=NOW - seconds(40))
    row = rows([], [known])[0]
    assert (row.why, row.tried) == (
        "it carries our mark, but we have no record of it, for 40 s",
        "delete it at 12:01:20",
    )
    decision = Decision(Kind.DELETE_ORPHAN, StepCode.GRACE_OVER, "orphan", app_id=known.app_id, name=known.name)
    assert "held: deletions are stopped" in rows([], [known], held_back=[decision])[0].tried
    assert "held: DigitalOcean can't be seen: 500" in rows([], [known], error="500")[0].tried


def test_an_orphan_tells_of_the_sandbox_it_once_was():
    was = sandbox(State.DELETED, deleted_at=NOW - seconds(100), end_reason="its run is over", number=0x651171A9)
    found, why = verdict(None, app(), former={was.name: was})
    assert found == Verdict.ORPHAN
    assert "its sandbox was deleted 100 s ago (its run is over)" in why


def test_an_app_deleted_since_the_last_listing_is_no_orphan():
    was = sandbox(State.DELETED, deleted_at=NOW - seconds(1), end_reason="its run is over", number=0x651171A9)
    assert verdict(None, app(), former={was.name: was})[0] == Verdict.DELETING


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        ({"name": "blog", "owner": ""}, "no mark of ours"),
        ({"name": "sandbox-651171a9", "owner": ""}, "no mark of ours"),
        ({"name": "sandbox-651171a9", "owner": "staging"}, "it belongs to the orchestrator staging"),
        ({"name": "orchestrator", "owner": OURS}, "may be this orchestrator itself"),
    ],
)
def test_what_does_not_carry_our_whole_mark_is_foreign(theirs: dict[str, Any], why: str):
    found, said = verdict(None, app(**theirs))
    assert found == Verdict.FOREIGN
    assert why in said


def test_an_app_that_was_ordered_to_go_is_being_deleted_foreign_or_not():
    ordered = app("blog", owner="", delete_reason="operator ada: not ours any more", delete_sent_at=NOW - seconds(3))
    found, why = verdict(None, ordered)
    assert found == Verdict.DELETING
    assert why == "operator ada: not ours any more"
    assert rows([], [ordered])[0].tried == "attempt 1 to delete it was sent 3 s ago; next at 12:00:12"
    ordered.delete_attempts, ordered.trouble, ordered.trouble_code = 4, "403: no.", "unauthorized"
    assert rows([], [ordered])[0].tried == "attempt 4 to delete it failed: 403: no; next at 12:00:12"


def test_each_sandbox_and_each_app_is_one_row():
    mine, lost = sandbox(), sandbox(number=1)
    found = rows([mine, lost], [app_of(mine), app(), app("blog", owner="")])
    assert sorted(row.name for row in found) == sorted([mine.name, lost.name, "sandbox-651171a9", "blog"])
    assert len({row.key for row in found}) == 4


def test_a_row_says_what_the_machine_will_do():
    mine = sandbox()
    decision = Decision(Kind.RETIRE, EndCode.IDLE, "idle: 1 ready > 0 wanted", mine.pk, name=mine.name)
    row = rows([mine], [app_of(mine)], decisions=[decision])[0]
    assert row.next_step == "retire: idle: 1 ready > 0 wanted"


def test_a_row_costs_what_its_size_costs_on_either_side():
    tracked = rows([sandbox()], [])[0]
    orphan = rows([], [app()])[0]
    assert float(tracked.cost_usd) == pytest.approx(300 * 12 / (672 * 3600))
    assert float(orphan.cost_usd) == pytest.approx(600 * 12 / (672 * 3600))


@pytest.mark.parametrize(
    ("mine", "theirs", "sync", "health"),
    [
        ({}, {}, Sync.SYNCED, Health.HEALTHY),
        ({"health_checked_at": None}, {}, Sync.SYNCED, Health.UNKNOWN),
        ({"health_failures": 1, "trouble": "timed out"}, {}, Sync.SYNCED, Health.DEGRADED),
        ({}, {"region": "ams"}, Sync.OUT_OF_SYNC, Health.HEALTHY),
        ({}, {"phase": "ERROR"}, Sync.OUT_OF_SYNC, Health.DEGRADED),
        ({"vanished_at": NOW}, {}, Sync.OUT_OF_SYNC, Health.MISSING),
        ({"state": State.CREATING}, {"phase": "DEPLOYING"}, Sync.SYNCED, Health.PROGRESSING),
        ({"state": State.DELETING}, {}, Sync.OUT_OF_SYNC, Health.PROGRESSING),
    ],
)
def test_each_is_judged_on_two_axes(mine: dict[str, Any], theirs: dict[str, Any], sync: Sync, health: Health):
    ours = sandbox(**mine)
    judgement = rows([ours], [app_of(ours, **theirs)])[0].judgement
    assert (judgement.sync, judgement.health) == (sync, health)


def test_while_digitalocean_can_not_be_seen_nothing_is_called_synced():
    ours, going = sandbox(), sandbox(State.DELETING, number=2)
    found = {row.name: row for row in rows([ours, going], [app_of(ours), app_of(going)], error="500")}
    assert found[ours.name].judgement.sync == Sync.UNKNOWN
    assert "held: DigitalOcean can't be seen: 500" in found[going.name].tried


def test_what_differs_is_told_field_by_field():
    ours = sandbox()
    differences = rows([ours], [app_of(ours, region="ams", size="apps-d-8vcpu-32gb")])[0].judgement.differences
    assert [(each.field, each.wanted, each.found) for each in differences] == [
        ("region", "syd", "ams"),
        ("size", "apps-s-1vcpu-1gb", "apps-d-8vcpu-32gb"),
    ]


def many() -> list[Row]:
    used = sandbox(State.IN_USE, number=2)
    ready = [sandbox(number=0x100 + n, requested_at=NOW - timedelta(seconds=n)) for n in range(130)]
    return rows([*ready, used], [app_of(each) for each in [*ready, used]] + [app(), app("blog", owner="")])


def page(**parameters: str) -> list[Row]:
    return list(FleetQuery.of(parameters).page_of(many()))


def test_what_is_wrong_comes_first():
    assert [row.verdict for row in page()][:2] == [Verdict.ORPHAN, Verdict.FOREIGN]


def test_the_table_is_cut_into_pages():
    assert len(page()) == 100
    assert len(page(page="2")) == 33
    assert len(page(page="99")) == 33, "beyond the last page is the last page"


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({"q": "3FA9C2"}, ["sandbox-00000002"]),
        ({"q": "8d1f02aa"}, ["sandbox-00000002"]),
        ({"q": "id-00000105"}, ["sandbox-00000105"]),
        ({"q": "blog"}, ["blog"]),
        ({"verdict": "orphan"}, ["sandbox-651171a9"]),
        ({"state": "in_use"}, ["sandbox-00000002"]),
        ({"pool": "python", "state": "in_use"}, ["sandbox-00000002"]),
        ({"pool": "node"}, []),
        ({"sort": "expires", "state": "in_use"}, ["sandbox-00000002"]),
    ],
)
def test_rows_are_found_by_name_app_run_player_and_filters(parameters: dict[str, str], names: list[str]):
    assert [row.name for row in page(**parameters)] == names


@pytest.mark.parametrize(
    "sort", ["name", "state", "phase", "pool", "run", "expires", "cost", "health", "sync", "agent", "verdict"]
)
def test_every_column_sorts_both_ways(sort: str):
    assert len(page(sort=sort)) == len(page(sort=f"-{sort}")) == 100


def test_nonsense_in_the_address_is_no_error():
    assert len(page(sort="--x", page="-1", verdict="?", state="?", q="")) == 100


def test_links_keep_what_was_chosen():
    query = FleetQuery.of({"q": "a b", "verdict": "orphan", "sort": "cost", "page": "3"})
    assert query.but(verdict="") == "q=a+b&sort=cost"
    assert query.sorted_by("cost") == "q=a+b&verdict=orphan&sort=-cost"
    assert query.sorted_by("name") == "q=a+b&verdict=orphan&sort=name"
