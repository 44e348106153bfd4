"""One click becomes a run: limits, a sandbox, the game. The page, the API and the admin all call `launch`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction
from django.db.models import Q

from games import versions
from games.models import Game, GameVersion
from pools import clock, journal, traces
from pools.about import about
from pools.capacity import NoCapacity
from pools.demand import note_demand_unless_busy
from pools.models import Fleet, Pool, Sandbox, State
from pools.nudge import nudge
from pools.together import settle
from runs import lifecycle, limits, lines, metrics
from runs.clients import Client, shown
from runs.launching import deployment, progress, turnstile
from runs.launching.acquire import NONE_READY, PATIENT, PoolEmpty, acquire_warm, open_pool, require_pool, start_cold
from runs.launching.at_once import DEMAND_NOTED_FOR, launch_at_once
from runs.launching.handover import hand_over
from runs.limits import LaunchRefused, LimitReached
from runs.models import AskedMode, LaunchMode, OnMiss, Run, RunState
from runs.reasons import RefusalCode
from runs.wanted import Wanted


class UnknownGame(LaunchRefused):
    """There is no game of that name."""

    code = RefusalCode.UNKNOWN_GAME


class KeyReused(LaunchRefused):
    """The idempotency key was used for another launch."""

    code = RefusalCode.KEY_REUSED


class OnTrialAlready(LaunchRefused):
    """The version is tried already, or was by now."""

    code = RefusalCode.LIMIT_REACHED


class Maintenance(LaunchRefused):
    """An operator lets nobody launch for now."""

    code = RefusalCode.MAINTENANCE
    retry_after_seconds = 60


def launch(
    *,
    game: str,
    mode: str,
    use_snapshot: bool = True,
    on_miss: str | None = None,
    labels: Mapping[str, str] | None = None,
    client: Client,
    idempotency_key: str | None = None,
    now: datetime | None = None,
    trial: GameVersion | None = None,
) -> Run:
    """Launch a game for a client; the run may be running already when it comes back. Raises LaunchRefused's kinds.

    `mode` "auto" is warm where a pool serves launches, else cold. `on_miss` is what a warm launch does when no warm
    sandbox is ready; by default its pool's rule.
    The same client and key give the same run, however often and however much at once they are sent. `trial`: a version
    that is to be tried, cold and from its source, before anybody else gets it; it must be FETCHED.
    """
    now, run_id = now or clock.now(), uuid4()
    wanted = Wanted(game, AskedMode(mode), use_snapshot, OnMiss(on_miss) if on_miss else None, labels or {})
    try:
        with about(run=run_id, client=shown(client.name)), traces.launch(run_id) as span:
            run = _launch(run_id, wanted, client, now, key=idempotency_key, trial=trial)
            span.note(run=run.pk, game=run.game.slug, mode=run.mode, served_by=run.served_by, code=run.state)
            return run
    except LaunchRefused as refused:
        metrics.refused(refused.code, wants_warm=refused.wants_warm)
        raise


def _launch(
    run_id: UUID, wanted: Wanted, client: Client, now: datetime, *, key: str | None, trial: GameVersion | None
) -> Run:
    try:
        if wanted.mode != AskedMode.COLD:
            with turnstile.launches.passed():
                run = launch_at_once(run_id, wanted, client=client, key=key, now=now)
            if run is not None:
                return _bring_up(run, is_seen=True)
        if earlier := _earlier(wanted, client, key):
            settle()  # it may have been committed a moment ago
            return earlier
        games = Game.objects.playable() if trial is None else Game.objects.filter(versions=trial)
        found = games.filter(slug=wanted.game).first()
        if found is None:
            raise UnknownGame(f"There is no game “{wanted.game}”.")
        _refuse_at_sight(found, wanted, client, now)
        with transaction.atomic():
            fleet = Fleet.lock()
            if earlier := _earlier(wanted, client, key):
                return earlier
            begun = _begin(run_id, found, wanted, fleet, now, client=client, key=key, trial=trial)
    except KeyReused:
        raise
    except (IntegrityError, LaunchRefused) as refused:
        # By the same launch, sent twice at once: the other one was quicker, and is what there was no room beside.
        if earlier := _earlier(wanted, client, key):
            settle()
            return earlier
        if isinstance(refused, PoolEmpty):
            _note_demand(wanted.game, client, now)
        raise
    return _bring_up(begun) if begun.state == RunState.DEPLOYING else begun


def _refuse_at_sight(game: Game, wanted: Wanted, client: Client, now: datetime) -> None:
    """Refuse before anything is locked what would be refused then: who may not launch holds up nobody. Raises
    LaunchRefused's kinds."""
    limits.check_client(client, now)
    limits.check_budget(client, now)
    _require_open(Fleet.get())
    if wanted.on_miss in PATIENT and _mode_of(wanted, game) == LaunchMode.WARM:
        pool = require_pool(game)
        if wanted.on_miss == OnMiss.FAIL and not Sandbox.objects.filter(pool=pool, state=State.READY).exists():
            raise PoolEmpty(NONE_READY)


