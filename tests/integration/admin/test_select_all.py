"""All rows that match are picked at once, on however many pages they are: exactly those that were shown go."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from pools.models import CloudApp, Sandbox, State
from tests.integration.admin.conftest import FLEET, log, on_paper, told

DELETE = f"{FLEET}delete/"


@pytest.fixture
def many(pool, snake, monkeypatch) -> None:
    """130 sandboxes of ours, and a foreign app; the cloud is not asked."""
    on_paper(130, pool, snake)
    now = timezone.now()
    CloudApp.objects.create(
        app_id="b", name="blog", owner="", phase="ACTIVE", size=pool.size, app_created_at=now, first_seen_at=now
    )
    monkeypatch.setattr("pools.console.force_delete._send", lambda cloud, sent, actor: [])


def confirm(person: Any, asked: Any, **data: str) -> Any:
    keys = ",".join(row.key for row in asked.context["rows"])
    return person.post(DELETE, keys=keys, confirmed="yes", reason="over", **data)


def test_the_button_is_there_when_there_is_more_than_one_page(destroyer, viewer, many):
    assert 'name="all"' in destroyer.get(FLEET).content.decode()
    assert 'name="all"' not in destroyer.get(FLEET, q="sandbox-00000001").content.decode()
    assert 'name="all"' not in viewer.get(FLEET).content.decode()


def test_all_of_ours_that_match_are_shown_and_counted_once(destroyer, many):
    asked = destroyer.post(DELETE, all="")
    rows = asked.context["rows"]
    assert len(rows) == len({row.key for row in rows}) == 130
    assert "blog" not in {row.name for row in rows}
    assert "Type 130" in asked.content.decode()
    assert len(destroyer.post(DELETE, all="q=sandbox-0000000&verdict=in+step").context["rows"]) == 16


def test_they_go_only_once_their_number_is_typed(destroyer, many):
    asked = destroyer.post(DELETE, all="")
    again = confirm(destroyer, asked, count="13")
    assert "There are 130; you typed 13." in again.content.decode()
    assert not Sandbox.objects.exclude(state=State.IN_USE).exists()
    confirm(destroyer, asked, count="130")
    assert Sandbox.objects.filter(state=State.DELETING).count() == 130
    assert len(log("delete")) == 130
    assert not CloudApp.objects.get(name="blog").delete_reason


def test_what_came_after_the_page_was_shown_stays(destroyer, many, pool, snake):
    asked = destroyer.post(DELETE, all="")
    on_paper(1, pool, snake)
    confirm(destroyer, asked, count="130")
    assert Sandbox.objects.filter(state=State.IN_USE).count() == 1


def test_what_went_meanwhile_changes_the_number_to_be_typed(destroyer, many):
    asked = destroyer.post(DELETE, all="")
    gone = Sandbox.objects.first()
    CloudApp.objects.filter(app_id=gone.app_id).delete()
    gone.run.delete()
    gone.delete()
    again = confirm(destroyer, asked, count="130")
    assert "There are 129; you typed 130." in again.content.decode()
    assert "1 of the rows you ticked is gone already." in again.content.decode()


@pytest.mark.parametrize("query", ["q=nothing-is-called-so", "verdict=orphan", "%%%", "q=" + "x" * 5000])
def test_where_nothing_matches_nothing_is_asked(destroyer, many, query):
    answer = destroyer.post(DELETE, all=query)
    assert (answer.context.get("rows") and query == "%%%") or "Nothing of ours matches." in told(answer)


def test_a_few_need_no_number(destroyer, many):
    asked = destroyer.post(DELETE, key=[f"sandbox:{Sandbox.objects.first().pk}"])
    assert "count" not in asked.context["form"].fields


def test_who_may_not_delete_is_refused(operator, many):
    assert operator.post(DELETE, all="").status_code == 403
