"""The outlook for a launch: how soon a game would start now, from what the fleet really has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from statistics import median

from django.conf import settings
from django.db.models import Count, F

from games.models import Game
from pools.capacity import NoCapacity, check_creates
from pools.census import UNSEEN, Census, census
from pools.models import ON_THE_WAY, Fleet, Mode, OnEmpty, Pool, Sandbox, SandboxQuerySet, State
from pools.reasons import Limit
from pools.staged import read as read_staged
from runs import limits
from runs.models import DeployedFrom, LaunchMode, Run, RunState, ServedBy

REMEMBERED = 50  # past launches that estimates look back on
LOOKED_AT = 2_000  # of the newest ones, of any kind, to find them
READY_LOOKED_AT = 20  # of those taken next, for the games that are started in them
AT_ONCE_SECONDS = 1.5
LEAST_PATIENCE_SECONDS = 10.0
LEAST_LEFT_SECONDS = 1.0  # what is late already will not be there in no time
NONE_FREE = "none is free right now"


@dataclass(frozen=True, slots=True)
class Outlook:
    """The circumstances that one launch of one game would meet."""

    closed: str = ""  # why nothing can be launched at all
    no_creates: Callable[[], str] = str  # why no sandbox can be created; asked when one would have to be
    has_pool: bool = False
    cold_when_empty: bool = True
    ready: int = 0
    is_staged: bool = False  # one of the ready ones has the game started
    arriving_in_seconds: tuple[float, ...] = ()  # warm sandboxes on their way, the nearest first
    waiting: int = 0  # launches that wait for one of them
    places: int = 0  # sandboxes that may still be created
    idle: int = 0  # idle or leaving ones, of any runtime, that make room
    waiting_for_places: int = 0
    deploy_seconds: float = 2.0
    cold_seconds: float = 45.0


@dataclass(frozen=True, slots=True)
class Speed:
    """`kind` is ready, soon, queued, cold or closed; `text` says it to people; `seconds` is None when nobody knows."""

    kind: str
    text: str
    seconds: float | None = None


def speed(outlook: Outlook) -> Speed:
    """Return how soon the game would run, and how."""
    if outlook.closed:
        return Speed("closed", outlook.closed)
    if outlook.ready > outlook.waiting:
        deploy = 0.0 if outlook.is_staged else outlook.deploy_seconds
        if deploy < AT_ONCE_SECONDS:
            return Speed("ready", "ready now", deploy)
        return Speed("soon", about(deploy), deploy)
    if len(outlook.arriving_in_seconds) + outlook.ready > outlook.waiting:
        seconds = outlook.arriving_in_seconds[outlook.waiting - outlook.ready] + outlook.deploy_seconds
        if outlook.waiting:
            return Speed("queued", f"{outlook.waiting} ahead of you", seconds)
        return Speed("soon", about(seconds), seconds)
    if outlook.has_pool and not outlook.cold_when_empty:
        return Speed("closed", NONE_FREE)
    if why := outlook.no_creates():
        return Speed("closed", why)
    if outlook.places + outlook.idle > outlook.waiting_for_places:
        return Speed("cold", about(outlook.cold_seconds), outlook.cold_seconds)
    if outlook.waiting_for_places:
        return Speed("queued", f"{outlook.waiting_for_places} ahead of you")
    return Speed("closed", "all sandboxes are taken")


def about(seconds: float) -> str:
    """A time as people say it: nobody believes "about 37 s"."""
    if seconds < 9.5:
        return f"about {max(1, round(seconds))} s"
    if seconds < 57.5:
        return f"about {max(10, 5 * round(seconds / 5))} s"
    return f"about {max(1, round(seconds / 60))} min"


def closed(fleet: Fleet, now: datetime) -> str:
    """Return why nothing can be launched right now; empty when it can."""
    if fleet.maintenance:
        return "closed for maintenance"
    if not _is_at_a_limit(now):
        return ""
    try:
        limits.check(LaunchMode.WARM, now)
    except limits.LimitReached as reached:
        if reached.limit == "MAX_RUNS_PER_HOUR":
            return "no launches left this hour"
        return f"full, room {retry_text(reached.retry_after_seconds or 1)}"
    return ""


def _is_at_a_limit(now: datetime) -> bool:
    """Whether a warm launch may be refused for a limit: by counts alone, however many runs there are."""
    counted = Run.objects.active().values("mode").annotate(number=Count("*"))
    active = Counter(dict(counted.values_list("mode", "number")))
    is_full = active.total() >= settings.MAX_TOTAL_ACTIVE or active[LaunchMode.WARM] >= settings.MAX_CONCURRENT_WARM
    return is_full or not limits.launches_left(now)


def no_creates(runtime: str, fleet: Fleet, now: datetime) -> str:
    """Return why a launch that needs a new sandbox would be refused; empty when it would not."""
    try:
        check_creates(runtime, fleet, now)
    except NoCapacity as error:
        if error.limit == Limit.BREAKER:
            return f"none free, try again {retry_text(error.retry_after_seconds)}"
        return NONE_FREE
    return ""


def speeds(games: Iterable[Game], now: datetime, there_are: Census | None = None) -> dict[str, Speed]:
    """The speed of each game by its slug, in a handful of queries for each runtime, however many games, sandboxes and
    runs there are. With `there_are` they are not counted again."""
    there_are = there_are or census()
    fleet = there_are.fleet
    why_closed = closed(fleet, now)
    pools = {pool.runtime: pool for pool in there_are.pools if pool.mode != Mode.DRAINING}
    waiting = Run.objects.waiting_for_warm().by_runtime()
    waiting_for_places = Run.objects.waiting_for_place().count()
    past = past_launches()
    supplies = {
        runtime: supply(pool, there_are.of_pool[pool.pk], waiting[runtime], fleet, now)
        for runtime, pool in pools.items()
    }
    why_none = cache(lambda runtime: no_creates(runtime, fleet, now))
    result = {}
    for game in games:
        pool, mine = pools.get(game.runtime), supplies.get(game.runtime, NO_SUPPLY)
        result[game.slug] = speed(
            Outlook(
                closed=why_closed,
                no_creates=partial(why_none, game.runtime),
                has_pool=pool is not None,
                cold_when_empty=pool is None or pool.on_empty == OnEmpty.COLD,
                ready=mine.ready,
                is_staged=game.slug in mine.started,
                arriving_in_seconds=mine.arriving_in_seconds,
                waiting=waiting[game.runtime],
                places=there_are.places.left,
                idle=sum(there_are.all[state] for state in (State.READY, UNSEEN, State.DELETING)),
                waiting_for_places=waiting_for_places,
                deploy_seconds=past.typical_seconds(game.slug, "deploy", 2.0),
                cold_seconds=past.typical_seconds(game.slug, "cold", usual_create_seconds() + 3),
            )
        )
    return result


@dataclass(frozen=True, slots=True)
class Supply:
    """What a pool has for who comes next. `started` are the games that run in one of the ready ones taken next."""

    ready: int = 0
    started: frozenset[str] = frozenset()
    arriving_in_seconds: tuple[float, ...] = ()


NO_SUPPLY = Supply()


def supply(pool: Pool, counts: Counter[str], waiting: int, fleet: Fleet, now: datetime) -> Supply:
    """Read as many rows as launches wait, and a few; the others are only counted."""
    mine = Sandbox.objects.filter(pool=pool)
    ready = mine.known_well(fleet.started_at).filter(state=State.READY).order_by("ready_at")[:READY_LOOKED_AT]
    started = {
        slug
        for staged in ready.values_list("staged", flat=True)
        for slug, it in read_staged(staged).items()
        if it.started
    }
    unseen = (LEAST_LEFT_SECONDS,) * min(counts[UNSEEN], waiting + 1)  # they are looked at any moment
    coming: tuple[float, ...] = ()
    if any(counts[state] for state in ON_THE_WAY):
        coming = arrivals(mine.filter(state__in=ON_THE_WAY), warm_up_seconds(pool), now, most=waiting + 1)
    return Supply(counts[State.READY], frozenset(started), (*unseen, *coming))


def arrivals(on_the_way: SandboxQuerySet, warm_up: float, now: datetime, *, most: int) -> tuple[float, ...]:
    """Return in how many seconds the nearest ones should be ready, the nearest first. What takes longer than anybody
    would wait for it is not expected."""
    patience = timedelta(seconds=max(LEAST_PATIENCE_SECONDS, 2 * warm_up))
    expected = on_the_way.filter(requested_at__gt=now - patience).order_by("requested_at")
    ages = [(now - at).total_seconds() for at in expected.values_list("requested_at", flat=True)[:most]]
    return tuple(max(LEAST_LEFT_SECONDS, warm_up - age) for age in ages)


def usual_create_seconds() -> float:
    """Return how long a create should take while nothing was measured yet."""
    return settings.LOCALCLOUD_DEPLOY_SECONDS + 2 if settings.CLOUD_IS_EMBEDDED else 45.0


def warm_up_seconds(pool: Pool) -> float:
    """Return how long this pool's sandboxes took lately, from request to ready."""
    done = Sandbox.objects.lately(LOOKED_AT).filter(pool=pool, ready_at__isnull=False).order_by("-requested_at")
    took = [
        (ready - requested).total_seconds()
        for ready, requested in done.values_list("ready_at", "requested_at")[:REMEMBERED]
        if ready is not None
    ]
    return max(0.0, median(took)) if took else usual_create_seconds()  # clocks can be set back


