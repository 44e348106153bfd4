"""See conftest.py."""

from tests.integration.http.test_methods import *  # noqa: F403
