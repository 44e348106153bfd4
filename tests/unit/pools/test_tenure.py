"""A lease that is kept while its holder works."""

from __future__ import annotations

import pytest
from django.db import InterfaceError, OperationalError

from pools import tenure
from pools.cloud.changes import only_while, require_for
from pools.turn.asking import ask_all
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


def test_no_thread_of_a_holder_that_was_replaced_changes_anything() -> None:
    """A turn asks for several at once: each of them was decided before it was held up."""
    replaced = tenure.Tenure(lambda: False, lease_seconds=0)
    sent: list[str] = []

    def send(operation: str) -> None:
        require_for(operation)
        sent.append(operation)

    with only_while(replaced.require):
        for changes in (["create"], ["delete"] * 3):
            with pytest.raises(tenure.TenureLost):
                ask_all(send, changes)
        assert sent == []
        ask_all(send, ["get"] * 3)
    ask_all(send, ["create"])  # by who holds nothing, and needs nothing
    assert sent == ["get"] * 3 + ["create"]
