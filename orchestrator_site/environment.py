"""Typed reading of environment variables: a wrong value ends the start with a line a person can act on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")
SWITCHES = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}
HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9])?")
DEFAULT_PORTS = {"http": 80, "https": 443}
PASSWORD = re.compile(r"(?<=//).*(?=@)|(?<=\?).*")  # in a URL, with the name before it, or behind its path


@dataclass(frozen=True, slots=True)
class Variable:
    """What a variable is when nobody sets it, and what it may be: docs/configuration.md has both."""

    default: object
    accepts: str


_known: dict[str, Variable] = {}
_lent: dict[str, str] = {}


def lend(variables: Mapping[str, str]) -> None:
    """Have those count that this process's own environment does not set: of the installation that a command is for."""
    _lent.update(variables)


def known() -> Mapping[str, Variable]:
    """The variables that the settings have asked for, by name; a file of each can be named by NAME_FILE."""
    return MappingProxyType(_known)


def as_given(name: str) -> tuple[str, str]:
    """The variable, and the path of its file; empty where it is not set."""
    names = (name, f"{name}_FILE")
    source = os.environ if any(each in os.environ for each in names) else _lent
    value, path = (source.get(each, "").strip() for each in names)
    return value, path


def given(name: str, default: object, accepts: str) -> str:
    """What the variable says, or the file that NAME_FILE names: secrets come as files where platforms keep them."""
    _known[name] = Variable(default, accepts)
    value, path = as_given(name)
    if not path:
        return value
    if value:
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set; set one of them.")
    try:
        content = Path(path).read_text().strip()  # as of a variable
    except OSError as error:
        raise ImproperlyConfigured(f"{name}_FILE is {path!r}, which can't be read ({error.strerror}).") from None
    except ValueError:
        raise ImproperlyConfigured(f"{name}_FILE is {path!r}, which is not text.") from None
    if not content:  # a secret that was not filled in must not become a default
        raise ImproperlyConfigured(f"{name}_FILE is {path!r}, which is empty.")
    return content


def _read(name: str, default: T, parse: Callable[[str], T], allowed: str) -> T:
    raw = given(name, default, allowed)
    if not raw:
        return default
    try:
        return parse(raw)
    except (ValueError, KeyError):
        shown = PASSWORD.sub("…", raw)
        raise ImproperlyConfigured(f"{name} is {shown!r}; it must be {allowed}.") from None


def text(name: str, default: str = "", *, pattern: str = "", allowed: str = "") -> str:
    def parse(raw: str) -> str:
        if pattern and not re.fullmatch(pattern, raw):
            raise ValueError
        return raw

    return _read(name, default, parse, allowed or (f"text that matches {pattern}" if pattern else "text"))


def choice(name: str, default: str, options: Collection[str]) -> str:
    def parse(raw: str) -> str:
        if raw not in options:
            raise ValueError
        return raw

    return _read(name, default, parse, "one of " + ", ".join(sorted(options)))


def number(name: str, default: int, *, least: int = 0, most: int = 1_000_000) -> int:
    def parse(raw: str) -> int:
        value = int(raw)
        if not least <= value <= most:
            raise ValueError
        return value

    return _read(name, default, parse, f"a whole number from {least} to {most}")


def decimal(name: str, default: float, *, least: float, most: float) -> float:
    def parse(raw: str) -> float:
        value = float(raw)
        if not least <= value <= most:
            raise ValueError
        return value

    return _read(name, default, parse, f"a number from {least:.12g} to {most:.12g}")


def switch(name: str, default: bool) -> bool:
    return _read(name, default, lambda raw: SWITCHES[raw.lower()], "true or false")


def refuse(name: str, instead: str, *, unless: Collection[str] = ()) -> None:
    """End the start over a variable that does nothing here, with a sentence that says what to do instead. `unless` it
    has a value that asks for what is so anyway."""
    raw = given(name, "", "false" if unless else "nothing")
    if raw and raw.lower() not in unless:
        raise ImproperlyConfigured(f"{name} is {raw!r}, which nothing here goes by. {instead}")


OFF = [word for word, is_on in SWITCHES.items() if not is_on]


