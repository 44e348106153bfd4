"""The warm launch that finds a ready sandbox: a few statements, and no lock that other launches wait for.

It looks at everything in one statement, claims a sandbox that nobody else is claiming, and writes run, lines and count
in one more. Whatever is out of the ordinary (nothing ready, others wait, a limit, a budget, a key that was used,
maintenance) is left to the careful way in `launch`, under the fleet's lock.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from games.models import Game
from pools import claims
from pools.demand import note_demand_unless_busy
from pools.models import EXISTING, Pool
from pools.traces import span
from runs import clients, lifecycle, limits
from runs.clients import Client
from runs.models import Run
from runs.wanted import Wanted

DEMAND_NOTED_FOR = timedelta(seconds=1)  # so long nobody notes it again: the pool's row is everybody's

EXISTING_STATES = ", ".join(f"'{state}'" for state in EXISTING)
LOOK_SQL = f"""
SELECT g.*, p.id AS pool_id, p.name AS pool_name,
  p.last_acquired_at IS NOT NULL AND p.last_acquired_at BETWEEN %s AND %s AS is_demand_noted,
  EXISTS (
    SELECT 1 FROM runs_run w JOIN games_game o ON o.id = w.game_id
    WHERE w.state = 'acquiring' AND w.sandbox_id IS NULL AND w.mode = 'warm' AND w.served_by <> ''
      AND o.runtime = g.runtime
  ) AS do_others_wait,
  EXISTS (SELECT 1 FROM runs_run k WHERE k.visitor = %s AND k.idempotency_key = %s) AS is_key_used,
  COALESCE(f.existing, (SELECT count(*) FROM pools_sandbox WHERE state IN ({EXISTING_STATES}))) AS existing,
  (SELECT n.sha256 FROM games_snapshot n
   WHERE n.game_id = g.id AND n.state = 'current' AND n.source_digest = g.source_digest) AS current_sha256,
  {limits.MARK_SQL} AS mark, t.warm, t.cold, t.launches
FROM games_game g
JOIN pools_pool p ON p.runtime = g.runtime AND p.mode <> 'draining'
JOIN pools_fleet f ON f.id = 1 AND NOT f.maintenance
JOIN runs_tally t ON t.id = 1
WHERE g.slug = %s AND g.enabled"""  # noqa: S608


@transaction.atomic
def launch_at_once(run_id: UUID, wanted: Wanted, *, client: Client, key: str | None, now: datetime) -> Run | None:
    """Leave a new run of that id DEPLOYING in a warm sandbox. None when that takes more than this. Raises
    IntegrityError for a key that is being used at this moment, and LimitReached."""
    if client.has_a_budget:
        return None
    game = _look(wanted.game, client.name, key, now)
    if game is None or game.do_others_wait or game.is_key_used:
        return None
    this_hour = game.launches - game.mark
    if not limits.have_room(warm=game.warm, cold=game.cold, launches=this_hour):
        return None  # what would be taken back is not taken
    if not clients.surely_has_room(client, active=game.warm + game.cold, this_hour=this_hour):
        limits.check_client(client, now)
    pool = Pool(pk=game.pool_id, name=game.pool_name)
    if not game.is_demand_noted:
        note_demand_unless_busy(pool, f"run {run_id.hex[:8]}", now)
    expires_at = lifecycle.lifetime(now, existing=game.existing)
    with span("claim", pool=pool.name):
        sandbox = claims.claim_well(pool, expires_at=expires_at, now=now)
    if sandbox is None:
        return None
    try:
        return lifecycle.begin_in(run_id, sandbox, game, wanted, client=client, key=key, mark=game.mark, now=now)
    except limits.NotCounted:
        transaction.set_rollback(True)
        return None


def _look(slug: str, visitor: str, key: str | None, now: datetime) -> Any:
    """The game, with what there is to know before a launch."""

    def at(moment: datetime) -> Any:
        return connection.ops.adapt_datetimefield_value(moment)

    found = Game.objects.raw(
        LOOK_SQL,
        [
            at(now - DEMAND_NOTED_FOR),
            at(now + DEMAND_NOTED_FOR),
            visitor,
            key or "",
            *limits.mark_params(now),
            slug,
        ],
    )
    return next(iter(found), None)
