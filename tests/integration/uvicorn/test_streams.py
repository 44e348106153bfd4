"""See conftest.py."""

from tests.integration.runs.test_streams import *  # noqa: F403
