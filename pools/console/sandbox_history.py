"""A sandbox's life as its row remembers it: each step with when, how long after the one before, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pools.models import Sandbox


@dataclass(frozen=True, slots=True)
class Moment:
    at: datetime
    title: str
    detail: str
    after_seconds: float | None  # since the step before; None for the first


def life_of(sandbox: Sandbox) -> list[Moment]:
    """The steps that have come, in the order in which they came."""
    served = "given to its run" if sandbox.origin == "cold" else "taken from the pool by a run"
    steps = [
        (sandbox.requested_at, "Wanted", sandbox.create_reason),
        (sandbox.create_sent_at, "DigitalOcean asked to create it", ""),
        (sandbox.accepted_at, "Accepted", f"app {sandbox.app_id}" if sandbox.app_id else ""),
        (sandbox.healthy_at, "Its agent answered", ""),
        (sandbox.staging_started_at, "Games being put in", ", ".join(sandbox.staged_games)),
        (sandbox.ready_at, "Ready", ""),
        (sandbox.acquired_at, "In use", served),
        (sandbox.missing_since, "Missing from DigitalOcean's listing", ""),
        (sandbox.delete_requested_at, "To be deleted", sandbox.end_reason),
        (sandbox.delete_sent_at, "DigitalOcean asked to delete it", "the last time"),
        (sandbox.deleted_at, "Gone", "DigitalOcean does not know it any more"),
    ]
    come = sorted(((at, title, detail) for at, title, detail in steps if at is not None), key=lambda step: step[0])
    life: list[Moment] = []
    for at, title, detail in come:
        after = (at - life[-1].at).total_seconds() if life else None
        life.append(Moment(at, title, detail, after))
    return life
