"""`manage.py prepare`: what a database needs before a version's first process starts on it."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management import BaseCommand
from django.db import DatabaseError

from orchestrator_site.processes.preparation import prepare_database


class Command(BaseCommand):
    help = "Migrate, load the catalog, and make the first pool and the operator where there are none."
    requires_system_checks = []  # `migrate` runs them

    def handle(self, *_args: Any, **_options: Any) -> None:
        try:
            password = prepare_database()
        except (DatabaseError, OSError) as error:
            sys.exit(f"The database cannot be used: {str(error).strip()}")
        if password:
            self.stdout.write(f"Operator account: operator, password {password} (shown this once)")
        self.stdout.write("Prepared.")
