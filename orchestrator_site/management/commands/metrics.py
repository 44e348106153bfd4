"""`manage.py metrics`: tells Prometheus how it goes, on METRICS_PORT."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError

from orchestrator_site.metrics.processes import keep_folded
from orchestrator_site.metrics.server import server

FOLD_SECONDS = 60.0


class Command(BaseCommand):
    help = (
        "Serve /metrics on METRICS_PORT: what the processes of this ORCHESTRATOR_VAR counted, and the fleet's figures."
    )
    requires_system_checks = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        if not settings.METRICS_PORT:
            raise CommandError("METRICS_PORT is not set: nothing is counted, so there is nothing to tell.")
        try:
            serving = server(settings.METRICS_BIND, settings.METRICS_PORT)
        except OSError as error:
            raise CommandError(f"METRICS_PORT {settings.METRICS_PORT} can't be used: {error.strerror}.") from None
        folder = Path(settings.METRICS_DIR)
        threading.Thread(target=keep_folded, args=(folder, FOLD_SECONDS), name="fold", daemon=True).start()
        with serving, suppress(KeyboardInterrupt):
            serving.serve_forever()
