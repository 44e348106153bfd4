"""The application is plain ASGI: uvicorn serves it as Daphne does, and passes the same tests."""

from __future__ import annotations

import pytest

from tests.fixtures.web import Web


@pytest.fixture
def web(uvicorn_web: Web) -> Web:
    return uvicorn_web
