"""Browsers keep cookies by host and not by port: each installation's have names of their own."""

from orchestrator_site.cookies import cookie_name


def test_two_installations_on_one_host_share_no_cookie():
    assert cookie_name("session", "http://127.0.0.1:8000") != cookie_name("session", "http://127.0.0.1:8001")


def test_a_name_is_the_same_on_each_machine_and_after_each_restart():
    """A name that changed would sign everybody out: this one is written down."""
    assert cookie_name("session", "http://127.0.0.1:8000") == "session_63767aa5"


def test_an_installation_tells_its_own_cookies_apart():
    assert len({cookie_name(what, "http://127.0.0.1:8000") for what in ("session", "csrf", "visitor", "messages")}) == 4


def test_over_https_nobody_but_this_host_can_set_one():
    assert cookie_name("session", "https://arcade.example").startswith("__Host-session_")
    assert not cookie_name("session", "http://arcade.example").startswith("__")
