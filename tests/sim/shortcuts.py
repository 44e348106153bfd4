"""The same with less work, where most of the time goes: Django's making of SQL, and a few functions of the product.

What stands in for a function of the product does the same to the same rows, in SQL that is written out. It does so only
while that function's source is the one that it was written for (`SOURCES`): whoever changes the function has the
simulation run it, slower, until its digest is written here again (`digest_of`).
"""

from __future__ import annotations

import copy
import gc
import hashlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models.expressions import Col
from django.db.models.sql.compiler import SQLCompiler

from pools import clock
from pools.leases import Held, LeaseLost
from pools.models import Fleet
from runs import upkeep
from runs.models import RunQuerySet
from tests.sim.database import locks, store

SOURCES = {
    "Fleet.get": "31590d8b5099",
    "Fleet.lock": "6a79fcc4f1e5",
    "Held._require": "a193dd92ae30",
    "Held.renew": "1cd2d51507f1",
    "serve_all_waiting": "724e24f1b7c9",
    "place_waiting": "129a5cd1a4b1",
    "tell_progress": "bd6b60d71dd2",
    "redeploy_cut_off": "04c41cb3624a",
    "end_parted": "72e7ed73ecc7",
    "end_overdue": "fb493439c5b3",
    "warn_of_ends": "83da9a8ff007",
    "keep_count": "c1d04bc430c8",
    "RunQuerySet": "5be9a29156a8",
}

OF_CLASSES: tuple[tuple[type, str], ...] = ((Fleet, "get"), (Fleet, "lock"), (Held, "_require"), (Held, "renew"))


def digest_of(function: Callable[..., Any]) -> str:
    return hashlib.sha256(inspect.getsource(inspect.unwrap(function)).encode()).hexdigest()[:12]


class FleetRow:
    """The fleet's row as it was read last, until somebody writes it."""

    def __init__(self) -> None:
        self.kept: Fleet | None = None
        self._real = Fleet.__dict__["get"].__func__

    def wrote(self, table: str) -> None:
        if table == "pools_fleet":
            self.kept = None

    def forget(self) -> None:
        self.kept = None

    def get(self) -> Fleet:
        if self.kept is None:
            found = self._real(Fleet)
            self.kept = copy.deepcopy(found)
            return found
        found = copy.copy(self.kept)
        found._state = copy.copy(self.kept._state)
        found.request_budget = copy.deepcopy(self.kept.request_budget)
        found.approved = list(self.kept.approved)
        return found

    def lock(self) -> Fleet:
        wrapper = connections[DEFAULT_DB_ALIAS]
        if not wrapper.in_atomic_block:
            raise transaction.TransactionManagementError("select_for_update cannot be used outside of a transaction.")
        if not wrapper.is_begun:
            locks.before_read(wrapper, "pools_fleet")
        return self.get()


def _require(held: Held) -> None:
    cursor = connections[DEFAULT_DB_ALIAS].cursor()
    sql = "SELECT name FROM pools_lease WHERE name = %s AND holder = %s FOR NO KEY UPDATE"
    if cursor.execute(sql, [held.name, held.holder.hex]).fetchone() is None:
        raise LeaseLost(held.name)


def _renew(held: Held) -> None:
    until = str((clock.now() + timedelta(seconds=held.seconds)).replace(tzinfo=None))
    cursor = connections[DEFAULT_DB_ALIAS].cursor()
    cursor.execute(
        "UPDATE pools_lease SET expires_at = %s WHERE name = %s AND holder = %s", [until, held.name, held.holder.hex]
    )
    if not cursor.rowcount:
        raise LeaseLost(held.name)


@contextmanager
def taken(row: FleetRow) -> Iterator[None]:
    with ExitStack() as stack:
        put = lambda target, name, value: stack.enter_context(mock.patch.object(target, name, value))  # noqa: E731
        are = sources()
        for (owner, name), instead in zip(
            OF_CLASSES,
            (classmethod(lambda cls: row.get()), classmethod(lambda cls: row.lock()), _require, _renew),
            strict=True,
        ):
            if are[f"{owner.__name__}.{name}"] == SOURCES[f"{owner.__name__}.{name}"]:
                put(owner, name, instead)
        if are["RunQuerySet"] == SOURCES["RunQuerySet"]:
            for name in SOMETHING_TO_DO:
                if are[name] == SOURCES[name]:
                    put(upkeep, name, _if_needed(name, getattr(upkeep, name)))
        yield


# The parts of each turn's upkeep: done when a look at the rows says that there is something to do.

