"""A small web server for `/metrics`, on a port of its own."""

from __future__ import annotations

import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from django.db import connections
from prometheus_client import CONTENT_TYPE_LATEST

from orchestrator_site.metrics.told import TEXT

TIMEOUT_SECONDS = 10  # for a request to come


class Handler(BaseHTTPRequestHandler):
    timeout = TIMEOUT_SECONDS
    server_version, sys_version = "metrics", ""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] == "/metrics":
            try:
                self._answer(200, TEXT.get(), CONTENT_TYPE_LATEST)
            finally:
                connections.close_all()  # this thread's
        elif self.path == "/":
            self._answer(200, b"The metrics are at /metrics.\n", "text/plain")
        else:
            self._answer(404, b"The metrics are at /metrics.\n", "text/plain")

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """A line for each scrape says nothing."""


def server(bind: str, port: int) -> ThreadingHTTPServer:
    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        daemon_threads = True

    return Server((bind, port), Handler)
