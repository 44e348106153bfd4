"""All metrics of this machine in Prometheus' words: what its processes have counted, and what the database tells."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from django.conf import settings
from django.db import Error, connections
from prometheus_client import CollectorRegistry, Metric, generate_latest

import runs.metrics  # noqa: F401  they declare what is counted
from orchestrator_site.metrics import figures
from orchestrator_site.metrics.processes import families, totals
from pools import clock
from pools import figures as fleet_figures
from pools.meters import FIGURES, Figure
from pools.shared import Shared
from runs import figures as run_figures

logger = logging.getLogger(__name__)

DEADLINE_SECONDS = 4.0  # Prometheus waits for ten

UP = Figure(
    "database_up",
    "1 when this answer's figures could be read from the database, in time; else some are missing.",
    of_machine=True,
)
TELLERS = (fleet_figures, run_figures, figures)

Samples = Mapping[str, Sequence[tuple[tuple[str, ...], float]]]


class Reading:
    """Reads the figures in a thread of its own, so that a database which hangs holds up nobody for longer than the
    deadline. While one reading hangs, no other begins."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read: Future[Samples] | None = None

    def get(self) -> Samples:
        with self._lock:
            if self._read is None or self._read.done():
                self._read = Future()
                threading.Thread(target=self._make, args=(self._read,), name="figures", daemon=True).start()
            read = self._read
        try:
            return read.result(DEADLINE_SECONDS)
        except TimeoutError:
            logger.warning("The database's figures can't be told: it takes too long.")
            return {UP.name: [((), 0.0)]}

    def _make(self, read: Future[Samples]) -> None:
        try:
            read.set_result(_samples())
        finally:
            connections.close_all()  # this thread's


def _samples() -> Samples:
    """What the database tells. Of those that tell, one that fails has nothing told."""
    now, is_whole = clock.now(), True
    samples: dict[str, list[tuple[tuple[str, ...], float]]] = {}
    for teller in TELLERS:
        try:
            for figure, value, labels in list(teller.tell(now)):
                samples.setdefault(figure.name, []).append((labels, float(value)))
        except (Error, OSError) as error:
            logger.warning("The database's figures can't be told: %s", error)
            return {UP.name: [((), 0.0)]}
        except Exception:
            logger.exception("The figures of %s can't be told.", teller.__name__)
            is_whole = False
    return {**samples, UP.name: [((), float(is_whole))]}


READING = Reading()


class _Collector:
    def collect(self) -> Iterator[Metric]:
        yield from families(totals(Path(settings.METRICS_DIR)))
        samples = READING.get()
        for figure in FIGURES.values():
            family = Metric(figure.name, figure.text, figure.kind)
            for labels, value in samples.get(figure.name, ()):
                family.add_sample(figure.name, dict(zip(figure.labels, labels, strict=True)), value)
            yield family


def _text() -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector())
    return generate_latest(registry)


TEXT = Shared(_text)  # however many ask, it is made once a second
