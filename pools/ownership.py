"""Whose an app of the account is: ours, another installation's under our mark, or somebody else's.

The mark has three parts: our ORCHESTRATOR_ID, the id of this installation (one for each database), and a name that
only we give. An app that has the exact name of one of our rows is ours unless a mark that can be read says otherwise,
because the name is random and our own. Without such a row, the whole mark must be there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from django.conf import settings
from django.db.models import Exists, OuterRef

from pools.cloud.records import App, Marked, is_disowned
from pools.models import CloudApp, Fleet, Sandbox

NAMES_A_QUERY = 10_000  # below SQLite's limit of variables


class Named(Marked, Protocol):
    """Whatever has an app's name and its mark."""

    @property
    def name(self) -> str: ...


class Standing(StrEnum):
    """Whose an app is that no sandbox of ours is."""

    OURS = "ours"
    ANOTHERS = "another's"  # our mark, but made by another database, or by another copy of this one
    FOREIGN = "foreign"


class Identity(StrEnum):
    """Whether an app is the sandbox whose row names it."""

    ITS_OWN = "its own"
    ANOTHERS = "another's"
    UNTOLD = "untold"  # the record does not say


@dataclass(frozen=True, slots=True)
class Mark:
    """Our own mark."""

    owner: str
    installation: str
    name_prefix: str

    def gives(self, name: str) -> bool:
        """Whether it is a name that we give to sandboxes. The orchestrator's own app may carry our id, but never such
        a name."""
        return re.fullmatch(re.escape(self.name_prefix) + r"[0-9a-f]{8}", name) is not None

    def standing(self, app: Named, *, had_row: bool) -> Standing:
        """Whose the app is. `had_row`: a sandbox of ours has or had its name."""
        if not self.gives(app.name):
            return Standing.FOREIGN
        if is_disowned(app, self):
            return Standing.ANOTHERS if app.owner == self.owner else Standing.FOREIGN
        if had_row:
            return Standing.OURS
        if app.owner != self.owner:
            return Standing.FOREIGN
        # Older versions marked no installation. With one, each app of ours has a row before it is asked for: one that
        # never had one was made by another copy of this database, after it was copied.
        return Standing.ANOTHERS if app.installation else Standing.OURS

    def identity(self, app: Named, name: str, *, is_known: bool = False) -> Identity:
        """Whether the app is the sandbox of that name. `is_known`: our name and mark were seen under its id. Then
        another name says only that somebody has renamed it; a mark that reads as another's still disowns it."""
        if is_disowned(app, self):
            return Identity.ANOTHERS
        if is_known or app.name == name:
            return Identity.ITS_OWN
        return Identity.ANOTHERS if app.name else Identity.UNTOLD


def our_mark(fleet: Fleet | None = None) -> Mark:
    """The mark of this installation."""
    fleet = fleet or Fleet.get()
    return Mark(settings.ORCHESTRATOR_ID, fleet.installation, settings.SANDBOX_NAME_PREFIX)


def names_with_rows(names: Iterable[str]) -> set[str]:
    """Those that a sandbox of ours has, or had before it was deleted."""
    wanted, found = list(names), set[str]()
    for start in range(0, len(wanted), NAMES_A_QUERY):
        rows = Sandbox.objects.filter(name__in=wanted[start : start + NAMES_A_QUERY])
        found.update(rows.values_list("name", flat=True))
    return found


def ours(apps: Collection[App]) -> list[App]:
    """Those of a complete listing that are ours, with a row or as orphans; those that an operator has adopted, too."""
    adopted = set(CloudApp.objects.exclude(adopted_at=None).values_list("pk", flat=True))
    mine = {app.id for app in sorted_out(apps, our_mark())[Standing.OURS]}
    return [app for app in apps if app.id in mine or app.id in adopted]


def anothers() -> list[CloudApp]:
    """The apps of the last complete listing that carry our mark and are another installation's."""
    mark = our_mark()
    marked = CloudApp.objects.filter(owner=mark.owner, adopted_at=None)
    has_row = Exists(Sandbox.objects.filter(name=OuterRef("name")))
    doubtful = marked.exclude(has_row, installation__in=["", mark.installation])  # of thousands nearly all are not
    return sorted_out(list(doubtful), mark)[Standing.ANOTHERS]


AnyApp = TypeVar("AnyApp", bound=Named)


def sorted_out(apps: Collection[AnyApp], mark: Mark) -> dict[Standing, list[AnyApp]]:
    """The apps by whose they are."""
    rows = names_with_rows(app.name for app in apps if mark.gives(app.name))
    found: dict[Standing, list[AnyApp]] = {standing: [] for standing in Standing}
    for app in apps:
        found[mark.standing(app, had_row=app.name in rows)].append(app)
    return found
