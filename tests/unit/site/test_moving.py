"""What two databases say of one value, and whether it is the same."""

from __future__ import annotations

import pytest
from django.db import models

from orchestrator_site.moving.rows import is_same

JSON, ADDRESS, TEXT = models.JSONField(), models.GenericIPAddressField(), models.TextField()


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ('{"a": 1, "b": [1.0, -0.0]}', '{"b": [1.0, 0.0], "a": 1}'),
        ("1e23", "100000000000000000000000"),
        ("null", "null"),
        ('"\\ud83c\\udfb2"', '"🎲"'),
    ],
)
def test_postgresql_writes_json_in_its_own_way(was: str, now: str) -> None:
    assert is_same(JSON, was, now)


@pytest.mark.parametrize(
    ("was", "now"),
    [("1", "true"), ("[1]", "[1, 1]"), ('{"a": 1}', '{"a": 2}'), ("0.1", "0.2"), ('"1"', "1"), ("null", None)],
)
def test_other_json_is_another_value(was: str, now: str | None) -> None:
    assert not is_same(JSON, was, now)


def test_an_address_may_be_written_in_two_ways() -> None:
    assert is_same(ADDRESS, "2001:DB8::1", "2001:db8::1")
    assert not is_same(ADDRESS, "192.0.2.1", "192.0.2.2")


def test_nothing_is_not_an_empty_text() -> None:
    assert is_same(TEXT, None, None)
    assert not is_same(TEXT, None, "")
    assert not is_same(TEXT, "a", "a ")