def patience_seconds(pool: Pool) -> float:
    """Return how long a launch waits for this pool's next sandbox: twice what they usually take."""
    return max(LEAST_PATIENCE_SECONDS, 2 * warm_up_seconds(pool))


@dataclass(frozen=True, slots=True)
class PastLaunches:
    """The times of recent launches, in milliseconds, by game and way: "cold", or "deploy" for a warm one."""

    took_ms: dict[tuple[str, str], Sequence[int]]

    def typical_seconds(self, slug: str, way: str, otherwise: float) -> float:
        """The median of this game's, else of all games', else `otherwise`."""
        mine = self.took_ms.get((slug, way)) or [
            ms for (_, other_way), all_ms in self.took_ms.items() if other_way == way for ms in all_ms
        ]
        return median(mine) / 1000 if mine else otherwise


def past_launches() -> PastLaunches:
    took: dict[tuple[str, str], list[int]] = {}
    lately = Run.objects.lately(LOOKED_AT)
    done = lately.filter(ready_at__isnull=False, total_ms__isnull=False).order_by("-created_at")
    for slug, served_by, deployed_from, total_ms, acquire_ms in done.annotate(slug=F("game__slug")).values_list(
        "slug", "served_by", "deployed_from", "total_ms", "acquire_ms"
    )[: 4 * REMEMBERED]:
        if total_ms is None:
            continue
        if served_by != ServedBy.POOL:
            took.setdefault((slug, "cold"), []).append(total_ms)
        elif deployed_from != DeployedFrom.STAGED:
            took.setdefault((slug, "deploy"), []).append(max(0, total_ms - (acquire_ms or 0)))
    return PastLaunches({key: values[:REMEMBERED] for key, values in took.items()})


def usual_seconds(run: Run) -> float:
    """Return how long a launch like this one usually takes in all."""
    past = past_launches()
    if run.served_by != ServedBy.POOL:
        return past.typical_seconds(run.game.slug, "cold", usual_create_seconds() + 3)
    pool = Pool.objects.filter(runtime=run.game.runtime).first()
    return past.typical_seconds(run.game.slug, "deploy", 2.0) + (warm_up_seconds(pool) if pool else 0.0)


def ahead_of(run: Run) -> int:
    """Return how many launches wait for the same thing and came before."""
    if run.state != RunState.ACQUIRING or run.sandbox_id is not None:
        return 0
    if run.served_by == ServedBy.POOL:
        same = Run.objects.waiting_for_warm(run.game.runtime)
    else:
        same = Run.objects.waiting_for_place()
    return same.before(run).count()


def retry_text(seconds: int) -> str:
    """Say when to try again, for people."""
    if seconds <= 1:
        return "in a second"
    if seconds < 90:
        return f"in {seconds} seconds"
    return f"in {-(-seconds // 60)} minutes"
