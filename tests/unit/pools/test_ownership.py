"""Whose an app is, by its name, its mark, and what our database knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pools.cloud.records import UNREADABLE, Phase
from pools.ownership import Identity, Mark, Standing
from pools.turn.decisions import Kind
from pools.turn.facts import AppFacts
from pools.turn.plan import plan_fleet

from .builders import NOW, make_fleet, make_sandbox, seconds, wanted_pool

US, THEM = "a" * 32, "b" * 32
MARK = Mark("local", US, "sandbox-")
NAME = "sandbox-0badcafe"


def app(name: str = NAME, owner: str | None = "local", installation: str | None = US, **fields) -> AppFacts:
    return AppFacts("app-9", name, owner, Phase.ACTIVE, installation=installation, **fields)


@pytest.mark.parametrize(
    ("fields", "had_row", "standing"),
    [
        ({}, True, Standing.OURS),
        ({"installation": None}, False, Standing.OURS),  # made by a version that marked none
        ({}, False, Standing.ANOTHERS),  # made by a copy of our database
        ({"installation": THEM}, False, Standing.ANOTHERS),
        ({"installation": THEM}, True, Standing.ANOTHERS),
        ({"installation": UNREADABLE}, False, Standing.ANOTHERS),
        ({"installation": UNREADABLE}, True, Standing.OURS),
        ({"owner": UNREADABLE, "installation": UNREADABLE}, True, Standing.OURS),
        ({"owner": None, "installation": None}, True, Standing.OURS),
        ({"owner": UNREADABLE, "installation": UNREADABLE}, False, Standing.FOREIGN),
        ({"owner": None, "installation": None}, False, Standing.FOREIGN),
        ({"owner": "production", "installation": THEM}, False, Standing.FOREIGN),
        ({"owner": "production", "installation": None}, True, Standing.FOREIGN),
        ({"owner": None, "installation": THEM}, True, Standing.FOREIGN),
        ({"name": "web"}, False, Standing.FOREIGN),
        ({"name": "sandbox-orchestrator"}, False, Standing.FOREIGN),
    ],
)
def test_an_app_that_no_sandbox_is_belongs_to(fields, had_row, standing):
    assert MARK.standing(app(**fields), had_row=had_row) == standing


@pytest.mark.parametrize(
    ("fields", "is_known", "identity"),
    [
        ({}, False, Identity.ITS_OWN),
        ({"owner": None, "installation": None}, False, Identity.ITS_OWN),
        ({"owner": UNREADABLE}, False, Identity.ITS_OWN),
        ({"name": "web"}, False, Identity.ANOTHERS),
        ({"name": "web"}, True, Identity.ITS_OWN),  # somebody has renamed it
        ({"name": ""}, False, Identity.UNTOLD),
        ({"owner": "production"}, True, Identity.ANOTHERS),
        ({"installation": THEM}, True, Identity.ANOTHERS),
    ],
)
def test_the_app_under_the_id_in_a_row_is(fields, is_known, identity):
    assert MARK.identity(app(**fields), NAME, is_known=is_known) == identity


@pytest.mark.parametrize("state", ["creating", "ready", "in_use", "deleting"])
def test_nothing_but_a_question_follows_for_an_id_that_is_listed_as_anothers(state):
    sandbox = make_sandbox(state, expires_at=NOW - seconds(5) if state == "in_use" else None)
    theirs = AppFacts(sandbox.app_id, "company-website", "somebody", Phase.ERROR, "https://x.example")
    facts = make_fleet(sandbox, apps=None)
    facts = replace(facts, apps=(theirs,), listing_error="")
    assert [decision.kind for decision in plan_fleet(facts, NOW) if decision.sandbox_id == sandbox.id] == [
        Kind.IDENTIFY
    ]


def test_a_refill_leaves_the_places_that_another_installation_has():
    apps = tuple(
        AppFacts(f"app-{n}", f"sandbox-0000000{n}", "local", Phase.ACTIVE, installation=THEM) for n in range(2)
    )
    facts = make_fleet(pools=(wanted_pool(),), apps=apps, max_total=2, installation=US)
    assert Kind.CREATE not in [decision.kind for decision in plan_fleet(facts, NOW)]
    facts = make_fleet(pools=(wanted_pool(),), apps=apps, max_total=3, installation=US)
    assert Kind.CREATE in [decision.kind for decision in plan_fleet(facts, NOW)]


def test_an_adopted_app_is_deleted_after_the_grace_whatever_the_guard_would_say():
    old = {"adopted_at": NOW - seconds(200), "orphan_since": NOW - seconds(121), "orphan_listings": 2}
    apps = tuple(
        AppFacts(f"app-{n}", f"sandbox-0000000{n}", "local", Phase.ACTIVE, installation=THEM, **old) for n in range(9)
    )
    decisions = plan_fleet(make_fleet(apps=apps, installation=US), NOW)
    assert [(each.kind, each.code) for each in decisions] == [(Kind.DELETE_APP, "adopted")] * 9
