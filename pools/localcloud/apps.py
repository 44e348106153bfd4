"""The account's apps: what was asked for, how far its deployment is, and what is kept of it on disk."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pools.localcloud.specs import SIZES, region_slug, runtime_of, shown, variables_of

PHASES = (("PENDING_BUILD", 0.15), ("BUILDING", 0.35), ("PENDING_DEPLOY", 0.5), ("DEPLOYING", 1.0))
KEEP_DELETED_SECONDS = 3600.0  # how far back a stale list can look


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class App:
    """One app. Its phase follows from the time since its deployment began, and from whether its agent answers."""

    id: str
    spec: dict[str, Any]
    created_at: float
    deploy_seconds: float
    shown_spec: dict[str, Any]
    deployment_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    deploying_since: float = 0.0
    paper: bool = False
    port: int = 0
    answers: bool = False  # its agent has answered
    was_active: bool = False
    stuck_in: str = ""
    error: str = ""
    agent_fault: dict[str, Any] = field(default_factory=dict)
    deleted_at: float | None = None
    lingers_until: float = 0.0

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def owner(self) -> str:
        return variables_of(self.spec).get("ORCHESTRATOR_ID", "")

    @property
    def token(self) -> str:
        return variables_of(self.spec).get("SANDBOX_API_TOKEN", "")

    def progress(self, now: float) -> float:
        return 1.0 if self.deploy_seconds <= 0 else (now - self.deploying_since) / self.deploy_seconds

    def phase(self, now: float) -> str:
        """The phase at `now`. ERROR comes where deploying would have ended."""
        progress = self.progress(now)
        for phase, until in PHASES:
            if self.stuck_in == phase or progress < until:
                return phase
        if self.error or runtime_of(self.spec) is None:
            return "ERROR"
        return "ACTIVE" if self.answers or self.paper or self.agent_fault.get("silent") else "DEPLOYING"

    def url(self, base: str) -> str:
        return f"{base}/_paper/{self.id}" if self.paper else f"http://127.0.0.1:{self.port}"

    def deployment(self, now: float) -> dict[str, Any]:
        phase = self.phase(now)
        deployment: dict[str, Any] = {
            "id": self.deployment_id,
            "spec": self.shown_spec,
            "phase": phase,
            "cause": "initial deployment",
            "created_at": timestamp(self.deploying_since),
            "updated_at": timestamp(now),
            "phase_last_updated_at": timestamp(now),
            "tier_slug": "basic",
            "progress": {
                "pending_steps": 0,
                "running_steps": 0,
                "success_steps": 0,
                "error_steps": 0,
                "total_steps": 6,
            },
        }
        done = {"PENDING_BUILD": 0, "BUILDING": 1, "PENDING_DEPLOY": 3, "DEPLOYING": 4, "ACTIVE": 6, "ERROR": 3}[phase]
        deployment["progress"]["success_steps"] = done
        if phase == "ERROR":
            reason = self.error or "failed to pull image: the image does not exist"
            deployment["progress"] |= {
                "error_steps": 1,
                "steps": [{"name": "deploy", "status": "ERROR", "reason": {"code": "DeployFailed", "message": reason}}],
            }
        elif phase != "ACTIVE":
            deployment["progress"]["running_steps"] = 1
        deployment["progress"]["pending_steps"] = 6 - done - (phase != "ACTIVE")
        return deployment

    def as_json(self, now: float, base: str) -> dict[str, Any]:
        """The app as the API shows it: what does not apply is absent."""
        phase = self.phase(now)
        data: dict[str, Any] = {
            "id": self.id,
            "spec": self.shown_spec,
            "created_at": timestamp(self.created_at),
            "updated_at": timestamp(max(self.created_at, min(now, self.deploying_since + self.deploy_seconds))),
            "owner_uuid": "00000000-0000-4000-8000-000000000000",
            "project_id": "00000000-0000-4000-8000-000000000001",
            "tier_slug": "basic",
            "region": {"slug": region_slug(self.spec.get("region", "nyc")), "default": False, "disabled": False},
            "last_deployment_created_at": timestamp(self.deploying_since),
        }
        deployment = self.deployment(now)
        if phase == "ACTIVE":
            data["active_deployment"] = deployment
        elif phase in ("PENDING_BUILD", "ERROR"):
            data["pending_deployment"] = deployment
        else:
            data["in_progress_deployment"] = deployment
        if phase == "ACTIVE" or self.was_active:
            url = self.url(base)
            data |= {"default_ingress": url, "live_url": url, "live_url_base": url, "live_domain": url.split("//")[1]}
            if phase != "ACTIVE":
                data["active_deployment"] = {**deployment, "phase": "ACTIVE"}
        return data


class Account:
    """All apps, in memory and on disk, in the order of their creation."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.apps: dict[str, App] = {}
        self.deleted: list[App] = []
        # A killed process loses nothing that was committed; only a crash of the machine could.
        self.disk = sqlite3.connect(folder / "apps.sqlite3", isolation_level=None)
        self.disk.execute("PRAGMA journal_mode=WAL")
        self.disk.execute("PRAGMA synchronous=OFF")
        self.disk.execute("CREATE TABLE IF NOT EXISTS apps (id TEXT PRIMARY KEY, created_at REAL, record TEXT)")
        for (record,) in self.disk.execute("SELECT record FROM apps ORDER BY created_at, rowid"):
            app = App(**json.loads(record))
            self.apps[app.id] = app

    def create(self, spec: dict[str, Any], deploy_seconds: float, *, paper: bool = False, **fields: Any) -> App:
        now = time.time()
        app = App(str(uuid.uuid4()), spec, now, deploy_seconds, shown(spec), deploying_since=now, paper=paper, **fields)
        self.apps[app.id] = app
        self.keep([app])
        return app

    def create_many(self, specs: Iterable[dict[str, Any]]) -> list[App]:
        """Many paper apps at once, active from the start."""
        now = time.time()
        apps = [App(str(uuid.uuid4()), spec, now, 0.0, shown(spec), deploying_since=now, paper=True) for spec in specs]
        self.apps |= {app.id: app for app in apps}
        self.keep(apps)
        return apps

    def keep(self, apps: Iterable[App]) -> None:
        rows = [(app.id, app.created_at, json.dumps(asdict(app))) for app in apps]
        self.disk.execute("BEGIN")
        self.disk.executemany("INSERT OR REPLACE INTO apps VALUES (?, ?, ?)", rows)
        self.disk.execute("COMMIT")

    def delete(self, app: App) -> None:
        app.deleted_at = time.time()
        self.apps.pop(app.id, None)
        self.deleted = [old for old in self.deleted if (old.deleted_at or 0) > app.deleted_at - KEEP_DELETED_SECONDS]
        self.deleted.append(app)
        self.disk.execute("DELETE FROM apps WHERE id = ?", (app.id,))

    def named(self, name: str) -> App | None:
        return next((app for app in self.apps.values() if app.name == name), None)

    def listed(self, now: float, stale_seconds: float = 0.0) -> list[App]:
        """Newest first; with `stale_seconds`, as the account was that long ago. Deleted apps that linger stay in it."""
        then = now - stale_seconds
        gone = [
            app for app in self.deleted if app.lingers_until > now or (stale_seconds and (app.deleted_at or 0) > then)
        ]
        apps = [app for app in (*self.apps.values(), *gone) if not stale_seconds or app.created_at <= then]
        return sorted(apps, key=lambda app: app.created_at, reverse=True)


def monthly_cost(spec: dict[str, Any]) -> float:
    """USD a month for all of the app's instances."""
    cost = 0.0
    for service in spec.get("services", []):
        price = float(SIZES[service.get("instance_size_slug", "apps-s-1vcpu-0.5gb")][0])
        cost += price * int(service.get("instance_count", 1))
    return cost
