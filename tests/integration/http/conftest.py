"""Rows to be asked for."""

from tests.integration.pages.conftest import make_sandbox, pool, snake

__all__ = ["make_sandbox", "pool", "snake"]
