"""Where this code is, in a checkout or installed, and how to start another Python that finds it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
IMPORT_ROOT = PACKAGE.parent  # the checkout, or site-packages
IS_CHECKOUT = (IMPORT_ROOT / "manage.py").exists()
TEMPLATES = PACKAGE / "templates"  # before those of other apps, some of which it replaces
MANAGE = (sys.executable, "-m", "orchestrator_site")  # as manage.py and sandbox-orchestrator


def default_var() -> Path:
    """The folder of the database and the rest: in the checkout, or else where the command was called."""
    return (IMPORT_ROOT if IS_CHECKOUT else Path.cwd()) / "var"


def for_python(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with which a Python finds this code from whatever folder, and takes nothing from that folder
    instead."""
    paths = filter(None, (str(IMPORT_ROOT), environment.get("PYTHONPATH")))
    return {**environment, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}
