"""Who launched: a column and a filter of the fleet, the sandboxes and the runs."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from pools import api_keys
from pools.models import Sandbox
from runs.models import Run
from tests.integration.admin.conftest import FLEET, on_paper, queries

SANDBOXES, RUNS = "/admin/pools/sandbox/", "/admin/runs/run/"


@pytest.fixture
def of_ci(pool, snake) -> Run:
    """One of three runs was launched with the key CI; the others by visitors."""
    on_paper(3, pool, snake)
    key, _ = api_keys.make("CI", ["launch"], by="dora", now=timezone.now())
    run = Run.objects.order_by("visitor").first()
    Run.objects.filter(pk=run.pk).update(visitor=key.client)
    run.refresh_from_db()
    return run


def names(person: Any, path: str, **query: str) -> set[str]:
    answer = person.get(path, **query)
    assert answer.status_code == 200
    if path == FLEET:
        return {row.name for row in answer.context["page"]}
    return {each.name if isinstance(each, Sandbox) else each.sandbox.name for each in answer.context["cl"].result_list}


@pytest.mark.parametrize("path", [FLEET, SANDBOXES, RUNS])
def test_a_key_is_told_by_its_name_and_found_by_it(viewer, of_ci, path):
    prefix = of_ci.visitor.removeprefix("key:")
    page = viewer.get(path).content.decode()
    assert f"key CI ({prefix})" in page
    assert "visitor 00000001" in page
    for typed in ("ci", f"key CI ({prefix})", prefix):
        assert names(viewer, path, creator=typed) == {of_ci.sandbox.name}, typed


@pytest.mark.parametrize("path", [FLEET, SANDBOXES, RUNS])
def test_a_visitor_is_found_by_the_letters_that_are_shown(viewer, of_ci, path):
    assert names(viewer, path, creator="visitor 00000001") == names(viewer, path, creator="00000001")
    assert len(names(viewer, path, creator="00000001")) == 1
    for typed in ("nobody", "%", "' OR 1=1 --"):
        assert names(viewer, path, creator=typed) == set(), typed


@pytest.mark.parametrize("path", [FLEET, SANDBOXES, RUNS])
def test_an_operator_who_tries_a_game_is_told_by_name_and_found_by_it(viewer, of_ci, path):
    """Each was told as "visitor operator"."""
    Run.objects.filter(pk=of_ci.pk).update(visitor="operator:otto")
    assert "operator otto" in viewer.get(path).content.decode()
    assert names(viewer, path, creator="operator otto") == {of_ci.sandbox.name}


def test_names_of_many_keys_take_one_statement(viewer, pool, snake):
    on_paper(2, pool, snake)
    for run in Run.objects.all():
        key, _ = api_keys.make("CI", ["launch"], by="dora", now=timezone.now())
        Run.objects.filter(pk=run.pk).update(visitor=key.client)
    few = {path: queries(viewer, path) for path in (FLEET, SANDBOXES, RUNS)}
    on_paper(20, pool, snake)
    for run in Run.objects.exclude(visitor__startswith="key:"):
        key, _ = api_keys.make("CI", ["launch"], by="dora", now=timezone.now())
        Run.objects.filter(pk=run.pk).update(visitor=key.client)
    assert {path: queries(viewer, path) for path in (FLEET, SANDBOXES, RUNS)} == few


def test_a_key_that_is_not_in_the_database_any_more_is_told_by_its_letters(viewer, of_ci):
    api_keys.ApiKey.objects.all().delete()
    assert f"key {of_ci.visitor.removeprefix('key:')}" in viewer.get(RUNS).content.decode()
