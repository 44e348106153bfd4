"""A server that can be told to misbehave, and the boundary pointed at it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pools.cloud.app_platform import DigitalOcean
from pools.cloud.records import AppSpec
from tests.contract.stub_server import StubServer

TOKEN = "dop_v1_5up3r53cr3t"  # what a test looks for wherever it must not be


@pytest.fixture
def stub() -> Iterator[StubServer]:
    server = StubServer()
    yield server
    server.stop()


@pytest.fixture
def cloud(stub: StubServer) -> DigitalOcean:
    return DigitalOcean(TOKEN, stub.url)


@pytest.fixture
def spec() -> AppSpec:
    return AppSpec(
        name="sandbox-0123abcd",
        owner="staging",
        image="bikramkgupta/sandbox-python-service:latest",
        region="syd1",
        size="apps-s-1vcpu-1gb",
        token="agent-5ecret",
    )
