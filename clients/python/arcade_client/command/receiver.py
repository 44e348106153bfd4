"""A receiver of webhooks, to see them come: it verifies each and shows it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

from arcade_client.errors import SignatureInvalid
from arcade_client.webhook_signatures import key_of, verify_webhook

MOST_BYTES = 1_048_576
MOST_REMEMBERED = 1_000
READ_SECONDS = 10
Show = Callable[[Mapping[str, Any]], None]


class Receiver(ThreadingHTTPServer):
    """Shows each event once, though it may be delivered more often. Ends after `count` events, if that is given.
    Raises ValueError when the secret is none."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], secret: str, show: Show, count: int | None = None) -> None:
        key_of(secret)
        super().__init__(address, Delivery)
        self.secret, self.show, self.left = secret, show, count
        self._lock = Lock()
        self._shown: OrderedDict[str, None] = OrderedDict()
        self.is_done = count == 0

    def take(self, headers: Mapping[str, str], body: bytes) -> None:
        """Show a delivery that is new. Raises SignatureInvalid."""
        event = verify_webhook(headers, body, self.secret)
        delivery = headers["webhook-id"]
        with self._lock:
            if delivery in self._shown or self.is_done:
                return
            self._shown[delivery] = None
            if len(self._shown) > MOST_REMEMBERED:
                self._shown.popitem(last=False)
            self.show(event)
            if self.left is not None:
                self.left -= 1
                self.is_done = self.left <= 0

    def serve_until_done(self) -> None:
        """Serve one request after the other, until there were enough events."""
        self.timeout = 0.2
        while not self.is_done:
            self.handle_request()


class Delivery(BaseHTTPRequestHandler):
    """One request: 204 for what is the arcade's, 401 for what is not."""

    server: Receiver
    timeout = READ_SECONDS

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            return self._answer(411)
        if int(length) > MOST_BYTES:
            return self._answer(413)
        try:
            self.server.take(
                {name.lower(): value for name, value in self.headers.items()}, self.rfile.read(int(length))
            )
        except SignatureInvalid as error:
            self.log_error("refused: %s", error)
            return self._answer(401)
        return self._answer(204)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of what went well."""
