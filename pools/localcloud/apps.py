"""An app: its spec, its deployments and how far each has come, and its JSON in the API."""

from __future__ import annotations

import time
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from pools.localcloud.specs import REGIONS, SIZES, region_slug, runtime_of, shown, variables_of

PHASES = {
    "PENDING_BUILD": 0.15,
    "BUILDING": 0.35,
    "PENDING_DEPLOY": 0.5,
    "DEPLOYING": 1.0,
}  # until which share of its time
STEPS_DONE = {"PENDING_BUILD": 0, "BUILDING": 1, "PENDING_DEPLOY": 3, "DEPLOYING": 4, "ACTIVE": 6, "SUPERSEDED": 6}
STEPS = 6
AGENT_STARTS_AT = 0.5  # of the deployment's time, so that it has come up by the end of it
OWNER = "00000000-0000-4000-8000-000000000000"
PROJECT = "00000000-0000-4000-8000-000000000001"


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class Deployment:
    """One attempt to run the app's spec. Its phase follows from the time, until it has an outcome."""

    began_at: float
    seconds: float
    shown_spec: dict[str, Any]
    cause: str = "initial deployment"
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    stuck_in: str = ""
    error: str = ""
    outcome: str = ""
    ended_at: float = 0.0

    def phase(self, now: float) -> str:
        """The phase at `now`; DEPLOYING is left by an outcome only."""
        if self.outcome and now >= self.ended_at:
            return self.outcome
        progress = 1.0 if self.seconds <= 0 else (now - self.began_at) / self.seconds
        return next(
            (phase for phase, until in PHASES.items() if phase == self.stuck_in or progress < until), "DEPLOYING"
        )

    def is_over_time(self, now: float) -> bool:
        return not self.stuck_in and now >= self.began_at + self.seconds

    def since(self, now: float) -> float:
        """Return when it came to the phase that it has at `now`."""
        if self.outcome and now >= self.ended_at:
            return self.ended_at
        begun = [0.0, *PHASES.values()]
        return self.began_at + self.seconds * begun[list(PHASES).index(self.phase(now))]

    def as_json(self, now: float) -> dict[str, Any]:
        phase, since = self.phase(now), timestamp(self.since(now))
        done, running, failed = STEPS_DONE.get(phase, 3), int(phase in PHASES), int(phase == "ERROR")
        progress: dict[str, Any] = {
            "success_steps": done,
            "running_steps": running,
            "error_steps": failed,
            "pending_steps": STEPS - done - running - failed,
            "total_steps": STEPS,
        }
        if phase == "ERROR":
            reason = {"code": "DeployFailed", "message": self.error}
            progress["steps"] = [{"name": "deploy", "status": "ERROR", "reason": reason}]
        return {
            "id": self.id,
            "spec": self.shown_spec,
            "phase": phase,
            "cause": self.cause,
            "created_at": timestamp(self.began_at),
            "updated_at": since,
            "phase_last_updated_at": since,
            "tier_slug": "basic",
            "progress": progress,
        }


