"""What the database or the disk is to blame for is a 503; a mistake of ours stays a 500."""

import errno

import psycopg
import pytest
from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.models import Session
from django.db import DataError, InterfaceError, InternalError, OperationalError, ProgrammingError, connection
from django.db.transaction import TransactionManagementError
from django.test import Client

from orchestrator_site.sessions import SessionStore
from orchestrator_site.unavailable import OrUnavailable, is_unavailable

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


def test_what_broke_a_transaction_counts_and_not_that_it_is_broken():
    with pytest.raises(TransactionManagementError) as raised:
        raise TransactionManagementError("the transaction is broken") from OperationalError("database is locked")
    assert is_unavailable(raised.value)


async def test_what_failed_in_a_task_of_a_task_counts():
    async def consumer(*_: object) -> None:
        inner = ExceptionGroup("inner", [OperationalError("database is locked")])
        raise ExceptionGroup("outer", [ValueError("beside it"), inner])

    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await OrUnavailable(consumer)({"type": "http", "path": "/api/stream/x"}, None, send)
    assert sent[0]["status"] == 503


def read_only() -> InternalError:
    """As Django tells that the server has become read-only."""
    error = InternalError("cannot execute UPDATE in a read-only transaction")
    error.__cause__ = psycopg.errors.ReadOnlySqlTransaction()
    return error


def test_a_session_that_can_not_be_saved_just_now_was_not_deleted(monkeypatch: pytest.MonkeyPatch):
    """An operator was told so, with a 400."""
    store = SessionStore()
    store.create()
    store["theme"] = "dark"
    for trouble in (OperationalError("database is locked"), read_only()):

        def fail(*_: object, error: Exception = trouble, **__: object) -> None:
            raise error from error.__cause__

        with monkeypatch.context() as locked:
            locked.setattr(Session, "save", fail)
            with pytest.raises(type(trouble)) as raised:
                store.save()
        assert is_unavailable(raised.value)
    Session.objects.all().delete()
    with pytest.raises(UpdateError):
        store.save()


def test_a_view_that_meets_it_is_503(client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("runs.pages.lobby.lobby_now", broken)
    page = client.get("/")
    assert (page.status_code, page.headers["Retry-After"]) == (503, "5")
    assert "Content-Security-Policy" in page.headers


def test_what_fails_before_or_after_the_view_is_503_as_well(client: Client, monkeypatch: pytest.MonkeyPatch):
    """A session that can't be saved fails in Django's own middleware."""
    client.raise_request_exception = False
    monkeypatch.setattr(SessionStore, "load", broken)
    client.cookies[settings.SESSION_COOKIE_NAME] = "a" * 32
    assert client.get("/admin/").status_code == 503
