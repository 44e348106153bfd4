"""The product's version: the site, the admin, the API, the command and the package tell the same one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client

from orchestrator_site import __version__

CHECKOUT = Path(__file__).parents[3]


def test_the_health_page_tells_the_version(client: Client):
    assert client.get("/health").json()["version"] == __version__


@pytest.mark.django_db
def test_the_api_tells_its_own_version_and_the_products(client: Client):
    info = client.get("/api/openapi.json").json()["info"]
    assert info["version"] == "1"
    assert f"sandbox-orchestrator {__version__}." in info["description"]


@pytest.mark.django_db
def test_the_admin_tells_operators_the_version_and_nobody_else(client: Client, admin_client: Client):
    shown = f"Version {__version__}"
    assert shown in admin_client.get("/admin/").content.decode()
    assert shown not in client.get("/admin/login/").content.decode()


@pytest.mark.parametrize("command", [["manage.py"], ["-m", "orchestrator_site"]])
def test_the_command_tells_the_version_without_any_setting(command: list[str]):
    done = subprocess.run(
        [sys.executable, *command, "--version"], cwd=CHECKOUT, env={}, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"sandbox-orchestrator {__version__}\n"


def test_the_changelog_has_a_section_of_this_version():
    assert f"\n## {__version__} " in (CHECKOUT / "CHANGELOG.md").read_text()
