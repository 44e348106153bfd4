"""What the metrics tell of the fleet, read from the database when somebody asks: the same from every machine.

Each figure is counted where the pages and the API have it from.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.db.models import Count, Min

from pools import clock
from pools.alarm_rows import AlarmCode, RaisedAlarm
from pools.breaker import Breaker
from pools.census import Census, census
from pools.cloud.budget import Share
from pools.console.fleet_page import picture
from pools.demand import Demand, demand
from pools.meters import Figure
from pools.models import CloudApp, Fleet, Pool, Sandbox, State
from pools.outcomes import breaker_of
from pools.prices import usd_per_hour
from pools.shared import sparingly
from pools.shared_budget import seen
from pools.spending import spent_usd
from pools.turn.plan_pool import wanted_of
from pools.turn.verdict import Verdict

NO_POOL = "(none)"  # no pool can have this name
STATES = ("requested", "creating", "staging", "ready", "unseen", "in_use", "deleting")
BREAKER_STATES = ("closed", "half_open", "open")

SANDBOXES = Figure(
    "pool_sandboxes", "Sandboxes of a pool by state; unseen are ready ones not known to be well.", "pool", "state"
)
DESIRED = Figure(
    "pool_desired", "Ready sandboxes that a pool wants now, for its target and the launches that wait.", "pool"
)
ELIGIBLE = Figure(
    "pool_eligible", "Ready sandboxes of a pool that a launch gets at once: those known to be well.", "pool"
)
FAILED = Figure("pool_failed_creates", "Failed creates that the breaker counts against a pool's runtime now.", "pool")
BREAKER = Figure("pool_breaker", "1 for the state that the breaker of a pool's runtime is in.", "pool", "state")
EXISTING = Figure("sandboxes", "Places taken: by sandboxes, by orphans, and by another installation's apps.")
LIMIT = Figure("sandboxes_limit", "How many there may be: MAX_TOTAL_SANDBOXES.")
ORPHANS = Figure("orphans", "Apps of ours that we have no record of.")
OLDEST_ORPHAN = Figure("oldest_orphan_age_seconds", "For how long the oldest orphan has been known; 0 without any.")
OLDEST_DELETION = Figure("oldest_deletion_age_seconds", "For how long the oldest deletion has been due; 0 without any.")
VERDICTS = Figure("fleet_rows", "Rows of the fleet's page by verdict: drift is what is not in step.", "verdict")
STOPPED = Figure("deletions_stopped", "1 while deletions wait for an operator.")
FAILING = Figure("deletions_failing_seconds", "For how long no deletion was accepted; 0 when all is well.")
REFUSED = Figure("token_refused", "1 while DigitalOcean refuses the token.")
MAINTENANCE = Figure("maintenance", "1 while an operator lets nobody launch.")
LISTING_AGE = Figure("listing_age_seconds", "How old the last complete listing is; +Inf before the first.")
TURN_AGE = Figure("turn_age_seconds", "How long ago the last turn ended well; +Inf before the first.")
ALARMS = Figure(
    "alarm_raised", "1 for each alarm that webhooks and e-mails were told of, and that is not over.", "code"
)
BUDGET_LEFT = Figure("cloud_budget_left", "Requests that the hour has left for a kind of them.", "share")
SPENT = Figure("spent_usd", "What sandboxes have cost in the last 30 days, an estimate.")
BUDGET = Figure("budget_usd", "The most that they may cost in 30 days: MONTHLY_BUDGET_USD; 0 for no limit.")
HOURLY = Figure("cost_usd_per_hour", "What the sandboxes cost an hour, in use or idle, and orphans.", "use")

Told = tuple[Figure, float, tuple[str, ...]]


class Standing(NamedTuple):
    """What one reading found."""

    now: datetime
    census: Census
    demand: Demand
    breakers: dict[str, Breaker]
    orphans: int
    orphan_since: datetime | None
    deletion_since: datetime | None
    alarms: Sequence[str]


def read(now: datetime) -> Standing:
    found = census()
    orphans = (
        CloudApp.objects.filter(orphan_since__isnull=False).order_by().aggregate(n=Count("*"), at=Min("orphan_since"))
    )
    deleting = Sandbox.objects.filter(state=State.DELETING).order_by().aggregate(at=Min("delete_requested_at"))
    return Standing(
        now=now,
        census=found,
        demand=demand(now),
        breakers={pool.runtime: breaker_of(pool.runtime, now) for pool in found.pools},
        orphans=orphans["n"],
        orphan_since=orphans["at"],
        deletion_since=deleting["at"],
        alarms=list(RaisedAlarm.objects.values_list("code", flat=True)),
    )


def tell(now: datetime) -> Iterator[Told]:
    """All of the fleet's figures."""
    standing = read(now)
    for pool in standing.census.pools:
        yield from _of_pool(pool, standing)
    in_pools = sum(standing.census.of_pool.values(), Counter[str]())
    yield from _of_states(NO_POOL, Counter({state: standing.census.all[state] - in_pools[state] for state in STATES}))
    yield from _of_fleet(standing.census.fleet, standing)
    for use, usd in HOURLY_BY_USE().items():
        yield HOURLY, usd, (use,)
    yield SPENT, SPENT_BY_NOW(), ()
    yield BUDGET, settings.MONTHLY_BUDGET_USD, ()
    verdicts = VERDICT_COUNTS()
    for verdict in Verdict:
        yield VERDICTS, verdicts[verdict], (verdict.replace(" ", "_"),)


