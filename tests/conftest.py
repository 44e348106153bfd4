"""What all tests share. Every module in tests/fixtures is a plugin: a new fixture is a file there."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

# Machines are shared: how long an example takes says nothing about it.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
pytest.register_assert_rewrite("tests.fixtures")
pytest_plugins = [
    f"tests.fixtures.{file.stem}" for file in sorted(Path(__file__).with_name("fixtures").glob("[!_]*.py"))
]


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ["ORCHESTRATOR_TEST_ROOT"], ignore_errors=True)


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Keep the name: each pytest worker has its own folder, and processes it starts know this name."""
