"""`manage.py pool simulate`: what it is asked, and how it is printed."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from pools.models import Pool
from pools.replay.what_if import Launches, Row, WhatIf, conditions, history, what_if
from pools.sizing.arrivals import DAY_SECONDS, WINDOW_SECONDS, BadSeries, drawn, per_hour, read
from pools.sizing.rule import ASKED_SHARE
from pools.turn.observe import pool_facts

MOST_TARGETS = 40
MOST_TARGET = 1_000
MOST_DAYS = 366
DAYS = 14
USUAL_RATE = "60/h"
BAR_CHARACTERS = 25
HEAD = "target   at once   wait p50   wait p99   idle/launch   creates   USD/month"


def add_arguments(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("simulate")
    group.add_argument("--target", default="1..8", help="the targets to compare: 1..8, 3 or 2,4,8 (1..8)")
    group.add_argument("--trace", metavar="FILE", help="a series of launches instead of the pool's own: docs/sizing.md")
    group.add_argument(
        "--arrivals", metavar="RATE", help="launches drawn at random instead: 60/h; of a trace, its mean"
    )
    group.add_argument("--cv", type=float, help="how clumped they are drawn: 1 is at random, 2 clumped (1)")
    group.add_argument("--days", type=float, default=DAYS, help=f"how long, or how far back ({DAYS})")
    group.add_argument("--seed", type=int, default=0, help="of what is drawn at random (0)")
    group.add_argument("--max-total", type=int, help="as if MAX_TOTAL_SANDBOXES were that")
    group.add_argument("--idle-timeout", type=int, metavar="SECONDS", help="as if the pool's idle timeout were that")
    group.add_argument("--concurrent", type=int, metavar="CREATES", help="as if it might create that many at a time")
    group.add_argument("--json", action="store_true", help="print it for programs")


def simulate(pool: Pool, now: datetime, asked: dict[str, Any]) -> Iterator[str]:
    """The lines to print. Raises CommandError with a sentence when it can't be simulated."""
    targets = _targets(asked["target"])
    if not 0 < asked["days"] <= MOST_DAYS:
        raise CommandError(f"--days {asked['days']:g}: it is more than 0 and at most {MOST_DAYS}.")
    for name in ("max_total", "idle_timeout", "concurrent"):
        if asked[name] is not None and asked[name] < 1:
            raise CommandError(f"--{name.replace('_', '-')} {asked[name]}: it is at least 1.")
    came = _launches(pool, now, asked)
    facts = pool_facts(pool, now)
    facts = replace(
        facts,
        idle_timeout_seconds=asked["idle_timeout"] or facts.idle_timeout_seconds,
        max_concurrent_creates=asked["concurrent"] or facts.max_concurrent_creates,
    )
    met = conditions(pool, now, asked["max_total"] or settings.MAX_TOTAL_SANDBOXES)
    found = what_if(pool, facts, targets, came, met, seed=asked["seed"])
    yield from _for_programs(pool, found, asked["seed"]) if asked["json"] else _for_people(pool, found)


def _targets(text: str) -> list[int]:
    try:
        first, dots, last = text.partition("..")
        targets = list(range(int(first), int(last) + 1)) if dots else sorted({int(each) for each in text.split(",")})
    except ValueError:
        targets = []
    if not targets or len(targets) > MOST_TARGETS or min(targets) < 0 or max(targets) > MOST_TARGET:
        raise CommandError(f"--target {text}: write 1..8, 3 or 2,4,8, at most {MOST_TARGETS} of them.")
    return targets


def _launches(pool: Pool, now: datetime, asked: dict[str, Any]) -> Launches:
    try:
        if asked["trace"]:
            return _of_file(asked)
        if asked["arrivals"]:
            return _drawn(asked, (1.0,), "drawn")
    except BadSeries as error:
        raise CommandError(str(error)) from None
    if asked["cv"] is not None:
        raise CommandError("--cv is for launches that are drawn: say --arrivals 60/h, too.")
    own = history(pool, now, asked["days"])
    if own is None:
        when = f"in the last {asked['days']:g} days"
        raise CommandError(f"Nobody launched from pool {pool.name} {when}: say --arrivals 60/h, or --trace FILE.")
    return own


def _of_file(asked: dict[str, Any]) -> Launches:
    name = asked["trace"]
    try:
        with open(name, encoding="utf-8") as file:
            series = read(file)
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{name} can't be read: {error}.") from None
    if series.rates:
        days = min(asked["days"], len(series.rates) * WINDOW_SECONDS / DAY_SECONDS)
        return _drawn({**asked, "days": days}, series.rates, f"drawn by {name}")
    if asked["arrivals"] or asked["cv"] is not None:
        raise CommandError(f"{name} has moments, which are replayed as they are: leave --arrivals and --cv out.")
    moments = [moment for moment in series.moments if moment < asked["days"] * DAY_SECONDS]
    days = max(moments[-1] / DAY_SECONDS, 1 / 24)
    return Launches(moments, days, f"{len(moments)} launches of {name}, {days:.1f} days of them")


def _drawn(asked: dict[str, Any], rates: Sequence[float], how: str) -> Launches:
    an_hour, cv, days = (
        per_hour(asked["arrivals"] or USUAL_RATE),
        1.0 if asked["cv"] is None else asked["cv"],
        asked["days"],
    )
    moments = drawn(an_hour, cv, days, asked["seed"], rates)
    return Launches(moments, days, f"{len(moments)} launches {how}: {an_hour:g}/h, CV {cv:g}, {days:g} days")


def _for_people(pool: Pool, found: WhatIf) -> Iterator[str]:
    yield f"Pool {pool.name}, {found.launches.source}."
    yield HEAD
    for row in found.rows:
        yield _line(row)
    yield from found.limits
    if found.recommended is None:
        yield f"No target here serves {100 * ASKED_SHARE:g} % at once."
    else:
        yield f"Recommended: {found.recommended}, the smallest that serves {100 * ASKED_SHARE:g} % at once."


def _line(row: Row) -> str:
    name = "rule" if row.target is None else str(row.target)
    bar = "#" * round(row.outcome.hit_share * BAR_CHARACTERS)
    marks = " present" * row.is_present + " recommended" * row.is_recommended
    figures = (
        f"{row.wait_p50_seconds:7.0f} s  {row.wait_p99_seconds:7.0f} s  {row.outcome.idle_seconds_a_launch:10.0f} s"
    )
    costs = f"{row.outcome.creates:8}  {row.usd_a_month:10.2f}"
    return f"{name:>6}  {row.hit_percent:6.2f} %  {figures}  {costs}  {bar:<{BAR_CHARACTERS}}{marks}".rstrip()


def _for_programs(pool: Pool, found: WhatIf, seed: int) -> Iterator[str]:
    yield json.dumps(
        {
            "pool": pool.name,
            "source": found.launches.source,
            "days": round(found.launches.days, 3),
            "launches": len(found.launches.moments),
            "seed": seed,
            "asked_percent": 100 * ASKED_SHARE,
            "recommended": found.recommended,
            "limits": list(found.limits),
            "rows": [row.plain() for row in found.rows],
        },
        indent=2,
    )
