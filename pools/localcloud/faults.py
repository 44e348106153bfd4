"""Trouble on demand: which requests and apps it meets, what it does to them, and a client to ask for it.

A fault is a JSON object. What it meets:

    operation   create, list, get, delete, update, propose, deployments, … or * (default)
    name        regular expression on the app's name (for create, the name asked for)
    times       how many it meets before it is used up (default: no end); skip: how many it lets pass first
    probability with `seed`: only some, the same ones each time

What it does to a request:

    latency_seconds   wait first
    status            answer this; with `retry_after` (seconds) and `message`
    after             true: the request has its effect, and only its answer is lost
    body              html, empty, truncated or odd, with `status` (default 200)
    hang              hold the connection without an answer, for `seconds` (default 3600)
    reset             break the connection in the middle of the answer

To a listing: stale_seconds (as it was then), omit (names, regular expression), add (specs of apps that do not exist),
empty, page (with `status`, `body`, …: only that page meets it), shift (an app moves between the pages), total.

To a new app: stuck (a phase), error (a reason), deploy_seconds, agent ({"silent", "hangs", "wrong_token",
"dies_after_seconds", "stays_dead"}), and quota (how many apps the account may have).
To a deletion: linger_seconds (the app stays listed).
"""

from __future__ import annotations

import itertools
import random
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

EFFECTS = {
    "latency_seconds", "status", "retry_after", "message", "after", "body", "hang", "seconds", "reset", "stale_seconds",
    "omit", "add", "empty", "page", "shift", "total", "stuck", "error", "deploy_seconds", "agent", "quota",
    "linger_seconds",
}  # fmt: skip
MATCHES = {"operation", "name", "times", "skip", "probability", "seed"}


class UnknownFault(ValueError):
    """The fault has a field that means nothing."""


@dataclass
class Fault:
    operation: str = "*"
    name: str = ""
    times: int | None = None
    skip: int = 0
    probability: float = 1.0
    seed: int = 0
    effects: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    met: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311  repeatable on purpose

    @classmethod
    def read(cls, data: dict[str, Any]) -> Fault:
        if unknown := sorted(data.keys() - EFFECTS - MATCHES):
            raise UnknownFault(f"unknown field {unknown[0]!r}")
        effects = {key: value for key, value in data.items() if key in EFFECTS}
        return cls(**{key: value for key, value in data.items() if key in MATCHES}, effects=effects)

    def meets(self, operation: str, name: str, page: int | None) -> bool:
        """Whether it meets this request; counts it."""
        if self.operation not in ("*", operation) or (self.name and not re.search(self.name, name)):
            return False
        if "page" in self.effects and page is not None and page != self.effects["page"]:
            return False
        if self.times is not None and self.met >= self.times + self.skip:
            return False
        if self.chance.random() >= self.probability:
            return False
        self.met += 1
        return self.met > self.skip

    def as_json(self) -> dict[str, Any]:
        own = {"id": self.id, "operation": self.operation, "name": self.name, "times": self.times, "met": self.met}
        return own | self.effects


class Faults:
    """The faults in force, in the order in which they were asked for; later ones win where they disagree."""

    def __init__(self) -> None:
        self.active: dict[str, Fault] = {}

    def add(self, data: dict[str, Any]) -> Fault:
        fault = Fault.read(data)
        self.active[fault.id] = fault
        return fault

    def effects(self, operation: str, name: str = "", page: int | None = None) -> dict[str, Any]:
        """What befalls this request, all faults that meet it taken together."""
        merged: dict[str, Any] = {}
        for fault in self.active.values():
            if fault.meets(operation, name, page):
                merged |= fault.effects
        return merged


class LocalCloudControl:
    """The local cloud's own admin endpoints, for tests and demonstrations."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def fault(self, **data: Any) -> str:
        """Ask for a fault (see the module); its id."""
        return str(self._json("POST", "/_local/faults", json=data)["id"])

    def clear(self, fault_id: str | None = None) -> None:
        """Take back one fault, or all."""
        self._json("DELETE", f"/_local/faults/{fault_id}" if fault_id else "/_local/faults")

    def state(self) -> dict[str, Any]:
        """Apps, processes, requests by operation, the journal of creates and deletes, and the most apps at a time."""
        return dict(self._json("GET", "/_local/state"))

    def apps(self) -> list[dict[str, Any]]:
        """The account's apps as they really are, whatever the faults."""
        return list(self.state()["apps"])

    def make_app(self, name: str, owner: str = "", **fields: Any) -> dict[str, Any]:
        """An app behind the orchestrator's back: somebody else's, or with a mark."""
        return dict(self._json("POST", "/_local/apps", json={"name": name, "owner": owner, **fields}))

    def make_apps(self, count: int, prefix: str = "sandbox-", owner: str = "") -> list[str]:
        """Many paper apps, active at once; their ids."""
        body = {
            "names": [f"{prefix}{number:0{16 - len(prefix)}x}" for number in itertools.islice(_numbers(), count)],
            "owner": owner,
        }
        return list(self._json("POST", "/_local/apps", json=body)["ids"])

    def delete_app(self, app_id: str) -> None:
        """Delete an app behind the orchestrator's back."""
        self._json("DELETE", f"/_local/apps/{app_id}")

    def kill_agent(self, app_id: str, *, stays_dead: bool = True) -> None:
        """The agent of an app dies; the platform restarts it unless it stays dead."""
        self._json("POST", f"/_local/apps/{app_id}/kill-agent", json={"stays_dead": stays_dead})

    def reset(self) -> None:
        """No apps, no faults, no counts."""
        self._json("POST", "/_local/reset")

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = self.client.request(method, path, **options)
        answer.raise_for_status()
        return dict(answer.json())


def _numbers() -> Iterator[int]:
    return itertools.count(0x10000000)
