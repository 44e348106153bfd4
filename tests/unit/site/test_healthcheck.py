"""The health check of a worker, which asks the database without loading Django's apps."""

from __future__ import annotations

import pytest
from django.db import DatabaseError

from orchestrator_site import healthcheck
from orchestrator_site.models import FRESH_SECONDS


@pytest.mark.parametrize("vendor", ["postgresql", "sqlite"])
def test_a_sign_of_life_counts_for_as_long_as_everywhere_else(vendor: str):
    assert f"{FRESH_SECONDS:g} seconds'" in healthcheck.FRESH[vendor]


@pytest.mark.parametrize("said", ["", "the server closed the connection\nunexpectedly"])
@pytest.mark.parametrize("ready", [True, False])
def test_a_database_that_is_away_is_no_reason_to_restart_a_worker(said: str, ready: bool, monkeypatch):
    def is_away() -> bool:
        raise DatabaseError(said)

    monkeypatch.setattr(healthcheck, "_has_fresh_beat", is_away)
    health = healthcheck.check("worker", ready=ready)
    assert health.is_well is not ready
    assert health.text == f"the database can't be used: {said.partition(chr(10))[0]}"
