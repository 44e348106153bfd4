"""An installation that is well, for a test to spoil: its web server is this process, its account a cloud on paper."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from django.utils import timezone

from orchestrator_site.doctor.all_checks import CHECKS
from orchestrator_site.doctor.checks import Finding
from orchestrator_site.doctor.codes import Code
from orchestrator_site.doctor.examination import examine
from orchestrator_site.doctor.report import TROUBLE
from orchestrator_site.models import Beat
from pools.models import Fleet
from tests.fixtures.local_cloud import LocalCloudProcess


def troubles(findings: dict[str, Finding]) -> dict[str, Code]:
    """What is wrong, by the names of the checks."""
    return {name: finding.code for name, finding in findings.items() if finding.level in TROUBLE}


@dataclass
class Installation:
    settings: Any
    cloud: LocalCloudProcess
    folder: Path
    later: ExitStack  # what is to be put right after the test
    fixture: Callable[[str], Any]

    def examined(self) -> dict[str, Finding]:
        return examine(CHECKS)

    def mounted(self, options: str) -> Path:
        """A disk of its own; `ro` makes one that can't be written to."""
        place = self.folder / f"disk-{options.replace('=', '-').replace(',', '-')}"
        place.mkdir(mode=0o700)
        command = ["mount", "-t", "tmpfs", "-o", f"mode=0700,{options}", "tmpfs", str(place)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("only root can mount a disk")
        self.later.callback(subprocess.run, ["umount", str(place)], check=True)
        return place

    def served(self, status: int, body: bytes) -> str:
        """The address of a server that answers everything so."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.rfile.read(int(handler.headers.get("content-length", 0)))
            handler.send_response(status)
            handler.send_header("content-length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        methods = {f"do_{method}": answer for method in ("GET", "HEAD", "POST", "PUT", "DELETE")}
        silent = {"log_message": lambda *_: None}
        handler = type("Handler", (BaseHTTPRequestHandler,), {**methods, **silent})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        Thread(target=server.serve_forever, daemon=True).start()
        self.later.callback(server.server_close)
        self.later.callback(server.shutdown)
        return f"http://127.0.0.1:{server.server_port}"

    def started(self, *words: str) -> int:
        """The id of a process that does nothing, called with those words."""
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", *words])
        self.later.callback(process.wait)
        self.later.callback(process.kill)
        return process.pid


def beat(host: str = "another a1b2c3", pid: int = 7, **what: Any) -> None:
    told = {"at": timezone.now(), "workers": 4, "idle_workers": 4, "waiting": 0, "due": 0}
    Beat.record(host, pid, **told | what)


@pytest.fixture
def installation(
    transactional_db: None,
    request: pytest.FixtureRequest,
    live_server: Any,
    settings: Any,
    paper_cloud: LocalCloudProcess,
    tmp_path: Path,
) -> Iterator[Installation]:
    settings.CLOUD_IS_EMBEDDED = False
    settings.DIGITALOCEAN_TOKEN, settings.DIGITALOCEAN_API_URL = paper_cloud.token, paper_cloud.url
    settings.PUBLIC_URL = settings.PLAY_URL = live_server.url
    settings.MAX_ACTIVE_PER_CLIENT = settings.MAX_ACTIVE_PER_NETWORK = 2
    settings.MAX_RUNS_PER_HOUR_PER_CLIENT = settings.MAX_RUNS_PER_HOUR_PER_NETWORK = 12
    Fleet.get()
    Fleet.objects.update(turned_at=timezone.now())
    beat()
    with ExitStack() as later:
        yield Installation(settings, paper_cloud, tmp_path, later, request.getfixturevalue)
