"""Each warm launch is counted once, by what came of it: whatever keeps a player from playing is told by the metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from pools.models import Pool
from runs import lifecycle, metrics
from runs.clients import Client
from runs.launching.launch import launch
from runs.limits import LaunchRefused
from runs.models import Run, RunState
from runs.play import proxy
from runs.play.notices import CUT_OFF
from runs.reasons import RunEndCode


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The outcomes that were counted."""
    counted: list[str] = []
    monkeypatch.setattr(metrics.WARM_LAUNCHES, "add", counted.append)
    return counted


@pytest.fixture
def promised(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda ms: monkeypatch.setattr(metrics, "PROMISED_MS", ms)


def start(**options: Any) -> Run:
    return launch(**{"game": "snake", "mode": "warm", "client": Client("ada"), "use_snapshot": True} | options)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("ms", "outcome"), [(60_000, "in_time"), (-1, "late")])
def test_a_game_that_can_be_played_was_in_time_or_late(staged, warm, promised, ms: int, outcome: str):
    promised(ms)
    run = start()
    assert (run.state, warm) == (RunState.RUNNING, [outcome])
    lifecycle.fail(run.pk, RunEndCode.GAME_STOPPED, "It stopped.", timezone.now())
    assert warm == [outcome], "what becomes of a game that was played is another matter"


@pytest.mark.django_db(transaction=True)
def test_a_launch_that_fails_before_it_is_played_has_failed(staged, warm):
    run = start(use_snapshot=False)
    assert (run.state, warm) == (RunState.DEPLOYING, [])
    lifecycle.fail(run.pk, RunEndCode.DEPLOY_FAILED, "It did.", timezone.now())
    assert warm == ["failed"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("ms", "outcomes"), [(60_000, []), (-1, ["late"])])
def test_a_player_who_gives_up_has_waited_too_long_or_says_nothing(staged, warm, promised, ms: int, outcomes: list):
    promised(ms)
    lifecycle.end(start(use_snapshot=False).pk, RunEndCode.ENDED_BY_PLAYER, "Enough.", timezone.now())
    assert warm == outcomes


@pytest.mark.django_db(transaction=True)
def test_a_launch_is_refused_for_want_of_a_sandbox(game, pool, warm, settings):
    with pytest.raises(LaunchRefused):
        start(on_miss="fail")
    assert warm == ["refused"]
    settings.MAX_TOTAL_SANDBOXES = 0
    with pytest.raises(LaunchRefused):
        start()
    assert warm == ["refused", "refused"]


@pytest.mark.django_db(transaction=True)
def test_a_launch_that_asked_for_no_warm_sandbox_or_not_for_a_game_is_none_of_them(game, pool, warm):
    Pool.objects.update(target_ready=0)
    run = start(mode="cold")
    lifecycle.fail(run.pk, RunEndCode.DEPLOY_FAILED, "It did.", timezone.now())
    with pytest.raises(LaunchRefused):
        start(game="nothing")
    assert warm == []


# Requests to games.


async def outcome_of(
    monkeypatch: pytest.MonkeyPatch, work: Callable[..., Awaitable[str]], leaves_after_seconds: float = 60
) -> list[str]:
    """What is counted of a request to a game that answers so."""
    counted: list[str] = []
    monkeypatch.setattr(metrics.PROXIED, "add", counted.append)
    monkeypatch.setattr(proxy, "_in_turn", work)

    async def seat(_run_id: object) -> proxy.Seat:
        return proxy.Seat("running", "", proxy.Upstream("https://x", "t", 1))

    monkeypatch.setattr(proxy, "_seat", seat)
    messages = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.sleep(leaves_after_seconds)
        return {"type": "http.disconnect"}

    async def send(_message: object) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [], "client": ("1.2.3.4", 1)}
    await proxy.visit_game(scope, receive, send, uuid4(), b"", base="/play/x", always=[])
    return counted


async def test_a_player_who_leaves_was_not_answered(monkeypatch):
    async def hangs(*_: object) -> str:
        await asyncio.sleep(60)
        return metrics.PASSED

    assert await outcome_of(monkeypatch, hangs, leaves_after_seconds=0.05) == ["left"]


async def test_an_answer_that_breaks_off_was_not_passed_on(monkeypatch):
    async def breaks_off(*_: object) -> str:
        return CUT_OFF.code

    assert await outcome_of(monkeypatch, breaks_off) == ["cut_off"]
