"""The records that cross the cloud's boundary: our own words for App Platform's apps, specs and sizes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

# What is kept of an app's texts; a longer one is cut, and costs nothing but itself.
ID_CHARACTERS = 64
NAME_CHARACTERS = 64
OWNER_CHARACTERS = 64
INSTALLATION_CHARACTERS = 64
URL_CHARACTERS = 300
REGION_CHARACTERS = 20
SIZE_CHARACTERS = 60
FAILURE_CHARACTERS = 2000


UNREADABLE = "(unreadable)"  # stands for a mark that the cloud shows encrypted: no mark of anybody's is spelled so


class Phase(StrEnum):
    """A deployment's phase, as App Platform names it."""

    PENDING_BUILD = "PENDING_BUILD"
    BUILDING = "BUILDING"
    PENDING_DEPLOY = "PENDING_DEPLOY"
    DEPLOYING = "DEPLOYING"
    ACTIVE = "ACTIVE"
    ERROR = "ERROR"
    CANCELED = "CANCELED"
    SUPERSEDED = "SUPERSEDED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class App:
    """One app as the cloud reported it. `owner` is the value of its ORCHESTRATOR_ID env and `installation` that of its
    ORCHESTRATOR_INSTALLATION: None without one, UNREADABLE where it can't be read."""

    id: str
    name: str
    owner: str | None
    phase: Phase
    url: str | None
    region: str | None
    size: str | None
    created_at: datetime
    updated_at: datetime | None = None
    failure: str | None = None
    installation: str | None = None


@dataclass(frozen=True, slots=True)
class AppSpec:
    """A request for an app. `image` is `registry/repository:tag`, `token` opens the agent inside; `owner` and
    `installation` are its mark."""

    name: str
    owner: str
    image: str
    region: str
    size: str
    token: str = field(repr=False)
    installation: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """The cloud's opinion on a spec that was not created: is the name free?"""

    name_is_available: bool


class Marked(Protocol):
    """Whatever carries a mark."""

    @property
    def owner(self) -> str | None: ...

    @property
    def installation(self) -> str | None: ...


def is_disowned(app: Marked, ours: Marked) -> bool:
    """Whether a mark that can be read says that the app is somebody else's. An app from before there were
    installations has none, and what can't be read says nothing."""
    silent = (None, "", UNREADABLE)
    return (app.owner not in silent and app.owner != ours.owner) or (
        app.installation not in silent and bool(ours.installation) and app.installation != ours.installation
    )
