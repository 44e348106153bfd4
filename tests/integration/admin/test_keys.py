"""API keys in the admin and on the command line: made, shown once, revoked."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from pools.api_keys import ApiKey
from pools.models import FleetEvent
from tests.fixtures.web import new_run
from tests.integration.admin.conftest import Person

KEYS = "/admin/pools/apikey/"
TOKEN = re.compile(r"key_[0-9a-f]{8}_[\w-]{43}")


def made(person: Person, **fields):
    return person.post(f"{KEYS}add/", name="robot", scopes=["launch", "read"], reason="for the bot", **fields)


def opens(token: str) -> bool:
    return Client(headers={"X-API-Key": token}).get("/api/sandboxes").status_code == 200


def test_a_key_is_made_and_shown_this_once(destroyer: Person):
    answer = made(destroyer, most_an_hour=7)
    [token] = set(TOKEN.findall(answer.content.decode()))
    assert opens(token)
    assert "no-store" in answer.headers["Cache-Control"]
    key = ApiKey.objects.get()
    assert (key.name, key.scopes, key.most_an_hour, key.created_by) == ("robot", ["launch", "read"], 7, destroyer.name)
    for page in (KEYS, f"{KEYS}{key.pk}/change/"):
        shown = destroyer.get(page).content.decode()
        assert f"key_{key.prefix}" in shown
        assert token not in shown


def test_it_is_in_the_log_and_the_key_is_not(destroyer: Person):
    token = TOKEN.search(made(destroyer).content.decode())[0]
    line = FleetEvent.objects.get(kind="key")
    assert (line.code, line.actor) == ("key_made", destroyer.name)
    assert line.message.endswith("made for launch, read: for the bot")
    assert token.split("_", 2)[2] not in f"{line.message} {line.data}"
    assert "robot" not in Client().get("/api/orchestrator/logs").content.decode(), "it is for operators alone"


def test_it_is_revoked_for_good(destroyer: Person):
    token = TOKEN.search(made(destroyer).content.decode())[0]
    destroyer.act(KEYS, "revoke", ApiKey.objects.get(), reason="leaked")
    assert not opens(token)
    again = destroyer.act(KEYS, "revoke", ApiKey.objects.get(), reason="leaked")
    assert "was revoked before" in again.content.decode()
    assert FleetEvent.objects.get(code="key_revoked").message.endswith("revoked: leaked")


def test_only_those_who_may_destroy_make_them(operator: Person, viewer: Person):
    for person in (operator, viewer):
        assert made(person).status_code == 403
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    "fields", [{"expires_at_0": "2001-01-01", "expires_at_1": "00:00"}, {"most_an_hour": "-1"}, {"scopes": ["all"]}]
)
def test_what_makes_no_sense_is_refused(destroyer: Person, fields: dict):
    answer = destroyer.post(f"{KEYS}add/", **({"name": "robot", "scopes": ["read"], "reason": "x"} | fields))
    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    assert not ApiKey.objects.exists()


def test_the_command_makes_lists_and_revokes_one(db, capsys):
    call_command("api_key", "make", "nightly", "--scope", "read", "--days", "30", "--most-usd-a-day", "1.50")
    token = capsys.readouterr().out.strip()
    assert opens(token)
    key = ApiKey.objects.get()
    assert timedelta(days=29) < key.expires_at - timezone.now() < timedelta(days=31)
    call_command("api_key", "list")
    told = capsys.readouterr().out
    assert key.prefix in told
    assert "good" in told
    assert token not in told
    call_command("api_key", "revoke", key.prefix)
    assert not opens(token)
    with pytest.raises(CommandError, match="was revoked before"):
        call_command("api_key", "revoke", key.prefix)
    with pytest.raises(CommandError, match="There is no key"):
        call_command("api_key", "revoke", "00000000")


@pytest.mark.parametrize(
    "limit",
    [
        "--most-usd-a-day=abc",
        "--most-usd-a-day=NaN",
        "--most-usd-a-day=1e20",
        "--most-at-once=99999999999",
        "--most-at-once=-1",
    ],
)
def test_the_command_takes_no_limit_that_is_none(db, limit: str):
    with pytest.raises(CommandError):
        call_command("api_key", "make", "nightly", limit)
    assert not ApiKey.objects.exists()


def test_what_a_key_launched_is_shown_as_the_keys(operator: Person):
    new_run(visitor="key:1a2b3c4d", labels={"team": "red"})
    shown = operator.get("/admin/runs/run/").content.decode()
    assert "key 1a2b3c4d" in shown
    assert "team:red" in shown
