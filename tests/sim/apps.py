"""An app of the simulated account: its deployment's way through the phases, and its JSON in the API."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

# Until which share of the deployment's time each lasts.
PHASES = (("PENDING_BUILD", 0.15), ("BUILDING", 0.35), ("PENDING_DEPLOY", 0.5), ("DEPLOYING", 1.0))
NEVER = float("inf")
ENCRYPTED = "EV[1:c2ltdWxhdGVk:c2ltdWxhdGVk]"


class Maker(StrEnum):
    """By whom an app was made."""

    API = "api"
    STRANGER = "stranger"
    TWIN = "twin"  # another installation under our id
    COPY = "copy"  # a copy of our database
    OLD = "old"  # ours, from before there were installations, and forgotten


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(slots=True, eq=False)
class SimApp:
    """All times are seconds since the epoch, by the account's clock."""

    number: int
    id: str
    spec: dict[str, Any]
    shown: dict[str, Any]  # with its secrets encrypted
    created_at: float
    deploy_seconds: float
    maker: Maker = Maker.API
    stuck_in: str = ""
    ends_in: str = "ACTIVE"  # or ERROR, CANCELED
    error: str = ""
    keeps_pending: bool = False  # its first deployment is told beside the active one, too
    tells_failure: bool = True  # its record mentions the deployment that failed
    listed_from: float = 0.0
    url_late_seconds: float = 0.0
    agent_late_seconds: float = 0.0
    agent_comes_up: bool = True
    gone_at: float = NEVER
    shown_until: float = NEVER
    listings: int = 0
    first_listed_at: float = NEVER
    deployment_id: str = ""
    _cached: tuple[str, bool, dict[str, Any]] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def active_at(self) -> float:
        """When its deployment ends well; NEVER when it does not."""
        return NEVER if self.stuck_in or self.ends_in != "ACTIVE" else self.created_at + self.deploy_seconds

    @property
    def url(self) -> str:
        return f"https://{self.name}-{self.id[:5]}.ondigitalocean.app"

    def variable(self, key: str) -> str:
        for service in self.spec.get("services", ()):
            for env in service.get("envs", ()):
                if env["key"] == key:
                    return str(env.get("value", ""))
        return ""

    def phase(self, now: float) -> str:
        progress = (now - self.created_at) / self.deploy_seconds if self.deploy_seconds > 0 else 1.0
        for phase, until in PHASES:
            if phase == self.stuck_in or progress < until:
                return phase
        return self.ends_in

    def deployment(self, phase: str, now: float) -> dict[str, Any]:
        deployment: dict[str, Any] = {
            "id": self.deployment_id,
            "phase": phase,
            "cause": "initial deployment",
            "created_at": timestamp(self.created_at),
            "updated_at": timestamp(min(now, self.created_at + self.deploy_seconds)),
            "tier_slug": "basic",
        }
        if self.error and phase == "ERROR":
            reason = {"code": "DeployContainerExitNonZero", "message": self.error}
            deployment["progress"] = {
                "error_steps": 1,
                "steps": [{"name": "deploy", "status": "ERROR", "reason": reason}],
            }
        return deployment

    def as_json(self, now: float) -> dict[str, Any]:
        """As the API shows it: what does not apply is absent. The same object until something about it changes."""
        phase = self.phase(now)
        has_url = now >= self.active_at + self.url_late_seconds
        if self._cached is not None and self._cached[:2] == (phase, has_url):
            return self._cached[2]
        data: dict[str, Any] = {
            "id": self.id,
            "spec": self.shown,
            "created_at": timestamp(self.created_at),
            "updated_at": timestamp(now),
            "tier_slug": "basic",
            "region": {"slug": self.spec.get("region", "nyc")},
        }
        deployment = self.deployment(phase, now)
        if phase == "ACTIVE":
            data["active_deployment"] = deployment
            if self.keeps_pending:
                data["pending_deployment"] = self.deployment("DEPLOYING", now)
            if has_url:
                data |= {"default_ingress": self.url, "live_url": self.url, "live_url_base": self.url}
        elif phase in ("BUILDING", "PENDING_DEPLOY", "DEPLOYING"):
            data["in_progress_deployment"] = deployment
        elif phase == "PENDING_BUILD" or self.tells_failure:
            data["pending_deployment"] = deployment
        self._cached = (phase, has_url, data)
        return data


def shown(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec as the API gives it back: secrets encrypted."""
    return _with_envs(spec, lambda env: env | {"value": ENCRYPTED} if env.get("type") == "SECRET" else env)


def hidden(data: dict[str, Any]) -> dict[str, Any]:
    """An app's JSON with every variable encrypted."""
    spec = _with_envs(data["spec"], lambda env: env | {"type": "SECRET", "value": ENCRYPTED})
    return data | {"spec": spec}


def _with_envs(spec: dict[str, Any], change: Any) -> dict[str, Any]:
    services = [service | {"envs": [change(env) for env in service.get("envs", ())]} for service in spec["services"]]
    return spec | {"services": services}
