"""All metrics of this machine in Prometheus' words: what its processes have counted, and what the database tells."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone
from prometheus_client import CollectorRegistry, Metric, generate_latest

import runs.metrics  # noqa: F401  they declare what is counted
from orchestrator_site.metrics import figures
from orchestrator_site.metrics.processes import families, totals
from pools import figures as fleet_figures
from pools.meters import FIGURES, Figure
from pools.shared import Shared
from runs import figures as run_figures

logger = logging.getLogger(__name__)

UP = Figure(
    "database_up",
    "1 when this answer's figures could be read from the database; else they are missing.",
    of_machine=True,
)


class _Collector:
    def collect(self) -> Iterator[Metric]:
        yield from families(totals(Path(settings.METRICS_DIR)))
        yield from _figures()


def _figures() -> Iterator[Metric]:
    """What the database tells; only that it does not, when it does not."""
    now = timezone.now()
    samples: defaultdict[str, list[tuple[tuple[str, ...], float]]] = defaultdict(list)
    try:
        for figure, value, labels in chain(fleet_figures.tell(now), run_figures.tell(now), figures.tell(now)):
            samples[figure.name].append((labels, float(value)))
        samples[UP.name].append(((), 1.0))
    except (DatabaseError, OSError) as error:
        logger.warning("The database's figures can't be told: %s", error)
        samples = defaultdict(list, {UP.name: [((), 0.0)]})
    for figure in FIGURES.values():
        family = Metric(figure.name, figure.text, figure.kind)
        for labels, value in samples[figure.name]:
            family.add_sample(figure.name, dict(zip(figure.labels, labels, strict=True)), value)
        yield family


def _text() -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector())
    return generate_latest(registry)


TEXT = Shared(_text)  # however many ask, it is made once a second
