"""Traces of launches for a collector (OpenTelemetry), where OTEL_EXPORTER_OTLP_ENDPOINT names one.

Whatever is done for a run is one trace, whose id is the run's own: nothing has to be carried from one process to the
next, and who has a run's id has its trace. A run's trace begins with the launch. Without a collector nothing of
OpenTelemetry is loaded, and a span costs no more than the call.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Protocol, Self
from uuid import UUID

from django.conf import settings

logger = logging.getLogger(__name__)

HEADER = "traceparent"

_caller: ContextVar[str] = ContextVar("traceparent", default="")
_is_broken = False


class Span(Protocol):
    """A part of a trace, as long as its block runs. What leaves the block as an error is noted."""

    def note(self, **attributes: object) -> None:
        """Say more about it: what came of it, say."""

    def fail(self, why: str, **attributes: object) -> None:
        """It failed, without an error that would leave the block."""


class NoSpan:
    """Where there are no traces."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def note(self, **attributes: object) -> None:
        pass

    def fail(self, why: str, **attributes: object) -> None:
        pass


NO_SPAN = NoSpan()


def _otel() -> Any:
    """What makes the spans; None where there are no traces. What the SDK makes of its own variables may be an error,
    as it is loaded or as it begins: that is said once, and costs the traces alone."""
    global _is_broken  # noqa: PLW0603
    if not settings.TRACES_ARE_ON or _is_broken:
        return None
    try:
        from pools import otel

        otel.maker()
    except Exception as error:
        _is_broken = True
        logger.error("There are no traces, because of the OTEL_… variables: %s: %s", type(error).__name__, error)
        return None
    return otel


def span(name: str, **attributes: object) -> AbstractContextManager[Span]:
    """A part of what is being done here; else of the run that this is about (`pools.about`); else a trace of its own.
    It has the ids that are known here as attributes."""
    otel = _otel()
    return otel.span(name, attributes) if otel else NO_SPAN


def at_work() -> Span:
    """The innermost span here."""
    otel = _otel()
    return otel.at_work() if otel else NO_SPAN


def first_span(name: str, of: UUID, **attributes: object) -> AbstractContextManager[Span]:
    """A span of the first time in this process, for what happens over and over to one run."""
    otel = _otel()
    return otel.span(name, attributes) if otel and otel.is_first(name, of) else NO_SPAN


def launch(run_id: UUID) -> AbstractContextManager[Span]:
    """The beginning of a run's trace. The caller's trace, if it sent one along, has the request, with links to both."""
    otel = _otel()
    return otel.launch(run_id, _caller.get()) if otel else NO_SPAN


def note_first(name: str, of: UUID, since_ns: int) -> None:
    """A span that began then and ends now, the first time in this process."""
    otel = _otel()
    if otel and otel.is_first(name, of):
        otel.past_span(name, since_ns)


@contextmanager
def called_by(traceparent: str) -> Iterator[None]:
    """While a request is answered that came with this header (W3C Trace Context)."""
    token = _caller.set(traceparent)
    try:
        yield
    finally:
        _caller.reset(token)


def headers() -> dict[str, str]:
    """What a request has to carry that is made for the span at work here."""
    otel = _otel()
    return otel.headers() if otel else {}


def ids() -> dict[str, str]:
    """The trace and the span that are at work here, for the lines of a log."""
    if not settings.configured or not settings.TRACES_ARE_ON or _is_broken:
        return {}
    # Not made ready here: what is said of that is a line of a log, too.
    otel = sys.modules.get("pools.otel")
    return otel.ids() if otel else {}


def preload() -> None:
    """Load what the first span would load, for processes that are forked from this one."""
    if settings.TRACES_ARE_ON:
        with suppress(Exception):  # the first span tells of it
            from pools import otel  # noqa: F401


def begin() -> None:
    """Make ready for the first span, which would wait for it."""
    _otel()
