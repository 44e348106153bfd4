"""The lines of the orchestrator log about a run, one for each change that programs hear of (`runs.event_types`).

Pure: whoever makes the change writes its line, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings

from pools import journal
from pools.models import FleetEvent, Level
from pools.moments import as_text
from pools.reasons import LogKind
from runs.models import DeployedFrom, Run, RunState, ServedBy
from runs.reasons import LineCode, RunEndCode, StatusCode


def launched(run: Run, now: datetime) -> FleetEvent:
    data = {"game": run.game.slug, "mode": run.mode}
    return journal.line(LogKind.LAUNCH, f"{run.mode} launch of {run.game.slug}", run_id=run.pk, now=now, data=data)


def waiting(run: Run, now: datetime) -> FleetEvent:
    """What a launch without a sandbox that is ready waits for."""
    if run.sandbox_id is not None:
        code, what = StatusCode.CREATING, "its own sandbox"
    elif run.served_by == ServedBy.POOL:
        code, what = StatusCode.POOL_MISS, "a warm sandbox"
    else:
        code, what = StatusCode.WAITING_FOR_PLACE, "a place in the fleet"
    told = {"served_by": run.served_by, "notice_code": run.notice_code}
    return _line(run, code, f"waits for {what}", now, told)


def ready(run: Run, deployed_from: DeployedFrom, total_ms: int, now: datetime) -> FleetEvent:
    told = {"deployed_from": deployed_from, "total_ms": total_ms, "expires_at": _moment(run.expires_at)}
    message = f"is ready after {total_ms} ms ({deployed_from.label.lower()})"
    return _line(run, LineCode.RUNNING, message, now, told)


def stopped(run: Run, trouble: str, now: datetime) -> FleetEvent:
    message = f"stopped and is being started again: {trouble}"
    return _line(run, LineCode.RESTARTING, message, now, {"restarts": run.restarts}, level=Level.WARNING)


def extended(run: Run, expires_at: datetime, now: datetime, by: str) -> FleetEvent:
    told = {"expires_at": as_text(expires_at), "extensions": run.extensions}
    return _line(run, StatusCode.EXTENDED, f"extended until {expires_at:%H:%M:%S}", now, told, actor=by)


def ending_soon(run: Run, expires_at: datetime, now: datetime) -> FleetEvent:
    seconds_left = max(0, round((expires_at - now).total_seconds()))
    extensions_left = max(0, settings.MAX_EXTENSIONS - run.extensions)
    told = {"expires_at": as_text(expires_at), "seconds_left": seconds_left, "extensions_left": extensions_left}
    return _line(run, LineCode.ENDING_SOON, f"ends in {seconds_left} s", now, told)


def over(run: Run, code: RunEndCode, told: Mapping[str, Any], now: datetime, by: str) -> FleetEvent:
    """`told`: what its own log says of the end."""
    state = RunState(run.state)
    level = Level.WARNING if state == RunState.FAILED else Level.INFO
    return _line(run, code, f"{state.label.lower()}: {told['reason']}", now, told, level=level, actor=by)


def too_late(run: Run, number: int, report: str, now: datetime) -> FleetEvent:
    """An attempt to deploy it whose time was over."""
    message = f"run {run.short_id}: attempt {number} came too late and was not heard: {report}"
    return journal.line(LogKind.RUN, message, code=LineCode.TOO_LATE, run_id=run.pk, now=now)


def _line(
    run: Run,
    code: str,
    message: str,
    now: datetime,
    told: Mapping[str, Any],
    *,
    level: str = Level.INFO,
    actor: str = "",
) -> FleetEvent:
    return journal.line(
        LogKind.RUN,
        f"run {run.short_id}: {run.game.slug} {message}",
        code=code,
        sandbox=run.sandbox,
        run_id=run.pk,
        now=now,
        level=level,
        actor=actor,
        data={"game": run.game.slug, **told},
    )


def _moment(moment: datetime | None) -> str | None:
    return as_text(moment) if moment else None
