"""What the database or the disk is to blame for is a 503; a mistake of ours stays a 500."""

import errno

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.db import DataError, InterfaceError, OperationalError, ProgrammingError, connection
from django.test import Client

from orchestrator_site.unavailable import is_unavailable

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("database is locked"),
        InterfaceError("connection already closed"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
    ids=["locked", "closed", "full"],
)
def test_asking_again_may_help(error: Exception):
    assert is_unavailable(error)


@pytest.mark.parametrize(
    "error",
    [DataError("too long"), ProgrammingError("no such column"), OSError(errno.ENOENT, "No such file"), ValueError()],
    ids=["data", "statement", "file", "value"],
)
def test_asking_again_does_not_help(error: Exception):
    assert not is_unavailable(error)


def test_a_table_that_is_not_there_is_a_mistake_although_sqlite_calls_it_operational():
    with pytest.raises(OperationalError) as raised, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM nowhere")
    assert not is_unavailable(raised.value)


def broken(*_args: object, **_kwargs: object) -> None:
    raise OperationalError("database is locked")


def test_a_view_that_meets_it_is_503(client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("runs.pages.lobby.lobby_now", broken)
    page = client.get("/")
    assert (page.status_code, page.headers["Retry-After"]) == (503, "5")
    assert "Content-Security-Policy" in page.headers


def test_what_fails_before_or_after_the_view_is_503_as_well(client: Client, monkeypatch: pytest.MonkeyPatch):
    """A session that can't be saved fails in Django's own middleware."""
    client.raise_request_exception = False
    monkeypatch.setattr(SessionStore, "load", broken)
    client.cookies["sessionid"] = "a" * 32
    assert client.get("/admin/").status_code == 503
