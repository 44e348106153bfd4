"""`manage.py web` serves this product, whatever lies in the folder where it is called."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx

from tests.fixtures.databases import ROOT, Database
from tests.fixtures.waiting import free_port, until


def test_a_package_of_the_same_name_beside_it_is_not_taken_for_ours(migrated_database: Database, tmp_path: Path):
    folder = tmp_path / "a folder"
    (folder / "games").mkdir(parents=True)
    (folder / "games" / "__init__.py").write_text("raise SystemExit('another one')")
    port = free_port()
    web = subprocess.Popen(
        [sys.executable, ROOT / "manage.py", "web"], cwd=folder, env=migrated_database.environment | {"PORT": str(port)}
    )

    def answers() -> bool:
        assert web.poll() is None, "it ended"
        try:
            return httpx.get(f"http://127.0.0.1:{port}/api/games", trust_env=False, timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(answers, "the web server answers", seconds=90)
        web.send_signal(signal.SIGTERM)
        assert web.wait(30) == 0
    finally:
        web.kill()
        web.wait()
