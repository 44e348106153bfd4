"""Launches to size a pool by: moments in seconds from a beginning, drawn at random or read from a file. Pure.

They are drawn as a gamma renewal process: independent gaps of mean 1 whose deviation is `cv` (the coefficient of
variation: 1 is Poisson, more is clumped), laid out along the integral of the rate.
"""

from __future__ import annotations

import csv
import math
import random
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

HOUR_SECONDS = 3600.0
DAY_SECONDS = 86400.0
WINDOW_SECONDS = 600.0  # of a series of rates
RATES = ["ten_minutes", "relative_rate"]  # its header
MOST_AN_HOUR = 10_000.0
MOST_CV = 20.0


class BadSeries(ValueError):
    """The series can't be used; `str(error)` is a sentence that says why."""


@dataclass(frozen=True, slots=True)
class Series:
    """What a file holds: relative rates of ten minutes each, or else moments in seconds."""

    rates: tuple[float, ...] = ()
    moments: tuple[float, ...] = ()


def per_hour(text: str) -> float:
    """The rate that "60/h" says. Raises BadSeries."""
    try:
        rate = float(text.removesuffix("/h"))
    except ValueError:
        rate = 0.0
    if not 0 < rate <= MOST_AN_HOUR:
        raise BadSeries(f"{text!r} is no rate of launches: write 60/h, up to {MOST_AN_HOUR:.0f}/h.")
    return rate


def drawn(an_hour: float, cv: float, days: float, seed: int, rates: Sequence[float] = (1.0,)) -> list[float]:
    """Draw the launches of so many days. `rates`: how the rate goes, ten minutes each, over and over; its mean is
    `an_hour`. Raises BadSeries."""
    if not 0 < cv <= MOST_CV:
        raise BadSeries(f"A CV of {cv:g} can't be drawn: it is more than 0 and at most {MOST_CV:g}.")
    if not days > 0:
        raise BadSeries(f"{days:g} days is no time: it is more than 0.")
    mean = sum(rates) / len(rates)
    if min(rates) < 0 or mean <= 0:
        raise BadSeries("The series has no launches: its rates are zero or less.")
    windows = max(1, round(days * DAY_SECONDS / WINDOW_SECONDS))
    scale = an_hour / HOUR_SECONDS * WINDOW_SECONDS / mean
    edges = list(accumulate((rates[n % len(rates)] * scale for n in range(windows)), initial=0.0))
    dice, shape, spread = random.Random(seed), 1 / cv**2, cv**2  # noqa: S311  not for secrets
    moments, due = [], dice.gammavariate(shape, spread) * dice.random()
    while due < edges[-1]:
        window = bisect_right(edges, due) - 1
        within = (due - edges[window]) / (edges[window + 1] - edges[window])
        moments.append((window + within) * WINDOW_SECONDS)
        due += dice.gammavariate(shape, spread)
    return moments


def read(lines: Iterable[str]) -> Series:
    """The series in a file: with the header `ten_minutes,relative_rate` rates, else a moment a line, as a date or in
    seconds. Raises BadSeries."""
    rows = [row for row in csv.reader(lines) if row and not row[0].startswith("#")]
    if not rows:
        raise BadSeries("The file is empty.")
    try:
        if rows[0] == RATES:
            return Series(rates=tuple(_number(rate) for _, rate in rows[1:]))
        moments = sorted(_seconds(row[0]) for row in rows)
    except ValueError as error:
        expected = f"a header {','.join(RATES)!r} with rates below it, or one moment a line"
        raise BadSeries(f"The file is no series of launches ({error}): it has {expected}.") from None
    return Series(moments=tuple(moment - moments[0] for moment in moments))


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number


def _seconds(text: str) -> float:
    try:
        return _number(text)
    except ValueError:
        return datetime.fromisoformat(text).timestamp()
