"""The app specs that the local cloud accepts, and its regions, sizes and images."""

from __future__ import annotations

import base64
import copy
import re
import secrets
from collections.abc import Iterator
from typing import Any

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")
KEY = re.compile(r"[_A-Za-z][_A-Za-z0-9]*")
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

COMPONENTS = ("services", "workers", "jobs", "static_sites", "functions")
COMPONENT_KEYS = {
    "name", "image", "git", "github", "gitlab", "bitbucket", "envs", "instance_count", "instance_size_slug",
    "http_port", "internal_ports", "health_check", "liveness_health_check", "run_command", "build_command",
    "dockerfile_path", "source_dir", "environment_slug", "log_destinations", "autoscaling", "alerts", "cors", "routes",
    "protocol", "kind", "termination", "output_dir", "index_document", "error_document", "catchall_document",
    "schedule", "inactivity_sleep",
}  # fmt: skip
SCOPES = ("RUN_TIME", "BUILD_TIME", "RUN_AND_BUILD_TIME", "UNSET")


class BadSpec(ValueError):
    """The spec is wrong; the message names the field."""


def region_slug(region: str) -> str:
    """`syd1` and `syd` are the same region."""
    return re.sub(r"\d+$", "", region)


def check_spec(spec: Any) -> dict[str, Any]:
    """The spec, when App Platform would take it. Raises BadSpec."""
    if not isinstance(spec, dict):
        raise BadSpec("error validating app spec: spec is required")
    if unknown := sorted(spec.keys() - SPEC_KEYS):
        raise BadSpec(f'error validating app spec: unknown field "{unknown[0]}"')
    _check_name("name", spec.get("name"))
    region = spec.get("region", "nyc")
    if not isinstance(region, str) or region_slug(region) not in REGIONS:
        raise BadSpec(f"error validating app spec field 'region': unknown region {region!r}")
    if not any(spec.get(kind) for kind in COMPONENTS):
        raise BadSpec("error validating app spec: at least one component is required")
    _check_variables("envs", spec.get("envs", []))
    for kind in COMPONENTS:
        components = spec.get(kind, [])
        if not isinstance(components, list) or not all(isinstance(component, dict) for component in components):
            raise BadSpec(f"error validating app spec field '{kind}': must be a list of objects")
        for index, component in enumerate(components):
            _check_component(f"{kind}[{index}]", component)
    return spec


def check_images(spec: dict[str, Any]) -> None:
    """Raises BadSpec for an image that can't be pulled here. A create takes it, and its deployment fails."""
    for kind in COMPONENTS:
        for index, component in enumerate(spec.get(kind, [])):
            image = component.get("image")
            if image is not None and image["repository"] not in RUNTIMES:
                named = f"{image.get('registry', '')}/{image['repository']}:{image.get('tag', 'latest')}"
                raise BadSpec(f"error validating app spec field '{kind}[{index}].image': {named} not found")


def _check_component(where: str, component: dict[str, Any]) -> None:
    if unknown := sorted(component.keys() - COMPONENT_KEYS):
        raise BadSpec(f"error validating app spec field '{where}': unknown field \"{unknown[0]}\"")
    _check_name(f"{where}.name", component.get("name"))
    if not any(component.get(source) for source in ("image", "git", "github", "gitlab", "bitbucket")):
        raise BadSpec(f"error validating app spec field '{where}': a source is required")
    image = component.get("image")
    if image is not None:
        if not isinstance(image, dict) or not isinstance(image.get("repository"), str) or not image["repository"]:
            raise BadSpec(f"error validating app spec field '{where}.image.repository': is required")
        if image.get("registry_type") not in ("GHCR", "DOCKER_HUB", "DOCR"):
            raise BadSpec(f"error validating app spec field '{where}.image.registry_type': unknown type")
    size = component.get("instance_size_slug", "apps-s-1vcpu-0.5gb")
    if not isinstance(size, str) or size not in SIZES:
        raise BadSpec(f"error validating app spec field '{where}.instance_size_slug': unknown size {size!r}")
    for key, least, most in (("instance_count", 1, 250), ("http_port", 1, 65535)):
        value = component.get(key, 1)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise BadSpec(f"error validating app spec field '{where}.{key}': must be from {least} to {most}")
    _check_variables(f"{where}.envs", component.get("envs", []))


def _check_name(where: str, name: Any) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BadSpec(f"error validating app spec field '{where}': must match {NAME.pattern}")


def _check_variables(where: str, variables: Any) -> None:
    if not isinstance(variables, list):
        raise BadSpec(f"error validating app spec field '{where}': must be a list")
    for number, variable in enumerate(variables):
        if not isinstance(variable, dict) or not KEY.fullmatch(str(variable.get("key", ""))):
            raise BadSpec(f"error validating app spec field '{where}[{number}].key': must match {KEY.pattern}")
        if not isinstance(variable.get("value", ""), str):
            raise BadSpec(f"error validating app spec field '{where}[{number}].value': must be a string")
        if variable.get("scope", "RUN_TIME") not in SCOPES or variable.get("type", "GENERAL") not in (
            "GENERAL",
            "SECRET",
        ):
            raise BadSpec(f"error validating app spec field '{where}[{number}]': unknown scope or type")


def variables_of(spec: dict[str, Any]) -> dict[str, str]:
    """The environment of the app's first service."""
    services = spec.get("services") or [{}]
    return {
        variable["key"]: variable.get("value", "")
        for place in (spec, services[0])
        for variable in place.get("envs", [])
    }


def runtime_of(spec: dict[str, Any]) -> str | None:
    """Return the runtime of the image; None for an image that can't be pulled here."""
    services = spec.get("services") or [{}]
    return RUNTIMES.get((services[0].get("image") or {}).get("repository", ""))


def shown(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec as the API gives it back: secrets encrypted, never readable again."""
    if not any(_is_open_secret(variable) for variable in _all_variables(spec)):
        return spec
    spec = copy.deepcopy(spec)
    for variable in _all_variables(spec):
        if _is_open_secret(variable):
            variable["value"] = _encrypted()
    return spec


def encrypted(variables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The variables as if all were secrets."""
    return [variable | {"type": "SECRET", "value": _encrypted()} for variable in variables]


def _encrypted() -> str:
    nonce, text = (base64.b64encode(secrets.token_bytes(count)).decode() for count in (24, 48))
    return f"EV[1:{nonce}:{text}]"


def with_secrets_kept(spec: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """A spec that came back with `EV[…]` for values that the old one has in the clear, with those again."""
    known = {variable["key"]: variable.get("value", "") for variable in _all_variables(old)}
    spec = copy.deepcopy(spec)
    for variable in _all_variables(spec):
        if str(variable.get("value", "")).startswith("EV[") and variable["key"] in known:
            variable["value"] = known[variable["key"]]
    return spec


def _all_variables(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for component in [spec, *spec.get("services", []), *spec.get("workers", [])]:
        yield from component.get("envs", [])


def _is_open_secret(variable: dict[str, Any]) -> bool:
    return variable.get("type") == "SECRET" and not str(variable.get("value", "")).startswith("EV[")
