"""A wrong variable is one line that names it, and tells no secrets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from orchestrator_site import environment as env

REDIS = ("redis", "rediss", "unix")


@pytest.mark.parametrize("value", ["redis://:secret@cache:6379/0", "unix:///run/redis.sock"])
def test_redis_is_reached_by_network_or_by_socket(monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("REDIS_URL", value)
    assert env.url("REDIS_URL", schemes=REDIS) == value


@pytest.mark.parametrize(
    "value",
    [
        "reds://:secret@cache/0",
        "redis://:secret@cache:port/0",
        "redis://:se/cret@[",
        "redis:",
        "redis:/cache?password=secret",
    ],
)
def test_a_wrong_address_is_shown_without_its_password(monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("REDIS_URL", value)
    with pytest.raises(ImproperlyConfigured, match=r"REDIS_URL is .*; it must be a URL") as refused:
        env.url("REDIS_URL", schemes=REDIS)
    assert "cret" not in str(refused.value)


@pytest.mark.parametrize(
    "value",
    [
        "postgres://u:pa/ss@host/name",
        "postgres://[",
        "postgres://host",
        "mysql://u:pa/@host/name",
        "sqlite:///pa/name",
        "pgsql://u:pa/@host/name",
    ],
)
def test_a_wrong_database_is_refused_without_a_word_of_its_password(monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("DATABASE_URL", value)
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL is not of the form") as refused:
        env.database("DATABASE_URL", {})
    assert "pa/" not in str(refused.value)


def test_a_database_is_what_its_address_says(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", "postgres://u:p%40ss@host:5433/name?sslmode=require")
    found = env.database("DATABASE_URL", {})
    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"]) == ("u", "p@ss", "host", "5433")
    assert found["OPTIONS"] == env.CONNECTING | {"sslmode": "require"}
    assert found["LIMITS"] == env.LIMITS


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("postgres://u@host/name", "host", ""),
        ("postgresql://u@[::1]:5433/name", "::1", "5433"),
        ("postgres:///name?host=/run/postgresql&port=5433", "/run/postgresql", "5433"),
        ("postgres://u@elsewhere:1/name?host=%2Frun%2Fpostgresql", "/run/postgresql", "1"),
        ("postgres://u@%2Frun%2Fpostgresql/name", "/run/postgresql", ""),
    ],
)
def test_a_database_is_reached_by_network_or_by_socket(
    monkeypatch: pytest.MonkeyPatch, address: str, host: str, port: str
):
    monkeypatch.setenv("DATABASE_URL", address)
    found = env.database("DATABASE_URL", {})
    assert (found["NAME"], found["HOST"], found["PORT"]) == ("name", host, port)
    assert found["OPTIONS"] == env.CONNECTING


def test_a_database_may_be_asked_to_wait_longer(monkeypatch: pytest.MonkeyPatch):
    """By libpq's and PostgreSQL's own names in the address, or in libpq's `options`, which are the last word."""
    monkeypatch.setenv(
        "DATABASE_URL",
        "postgres://u@host/name?connect_timeout=30&lock_timeout=1min&options=-c%20statement_timeout%3D5s",
    )
    found = env.database("DATABASE_URL", {})
    assert found["OPTIONS"] == env.CONNECTING | {"connect_timeout": 30, "options": "-c statement_timeout=5s"}
    expected = env.LIMITS | {"lock_timeout": "1min"}
    del expected["statement_timeout"]
    assert found["LIMITS"] == expected


def test_a_first_start_answers_to_its_public_name_and_keeps_its_folder_to_itself(tmp_path: Path):
    given = {
        "ORCHESTRATOR_VAR": str(tmp_path / "var"),
        "PUBLIC_URL": "https://arcade.example.com:8443",
        "ALLOWED_HOSTS": "",
    }
    ask = [sys.executable, "-c", "from orchestrator_site.settings import ALLOWED_HOSTS; print(*ALLOWED_HOSTS)"]
    told = subprocess.run(ask, env=os.environ | given, capture_output=True, text=True, check=True).stdout
    assert told.split() == ["127.0.0.1", "localhost", "[::1]", "arcade.example.com"]
    assert (tmp_path / "var").stat().st_mode & 0o077 == 0, "nobody else reads its tokens"


def keys_of(var: Path, **given: str) -> tuple[str, list[str]]:
    """SECRET_KEY and the former ones, as settings read them."""
    ask = [
        sys.executable,
        "-c",
        "import json; from orchestrator_site import settings as s; "
        "print(json.dumps([s.SECRET_KEY, s.SECRET_KEY_FALLBACKS]))",
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith("SECRET_KEY")}
    told = subprocess.run(
        ask, env=env | {"ORCHESTRATOR_VAR": str(var)} | given, capture_output=True, text=True, check=True
    ).stdout
    key, former = json.loads(told)
    return key, former


def test_a_line_break_at_the_end_of_the_kept_key_is_no_part_of_it(tmp_path: Path):
    """An editor adds one; every running sandbox refused us then, without a word."""
    (tmp_path / "secret_key").write_text("the kept key")
    assert keys_of(tmp_path) == ("the kept key", [])
    (tmp_path / "secret_key").write_text("the kept key\n")
    key, former = keys_of(tmp_path)
    assert key == "the kept key"
    assert former == ["the kept key\n"]  # sandboxes of older versions were made under that


def test_former_keys_come_from_the_environment_and_from_a_file(tmp_path: Path):
    (tmp_path / "secret_key_fallbacks").write_text("before\n\nlong-before\n")
    key, former = keys_of(tmp_path, SECRET_KEY=" the new key \n", SECRET_KEY_FALLBACKS="yesterday, last-year")
    assert key == "the new key"
    assert former == ["yesterday", "last-year", "before", "long-before"]
