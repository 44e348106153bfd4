"""Completion: what a shell offers at a press of the key, as the script that it has read says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.fixtures.databases import Database
from tests.fixtures.stack import MANAGE

PRESS = """
source {script}
COMP_WORDS=({program} {words})
COMP_CWORD={place}
_sandbox_orchestrator {program}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "script"
    with path.open("w") as output:
        call_command("completion", "bash", stdout=output)
    return path


def offered(script: Path, *words: str, environment: dict[str, str] | None = None) -> list[str]:
    """What is offered for the last of the words."""
    program = script.with_name("program")
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {MANAGE} "$@"\n')
    program.chmod(0o755)
    quoted = " ".join(f"'{word}'" for word in words)
    press = PRESS.format(script=script, program=program, words=quoted, place=len(words))
    done = subprocess.run(["bash", "-c", press], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_options_choices_and_acts_are_offered(script: Path) -> None:
    assert offered(script, "reco") == ["reconcile"]
    assert offered(script, "reconcile", "--d") == ["--dry-run", "--detailed-exitcode"]
    assert offered(script, "pool", "re") == ["resume", "recycle"]
    assert offered(script, "api_key", "") == ["make", "list", "revoke"]
    assert offered(script, "api_key", "make", "--scope", "l") == ["launch"]
    assert offered(script, "api_key", "make", "--sc") == ["--scope"]


def test_names_are_those_of_the_installation(script: Path, migrated_database: Database) -> None:
    migrated_database.answer("from pools.first_pool import first_pool; first_pool()")
    environment = migrated_database.environment
    assert offered(script, "pool", "--why", "pause", "list", "", environment=environment) == ["python"]


def test_a_name_that_is_a_command_is_not_carried_out(script: Path, migrated_database: Database, tmp_path: Path) -> None:
    """An import or a shell makes accounts whose names nobody looked at."""
    name = f"$(touch${{IFS}}{tmp_path}/done)"
    migrated_database.answer(
        "from django.contrib.auth.models import User\n"
        "for name in (sys.argv[1], 'ada@arcade'): User.objects.create(username=name)",
        name,
    )
    assert offered(script, "second_factor", "", environment=migrated_database.environment) == ["ada@arcade"]
    assert not (tmp_path / "done").exists()


def test_where_no_names_can_be_read_nothing_is_offered_and_nothing_said(script: Path, tmp_path: Path) -> None:
    environment = {"ORCHESTRATOR_VAR": str(tmp_path / "var"), "PATH": "/usr/bin:/bin"}
    assert offered(script, "pool", "pause", "", environment=environment) == []
    assert not (tmp_path / "var").exists()


def test_a_shell_reads_the_script_for_zsh_as_well(script: Path) -> None:
    path = script.with_name("zsh")
    with path.open("w") as output:
        call_command("completion", "zsh", stdout=output)
    assert path.read_text().startswith("autoload -U +X bashcompinit && bashcompinit\n")
    assert path.read_text().endswith(script.read_text())
