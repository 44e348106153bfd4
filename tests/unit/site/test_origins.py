"""Whose page a request comes from, by what its browser says."""

import pytest

from runs.origins import may_change

HOST = "127.0.0.1:8000"


@pytest.mark.parametrize("origin", ["http://[", "http://[x]", "null", "", "127.0.0.1:8000", "http://evil.example"])
def test_an_origin_that_is_not_ours_or_not_one_at_all_changes_nothing(origin: str):
    assert not may_change(origin=origin, fetch_site="same-origin", host=HOST)


def test_our_own_pages_and_programs_may_change_things():
    assert may_change(origin=f"http://{HOST}", fetch_site="same-origin", host=HOST)
    assert may_change(origin=None, fetch_site=None, host=HOST)
