from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.web import Web
from tests.integration.pools.conftest import clock, paper_fleet, pool, real_fleet

__all__ = ["clock", "paper_fleet", "pool", "real_fleet"]


@pytest.fixture
def downloads(web: Web, settings, sandbox_programs: Path) -> Web:
    """Snapshots are built beside the account, and downloaded from a real web server."""
    settings.PUBLIC_URL = web.url
    settings.LOCALCLOUD_DIR = sandbox_programs
    return web
