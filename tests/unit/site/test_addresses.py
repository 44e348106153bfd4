"""Addresses come from PUBLIC_URL and PLAY_URL; what can't be meant is refused at the start, in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured

from orchestrator_site import environment as env
from orchestrator_site.addresses import contradiction, other_loopback
from runs import addresses

RUN = UUID("00000000-0000-4000-8000-000000000001")
SITE = "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://Arcade.Example.com", "https://arcade.example.com"),
        ("https://arcade.example.com:443/", "https://arcade.example.com"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://*.games.example.com", "https://*.games.example.com"),
    ],
)
def test_an_address_is_an_origin(monkeypatch: pytest.MonkeyPatch, given: str, origin: str):
    monkeypatch.setenv("PLAY_URL", given)
    assert env.origin("PLAY_URL", wildcard=True) == origin


@pytest.mark.parametrize(
    "given",
    [
        "https://example.com/arcade",
        "https://example.com?x",
        "https://example.com#x",
        "https://user@example.com",
        "https://user:secret@example.com",
        "ftp://example.com",
        "https://",
        "https://a b",
        "https://example.com; script-src *",
        "https://example.com:port",
        "https://[x]",
        "https://*.example.com",
        "example.com",
    ],
)
def test_what_is_more_or_less_than_an_origin_is_refused(monkeypatch: pytest.MonkeyPatch, given: str):
    monkeypatch.setenv("PUBLIC_URL", given)
    with pytest.raises(
        ImproperlyConfigured, match=r"PUBLIC_URL is .*; it must be an address without a path"
    ) as refused:
        env.origin("PUBLIC_URL")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("public", "play"),
    [
        (SITE, "http://localhost:8000"),
        ("http://localhost:8000", SITE),
        ("http://[::1]:8000", "http://localhost:8000"),
        ("http://127.0.0.1", "http://localhost"),
        ("https://arcade.example.com", ""),
        ("http://192.168.1.5:8000", ""),
    ],
)
def test_on_one_machine_games_are_at_its_other_name(public: str, play: str):
    assert other_loopback(public) == play


@pytest.mark.parametrize(
    ("public", "play", "bind", "proxies", "says"),
    [
        (SITE, "http://localhost:8000", "127.0.0.1", 0, ""),
        (SITE, SITE, "0.0.0.0", 0, ""),
        ("https://a.example", "https://b.example", "127.0.0.1", 1, ""),
        ("https://a.example", "https://b.example", "127.0.0.1", 0, ""),
        ("http://a.example", "http://b.example", "127.0.0.1", 0, ""),
        ("http://10.0.0.5:8000", "http://10.0.0.5:8000", "127.0.0.1", 1, ""),
        ("http://10.0.0.5:8000", "http://10.0.0.5:8000", "127.0.0.1", 0, "Set BIND=0.0.0.0; or, behind a proxy"),
        (SITE, SITE, "10.0.0.5", 0, "Set PUBLIC_URL=http://10.0.0.5:8000"),
        ("https://a.example", "http://b.example", "0.0.0.0", 1, "Begin PLAY_URL with https://"),
    ],
)
def test_a_contradiction_is_said_in_a_sentence(public: str, play: str, bind: str, proxies: int, says: str):
    found = contradiction(public, play, bind=bind, port=8000, proxies=proxies)
    assert bool(found) == bool(says)
    assert says in found
    assert "\n" not in found


def test_a_start_with_a_contradiction_ends_with_one_line(tmp_path: Path):
    given = {"ORCHESTRATOR_VAR": str(tmp_path), "BIND": "10.0.0.5", "PUBLIC_URL": SITE}
    ended = subprocess.run(
        [sys.executable, "manage.py", "check"], env=os.environ | given, capture_output=True, text=True, check=False
    )
    assert ended.returncode != 0
    assert ended.stderr.strip() == (
        "Configuration: PUBLIC_URL is 'http://127.0.0.1:8000', but BIND is '10.0.0.5': nothing listens there. "
        "Set PUBLIC_URL=http://10.0.0.5:8000, or BIND=0.0.0.0."
    )


def test_the_site_answers_to_its_own_names_whatever_else_it_answers_to(tmp_path: Path):
    given = {
        "ORCHESTRATOR_VAR": str(tmp_path), "ALLOWED_HOSTS": "intern.test", "PUBLIC_URL": "https://site.test",
        "PLAY_URL": "https://*.play.test",
    }  # fmt: skip
    ask = [sys.executable, "-c", "from orchestrator_site.settings import ALLOWED_HOSTS; print(*ALLOWED_HOSTS)"]
    told = subprocess.run(ask, env=os.environ | given, capture_output=True, text=True, check=True).stdout
    assert told.split() == ["intern.test", "site.test", ".play.test"]


class TestWhoseAddressWasAsked:
    @pytest.mark.parametrize(
        ("public", "play", "host", "port", "expected"),
        [
            (SITE, "http://localhost:8000", "localhost:8000", 8000, "games"),
            (SITE, "http://localhost:8000", "127.0.0.1:8000", 8000, "pages"),
            (SITE, "http://localhost:8000", "127.0.0.1", 8000, "pages"),  # nginx' $host has no port
            (SITE, "http://localhost:8000", "10.0.0.1:8000", 8000, ""),
            (SITE, "http://localhost:8000", "", 8000, ""),
            (SITE, "http://localhost:8000", "[", 8000, ""),
            (SITE, "http://localhost:8000", "localhost:x", 8000, ""),
            ("https://a.test", "https://*.play.test", f"{RUN}.play.test", 8000, "games"),
            ("https://a.test", "https://*.play.test", "play.test", 8000, ""),
            ("https://a.test", "https://*.play.test", "evilplay.test", 8000, ""),
            # The same name with another port.
            ("http://10.0.0.5:8000", "http://10.0.0.5:8001", "10.0.0.5:8001", 8001, "games"),
            ("http://10.0.0.5:8000", "http://10.0.0.5:8001", "10.0.0.5:8000", 8000, "pages"),
            ("http://10.0.0.5:8000", "http://10.0.0.5:8001", "10.0.0.5", 8001, "games"),
            ("http://10.0.0.5:8000", "http://10.0.0.5:8001", "10.0.0.5", 8000, "pages"),
            # One origin for both.
            (SITE, SITE, "127.0.0.1:8000", 8000, "pages"),
        ],
    )
    def test_is_known_by_its_name_or_by_its_port(self, settings, public, play, host, port, expected):
        settings.PUBLIC_URL, settings.PLAY_URL, settings.PLAY_PORT = public, play, 8001
        found = [
            name
            for name, came in (("games", addresses.is_for_games), ("pages", addresses.is_for_pages))
            if came(host, port)
        ]
        assert found == ([expected] if expected else [])


def test_with_a_wildcard_each_game_has_a_name_of_its_own(settings):
    settings.PLAY_URL = "https://*.play.example.com"
    assert addresses.play_url(RUN) == f"https://{RUN}.play.example.com/play/{RUN}/"


def test_a_policy_names_no_ipv6_address_for_it_may_not(settings):
    assert addresses.policy_source("http://[::1]:8000/play/") == "http:"
    assert addresses.policy_source("https://*.play.example.com") == "https://*.play.example.com"
