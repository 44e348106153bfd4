"""Keeps a version for the tests of upgrades: its database, filled by its own processes, and its code.

    python -m tests.upgrade.keep NAME [FOLDER]

`FOLDER` holds the version's code (else this checkout is it). Its `manage.py up` is started on a new SQLite database,
games are launched, played, ended and left in the middle of it, and everything is killed.
`databases/NAME.sql.xz` is what is in the database then. `make keep` does it for a release, and keeps the code.
"""

from __future__ import annotations

import lzma
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import django
import httpx
import psutil

from tests.fixtures.waiting import free_port, until

ROOT = Path(__file__).resolve().parents[2]
DATABASES = Path(__file__).with_name("databases")
SECRET_KEY = "the key of a kept version"  # it signed the queue's tasks
SETTINGS = {
    "SECRET_KEY": SECRET_KEY,
    "ORCHESTRATOR_ID": "kept",
    "MAX_TOTAL_SANDBOXES": "8",
    "MAX_CONCURRENT_COLD": "100",
    "MAX_CONCURRENT_WARM": "100",
    "MAX_TOTAL_ACTIVE": "100",
    "MAX_ACTIVE_PER_CLIENT": "100",
    "MAX_RUNS_PER_HOUR": "1000",
    "ANYONE_MAY_END_RUNS": "true",
    "LOCALCLOUD_DEPLOY_SECONDS": "1",
}


class Version:
    """All of a version's product."""

    def __init__(self, code: Path, folder: Path) -> None:
        from tests.fixtures.catalog import Catalog  # Django is set up by now

        catalog, port = Catalog(folder / "catalog"), free_port()
        catalog.write("chess")
        catalog.write("broken", run="exit 1")
        self.url, self.var = f"http://127.0.0.1:{port}", folder / "var"
        self.log = folder / "log"
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | SETTINGS
        environment |= {"PORT": str(port), "ORCHESTRATOR_VAR": str(self.var), "CATALOG_DIR": str(catalog.folder)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=code, env=environment | {"PYTHONPATH": str(code)}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        until(lambda: f"Ready: {self.url}/" in self.log.read_text(errors="replace"), "it is ready", seconds=180)

    def launch(self, mode: str, game: str) -> str:
        answer = self.ask("POST", f"/api/launch/{mode}", json={"game": game, "use_snapshot": False})
        return str(answer["run_id"])

    def ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = httpx.request(method, self.url + path, timeout=60, trust_env=False, **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        return dict(answer.json()) if answer.content else {}

    def wait_for(self, run: str, state: str) -> None:
        until(lambda: self.state(run) == state, f"{run} is {state}", seconds=120, every=0.3)

    def state(self, run: str) -> str:
        with closing(sqlite3.connect(f"file:{self.var}/orchestrator.sqlite3?mode=ro", uri=True)) as database:
            query = "SELECT state FROM runs_run WHERE id = ?"
            return str((database.execute(query, [run.replace("-", "")]).fetchone() or [""])[0])

    def kill(self) -> None:
        with suppress(psutil.Error):
            family = psutil.Process(self.process.pid).children(recursive=True)
            self.process.kill()
            for each in family:
                with suppress(psutil.Error):
                    each.kill()
        self.process.wait()
        time.sleep(1)

    def dump(self) -> str:
        with closing(sqlite3.connect(self.var / "orchestrator.sqlite3")) as database:
            return "\n".join(database.iterdump())


def fill(version: Version) -> None:
    """A run in each state, and what there is around it."""
    ended, played, failed = (
        version.launch(*each) for each in (("cold", "chess"), ("warm", "chess"), ("cold", "broken"))
    )
    version.wait_for(ended, "running")
    version.ask("DELETE", f"/api/sandbox/{ended}")
    version.wait_for(played, "running")
    version.wait_for(failed, "failed")
    for mode in ("warm", "cold", "cold"):
        version.launch(mode, "chess")  # in the middle of it when all is killed


def keep(name: str, code: Path) -> Path:
    with tempfile.TemporaryDirectory(prefix="orchestrator-kept-", ignore_cleanup_errors=True) as folder:
        version = Version(code, Path(folder))
        try:
            fill(version)
        finally:
            version.kill()
        file = DATABASES / f"{name}.sql.xz"
        file.write_bytes(lzma.compress(version.dump().encode(), preset=9))
    return file


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
    django.setup()
    kept = keep(sys.argv[1], Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else ROOT)
    print(f"{kept}: {kept.stat().st_size:,} bytes")
