"""A receiver for whoever develops one: `manage.py webhook_receiver --port 0 --secret whsec_…`."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from pools import clock
from runs.webhooks import signing

MOST_BYTES = 1024 * 1024
SILENCE_SECONDS = 10  # then a client that says nothing is not waited for


class Command(BaseCommand):
    help = "Take deliveries of webhooks on this machine, and print each with whether its signature is right."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=0, help="0 takes one that is free")
        parser.add_argument("--secret", default="", help="The webhook's, whsec_…; without it nothing is checked")
        parser.add_argument("--status", type=int, default=204, help="What to answer: to see how failures go")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            signing.signature(options["secret"], "", 0, b"")
        except ValueError as error:
            raise CommandError(str(error)) from None
        with server(options["port"], options["secret"], options["status"], self._say) as listening:
            self._say(f"Listening at http://127.0.0.1:{listening.server_port}/ (Ctrl-C ends it)")
            try:
                listening.serve_forever()
            except KeyboardInterrupt:
                self._say("Ended.")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def server(port: int, secret: str, status: int, say: Any) -> HTTPServer:
    """On loopback; `say` gets a line for each delivery."""

    class Receiver(BaseHTTPRequestHandler):
        timeout = SILENCE_SECONDS

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > MOST_BYTES:
                self.send_error(413)
                return
            body = self.rfile.read(int(length))
            sent = {name.lower(): value for name, value in self.headers.items()}
            say(told(secret, sent, body, clock.wall()))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """The line that `say` got is enough."""

    return HTTPServer(("127.0.0.1", port), Receiver)


def told(secret: str, sent: dict[str, str], body: bytes, now_seconds: float) -> str:
    """One line about a delivery."""
    if not secret:
        verdict = "not checked"
    else:
        refused = signing.why_refused(secret, sent, body, now_seconds)
        verdict = f"WRONG: {refused}" if refused else "right"
    try:
        event = json.loads(body)
        what = f"{event.get('type')} {json.dumps(event)}"
    except (ValueError, AttributeError):
        what = f"no event: {body[:200]!r}"
    return f"{sent.get(signing.ID, 'no id')}  signature {verdict}  {what}"
