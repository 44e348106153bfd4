"""What all tests share. Every module in tests/fixtures is a plugin: a new fixture is a file there."""

import functools
import os
import shutil
from pathlib import Path

import httpx
import pytest
from hypothesis import settings

# Machines are shared: how long an example takes says nothing about it.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
# Every client of httpx loads all certificates of the machine, which takes 70 ms of processor time: once is enough.
httpx._transports.default.create_ssl_context = functools.cache(httpx.create_ssl_context)
pytest.register_assert_rewrite("tests.fixtures")
pytest_plugins = [
    f"tests.fixtures.{file.stem}" for file in sorted(Path(__file__).with_name("fixtures").glob("[!_]*.py"))
]


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        from tests.fixtures.servers import stop_postgres  # not above: its asserts are yet to be rewritten

        stop_postgres()
        shutil.rmtree(os.environ["ORCHESTRATOR_TEST_ROOT"], ignore_errors=True)


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Keep the name: each pytest worker has its own folder, and processes it starts know this name."""
