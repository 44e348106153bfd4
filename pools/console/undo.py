"""An edit is taken back: each of its fields gets the value from before, if nobody has set it again since."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import transaction
from django.db.models import Model

from pools.console.operations import Refused, edit_pool, set_maintenance
from pools.edits import Change, Edit, Of, edit, edit_in
from pools.models import Fleet, FleetEvent, Pool

SetBack = Callable[[Any, Mapping[str, tuple[Any, Any]], int, str, str], str]


@dataclass(frozen=True, slots=True)
class Kind:
    """How rows of a kind are found, locked, and set back: `set_back(row, changes, line, actor, reason)`."""

    find: Callable[[str], Model | None]
    set_back: SetBack


KINDS: dict[str, Kind] = {}


def can_be_undone(event: FleetEvent) -> bool:
    """Whether the line is somebody's edit of a kind that can be taken back. Of the autopilot's the next turn decides
    anew."""
    made = edit_in(event.data)
    return made is not None and made.of in KINDS and bool(event.actor)


def undone(event: FleetEvent) -> Edit:
    """The edit that would take back the line's. Raises Refused where somebody has set a field again since."""
    made = edit_in(event.data)
    if made is None or not can_be_undone(event):
        raise Refused("This line is no edit that can be undone.")
    row = _found(made)
    if not all(hasattr(row, field) for field in made.changes):
        raise Refused("This version has no such setting.")
    is_now = {field: getattr(row, field) for field in made.changes}
    now = edit(Of(made.of), made.name, {field: (value, value) for field, value in is_now.items()})
    for field, (old, new) in made.changes.items():
        if now.changes[field].new != new:
            since = edit(Of(made.of), made.name, {field: (new, is_now[field])}).sentence()
            raise Refused(f"It was changed since: {since}. Set it by hand to {Edit.said(old)}, if that is still right.")
    return Edit(made.of, made.name, {field: Change(new, old) for field, (old, new) in made.changes.items()})


@transaction.atomic
def undo(event: FleetEvent, *, actor: str, reason: str) -> tuple[str, Model]:
    """Take the edit of that line back. What was done, as a sentence, and the row. Raises Refused."""
    Fleet.lock()  # first: of two who edit at once, the second sees what the first has set
    back = undone(event)
    row = _found(back)
    return KINDS[back.of].set_back(row, back.changes, event.seq, actor, reason), row


def _found(made: Edit) -> Model:
    row = KINDS[made.of].find(made.name)
    if row is None:
        raise Refused(f"There is no {made.of} {made.name} any more.")
    return row


def _pool(name: str) -> Pool | None:
    return Pool.objects.filter(name=name).first()


def _set_pool_back(pool: Pool, changes: Mapping[str, tuple[Any, Any]], line: int, actor: str, reason: str) -> str:
    for field, (_, old) in changes.items():
        setattr(pool, field, old)
    try:
        pool.full_clean()
    except ValidationError as error:
        # What is wrong with other fields was so before.
        told = [" ".join(told) for field, told in error.message_dict.items() if field in {*changes, NON_FIELD_ERRORS}]
        if told:
            raise Refused(f"It would not fit any more: {' '.join(told)}") from None
    return edit_pool(pool, changes, actor=actor, reason=reason, undoes=line)


def _set_fleet_back(fleet: Fleet, changes: Mapping[str, tuple[Any, Any]], line: int, actor: str, reason: str) -> str:
    back = {field: old for field, (_, old) in changes.items()}
    on = back.get("maintenance", fleet.maintenance)
    message = back.get("maintenance_message", fleet.maintenance_message)
    return set_maintenance(on=on, message=message, actor=actor, reason=reason, undoes=line)


KINDS[Of.POOL] = Kind(_pool, _set_pool_back)
KINDS[Of.FLEET] = Kind(lambda name: Fleet.get(), _set_fleet_back)
