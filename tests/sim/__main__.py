"""`python -m tests.sim`: see docs/simulation.md."""

from __future__ import annotations

import os
import sys

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.sim.settings"

import django

django.setup()

from tests.sim.command import main  # noqa: E402  after the settings

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
