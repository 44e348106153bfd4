"""See conftest.py."""

from tests.integration.runs.test_misbehaving_readers import *  # noqa: F403

# uvicorn's sockets answer pings by themselves, whoever reads the answers: docs/operating.md says so.
del test_a_socket_that_asks_for_pongs_and_reads_none_costs_no_memory  # noqa: F821
