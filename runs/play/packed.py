"""Answers that break off before they have begun: most likely the game packs what it was asked not to.

A sandbox's agent unpacks such a body and keeps its length, so nothing of it arrives. The sandbox is asked whether that
is it, and the run's log then says so to whoever wrote the game, once for each path.
"""

from __future__ import annotations

from uuid import UUID

from django_q.tasks import async_task

from games.processes import look_at, packed_sentence
from pools import clock
from pools.cloud.errors import AgentError
from pools.models import Level
from runs import events
from runs.models import EventKind, Run, RunEvent
from runs.reasons import RunEndCode

ASK_AGAIN_SECONDS = 30.0
MOST_ASKED = 1_000
PATHS_A_RUN = 10  # whatever a player asks for

_asked: dict[UUID, float] = {}


def note_cut(run_id: UUID, path: str) -> None:
    """Have the sandbox asked, if that was not done a moment ago: once for each run, whatever its paths."""
    now = clock.monotonic()
    if now < _asked.get(run_id, 0.0):
        return
    if len(_asked) >= MOST_ASKED:
        _asked.clear()
    _asked[run_id] = now + ASK_AGAIN_SECONDS
    async_task("runs.tasks.look_for_packing", str(run_id), path, task_name="look for packing", group="play")


def look_for_packing(run_id: UUID, path: str) -> None:
    """Ask the sandbox how the game answers that path, and write it into the run's log if that is packed."""
    run = Run.objects.played().select_related("game", "sandbox").filter(pk=run_id).first()
    if run is None or run.sandbox is None:
        return
    told = RunEvent.objects.filter(run_id=run_id, data__code=RunEndCode.ANSWERS_PACKED)
    paths = [event.data.get("path") for event in told]
    if path in paths or len(paths) >= PATHS_A_RUN:
        return
    try:
        seen = look_at(run.sandbox.agent(), run.port or run.game.port, [path])
    except AgentError:
        return  # its sandbox is looked at by others
    if how := seen.packed.get(path):
        data = {"code": RunEndCode.ANSWERS_PACKED, "path": path}
        events.emit(run.id, EventKind.LOG, packed_sentence(run.game, path, how), level=Level.WARNING, data=data)
