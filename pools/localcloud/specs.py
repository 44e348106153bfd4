"""Which app specs the local cloud accepts, and what it knows of regions, sizes and images."""

from __future__ import annotations

import base64
import copy
import re
import secrets
from typing import Any

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")
REGIONS = {
    "ams": "Amsterdam", "atl": "Atlanta", "blr": "Bangalore", "fra": "Frankfurt", "lon": "London",
    "nyc": "New York", "sfo": "San Francisco", "sgp": "Singapore", "syd": "Sydney", "tor": "Toronto",
}  # fmt: skip
SIZES = {  # slug: (USD a month, CPUs, MiB)
    "apps-s-1vcpu-0.5gb": ("5.00", "1", 512),
    "apps-s-1vcpu-1gb-fixed": ("10.00", "1", 1024),
    "apps-s-1vcpu-1gb": ("12.00", "1", 1024),
    "apps-s-1vcpu-2gb": ("25.00", "1", 2048),
    "apps-s-2vcpu-4gb": ("50.00", "2", 4096),
}
RUNTIMES = {"sandbox-python-service": "python", "sandbox-node-service": "node"}
SPEC_KEYS = {
    "name", "region", "services", "ingress", "domains", "workers", "jobs", "static_sites", "functions", "databases",
    "alerts", "egress", "features", "vpc", "maintenance", "envs", "disable_edge_cache", "disable_email_obfuscation",
    "enhanced_threat_control_enabled",
}  # fmt: skip


class BadSpec(ValueError):
    """What is wrong with the spec, naming the field."""


def region_slug(region: str) -> str:
    """`syd1` and `syd` are the same region."""
    return re.sub(r"\d+$", "", region)


def check_spec(spec: Any) -> dict[str, Any]:
    """The spec, when App Platform would take it. Raises BadSpec."""
    if not isinstance(spec, dict):
        raise BadSpec("spec is required")
    if unknown := sorted(spec.keys() - SPEC_KEYS):
        raise BadSpec(f'error validating app spec: unknown field "{unknown[0]}"')
    if not isinstance(name := spec.get("name"), str) or not NAME.fullmatch(name):
        raise BadSpec(f"error validating app spec field 'name': must match {NAME.pattern}")
    region = spec.get("region", "nyc")
    if not isinstance(region, str) or region_slug(region) not in REGIONS:
        raise BadSpec(f"error validating app spec field 'region': unknown region {region!r}")
    services = spec.get("services", [])
    if not isinstance(services, list) or not all(isinstance(service, dict) for service in services):
        raise BadSpec("error validating app spec field 'services': must be a list of objects")
    if not any(spec.get(kind) for kind in ("services", "workers", "jobs", "static_sites", "functions")):
        raise BadSpec("error validating app spec: at least one component is required")
    for index, service in enumerate(services):
        _check_service(f"services[{index}]", service)
    return spec


def _check_service(where: str, service: dict[str, Any]) -> None:
    if not isinstance(name := service.get("name"), str) or not NAME.fullmatch(name):
        raise BadSpec(f"error validating app spec field '{where}.name': must match {NAME.pattern}")
    if not any(service.get(source) for source in ("image", "git", "github", "gitlab", "bitbucket")):
        raise BadSpec(f"error validating app spec field '{where}': a source is required")
    size = service.get("instance_size_slug", "apps-s-1vcpu-0.5gb")
    if size not in SIZES:
        raise BadSpec(f"error validating app spec field '{where}.instance_size_slug': unknown size {size!r}")
    count = service.get("instance_count", 1)
    if not isinstance(count, int) or count < 1:
        raise BadSpec(f"error validating app spec field '{where}.instance_count': must be 1 or more")
    envs = service.get("envs", [])
    if not isinstance(envs, list):
        raise BadSpec(f"error validating app spec field '{where}.envs': must be a list")
    for number, variable in enumerate(envs):
        if not isinstance(variable, dict) or not variable.get("key"):
            raise BadSpec(f"error validating app spec field '{where}.envs[{number}].key': is required")


def variables_of(spec: dict[str, Any]) -> dict[str, str]:
    """The environment of the app's first service."""
    services = spec.get("services") or [{}]
    return {variable["key"]: str(variable.get("value", "")) for variable in services[0].get("envs", [])}


def runtime_of(spec: dict[str, Any]) -> str | None:
    """What the image runs; None for an image that can't be pulled here."""
    services = spec.get("services") or [{}]
    return RUNTIMES.get((services[0].get("image") or {}).get("repository", ""))


def shown(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec as the API gives it back: secrets encrypted, never readable again."""
    spec = copy.deepcopy(spec)
    for component in [spec, *spec.get("services", []), *spec.get("workers", [])]:
        for variable in component.get("envs", []):
            if variable.get("type") == "SECRET" and not str(variable.get("value", "")).startswith("EV["):
                noise = base64.b64encode(secrets.token_bytes(24)).decode()
                variable["value"] = f"EV[1:{noise}]"
    return spec
