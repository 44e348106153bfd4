"""Each variable may be given as NAME_FILE instead: a file whose content is the value."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from orchestrator_site import environment as env


def given_by_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: str) -> Path:
    file = tmp_path / name.lower()
    file.write_text(content)
    monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(f"{name}_FILE", str(file))
    return file


@pytest.mark.parametrize("content", ["a key\n", "a key \n\n", "a key\r\n", "\t a key"])
def test_a_file_gives_the_value_without_blanks_around_it_as_a_variable_does(monkeypatch, tmp_path, content: str):
    given_by_file(monkeypatch, tmp_path, "SECRET_KEY", content)
    assert env.text("SECRET_KEY") == "a key"


def test_every_kind_of_setting_may_come_from_a_file(monkeypatch, tmp_path):
    for name, content in {
        "PORT": "8001\n",
        "DEBUG": "yes\n",
        "AVAILABLE_GAMES": "snake,chess\n",
        "REDIS_URL": "rediss://:secret@cache:6379/0\n",
        "PUBLIC_URL": "https://arcade.example.com\n",
        "BLAST_RADIUS_SHARE": "0.25\n",
        "LOG_LEVEL": "ERROR\n",
        "DATABASE_URL": "postgres://u:secret@host/name\n",
        "REBUILD_SNAPSHOTS": "true\n",
    }.items():
        given_by_file(monkeypatch, tmp_path, name, content)
    assert env.number("PORT", 8000) == 8001
    assert env.switch("DEBUG", False) is True
    assert env.words("AVAILABLE_GAMES", []) == ["snake", "chess"]
    assert env.url("REDIS_URL", schemes=("rediss",)) == "rediss://:secret@cache:6379/0"
    assert env.origin("PUBLIC_URL") == "https://arcade.example.com"
    assert env.decimal("BLAST_RADIUS_SHARE", 0.5, least=0, most=1) == 0.25
    assert env.choice("LOG_LEVEL", "INFO", ["INFO", "ERROR"]) == "ERROR"
    assert env.database("DATABASE_URL", {})["PASSWORD"] == "secret"
    with pytest.raises(ImproperlyConfigured, match="REBUILD_SNAPSHOTS"):
        env.refuse("REBUILD_SNAPSHOTS", "Do something else.")


def test_a_variable_is_not_set_twice(monkeypatch, tmp_path):
    given_by_file(monkeypatch, tmp_path, "SECRET_KEY", "one")
    monkeypatch.setenv("SECRET_KEY", "another")
    with pytest.raises(ImproperlyConfigured, match=r"^SECRET_KEY and SECRET_KEY_FILE are both set; set one of them\.$"):
        env.text("SECRET_KEY")


def test_an_empty_variable_beside_its_file_is_not_set(monkeypatch, tmp_path):
    given_by_file(monkeypatch, tmp_path, "SECRET_KEY", "one")
    monkeypatch.setenv("SECRET_KEY", "")
    assert env.text("SECRET_KEY") == "one"


@pytest.mark.parametrize("content", [None, b"", b" \r\n\t", b"\xff\xfe"], ids=["missing", "empty", "blank", "not text"])
def test_a_file_that_gives_nothing_is_refused_in_one_line(monkeypatch, tmp_path, content):
    """A database's password that was not filled in must not start on SQLite."""
    file = given_by_file(monkeypatch, tmp_path, "DATABASE_URL", "")
    file.write_bytes(content) if content is not None else file.unlink()
    with pytest.raises(ImproperlyConfigured, match=rf"^DATABASE_URL_FILE is '{file}', which .*\.$") as refused:
        env.database("DATABASE_URL", {"ENGINE": "sqlite"})
    assert "\n" not in str(refused.value)


def test_a_wrong_secret_in_a_file_is_shown_without_its_password(monkeypatch, tmp_path):
    given_by_file(monkeypatch, tmp_path, "REDIS_URL", "reds://:secret@cache/0\n")
    with pytest.raises(ImproperlyConfigured, match="REDIS_URL is") as refused:
        env.url("REDIS_URL", schemes=("redis",))
    assert "secret" not in str(refused.value)
