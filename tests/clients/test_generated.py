"""A client that is generated from the API's own schema is a good one: it launches, lists, looks, and reads errors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from pools import api_keys
from tests.fixtures.web import MakeWeb, Web, new_run

NAME = "generated_client"
CONFIGURATION = f"post_hooks: []\npackage_name_override: {NAME}\n"  # its hooks only tidy up
NO_RUN = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def site(make_web: MakeWeb) -> Web:
    new_run()  # so that there is a game
    return make_web().start()


class Generated:
    """The package, by the names of the API's operations and shapes."""

    def __init__(self, site: Web) -> None:
        client = import_module(f"{NAME}.client")
        _, self.key = api_keys.make("robot", ["launch", "read"], by="ada", now=timezone.now())
        self.anonymous = client.Client(base_url=site.url, httpx_args={"trust_env": False})
        self.known = client.AuthenticatedClient(base_url=site.url, token=self.key, httpx_args={"trust_env": False})

    def call(self, operation: str, *arguments: Any, is_known: bool = True, **named: Any) -> Any:
        """The answer, as the type that the schema has for its status."""
        tag, _, name = operation.partition(".")
        client = self.known if is_known else self.anonymous
        return import_module(f"{NAME}.api.{tag}.{name}").sync(*arguments, client=client, **named)

    def shape(self, name: str) -> Any:
        return getattr(import_module(f"{NAME}.models"), name)


@pytest.fixture
def generated(site: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Generated]:
    (tmp_path / "schema.json").write_text(site.get("/api/openapi.json").text)
    (tmp_path / "config.yml").write_text(CONFIGURATION)
    program = Path(sys.executable).with_name("openapi-python-client")
    options = ["--meta", "none", "--fail-on-warning", "--config", "config.yml", "--output-path", NAME]
    ended = subprocess.run(
        [program, "generate", "--path", "schema.json", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Generated(site)
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]


def test_a_generated_client_launches_lists_looks_and_ends(generated: Generated):
    snake, cold = generated.shape("LaunchAnyInGame").SNAKE, generated.shape("AskedMode").COLD
    wish = generated.shape("LaunchAnyIn")(game=snake, mode=cold)
    launched = generated.call("runs.launch_game", body=wish, idempotency_key="once")
    assert type(launched).__name__ == "LaunchedOut"
    assert launched.token.startswith("run_")
    listed = generated.call("runs.list_runs", limit=5)
    assert launched.run_id in {run.run_id for run in listed.runs}
    run = generated.call("runs.get_run", launched.run_id)
    assert (run.state.value, run.asked_mode.value, run.cost.usd) == ("acquiring", "cold", 0)
    assert run.created_at.tzinfo is not None
    ended = generated.call("runs.end_run", launched.run_id)
    assert (ended.state.value, ended.end_code) == ("ended", "ended_by_api")


def test_it_reads_pools_with_a_key_and_a_typed_error_without(generated: Generated):
    assert type(generated.call("pools.list_pools")).__name__ == "PoolListOut"
    refused = generated.call("pools.list_pools", is_known=False)
    assert (type(refused).__name__, refused.status, refused.code) == ("ProblemOut", 401, "sign_in")


def test_it_reads_what_is_wrong_with_a_field(generated: Generated):
    refused = generated.call("runs.list_runs", limit=0)
    assert (refused.status, refused.code, refused.field) == (422, "invalid", "limit")
    gone = generated.call("runs.get_run", NO_RUN)
    assert (gone.status, gone.code, gone.retryable) == (404, "no_such_run", False)
    assert gone.remedy