def _of_pool(pool: Pool, standing: Standing) -> Iterator[Told]:
    counts = standing.census.of_pool[pool.pk]
    yield from _of_states(pool.name, counts)
    yield (
        DESIRED,
        wanted_of(pool, standing.demand.waiting.get(pool.runtime, 0), is_wanted=pool.wanted(standing.now)),
        (pool.name,),
    )
    yield ELIGIBLE, counts[State.READY], (pool.name,)
    breaker = standing.breakers[pool.runtime]
    yield FAILED, breaker.failures, (pool.name,)
    now_in = "open" if breaker.is_open else "half_open" if breaker.is_probing else "closed"
    for state in BREAKER_STATES:
        yield BREAKER, state == now_in, (pool.name, state)


def _of_states(pool: str, counts: Counter[str]) -> Iterator[Told]:
    for state in STATES:
        yield SANDBOXES, counts[state], (pool, state)


def _of_fleet(fleet: Fleet, standing: Standing) -> Iterator[Told]:
    def age(since: datetime | None, without: float = 0.0) -> float:
        return without if since is None else max(0.0, (standing.now - since).total_seconds())

    places = standing.census.places
    yield EXISTING, places.taken, ()
    yield LIMIT, places.most, ()
    yield ORPHANS, standing.orphans, ()
    yield OLDEST_ORPHAN, age(standing.orphan_since), ()
    yield OLDEST_DELETION, age(standing.deletion_since), ()
    yield STOPPED, fleet.stopped_at is not None, ()
    yield FAILING, age(fleet.deletes_failing_since), ()
    yield REFUSED, fleet.token_refused_at is not None, ()
    yield MAINTENANCE, fleet.maintenance, ()
    yield LISTING_AGE, age(fleet.listed_at, math.inf), ()
    yield TURN_AGE, age(fleet.turned_at, math.inf), ()
    for code in AlarmCode:
        yield ALARMS, code in standing.alarms, (code,)
    budget = seen(fleet)
    for share in Share:
        yield BUDGET_LEFT, budget.hour_left(share), (share.name.lower(),)


def _hourly() -> dict[str, float]:
    """What the sandboxes that exist cost an hour, by whether they are in use, and the orphans."""
    billed = Sandbox.objects.existing().filter(accepted_at__isnull=False)
    found = {"idle": 0.0, "in_use": 0.0}
    for size, state, number in billed.values("size", "state").annotate(n=Count("*")).values_list("size", "state", "n"):
        found["in_use" if state == State.IN_USE else "idle"] += number * float(usd_per_hour(size))
    orphans = CloudApp.objects.exclude(orphan_since=None).order_by().values("size").annotate(n=Count("*"))
    found["orphan"] = sum(number * float(usd_per_hour(size)) for size, number in orphans.values_list("size", "n"))
    return found


HOURLY_BY_USE = sparingly(_hourly)
VERDICT_COUNTS = sparingly(lambda: dict(picture(clock.now()).verdicts))
SPENT_BY_NOW = sparingly(lambda: float(spent_usd(clock.now())))
