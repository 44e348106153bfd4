"""The app spec of a sandbox, as App Platform wants it, and the rules for what it contains."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from pools.cloud.errors import InvalidSpec
from pools.cloud.records import AppSpec

AGENT_PORT = 8080
COMPONENT = "sandbox"
OWNER_KEY = "ORCHESTRATOR_ID"  # the mark: whose app it is,
INSTALLATION_KEY = "ORCHESTRATOR_INSTALLATION"  # and which database of theirs knows it

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")
IMAGE = re.compile(r"(?P<registry>[a-z0-9._-]+)/(?P<repository>[a-z0-9._/-]+):(?P<tag>[A-Za-z0-9._-]+)")
REGION = re.compile(r"(?P<short>[a-z]{3})[0-9]?")


def app_name(prefix: str, sandbox_id: UUID) -> str:
    """The app's name, derived from its row's id, so that a lost create is found again."""
    name = f"{prefix}{sandbox_id.hex[:8]}"
    if not NAME.fullmatch(name):
        raise InvalidSpec(
            f"“{name}” can't name an app: it takes 2 to 32 lower-case letters, digits and dashes, "
            "a letter first and no dash last."
        )
    return name


def region_slug(region: str) -> str:
    """App Platform's short slug: both `syd` and the data centre's `syd1` become `syd`."""
    match = REGION.fullmatch(region.strip().lower())
    if match is None:
        raise InvalidSpec(f"“{region}” is not a region; App Platform's are three letters, such as syd, ams, nyc.")
    return match["short"]


def app_spec(spec: AppSpec) -> dict[str, Any]:
    """`spec` as the JSON of a create; raises InvalidSpec for what the cloud would refuse anyhow."""
    if not NAME.fullmatch(spec.name):
        raise InvalidSpec(f"“{spec.name}” can't name an app: it must match {NAME.pattern}.")
    image = IMAGE.fullmatch(spec.image)
    if image is None:
        message = f"“{spec.image}” is not an image; write it as registry/repository:tag."
        raise InvalidSpec(message, said="image")
    if not spec.owner or not spec.token or not spec.size:
        raise InvalidSpec("A sandbox needs an owner, a token for its agent and an instance size.")
    mark = {OWNER_KEY: spec.owner} | ({INSTALLATION_KEY: spec.installation} if spec.installation else {})
    return {
        "name": spec.name,
        "region": region_slug(spec.region),
        "services": [
            {
                "name": COMPONENT,
                "image": {
                    "registry_type": "GHCR",
                    "registry": image["registry"],
                    "repository": image["repository"],
                    "tag": image["tag"],
                },
                "instance_count": 1,
                "instance_size_slug": spec.size,
                "http_port": AGENT_PORT,
                "envs": [
                    *(
                        {"key": key, "value": value, "scope": "RUN_TIME", "type": "GENERAL"}
                        for key, value in mark.items()
                    ),
                    {"key": "SANDBOX_MODE", "value": "service", "scope": "RUN_TIME", "type": "GENERAL"},
                    {"key": "SANDBOX_API_TOKEN", "value": spec.token, "scope": "RUN_TIME", "type": "SECRET"},
                ],
                "health_check": {
                    "http_path": "/health",
                    "initial_delay_seconds": 5,
                    "period_seconds": 10,
                    "timeout_seconds": 5,
                    "success_threshold": 1,
                    "failure_threshold": 3,
                },
            }
        ],
        "ingress": {"rules": [{"component": {"name": COMPONENT}, "match": {"path": {"prefix": "/"}}}]},
    }
