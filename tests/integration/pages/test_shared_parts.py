"""What is the same for everybody is rendered once a second, and holds nothing that is somebody's own."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.test import Client

from pools.models import State
from pools.shared import Shared
from runs.models import RunState
from runs.pages import lobby

PARTS = {"lobby": "/", "lobby-live": "/live/", "game": "/games/snake/", "game-live": "/games/snake/live/"}


class Counted:
    """Something that is made, and how often it was."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.times, self.error = seconds, 0, None

    def make(self) -> int:
        self.times += 1
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        return self.times


def test_it_is_made_once_however_many_ask_within_a_second(kept_for_a_second):
    made = Counted()
    shared = Shared(made.make)
    assert {shared.get() for _ in range(1_000)} == {1}
    kept_for_a_second.pass_by(0.9)
    assert shared.get() == 1
    kept_for_a_second.pass_by(0.1)
    assert (shared.get(), made.times) == (2, 2)


def test_who_comes_while_it_is_made_waits_for_it(kept_for_a_second):
    made = Counted(seconds=0.2)
    shared = Shared(made.make)
    with ThreadPoolExecutor(16) as many:
        assert set(many.map(lambda _: shared.get(), range(16))) == {1}


def test_what_failed_is_not_kept_and_fails_for_those_who_waited_for_it(kept_for_a_second):
    made, begun = Counted(seconds=0.2), threading.Barrier(4)
    made.error = RuntimeError("broken on purpose")
    shared = Shared(made.make)

    def ask(_: int) -> str:
        begun.wait()
        try:
            return str(shared.get())
        except RuntimeError as error:
            return str(error)

    with ThreadPoolExecutor(4) as many:
        assert set(many.map(ask, range(4))) == {"broken on purpose"}
    made.error = None
    assert shared.get() == made.times


@pytest.mark.django_db
def test_a_lobby_that_is_looked_at_by_many_is_looked_up_once(
    kept_for_a_second, snake, make_sandbox, django_assert_num_queries
):
    make_sandbox(State.READY)
    Client().get("/live/")
    with django_assert_num_queries(0):
        for _ in range(20):
            assert Client().get("/live/").status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("path", PARTS.values(), ids=PARTS)
def test_a_change_is_shown_after_a_second(kept_for_a_second, snake, make_sandbox, path):
    before = Client().get(path).content.decode()
    assert "ready now" not in before
    make_sandbox(State.READY, staged={"snake": {"started": True}})
    assert "ready now" not in Client().get(path).content.decode()
    kept_for_a_second.pass_by(1)
    assert "ready now" in Client().get(path).content.decode()


@pytest.mark.django_db
def test_nothing_in_it_is_a_visitors_own(kept_for_a_second, player, make_run):
    mine, theirs = make_run(), make_run(RunState.ENDED, visitor="somebody else")
    stranger = Client()
    pages = {client: client.get("/").content.decode() for client in (player, stranger)}
    assert str(mine.id) in pages[player]
    assert str(mine.id) not in pages[stranger]
    assert ">yours<" not in pages[stranger]
    forms = [re.findall(r'name="(?:key|csrfmiddlewaretoken)" value="([^"]+)"', page) for page in pages.values()]
    assert forms[0]
    assert not set(forms[0]) & set(forms[1])
    body = lobby.LIVE.get().body.decode()
    assert player.get("/live/").content.decode() == stranger.get("/live/").content.decode() == body
    for own in (mine.id.hex, str(mine.id), str(theirs.id), mine.visitor, "csrf", 'name="key"', "yours", "<a "):
        assert own not in body


@pytest.mark.django_db
def test_ones_own_runs_come_at_once_and_to_nobody_else(kept_for_a_second, player, make_run):
    player.get("/")
    run = make_run()
    assert str(run.id) in player.get("/live/mine/").content.decode()
    assert str(run.id) in player.get("/").content.decode()
    assert str(run.id) not in Client().get("/live/mine/").content.decode()


@pytest.mark.django_db
def test_what_has_not_changed_is_not_sent_again(kept_for_a_second, client, snake, make_sandbox):
    first = client.get("/live/")
    again = client.get("/live/", headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    make_sandbox(State.READY)
    kept_for_a_second.pass_by(1)
    changed = client.get("/live/", headers={"If-None-Match": first["ETag"]})
    assert changed.status_code == 200
    assert changed["ETag"] != first["ETag"]


@pytest.mark.django_db
def test_head_has_the_headers_of_get(client, snake):
    got, head = client.get("/live/"), client.head("/live/")
    assert (head.status_code, head["ETag"], head.content) == (200, got["ETag"], b"")
