"""How soon a game would start: each situation that a visitor can meet."""

import pytest

from runs.launching.outlook import Outlook, about, speed


def test_a_staged_warm_sandbox_is_ready_now():
    assert speed(Outlook(has_pool=True, ready=1, is_staged=True)).text == "ready now"


def test_a_warm_sandbox_without_the_game_takes_as_long_as_putting_it_in():
    found = speed(Outlook(has_pool=True, ready=1, deploy_seconds=4))
    assert (found.kind, found.text, found.seconds) == ("soon", "about 4 s", 4)


def test_a_ready_sandbox_that_somebody_waits_for_is_not_promised_to_another():
    found = speed(Outlook(has_pool=True, ready=1, is_staged=True, waiting=1, places=1, cold_seconds=40))
    assert (found.kind, found.text) == ("cold", "about 40 s")


def test_one_on_its_way_is_as_soon_as_it_will_be_ready():
    found = speed(Outlook(has_pool=True, arriving_in_seconds=(28.0,), deploy_seconds=2))
    assert (found.kind, found.text) == ("soon", "about 30 s")


def test_two_waiting_before_you_are_two_ahead_of_you():
    found = speed(Outlook(has_pool=True, arriving_in_seconds=(5.0, 10.0, 15.0), waiting=2, deploy_seconds=2))
    assert (found.kind, found.text, found.seconds) == ("queued", "2 ahead of you", 17)


def test_more_waiting_than_on_their_way_means_a_cold_start():
    found = speed(Outlook(has_pool=True, arriving_in_seconds=(5.0,), waiting=1, places=1, cold_seconds=45))
    assert (found.kind, found.text) == ("cold", "about 45 s")


def test_a_game_without_a_pool_starts_cold():
    assert speed(Outlook(places=2, cold_seconds=31)).text == "about 30 s"


def test_an_idle_sandbox_of_another_runtime_makes_room():
    assert speed(Outlook(places=0, idle=1, cold_seconds=30)).kind == "cold"


def test_launches_that_wait_for_a_place_are_ahead_of_you():
    assert speed(Outlook(places=0, idle=0, waiting_for_places=2)).text == "2 ahead of you"


def test_a_full_fleet_says_so():
    found = speed(Outlook(places=0, idle=0))
    assert (found.kind, found.text) == ("closed", "all sandboxes are taken")


def test_a_pool_that_must_not_start_cold_says_that_none_is_free():
    found = speed(Outlook(has_pool=True, cold_when_empty=False, places=3))
    assert (found.kind, found.text) == ("closed", "none is free right now")


def test_nothing_else_matters_while_the_site_is_closed():
    found = speed(Outlook(closed="closed for maintenance", has_pool=True, ready=3, is_staged=True))
    assert (found.kind, found.text) == ("closed", "closed for maintenance")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "about 1 s"),
        (4.4, "about 4 s"),
        (9.6, "about 10 s"),
        (37, "about 35 s"),
        (58, "about 1 min"),
        (140, "about 2 min"),
    ],
)
def test_times_are_said_as_people_say_them(seconds, words):
    assert about(seconds) == words


def test_while_none_can_be_created_only_what_is_there_or_coming_is_promised():
    stopped = {"has_pool": True, "no_creates": lambda: "none is free right now", "places": 3, "waiting_for_places": 1}
    assert (speed(Outlook(**stopped)).kind, speed(Outlook(**stopped)).text) == ("closed", "none is free right now")
    assert speed(Outlook(**stopped, ready=1, is_staged=True)).kind == "ready"
    assert speed(Outlook(**stopped, arriving_in_seconds=(5.0,))).kind == "soon"
