"""What is counted and timed in a process, and what the database tells of the fleet: how such figures are declared.

Only METRICS_PORT switches this on, and only in processes that serve or work (`begin`). Each writes into files of its
own, which outlive a `kill -9`; the command `metrics` reads them. Whoever counts must not fail over it, and a label has
the values that were declared, or `other`: no name of anybody's making becomes one.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import threading
from collections.abc import Collection, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from django.conf import settings

from pools import clock

logger = logging.getLogger(__name__)

PREFIX = "arcade_"
OTHER = "other"
WARN_AGAIN_SECONDS = 60.0
REST_SECONDS = 10.0  # after a failure: on a full disk each count would try again to make its files
# The files of a process, with room for many more series than there are. Whole from the start: to write to a page that
# has no place on the disk would end the process when that is full.
FILE_BYTES = {"counter": 128 * 1024, "histogram": 256 * 1024, "gauge_livesum": 16 * 1024}
LIVE = "live_"

QUICK_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
LAUNCH_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300)
LONG_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)

METERS: dict[str, Meter] = {}
FIGURES: dict[str, Figure] = {}
_counts = False
_making = threading.RLock()
_warned_at_seconds = -WARN_AGAIN_SECONDS
_rests_until_seconds = 0.0


def begin() -> None:
    """Count from now on, in this process and those that are forked from it."""
    global _counts  # noqa: PLW0603
    _counts = bool(settings.METRICS_PORT)


def _is_counting() -> bool:
    return _counts and (not _rests_until_seconds or clock.monotonic() >= _rests_until_seconds)


class Figure:
    """One that is read when it is asked for: from the database, and so the same from every machine, or `of_machine`."""

    kind = "gauge"

    def __init__(self, name: str, text: str, *labels: str, of_machine: bool = False) -> None:
        self.name, self.labels = PREFIX + name, labels
        self.text = f"{text} Of this machine." if of_machine else f"{text} The same from every machine."
        FIGURES[self.name] = self


class Meter:
    """One that this process counts. `labels`: each with all the values that it has."""

    kind = ""

    def __init__(self, name: str, text: str, **labels: Collection[str]) -> None:
        self.name, self.text = PREFIX + name, text
        self.labels: Mapping[str, Collection[str]] = {label: tuple(map(str, known)) for label, known in labels.items()}
        self._children: dict[tuple[str, ...], Any] = {}
        self._parent: Any = None
        METERS[self.name] = self

    def _child(self, values: tuple[str, ...]) -> Any:
        child = self._children.get(values)
        return child if child is not None else self._make(values)

    def _make(self, values: tuple[str, ...]) -> Any:
        with _making:
            if self._parent is None:
                self._parent = self._declare()
            known = self._known(values)
            child = self._parent.labels(*known) if known else self._parent
            if OTHER not in known:  # else what is kept here would grow
                self._children[values] = child
            return child

    def _known(self, values: tuple[str, ...]) -> tuple[str, ...]:
        pairs = zip(self.labels, values, strict=True)
        return tuple(value if value in self.labels[label] else OTHER for label, value in pairs)

    def _declare(self) -> Any:
        raise NotImplementedError

    def forget(self) -> None:
        """In a fork, which has its own files."""
        self._children, self._parent = {}, None


class Counter(Meter):
    kind = "counter"

    def add(self, *values: str, by: float = 1) -> None:
        if _is_counting():
            try:
                self._child(values).inc(by)
            except Exception as error:
                _rest(error)

    def _declare(self) -> Any:
        return _library().Counter(self.name, self.text, list(self.labels), registry=None)


class Histogram(Meter):
    kind = "histogram"

    def __init__(self, name: str, text: str, buckets: Collection[float], **labels: Collection[str]) -> None:
        super().__init__(name, text, **labels)
        self.buckets = tuple(buckets)

    def note(self, amount: float, *values: str) -> None:
        if _is_counting():
            try:
                self._child(values).observe(max(0.0, amount))
            except Exception as error:
                _rest(error)

    def _declare(self) -> Any:
        return _library().Histogram(self.name, self.text, list(self.labels), registry=None, buckets=self.buckets)


class Gauge(Meter):
    """What there is now, of all processes that live."""

    kind = "gauge"

    def __init__(self, name: str, text: str, **labels: Collection[str]) -> None:
        super().__init__(name, text, **labels)
        self._now: dict[tuple[str, ...], float] = {}

    def change(self, by: float, *values: str) -> None:
        if not _counts:
            return
        with _making:
            known = self._known(values)
            self._now[known] = self._now.get(known, 0.0) + by
            if _is_counting():  # what could not be told now is told with the next change
                try:
                    self._child(known).set(self._now[known])
                except Exception as error:
                    _rest(error)

    def _declare(self) -> Any:
        names = list(self.labels)
        return _library().Gauge(self.name, self.text, names, registry=None, multiprocess_mode="livesum")

    def forget(self) -> None:
        super().forget()
        self._now = {}


def _rest(error: Exception) -> None:
    """What is counted is never worth what is done."""
    global _warned_at_seconds, _rests_until_seconds  # noqa: PLW0603
    now = clock.monotonic()
    _rests_until_seconds = now + REST_SECONDS
    if now - _warned_at_seconds >= WARN_AGAIN_SECONDS:
        _warned_at_seconds = now
        logger.warning("Not everything is counted for the metrics: %s: %s", type(error).__name__, error)


class _Identity:
    """The name of this process's files, made anew after a fork. While it lives it holds a lock, which no child of its
    inherits and no `kill -9` leaves behind: by that it is known, whatever its process id is in which container."""

    def __init__(self) -> None:
        self.pid, self.name, self._lock = 0, "", -1

    def __call__(self) -> str:
        if self.pid != os.getpid():
            self._begin()
        return self.name

    def _begin(self) -> None:
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        folder = Path(settings.METRICS_DIR)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = folder / f"new_{name}"
        lock = os.open(new, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            new.rename(folder / f"{LIVE}{name}")  # locked already when it is first seen
            for prefix, size in FILE_BYTES.items():
                (folder / f"{prefix}_{name}.db").write_bytes(bytes(size))
        except BaseException:
            os.close(lock)
            for path in folder.glob(f"*_{name}*"):
                path.unlink(missing_ok=True)
            raise
        self.pid, self.name, self._lock = os.getpid(), name, lock

    def forget(self) -> None:
        """In a fork."""
        self.pid = 0


identity = _Identity()


def _begin_anew() -> None:
    """In a fork: a lock may be held by a thread that is not there, the library's own, too."""
    global _making  # noqa: PLW0603
    _making = threading.RLock()
    identity.forget()
    for meter in METERS.values():
        meter.forget()


os.register_at_fork(after_in_child=_begin_anew)


def _library() -> Any:
    """prometheus_client, whose values are kept in this process's files."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(settings.METRICS_DIR)
    import prometheus_client

    values: Any = import_module("prometheus_client.values")  # it has no types

    if not identity.pid:
        identity()
        values.ValueClass = values.MultiProcessValue(process_identifier=identity)
    return prometheus_client
