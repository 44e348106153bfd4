"""What must hold (docs/invariants.md): the cheap part after every commit, the rest once a simulated minute.

Read past Django, from the rows themselves: the watcher shares no code with what it watches. Numbers are those of
docs/invariants.md; L is for what must come about in the end.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings

from tests.sim.account import Account
from tests.sim.apps import NEVER, Maker
from tests.sim.database import store
from tests.sim.kernel import EPOCH_SECONDS, Kernel
from tests.sim.plan import Plan

CONVERGED_SECONDS = 1800.0  # after the last fault: a create may take ten minutes until it is given up, and then again
SETTLED_SECONDS = 300.0  # after the last fault: what takes a turn or two is done
WAITS_SECONDS = 90.0  # a launch, while there is what it waits for
START_SECONDS = 900 + 180.0
GRACE_SECONDS = 1.0
SURPLUS_AN_HOUR = 12
CLOCK_SET_SECONDS = 3600 + 2 * 900.0  # so long after a clock was set, moments in rows say little about durations
BUDGET_AN_HOUR = 5000
MINUTES_AN_HOUR = 60
SLACK = 1.1  # of the budget: what a process had sent that was killed, nobody knows
NOT_DELETED = "state <> 'deleted'"
SUPPLY = "origin = 'pool' AND state IN ('requested', 'creating', 'staging', 'ready')"
BEING_CREATED = "origin = 'pool' AND state IN ('requested', 'creating')"
ACTIVE = "state IN ('acquiring', 'deploying', 'running')"


class Invariants:
    """Watches. `broken` is the first that did not hold, as a sentence."""

    def __init__(self, kernel: Kernel, account: Account, plan: Plan) -> None:
        self.kernel, self.account, self.plan = kernel, account, plan
        self.broken = ""
        self.is_changed = True
        self.supply: dict[int, tuple[int, int]] = {}
        self.known_sandboxes: set[str] = set()
        self.clock_set_at = -CLOCK_SET_SECONDS
        self.states: set[tuple[str, str]] = set()
        self.allowances: dict[str, float] = {}
        self._waiting_since: dict[str, float] = {}
        self._sent: list[int] = []

    def forget(self) -> None:
        """Another database is in place: what was known of rows says nothing any more."""
        self.supply.clear()
        self._waiting_since.clear()
        self.is_changed = True

    # After each commit.

    def wrote(self, table: str) -> None:
        if table in ("pools_sandbox", "runs_run", "runs_tally", "pools_pool"):
            self.is_changed = True

    def after_commit(self) -> None:
        if self.account.trespasses:
            self.fail("6", self.account.trespasses[0])
        if not self.is_changed:
            return
        self.is_changed = False
        if (count := _one(f"SELECT count(*) FROM pools_sandbox WHERE {NOT_DELETED}")) > settings.MAX_TOTAL_SANDBOXES:
            self.fail(
                "2", f"{count} sandboxes are not deleted, and MAX_TOTAL_SANDBOXES is {settings.MAX_TOTAL_SANDBOXES}"
            )
        self._check_pools()
        self._check_limits()

    def _check_pools(self) -> None:
        """An operator may lower a bound below what there is; from then on it must not grow."""
        rows = _all(
            f"SELECT p.id, p.name, p.max_ready, p.max_concurrent_creates, "
            f"(SELECT count(*) FROM pools_sandbox WHERE pool_id = p.id AND {SUPPLY}), "
            f"(SELECT count(*) FROM pools_sandbox WHERE pool_id = p.id AND {BEING_CREATED}) FROM pools_pool p"
        )
        for pk, name, most, most_creates, supply, creating in rows:
            supply_before, creating_before = self.supply.get(pk, (0, 0))
            if supply > most and supply > supply_before:
                self.fail("2", f"pool {name} holds {supply}, at most {most} allowed")
            if creating > most_creates and creating > creating_before:
                self.fail("2", f"pool {name} creates {creating} at once, at most {most_creates} allowed")
            self.supply[pk] = (supply, creating)

    def _check_limits(self) -> None:
        modes = dict(_all(f"SELECT mode, count(*) FROM runs_run WHERE {ACTIVE} GROUP BY mode"))
        warm, cold = modes.get("warm", 0), modes.get("cold", 0)
        for what, count, most in (
            ("MAX_TOTAL_ACTIVE", warm + cold, settings.MAX_TOTAL_ACTIVE),
            ("MAX_CONCURRENT_WARM", warm, settings.MAX_CONCURRENT_WARM),
            ("MAX_CONCURRENT_COLD", cold, settings.MAX_CONCURRENT_COLD),
        ):
            if count > most:
                self.fail("limits", f"{count} launches are not over, and {what} is {most}")
        for column, most in (("visitor", settings.MAX_ACTIVE_PER_CLIENT), ("network", settings.MAX_ACTIVE_PER_NETWORK)):
            row = (
                store.connection()
                .execute(
                    f"SELECT {column}, count(*) AS n FROM runs_run WHERE {ACTIVE} AND {column} <> '' "
                    f"GROUP BY {column} HAVING n > ? LIMIT 1",
                    (most,),
                )
                .fetchone()
            )
            if row is not None:
                self.fail("limits", f"one {column} has {row[1]} launches that are not over, at most {most} allowed")
        tally = store.connection().execute("SELECT warm, cold FROM runs_tally WHERE id = 1").fetchone()
        if tally is not None and tally != (warm, cold):
            self.fail("limits", f"the tally says {tally}, and {(warm, cold)} launches are not over")

    def deleting(self, app_id: str) -> None:
        """The cloud was asked to delete it. Invariant 7, 8: nothing ready or in use goes without a code."""
        row = (
            store.connection()
            .execute("SELECT name, state, end_code FROM pools_sandbox WHERE app_id = ?", (app_id,))
            .fetchone()
        )
        if row is not None and (row[1] not in ("deleting", "deleted") or not row[2]):
            self.fail("8", f"the app of {row[0]} is to be deleted while that is {row[1]} (code {row[2]!r})")

    # Each minute.

    def each_minute(self) -> None:
        self._note_states()
        if self.kernel.time - self.clock_set_at >= CLOCK_SET_SECONDS:
            self._check_surplus()
            self._check_hour()
            self._check_demand()
            self._check_budget()
        calm_since = self.plan.calm_since(self.kernel.time)
        if calm_since is None:
            return
        calm = self.kernel.time - calm_since
        if calm >= SETTLED_SECONDS:
            self._check_lines()
            self._check_overdue()
            self._check_ready()
        if calm >= CONVERGED_SECONDS:
            self._check_converged()

    def _check_surplus(self) -> None:
        since = _text(self.kernel, -3600)
        rows = _all(
            "SELECT p.name, count(*) FROM pools_sandbox s JOIN pools_pool p ON p.id = s.pool_id "
            "WHERE s.origin = 'pool' AND s.failure_kind <> '' AND s.delete_requested_at > ? GROUP BY p.name",
            since,
        )
        for name, count in rows:
            most = SURPLUS_AN_HOUR + 2  # those that were on their way when the last one failed
            if count > most:
                self.fail("churn", f"{count} creates of pool {name} failed within an hour, {SURPLUS_AN_HOUR} allowed")

    def _check_hour(self) -> None:
        count = _one("SELECT count(*) FROM runs_run WHERE created_at > ?", _text(self.kernel, -3600))
        if count > settings.MAX_RUNS_PER_HOUR:
            self.fail("limits", f"{count} launches within an hour, at most {settings.MAX_RUNS_PER_HOUR} allowed")

    def _check_budget(self) -> None:
        """As many requests as the cloud takes, and no more: counted by the account."""
        sent = sum(self.account.requests.values())
        self._sent.append(sent)
        if len(self._sent) > MINUTES_AN_HOUR and sent - self._sent[-1 - MINUTES_AN_HOUR] > BUDGET_AN_HOUR * SLACK:
            self.fail("budget", f"{sent - self._sent[-1 - MINUTES_AN_HOUR]} requests within an hour")

    def _check_demand(self) -> None:
        """Invariant 4."""
        rows = _all(
            "SELECT s.name, p.name, p.idle_timeout_seconds, p.last_acquired_at, s.requested_at, s.create_code "
            "FROM pools_sandbox s JOIN pools_pool p ON p.id = s.pool_id "
            "WHERE s.origin = 'pool' AND s.requested_at > ?",
            _text(self.kernel, -60),
        )
        for sandbox, pool, idle, acquired_at, requested_at, code in rows:
            if code in ("idle_floor", "waiting"):
                continue
            asked = _moment(acquired_at) if acquired_at else None
            if asked is None or (_moment(requested_at) - asked).total_seconds() > idle + GRACE_SECONDS:
                self.fail("4", f"{sandbox} was made for pool {pool}, from which nobody took one since {acquired_at}")

    def _check_lines(self) -> None:
        """No player waits while there is what the launch waits for."""
        if _one("SELECT maintenance FROM pools_fleet WHERE id = 1"):
            self._waiting_since.clear()
            return
        waiting: dict[str, float] = {}
        ready = dict(
            _all(
                "SELECT runtime, count(*) FROM pools_sandbox WHERE state = 'ready' AND pool_id IN "
                "(SELECT id FROM pools_pool WHERE mode <> 'draining') AND health_failures = 0 GROUP BY runtime"
            )
        )
        for pk, runtime in _all(
            "SELECT r.id, g.runtime FROM runs_run r JOIN games_game g ON g.id = r.game_id "
            "WHERE r.state = 'acquiring' AND r.sandbox_id IS NULL AND r.mode = 'warm'"
        ):
            if ready.get(runtime):
                waiting[f"{pk} waits though a sandbox for {runtime} is ready"] = 0
        room = settings.MAX_TOTAL_SANDBOXES - _one(f"SELECT count(*) FROM pools_sandbox WHERE {NOT_DELETED}")
        others = _one("SELECT others FROM pools_fleet WHERE id = 1")
        for (pk,) in _all(
            "SELECT id FROM runs_run WHERE state = 'acquiring' AND sandbox_id IS NULL "
            "AND served_by IN ('cold', 'cold_fallback')"
        ):
            if room - others > 0 and self._creates_go():
                waiting[f"{pk} waits for a place though there is one"] = 0
        for text in waiting:
            since = self._waiting_since.get(text, self.kernel.time)
            waiting[text] = since
            if self.kernel.time - since > WAITS_SECONDS:
                self.fail("L", f"run {text}, for {self.kernel.time - since:.0f} s")
        self._waiting_since = waiting

    def _creates_go(self) -> bool:
        failed = "SELECT count(*) FROM pools_sandbox WHERE failure_kind <> '' AND delete_requested_at > ?"
        failing = _one("SELECT count(*) FROM pools_fleet WHERE deletes_failing_since IS NOT NULL")
        return not failing and not _one(failed, _text(self.kernel, -3 * 3600))

    def _check_overdue(self) -> None:
        for pk, expires_at in _all(
            "SELECT id, expires_at FROM runs_run WHERE state = 'running' AND expires_at < ?", _text(self.kernel, -180)
        ):
            self.fail("L", f"run {pk} is running, and its time was up at {expires_at}")
        for pk, created_at in _all(
            "SELECT id, created_at FROM runs_run WHERE state IN ('acquiring', 'deploying') AND created_at < ?",
            _text(self.kernel, -START_SECONDS),
        ):
            self.fail("L", f"run {pk} has not started since {created_at}")
        for pk, state, code, reason in _all(
            "SELECT id, state, end_code, end_reason FROM runs_run WHERE state IN ('ended', 'failed') "
            "AND (end_code = '' OR end_reason = '')"
        ):
            self.fail("8", f"run {pk} is {state} with the code {code!r} and the sentence {reason!r}")
        for pk, name in _all(
            "SELECT r.id, s.name FROM runs_run r JOIN pools_sandbox s ON s.id = r.sandbox_id "
            "WHERE r.state IN ('ended', 'failed') AND r.ended_at < ? AND s.state NOT IN ('deleting', 'deleted')",
            _text(self.kernel, -120),
        ):
            self.fail("8", f"run {pk} is over, and its sandbox {name} is not")

    def _check_converged(self) -> None:
        """So long after the last fault nothing is left of it."""
        long_ago, old = _text(self.kernel, -CONVERGED_SECONDS), EPOCH_SECONDS + self.kernel.time - CONVERGED_SECONDS
        rows = {
            name: (state, app_id)
            for name, state, app_id in _all(f"SELECT name, state, app_id FROM pools_sandbox WHERE {NOT_DELETED}")
        }
        apps = {app.name: app for app in self.account.existing() if app.gone_at == NEVER}
        for name, app in apps.items():
            if app.maker is Maker.API and name not in rows and app.created_at < old and name not in self.allowances:
                self.fail(
                    "1", f"the app {name} is in no row, {CONVERGED_SECONDS / 60:.0f} minutes after the last fault"
                )
        for name, state, requested_at in _all(
            f"SELECT name, state, requested_at FROM pools_sandbox WHERE {NOT_DELETED} AND requested_at < ?", long_ago
        ):
            if name not in apps:
                self.fail("1", f"{name} is {state} since {requested_at}, and there is no such app")
        for name, state, since in _all(
            "SELECT name, state, requested_at FROM pools_sandbox WHERE state IN ('requested', 'creating', 'staging') "
            "AND requested_at < ?",
            long_ago,
        ):
            self.fail("L", f"{name} is {state} since {since}")
        for name, since in _all(
            "SELECT name, delete_requested_at FROM pools_sandbox WHERE state = 'deleting' AND delete_requested_at < ?",
            _text(self.kernel, -900),
        ):
            self.fail("L", f"{name} is deleting since {since}")
        stopped = (
            store.connection().execute("SELECT stopped_at, stopped_reason FROM pools_fleet WHERE id = 1").fetchone()
        )
        if stopped[0] is not None and str(stopped[0]) < long_ago:
            self.fail("L", f"deletions are stopped since {stopped[0]}: {stopped[1]}")
        turned_at = _one("SELECT turned_at FROM pools_fleet WHERE id = 1")
        if turned_at is None or str(turned_at) < _text(self.kernel, -300):
            self.fail("L", f"no turn has ended since {turned_at}")
        for pk, lock in _all("SELECT id, lock FROM django_q_ormq WHERE lock < ?", _text(self.kernel, -300)):
            if str(lock) > "1971" or self._is_old_task(pk):
                self.fail("L", f"the task {pk} is in the queue, and nobody takes it")

    def _is_old_task(self, pk: int) -> bool:
        """New rows have a lock of long ago: old are those that were seen by the minute before."""
        seen = self.allowances.setdefault(f"task {pk}", self.kernel.time)
        return self.kernel.time - seen > 300

    def _check_ready(self) -> None:
        """What is called ready has what was put into it."""
        for name, app_id, staged in _all("SELECT name, app_id, staged FROM pools_sandbox WHERE state = 'ready'"):
            if app_id and (slug := self.account.agents.ended_again(app_id, json.loads(staged or "{}"))):
                self.fail("3", f"{name} is ready with {slug}, which was ended in it")

    def _note_states(self) -> None:
        storm = self.plan.storm_at(self.kernel.time) is not None
        for table in ("pools_sandbox", "runs_run"):
            for (state,) in _all(f"SELECT DISTINCT state FROM {table}"):
                self.states.add((f"{table.partition('_')[2]} {state}", "storm" if storm else "calm"))

    def fail(self, number: str, what: str) -> None:
        if not self.broken:
            self.broken = f"invariant {number}: {what}"
            self.kernel.log(f"VIOLATED {self.broken}")
            self.kernel.stop()


def _one(sql: str, *params: Any) -> Any:
    return store.connection().execute(sql, params).fetchone()[0]


def _all(sql: str, *params: Any) -> list[Any]:
    return store.connection().execute(sql, params).fetchall()


def _text(kernel: Kernel, seconds: float) -> str:
    """The moment so long from now, as the rows have it."""
    at = datetime.fromtimestamp(EPOCH_SECONDS + kernel.time + kernel.database_ahead_seconds, UTC)
    return str((at + timedelta(seconds=seconds)).replace(tzinfo=None))


def _moment(text: Any) -> datetime:
    return datetime.fromisoformat(str(text)).replace(tzinfo=None)
