"""The API does what its schema says, whatever is sent: errors are problems, and nothing is a 500."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from django.utils import timezone

from pools.keyset import Position, cursor_of
from tests.fixtures.web import MakeWeb, new_run

ROOMY = {"MAX_RUNS_PER_HOUR": "100000", "MAX_TOTAL_ACTIVE": "5000", "MAX_CONCURRENT_COLD": "3000"}


@pytest.mark.django_db(transaction=True)
def test_whatever_is_sent_the_answers_are_as_the_schema_says(make_web: MakeWeb, tmp_path: Path) -> None:
    new_run()  # so that there is a game
    web = make_web(**ROOMY).start()
    # No schema says what a signed cursor is.
    cursor = cursor_of(Position(timezone.now(), uuid4()))
    (tmp_path / "schemathesis.toml").write_text(f'[parameters]\n"query.cursor" = "{cursor}"\n"query.timeout" = 1\n')
    command = [Path(sys.executable).with_name("schemathesis"), "--no-color", "run", f"{web.url}/api/openapi.json"]
    options = ["--checks", "all", "--max-examples", "20", "--generation-deterministic", "--request-timeout", "60"]
    # Two of the answers wait for what comes next, as long as they are asked to.
    waits = ["--exclude-path-regex", "(logs|events)$", "--phases", "examples,coverage,fuzzing,stateful"]
    ended = subprocess.run([*command, *options, *waits], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 0, ended.stdout
    command_of_the_rest = [*command, *options, "--include-path-regex", "(logs|events)$", "--phases", "coverage"]
    ended = subprocess.run(command_of_the_rest, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.django_db(transaction=True)
def test_each_error_is_said_to_be_a_problem(make_web: MakeWeb) -> None:
    schema = make_web().start().get("/api/openapi.json").json()
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            errors = {status: each for status, each in operation["responses"].items() if int(status) >= 400}
            assert errors, (path, method)
            for status, response in errors.items():
                assert list(response["content"]) == ["application/problem+json"], (path, method, status)
