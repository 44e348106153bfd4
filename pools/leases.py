"""Only one at a time, across processes and machines: a row that says who, until when.

`with hold("turn", 45) as lease, lease.fencing():` also fences what is written: a holder that stood still for longer
than its lease writes nothing over what its successor did.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import IntegrityError, connection, transaction
from django.db.models import Q

from pools import clock
from pools.models import Lease
from pools.this_machine import this_machine, this_process

CLOCKS_DIFFER_SECONDS = 900  # at most, between machines; a lease that runs longer is from before a clock was set back
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)  # free also when the clock is set back

WRITES = ("INSERT", "UPDATE", "DELETE")

Execute = Callable[[str, Any, bool, dict[str, Any]], Any]


class LeaseHeld(Exception):
    """Somebody else has it."""


class LeaseLost(Exception):
    """It ran out, and somebody else may have it now: stop acting."""


def prove_writable() -> None:
    """Write one row, for good: a write that is taken back would meet no full disk. Raises a DatabaseError."""
    name, at = f"written-{this_machine()[-30:]}", clock.now()
    if not Lease.objects.filter(name=name).update(expires_at=at):
        try:
            Lease.objects.create(name=name, holder=uuid4(), expires_at=at)
        except IntegrityError:
            if not Lease.objects.filter(name=name).exists():  # else another process of this machine was first
                raise


def is_dead(process: str) -> bool:
    """Whether that process ran on this machine and is gone. False when that can't be known."""
    host_and_namespace, _, pid = process.rpartition("|")
    if not pid.isdigit() or host_and_namespace != this_process().rpartition("|")[0]:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def held(names: Iterable[str]) -> set[str]:
    """Return which of these leases somebody living holds."""
    rows = Lease.objects.filter(name__in=list(names), expires_at__gt=clock.now())
    return {name for name, process in rows.values_list("name", "process") if not is_dead(process)}


class Held:
    """A lease in our hands."""

    def __init__(self, name: str, holder: UUID, seconds: float) -> None:
        self.name, self.holder, self.seconds = name, holder, seconds

    def renew(self) -> None:
        """Keep it for another term, from now; also when it ran out, while nobody else has taken it. Raises
        LeaseLost."""
        mine = Lease.objects.filter(name=self.name, holder=self.holder)
        if not mine.update(expires_at=clock.now() + timedelta(seconds=self.seconds)):
            raise LeaseLost(self.name)

    def is_renewed(self) -> bool:
        """The same, for `pools.tenure.kept`: False when it is somebody else's."""
        try:
            self.renew()
        except LeaseLost:
            return False
        return True

    def fencing(self) -> AbstractContextManager[None]:
        """What this thread writes in the block is written only while the lease is ours, whatever has happened to this
        process since it last looked. Raises LeaseLost in the middle of it when it is not."""
        return connection.execute_wrapper(self._fenced)

    def _fenced(self, execute: Execute, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if not sql.lstrip().upper().startswith(WRITES):
            return execute(sql, params, many, context)
        if context["connection"].in_atomic_block:
            self._require()
            return execute(sql, params, many, context)
        with transaction.atomic():
            self._require()
            return execute(sql, params, many, context)

    def _require(self) -> None:
        """Raises LeaseLost. Until the transaction ends nobody else can take it."""
        mine = Lease.objects.select_for_update(no_key=True).filter(name=self.name, holder=self.holder)
        if mine.values_list("name").first() is None:
            raise LeaseLost(self.name)


def take(name: str, seconds: float) -> Held:
    """Raises LeaseHeld when somebody living has it."""
    now = clock.now()
    holder, expires_at = uuid4(), now + timedelta(seconds=seconds)
    mine = {"holder": holder, "process": this_process(), "expires_at": expires_at}
    current = Lease.objects.filter(name=name).first()
    if current is None:
        try:
            Lease.objects.create(name=name, **mine)
        except IntegrityError:
            raise LeaseHeld(name) from None
        return Held(name, holder, seconds)
    is_running = now < current.expires_at < now + timedelta(seconds=seconds + CLOCKS_DIFFER_SECONDS)
    if is_running and not is_dead(current.process):
        raise LeaseHeld(name)
    same = Q(name=name, holder=current.holder, expires_at=current.expires_at)
    if not Lease.objects.filter(same).update(**mine):
        raise LeaseHeld(name)
    return Held(name, holder, seconds)


@contextmanager
def hold(name: str, seconds: float) -> Iterator[Held]:
    """`with hold("turn", 45) as lease:`. Raises LeaseHeld at once when somebody living has it."""
    held = take(name, seconds)
    try:
        yield held
    finally:
        Lease.objects.filter(name=name, holder=held.holder).update(expires_at=LONG_AGO)
