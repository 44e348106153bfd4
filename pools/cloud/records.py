"""The records that cross the cloud's boundary: our own words for App Platform's apps, specs and sizes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

# What is kept of an app's texts; a longer one is cut, and costs nothing but itself.
ID_CHARACTERS = 64
NAME_CHARACTERS = 64
OWNER_CHARACTERS = 64
URL_CHARACTERS = 300
REGION_CHARACTERS = 20
SIZE_CHARACTERS = 60
FAILURE_CHARACTERS = 2000


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
    """One app as the cloud reported it. `owner` is the value of its ORCHESTRATOR_ID env, if it has one."""

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


@dataclass(frozen=True, slots=True)
class AppSpec:
    """A request for an app. `image` is `registry/repository:tag`, `token` opens the agent inside."""

    name: str
    owner: str
    image: str
    region: str
    size: str
    token: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """The cloud's opinion on a spec that was not created: is the name free?"""

    name_is_available: bool
