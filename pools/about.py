"""What is being worked on: bound where work begins, and told by every line of a log and every span of a trace below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

NAMES = ("run", "sandbox", "app", "pool", "client")

_known: ContextVar[Mapping[str, str]] = ContextVar("about", default=MappingProxyType({}))


def known() -> Mapping[str, str]:
    """The ids of what is worked on here, by the names in NAMES."""
    return _known.get()


@contextmanager
def about(**ids: object) -> Iterator[None]:
    """While the block runs, what is done is about these, of NAMES; empty ones say nothing."""
    token = _known.set({**_known.get(), **{name: str(value) for name, value in ids.items() if value}})
    try:
        yield
    finally:
        _known.reset(token)
