"""A listing is complete, or it is none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools.cloud.listing import PER_PAGE, Broken, every_app

NO_LINKS = {"pages": {}}
NEXT = {"pages": {"next": "https://api.example/v2/apps?page=2", "last": "https://api.example/v2/apps?page=9"}}


def apps(*ids: object) -> list[dict]:
    return [{"id": str(app_id)} for app_id in ids]


def page(ids, total=None, links=None, **extra):
    body = {"apps": apps(*ids), **extra}
    if total is not None:
        body["meta"] = {"total": total}
    if links is not None:
        body["links"] = links
    return body


def ids_of(*bodies: object) -> list[str]:
    """The ids in a listing of these pages; asking beyond them is asking a server that has no more to say."""
    asked = []

    def fetch(number: int) -> object:
        asked.append(number)
        assert len(asked) <= len(bodies) + 1, f"asked for page {number} of {len(bodies)}"
        return bodies[number - 1] if number <= len(bodies) else page([], links=NO_LINKS)

    return [app["id"] for app in every_app(fetch, dict)]


def test_no_apps_are_a_complete_list():
    assert ids_of(page([], total=0, links=NO_LINKS)) == []


def test_an_empty_account_may_leave_the_apps_out_when_it_says_that_there_are_none():
    assert ids_of({"links": NO_LINKS, "meta": {"total": 0}}) == []


@settings(deadline=None)
@given(count=st.integers(0, 900), per_page=st.sampled_from([20, 100, PER_PAGE]), has_links=st.booleans())
def test_every_page_is_read_whatever_the_server_takes_for_a_page(count, per_page, has_links):
    """Public reports tell of orchestrators that stopped at the first page."""
    everything = range(count)

    def fetch(number: int) -> object:
        chosen = everything[(number - 1) * per_page : number * per_page]
        has_next = has_links and number * per_page < count
        return page(chosen, total=count, links=NEXT if has_next else NO_LINKS)

    assert [app["id"] for app in every_app(fetch, dict)] == [str(number) for number in everything]


def test_links_alone_lead_to_the_end():
    assert ids_of(page([1, 2], links=NEXT), page([3], links=NO_LINKS)) == ["1", "2", "3"]


def test_with_neither_total_nor_links_only_an_empty_page_is_the_end():
    assert ids_of(page([1, 2]), page([3]), page([])) == ["1", "2", "3"]


def test_a_server_that_knows_no_pages_is_understood():
    assert ids_of(page([1, 2]), page([1, 2])) == ["1", "2"]


def test_a_total_may_come_as_a_string():
    assert ids_of(page([1, 2], total="2")) == ["1", "2"]


def test_an_app_that_was_shifted_onto_two_pages_is_one_app():
    assert ids_of(page([1, 2], total=3, links=NEXT), page([2, 3], total=3, links=NO_LINKS)) == ["1", "2", "3"]


def test_a_next_link_on_the_last_page_is_followed_to_nowhere():
    assert ids_of(page([1, 2], total=2, links=NEXT), page([], total=2, links=NEXT)) == ["1", "2"]


@pytest.mark.parametrize(
    ("bodies", "why"),
    [
        ([page([1, 2], total=3, links=NO_LINKS), page([], total=3)], "announced 3 apps and showed 2"),
        ([page([1, 2, 3], total=2)], "announced 2 apps and showed 3"),
        ([page([1, 2], total=4, links=NEXT), page([3, 4, 5], total=5)], "changed from 4 to 5"),
        ([page([1, 2], total=4, links=NEXT), page([3], total=3)], "changed from 4 to 3"),
        ([page([1, 2], total=4, links=NEXT), page([3, 4])], "changed from 4 to None"),
        ([page([1, 2], total=4, links=NEXT), page([1, 2], total=4, links=NEXT)], "repeated"),
        ([page([1, 2], links=NEXT), page([1, 2], links=NEXT)], "repeated"),
        ([page([1, 2], total=4, links=NEXT), page([2, 3], total=4, links=NEXT), page([], total=4)], "showed 3"),
        ([page([], total=3, links=NO_LINKS)], "announced 3 apps and showed 0"),
        ([{"meta": {"total": 3}}], "without “apps”"),
        ([{}], "without “apps”"),
        ([{"apps": None}], "without “apps”"),
        ([{"apps": {}}], "without “apps”"),
        ([{"id": "server_error", "message": "?"}], "without “apps”"),
        ([None], "page 1 was empty"),
        ([[]], "page 1 was empty"),
        (["<html>"], "page 1 was empty"),
        ([page([1], total=2, links=NEXT), None], "page 2 was empty"),
        ([page([1], total=2, links=NEXT), {"meta": {"total": 2}}], "page 2 came without “apps”"),
        ([page([], total=-1)], "announced -1"),
        ([page([1], total="many")], "announced 'many'"),
        ([page([1], total=True)], "announced True"),
        ([{"apps": [{"id": "1"}, {}]}], "without an id"),
        ([{"apps": [{"id": "1"}, None]}], "without an id"),
        ([{"apps": [{"id": 7}]}], "without an id"),
    ],
)
def test_what_may_have_lost_an_app_is_no_listing(bodies, why):
    with pytest.raises(Broken, match=why):
        ids_of(*bodies)


def test_a_list_that_never_ends_is_given_up():
    with pytest.raises(Broken, match="did not end"):
        every_app(lambda number: page([number], links=NEXT), dict)
