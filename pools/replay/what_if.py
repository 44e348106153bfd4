"""What if a pool had another target: the same launches replayed with each, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import fmean
from typing import Any

from django.conf import settings

from pools.models import OnEmpty, Origin, Pool, Sandbox
from pools.occupants import launches
from pools.prices import shown_usd, usd_per_second
from pools.replay.one_pool import Conditions, Outcome, Simulation, Target
from pools.sizes import DEFAULT_CREATE_SECONDS, create_seconds
from pools.sizing.arrivals import DAY_SECONDS
from pools.sizing.rule import ASKED_SHARE, Need, moved
from pools.turn.facts import PoolFacts

MONTH_DAYS = 30
RUNS_LOOKED_AT = 200
LAUNCHES_LOOKED_AT = 200_000


@dataclass(frozen=True, slots=True)
class Launches:
    """Launches to replay: moments in seconds from a beginning, over so many days. `source` says whose they are."""

    moments: Sequence[float]
    days: float
    source: str


@dataclass(frozen=True, slots=True)
class Row:
    """One target, and what came of it. `target` None is the rule's: it moves."""

    target: int | None
    outcome: Outcome
    usd_a_month: Decimal
    is_present: bool = False
    is_recommended: bool = False

    @property
    def hit_percent(self) -> float:
        return 100 * self.outcome.hit_share

    @property
    def wait_p50_seconds(self) -> float:
        return self.outcome.wait_seconds(0.5)

    @property
    def wait_p99_seconds(self) -> float:
        return self.outcome.wait_seconds(0.99)

    def plain(self) -> dict[str, Any]:
        """As plain values, for programs."""
        return {
            "target": self.target,
            "hit_percent": round(self.hit_percent, 3),
            "wait_p50_seconds": round(self.wait_p50_seconds, 1),
            "wait_p99_seconds": round(self.wait_p99_seconds, 1),
            "idle_seconds_a_launch": round(self.outcome.idle_seconds_a_launch, 1),
            "creates": self.outcome.creates,
            "usd_a_month": shown_usd(self.usd_a_month),
            "is_present": self.is_present,
            "is_recommended": self.is_recommended,
        }


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The rows, one a target and the rule's last. `limits` are sentences about what held all of them back."""

    launches: Launches
    rows: Sequence[Row]
    limits: Sequence[str]

    @property
    def recommended(self) -> int | None:
        """The smallest of the targets that serves the asked share at once; None when none does."""
        return next((row.target for row in self.rows if row.is_recommended), None)


def _in_words(days: float) -> str:
    if days >= 1:
        return f"{days:.1f} days"
    return f"{24 * days:.1f} hours" if days >= 1 / 24 else "less than an hour"


def history(pool: Pool, now: datetime, days: float, most: int = LAUNCHES_LOOKED_AT) -> Launches | None:
    """The pool's own launches of the last days, as far back as there are any, and the newest `most`; None when there
    are none."""
    moments = launches(pool.runtime, now - timedelta(days=days), most)
    if not moments:
        return None
    covered = (now - moments[0]).total_seconds() / DAY_SECONDS
    source = f"the pool's own {len(moments)} launches, of {_in_words(covered)}"
    return Launches([(moment - moments[0]).total_seconds() for moment in moments], max(covered, 1 / 24), source)


def conditions(pool: Pool, now: datetime, max_total: int) -> Conditions:
    """How long the pool's sandboxes took to make, and were used for, as far as that was measured."""
    used = Sandbox.objects.filter(
        pool=pool, origin=Origin.POOL, acquired_at__isnull=False, delete_requested_at__isnull=False
    )
    runs = used.order_by("-delete_requested_at").values_list("acquired_at", "delete_requested_at")[:RUNS_LOOKED_AT]
    return Conditions(
        create_seconds=create_seconds(pool, now - timedelta(days=7), now) or [DEFAULT_CREATE_SECONDS],
        run_seconds=[(end - begin).total_seconds() for begin, end in runs if begin and end]
        or [settings.SANDBOX_MIN_LIFETIME_MINUTES * 60.0],
        max_total=max_total,
        on_empty=OnEmpty(pool.on_empty),
    )


def what_if(
    pool: Pool, facts: PoolFacts, targets: Sequence[int], came: Launches, met: Conditions, *, seed: int = 0
) -> WhatIf:
    """Replay the launches with each target, and with the rule's. `max_ready` goes along, and holds none back."""
    roomy = replace(
        facts, max_ready=met.max_total, last_acquired_at=None, recycle_before=None, outcomes=(), last_shrunk_at=None
    )

    def row(target_ready: int, target: Target | None = None) -> Row:
        pool_then = replace(roomy, target_ready=target_ready)
        outcome = Simulation(pool_then, came.moments, met, days=came.days, seed=seed, target=target).run()
        seconds = outcome.billed_seconds * MONTH_DAYS / came.days
        return Row(None if target else target_ready, outcome, usd_per_second(pool.size) * Decimal(seconds))

    found = [row(target) for target in targets]
    best = next((each.target for each in found if each.outcome.hit_share >= ASKED_SHARE), None)
    rows = [
        replace(each, is_present=each.target == pool.target_ready, is_recommended=each.target == best) for each in found
    ]
    bounds = {"least": facts.min_ready, "most": met.max_total, "step": pool.autopilot_step}
    follow = following(fmean(met.create_seconds), came.moments, **bounds)
    rows.append(row(facts.min_ready, follow))
    return WhatIf(came, rows, list(_limits(rows, met, facts)))


def following(takes: float, moments: Sequence[float], *, least: int, most: int, step: int = 1_000) -> Target:
    """The rule's target at each moment, learned as the launches come."""
    need, place = Need(takes), 0

    def target(now: float, present: int) -> int:
        nonlocal place
        while place < len(moments) and moments[place] <= now:
            need.launch(moments[place])
            place += 1
        return moved(present, need.target(now), least=least, most=most, step=step)

    return target


def _limits(rows: Sequence[Row], met: Conditions, facts: PoolFacts) -> list[str]:
    told = []
    if any(row.outcome.lacked_places for row in rows):
        told.append(f"MAX_TOTAL_SANDBOXES ({met.max_total}) left no place for some that were wanted.")
    if any(row.outcome.lacked_creates for row in rows):
        told.append(f"Max concurrent creates ({facts.max_concurrent_creates}) held some creates back.")
    return told