ACTIVE = "state IN ('acquiring', 'deploying', 'running')"
LIVE = "('requested', 'creating', 'staging', 'ready', 'in_use')"
SOMETHING_TO_DO = {
    "serve_all_waiting": "SELECT 1 FROM runs_run WHERE state = 'acquiring' AND sandbox_id IS NULL AND mode = 'warm'",
    "place_waiting": "SELECT 1 FROM runs_run WHERE state = 'acquiring' AND sandbox_id IS NULL",
    "tell_progress": "SELECT 1 FROM runs_run WHERE state = 'acquiring'",
    "redeploy_cut_off": (
        "SELECT 1 FROM runs_run WHERE state = 'deploying' OR (state = 'running' AND deploy_lease_until IS NOT NULL)"
    ),
    "end_parted": (
        f"SELECT 1 FROM runs_run r JOIN pools_sandbox s ON s.id = r.sandbox_id "
        f"WHERE (r.{ACTIVE}) <> (s.state IN {LIVE}) AND (r.{ACTIVE} OR s.state IN {LIVE})"
    ),
    "end_overdue": (
        "SELECT 1 FROM runs_run WHERE (state = 'running' AND expires_at <= :now) "
        "OR (state IN ('acquiring', 'deploying') AND created_at <= :long_ago)"
    ),
    "warn_of_ends": (
        "SELECT 1 FROM runs_run WHERE state = 'running' AND expires_at <= :soon "
        "AND (warned_of IS NULL OR warned_of <> expires_at)"
    ),
    "keep_count": (
        f"SELECT 1 FROM runs_tally WHERE warm <> (SELECT count(*) FROM runs_run WHERE {ACTIVE} AND mode = 'warm') "
        f"OR cold <> (SELECT count(*) FROM runs_run WHERE {ACTIVE} AND mode = 'cold')"
    ),
}


def _if_needed(name: str, real: Callable[[datetime], None]) -> Callable[[datetime], None]:
    sql = SOMETHING_TO_DO[name] + " LIMIT 1"

    def part(now: datetime) -> None:
        times = {
            "now": _text(now),
            "long_ago": _text(now - timedelta(seconds=upkeep.START_SECONDS)),
            "soon": _text(now + timedelta(seconds=upkeep.WARNED_SECONDS + upkeep.TURN_SECONDS)),
        }
        if store.connection().execute(sql, times).fetchone() is not None:
            real(now)

    return part


def _text(moment: datetime) -> str:
    return str(moment.replace(tzinfo=None))


def sources() -> dict[str, str]:
    """The digests as they are."""
    found = {f"{owner.__name__}.{name}": digest_of(getattr(owner, name)) for owner, name in OF_CLASSES}
    found |= {name: digest_of(getattr(upkeep, name)) for name in SOMETHING_TO_DO}
    return found | {"RunQuerySet": hashlib.sha256(inspect.getsource(RunQuerySet).encode()).hexdigest()[:12]}


# Django.

_columns: dict[tuple[str, str], tuple[str, list[Any]]] = {}
_converters: dict[tuple[Any, ...], Any] = {}
_real_compile = SQLCompiler.compile
_real_get_converters = SQLCompiler.get_converters


def _compile(compiler: SQLCompiler, node: Any) -> Any:
    if type(node) is Col:
        key = (node.alias, node.target.column)
        found = _columns.get(key)
        if found is None:
            found = _columns[key] = _real_compile(compiler, node)
        return found[0], []
    return _real_compile(compiler, node)


def _quote(compiler: SQLCompiler, name: str) -> str:
    found = compiler.quote_cache.get(name)
    return found if found is not None else _real_quote(compiler, name)


_real_quote = SQLCompiler.quote_name_unless_alias


def _get_converters(compiler: SQLCompiler, expressions: Any) -> Any:
    expressions = list(expressions)
    if not all(type(each) is Col for each in expressions):
        return _real_get_converters(compiler, expressions)
    key = tuple(each.target for each in expressions), tuple(each.output_field for each in expressions)
    found = _converters.get(key)
    if found is None:
        found = _converters[key] = _real_get_converters(compiler, expressions)
    return {place: (list(converters), expressions[place]) for place, (converters, _) in found.items()}


def make_django_quicker() -> None:
    """For the rest of this process's life; and Python's collection of garbage, too."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    SQLCompiler.compile = _compile  # type: ignore[method-assign]
    SQLCompiler.quote_name_unless_alias = _quote  # type: ignore[method-assign]
    SQLCompiler.get_converters = _get_converters  # type: ignore[method-assign]
