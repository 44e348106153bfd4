"""See conftest.py."""

from tests.integration.runs.test_proxy import *  # noqa: F403
