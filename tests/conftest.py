"""What all tests share. Every module in tests/fixtures is a plugin: a new fixture is a file there."""

import functools
import os
import random
import shutil
from pathlib import Path
from typing import Any

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
    "orchestrator_site.testing",  # an installed project brings it along; a checkout that is not installed does not
    *(f"tests.fixtures.{file.stem}" for file in sorted(Path(__file__).with_name("fixtures").glob("[!_]*.py"))),
]


# Each worker takes file after file: those that take long come first, so that none is left alone with one at the end.
LONGEST_FIRST = (
    "browser/pages/test_playing.py",
    "integration/site",
    "integration/games/test_deploy.py",
    "browser",
    "integration/pools/test_kill_at_every_step.py",
    "integration/games",
    "clients",
    "chaos",
    "integration/pools",
    "integration",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--order", default="", help="`random`, or the number of such an order, to have it again")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.option.order = config.workerinput["order"]
    elif config.option.order == "random":
        config.option.order = str(random.randrange(10**6))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist the number of the order: all have to have the same."""
    node.workerinput["order"] = node.config.option.order


def pytest_report_header(config: pytest.Config) -> str:
    number = config.option.order
    return f"Random order {number}; to have it again: make test ORDER={number}" if number else ""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files first; or all files, and the tests in each, in the random order that is wanted."""
    if number := config.option.order:
        chance = random.Random(int(number))
        files: dict[Path, list[pytest.Item]] = {}
        for item in items:
            files.setdefault(item.path, []).append(item)
        order = chance.sample(sorted(files), len(files))
        items[:] = [item for file in order for item in chance.sample(files[file], len(files[file]))]
    else:
        items.sort(key=lambda item: rank(item.path))


def rank(file: Path) -> int:
    path = file.relative_to(Path(__file__).parent).as_posix()
    return next((place for place, start in enumerate(LONGEST_FIRST) if path.startswith(start)), len(LONGEST_FIRST))


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        from tests.fixtures.servers import stop_postgres  # not above: its asserts are yet to be rewritten

        stop_postgres()
        shutil.rmtree(os.environ["ORCHESTRATOR_TEST_ROOT"], ignore_errors=True)


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Keep the name: each pytest worker has its own folder, and processes it starts know this name."""
