"""What is kept is closed to others on the machine, and no process is told a secret where all can read it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from django.core.exceptions import ImproperlyConfigured

from orchestrator_site.private_folder import keep_private
from tests.fixtures.stack import MakeStack, Stack
from tests.fixtures.waiting import until

OTHERS = 0o077


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An installation's, as an older version or a careless hand left it."""
    made = tmp_path / "var"
    made.mkdir()
    (made / "secret_key").write_text("a key")
    made.chmod(0o755)
    (made / "secret_key").chmod(0o644)
    return made


def test_an_open_folder_of_ours_is_closed_at_the_start(folder: Path):
    keep_private("ORCHESTRATOR_VAR", folder)
    assert (mode(folder), mode(folder / "secret_key")) == (0o700, 0o600)


def test_a_new_or_empty_folder_is_closed(tmp_path: Path):
    (tmp_path / "empty").mkdir(mode=0o755)
    for name in ("empty", "new"):
        keep_private("ORCHESTRATOR_VAR", tmp_path / name)
        assert mode(tmp_path / name) == 0o700


def test_a_link_to_a_folder_closes_the_folder(tmp_path: Path, folder: Path):
    (tmp_path / "link").symlink_to(folder)
    keep_private("ORCHESTRATOR_VAR", tmp_path / "link")
    assert mode(folder) == 0o700


@pytest.mark.parametrize("bits", [0o1777, 0o755])
def test_a_folder_that_is_for_others_too_is_neither_closed_nor_used(tmp_path: Path, bits: int):
    """Somebody writes /tmp, or /var/lib."""
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "of somebody else").write_text("")
    shared.chmod(bits)
    with pytest.raises(ImproperlyConfigured, match="others on this machine can read") as refused:
        keep_private("ORCHESTRATOR_VAR", shared)
    assert "\n" not in str(refused.value)
    assert mode(shared) == bits


def test_a_mode_that_does_not_stick_is_a_refusal(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """As on file systems that know no modes."""
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    with pytest.raises(ImproperlyConfigured, match="Close it"):
        keep_private("ORCHESTRATOR_VAR", folder)


def test_a_folder_of_somebody_else_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(ImproperlyConfigured, match="others on this machine can read"):
        keep_private("ORCHESTRATOR_VAR", folder)


def test_the_product_starts_on_an_open_folder_and_closes_it(folder: Path):
    given = {"ORCHESTRATOR_VAR": str(folder), "DJANGO_SETTINGS_MODULE": "orchestrator_site.settings"}
    ended = subprocess.run(
        [sys.executable, "manage.py", "check"],
        env=os.environ | given, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert mode(folder) == 0o700


@pytest.fixture
def stack(make_stack: MakeStack) -> Stack:
    stack = make_stack()
    stack.var.chmod(0o755)
    return stack.start()


def secrets_of(var: Path) -> Iterator[str]:
    yield (var / "secret_key").read_text().strip()
    yield (var / "localcloud" / "token").read_text().strip()


def test_no_process_has_a_secret_among_its_arguments_and_nobody_else_reads_the_folder(stack: Stack):
    launched = httpx.post(
        f"{stack.url}/api/launch/cold", json={"game": "snake", "use_snapshot": False}, trust_env=False, timeout=30
    ).json()

    def is_running() -> bool:
        now = stack.get(f"/api/sandbox/{launched['run_id']}").json()
        assert now["state"] not in ("failed", "ended"), now
        return now["state"] == "running"

    until(is_running, "a game runs in a sandbox", seconds=90)
    code = "from pools.models import Sandbox; print(*[s.token for s in Sandbox.objects.existing()])"
    tokens = [*secrets_of(stack.var), *stack.python(code).split(), launched["token"]]
    assert len(tokens) >= 4
    everybody_can_read = " ".join(
        " ".join(process.cmdline()) for process in stack.processes() if psutil.pid_exists(process.pid)
    )
    assert "web_server" in everybody_can_read
    for token in tokens:
        assert token not in everybody_can_read
        assert token not in stack.log
    assert mode(stack.var) == 0o700
    assert mode(stack.var / "localcloud" / "token") == 0o600
    assert mode(stack.var / "secret_key") == 0o600