@dataclass(slots=True)
class App:
    id: str
    spec: dict[str, Any]
    created_at: float
    deployments: list[Deployment]  # oldest first, never empty
    paper: bool = False
    port: int = 0
    answers: bool = False  # its agent has answered since it was started last
    agent: dict[str, Any] = field(default_factory=dict)  # what is wrong with its agent, see the faults
    url_late_seconds: float = 0.0
    gone_at: float | None = None  # when its deletion was asked for
    lingers_until: float = 0.0

    @classmethod
    def new(cls, spec: dict[str, Any], deploy_seconds: float, *, paper: bool, **fields: Any) -> App:
        now = time.time()
        return cls(str(uuid.uuid4()), spec, now, [Deployment(now, deploy_seconds, shown(spec))], paper, **fields)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> App:
        """The app as it was kept, its agent not running yet."""
        deployments = [Deployment(**deployment) for deployment in record["deployments"]]
        return cls(**record | {"deployments": deployments, "answers": False})

    def as_record(self) -> dict[str, Any]:
        record = {name: getattr(self, name) for name in self.__slots__}
        return record | {"deployments": [asdict(deployment) for deployment in self.deployments]}

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def owner(self) -> str:
        return variables_of(self.spec).get("ORCHESTRATOR_ID", "")

    @property
    def token(self) -> str:
        return variables_of(self.spec).get("SANDBOX_API_TOKEN", "")

    @property
    def newest(self) -> Deployment:
        return self.deployments[-1]

    @property
    def active(self) -> Deployment | None:
        return next((deployment for deployment in reversed(self.deployments) if deployment.outcome == "ACTIVE"), None)

    @property
    def should_run(self) -> bool:
        """Whether an agent belongs behind this app, now or when its deployment has come that far."""
        if self.paper or self.gone_at or runtime_of(self.spec) is None or self.agent.get("dead"):
            return False
        return self.active is not None or not (self.newest.stuck_in or self.newest.error or self.newest.outcome)

    def settle(self, now: float) -> bool:
        """Give the newest deployment its outcome, if it has earned one by now; whether it did."""
        newest = self.newest
        if newest.outcome or not newest.is_over_time(now):
            return False
        if not newest.error and runtime_of(self.spec) is None and not self.paper:
            newest.error = "failed to pull image: the image does not exist"
        if newest.error:
            newest.outcome = "ERROR"
        elif self.paper or self.answers or self.agent.keys() & {"silent", "refuses"}:
            if self.active is not None:
                self.active.outcome = "SUPERSEDED"
            newest.outcome = "ACTIVE"
        else:
            return False
        newest.ended_at = newest.began_at + newest.seconds
        return True

    def deploy(self, seconds: float, cause: str, now: float) -> Deployment:
        """Begin a deployment of the spec as it is now; one that is under way gives way."""
        if not self.newest.outcome:
            self.newest.outcome, self.newest.ended_at = "SUPERSEDED", now
        self.deployments.append(Deployment(now, seconds, shown(self.spec), cause))
        self.answers = False
        return self.newest

    def url(self, base: str) -> str:
        return f"{base}/_paper/{self.id}" if self.paper else f"http://127.0.0.1:{self.port}"

    def phase(self, now: float) -> str:
        """Of what runs, else of what is being tried."""
        return (self.active or self.newest).phase(now)

    def as_json(self, now: float, base: str) -> dict[str, Any]:
        """The app as the API shows it: what does not apply is absent."""
        newest, active = self.newest, self.active
        region = region_slug(self.spec.get("region", "nyc"))
        data: dict[str, Any] = {
            "id": self.id,
            "spec": newest.shown_spec,
            "created_at": timestamp(self.created_at),
            "updated_at": timestamp(newest.since(now)),
            "owner_uuid": OWNER,
            "project_id": PROJECT,
            "tier_slug": "basic",
            "region": {"slug": region, "label": REGIONS[region], "default": False, "disabled": False},
            "last_deployment_created_at": timestamp(newest.began_at),
        }
        if active is not None and active.phase(now) == "ACTIVE":
            data["active_deployment"] = active.as_json(now)
            if now >= active.ended_at + self.url_late_seconds:
                url = self.url(base)
                domain = url.removeprefix("http://")
                data |= {"default_ingress": url, "live_url": url, "live_url_base": url, "live_domain": domain}
        phase = newest.phase(now)
        if phase in ("BUILDING", "PENDING_DEPLOY", "DEPLOYING"):
            data["in_progress_deployment"] = newest.as_json(now)
        elif phase == "PENDING_BUILD" or (active is None and newest.outcome):  # a first one that failed stays there
            data["pending_deployment"] = newest.as_json(now)
        return data


def monthly_cost(spec: dict[str, Any]) -> int:
    """USD a month for all of the app's instances. A whole number, as the public contract has it."""
    cost = 0.0
    for service in spec.get("services", []):
        price = float(SIZES[service.get("instance_size_slug", "apps-s-1vcpu-0.5gb")][0])
        cost += price * int(service.get("instance_count", 1))
    return round(cost)
