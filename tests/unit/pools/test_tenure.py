"""A lease that is kept while its holder works."""

from __future__ import annotations

import pytest
from django.db import InterfaceError, OperationalError

from pools import tenure
from tests.fixtures.waiting import until


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_connection_that_broke_ends_no_renewals(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """After one restart of the database every deployment that was under way was begun a second time."""
    monkeypatch.setattr(tenure, "RENEW_SECONDS", 0.01)
    closed: list[str] = []
    monkeypatch.setattr(tenure.connections, "close_all", lambda: closed.append("closed"))
    renewals: list[bool] = []

    def renew() -> bool:
        renewals.append(True)
        if not closed:
            raise error("the connection is closed")
        return True

    with tenure.kept(renew) as held:
        until(lambda: len(renewals) >= 3, "it is renewed again, on a new connection")
        held.require()
