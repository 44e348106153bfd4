"""pydo stays behind one module, and out of processes that do not call the cloud."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from pools.cloud.api_transport import checked_endpoint, is_loopback, retry_after_seconds
from pools.cloud.app_platform import AppPlatform, DigitalOcean

ROOT = Path(__file__).resolve().parents[3]
OURS = ("pools", "games", "runs", "orchestrator_site")


def imports_of(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_only_the_transport_imports_pydo():
    files = [file for folder in OURS for file in (ROOT / folder).rglob("*.py") if "catalog" not in file.parts]
    assert {str(file.relative_to(ROOT)) for file in files if imports_of(file) & {"pydo", "azure"}} == {
        "pools/cloud/api_transport.py"
    }


def test_importing_the_boundary_does_not_load_pydo():
    """It costs 32 MB and a tenth of a second, and only the processes that call the cloud should pay."""
    code = (
        "import sys; from pools.cloud.app_platform import DigitalOcean; DigitalOcean('token');"
        "print(sorted({'pydo', 'azure', 'requests'} & sys.modules.keys()))"
    )
    loaded = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True, timeout=60)
    assert loaded.strip() == "[]"


def test_the_one_implementation_is_what_was_promised():
    cloud: AppPlatform = DigitalOcean("token")
    promised = {name for name in vars(AppPlatform) if not name.startswith("_")}
    assert {name for name in promised if not hasattr(cloud, name)} == set()


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://api.digitalocean.com",
        "http://10.0.0.7:8000",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://0.0.0.0:80",
    ],
)
def test_the_token_never_travels_in_clear(endpoint):
    with pytest.raises(ValueError, match="token would travel in clear"):
        DigitalOcean("token", endpoint)


@pytest.mark.parametrize(
    "endpoint",
    ["api.digitalocean.com", "ftp://x", "https://", "file:///etc", "http://127.0.0.1@evil.example", "https://u:p@x"],
)
def test_what_is_no_endpoint_is_refused_at_once(endpoint):
    with pytest.raises(ValueError, match="not the URL of an API"):
        DigitalOcean("token", endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://api.digitalocean.com/",
        "http://127.0.0.1:80",
        "http://localhost:9",
        "http://[::1]:9",
        "http://127.9.9.9",
    ],
)
def test_https_anywhere_and_http_on_loopback_are_fine(endpoint):
    assert checked_endpoint(endpoint) == endpoint.rstrip("/")


def test_loopback_is_this_machine_only():
    assert is_loopback("http://127.0.0.1:8080/x")
    assert not is_loopback("https://app.ondigitalocean.app")
    assert not is_loopback("not a url")


@pytest.mark.parametrize("token", ["", "  ", "line\nbreak", "ünicode"])
def test_a_token_that_can_not_be_one_is_refused_without_being_shown(token):
    with pytest.raises(ValueError, match="token is empty or holds") as refused:
        DigitalOcean(token)
    assert not token.strip() or token not in str(refused.value)


def test_space_around_a_pasted_token_does_not_matter():
    DigitalOcean(" dop_v1_abc\n")


def test_the_token_is_not_in_what_is_printed():
    cloud = DigitalOcean("dop_v1_5ecret")
    assert "5ecret" not in f"{cloud!r} {cloud} {vars(cloud)}"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("17", 17),
        (" 2.5 ", 2.5),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 60),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("nan", None),
        ("Thu, 01 Jan 99999999999999999999 00:01:40 GMT", None),
        ("Thu, 01 Jan 1970 00:01:40 +99999999999999", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(header, seconds):
    assert retry_after_seconds(header, now=40) == seconds
