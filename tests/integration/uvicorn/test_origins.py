"""See conftest.py."""

from tests.integration.http.test_origins import *  # noqa: F403
