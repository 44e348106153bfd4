"""See conftest.py."""

from tests.integration.api.conftest import make_sandbox, pool  # noqa: F401
from tests.integration.api.test_waiting import *  # noqa: F403