def _require_open(fleet: Fleet) -> None:
    if fleet.maintenance:
        raise Maintenance(fleet.maintenance_message or "Maintenance: no launches for now.")


def _note_demand(slug: str, client: Client, now: datetime) -> None:
    """A launch that was refused is demand all the same: it is what fills the pool. Once in a while is enough."""
    long_ago = Q(last_acquired_at=None) | Q(last_acquired_at__lt=now - DEMAND_NOTED_FOR)
    runtime = Game.objects.filter(slug=slug).values("runtime")
    if (pool := Pool.objects.filter(long_ago, runtime__in=runtime).first()) is not None:
        with transaction.atomic():
            note_demand_unless_busy(pool, f"client {shown(client.name)}", now)
            nudge()


def _earlier(wanted: Wanted, client: Client, key: str | None) -> Run | None:
    if not key:
        return None
    run = Run.objects.select_related("game").filter(visitor=client.name, idempotency_key=key).first()
    if run is not None and Wanted.of(run) != wanted:
        raise KeyReused("This idempotency key was used for another launch.")
    return run


def _begin(
    run_id: UUID,
    game: Game,
    wanted: Wanted,
    fleet: Fleet,
    now: datetime,
    *,
    client: Client,
    key: str | None,
    trial: GameVersion | None,
) -> Run:
    """Inside one transaction: the run's row, and its sandbox when one is free at once."""
    _require_open(fleet)
    mark = limits.mark_at(now)
    mode = _mode_of(wanted, game)
    digest = trial.source_digest if trial is not None else ""
    run = lifecycle.begin(run_id, game, wanted, mode=mode, client=client, key=key, now=now, digest=digest)
    if trial is not None and not versions.begin_trial(trial, run_id):
        raise OnTrialAlready(f"{trial} is {trial.get_state_display().lower()}: it can't be tried now.")
    try:
        if run.mode == LaunchMode.COLD:
            start_cold(run, now)
        else:
            acquire_warm(run, now)
    except NoCapacity as error:
        full = LimitReached(error.limit, str(error), error.retry_after_seconds)
        full.wants_warm = mode == LaunchMode.WARM
        raise full from error
    if run.state != RunState.DEPLOYING:
        progress.tell_acquiring(run, now)
        nudge()
    journal.write(lines.launched(run, now))
    if run.state == RunState.ACQUIRING:
        journal.write(lines.waiting(run, now))
    lifecycle.count(run, client, mark, now)
    return run


def _mode_of(wanted: Wanted, game: Game) -> LaunchMode:
    """`auto` is warm, too, where it is to start no other way."""
    if wanted.mode != AskedMode.AUTO:
        return LaunchMode(wanted.mode)
    if wanted.on_miss in PATIENT:
        return LaunchMode.WARM
    return LaunchMode.COLD if open_pool(game.runtime) is None else LaunchMode.WARM


def _bring_up(run: Run, *, is_seen: bool = False) -> Run:
    """A launch that has a warm sandbox: its game is played at once where it is staged, else a worker deploys it.
    `is_seen`: as in `hand_over`."""
    handed = hand_over(run, is_seen=is_seen)
    if handed is not None and handed.state == RunState.RUNNING:
        return handed
    if handed is not None and handed.state == RunState.DEPLOYING:
        deployment.queue(handed)
        nudge(is_urgent=False)  # a turn at this moment would take the processor from what the player waits for
    return Run.objects.select_related("game", "sandbox").get(pk=run.pk)
