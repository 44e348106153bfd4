"""The API does what its schema says, whatever is sent: errors are problems, and nothing is a 500."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from django.utils import timezone

from games.models import Game
from pools import api_keys
from pools.keyset import Position, cursor_of
from pools.models import Sandbox, State
from tests.fixtures.web import MakeWeb, new_run

CHECK = Path(__file__).with_name("documented_codes.py")
ROOMY = {
    "MAX_TOTAL_SANDBOXES": "5000",
    "MAX_RUNS_PER_HOUR": "100000",
    "MAX_TOTAL_ACTIVE": "5000",
    "MAX_CONCURRENT_COLD": "3000",
    "MAX_CONCURRENT_WARM": "3000",
}
# A run that is deleted is over, and stays to be read.
OPTIONS = ["--exclude-checks", "use_after_free", "--max-examples", "10", "--generation-deterministic"]
# No schema says what a signed cursor is. Nothing is to wait for what nobody does.
PARAMETERS = """
hooks = "documented_codes"
[parameters]
"query.cursor" = "{cursor}"
"query.timeout" = 1
"query.wait" = 0
"""
# Nor does it say whose run it is, for which operators have to say why; how a pool's sizes go together, which name is
# to be typed, and which hosts there are.
UNTOLD = """
[[operations]]
include-operation-id = ["delete_run", "end_run", "extend_run"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "422"]
[[operations]]
include-operation-id = ["change_pool", "force_delete_sandbox", "make_webhook", "change_webhook"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "412", "422"]
"""


@pytest.mark.parametrize("scope", ["", "admin"])
@pytest.mark.django_db(transaction=True)
def test_whatever_is_sent_the_answers_are_as_the_schema_says(
    make_web: MakeWeb, make_sandbox: Callable[..., Sandbox], snake: Game, tmp_path: Path, scope: str
) -> None:
    now = timezone.now()
    new_run(sandbox=make_sandbox(State.IN_USE))
    web = make_web(**ROOMY).start()
    parameters = PARAMETERS.format(cursor=cursor_of(Position(now, uuid4())))
    auth = ""
    if scope:
        _, key = api_keys.make("fuzzer", [scope], by="ada", now=now)
        auth = f'[auth.openapi.api_key_header]\napi_key = "{key}"\n'
    (tmp_path / "schemathesis.toml").write_text(parameters + auth + UNTOLD)
    (tmp_path / "documented_codes.py").write_text(CHECK.read_text())
    program = Path(sys.executable).with_name("schemathesis")
    command = [program, "--no-color", "run", f"{web.url}/api/openapi.json", *OPTIONS]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 0, ended.stdout
