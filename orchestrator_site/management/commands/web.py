"""`manage.py web`: the web server, for whatever starts processes on this machine."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management import BaseCommand
from django.db import DatabaseError, connections

from orchestrator_site import places
from orchestrator_site.processes.preparation import load_catalog
from orchestrator_site.processes.services import web_command
from pools import clock
from pools.models import Fleet


class Command(BaseCommand):
    help = "Load the catalog, whose games this machine hands out, and become the web server on BIND and PORT."
    requires_system_checks = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        try:
            load_catalog()
            Fleet.note_pause(clock.now())
        except DatabaseError as error:
            sys.exit(f"The database cannot be used: {str(error).strip()}")
        connections.close_all()
        sys.stdout.flush()
        command = web_command()
        os.execve(command[0], command, places.for_python(os.environ))  # noqa: S606  so that signals reach the server itself
