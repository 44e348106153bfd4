"""Edits as the log has them: each field with its value before and after, in the sentence and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from pools.cloud.fitting import fitted

VALUE_CHARACTERS = 200  # of one in a sentence; programs get it whole


class Of(StrEnum):
    """What is edited."""

    POOL = "pool"
    FLEET = "fleet"
    KEY = "key"
    GAME = "game"


class Change(NamedTuple):
    """One field's value before and after, as JSON has them."""

    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Edit:
    """What was edited, by the name that it has since then, and from what to what. Not by the database's own number: an
    imported log is of other numbers."""

    of: str
    name: str
    changes: Mapping[str, Change]

    def data(self) -> dict[str, Any]:
        """What a line of the log keeps of it."""
        changes = {field: change._asdict() for field, change in self.changes.items()}
        return {"edit": {"of": self.of, "name": self.name}, "changes": changes}

    def sentence(self) -> str:
        told = ((field, self.said(old), self.said(new)) for field, (old, new) in self.changes.items())
        return ", ".join(f"{field}: {old} → {new}" for field, old, new in told)

    @staticmethod
    def said(value: Any) -> str:
        """A value as a sentence has it."""
        if isinstance(value, bool):
            return "on" if value else "off"
        return "nothing" if value in (None, "") else fitted(str(value), VALUE_CHARACTERS)


def edit(of: Of, name: str, changes: Mapping[str, tuple[Any, Any]]) -> Edit:
    plain = {field: Change(_plain(old), _plain(new)) for field, (old, new) in changes.items()}
    return Edit(of, name, plain)


def edit_in(data: Mapping[str, Any]) -> Edit | None:
    """The edit that a line keeps in its data; None for a line of something else."""
    about, changes = data.get("edit"), data.get("changes")
    if not isinstance(about, dict) or not isinstance(changes, dict):
        return None
    return Edit(
        about["of"],
        about["name"],
        {field: Change(change["old"], change["new"]) for field, change in changes.items()},
    )


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) else str(value)