def words(name: str, default: list[str]) -> list[str]:
    return _read(name, default, lambda raw: [word.strip() for word in raw.split(",") if word.strip()], "a list")


def url(name: str, default: str = "", schemes: Collection[str] = ("http", "https")) -> str:
    def parse(raw: str) -> str:
        parts = urlsplit(raw)
        if parts.scheme not in schemes or not (parts.netloc or parts.scheme == "unix") or parts.port == 0:
            raise ValueError
        return raw.rstrip("/")

    return _read(name, default, parse, "a URL that starts with " + " or ".join(f"{s}://" for s in schemes))


def _as_origin(raw: str, *, wildcard: bool = False) -> str:
    parts = urlsplit(raw)
    host = (parts.hostname or "").lower()
    name_of_it = host.removeprefix("*.") if wildcard else host
    is_address = ":" in name_of_it and IPv6Address(name_of_it)
    if parts.scheme not in ("http", "https") or not (is_address or HOST_NAME.fullmatch(name_of_it)):
        raise ValueError
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None or parts.port == 0:
        raise ValueError
    port = "" if parts.port in (None, DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{f'[{host}]' if is_address else host}{port}"


def origin(name: str, default: str = "", *, wildcard: bool = False) -> str:
    """Scheme, host and port of an address without a path: the port only where it is not the scheme's own. With
    `wildcard`, the host may begin with `*.`, for any name below."""
    allowed = "an address without a path, like https://arcade.example.com"
    return _read(name, default, lambda raw: _as_origin(raw, wildcard=wildcard), allowed)


def origins(name: str) -> list[str]:
    """Several of them, none by default; each as browsers write it."""

    def parse(raw: str) -> list[str]:
        return [_as_origin(word.strip()) for word in raw.split(",") if word.strip()]

    return _read(name, [], parse, "a list of addresses without a path, like https://demo.example.com")


# A server that does not answer is an error soon, and not a thread that waits for minutes; one that can't be written to
# is none of ours (libpq's own words).
CONNECTING = {
    "connect_timeout": "10",
    "tcp_user_timeout": "10000",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "target_session_attrs": "read-write",
}
# A process that stops in the middle of a transaction loses it before those that wait for its locks give up
# (PostgreSQL's own words).
LIMITS = {
    "idle_in_transaction_session_timeout": "6s",
    "lock_timeout": "9s",
    "statement_timeout": "30s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


def database(name: str, default: dict[str, object]) -> dict[str, object]:
    """A Django database setting from a variable; `default` when it is empty."""
    raw = given(name, "", "an address that starts with postgres://")
    return database_at(raw, name) if raw else default


def database_at(address: str, name: str) -> dict[str, object]:
    """A Django database setting from `postgres://user:password@host:port/name`; errors call it `name`.

    What is in CONNECTING and LIMITS may be set in the address: `?lock_timeout=20s&connect_timeout=3`.
    """
    try:
        scheme, found = urlsplit(address).scheme, dj_database_url.parse(address)
    except ValueError:
        scheme, found = "", {}
    database_name = found.get("NAME", "").strip("/")
    if scheme not in ("postgres", "postgresql") or not database_name:
        # The value holds a password, so it is not repeated here.
        raise ImproperlyConfigured(
            f"{name} is not of the form postgres://user:password@host:5432/name (in the password, write %2F for a "
            "slash, %40 for an @, and so on)."
        )
    options = CONNECTING | found.get("OPTIONS", {})
    in_options = str(options.get("options", ""))  # `-c lock_timeout=20s`, libpq's way to say it
    limits = {
        limit: str(options.pop(limit, usual))
        for limit, usual in LIMITS.items()
        if not re.search(rf"\b{limit}\s*=", in_options)
    }
    # `?host=/run/postgresql` is libpq's way to name a folder of sockets; it wins over what stands before the name.
    place = {key: str(options.pop(key.lower(), found.get(key))) for key in ("HOST", "PORT")}
    engine = "orchestrator_site.postgresql"
    return {**found, **place, "ENGINE": engine, "NAME": database_name, "OPTIONS": options, "LIMITS": limits}
